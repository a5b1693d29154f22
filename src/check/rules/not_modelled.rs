//! What is not simulated.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "not-modelled",
    description: "something that the simulation does not know decides",
    explanation: "The answer depends on something that lockstep does not simulate: a machine whose loader it does not \
                  know, a search path with `$PLATFORM`, whose value depends on the processor, or a variable that changes \
                  the loader (LD_AUDIT, the tunables glibc.rtld and glibc.cpu). Nothing is claimed about what follows \
                  from it.\n\n\
                  Use the smoke test (`lockstep smoke`) for such a plugin: it asks the real loader.",
};

pub(super) fn finding(fault: &Fault, what: &str) -> Finding {
    let title = format!("`{}` depends on {what}, which is not simulated", fault.object);
    Finding::new(RULE.code, Verdict::Unknown, &fault.object, title).hint("ask the real loader: lockstep smoke")
}
