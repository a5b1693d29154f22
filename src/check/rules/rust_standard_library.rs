//! Two standard libraries of Rust.

use crate::check::Rule;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "rust-standard-library",
    description: "two Rust standard libraries are in one process",
    explanation: "Each cdylib has a standard library of its own inside, which is fine as long as only C types cross. Rust \
                  dylibs share `libstd-<hash>.so`; if host and plugins need two of them, types of one are not types of the \
                  other: a downcast answers no, a panic of one is a foreign exception to the other and ends the process.\n\n\
                  Build everything with one toolchain, and with `-C prefer-dynamic` everywhere or nowhere.",
};

pub(in crate::check) fn finding(plugin: &str, libraries: &[String]) -> Finding {
    let title = format!("`{plugin}` brings a second Rust standard library into the process");
    Finding::new(RULE.code, Verdict::Danger, plugin, title)
        .evidence(libraries.join(", "))
        .hint("build host and plugins with one toolchain, with -C prefer-dynamic everywhere or nowhere")
}
