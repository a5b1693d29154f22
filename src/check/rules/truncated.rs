//! A file that was cut off.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "truncated",
    description: "the file is shorter than its segments say",
    explanation: "The file ends before one of the segments that its program headers describe. Loaders map segments without \
                  comparing them with the file's length, so nothing is reported: the process is ended by SIGBUS when a \
                  page behind the end of the file is touched. The loader itself touches what it writes (relocations, the \
                  end of the data) and the dynamic section; code that is missing is touched only when it is called.\n\n\
                  Typical causes are a copy that was interrupted, a full disk, or a layer that was extracted while it was \
                  still written. Copy or build the file again, and compare its digest.",
};

pub(super) fn finding(fault: &Fault, end: u64, len: u64) -> Finding {
    let title = format!(
        "`{}` is cut off: it has {len} bytes, and its segments reach to {end}",
        fault.object
    );
    let verdict = if fault.stops { Verdict::Refuse } else { Verdict::Danger };
    Finding::new(RULE.code, verdict, &fault.object, title)
        .evidence("no loader reports this: the process is ended by SIGBUS where a missing page is touched")
        .hint("copy or build the file again, and compare its digest")
}
