//! Two C++ standard libraries.

use crate::check::Rule;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "cxx-standard-library",
    description: "host and plugin use different C++ standard libraries",
    explanation: "libstdc++ (GNU) and libc++ (LLVM) have the same names in the source and other types behind them. Their \
                  symbols have different names, so mixing them links and loads; a std::string that crosses the border is \
                  read with the wrong layout, and exceptions of one are not caught by the other.\n\n\
                  Compile host and plugins with the same standard library.",
};

pub(in crate::check) fn finding(host: &str, plugin: &str) -> Finding {
    let title = format!("`{plugin}` and `{host}` use different C++ standard libraries");
    Finding::new(RULE.code, Verdict::Danger, plugin, title)
        .hint("compile both with libstdc++, or both with libc++ (-stdlib=)")
}
