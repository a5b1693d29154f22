//! DT_RELR.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "relative-relocations",
    description: "packed relative relocations that the loader refuses or does not know",
    explanation: "DT_RELR packs relative relocations. A C library that does not know it would pass over them in silence, \
                  so an object that has them must need the version GLIBC_ABI_DT_RELR, and glibc since 2.36 refuses one \
                  that needs versions of other libraries and not that one (\"DT_RELR without GLIBC_ABI_DT_RELR \
                  dependency\").\n\n\
                  glibc before 2.36 and musl before 1.2.4 do not know the tag. They load the object without a word, and \
                  every pointer in its data that the linker filled in is an offset, not an address: the process ends by \
                  SIGSEGV when the first of its constructors is called, or when such a pointer is used.\n\n\
                  The linker adds the mark if the C library of the build image has it and something of it is used. Link \
                  without `-z pack-relative-relocs`, or let the object use a versioned symbol of the C library.",
};

pub(super) fn finding(fault: &Fault) -> Finding {
    let title = format!(
        "`{}` has packed relative relocations (DT_RELR) and does not need GLIBC_ABI_DT_RELR",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title).hint("link it without -z pack-relative-relocs")
}

/// Relocations that an old loader passes over.
pub(super) fn ignored(fault: &Fault, by: &str) -> Finding {
    let title = format!(
        "`{}` has packed relative relocations (DT_RELR), which {by} does not apply",
        fault.object
    );
    let verdict = if fault.stops { Verdict::Refuse } else { Verdict::Danger };
    Finding::new(RULE.code, verdict, &fault.object, title)
        .evidence(
            "the loader says nothing; pointers in its data are offsets then, and whoever follows one ends by SIGSEGV",
        )
        .hint("link it without -z pack-relative-relocs, or run it with glibc 2.36 or musl 1.2.4 or newer")
}
