//! Libraries for some processors.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "processor-dependent-library",
    description: "which copy of a library is loaded depends on the processor",
    explanation: "glibc looks into `glibc-hwcaps/x86-64-v2`, `-v3` and `-v4` below each directory first, if the processor \
                  is of that level. A library that exists only there is found on some machines and missing on others.\n\n\
                  Install a copy for every processor in the directory itself.",
};

pub(super) fn finding(fault: &Fault, library: &str, path: &str) -> Finding {
    let title = format!("{library} is found only on newer processors");
    Finding::new(RULE.code, Verdict::Unknown, library, title)
        .evidence(format!("{}: the only copy is {path}", fault.object))
        .hint("install a copy for every processor in the directory above glibc-hwcaps")
}
