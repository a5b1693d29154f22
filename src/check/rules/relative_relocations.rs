//! DT_RELR.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "relative-relocations",
    description: "packed relative relocations without the mark that the C library asks for",
    explanation: "DT_RELR packs relative relocations. A C library that does not know it would pass over them in silence, \
                  so an object that has them must need the version GLIBC_ABI_DT_RELR, and glibc since 2.36 refuses one \
                  that needs versions of other libraries and not that one (\"DT_RELR without GLIBC_ABI_DT_RELR \
                  dependency\").\n\n\
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
