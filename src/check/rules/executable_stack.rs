//! An executable stack.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Phase, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "executable-stack",
    description: "the plugin asks for an executable stack",
    explanation: "An object whose PT_GNU_STACK says so, or that has none at all, asks for an executable stack. It is \
                  nearly always an accident: one assembler file without a `.note.GNU-stack` section is enough.\n\n\
                  Up to 2.40, glibc made the stacks of the whole process executable in silence. Since 2.41 dlopen refuses, \
                  unless the host's own stack is executable: \"cannot enable executable stack as shared object requires\". \
                  musl does nothing, and code on the stack crashes.\n\n\
                  Add `.section .note.GNU-stack,\"\",%progbits` to assembler files, or link with `-z noexecstack`; find the \
                  file with `-Wl,--warn-execstack`.",
};

pub(super) fn finding(fault: &Fault, by_absence: bool) -> Finding {
    let verdict = match (fault.stops, fault.phase) {
        (true, _) => Verdict::Refuse,
        // musl does nothing about it, and code on the stack crashes.
        (false, Phase::Call) => Verdict::Danger,
        (false, _) => Verdict::Unknown,
    };
    let title = format!(
        "`{}` asks for an executable stack, which the host does not have",
        fault.object
    );
    let evidence = if by_absence {
        "it has no PT_GNU_STACK, which counts as executable"
    } else {
        "PT_GNU_STACK is executable"
    };
    let finding = Finding::new(RULE.code, verdict, &fault.object, title).evidence(evidence);
    let finding = if fault.stops {
        finding
    } else {
        finding.evidence("this loader makes every stack of the process executable, or ignores it; glibc 2.41 refuses")
    };
    finding.hint("link it with -z noexecstack, and add .note.GNU-stack to its assembler files")
}
