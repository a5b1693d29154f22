//! CMake, beside the sources.

use super::{BUILD_ROOT, INSTALL_ROOT, JOBS, System, words};
use crate::config::{Build, Unit};

pub(super) const CMAKE: System = System {
    programs: &[("cmake", "cmake"), ("make", "make")],
    make,
    trees: &[BUILD_ROOT],
};

/// What a project's own options may replace. The search path is the one that is meant for where it runs, and nothing is
/// downloaded or looked for in the home directory.
const OPTIONS: &str = "-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
-DCMAKE_EXPORT_NO_PACKAGE_REGISTRY=ON -DFETCHCONTENT_FULLY_DISCONNECTED=ON";

fn make(_: &Unit, build: &Build) -> String {
    let options = words(&build.options);
    let targets = match build.targets.is_empty() {
        true => String::new(),
        false => format!(" --target{}", words(&build.targets)),
    };
    let mut script =
        format!("cmake -S . -B {BUILD_ROOT} {OPTIONS}{options}\ncmake --build {BUILD_ROOT} {JOBS}{targets}");
    if build.install {
        script += &format!("\nDESTDIR={INSTALL_ROOT} cmake --install {BUILD_ROOT}");
    }
    script
}
