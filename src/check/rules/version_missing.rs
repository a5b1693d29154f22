//! A version is missing.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "version-missing",
    description: "a library lacks a version that is needed of it",
    explanation: "An object that is linked against a library with versions (glibc, libstdc++, OpenSSL and many others) \
                  records which versions it needs (DT_VERNEED). glibc's loader compares them with what the library defines \
                  (DT_VERDEF) before it binds a symbol, and stops at the first that is missing.\n\n\
                  It nearly always means that the plugin was built on a newer system than the one it runs on. Versions are \
                  compared by name: `GLIBC_ABI_DT_RELR` is one too, and means that the plugin was linked with `-z \
                  pack-relative-relocs` for glibc 2.36 or later. musl does not look at versions.\n\n\
                  Build the plugin in the image of the host, or in one with the same or an older release of the library.",
};

pub(super) fn finding(fault: &Fault, version: &str, provider: &str) -> Finding {
    let title = format!(
        "`{}` needs version {version} of {provider}, which does not define it",
        fault.object
    );
    let hint = match version.strip_prefix("GLIBC_") {
        Some(number) if number.starts_with(|first: char| first.is_ascii_digit()) => {
            format!(
                "the plugin was built with glibc {number} or later: build it in the host's image, or run it on one with glibc {number}"
            )
        }
        _ => "build the plugin in the host's image, against the library that is there".to_owned(),
    };
    Finding::new(RULE.code, Verdict::Refuse, version, title).hint(hint)
}
