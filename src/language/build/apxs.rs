//! Apache httpd's modules: `apxs`, which compiles as the server was compiled.

use super::{System, quote, words};
use crate::config::{Build, Unit};

pub(super) const APXS: System = System {
    programs: &[("apxs", "apache2-dev"), ("bash", "bash")],
    make,
    trees: &[".libs"],
};

/// The libtool of apr, which apxs calls, is a script for bash. `-Wc,` hands a flag through to the compiler; libtool wants a
/// name of its own for what it makes.
fn make(unit: &Unit, build: &Build) -> String {
    let artifact = unit.artifacts.first().map_or("", String::as_str);
    let library = artifact.strip_suffix(".so").unwrap_or(artifact);
    let sources = match build.sources.is_empty() {
        true => " *.c".to_owned(),
        false => words(&build.sources),
    };
    format!(
        "set --
for flag in $CFLAGS; do set -- \"$@\" \"-Wc,$flag\"; done
apxs -c \"$@\"{options} -o {library}{sources}",
        options = words(&build.options),
        library = quote(&format!("{library}.la")),
    )
}
