//! A file cannot be opened.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "file-unreadable",
    description: "the file is not there, or is none",
    explanation: "The host or the plugin could not be opened at its path in the root file system: it does not exist there, \
                  one of its directories is a file, or its symbolic links lead nowhere or in a circle. Links are followed \
                  inside the root, as they would be in a container.\n\n\
                  A library that nobody may read is no file for a loader either, unless it runs as root, and a program that nobody may execute none for \
                  the kernel.\n\n\
                  Check the path; for a file inside of `--rootfs`, give its path below that directory.",
};

pub(super) fn finding(fault: &Fault) -> Finding {
    let title = format!("`{}` cannot be opened", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
        .hint("check the path, and where the symbolic links on the way lead inside the root file system")
}

/// A file that nobody may read; `root` may all the same.
pub(super) fn denied(fault: &Fault) -> Finding {
    let title = format!("`{}` may not be read by anybody", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
        .evidence("a host that runs as root may read it all the same")
        .hint("let the host's user read it: chmod a+r")
}

/// A host that nobody may execute.
pub(super) fn not_executable(fault: &Fault) -> Finding {
    let title = format!("`{}` cannot be started: nobody may execute it", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title).hint("make it executable: chmod a+x")
}
