//! The host's interpreter is not in the image.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "interpreter-missing",
    description: "the host's loader is not in the image",
    explanation: "The kernel starts a dynamic program by starting its interpreter (PT_INTERP). If that path does not exist \
                  in the image, execve(2) fails with ENOENT, and shells report \"not found\" about the program itself, \
                  although it is there.\n\n\
                  The usual cause is a host that was built for glibc in an image with musl, or the reverse. Installing the \
                  other loader beside the image's own C library (gcompat, libc6-compat) makes the program start, and hides \
                  every other difference between the two.\n\n\
                  Build the host in an image of the same family as the one in which it runs, for example with `lockstep \
                  build`.",
};

pub(super) fn finding(fault: &Fault, interpreter: &str, is_there: bool) -> Finding {
    let what = match is_there {
        true => "no program",
        false => "not in the image",
    };
    let title = format!("`{}` cannot start: its loader {interpreter} is {what}", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, interpreter, title)
        .evidence(format!("{}: PT_INTERP is {interpreter}", fault.object))
        .hint("build the host in an image of the same C library as the one in which it runs")
}
