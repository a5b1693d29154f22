//! Which compiler a unit's own files ask for, so that it can be told before anything is fetched or compiled.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::{Table, Value};

use crate::config::{BuildSystem, LanguageName, Unit};

/// A compiler that a file of the unit asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequiredToolchain {
    /// Its name among the toolchains of an image (`rustc`).
    pub tool: String,
    /// What is asked for: a release, of which later ones will do, or a channel.
    pub wanted: String,
    /// The file; relative to the project.
    pub file: String,
}

/// The files that name a compiler of Rust, as rustup knows them.
pub(super) const RUST_TOOLCHAIN_FILES: [&str; 2] = ["rust-toolchain", "rust-toolchain.toml"];

impl RequiredToolchain {
    /// Whether a compiler of this version will do. Of channels, only `nightly` has what no release has.
    #[must_use]
    pub fn is_met_by(&self, version: &str) -> bool {
        if self.wanted.starts_with("nightly") {
            return version.contains("nightly");
        }
        match (release(&self.wanted), release(version)) {
            (Some(wanted), Some(found)) => found >= wanted,
            _ => true,
        }
    }
}

/// What `unit` asks for, by its dependency files. A command of its own may bring another compiler along.
#[must_use]
pub fn required_toolchains(unit: &Unit, files: &BTreeMap<String, String>) -> Vec<RequiredToolchain> {
    let calls_cargo = match &unit.build {
        Some(build) => matches!(build.system, BuildSystem::Cargo | BuildSystem::Maturin),
        None => unit.language == LanguageName::Rust,
    };
    if unit.command.is_some() || !calls_cargo {
        return Vec::new();
    }
    let required = |(wanted, file)| RequiredToolchain {
        tool: "rustc".to_owned(),
        wanted,
        file,
    };
    let found = [toolchain_file(&unit.source, files), rust_version(&unit.source, files)];
    found.into_iter().flatten().map(required).collect()
}

/// What the nearest file of a toolchain says, looked for from the unit's source upwards.
fn toolchain_file(source: &str, files: &BTreeMap<String, String>) -> Option<(String, String)> {
    let (path, text) = upwards(source).find_map(|directory| {
        RUST_TOOLCHAIN_FILES
            .iter()
            .find_map(|name| files.get_key_value(&joined(directory, name)))
    })?;
    // The older form is the channel alone.
    let channel = match text.parse::<Table>() {
        Ok(table) => table.get("toolchain")?.get("channel")?.as_str()?.to_owned(),
        Err(_) => text.lines().next()?.trim().to_owned(),
    };
    Some((channel, path.clone()))
}

/// `rust-version` of the package in the unit's source, or what its workspace says for all.
fn rust_version(source: &str, files: &BTreeMap<String, String>) -> Option<(String, String)> {
    let path = joined(source, "Cargo.toml");
    let manifest = files.get(&path)?.parse::<Table>().ok()?;
    let package = manifest.get("package");
    let workspace = manifest.get("workspace").and_then(|workspace| workspace.get("package"));
    let version = [package, workspace]
        .into_iter()
        .flatten()
        .find_map(|table| table.get("rust-version").and_then(Value::as_str))?;
    Some((version.to_owned(), path))
}

fn joined(directory: &str, name: &str) -> String {
    match directory {
        "." => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// A directory of the project and those above it, up to the project's own.
fn upwards(source: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(source), |directory| match directory.rsplit_once('/') {
        Some((above, _)) => Some(above),
        None => (*directory != ".").then_some("."),
    })
}

/// Up to three numbers, the rest being zero: `1.88` is `1.88.0`, and so is `1.88.0-x86_64-unknown-linux-gnu`.
fn release(text: &str) -> Option<[u64; 3]> {
    let mut release = [0; 3];
    let numbers = text.split('-').next()?.split('.');
    for (place, number) in release.iter_mut().zip(numbers) {
        *place = number.parse().ok()?;
    }
    Some(release)
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;
    use crate::config::UnitRole;

    #[test]
    fn what_the_files_ask_for_is_found() {
        for (path, text, expected) in [
            ("plugins/unit/rust-toolchain", "1.99.0\n", Some("1.99.0")),
            (
                "plugins/unit/rust-toolchain.toml",
                "[toolchain]\nchannel = \"nightly\"\n",
                Some("nightly"),
            ),
            ("rust-toolchain", "[toolchain]\nchannel = \"stable\"\n", Some("stable")),
            ("plugins/rust-toolchain.toml", "[toolchain]\npath = \"x\"\n", None),
            ("plugins/other/rust-toolchain", "1.99", None),
            (
                "plugins/unit/Cargo.toml",
                "[package]\nrust-version = \"1.88\"\n",
                Some("1.88"),
            ),
            (
                "plugins/unit/Cargo.toml",
                "[package]\nrust-version.workspace = true\n[workspace.package]\nrust-version = \"1.87\"\n",
                Some("1.87"),
            ),
            ("plugins/unit/Cargo.toml", "[package\n", None),
            (
                "plugins/unit/vendor/x/Cargo.toml",
                "[package]\nrust-version = \"1.99\"\n",
                None,
            ),
        ] {
            let files = BTreeMap::from([(path.to_owned(), text.to_owned())]);
            let unit = unit(LanguageName::Rust, UnitRole::Plugin, "x.so");
            let found = required_toolchains(&unit, &files);
            assert_eq!(
                found.first().map(|found| found.wanted.as_str()),
                expected,
                "{path}: {text}"
            );
            assert!(found.iter().all(|found| found.file == path));
        }
    }

    #[test]
    fn later_releases_will_do_and_channels_but_one_say_nothing() {
        for (wanted, found, expected) in [
            ("1.88", "1.85.1", false),
            ("1.85", "1.85.1", true),
            ("1.85.2", "1.85.1", false),
            ("1.9", "1.85.1", true),
            ("1.88.0-x86_64-unknown-linux-gnu", "1.88.0", true),
            ("stable", "1.85.1", true),
            ("nightly-2026-01-01", "1.85.1", false),
            ("nightly", "1.90.0-nightly", true),
            ("my-own", "1.85.1", true),
        ] {
            let required = RequiredToolchain {
                tool: "rustc".to_owned(),
                wanted: wanted.to_owned(),
                file: "rust-toolchain".to_owned(),
            };
            assert_eq!(required.is_met_by(found), expected, "{wanted} by {found}");
        }
    }
}
