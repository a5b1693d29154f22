//! A file of another machine.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "wrong-machine",
    description: "the file is for another machine or of another class",
    explanation: "The machine (e_machine), the class (32 or 64 bits) and the order of bytes must be those of the host.\n\n\
                  glibc passes over a file of another machine as if it were not there, so its message is the misleading \
                  \"cannot open shared object file: No such file or directory\"; a good copy in a later directory is still \
                  found. A file of the other class is named (\"wrong ELF class\").\n\n\
                  musl looks at none of these fields. A file of another machine is mapped and relocated by the rules of \
                  the host's machine: it fails with \"unsupported relocation type\", or it loads, and the first call runs \
                  instructions of another processor.\n\n\
                  Build the plugin for the host's machine; in containers, mind the `--platform` of the image.",
};

/// A file that the loader does not take.
pub(super) fn finding(fault: &Fault, what: &str, host: &str) -> Finding {
    let title = format!("`{}` is {what}, but the host is for {host}", fault.object);
    let verdict = if fault.stops { Verdict::Refuse } else { Verdict::Danger };
    Finding::new(RULE.code, verdict, &fault.object, title)
        .hint("build the plugin for the host's machine (in containers: the image's --platform)")
}

/// A host whose loader is of another machine.
pub(super) fn of_host(fault: &Fault, machine: &str, loader: &str) -> Finding {
    let title = format!(
        "`{}` is for {machine}, but the loader where it runs is for {loader}",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
        .hint("build the host for the machine on which it runs (in containers: the image's --platform)")
}
