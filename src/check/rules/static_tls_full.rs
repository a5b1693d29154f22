//! Static thread-local storage.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "static-tls-full",
    description: "there is no room for the plugin's thread-local storage",
    explanation: "Thread-local variables that are compiled for initial-exec access (`-ftls-model=initial-exec`, and \
                  everything that is not compiled with -fPIC) are at a fixed offset from the thread pointer. For objects \
                  that are opened later, glibc keeps a small block free (some 1,600 bytes in all, for all plugins \
                  together); when it is full, dlopen fails. Which plugin fails depends on the order.\n\n\
                  Compile the plugin with `-fPIC` and the default TLS model, and memory allocators such as jemalloc with \
                  their option for that; or link the library to the host, so that it is there at the start. As a stopgap, \
                  `GLIBC_TUNABLES=glibc.rtld.optional_static_tls=…` makes the block larger.",
};

pub(super) fn finding(fault: &Fault, size: u64, free: u64) -> Finding {
    let title = format!(
        "`{}` needs {size} bytes of static thread-local storage, and {free} are left",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title)
        .hint("compile it with -fPIC and without -ftls-model=initial-exec, or link it to the host so that it is there at the start")
}
