//! `go-import-path`: one package is in the process under two paths.

use std::collections::{BTreeMap, BTreeSet};

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-import-path",
    description: "host and plugin have one package under two import paths, through vendor directories",
    explanation: "\
A package in a vendor directory of a program that is built without modules has an import path of its own: \
`program/vendor/example.com/dep`. To Go that is another package than `example.com/dep`: its types are other types, its \
variables other variables. Such a plugin loads, and then a type assertion on what it gives fails, with `types from different \
scopes` where both are spelt alike.

Build both with modules (there, vendored packages keep their paths), or from one source tree.",
};

/// More than anyone reads.
const PACKAGES_LIMIT_COUNT: usize = 50;

/// Compares the packages of a pair.
#[must_use]
pub(super) fn check(host: &GoSide, plugin: &GoSide) -> Option<Finding> {
    let (ours, theirs) = (host.go?, plugin.go?);
    let mut paths: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let all = || ours.packages.keys().chain(theirs.packages.keys());
    if !all().any(|path| vendored(path).is_some()) {
        return None;
    }
    for path in all() {
        paths.entry(vendored(path).unwrap_or(path)).or_default().insert(path);
    }
    paths.retain(|_, paths| paths.len() > 1);
    let first = *paths.keys().next()?;
    let title = match paths.len() {
        1 => format!("the package {first} would be in the process twice, under two import paths"),
        count => format!("{count} packages would be in the process twice, under two import paths, {first} among them"),
    };
    let lines = paths.values().take(PACKAGES_LIMIT_COUNT).map(|paths| {
        let places = paths.iter().map(|path| {
            let holders = [(host, ours), (plugin, theirs)];
            let holders = holders.iter().filter(|(_, go)| go.packages.contains_key(*path));
            let names: Vec<&str> = holders.map(|(side, _)| side.shown).collect();
            format!("{path} in {}", names.join(" and "))
        });
        places.collect::<Vec<_>>().join("; ")
    });
    let finding = lines.fold(
        Finding::new(RULE.code, Verdict::Danger, first, title),
        Finding::evidence,
    );
    Some(
        finding
            .hint("build host and plugin with modules, or without a vendor directory")
            .predicted(Phase::None, None),
    )
}

/// The path that a vendored package has in its own source. The standard library vendors packages too (`vendor/…`), which
/// nobody else can import.
fn vendored(path: &str) -> Option<&str> {
    path.rsplit_once("/vendor/").map(|(_, inner)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_standard_library_vendors_is_its_own() {
        assert_eq!(vendored("vendor/golang.org/x/net/idna"), None);
        assert_eq!(
            vendored("example.com/app/vendor/example.com/dep"),
            Some("example.com/dep")
        );
        assert_eq!(vendored("example.com/vendored"), None);
    }
}
