//! Builds that several units take their files from, so that a tree is configured and compiled once.

use std::collections::BTreeSet;

use super::Candidate;
use super::text::{free_name, unit_name};
use crate::config::{BuildSystem, LanguageName};

/// What a build is called when its units do not lie in a directory of its own.
const NAME: &str = "tree";
/// The place that `from:` of a host has a name for.
const RUNTIME: &str = "runtime";

/// A build, as it is written below `builds:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedBuild {
    /// What it is called; a name that no unit has.
    pub name: String,
    /// How it is made: what its units have in common. The rest of it is the first unit's.
    pub making: Candidate,
}

/// The builds of units that are made the same way in the same directory, each of which then takes from it.
pub(super) fn share<'a>(
    units: impl IntoIterator<Item = &'a mut Candidate>,
    taken: &mut BTreeSet<String>,
) -> Vec<ProposedBuild> {
    let mut units: Vec<&mut Candidate> = units.into_iter().collect();
    let mut builds: Vec<ProposedBuild> = Vec::new();
    for index in 0..units.len() {
        let Some(first) = units
            .get(index)
            .filter(|unit| unit.from.is_none() && makes_several(unit))
            .map(|unit| Candidate::clone(unit))
        else {
            continue;
        };
        let mut shared: Vec<&mut &mut Candidate> = units.iter_mut().filter(|unit| is_made_as(unit, &first)).collect();
        if shared.len() < 2 {
            continue;
        }
        let base = match first.source.rsplit('/').next() {
            Some(directory) if directory != "." => unit_name(directory),
            _ => NAME.to_owned(),
        };
        // What `from:` has a meaning for is no name of a build.
        taken.insert(RUNTIME.to_owned());
        let name = free_name(&base, taken);
        let packages: BTreeSet<String> = shared.iter().filter_map(|unit| package(unit)).collect();
        let is_cpp = shared.iter().any(|unit| unit.language == LanguageName::Cpp);
        for unit in &mut shared {
            unit.from = Some(name.clone());
        }
        let language = if is_cpp { LanguageName::Cpp } else { first.language };
        let mut making = Candidate { language, ..first };
        if let Some(build) = making.build.as_mut().filter(|_| !packages.is_empty()) {
            // Of a workspace, what nobody takes from is not compiled.
            build.package = None;
            build.options.extend(
                packages
                    .into_iter()
                    .flat_map(|package| ["--package".to_owned(), package]),
            );
        }
        builds.push(ProposedBuild { name, making });
    }
    builds
}

fn makes_several(unit: &Candidate) -> bool {
    let systems = [
        BuildSystem::Autotools,
        BuildSystem::Cargo,
        BuildSystem::Cmake,
        BuildSystem::Make,
        BuildSystem::Meson,
        BuildSystem::Pgxs,
        BuildSystem::Setuptools,
    ];
    unit.build.as_ref().is_some_and(|build| systems.contains(&build.system))
}

/// The package of a workspace that a unit is.
fn package(unit: &Candidate) -> Option<String> {
    let build = unit.build.as_ref().filter(|build| build.system == BuildSystem::Cargo);
    build.and_then(|build| build.package.clone())
}

/// Whether one run of the build makes both; a language and a package are the build's own affair.
fn is_made_as(unit: &Candidate, other: &Candidate) -> bool {
    let of_workspace = |unit: &Candidate| {
        let mut build = unit.build.clone();
        if let Some(build) = build.as_mut().filter(|build| build.system == BuildSystem::Cargo) {
            build.package = None;
        }
        build
    };
    unit.from.is_none()
        && of_workspace(unit) == of_workspace(other)
        && (&unit.source, &unit.inputs, &unit.env) == (&other.source, &other.inputs, &other.env)
}

#[cfg(test)]
mod tests {
    use super::super::{Tree, propose};

    #[test]
    fn plugins_of_one_tree_are_built_once() {
        let tree = Tree::of(&[
            ("Makefile", "MODULES = one two\nPGXS = x\n"),
            ("one.c", "#include \"postgres.h\"\n"),
            ("two.c", "#include \"postgres.h\"\n"),
            ("other/Makefile", "MODULES = three\nPGXS = x\n"),
        ]);
        let proposal = propose(&tree, "x", None).unwrap();
        let builds: Vec<(&str, &str)> = proposal
            .builds
            .iter()
            .map(|build| (build.name.as_str(), build.making.source.as_str()))
            .collect();
        assert_eq!(builds, [("tree", ".")]);
        let from: Vec<(&str, Option<&str>)> = proposal
            .plugins
            .iter()
            .map(|plugin| (plugin.artifact.as_str(), plugin.from.as_deref()))
            .collect();
        assert_eq!(
            from,
            [("one.so", Some("tree")), ("two.so", Some("tree")), ("three.so", None)]
        );
    }
}
