//! A library of `LD_PRELOAD` that is not there.

use super::secure_execution::with_gain;
use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::secure::Gain;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "preload-ignored",
    description: "a library that is to be preloaded cannot be, and is ignored",
    explanation: "LD_PRELOAD and, with glibc, /etc/ld.so.preload name libraries that are loaded before all others. One that \
                  is not found or is for another machine does not stop the program: glibc says so on standard error (\"object \
                  … from LD_PRELOAD cannot be preloaded: ignored\"), musl says nothing. What was predicted holds without that \
                  library, whose symbols may be what a plugin was to find. Of a host in secure-execution mode more is ignored: see \
                  `lockstep explain secure-execution`.\n\n\
                  Name the library with its path in the image, or take it out of the variable.",
};

pub(super) fn finding(fault: &Fault, library: &str, gain: Option<&Gain>) -> Finding {
    let title = format!("`{}` starts without {library}, which cannot be preloaded", fault.object);
    let finding = Finding::new(RULE.code, Verdict::Unknown, library, title)
        .evidence("LD_PRELOAD or /etc/ld.so.preload names it; the loader goes on without it");
    let hint = match gain {
        None => "name it with its path in the image, or take it out of LD_PRELOAD",
        Some(_) => "take it out of LD_PRELOAD: name its path in /etc/ld.so.preload (glibc), or link the host with it",
    };
    with_gain(finding, gain).hint(hint)
}
