//! Fixed thread-local storage on musl.

use crate::check::Rule;
use crate::check::fault::Fault;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "static-tls-opened",
    description: "thread-local storage has a fixed offset, which musl gives only to start-up objects",
    explanation: "Thread-local variables that are compiled for initial-exec access are at a fixed offset from the thread \
                  pointer. musl gives such offsets only to the host and to the libraries that it starts with, never to \
                  what is opened later, however small. A reference that is bound to the host's own variable is fine, which \
                  is why Go plugins load on musl.\n\n\
                  Compile the plugin with `-fPIC` and the default TLS model. Go's `-buildmode=c-shared` cannot be opened \
                  on musl for this reason.",
};

pub(super) fn finding(fault: &Fault, symbol: Option<&str>, provider: &str) -> Finding {
    let what = symbol.map_or_else(
        || "a thread-local variable".to_owned(),
        |symbol| format!("thread-local `{symbol}`"),
    );
    let title = format!(
        "`{}` accesses {what} of {provider} at a fixed offset, which musl does not support there",
        fault.object
    );
    Finding::new(RULE.code, Verdict::Refuse, symbol.unwrap_or(&fault.object), title)
        .evidence("initial-exec TLS resolves only to the host and to what it started with")
        .hint("compile it with -fPIC and without -ftls-model=initial-exec; Go's c-shared mode cannot be opened on musl")
}
