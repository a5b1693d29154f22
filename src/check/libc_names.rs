//! Names that only one of the two C libraries has.

use super::platform::Family;

/// Whether a library or a symbol that is missing belongs to the family that the host does not run on.
#[must_use]
pub(super) fn belongs_to_other_family(runs_on: Family, name: &str) -> bool {
    match runs_on {
        Family::Musl => {
            name.starts_with("ld-linux")
                || name.starts_with("GLIBC_")
                || GLIBC_LIBRARIES.iter().any(|library| name.starts_with(library))
                || is_symbol_of_glibc(name)
        }
        Family::Glibc => name == "libc.so" || name.starts_with("libc.musl-") || name.starts_with("ld-musl-"),
    }
}

/// Libraries of glibc that musl does not take for itself.
const GLIBC_LIBRARIES: &[&str] = &[
    "libresolv.so.2",
    "libcrypt.so.1",
    "libnsl.so.1",
    "libmvec.so.1",
    "libanl.so.1",
];

/// Symbols of glibc that musl does not have; a hint at the cause, not a judgement.
fn is_symbol_of_glibc(name: &str) -> bool {
    let listed = [
        "arc4random",
        "backtrace",
        "fcntl64",
        "gnu_get_libc_version",
        "mallinfo2",
        "malloc_trim",
        "strtoll_l",
        "_dl_find_object",
    ];
    (name.starts_with("__") && name.ends_with("_chk"))
        || name.starts_with("__isoc")
        || name.starts_with("__libc_")
        || name.starts_with("__res_")
        || name.starts_with("backtrace_")
        || name.starts_with("arc4random")
        || listed.contains(&name)
}
