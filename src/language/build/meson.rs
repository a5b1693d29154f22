//! Meson, beside the sources.

use super::{BUILD_ROOT, INSTALL_ROOT, System, words};
use crate::config::{Build, Unit};

/// What it installs has lost the search path of the build; what it does not install is taken from there.
pub(super) const MESON: System = System {
    programs: &[("meson", "meson"), ("ninja", "ninja-build")],
    make,
    trees: &[INSTALL_ROOT, BUILD_ROOT],
};

fn make(_: &Unit, build: &Build) -> String {
    let options = words(&build.options);
    let targets = words(&build.targets);
    // Some targets alone leave nothing to install.
    let install = match build.targets.is_empty() {
        true => format!("\nmeson install -C {BUILD_ROOT} --no-rebuild --quiet --destdir {INSTALL_ROOT}"),
        false => String::new(),
    };
    format!(
        "meson setup {BUILD_ROOT} --buildtype=debugoptimized --wrap-mode=nodownload{options}
meson compile -C {BUILD_ROOT}{targets}{install}"
    )
}
