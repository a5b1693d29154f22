//! Why packages differ: from which of them do, and from what the build info of both sides says.

use super::go_dependency::{describe, difference, is_within, modules};
use super::go_difference::Difference;
use super::go_side::GoSide;
use crate::facts::Go;

/// A cause, in words.
pub(super) struct Cause {
    /// What it is, for the end of a title.
    pub(super) sentence: String,
    /// What was compared.
    pub(super) evidence: Vec<String>,
    /// What to do.
    pub(super) hint: String,
}

/// A setting that is compiled into packages.
struct Setting {
    key: &'static str,
    /// Whether packages of the standard library differ because of it, always.
    reaches_std: bool,
}

const SETTINGS: &[Setting] = &[
    Setting {
        key: "GOEXPERIMENT",
        reaches_std: true,
    },
    Setting {
        key: "-race",
        reaches_std: true,
    },
    Setting {
        key: "-msan",
        reaches_std: true,
    },
    Setting {
        key: "-asan",
        reaches_std: true,
    },
    Setting {
        key: "-gcflags",
        reaches_std: false,
    },
    Setting {
        key: "-trimpath",
        reaches_std: true,
    },
    Setting {
        key: "-tags",
        reaches_std: false,
    },
    Setting {
        key: "-cover",
        reaches_std: false,
    },
];
/// Packages of the standard library that are compiled by the C compiler too.
const CGO_PACKAGES: &[&str] = &["runtime/cgo", "plugin", "net", "os/user", "crypto/internal/boring"];

/// Infers the cause of differences; there must be at least one.
pub(super) fn infer(plugin: &GoSide, differences: &[Difference]) -> Cause {
    let Some(first) = differences.first() else {
        return unknown(vec![]);
    };
    let host = first.holder;
    let (Some(ours), Some(theirs)) = (host.go, plugin.go) else {
        return unknown(vec![]);
    };
    // What an earlier plugin brought is not for the host's build to explain.
    let packages: Vec<&str> = differences
        .iter()
        .filter(|difference| difference.holder.shown == host.shown)
        .map(|difference| difference.package)
        .collect();
    let own = theirs.module.plugin_path.as_deref();
    if packages.iter().any(|package| Some(*package) == own) {
        return Cause {
            sentence: "that is another build of the same plugin".to_owned(),
            evidence: vec![format!(
                "{} was opened before, and its symbols are in the process",
                host.shown
            )],
            hint: "open only one build of a plugin in a process".to_owned(),
        };
    }
    let reaches_std = packages.iter().any(|package| is_standard(package, ours, theirs));
    let mut evidence = Vec::new();
    let mut causes: Vec<(String, String)> = Vec::new();
    causes.extend(toolchain(&host, plugin, &mut evidence).filter(|_| reaches_std));
    let modules = dependencies(&host, plugin, &packages, &mut evidence);
    let flags = SETTINGS
        .iter()
        .filter(|setting| reaches_std || !setting.reaches_std)
        .filter_map(|setting| flag(setting.key, &host, plugin, &mut evidence));
    let flags: Vec<(String, String)> = flags.collect();
    // Where only packages of modules differ, another version says more than a flag.
    if reaches_std {
        causes.extend(flags.into_iter().chain(modules));
    } else {
        causes.extend(modules.into_iter().chain(flags));
    }
    if causes.is_empty() {
        causes.push(silent(&host, plugin, &packages, reaches_std));
    }
    let (sentences, hints): (Vec<String>, Vec<String>) = causes.into_iter().unzip();
    Cause {
        sentence: sentences.join("; "),
        evidence,
        hint: hints.join("; "),
    }
}

fn unknown(evidence: Vec<String>) -> Cause {
    Cause {
        sentence: "neither file says why".to_owned(),
        evidence,
        hint: "build host and plugin with the same toolchain, flags and modules".to_owned(),
    }
}

/// Another version of Go.
fn toolchain(host: &GoSide, plugin: &GoSide, evidence: &mut Vec<String>) -> Option<(String, String)> {
    // Experiments are a setting of their own, and come after the version.
    let base = |side: &GoSide| Some(side.go?.version()?.split(" X:").next()?.to_owned());
    let (ours, theirs) = (base(host)?, base(plugin)?);
    if ours == theirs {
        return None;
    }
    evidence.push(format!("{}: {ours}", host.shown));
    evidence.push(format!("{}: {theirs}", plugin.shown));
    Some((
        format!("it was compiled by {theirs}, and the other by {ours}"),
        format!("compile the plugin with {ours}"),
    ))
}

/// Modules of which other versions were compiled, and in which packages differ.
fn dependencies(
    host: &GoSide,
    plugin: &GoSide,
    packages: &[&str],
    evidence: &mut Vec<String>,
) -> Vec<(String, String)> {
    let (Some(ours), Some(theirs)) = (host.go, plugin.go) else {
        return vec![];
    };
    let mut causes = Vec::new();
    for theirs in modules(theirs) {
        let Some(ours) = modules(ours).find(|ours| ours.path == theirs.path) else {
            continue;
        };
        let path = &theirs.path;
        let differs = packages.iter().any(|package| is_within(package, path));
        if !differs || difference(ours, theirs).is_none() {
            continue;
        }
        evidence.push(format!("{}: {path} is {}", host.shown, describe(ours)));
        evidence.push(format!("{}: {path} is {}", plugin.shown, describe(theirs)));
        let sentence = format!(
            "it has {} of {path}, and the other {}",
            describe(theirs),
            describe(ours)
        );
        let hint = if ours.replacement.is_none() && theirs.replacement.is_none() {
            format!("in the plugin's module: go get {path}@{}", ours.version)
        } else {
            format!("give both the same require and replace lines for {path}")
        };
        causes.push((sentence, hint));
    }
    causes
}

/// A setting that is not the same.
fn flag(key: &str, host: &GoSide, plugin: &GoSide, evidence: &mut Vec<String>) -> Option<(String, String)> {
    let is_recorded = |side: &GoSide| {
        side.go
            .and_then(|go| go.build.as_ref())
            .is_some_and(|build| !build.settings.is_empty())
    };
    if !is_recorded(host) || !is_recorded(plugin) {
        return None;
    }
    let value = |side: &GoSide| {
        side.setting(key)
            .filter(|value| !value.is_empty())
            .map(ToOwned::to_owned)
    };
    let (mut ours, mut theirs) = (value(host), value(plugin));
    if key == "-gcflags" {
        ours = ours.filter(|flags| reaches_others(flags));
        theirs = theirs.filter(|flags| reaches_others(flags));
    }
    if ours == theirs {
        return None;
    }
    let show = |value: &Option<String>| match value.as_deref() {
        None => format!("without {key}"),
        Some("true") => format!("with {key}"),
        Some(value) => format!("with {key}={value}"),
    };
    evidence.push(format!("{}: built {}", host.shown, show(&ours)));
    evidence.push(format!("{}: built {}", plugin.shown, show(&theirs)));
    Some((
        format!("it was built {}, and the other {}", show(&theirs), show(&ours)),
        format!("build both {}", show(&ours)),
    ))
}

/// Whether flags for the compiler are for more than the packages that are named on the command line.
fn reaches_others(flags: &str) -> bool {
    !flags.starts_with('-')
}

/// What nothing is recorded of.
fn silent(host: &GoSide, plugin: &GoSide, packages: &[&str], reaches_std: bool) -> (String, String) {
    let tell = |sentence: &str, hint: &str| (sentence.to_owned(), hint.to_owned());
    let has_build = |side: &GoSide| {
        side.go
            .is_some_and(|go| go.build.as_ref().is_some_and(|build| !build.settings.is_empty()))
    };
    if !has_build(host) || !has_build(plugin) {
        let cause = unknown(vec![]);
        return (cause.sentence, cause.hint);
    }
    let first = packages.first().copied().unwrap_or_default();
    if packages.iter().any(|package| CGO_PACKAGES.contains(package)) && CGO_PACKAGES.contains(&first) {
        return tell(
            "only packages differ that the C compiler takes part in: it, its headers or CGO_* variables are others",
            "build both in the same image, with the same C compiler",
        );
    }
    let is_trimmed = |side: &GoSide| side.setting("-trimpath") == Some("true");
    let are_trimmed = is_trimmed(host) && is_trimmed(plugin);
    match (reaches_std, are_trimmed) {
        (true, false) => tell(
            "Go itself was in another directory, or its sources are others, and without -trimpath its path is compiled in",
            "build both with -trimpath, by the same toolchain",
        ),
        (true, true) => tell(
            "the versions and the flags are the same, so the sources of Go itself are others",
            "build both by the same toolchain",
        ),
        (false, false) => tell(
            "the sources or the module cache were in other directories, and without -trimpath their paths are compiled in",
            "build both with -trimpath, or in the same directories",
        ),
        (false, true) => (
            format!("the versions and the flags are the same, so the source of {first} is another"),
            format!("build both from one source of {first}"),
        ),
    }
}

/// Whether a package is of the standard library: in no module, and without a dot in its first element.
fn is_standard(package: &str, ours: &Go, theirs: &Go) -> bool {
    let first = package.split('/').next().unwrap_or_default();
    let is_module = |go: &Go| {
        let build = go.build.iter();
        let mut modules = build.flat_map(|build| build.main.iter().chain(&build.dependencies));
        modules.any(|module| is_within(package, &module.path))
    };
    let is_unnamed = package.starts_with("plugin/unnamed-") || package == "main" || package == "command-line-arguments";
    !first.contains('.') && !is_unnamed && !is_module(ours) && !is_module(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_with_a_pattern_reach_other_packages() {
        assert!(reaches_others("all=-N -l") && reaches_others("std=-B") && reaches_others("example.com/...=-N"));
        assert!(!reaches_others("-N -l"));
    }
}
