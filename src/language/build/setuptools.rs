//! CPython's extensions by setuptools: `setup.py`, or `pyproject.toml` alone.

use super::{BUILD_ROOT, System, words};
use crate::config::{Build, Unit};

pub(super) const SETUPTOOLS: System = System {
    programs: &[("python3", "python3-dev")],
    make,
    trees: &["/lockstep/target/build/lib"],
};

fn make(_: &Unit, build: &Build) -> String {
    format!(
        "if ! python3 -c 'import setuptools' 2>/dev/null; then
  echo 'lockstep: the build image has no setuptools, which `build: setuptools` runs' >&2
  echo 'lockstep: add the package python3-setuptools to the recipe of the build image (Debian calls it so)' >&2
  exit 127
fi
if [ -f setup.py ]; then set -- setup.py; else set -- -c 'import setuptools; setuptools.setup()'; fi
python3 \"$@\" build_ext --build-lib {BUILD_ROOT}/lib --build-temp {BUILD_ROOT}/objects{options}",
        options = words(&build.options),
    )
}
