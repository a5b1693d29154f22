//! Sanitizers.

use crate::check::Rule;
use crate::check::{Finding, Phase, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "sanitizer-runtime",
    description: "the plugin needs a sanitizer's runtime that the host does not have",
    explanation: "Code that was compiled with -fsanitize=address, thread or memory needs the sanitizer's runtime to be the \
                  first library of the process, because it replaces malloc and maps its shadow memory before anything \
                  else. Opened later it ends the process: \"ASan runtime does not come first in initial library list\".\n\n\
                  Compile host and plugins with the same sanitizers, or start the host with LD_PRELOAD naming the runtime.",
};

pub(super) fn finding(plugin: &str, runtime: &str) -> Finding {
    let title = format!("`{plugin}` was compiled with a sanitizer, and the host was not");
    let words = "ASan runtime does not come first in initial library list; you should either link runtime to your application or manually preload it with LD_PRELOAD.";
    let message = runtime.starts_with("libasan").then(|| words.to_owned());
    Finding::new(RULE.code, Verdict::Refuse, runtime, title)
        .evidence(format!(
            "it needs {runtime}, which is loaded with the plugin, not with the host"
        ))
        .hint("compile host and plugins with the same sanitizers, or start the host with the runtime in LD_PRELOAD")
        .predicted(Phase::Load, message)
}
