//! Libraries of the same name.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "library-shadowed",
    description: "a library is taken from what is loaded already, not from where the plugin has it",
    explanation: "A library is known in a process by its DT_SONAME (glibc) or its file name (musl). If one of that name is \
                  loaded already, by the host or by an earlier plugin, a plugin that would find another file of that name \
                  gets the one that is there. If the two differ, the plugin runs with a library that it was not built for, \
                  and the order of plugins decides.\n\n\
                  Give libraries of your own names of their own (DT_SONAME), link them statically with hidden symbols, or \
                  build all plugins against one copy.",
};

pub(super) fn finding(fault: &Fault, library: &str, loaded: &str, own: &str) -> Finding {
    let title = format!(
        "`{}` gets the {library} that is loaded already, not its own",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Danger, library, title)
        .evidence(format!("loaded: {loaded}"))
        .evidence(format!("its own: {own}, which is another file"))
        .hint("give the library a name of its own (-Wl,-soname), or build all plugins against one copy")
}
