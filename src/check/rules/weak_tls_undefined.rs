//! Weak thread-local variables.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "weak-tls-undefined",
    description: "a weak thread-local variable is defined nowhere",
    explanation: "A weak reference to a function or to data that nobody defines is null, and programs test for that. \
                  Thread-local storage has no null: in glibc the address of such a variable is somewhere near the thread \
                  pointer and never null, or the first access crashes; musl's loader follows a null pointer while it \
                  loads.\n\n\
                  Define the variable, or use a function instead.",
};

pub(super) fn finding(fault: &Fault, symbol: &str) -> Finding {
    let title = format!(
        "`{}` uses thread-local `{symbol}`, which is weak and defined nowhere",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Danger, symbol, title)
        .evidence(
            "its address is never null, so a test for it does not help, and an access crashes or reads something else",
        )
        .hint("define it, or ask through a function")
}
