//! Text relocations.

use crate::check::Rule;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "text-relocations",
    description: "the plugin's code is written to when it is loaded",
    explanation: "Code that was not compiled with -fPIC has addresses in it that the loader must write (DT_TEXTREL). \
                  Loaders do it in silence. Systems that forbid pages which are both writable and executable (SELinux, \
                  PaX, some seccomp profiles) refuse, and the pages are not shared between processes.\n\n\
                  Compile everything that goes into the plugin with -fPIC, static libraries too.",
};

pub(super) fn finding(plugin: &str) -> Finding {
    let title = format!("`{plugin}` has relocations in its code");
    Finding::new(RULE.code, Verdict::Unknown, plugin, title)
        .evidence("loaders apply them in silence; systems with SELinux and the like refuse")
        .hint("compile everything that goes into it with -fPIC")
}
