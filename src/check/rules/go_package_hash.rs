//! `go-package-hash`: the plugin was compiled against other versions of packages than those that are in the process.

use super::go_cause;
use super::go_difference::{Difference, differences};
use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-package-hash",
    description: "a Go plugin was built with a different version of a package that host and plugin share",
    explanation: "\
A package that is in the host and in a plugin is in the process once: the plugin uses the host's copy. So the plugin must have \
been compiled against exactly that copy, and Go's runtime makes sure of it. For each package in the plugin it compares the hash \
that the package had when the plugin was linked with the hash of the copy in the process: the host's, or if the host has none, \
that of the plugin which brought it first. At the first difference it refuses the plugin: `plugin was built with a different \
version of package P`.

It names one package; here all of them are listed, in the runtime's order, and from which ones differ and from the build info \
the cause is inferred. If packages of the standard library differ, it is the toolchain or a flag that counts for all packages: \
the version of Go, GOEXPERIMENT, -race, -msan, -asan, -gcflags=all=…, or -trimpath on one side only. If they do not, it is a \
dependency's version, a build tag, -cover, or, without -trimpath, the directory that the sources or the module cache were in, \
since it is written into what is compiled.

These do not count: linker flags, stripping, -X, tags that no file uses, the go line of go.mod, CGO_CFLAGS, GOAMD64, and flags \
for the main package alone.

A plugin that was refused leaves its symbols in the process. If another build of it is opened then, it is compared with those.",
};

/// More packages than large programs have.
const PACKAGES_LIMIT_COUNT: usize = 2000;

/// Puts differences into words; none if there are none.
#[must_use]
pub(super) fn check(plugin: &GoSide, differences: &[Difference]) -> Option<Finding> {
    let first = differences.first()?;
    let checked = plugin.go.map_or(0, |go| go.module.checked.len());
    let count = differences.len();
    let cause = go_cause::infer(plugin, differences);
    let others = match count {
        1 => format!("another version of {}", first.package),
        _ => format!("other versions of {count} of its {checked} packages"),
    };
    let title = format!(
        "`{}` was built with {others} than `{}`: {}",
        plugin.shown, first.holder.shown, cause.sentence
    );
    let mut finding = Finding::new(RULE.code, Verdict::Refuse, first.package, title);
    finding.evidence = cause.evidence;
    for difference in differences.iter().take(PACKAGES_LIMIT_COUNT) {
        finding = finding.evidence(format!(
            "{}: {} in {}, {} in {}",
            difference.package, difference.present, difference.holder.shown, difference.linked, plugin.shown
        ));
    }
    if count > PACKAGES_LIMIT_COUNT {
        finding = finding.evidence(format!("and {} more packages", count - PACKAGES_LIMIT_COUNT));
    }
    let words = plugin.refused(&format!(
        "plugin was built with a different version of package {}",
        first.package
    ));
    Some(finding.hint(cause.hint).predicted(Phase::Load, Some(words)))
}

/// How many packages of the plugin the host has too, and how many of those are equal.
#[must_use]
pub(super) fn shared(host: &GoSide, plugin: &GoSide) -> (usize, usize) {
    let (Some(ours), Some(theirs)) = (host.go, plugin.go) else {
        return (0, 0);
    };
    let checked = theirs.module.checked.iter();
    let shared = checked
        .filter(|entry| ours.packages.contains_key(&entry.package))
        .count();
    (shared, shared - differences(host, plugin).len())
}
