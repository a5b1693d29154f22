//! An unknown relocation.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "relocation-unsupported",
    description: "a relocation is of a kind that the loader does not know",
    explanation: "Relocations have numbers whose meaning depends on the machine. A number that the loader does not know \
                  nearly always means that the file is of another machine (type 1026 is a call slot of aarch64), or, on \
                  musl, an indirect function of glibc (R_X86_64_IRELATIVE, type 37), which musl does not support.\n\n\
                  Build the plugin for the host's machine and C library.",
};

pub(super) fn finding(fault: &Fault, kind: u32, offset: u64, machine: &str) -> Finding {
    let verdict = if fault.stops { Verdict::Refuse } else { Verdict::Unknown };
    let title = format!(
        "`{}` has relocations of type {kind}, which the loader of {machine} does not know",
        fault.object
    );
    Finding::new(RULE.code, verdict, &fault.object, title)
        .evidence(format!("the first is for offset {offset:#x}"))
        .hint("build the plugin for the host's machine and C library")
}
