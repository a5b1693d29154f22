//! `make`, in the unit's source, with the makefile's own targets.

use super::{System, make_and_install, words};

pub(super) const MAKE: System = System {
    programs: &[("make", "make")],
    make: |_, build| make_and_install(build, &words(&build.options)),
    trees: &["."],
};
