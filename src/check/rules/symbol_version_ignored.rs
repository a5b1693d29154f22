//! Versions of symbols that musl ignores.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "symbol-version-ignored",
    description: "a symbol is bound to another version than the one it was linked against",
    explanation: "musl binds by name alone and takes the default version of a library that has several (`f@@V2`). An \
                  object that was linked when `f@V1` was the default gets the new function on musl, and would get the old \
                  one with glibc. The two have different versions because they are not compatible.\n\n\
                  Link the plugin again, against the library that is in the image.",
};

pub(super) fn finding(fault: &Fault, symbol: &str, asked: &str, bound: &str, provider: &str) -> Finding {
    let title = format!(
        "`{}` was linked against `{symbol}@{asked}` and gets `{symbol}@{bound}` of {provider}",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Danger, symbol, title)
        .evidence("musl binds by name alone and says nothing")
        .hint("link the plugin again, against the library that is in the image")
}
