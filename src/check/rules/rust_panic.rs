//! Panics that end the process.

use crate::check::Rule;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "rust-panic",
    description: "a panic in the plugin ends the process",
    explanation: "A plugin that was compiled with `panic = \"abort\"` ends the whole process when it panics: neither its own \
                  nor the host's catch_unwind runs. A plugin with its own standard library (every cdylib) unwinds only \
                  inside itself: a panic that leaves it is a foreign exception to the host (\"Rust cannot catch foreign \
                  exceptions, aborting\").\n\n\
                  Compile plugins with `panic = \"unwind\"` and catch panics at the border, inside the plugin.",
};

pub(in crate::check) fn finding(plugin: &str) -> Finding {
    let title = format!("`{plugin}` was compiled with panic = \"abort\": a panic in it ends the host");
    Finding::new(RULE.code, Verdict::Danger, plugin, title)
        .hint("compile it with panic = \"unwind\", and catch panics inside the plugin")
}
