//! Virtual tables.

use crate::check::Rule;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "cxx-virtual-table",
    description: "a class has virtual tables of different sizes in host and plugin",
    explanation: "The virtual table of a class (_ZTV…) has a slot for each virtual function. If host and plugin were \
                  compiled from different declarations of the class, a call goes through the wrong slot: another function \
                  runs, with other arguments. Names and versions are equal, so nothing is reported.\n\n\
                  A different size is a proof of different declarations; equal sizes are none of equal ones. Compile host \
                  and plugins from the same headers.",
};

pub(in crate::check) fn finding(host: &str, plugin: &str, class: &str, ours: u64, theirs: u64) -> Finding {
    let shown = super::symbol_not_found::readable(class).unwrap_or_else(|| class.to_owned());
    let title = format!("`{plugin}` and `{host}` were compiled from different declarations: the {shown} differs");
    Finding::new(RULE.code, Verdict::Danger, class, title)
        .evidence(format!("{host}: {ours} bytes; {plugin}: {theirs} bytes"))
        .hint("compile host and plugins from the same headers")
}
