//! SQLite: loadable extensions, opened by its shell.

use super::source_text::defined;
use super::{KnownHost, MAKEFILE_FIRST, SmokePlugin, SmokeTest, any_artifact, nothing_beside, same_name};
use crate::config::LanguageName;

pub(super) const SQLITE: KnownHost = KnownHost {
    name: "sqlite",
    other_names: &["sqlite3"],
    path: "/usr/bin/sqlite3",
    install: None,
    runtime_packages: &["sqlite3"],
    build_packages: &["gcc", "libc6-dev", "libsqlite3-dev", "make"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["sqlite3ext.h"],
    needs_words: true,
    crates: &["sqlite-loadable"],
    own_build: None,
    systems: MAKEFILE_FIRST,
    fallback: None,
    symbols: &[],
    entries: |text| {
        defined(text, |name| {
            name == "sqlite3_extension_init" || (name.starts_with("sqlite3_") && name.ends_with("_init"))
        })
    },
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    beside: nothing_beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

/// The shell is told the function, because it follows from the file's name only in part.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let load = |plugin: &SmokePlugin<'_>| {
        let entry = plugin
            .entries
            .first()
            .map(|entry| format!(" {entry}"))
            .unwrap_or_default();
        format!(".load {{plugins}}/{}{entry}", plugin.artifact)
    };
    let words = ["sqlite3", "-bail", ":memory:"].map(str::to_owned).into_iter();
    let last = "select 'loaded'".to_owned();
    let command = words.chain(plugins.iter().map(load)).chain([last]);
    Some(SmokeTest::printing(command, ["loaded".to_owned()]))
}
