//! The name service switch: modules of the C library, opened by getent.

use super::source_text::defined;
use super::{GENERATED_FIRST, KnownHost};
use crate::config::LanguageName;

pub(super) const NSS: KnownHost = KnownHost {
    name: "nss",
    other_names: &["getent"],
    path: "/usr/bin/getent",
    install: Some("/usr/lib/x86_64-linux-gnu"),
    runtime_packages: &["libc-bin"],
    build_packages: &["gcc", "libc6-dev", "make", "autoconf", "automake", "libtool"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["nss.h"],
    needs_words: false,
    crates: &["libnss"],
    own_build: None,
    systems: GENERATED_FIRST,
    fallback: None,
    symbols: &[],
    entries: |text| defined(text, |name| service(name).is_some()),
    // 2 is the version of the interface (NSS_SHLIB_REVISION of the C library).
    artifact: |entry| service(entry).map(|service| format!("libnss_{service}.so.2")),
    language: LanguageName::C,
    env: &[],
    // What there is to look up is the module's to say, and getent also ends well without it.
    smoke: |_| None,
    rust_note: None,
    note: Some(
        "the host opens the module and nothing more: a smoke test of yours says what it finds: [getent, -s, SERVICE, passwd, NAME]",
    ),
};

/// The service that a function belongs to: `_nss_<service>_<function>`.
fn service(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("_nss_")?;
    let starts = ["_get", "_set", "_end", "_initgroups"];
    let end = starts.iter().filter_map(|start| rest.find(start)).min()?;
    rest.get(..end).filter(|service| !service.is_empty())
}
