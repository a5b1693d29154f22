//! Valkey, and Redis before it: modules, which bring `redismodule.h` along.

use super::source_text::defined;
use super::{KnownHost, SmokePlugin, SmokeTest, any_artifact};
use crate::config::{BuildSystem, LanguageName};

/// Where the smoke test's server listens.
const PORT: u16 = 6379;

pub(super) const VALKEY: KnownHost = KnownHost {
    name: "valkey",
    other_names: &["redis", "valkey-server"],
    path: "/usr/bin/valkey-server",
    install: None,
    runtime_packages: &["valkey-server"],
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
    smoke,
    rust_note: None,
    note: None,
};

fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let port = PORT.to_string();
    let mut command: Vec<String> = ["valkey-server", "--port", &port, "--save", ""]
        .map(str::to_owned)
        .into();
    for plugin in plugins {
        command.extend(["--loadmodule".to_owned(), format!("{{plugins}}/{}", plugin.artifact)]);
    }
    Some(SmokeTest {
        tcp: Some(PORT),
        ..SmokeTest::of(command)
    })
}
