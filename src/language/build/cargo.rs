//! Cargo, for what `language: rust` alone cannot say: one package of a workspace, and features.

use super::super::rust;
use super::{System, TARGET_ROOT, words};
use crate::config::{Build, Unit};

pub(super) const CARGO: System = System {
    programs: &[("cargo", "cargo")],
    make,
    // With a target that is named (by the image, or in `options`), there is a directory of its name above.
    trees: &["/lockstep/target/release", "/lockstep/target/*/release"],
};

fn make(unit: &Unit, build: &Build) -> String {
    let package = build.package.iter().flat_map(|package| ["--package", package]);
    let features = (!build.features.is_empty()).then(|| ["--features".to_owned(), build.features.join(",")]);
    let default = (!build.default_features).then_some("--no-default-features");
    format!(
        "unset RUSTFLAGS
cargo build --release --locked --offline --target-dir {TARGET_ROOT} {config}{package}{features}{default}{options}",
        config = rust::config(unit),
        package = words(package),
        features = words(features.into_iter().flatten()),
        default = words(default),
        options = words(&build.options),
    )
}
