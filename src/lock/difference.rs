//! What changed between two states of an environment, one line each, for people and for the decision to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::{Environment, Host, Image, LockFile, Package, Pushed, Role, Unit};
use crate::digest::Digest;
use crate::name::{EnvironmentName, UnitName};
use crate::problem::one_line;

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// What, for example `build package libc6` or `toolchain rustc`.
    pub subject: String,
    /// What it was; none for what is new.
    pub before: Option<String>,
    /// What it is; none for what is gone.
    pub after: Option<String>,
    /// The line of the lock that says what it was, or where it would; where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What leads there from the environment: keys, and numbers of list items.
    #[serde(skip)]
    pub path: Vec<String>,
}

impl Change {
    /// A change at `path` of an environment's entry.
    pub fn new(subject: impl Into<String>, path: &[&str], before: Option<String>, after: Option<String>) -> Self {
        Self {
            subject: subject.into(),
            before,
            after,
            line: None,
            path: path.iter().map(|step| (*step).to_owned()).collect(),
        }
    }

    /// The change if there is one.
    pub fn between(subject: impl Into<String>, path: &[&str], before: &str, after: &str) -> Option<Self> {
        (before != after).then(|| Self::new(subject, path, Some(before.to_owned()), Some(after.to_owned())))
    }

    /// The change from one digest to another if there is one: their first digits, unless those are the same.
    pub fn of_digests(subject: impl Into<String>, path: &[&str], before: Digest, after: Digest) -> Option<Self> {
        if before.short() == after.short() {
            return Self::between(subject, path, &before.to_string(), &after.to_string());
        }
        Self::between(subject, path, &before.short(), &after.short())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        // What a lock says may be anything, and is shown to people.
        write!(formatter, "{sign} {}: ", one_line(&self.subject))?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(formatter, "{} -> {}", one_line(before), one_line(after)),
            (Some(only), None) | (None, Some(only)) => formatter.write_str(&one_line(only)),
            (None, None) => Ok(()),
        }?;
        match self.line {
            Some(line) => write!(formatter, " (line {line})"),
            None => Ok(()),
        }
    }
}

/// What an environment is made of: every image, package and toolchain that differs. Empty exactly when both are made of
/// the same; units do not count.
#[must_use]
pub fn environment_changes(before: &Environment, after: &Environment) -> Vec<Change> {
    let mut changes = image_changes("build", &before.build, &after.build);
    changes.extend(image_changes("runtime", &before.runtime, &after.runtime));
    changes.extend(map_changes(
        "toolchain",
        &["toolchains"],
        &before.toolchains,
        &after.toolchains,
    ));
    changes.extend(host_changes(before.host.as_ref(), after.host.as_ref()));
    changes
}

/// What differs between two hosts that are not compiled. Another program is not another environment: then the paths differ, or
/// what names their images, and nothing else is told.
fn host_changes(before: Option<&Host>, after: Option<&Host>) -> Vec<Change> {
    let path = |host: Option<&Host>| host.map(|host| host.path.clone());
    if path(before) != path(after) {
        return vec![Change::new("host path", &["host", "path"], path(before), path(after))];
    }
    let (Some(before), Some(after)) = (before, after) else {
        return vec![];
    };
    let image = match (&before.image, &after.image) {
        (None, None) => vec![],
        (Some(before), Some(after)) => {
            let recipe = ["host", "image", "recipe"];
            let changes = match Change::of_digests("host's image", &recipe, before.recipe, after.recipe) {
                Some(another) => return vec![another],
                None => image_changes("host", before, after),
            };
            let of_host = |mut change: Change| {
                change.path.insert(1, "image".to_owned());
                change
            };
            changes.into_iter().map(of_host).collect()
        }
        (before, after) => {
            let told = |image: &Option<Image>| image.as_ref().map(|image| image.id.clone());
            return vec![Change::new(
                "host's image",
                &["host", "image"],
                told(before),
                told(after),
            )];
        }
    };
    let package = (before.package != after.package).then(|| {
        let (before, after) = (before.package.clone(), after.package.clone());
        Change::new("host package", &["host", "package"], before, after)
    });
    let digest = Change::of_digests("host digest", &["host", "digest"], before.digest, after.digest);
    image.into_iter().chain(package).chain(digest).collect()
}

/// Notes the lines of the lock that say of an environment what is not so.
pub fn locate(changes: &mut [Change], environment: &EnvironmentName, file: &LockFile) {
    for change in changes {
        change.line = file.line(environment, &change.path);
    }
}

/// What of `before` is still true of `after`: the digests of images that are the same. The matched image follows from all
/// the rest.
#[must_use]
pub fn still_pushed(before: Option<&Environment>, after: &Environment) -> Pushed {
    let Some(before) = before else { return Pushed::new() };
    let host = |environment: &Environment| environment.host.as_ref().and_then(|host| host.image.clone());
    let is_same = |role: &Role| match role {
        Role::Build => before.build == after.build,
        Role::Runtime => before.runtime == after.runtime,
        Role::Host => host(before) == host(after),
        Role::Matched => {
            let without = |environment: &Environment| Environment {
                pushed: Pushed::new(),
                ..environment.clone()
            };
            without(before) == without(after)
        }
    };
    let kept = before.pushed.iter().filter(|(role, _)| is_same(role));
    kept.map(|(role, digest)| (*role, *digest)).collect()
}

/// Whether a change says that another program is the host.
#[must_use]
pub fn is_other_host(change: &Change) -> bool {
    let path: Vec<&str> = change.path.iter().map(String::as_str).collect();
    matches!(
        path.as_slice(),
        ["host", "path" | "image"] | ["host", "image", "recipe"]
    )
}

/// What differs between two images; `role` is `build` or `runtime`.
#[must_use]
pub fn image_changes(role: &str, before: &Image, after: &Image) -> Vec<Change> {
    let mut changes: Vec<Change> =
        Change::of_digests(format!("{role} recipe"), &[role, "recipe"], before.recipe, after.recipe)
            .into_iter()
            .collect();
    if before.id != after.id {
        // Another image has other layers, of which nobody wants to read.
        changes.extend(Change::between(
            format!("{role} image"),
            &[role, "id"],
            &before.id,
            &after.id,
        ));
    } else {
        changes.extend(layer_changes(role, &before.layers, &after.layers));
    }
    if before.registry != after.registry {
        changes.push(Change::new(
            format!("{role} registry"),
            &[role, "registry"],
            before.registry.clone(),
            after.registry.clone(),
        ));
    }
    changes.extend(package_changes(role, &before.packages, &after.packages));
    changes
}

fn layer_changes(role: &str, before: &[Digest], after: &[Digest]) -> Vec<Change> {
    (0..before.len().max(after.len()))
        .filter(|number| before.get(*number) != after.get(*number))
        .map(|number| {
            Change::new(
                format!("{role} layer {}", number + 1),
                &[role, "layers", &number.to_string()],
                before.get(number).map(ToString::to_string),
                after.get(number).map(ToString::to_string),
            )
        })
        .collect()
}

fn package_changes(role: &str, before: &[Package], after: &[Package]) -> Vec<Change> {
    if before == after {
        return vec![];
    }
    let flat = |packages: &[Package]| -> BTreeMap<String, String> {
        let mut flat: BTreeMap<String, String> = BTreeMap::new();
        for package in packages {
            let line = match package.hash.as_str() {
                "-" => package.version.clone(),
                hash => format!("{} ({hash})", package.version),
            };
            let lines = flat
                .entry(format!("{}:{}", package.name, package.architecture))
                .or_default();
            // An image can be made of two versions of a package.
            if !lines.is_empty() {
                lines.push_str(", ");
            }
            lines.push_str(&line);
        }
        flat
    };
    let mut changes = map_changes(
        &format!("{role} package"),
        &[role, "packages"],
        &flat(before),
        &flat(after),
    );
    for change in &mut changes {
        let is_meant =
            |package: &Package| change.path.last() == Some(&format!("{}:{}", package.name, package.architecture));
        // A list has numbers, not names; of two versions, the one that is not among the others is meant.
        let number = before
            .iter()
            .position(|package| is_meant(package) && !after.contains(package))
            .or_else(|| before.iter().position(is_meant));
        change.path.pop();
        change.path.extend(number.map(|number| number.to_string()));
    }
    if changes.is_empty() {
        let number = (0..before.len()).find(|number| before.get(*number) != after.get(*number));
        changes.push(Change::new(
            format!("{role} packages"),
            &[role, "packages", &number.unwrap_or_default().to_string()],
            Some("in another order".to_owned()),
            Some("sorted".to_owned()),
        ));
    }
    changes
}

/// What a unit's entry says now and said before.
#[must_use]
pub fn unit_changes(before: &BTreeMap<UnitName, Unit>, after: &BTreeMap<UnitName, Unit>) -> Vec<Change> {
    let names: BTreeSet<&UnitName> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let path = ["units", name.as_str()];
        match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) => {
                for (key, before, after) in [
                    ("source", Some(before.source), Some(after.source)),
                    ("fetch", before.fetch, after.fetch),
                    ("dependencies", before.dependencies, after.dependencies),
                    ("action", Some(before.action), Some(after.action)),
                ] {
                    let subject = format!("unit {name} {key}");
                    let path = [path[0], path[1], key];
                    changes.extend(match (before, after) {
                        (Some(before), Some(after)) => Change::of_digests(subject, &path, before, after),
                        (None, None) => None,
                        (before, after) => {
                            let short = |digest: Option<Digest>| digest.as_ref().map(Digest::short);
                            Some(Change::new(subject, &path, short(before), short(after)))
                        }
                    });
                }
                let flat = |digests: &BTreeMap<String, Digest>| -> BTreeMap<String, String> {
                    let digests = digests.iter();
                    digests
                        .map(|(file, digest)| (file.clone(), digest.to_string()))
                        .collect()
                };
                for (kind, key, before, after) in [
                    ("artifact", "artifacts", &before.artifacts, &after.artifacts),
                    ("file", "files", &before.files, &after.files),
                ] {
                    let subject = format!("unit {name} {kind}");
                    changes.extend(map_changes(
                        &subject,
                        &[path[0], path[1], key],
                        &flat(before),
                        &flat(after),
                    ));
                }
            }
            (Some(_), None) => {
                let gone = "not in the project".to_owned();
                changes.push(Change::new(format!("unit {name}"), &path, Some(gone), None));
            }
            (None, _) => {
                let new = "not in the lock".to_owned();
                changes.push(Change::new(format!("unit {name}"), &path, None, Some(new)));
            }
        }
    }
    changes
}

fn map_changes(
    subject: &str,
    path: &[&str],
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
            let (before, after) = (before.get(name).cloned(), after.get(name).cloned());
            Change::new(format!("{subject} {name}"), &path, before, after)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::file::tests::example;

    fn environment() -> Environment {
        example().environments.into_values().next().unwrap()
    }

    #[test]
    fn the_same_environment_has_no_changes() {
        assert_eq!(environment_changes(&environment(), &environment()), []);
    }

    #[test]
    fn packages_toolchains_and_images_are_all_named() {
        let mut after = environment();
        after.build.packages = vec![
            "libc6 2.42-1 amd64 sha256:11".parse().unwrap(),
            "new 1 all -".parse().unwrap(),
        ];
        after.build.layers = vec![Digest::of(b"other")];
        after.build.id = "sha256:ff".to_owned();
        after.toolchains.clear();
        let lines: Vec<String> = environment_changes(&environment(), &after)
            .iter()
            .map(ToString::to_string)
            .collect();
        let before = environment().build.id;
        assert_eq!(
            lines,
            [
                format!("~ build image: {before} -> sha256:ff"),
                "~ build package libc6:amd64: 2.41-12 (sha256:00) -> 2.42-1 (sha256:11)".to_owned(),
                "+ build package new:all: 1".to_owned(),
                "- toolchain rustc: 1.85.0".to_owned(),
            ]
        );
    }

    /// Of another host nothing is told but that it is another one; of the same, all that differs, where the lock has it.
    #[test]
    fn a_host_that_is_not_compiled_is_told_by_name_before_anything_else() {
        type Edit = fn(&mut Host);
        let of_image = || Host {
            path: "/usr/bin/server".to_owned(),
            digest: Digest::of(b"server"),
            package: Some("server 1".to_owned()),
            image: Some(environment().runtime),
        };
        let cases: [(Edit, &str, bool); 7] = [
            (
                |host| (host.path, host.digest) = ("/bin/server".to_owned(), Digest::of(b"other")),
                "host/path",
                true,
            ),
            (
                |host| {
                    host.digest = Digest::of(b"other");
                    host.image.as_mut().unwrap().recipe = Digest::of(b"other");
                    host.image.as_mut().unwrap().id = "sha256:ff".to_owned();
                },
                "host/image/recipe",
                true,
            ),
            (|host| host.image = None, "host/image", true),
            (
                |host| host.image.as_mut().unwrap().id = "sha256:ff".to_owned(),
                "host/image/id",
                false,
            ),
            (
                |host| host.image.as_mut().unwrap().registry = Some("a@sha256:00".to_owned()),
                "host/image/registry",
                false,
            ),
            (|host| host.package = None, "host/package", false),
            (|host| host.digest = Digest::of(b"other"), "host/digest", false),
        ];
        for (edit, expected, is_other) in cases {
            let mut before = environment();
            before.host = Some(of_image());
            let mut after = before.clone();
            assert_eq!(environment_changes(&before, &after), []);
            edit(after.host.as_mut().unwrap());
            let changes = environment_changes(&before, &after);
            let told: Vec<String> = changes.iter().map(|change| change.path.join("/")).collect();
            assert_eq!(told, [expected]);
            assert_eq!(is_other_host(&changes[0]), is_other, "{expected}");
        }
    }

    /// Every field is told, and told at its own place.
    #[test]
    fn nothing_differs_in_silence() {
        type Edit = fn(&mut Environment);
        let cases: [(Edit, &str); 9] = [
            (|after| after.build.id = "sha256:ff".to_owned(), "build/id"),
            (|after| after.runtime.recipe = Digest::of(b"other"), "runtime/recipe"),
            (|after| after.build.layers[0] = Digest::of(b"other"), "build/layers/0"),
            (|after| after.build.layers.push(Digest::of(b"other")), "build/layers/1"),
            (
                |after| after.build.registry = Some("a@sha256:00".to_owned()),
                "build/registry",
            ),
            (
                |after| after.build.packages[0].hash = "-".to_owned(),
                "build/packages/0",
            ),
            (|after| after.build.packages.clear(), "build/packages/0"),
            (
                |after| after.build.packages.push("libc6 3 amd64 -".parse().unwrap()),
                "build/packages/0",
            ),
            (|after| after.toolchains.clear(), "toolchains/rustc"),
        ];
        for (edit, expected) in cases {
            let mut after = environment();
            edit(&mut after);
            let changes = environment_changes(&environment(), &after);
            let paths: Vec<String> = changes.iter().map(|change| change.path.join("/")).collect();
            assert_eq!(paths, [expected]);
        }
        let mut after = environment();
        let other: Package = "aaa 1 all -".parse().unwrap();
        after.build.packages.push(other.clone());
        let mut before = environment();
        before.build.packages.insert(0, other);
        let changes = environment_changes(&before, &after);
        assert_eq!(changes[0].to_string(), "~ build packages: in another order -> sorted");
    }
}
