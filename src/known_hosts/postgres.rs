//! PostgreSQL: extensions, by a makefile that includes PGXS.

use super::source_text::words;
use super::{KnownHost, Made, OwnBuild, SmokePlugin, SmokeTest, any_artifact};
use crate::config::{BuildSystem, LanguageName};

pub(super) const POSTGRES: KnownHost = KnownHost {
    name: "postgres",
    other_names: &["postgresql"],
    path: "/usr/lib/postgresql/17/bin/postgres",
    install: Some("/usr/lib/postgresql/17/lib"),
    runtime_packages: &["postgresql-17"],
    build_packages: &["postgresql-server-dev-17", "gcc", "libc6-dev", "make"],
    program_directory: Some("/usr/lib/postgresql/17/bin"),
    links: &[],
    files: &[],
    words: &["postgres.h"],
    needs_words: false,
    crates: &[],
    own_build: Some(OwnBuild {
        system: BuildSystem::Pgxs,
        made,
    }),
    systems: &[BuildSystem::Pgxs],
    fallback: None,
    symbols: &["Pg_magic_func"],
    entries: |text| match text.contains("PG_MODULE_MAGIC") {
        true => vec!["Pg_magic_func".to_owned()],
        false => vec![],
    },
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    smoke,
    rust_note: None,
    note: Some(
        "CREATE EXTENSION also reads the extension's .control and .sql files, which lie elsewhere; the smoke test loads the library alone",
    ),
};

fn made(file: &str, text: &str) -> Vec<Made> {
    let is_makefile = matches!(file, "Makefile" | "makefile" | "GNUmakefile");
    if !is_makefile || !["PGXS", "pgxs"].iter().any(|word| text.contains(word)) {
        return vec![];
    }
    let names = words(text, "MODULE_big").into_iter().chain(words(text, "MODULES"));
    names
        .map(|name| name.rsplit('/').next().unwrap_or_default().to_owned())
        .map(|name| Made {
            artifact: format!("{name}.so"),
            name,
        })
        .collect()
}

/// A cluster of its own, in which a process without a server loads the library.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let loads: String = plugins
        .iter()
        .map(|plugin| format!("echo \"LOAD '{{plugins}}/{}'\"; ", plugin.artifact))
        .collect();
    let script = format!(
        "initdb -D /tmp/data >/dev/null && {{ {loads}echo \"SELECT 'loaded'\"; }} | postgres --single -D /tmp/data -c exit_on_error=on postgres 2>&1"
    );
    Some(SmokeTest {
        stdout: vec!["= \"loaded\"".to_owned()],
        ..SmokeTest::of(["sh", "-c", &script])
    })
}
