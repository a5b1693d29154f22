//! Valkey, and Redis before it: modules, which bring `redismodule.h` along.

use super::source_text::{defined, quoted_argument};
use super::{
    Beside, KnownHost, PluginSource, SmokePlugin, SmokeStep, SmokeTest, any_artifact, file_stem, is_word, same_name,
};
use crate::config::{BuildSystem, LanguageName};

/// Where the smoke test's server listens.
const PORT: u16 = 6379;

pub(super) const VALKEY: KnownHost = KnownHost {
    name: "valkey",
    other_names: &["redis", "valkey-server"],
    path: "/usr/bin/valkey-server",
    install: None,
    // libc-bin has the locale C.UTF-8, without which the server does not start.
    runtime_packages: &["libc-bin", "valkey-server"],
    build_packages: &["gcc", "libc6-dev", "make"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["redismodule.h", "valkeymodule.h"],
    needs_words: false,
    crates: &["redis-module", "valkey-module"],
    own_build: None,
    systems: &[
        BuildSystem::Cmake,
        BuildSystem::Make,
        BuildSystem::Meson,
        BuildSystem::Autotools,
    ],
    fallback: None,
    symbols: &[],
    entries: |text| {
        defined(text, |name| {
            matches!(name, "RedisModule_OnLoad" | "ValkeyModule_OnLoad")
        })
    },
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

/// A server that has loaded the modules, and a client that it tells which.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let port = PORT.to_string();
    let words = ["valkey-server", "--port", &port, "--save", "", "--dir", "/tmp"];
    let mut command: Vec<String> = words.map(str::to_owned).into();
    let mut listed = Vec::new();
    for plugin in plugins {
        command.extend(["--loadmodule".to_owned(), format!("{{plugins}}/{}", plugin.artifact)]);
        // A module of which the name is not seen is told by its file.
        match plugin.beside.asked.as_slice() {
            [] => listed.push(plugin.artifact.to_owned()),
            names => listed.extend(names.iter().cloned()),
        }
    }
    let list = SmokeStep::run(["valkey-cli", "MODULE", "LIST"]).printing(listed);
    Some(SmokeTest::steps([SmokeStep::serve(command, PORT, vec![list])]))
}

/// The name by which the module goes.
fn beside(plugin: &PluginSource<'_>) -> Beside {
    let files: Vec<(&str, &str)> = plugin.files.all().collect();
    let own = files
        .iter()
        .find(|(path, _)| file_stem(path) == file_stem(plugin.artifact));
    let mut names: Vec<&str> = files.iter().filter_map(|(_, text)| name_in(text, &files)).collect();
    names.sort_unstable();
    names.dedup();
    // Sources of several modules do not tell which is this one's, unless one is called as it is.
    let name = own
        .and_then(|(_, text)| name_in(text, &files))
        .or(match names.as_slice() {
            [name] => Some(*name),
            _ => None,
        });
    Beside {
        asked: name
            .filter(|name| is_word(name))
            .map(str::to_owned)
            .into_iter()
            .collect(),
        ..Beside::default()
    }
}

/// What a source in C or Rust says when it is asked for its name.
fn name_in<'a>(text: &'a str, all: &[(&str, &'a str)]) -> Option<&'a str> {
    let in_c = ["RedisModule_Init", "ValkeyModule_Init"];
    let in_rust = ["redis_module!", "valkey_module!"];
    let of_macro = |start: &&str| -> Option<&'a str> {
        let (_, rest) = text.split_once(*start)?;
        let (_, rest) = rest.split_once("name")?;
        let rest = rest.trim_start().strip_prefix(':')?.trim_start();
        rest.strip_prefix('"')?.split('"').next()
    };
    let of_call = |call: &&str| quoted_argument(text, call, all);
    in_c.iter()
        .find_map(of_call)
        .or_else(|| in_rust.iter().find_map(of_macro))
}
