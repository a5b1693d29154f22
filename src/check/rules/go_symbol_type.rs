//! `go-symbol-type`: what the contract names has another type in the plugin.

use std::collections::BTreeMap;

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};
use crate::facts::go::{ExportedType, NamedType, escape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-symbol-type",
    description: "a Go plugin exports a symbol with another type than the host takes it for",
    explanation: "\
Plugin.Lookup yields a value of any type: for a variable a pointer to it, for a function the function. The host says with a type \
assertion what it takes it for, `symbol.(*string)`, and where the type is another one the assertion fails: `interface conversion: \
plugin.Symbol is *int, not *string`. The contract names that type beside the symbol, `{name: Route, type: \"*string\"}`, as \
reflect's Type.String() writes it.

The plugin's types are in its file, where the host's runtime reads them: in the table of what it exports, which stripping leaves. \
Nothing is run to read it.

Two types are the same only if they are of the same package, and what is written has no more than the last part of its path. A type \
that the plugin declares itself, or one of a package that the host has not, can look like the host's and never be it: that is told \
as danger, as the lookup succeeds and the assertion fails.

Declare the symbol with the type that the host asserts, and types that host and plugin exchange in a package that both import. \
`lockstep inspect plugin.so` shows the types.",
};

/// More packages of one name than anyone reads.
const PACKAGES_LIMIT_COUNT: usize = 5;

/// Says which of `symbols` have another type than is wanted, in their order; those that are missing are told elsewhere.
#[must_use]
pub(super) fn check(
    host: Option<&GoSide>,
    plugin: &GoSide,
    symbols: &[String],
    types: &BTreeMap<String, String>,
) -> Vec<Finding> {
    let Some(go) = plugin.go else {
        return vec![];
    };
    let finding = |(name, wanted): (&String, &String)| {
        let export = go.exports.iter().find(|export| export.name == *name)?;
        match export.exported_type.as_deref() {
            None => Some(unreadable(plugin, name, wanted)),
            Some(found) if found.text != *wanted => Some(differs(plugin, name, wanted, found)),
            Some(found) => foreign(host?, plugin, name, found),
        }
    };
    let typed = symbols.iter().filter_map(|name| types.get_key_value(name));
    typed.filter_map(finding).collect()
}

fn unreadable(plugin: &GoSide, name: &str, wanted: &str) -> Finding {
    let title = format!("`{}` does not tell the type of `{name}`", plugin.shown);
    let version = plugin.go.and_then(|go| go.version());
    let compiler = version.map_or_else(
        || "of a Go that is not recorded".to_owned(),
        |version| format!("of {version}"),
    );
    Finding::new(RULE.code, Verdict::Unknown, name, title)
        .evidence(format!("in the contract: {wanted}"))
        .evidence(format!(
            "its table of exported symbols, {compiler}, has no form that is known"
        ))
        .hint("the smoke test asks Go itself: lockstep build")
}

fn differs(plugin: &GoSide, name: &str, wanted: &str, found: &ExportedType) -> Finding {
    let title = format!(
        "`{name}` of `{}` has another type than the contract names",
        plugin.shown
    );
    let words = format!("interface conversion: plugin.Symbol is {}, not {wanted}", found.text);
    let finding = Finding::new(RULE.code, Verdict::Refuse, name, title)
        .evidence(format!("in the contract: {wanted}"))
        .evidence(format!("in the plugin: {}", found.text));
    let packages = found
        .named
        .iter()
        .map(|named| format!("{} is of the package {}", named.text, named.package));
    packages
        .fold(finding, Finding::evidence)
        .hint(remedy(name, wanted, &found.text))
        .predicted(Phase::Symbol, Some(words))
}

/// What to declare.
fn remedy(name: &str, wanted: &str, found: &str) -> String {
    match (wanted.strip_prefix('*'), found.strip_prefix('*')) {
        (None, Some(value)) if value == wanted => {
            format!(
                "`{name}` is a variable that holds a function: make it a function, or let the host take it for {found}"
            )
        }
        (Some(value), None) if value == found => {
            format!("`{name}` is a function: make it a variable that holds one, or let the host take it for {found}")
        }
        (Some(value), _) => format!("declare it in package main of the plugin: var {name} {value}"),
        (None, _) => {
            let signature = wanted.strip_prefix("func").unwrap_or(wanted);
            format!("declare it in package main of the plugin: func {name}{signature}")
        }
    }
}

/// A type that is written like the wanted one, and of a package that the host has not.
fn foreign(host: &GoSide, plugin: &GoSide, name: &str, found: &ExportedType) -> Option<Finding> {
    let packages = &host.go?.packages;
    // A host that shares no packages opens no plugin.
    if packages.is_empty() {
        return None;
    }
    let is_shared = |package: &str| {
        package == "unsafe" || packages.contains_key(package) || packages.contains_key(escape(package).as_str())
    };
    let foreign: Vec<&NamedType> = found.named.iter().filter(|named| !is_shared(&named.package)).collect();
    let first = foreign.first()?;
    let title = format!(
        "`{name}` of `{}` has a type of a package that `{}` has not",
        plugin.shown, host.shown
    );
    let mut finding = Finding::new(RULE.code, Verdict::Danger, name, title)
        .evidence(format!("in the plugin and in the contract: {}", found.text));
    for named in &foreign {
        finding = finding.evidence(format!("{} is of the package {}", named.text, named.package));
    }
    // The host's packages of that name, of which it may be meant.
    let short = first.text.split('.').next().unwrap_or_default();
    let of_that_name = packages
        .keys()
        .filter(|package| package.rsplit('/').next() == Some(short) && *package != "main")
        .take(PACKAGES_LIMIT_COUNT);
    let of_that_name: Vec<&str> = of_that_name.map(String::as_str).collect();
    if !of_that_name.is_empty() {
        finding = finding.evidence(format!("the host has {}", of_that_name.join(", ")));
    }
    Some(
        finding
            .hint(format!(
                "declare {} in a package that host and plugin import, instead of {}",
                first.text, first.package
            ))
            .predicted(Phase::Symbol, None),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_instead_is_said_in_gos_words() {
        for (wanted, found, expect) in [
            (
                "*string",
                "*int",
                "declare it in package main of the plugin: var Route string",
            ),
            (
                "func(int) error",
                "func(int)",
                "declare it in package main of the plugin: func Route(int) error",
            ),
            (
                "func(int)",
                "*func(int)",
                "`Route` is a variable that holds a function: make it a function, or let the host take it for *func(int)",
            ),
            (
                "*func(int)",
                "func(int)",
                "`Route` is a function: make it a variable that holds one, or let the host take it for func(int)",
            ),
        ] {
            assert_eq!(remedy("Route", wanted, found), expect);
        }
    }
}
