//! Two layouts of std::string.

use crate::check::Rule;
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "cxx-string",
    description: "host and plugin use different layouts of std::string",
    explanation: "Since GCC 5, libstdc++ has two layouts of std::string and std::list, chosen by _GLIBCXX_USE_CXX11_ABI. \
                  Functions that take them have different mangled names, so a direct call fails loudly at load; virtual \
                  functions and structs that contain them have the same names, and are read with the wrong layout.\n\n\
                  Compile host and plugins with the same setting, which is 1 by default.",
};

pub(in crate::check) fn finding(host: &str, plugin: &str, is_old: bool) -> Finding {
    let title = format!("`{plugin}` and `{host}` use different layouts of std::string");
    let (old, new) = if is_old { (plugin, host) } else { (host, plugin) };
    Finding::new(RULE.code, Verdict::Danger, plugin, title)
        .evidence(format!(
            "{old}: symbols with the layout before GCC 5 (Ss); {new}: with std::__cxx11"
        ))
        .hint("compile both with the same _GLIBCXX_USE_CXX11_ABI")
}
