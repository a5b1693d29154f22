//! Copy relocations.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "copied-data-grew",
    description: "the host copied data that has become larger since it was linked",
    explanation: "A program that reads a library's variable has a copy of it (a copy relocation), of the size that the \
                  variable had when the program was linked. If the library's variable is larger now, what is behind the \
                  copy's end is something else, and library and plugins, which are bound to the copy, read and write it. \
                  glibc prints a warning when the program starts (\"has different size in shared object, consider \
                  re-linking\"); musl says nothing.\n\n\
                  Link the host again.",
};

pub(super) fn finding(fault: &Fault, symbol: &str, own: u64, provider: &str, size: u64) -> Finding {
    let title = format!(
        "`{}` has a copy of `{symbol}` of {own} bytes; in {provider} it has {size}",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Danger, symbol, title)
        .hint("link the host again, against the library that is in the image")
}
