//! No root.

use crate::check::Rule;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "no-rootfs",
    description: "the file system in which the host runs was not given",
    explanation: "Which libraries are found, and which symbols they define, depends on the image in which the host runs. \
                  Without `--rootfs`, this machine is taken if the host could start on it; if its loader is not here, only \
                  the files themselves are compared, and nothing is said about libraries, versions and symbols.\n\n\
                  Give the root: `--rootfs DIRECTORY`, a tar, an image saved with `docker save`, or the name of an image \
                  in the engine.",
};

pub(super) fn finding(host: &str) -> Finding {
    let title = format!("libraries, versions and symbols were not looked at: `{host}` does not run on this machine");
    Finding::new(RULE.code, Verdict::Unknown, host, title)
        .hint("say where it runs: --rootfs DIRECTORY, a tar, a saved image, or an image in the engine")
}
