//! PostgreSQL's extensions: a makefile that includes PGXS, of the server that `pg_config` names.

use super::{JOBS, System, words};
use crate::config::{Build, Unit};

pub(super) const PGXS: System = System {
    programs: &[("make", "make"), ("pg_config", "postgresql-server-dev-all")],
    make,
    trees: &["."],
};

/// The server's own flags are used; `COPT` is what it lets others add. Bitcode for its compiler at run time, which needs
/// clang, is no shared object.
fn make(_: &Unit, build: &Build) -> String {
    format!(
        "make {JOBS} USE_PGXS=1 with_llvm=no COPT=\"$CFLAGS\"{options}{targets}",
        options = words(&build.options),
        targets = words(&build.targets),
    )
}
