//! CPython: extension modules, by setuptools, another build system, or cargo with PyO3.

use super::source_text::{between, defined};
use super::{Files, KnownHost, Made, OwnBuild, SmokePlugin, SmokeTest, nothing_beside};
use crate::config::{BuildSystem, LanguageName};

/// What setuptools puts behind a module's name, before `.so`.
const TAG: &str = "cpython-313-x86_64-linux-gnu";

pub(super) const CPYTHON: KnownHost = KnownHost {
    name: "cpython",
    other_names: &["python", "python3"],
    path: "/usr/bin/python3.13",
    install: None,
    runtime_packages: &["python3"],
    build_packages: &["python3-dev", "python3-setuptools", "gcc", "g++", "libc6-dev"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["Python.h"],
    needs_words: false,
    crates: &["pyo3"],
    own_build: Some(OwnBuild {
        system: BuildSystem::Setuptools,
        made,
    }),
    systems: &[BuildSystem::Meson, BuildSystem::Cmake],
    fallback: None,
    symbols: &[],
    entries: |text| {
        defined(text, |name| {
            name.strip_prefix("PyInit_").is_some_and(|rest| !rest.is_empty())
        })
    },
    artifact: |entry| entry.strip_prefix("PyInit_").map(|name| format!("{name}.so")),
    language: LanguageName::C,
    env: &[
        ("C_INCLUDE_PATH", "/usr/include/python3.13"),
        ("CPLUS_INCLUDE_PATH", "/usr/include/python3.13"),
    ],
    beside: nothing_beside,
    smoke,
    cargo_place: |artifact| artifact.strip_prefix("lib").map(str::to_owned),
    note: None,
};

fn made(file: &str, text: &str, _: &dyn Files) -> Vec<Made> {
    if file != "setup.py" {
        return vec![];
    }
    let extensions = text.match_indices("Extension(").filter_map(|(index, start)| {
        let rest = text.get(index + start.len()..)?.trim_start();
        let rest = rest
            .strip_prefix("name")
            .map_or(rest, |rest| rest.trim_start().trim_start_matches('=').trim_start());
        let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''))?;
        rest.get(1..)?.split(quote).next()
    });
    let is_limited = between(text, "py_limited_api", &['\n', ',', ')']).any(|value| value.ends_with("True"));
    let tag = if is_limited { "abi3" } else { TAG };
    extensions
        .map(|name| name.rsplit('.').next().unwrap_or_default())
        .filter(|name| !name.is_empty() && !name.contains(['{', '%']))
        .map(|name| Made {
            name: name.to_owned(),
            artifact: format!("{name}.{tag}.so"),
        })
        .collect()
}

/// A module is opened by its file, because it may be one of a package that is not there.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let mut script = "import importlib.util as u; from importlib.machinery import ExtensionFileLoader as L".to_owned();
    for plugin in plugins {
        let module = plugin.stem();
        let file = plugin.artifact;
        script += &format!(
            "; l = L('{module}', '{{plugins}}/{file}'); l.exec_module(u.module_from_spec(u.spec_from_loader('{module}', l)))"
        );
    }
    Some(SmokeTest::of(["python3.13", "-c", &script]))
}
