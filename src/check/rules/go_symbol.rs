//! `go-symbol`: the plugin does not export what the contract names.

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};
use crate::nearest::nearest;

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-symbol",
    description: "a Go plugin does not export a symbol that the host looks up",
    explanation: "\
Plugin.Lookup finds the exported functions and variables of the plugin's main package: top-level names that begin with a \
capital letter. Methods, generic functions, constants, types, names of other packages and names that are not exported cannot \
be looked up: `plugin: symbol X not found in plugin P`.

That the symbol is there does not say that it has the type that the host expects; the host finds out with a type assertion, and \
lockstep where the contract says the type (go-symbol-type).

Export the name from package main of the plugin, spelt as the host spells it.",
};

/// More names than anyone reads.
const NAMES_LIMIT_COUNT: usize = 20;

/// Says which of the wanted symbols are missing.
#[must_use]
pub(super) fn check(plugin: &GoSide, wanted: &[String]) -> Vec<Finding> {
    let Some(go) = plugin.go else {
        return vec![];
    };
    let has = |name: &str| go.exports.iter().any(|export| export.name == name);
    wanted
        .iter()
        .filter(|name| !has(name))
        .map(|name| {
            let path = super::go_plugin_path::path(plugin);
            let names = || go.exports.iter().map(|export| export.name.as_str());
            let title = format!("`{}` does not export `{name}`", plugin.shown);
            let mut exported: Vec<&str> = names().take(NAMES_LIMIT_COUNT).collect();
            if go.exports.len() > NAMES_LIMIT_COUNT {
                exported.push("…");
            }
            let evidence = match exported.as_slice() {
                [] => format!("package {path} exports no function and no variable"),
                exported => format!("package {path} exports {}", exported.join(", ")),
            };
            let hint = match similar(name, names()) {
                Some(meant) => format!("the plugin has `{meant}`: rename it, or look that up"),
                None => format!("add `{name}` to package main of the plugin"),
            };
            Finding::new(RULE.code, Verdict::Refuse, name.as_str(), title)
                .evidence(evidence)
                .hint(hint)
                .predicted(
                    Phase::Symbol,
                    Some(format!("plugin: symbol {name} not found in plugin {path}")),
                )
        })
        .collect()
}

/// The name that was meant: the same in other letters, or one with few differences.
fn similar<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let same = names.clone().find(|other| other.eq_ignore_ascii_case(name));
    same.or_else(|| nearest(name, names))
}
