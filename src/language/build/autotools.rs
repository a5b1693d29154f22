//! `configure` and `make`, in the unit's source; without a `configure`, autoconf makes it.

use super::{System, make_and_install, words};
use crate::config::{Build, Unit};

pub(super) const AUTOTOOLS: System = System {
    programs: &[("make", "make")],
    make,
    trees: &["."],
};

fn make(_: &Unit, build: &Build) -> String {
    // Only who has no `configure` needs autoconf.
    let need = super::need("autotools", "autoreconf", "autoconf (and automake, libtool)");
    format!(
        "if ! [ -f configure ]; then
{need}autoreconf --force --install
fi
sh ./configure{options}
{make}",
        options = words(&build.options),
        make = make_and_install(build, "")
    )
}
