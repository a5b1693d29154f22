//! CPython's extensions in Rust by maturin: the shared object of the wheel that it makes.

use super::{BUILD_ROOT, System, TARGET_ROOT, lacks, words};
use crate::config::{Build, Unit};

pub(super) const MATURIN: System = System {
    programs: &[("python3", "python3-dev"), ("cargo", "cargo")],
    make,
    trees: &["/lockstep/target/build/wheel"],
};

fn make(_: &Unit, build: &Build) -> String {
    let features = (!build.features.is_empty()).then(|| ["--features".to_owned(), build.features.join(",")]);
    format!(
        "if ! command -v maturin >/dev/null; then
{lacks}
fi
maturin build --release --locked --offline --target-dir {TARGET_ROOT} --out {BUILD_ROOT}{features}{options}
python3 -m zipfile -e {BUILD_ROOT}/*.whl {BUILD_ROOT}/wheel",
        lacks = lacks("maturin", "maturin", "its program, which Debian has not, as a file"),
        features = words(features.into_iter().flatten()),
        options = words(&build.options),
    )
}
