//! A second C library.

use crate::check::Rule;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "second-libc",
    description: "a second C library is loaded into the process",
    explanation: "The plugin's closure contains a C library of another family, because a directory on the search path has \
                  it. Two C libraries in one process have two heaps, two sets of locks and files, and two ideas of what a \
                  thread is. Simple plugins seem to work; memory that one allocates and the other frees does not.\n\n\
                  Remove the directory from LD_LIBRARY_PATH or ld.so.conf, and build the plugin for the host's C library.",
};

pub(super) fn finding(plugin: &str, libc: &str) -> Finding {
    let title = format!("`{plugin}` brings a second C library into the process: {libc}");
    Finding::new(RULE.code, Verdict::Danger, libc, title)
        .evidence("two C libraries have two heaps, two sets of locks, and two ideas of what a thread is")
        .hint("build the plugin for the host's C library, and take the directory of the other off the search path")
}
