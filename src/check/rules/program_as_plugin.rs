//! A program as a plugin.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "program-as-plugin",
    description: "the plugin is a program, not a library",
    explanation: "A position-independent executable looks like a shared object (ET_DYN), and before 2019 could be opened \
                  like one. glibc refuses programs since 2.30: their thread-local storage and copy relocations assume that \
                  they are the first object in the process.\n\n\
                  musl opens them all the same. Calls may even work; thread-local variables of the program are then read \
                  and written at the place where the host's own are, silently.\n\n\
                  Link the plugin as a library: `cc -shared`, `go build -buildmode=plugin`, `crate-type = [\"cdylib\"]`.",
};

pub(super) fn finding(fault: &Fault) -> Finding {
    let title = format!("`{}` is a program, not a library", fault.object);
    let verdict = if fault.stops { Verdict::Refuse } else { Verdict::Danger };
    let finding = Finding::new(RULE.code, verdict, &fault.object, title);
    let finding = if fault.stops {
        finding
    } else {
        finding.evidence("musl opens it, and its thread-local variables are then the host's")
    };
    finding.hint("link it as a library: cc -shared, go build -buildmode=plugin, crate-type cdylib")
}
