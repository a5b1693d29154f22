//! `go-version`: all hashes are equal, and yet the toolchains are not.

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-version",
    description: "host and plugin were compiled by different versions of Go whose packages happen to match",
    explanation: "\
Go's runtime compares the packages that host and plugin share, by a hash of what each exports to others. It does not compare \
the versions of Go. A toolchain that was rebuilt or patched can therefore pass the check although what is not part of the hash \
differs: bodies of functions that are not inlined, assembly, the linker, the layout of the runtime's own tables. The plugin \
loads without a word, and two versions of the runtime's code work on the same memory.

Compile host and plugins with the same toolchain.",
};

/// Compares the versions of a pair whose hashes are equal.
#[must_use]
pub(super) fn check(host: &GoSide, plugin: &GoSide) -> Option<Finding> {
    let (ours, theirs) = (host.go?.version()?, plugin.go?.version()?);
    if ours == theirs {
        return None;
    }
    let title = format!(
        "`{}` was compiled by {theirs}, `{}` by {ours}, and the runtime does not notice",
        plugin.shown, host.shown
    );
    Some(
        Finding::new(RULE.code, Verdict::Danger, theirs, title)
            .evidence(format!("{}: {ours}", host.shown))
            .evidence(format!("{}: {theirs}", plugin.shown))
            .evidence("the hashes of all shared packages are equal; they do not cover the version")
            .hint(format!("compile the plugin with {ours}"))
            .predicted(Phase::None, None),
    )
}
