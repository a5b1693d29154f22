//! Static hosts.

use crate::check::Rule;
use crate::check::{Finding, Phase, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "static-host",
    description: "the host is linked statically and cannot open plugins",
    explanation: "A program without an interpreter has its C library inside it. musl's static dlopen always fails \
                  (\"Dynamic loading not supported\"). glibc's loads the shared C library of the system beside the one \
                  inside, which works only if both are of exactly the same release; otherwise the process crashes inside \
                  dlopen. The host's own symbols are never visible to plugins.\n\n\
                  Go programs with CGO_ENABLED=0 and Rust programs for musl with `+crt-static` (the default of that \
                  target) are static. Link the host dynamically: `-C target-feature=-crt-static`, `CGO_ENABLED=1`, no \
                  `-static`.",
};

/// A static host that refuses in `words`, or may crash.
pub(super) fn finding(host: &str, verdict: Verdict, phase: Phase, words: Option<String>, why: &str) -> Finding {
    let title = format!("`{host}` is linked statically: {why}");
    Finding::new(RULE.code, verdict, host, title)
        .hint("link the host dynamically: no -static, CGO_ENABLED=1, -C target-feature=-crt-static")
        .predicted(phase, words)
}
