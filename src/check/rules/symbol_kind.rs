//! A symbol of another kind.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};
use crate::facts::elf::SymbolKind;

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "symbol-kind",
    description: "a symbol is bound to something of another kind",
    explanation: "The reference expects a function and gets data, or data and gets thread-local storage, or the reverse. \
                  Loaders compare names and versions, not kinds, so it loads. Calling data crashes; an offset into \
                  thread-local storage that is taken for an address, or the reverse, reads and writes somewhere.\n\n\
                  It comes from a library whose declaration changed between releases, or from two things that have the \
                  same name. Build the plugin against the library that is in the image.",
};

pub(super) fn finding(fault: &Fault, symbol: &str, expected: SymbolKind, found: SymbolKind, provider: &str) -> Finding {
    let title = format!(
        "`{}` takes `{symbol}` for {}, but in {provider} it is {}",
        fault.object,
        word(expected),
        word(found)
    );
    Finding::new(RULE.code, Verdict::Danger, symbol, title)
        .evidence("loaders compare names, not kinds")
        .hint("build the plugin against the library that is in the image, or rename one of the two")
}

fn word(kind: SymbolKind) -> &'static str {
    match kind {
        SymbolKind::Function | SymbolKind::Ifunc => "a function",
        SymbolKind::Object | SymbolKind::Common => "data",
        SymbolKind::Tls => "thread-local storage",
        _ => "something else",
    }
}
