//! A version that musl ignores.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "version-ignored",
    description: "a library lacks a version that is needed of it, and musl does not look",
    explanation: "musl's loader knows names of symbols only. An object that needs version V2 of a library runs with a \
                  library that has only V1, without a word, as long as every name is there. What the newer version changed \
                  is not there.\n\n\
                  Build the plugin against the library that the runtime image has, or put the library there that it was \
                  built against.",
};

pub(super) fn finding(fault: &Fault, version: &str, provider: &str) -> Finding {
    let title = format!(
        "`{}` was linked against version {version} of {provider}, which it does not have",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Danger, version, title)
        .evidence("musl binds by name alone and says nothing")
        .hint("build the plugin against the library that the runtime image has")
}
