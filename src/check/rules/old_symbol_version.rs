//! An old version.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "old-symbol-version",
    description: "a reference without a version is bound to an old one",
    explanation: "A library can define several versions of one name, one of which is the default (`f@@V2`). A reference \
                  with a version gets that one. A reference without a version, which comes about when the plugin was \
                  linked without the library or against a release without versions, gets the definition of the library's \
                  first version in glibc, even if that is hidden (`f@V1`): the function as it was years ago. musl takes \
                  the default.\n\n\
                  Link the plugin with the library (`-lfoo`, and `-Wl,-z,defs` to notice when it is forgotten).",
};

pub(super) fn finding(
    fault: &Fault,
    symbol: &str,
    bound: &str,
    default: &str,
    provider: &str,
    is_libc: bool,
) -> Finding {
    let title = format!(
        "`{}` gets the old `{symbol}@{bound}` of {provider}, not `{symbol}@@{default}`",
        fault.object
    );
    // Old versions in the C library are kept compatible on purpose; elsewhere nobody promised.
    let verdict = if is_libc { Verdict::Unknown } else { Verdict::Danger };
    Finding::new(RULE.code, verdict, symbol, title)
        .evidence(format!("{}: the reference to {symbol} has no version", fault.object))
        .hint("link the plugin with the library that it uses (-l…), so that the version is recorded; -Wl,-z,defs tells when one is forgotten")
}
