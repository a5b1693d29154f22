//! The loader crashes.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "loader-crash",
    description: "the loader itself crashes on the plugin",
    explanation: "musl trusts the files that it loads. An object without any hash table, or a weak reference to \
                  thread-local storage that nobody defines, makes it follow a null pointer: the process ends with SIGSEGV in \
                  dlopen, without a message.\n\n\
                  Link the plugin with a hash table (`-Wl,--hash-style=both`), and define or drop weak thread-local \
                  variables.",
};

pub(super) fn finding(fault: &Fault, why: &str) -> Finding {
    let title = format!("`{}` makes the loader crash: {why}", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
        .hint("link it with -Wl,--hash-style=both, and define or drop weak thread-local variables")
}
