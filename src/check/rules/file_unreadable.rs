//! A file cannot be opened.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::user::Obstacle;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "file-unreadable",
    description: "the file is not there, or is none",
    explanation: "The host or the plugin could not be opened at its path in the root file system: it does not exist there, \
                  one of its directories is a file, or its symbolic links lead nowhere or in a circle. Links are followed \
                  inside the root, as they would be in a container.\n\n\
                  What the host's user may not read is no file for a loader either, and a program that it may not execute none \
                  for the kernel; each directory on the way must let it pass (`x`). Root reads everything, and executes what \
                  anybody may. The user is the one of `--user`, else the image's; where neither says, what is not open to \
                  everybody is `unknown`.\n\n\
                  Check the path; for a file inside of `--rootfs`, give its path below that directory.",
};

pub(super) fn finding(fault: &Fault) -> Finding {
    let title = format!("`{}` cannot be opened", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
        .hint("check the path, and where the symbolic links on the way lead inside the root file system")
}

/// A file that the host's user may not read.
pub(super) fn denied(fault: &Fault, user: &str, obstacle: &Obstacle) -> Finding {
    let title = format!("`{}` may not be read by {user}", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
        .evidence(obstacle.to_string())
        .hint(format!("let the host's user read it: {}", obstacle.remedy()))
}

/// A file that not everybody may read, or execute if it is the host.
pub(super) fn may_be_denied(fault: &Fault, obstacle: &Obstacle) -> Finding {
    let title = format!(
        "`{}` is not open to everybody, and it is not known who the host runs as",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Unknown, &fault.object, title)
        .evidence(obstacle.to_string())
        .hint(format!(
            "say who it runs as: --user; or open it to all: {}",
            obstacle.remedy()
        ))
}

/// A host that may not be executed by its user, or by anybody, or whose interpreter may not.
pub(super) fn not_executable(fault: &Fault, file: &str, (user, obstacle): (Option<&str>, &Obstacle)) -> Finding {
    let who = user.unwrap_or("anybody");
    let what = match file == fault.object {
        true => "it".to_owned(),
        false => format!("`{file}`"),
    };
    let title = format!(
        "`{}` cannot be started: {what} may not be executed by {who}",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
        .evidence(obstacle.to_string())
        .hint(format!("make it executable: {}", obstacle.remedy()))
}
