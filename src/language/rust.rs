//! Rust: `cargo build --release` of the package in the unit's directory.

use std::collections::BTreeMap;

use super::toolchain::RUST_TOOLCHAIN_FILES;
use super::{Language, TARGET_ROOT, quote};
use crate::config::{LanguageName, Unit};

pub(super) const RUST: Language = Language {
    name: LanguageName::Rust,
    dependency_files: &[
        "Cargo.lock",
        "Cargo.toml",
        "config.toml",
        RUST_TOOLCHAIN_FILES[0],
        RUST_TOOLCHAIN_FILES[1],
    ],
    fetch,
    compile,
    variables: &[
        ("CARGO_HOME", "/lockstep/deps/cargo"),
        ("CARGO_TERM_COLOR", "never"),
        ("CARGO_NET_RETRY", "3"),
    ],
    // The archives and the index are enough: cargo unpacks and verifies them again, offline.
    dependency_paths: &["cargo/registry/cache", "cargo/registry/index", "cargo/git/db"],
    // A repository of git is packed as its server likes; its commit is in Cargo.lock, and git looks after the rest.
    dependency_endings: &[".crate"],
    cache: None,
    toolchains: &[
        ("rustc", "rustc --version | cut -d' ' -f2"),
        ("cargo", "cargo --version | cut -d' ' -f2"),
    ],
};

/// The flags of every rustc call. On musl, rustc links programs statically unless told otherwise, and then they cannot
/// load anything; elsewhere the flag states the default.
pub(super) const FLAGS: &[&str] = &[
    "-Ctarget-feature=-crt-static",
    "--remap-path-prefix=/lockstep/src=/src",
    "--remap-path-prefix=/lockstep/deps/cargo/registry/src=/deps",
];

/// A package in Cargo.lock that has a source comes from elsewhere.
fn fetch(_: &Unit, files: &BTreeMap<String, String>) -> Option<String> {
    let is_remote = |lock: &String| lock.lines().any(|line| line.starts_with("source = "));
    files
        .iter()
        .any(|(path, text)| path.ends_with("Cargo.lock") && is_remote(text))
        .then(|| "cargo fetch --locked".to_owned())
}

/// The words by which cargo is told its flags.
pub(super) fn config(unit: &Unit) -> String {
    // RUSTFLAGS would replace the flags that the image's own cargo configuration has, so a unit's RUSTFLAGS join ours.
    let own = unit.env.get("RUSTFLAGS").map(String::as_str).unwrap_or_default();
    let flags: Vec<String> = FLAGS
        .iter()
        .copied()
        .chain(own.split_whitespace())
        .map(|flag| format!("{flag:?}"))
        .collect();
    format!(
        "--config {}",
        quote(&format!("target.'cfg(all())'.rustflags=[{}]", flags.join(",")))
    )
}

fn compile(unit: &Unit) -> String {
    let config = config(unit);
    let artifacts: Vec<String> = unit.artifacts.iter().map(|artifact| quote(artifact)).collect();
    format!(
        "unset RUSTFLAGS
cargo build --release --locked --offline --target-dir {TARGET_ROOT} {config}
for artifact in {artifacts}; do
  found=
  for candidate in {TARGET_ROOT}/release/\"$artifact\" {TARGET_ROOT}/*/release/\"$artifact\"; do
    if [ -f \"$candidate\" ]; then found=$candidate; fi
  done
  if [ -z \"$found\" ]; then echo \"cargo built no $artifact; is crate-type right?\" >&2; exit 1; fi
  cp \"$found\" \"$LOCKSTEP_OUT/$artifact\"
done",
        artifacts = artifacts.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;
    use crate::config::UnitRole;

    #[test]
    fn only_packages_from_elsewhere_are_fetched() {
        let unit = unit(LanguageName::Rust, UnitRole::Plugin, "libx.so");
        let files = |lock: &str| BTreeMap::from([("plugins/unit/Cargo.lock".to_owned(), lock.to_owned())]);
        assert_eq!(fetch(&unit, &files("[[package]]\nname = \"x\"\n")), None);
        assert!(fetch(&unit, &files("[[package]]\nname = \"y\"\nsource = \"registry+x\"\n")).is_some());
    }

    #[test]
    fn the_flags_of_a_unit_join_those_of_lockstep() {
        let mut unit = unit(LanguageName::Rust, UnitRole::Plugin, "libx.so");
        unit.env = BTreeMap::from([("RUSTFLAGS".to_owned(), "-Cdebuginfo=1".to_owned())]);
        let script = compile(&unit);
        assert!(
            script.contains("-Ctarget-feature=-crt-static") && script.contains("\"-Cdebuginfo=1\""),
            "{script}"
        );
    }
}
