//! A library of `LD_PRELOAD` that is not there.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "preload-ignored",
    description: "a library that is to be preloaded cannot be, and is ignored",
    explanation: "LD_PRELOAD and, with glibc, /etc/ld.so.preload name libraries that are loaded before all others. One that \
                  is not found or is for another machine does not stop the program: glibc says so on standard error (\"object \
                  … from LD_PRELOAD cannot be preloaded: ignored\"), musl says nothing. What was predicted holds without that \
                  library, whose symbols may be what a plugin was to find.\n\n\
                  Name the library with its path in the image, or take it out of the variable.",
};

pub(super) fn finding(fault: &Fault, library: &str) -> Finding {
    let title = format!("`{}` starts without {library}, which cannot be preloaded", fault.object);
    Finding::new(RULE.code, Verdict::Unknown, library, title)
        .evidence("LD_PRELOAD or /etc/ld.so.preload names it; the loader goes on without it")
        .hint("name it with its path in the image, or take it out of LD_PRELOAD")
}
