//! Symbols of the contract.

use crate::check::Rule;
use crate::check::{Finding, Phase, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "contract-symbol",
    description: "a symbol of the contract is not found in the plugin",
    explanation: "The host looks up each symbol of the contract with dlsym(3) after it has opened the plugin. A symbol \
                  that the plugin does not export is not found: it is static or hidden (`-fvisibility=hidden` without an \
                  attribute, a version script, Rust without `#[no_mangle] pub extern \"C\"`), it was removed as unused, or \
                  its name is mangled (C++ without `extern \"C\"`).\n\n\
                  Indirect functions (STT_GNU_IFUNC) are found by glibc and not by musl.\n\n\
                  Export it; `nm -D --defined-only plugin.so` shows what is exported.",
};

pub(super) fn finding(plugin: &str, symbol: &str, words: String, near: Option<&str>, why: Option<&str>) -> Finding {
    let title = format!("`{plugin}` does not export `{symbol}`, which the contract names");
    let mut finding = Finding::new(RULE.code, Verdict::Refuse, symbol, title).predicted(Phase::Symbol, Some(words));
    if let Some(why) = why {
        finding = finding.evidence(why);
    }
    let hint = match near {
        Some(near) if super::symbol_not_found::readable(near).is_some() => {
            let readable = super::symbol_not_found::readable(near).unwrap_or_default();
            format!("it exports `{near}`, which is `{readable}`: declare it extern \"C\" (Rust: #[no_mangle])")
        }
        Some(near) => format!("it exports `{near}`: is that the one?"),
        None => {
            "export it: not static, default visibility, extern \"C\" (Rust: #[no_mangle] pub extern \"C\")".to_owned()
        }
    };
    finding.hint(hint)
}
