//! `go-dependency`: all hashes are equal, and yet a shared module is not the same.

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};
use crate::facts::Go;
use crate::facts::go::Module;

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-dependency",
    description: "host and plugin were built from different versions of a module whose packages happen to match",
    explanation: "\
Go's runtime compares the packages that host and plugin share, by a hash of what each exports to others: types, constants, \
and the bodies of functions that are small enough to be inlined. The bodies of all other functions are not part of it. A \
change in one of those, or a replaced module, passes the check. The plugin then has the new behaviour where the host has the \
old one, in one process and on the same data, and nothing says so. It is seen in the build info alone, which records versions, \
hashes and replacements of modules.

`danger` means that the records differ: another version, another hash, or a directory in place of a version. `unknown` means \
that nothing is recorded that could tell: both are built from directories, or from different commits of the main module.

Give both the same version in go.mod, or build both in one module.",
};

/// Compares the modules of a pair whose hashes are equal.
#[must_use]
pub(super) fn check(host: &GoSide, plugin: &GoSide) -> Vec<Finding> {
    let (Some(ours), Some(theirs)) = (host.go, plugin.go) else {
        return vec![];
    };
    let both = (ours, theirs);
    let shared = |path: &str| is_shared(ours, theirs, path);
    let mut findings: Vec<Finding> = modules(theirs)
        .filter_map(|theirs| {
            let ours = modules(ours).find(|ours| ours.path == theirs.path)?;
            if is_main_module(both.0, ours) && is_main_module(both.1, theirs) {
                return None;
            }
            let difference = difference(ours, theirs)?;
            Some((ours, theirs, difference)).filter(|_| shared(&theirs.path))
        })
        .map(|(ours, theirs, difference)| finding(host, plugin, (ours, theirs), difference))
        .collect();
    findings.extend(commits(host, plugin, ours, theirs).filter(|_| findings.is_empty()));
    findings
}

fn finding(host: &GoSide, plugin: &GoSide, modules: (&Module, &Module), difference: Difference) -> Finding {
    let (ours, theirs) = modules;
    let path = &theirs.path;
    let (verdict, title, hint) = match difference {
        Difference::Version => (
            Verdict::Danger,
            format!(
                "`{}` has {} of {path}, `{}` has {}, and the runtime does not notice",
                plugin.shown,
                describe(theirs),
                host.shown,
                describe(ours)
            ),
            format!("give both the same {path} in go.mod: {}", describe(ours)),
        ),
        Difference::Directories => (
            Verdict::Unknown,
            format!(
                "{path} is compiled from one directory for `{}`, from another for `{}`",
                host.shown, plugin.shown
            ),
            format!("build both from one directory of {path}, or from a version of it"),
        ),
    };
    Finding::new(RULE.code, verdict, path.as_str(), title)
        .evidence(format!("{}: {}", host.shown, describe(ours)))
        .evidence(format!("{}: {}", plugin.shown, describe(theirs)))
        .evidence("the hashes of its packages are equal; they do not cover what functions do that are not inlined")
        .hint(hint)
        .predicted(Phase::None, None)
}

/// How two records of a module differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// In version, hash or path.
    Version,
    /// Both are directories, of which only the paths are recorded.
    Directories,
}

/// Compares what was compiled. A hash that is missing on one side says nothing: vendored modules have none.
pub(super) fn difference(ours: &Module, theirs: &Module) -> Option<Difference> {
    let (a, b) = (ours.effective(), theirs.effective());
    match (ours.is_directory(), theirs.is_directory()) {
        (true, true) => (a.path != b.path).then_some(Difference::Directories),
        (false, false) => {
            let sums_differ = !a.sum.is_empty() && !b.sum.is_empty() && a.sum != b.sum;
            (a.path != b.path || a.version != b.version || sums_differ).then_some(Difference::Version)
        }
        _ => Some(Difference::Version),
    }
}

/// A module as it is in `go.mod`.
pub(super) fn describe(module: &Module) -> String {
    let effective = module.effective();
    let sum = Some(effective.sum.as_str()).filter(|sum| !sum.is_empty());
    let version = match (&module.replacement, module.is_directory()) {
        (None, _) => effective.version.clone(),
        (Some(_), true) => format!("the directory {}", effective.path),
        (Some(_), false) => format!("{} {}", effective.path, effective.version),
    };
    match sum {
        Some(sum) => format!("{version} ({sum})"),
        None => version,
    }
}

/// The modules that are recorded, except a main module without a version.
pub(super) fn modules(go: &Go) -> impl Iterator<Item = &Module> {
    let build = go.build.iter();
    build.flat_map(|build| {
        let main = build.main.iter().filter(|main| main.version != "(devel)");
        main.chain(&build.dependencies)
    })
}

/// The module that a package is in, among these: the longest path that it begins with.
pub(super) fn is_within(package: &str, module: &str) -> bool {
    package
        .strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a package of the module is in both.
fn is_shared(ours: &Go, theirs: &Go, module: &str) -> bool {
    let packages = theirs.packages.keys().filter(|package| is_within(package, module));
    packages
        .filter(|package| ours.packages.contains_key(*package))
        .any(|package| !is_main(ours, package) && !is_main(theirs, package))
}

/// The main module's version says nothing that its commit does not.
fn is_main_module(go: &Go, module: &Module) -> bool {
    let main = go.build.as_ref().and_then(|build| build.main.as_ref());
    main.is_some_and(|main| main.path == module.path)
}

fn is_main(go: &Go, package: &str) -> bool {
    go.build.as_ref().and_then(|build| build.path.as_deref()) == Some(package) || package == "main"
}

/// Packages of the main module that were compiled from different commits.
fn commits(host: &GoSide, plugin: &GoSide, ours: &Go, theirs: &Go) -> Option<Finding> {
    let main = |go: &Go| Some(go.build.as_ref()?.main.as_ref()?.path.clone());
    let path = main(ours).filter(|path| main(theirs).as_deref() == Some(path))?;
    let (a, b) = (ours.setting("vcs.revision")?, theirs.setting("vcs.revision")?);
    if a == b || !is_shared(ours, theirs, &path) {
        return None;
    }
    let title = format!(
        "`{}` and `{}` were built from different commits of {path}",
        host.shown, plugin.shown
    );
    Some(
        Finding::new(RULE.code, Verdict::Unknown, path, title)
            .evidence(format!("{}: {a}", host.shown))
            .evidence(format!("{}: {b}", plugin.shown))
            .evidence("the hashes of its packages are equal; they do not cover what functions do that are not inlined")
            .hint("build both from one commit")
            .predicted(Phase::None, None),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(version: &str, sum: &str, replacement: Option<(&str, &str)>) -> Module {
        let replacement = replacement.map(|(path, version)| Module {
            path: path.to_owned(),
            version: version.to_owned(),
            ..Module::default()
        });
        Module {
            path: "example.com/dep".to_owned(),
            version: version.to_owned(),
            sum: sum.to_owned(),
            replacement: replacement.map(Box::new),
        }
    }

    #[test]
    fn only_what_is_recorded_on_both_sides_is_compared() {
        let plain = module("v1.0.0", "h1:a", None);
        let directory = |path| module("v1.0.0", "", Some((path, "(devel)")));
        for (other, expect) in [
            (module("v1.0.0", "h1:a", None), None),
            (module("v1.0.0", "", None), None),
            (module("v1.0.0", "h1:b", None), Some(Difference::Version)),
            (module("v1.0.1", "", None), Some(Difference::Version)),
            (
                module("v1.0.0", "", Some(("example.com/fork", "v1.0.0"))),
                Some(Difference::Version),
            ),
            (directory("../dep"), Some(Difference::Version)),
        ] {
            assert_eq!(difference(&plain, &other), expect, "{other:?}");
            assert_eq!(difference(&other, &plain), expect, "{other:?}");
        }
        assert_eq!(difference(&directory("../dep"), &directory("../dep")), None);
        assert_eq!(
            difference(&directory("../dep"), &directory("/dep")),
            Some(Difference::Directories)
        );
    }

    #[test]
    fn a_package_is_within_a_module_at_a_slash() {
        assert!(is_within("example.com/dep", "example.com/dep"));
        assert!(is_within("example.com/dep/inner", "example.com/dep"));
        assert!(!is_within("example.com/deputy", "example.com/dep"));
    }
}
