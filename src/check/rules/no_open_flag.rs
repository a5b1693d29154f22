//! `-z nodlopen`.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "no-open-flag",
    description: "the plugin says that it must not be opened",
    explanation: "The flag DF_1_NOOPEN (`ld -z nodlopen`) says that an object works only if it is loaded when the program \
                  starts. glibc refuses to open such an object; musl does not look at the flag.\n\n\
                  Link the plugin without `-z nodlopen`, or find out why it was given: often because of thread-local \
                  storage with a fixed offset.",
};

pub(super) fn finding(fault: &Fault) -> Finding {
    let verdict = if fault.stops { Verdict::Refuse } else { Verdict::Danger };
    let title = format!("`{}` is marked as not to be opened (DF_1_NOOPEN)", fault.object);
    Finding::new(RULE.code, verdict, &fault.object, title).hint("link it without -z nodlopen")
}
