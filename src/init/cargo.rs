//! Cargo packages: programs are hosts, `cdylib`s and `dylib`s are plugins.

use std::collections::{BTreeMap, BTreeSet};

use toml::Table;

use super::text::identifier;
use super::tree::{self, Tree};
use super::{Candidate, Kind};
use crate::config::{Build, BuildSystem, LanguageName, Loader};

/// Dependencies that a program has when it loads shared objects.
const LOADING_CRATES: &[&str] = &["abi_stable", "dlopen", "dlopen2", "libloading", "stabby"];
/// How far path dependencies are followed.
const PATH_DEPENDENCY_LIMIT_COUNT: usize = 200;

/// A `Cargo.toml` by the directory it is in.
type Manifests<'a> = BTreeMap<&'a str, Table>;

/// All binaries and shared libraries of all packages. A manifest that does not parse is left to cargo's own words.
pub(super) fn candidates(tree: &Tree) -> Vec<Candidate> {
    let manifests: Manifests<'_> = tree
        .named("Cargo.toml")
        .filter_map(|(directory, text)| Some((directory, text.parse::<Table>().ok()?)))
        .collect();
    manifests
        .iter()
        .filter_map(|(directory, manifest)| Some((*directory, manifest, manifest.get("package")?.as_table()?)))
        .flat_map(|(directory, manifest, package)| of_package(tree, &manifests, directory, manifest, package))
        .collect()
}

fn of_package(
    tree: &Tree,
    manifests: &Manifests<'_>,
    directory: &str,
    manifest: &Table,
    package: &Table,
) -> Vec<Candidate> {
    let Some(name) = package.get("name").and_then(|name| name.as_str()) else {
        return vec![];
    };
    let workspace = workspace_of(manifests, directory).or_else(|| {
        // A package that is a workspace, too, is compiled as its members are.
        manifest.get("workspace").is_some().then_some(directory)
    });
    // What a workspace makes is compiled once, from there.
    let build = workspace.map(|_| {
        let mut build = Build::of(BuildSystem::Cargo);
        build.package = Some(name.to_owned());
        build
    });
    let source = workspace.unwrap_or(directory);
    let lock = tree::join(source, "Cargo.lock").unwrap_or_default();
    let advice =
        (!tree.contains(&lock)).then(|| format!("write {lock}, which pins its dependencies: cargo generate-lockfile"));
    let candidate = |name: &str, artifact: String, kind: Kind, exports: Vec<String>| Candidate {
        inputs: inputs(manifests, directory, workspace),
        exports,
        build: build.clone().filter(|_| is_cargo_name(package)),
        advice: advice.clone(),
        ..Candidate::of(name, LanguageName::Rust, source, &artifact, kind)
    };
    let loads = LOADING_CRATES
        .iter()
        .any(|name| has_dependency(manifest, name))
        .then_some(Loader::Dlopen);
    let mut found: Vec<Candidate> = binaries(tree, directory, manifest, package, name)
        .into_iter()
        .map(|binary| candidate(&binary, binary.clone(), Kind::Host { loads }, vec![]))
        .collect();
    if let Some(library) = shared_library(manifest, name) {
        let plugin = Kind::Plugin(Loader::Dlopen);
        found.push(candidate(
            name,
            format!("lib{library}.so"),
            plugin,
            exports(tree, directory),
        ));
    }
    found
}

/// The programs of a package, as cargo finds them (The Cargo Book, "Target auto-discovery").
fn binaries(tree: &Tree, directory: &str, manifest: &Table, package: &Table, name: &str) -> BTreeSet<String> {
    let named = manifest.get("bin").and_then(|bins| bins.as_array());
    let mut binaries: BTreeSet<String> = named
        .into_iter()
        .flatten()
        .filter_map(|bin| bin.get("name")?.as_str().map(str::to_owned))
        .collect();
    if package.get("autobins").and_then(|value| value.as_bool()) == Some(false) {
        return binaries;
    }
    let is_there = |path: &str| tree::join(directory, path).is_some_and(|path| tree.contains(&path));
    let has_path = |path: &str| {
        named
            .into_iter()
            .flatten()
            .any(|bin| bin.get("path").and_then(|value| value.as_str()) == Some(path))
    };
    if is_there("src/main.rs") && !has_path("src/main.rs") {
        binaries.insert(name.to_owned());
    }
    let more = tree::join(directory, "src/bin").unwrap_or_default();
    for (path, _) in tree.directly_in(&more) {
        let file = tree::file_name(path);
        if let Some(stem) = file
            .strip_suffix(".rs")
            .filter(|_| !has_path(&format!("src/bin/{file}")))
        {
            binaries.insert(stem.to_owned());
        }
    }
    binaries
}

/// Where the package of a candidate is, and what its manifest says: one of a workspace has its name there.
fn package_of<'a>(tree: &'a Tree, candidate: &Candidate) -> Option<(&'a str, Table)> {
    let name = candidate.build.as_ref().and_then(|build| build.package.as_deref());
    let mut manifests = tree
        .named("Cargo.toml")
        .filter(|(directory, _)| match name {
            Some(_) => tree::is_within(directory, &candidate.source),
            None => *directory == candidate.source,
        })
        .filter_map(|(directory, text)| Some((directory, text.parse::<Table>().ok()?)));
    manifests.find(|(_, manifest)| {
        let own = manifest
            .get("package")
            .and_then(|package| package.get("name")?.as_str());
        name.is_none() || own == name
    })
}

/// Whether a candidate's package depends on one of these crates.
pub(super) fn depends_on(tree: &Tree, candidate: &Candidate, crates: &[&str]) -> bool {
    let package = package_of(tree, candidate);
    package.is_some_and(|(_, manifest)| crates.iter().any(|name| has_dependency(&manifest, name)))
}

/// The features with which `pyproject.toml` has a candidate's package compiled (maturin's `features`).
pub(super) fn python_features(tree: &Tree, candidate: &Candidate) -> Vec<String> {
    let features = || -> Option<Vec<String>> {
        let (directory, _) = package_of(tree, candidate)?;
        let text = tree.text(&tree::join(directory, "pyproject.toml")?)?;
        let table = text.parse::<Table>().ok()?;
        let features = table.get("tool")?.get("maturin")?.get("features")?.as_array()?;
        let named = features.iter().filter_map(|feature| feature.as_str());
        Some(named.filter(|name| is_feature(name)).map(str::to_owned).collect())
    };
    features().unwrap_or_default()
}

/// Whether a name is one that cargo takes for a feature, also of a dependency.
fn is_feature(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_+./".contains(&byte))
}

/// Whether cargo takes a package's name.
fn is_cargo_name(package: &Table) -> bool {
    let name = package.get("name").and_then(|name| name.as_str()).unwrap_or_default();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part) && !name.starts_with('-')
}

/// The name of the package's `cdylib` or `dylib`, when it has one.
fn shared_library(manifest: &Table, package: &str) -> Option<String> {
    let library = manifest.get("lib")?.as_table()?;
    let types = library
        .get("crate-type")
        .or_else(|| library.get("crate_type"))?
        .as_array()?;
    let is_shared = |kind: &toml::Value| matches!(kind.as_str(), Some("cdylib" | "dylib"));
    types.iter().any(is_shared).then(|| {
        let name = library.get("name").and_then(|name| name.as_str()).unwrap_or(package);
        name.replace('-', "_")
    })
}

fn dependency_tables(manifest: &Table) -> impl Iterator<Item = &Table> {
    ["dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|key| manifest.get(key)?.as_table())
}

fn has_dependency(manifest: &Table, name: &str) -> bool {
    dependency_tables(manifest).any(|table| table.contains_key(name))
}

/// The nearest directory above with a workspace that takes `directory` as a member.
fn workspace_of<'a>(manifests: &Manifests<'a>, directory: &str) -> Option<&'a str> {
    manifests
        .iter()
        .filter(|(root, _)| **root != directory && tree::is_within(directory, root))
        .filter(|(root, manifest)| members(manifests, root, manifest).contains(directory))
        .map(|(root, _)| *root)
        .max_by_key(|root| root.len())
}

/// The members of the workspace in `root`, without the root package itself.
fn members<'a>(manifests: &Manifests<'a>, root: &str, manifest: &Table) -> BTreeSet<&'a str> {
    let list = |key: &str| -> Vec<String> {
        let workspace = manifest
            .get("workspace")
            .and_then(|workspace| workspace.get(key)?.as_array());
        workspace
            .into_iter()
            .flatten()
            .filter_map(|path| tree::join(root, path.as_str()?))
            .collect()
    };
    let (included, excluded) = (list("members"), list("exclude"));
    let is_member = |directory: &str| {
        included.iter().any(|pattern| matches(pattern, directory))
            && !excluded.iter().any(|path| tree::is_within(directory, path))
    };
    manifests
        .keys()
        .copied()
        .filter(|directory| is_member(directory))
        .collect()
}

/// Whether a member pattern takes a directory; `*` stands for one component or a part of it.
fn matches(pattern: &str, directory: &str) -> bool {
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), directory.split('/').collect());
    patterns.len() == parts.len()
        && patterns
            .iter()
            .zip(&parts)
            .all(|(pattern, part)| match pattern.split_once('*') {
                None => pattern == part,
                Some((start, end)) => {
                    part.len() >= start.len() + end.len() && part.starts_with(start) && part.ends_with(end)
                }
            })
}

/// What a package reads outside of where it is compiled, which is its workspace if it has one: path dependencies.
fn inputs(manifests: &Manifests<'_>, directory: &str, workspace: Option<&str>) -> Vec<String> {
    let root = workspace.unwrap_or(directory);
    let mut directories = vec![directory.to_owned()];
    if let Some(manifest) = workspace.and_then(|root| manifests.get(root)) {
        // Cargo reads the manifests of all members.
        directories.extend(members(manifests, root, manifest).into_iter().map(str::to_owned));
    }
    let mut next = 0;
    while let Some(current) = directories
        .get(next)
        .cloned()
        .filter(|_| next < PATH_DEPENDENCY_LIMIT_COUNT)
    {
        next += 1;
        let tables = manifests.get(current.as_str()).into_iter().flat_map(dependency_tables);
        let paths = tables
            .flat_map(Table::values)
            .filter_map(|value| value.get("path")?.as_str());
        for path in paths.filter_map(|path| tree::join(&current, path)) {
            if !directories.contains(&path) {
                directories.push(path);
            }
        }
    }
    let needed: BTreeSet<String> = directories
        .into_iter()
        .filter(|other| !tree::is_within(other, root))
        .collect();
    // What lies in another input comes with it.
    let covered = |path: &String| needed.iter().any(|other| other != path && tree::is_within(path, other));
    needed.iter().filter(|path| !covered(path)).cloned().collect()
}

/// The functions that the sources export under their own names.
fn exports(tree: &Tree, directory: &str) -> Vec<String> {
    let sources = tree
        .files()
        .filter(|(path, _)| tree::is_within(path, directory) && path.ends_with(".rs"));
    let mut exports = Vec::new();
    for (_, text) in sources {
        let mut is_exported = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") {
                is_exported |= line.contains("no_mangle");
            } else if !line.is_empty() && !line.starts_with("//") {
                let name = line.split_once("fn ").and_then(|(_, rest)| identifier(rest));
                if let Some(name) = name.filter(|_| is_exported && line.contains("extern \"C\"")) {
                    exports.push(name.to_owned());
                }
                is_exported = false;
            }
        }
    }
    exports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_and_a_cdylib_with_what_they_read() {
        let tree = Tree::of(&[
            (
                "host/Cargo.toml",
                "[package]\nname = \"greeter\"\n[dependencies]\nlibloading = \"0.8\"\n",
            ),
            ("host/Cargo.lock", ""),
            ("host/src/main.rs", "fn main() {}"),
            (
                "plugins/shout/Cargo.toml",
                "[package]\nname = \"shout-loud\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\napi = { path = \"../../api\" }\n",
            ),
            (
                "plugins/shout/src/lib.rs",
                "/// Doc.\n#[unsafe(no_mangle)]\npub extern \"C\" fn plugin_name() -> *const c_char {\n}\nextern \"C\" fn inner() {}\n",
            ),
            ("api/Cargo.toml", "[package]\nname = \"api\"\n"),
        ]);
        let found = candidates(&tree);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].artifact.as_str(), found[0].kind),
            (
                "greeter",
                Kind::Host {
                    loads: Some(Loader::Dlopen)
                }
            )
        );
        assert_eq!(found[0].advice, None);
        let plugin = &found[1];
        assert_eq!(
            (plugin.artifact.as_str(), plugin.kind),
            ("libshout_loud.so", Kind::Plugin(Loader::Dlopen))
        );
        assert_eq!(plugin.inputs, ["api"]);
        assert_eq!(plugin.exports, ["plugin_name"]);
        assert!(
            plugin
                .advice
                .as_deref()
                .is_some_and(|advice| advice.contains("plugins/shout/Cargo.lock"))
        );
    }

    #[test]
    fn a_member_is_compiled_from_its_workspace() {
        let tree = Tree::of(&[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"app\", \"plugins/*\"]\nexclude = [\"plugins/old\"]\n",
            ),
            ("Cargo.lock", ""),
            (
                "app/Cargo.toml",
                "[package]\nname = \"app\"\n[[bin]]\nname = \"run\"\npath = \"src/main.rs\"\n",
            ),
            ("app/src/main.rs", ""),
            (
                "plugins/a/Cargo.toml",
                "[package]\nname = \"a\"\n[lib]\ncrate-type = [\"rlib\", \"cdylib\"]\nname = \"first\"\n[dependencies]\nlibloading.workspace = true\n",
            ),
            (
                "plugins/old/Cargo.toml",
                "[package]\nname = \"old\"\n[lib]\ncrate-type = [\"cdylib\"]\n",
            ),
        ]);
        let found = candidates(&tree);
        let seen: Vec<(&str, &str, Option<&str>)> = found
            .iter()
            .map(|unit| {
                let package = unit.build.as_ref().and_then(|build| build.package.as_deref());
                (unit.source.as_str(), unit.artifact.as_str(), package)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (".", "run", Some("app")),
                (".", "libfirst.so", Some("a")),
                ("plugins/old", "libold.so", None)
            ]
        );
        assert!(found.iter().all(|unit| unit.inputs.is_empty()));
        assert!(depends_on(&tree, &found[1], &["libloading"]) && !depends_on(&tree, &found[0], &["libloading"]));
    }

    #[test]
    fn a_manifest_that_is_none_is_passed_over() {
        assert_eq!(
            candidates(&Tree::of(&[("Cargo.toml", "[package"), ("src/main.rs", "")])),
            []
        );
    }
}
