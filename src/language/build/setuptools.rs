//! CPython's extensions by setuptools: `setup.py`, or `pyproject.toml` alone.

use super::{BUILD_ROOT, System, lacks, words};
use crate::config::{Build, Unit};

pub(super) const SETUPTOOLS: System = System {
    programs: &[("python3", "python3-dev")],
    make,
    trees: &["/lockstep/target/build/lib"],
};

fn make(_: &Unit, build: &Build) -> String {
    format!(
        "if ! python3 -c 'import setuptools' 2>/dev/null; then
{lacks}
fi
if [ -f setup.py ]; then set -- setup.py; else set -- -c 'import setuptools; setuptools.setup()'; fi
python3 \"$@\" build_ext --build-lib {BUILD_ROOT}/lib --build-temp {BUILD_ROOT}/objects{options}",
        lacks = lacks("setuptools", "setuptools", "the package python3-setuptools (of Debian)"),
        options = words(&build.options),
    )
}
