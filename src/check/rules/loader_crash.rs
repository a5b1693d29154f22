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
                  dlopen, without a message. So it does where RTLD_LAZY left a reference unbound and a later plugin brings what it \
                  names: it is bound then, and where it is, memory may have become read-only (`-z relro`).\n\n\
                  Link the plugin with a hash table (`-Wl,--hash-style=both`), and define or drop weak thread-local \
                  variables.",
};

pub(super) fn finding(fault: &Fault, why: &str) -> Finding {
    of(fault, why).hint("link it with -Wl,--hash-style=both, and define or drop weak thread-local variables")
}

/// What was deferred, and is bound when it cannot be written any more.
pub(super) fn bound_too_late(fault: &Fault) -> Finding {
    of(
        fault,
        "a reference that was left unbound is bound in memory that is read-only by now",
    )
    .hint("open first what defines it, or link what needs it with that (-l…), so that it is never unbound")
}

fn of(fault: &Fault, why: &str) -> Finding {
    let title = format!("`{}` makes the loader crash: {why}", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
}
