//! A symbol of another plugin.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "interposed-symbol",
    description: "a symbol is bound to another plugin's definition",
    explanation: "With RTLD_GLOBAL (Go's runtime always uses it) the first definition in load order wins for everybody. If \
                  two plugins define the same global name, the second one calls and writes what the first one defined, \
                  also from inside itself. Nothing is reported, and which plugin is wrong depends on the order.\n\n\
                  With RTLD_LOCAL the same happens in glibc for STB_GNU_UNIQUE symbols, such as static variables of C++ \
                  inline functions and templates: there is one of them in a process, in whichever plugin came first.\n\n\
                  Compile plugins with `-fvisibility=hidden` and export only what the contract names, or link with \
                  `-Wl,-Bsymbolic` or a version script. A hidden symbol cannot be taken over.",
};

pub(super) fn finding(fault: &Fault, symbol: &str, provider: &str, own: &str) -> Finding {
    let shown = super::symbol_not_found::readable(symbol).unwrap_or_else(|| symbol.to_owned());
    let title = format!("`{}` uses the `{shown}` of {provider}, not its own", fault.object);
    Finding::new(RULE.code, Verdict::Danger, symbol, title)
        .evidence(format!("{own} defines {symbol}, but {provider} was loaded before and its symbols are global"))
        .hint("compile plugins with -fvisibility=hidden, or link them with -Wl,-Bsymbolic; RTLD_LOCAL in the host helps where it can be chosen")
}
