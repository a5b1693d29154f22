//! The processor's level.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "processor-level",
    description: "the plugin needs a newer processor",
    explanation: "A note in the file (x86 ISA needed) says which level of processor it was built for: x86-64-v2, -v3 or \
                  -v4. glibc refuses to load it on a processor below; musl loads it, and the first instruction that is not \
                  there ends the process with SIGILL.\n\n\
                  The note can be inherited from the distribution's start-up objects, though no such instruction is used, \
                  and it can be missing though they are. So this is no proof: compare the level with the machines that you \
                  run on.",
};

pub(super) fn finding(fault: &Fault, level: u8) -> Finding {
    let verdict = match (fault.stops, level) {
        (true, _) => Verdict::Refuse,
        (false, ..=4) => Verdict::Unknown,
        (false, _) => Verdict::Danger,
    };
    let title = match level {
        2..=4 => format!(
            "`{}` says that it needs a processor of level x86-64-v{level}",
            fault.object
        ),
        _ => format!("`{}` asks for a processor that does not exist", fault.object),
    };
    Finding::new(RULE.code, verdict, &fault.object, title)
        .hint("compile it for the oldest processor that you run on (-march=x86-64, GOAMD64=v1, -C target-cpu=x86-64)")
}
