//! What changed between two states of an environment, one line each, for people and for the decision to stop.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Environment, Image, Package, Unit};
use crate::name::UnitName;

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// What, for example `build package libc6` or `toolchain rustc`.
    pub subject: String,
    /// What it was; none for what is new.
    pub before: Option<String>,
    /// What it is; none for what is gone.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        write!(formatter, "{sign} {}: ", self.subject)?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(formatter, "{before} -> {after}"),
            (Some(only), None) | (None, Some(only)) => formatter.write_str(only),
            (None, None) => Ok(()),
        }
    }
}

/// What an environment is made of: every image, package and toolchain that differs. Empty exactly when both are the
/// same environment.
#[must_use]
pub fn environment_changes(before: &Environment, after: &Environment) -> Vec<Change> {
    let mut changes = image_changes("build", &before.build, &after.build);
    changes.extend(image_changes("runtime", &before.runtime, &after.runtime));
    changes.extend(map_changes("toolchain", &before.toolchains, &after.toolchains));
    changes
}

fn image_changes(role: &str, before: &Image, after: &Image) -> Vec<Change> {
    let of_packages = |image: &Image| -> BTreeMap<String, String> {
        let line = |package: &Package| match package.hash.as_str() {
            "-" => package.version.clone(),
            hash => format!("{} ({hash})", package.version),
        };
        image
            .packages
            .iter()
            .map(|package| (format!("{}:{}", package.name, package.architecture), line(package)))
            .collect()
    };
    let mut changes = single(&format!("{role} recipe"), &before.recipe.short(), &after.recipe.short());
    // Two engines may call the same image by different IDs; its layers are the same everywhere.
    if before.layers != after.layers {
        changes.extend(single(&format!("{role} image"), &before.id, &after.id));
        if before.id == after.id {
            let layers = |image: &Image| {
                image
                    .layers
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            changes.extend(single(&format!("{role} layers"), &layers(before), &layers(after)));
        }
    }
    changes.extend(map_changes(
        &format!("{role} package"),
        &of_packages(before),
        &of_packages(after),
    ));
    changes
}

/// What a unit's entry says now and said before.
#[must_use]
pub fn unit_changes(before: &BTreeMap<UnitName, Unit>, after: &BTreeMap<UnitName, Unit>) -> Vec<Change> {
    let flat = |units: &BTreeMap<UnitName, Unit>| -> BTreeMap<String, String> {
        units
            .iter()
            .flat_map(|(name, unit)| {
                let artifacts = unit
                    .artifacts
                    .iter()
                    .map(move |(file, digest)| (format!("{name} artifact {file}"), digest.short()));
                [(format!("{name} source"), unit.source.short())]
                    .into_iter()
                    .chain(artifacts)
            })
            .collect()
    };
    map_changes("unit", &flat(before), &flat(after))
}

fn single(subject: &str, before: &str, after: &str) -> Vec<Change> {
    let change = || Change {
        subject: subject.to_owned(),
        before: Some(before.to_owned()),
        after: Some(after.to_owned()),
    };
    if before == after { vec![] } else { vec![change()] }
}

fn map_changes(subject: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Change {
            subject: format!("{subject} {name}"),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
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

    #[test]
    fn another_engines_name_for_the_same_layers_is_no_change() {
        let mut after = environment();
        after.build.id = "sha256:ff".to_owned();
        assert_eq!(environment_changes(&environment(), &after), []);
    }
}
