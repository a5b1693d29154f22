//! Go modules: `package main` with a `func main` is a host; without one, or below a directory for plugins, a plugin.

use std::collections::{BTreeMap, BTreeSet};

use super::text::identifier;
use super::tree::{self, Tree};
use super::{Candidate, Kind};
use crate::config::{LanguageName, Loader};

/// Directories below which a `package main` is meant to be loaded.
pub(super) const PLUGIN_DIRECTORIES: &[&str] =
    &["extensions", "handlers", "middlewares", "modules", "plugin", "plugins"];

/// All main packages of all modules.
pub(super) fn candidates(tree: &Tree) -> Vec<Candidate> {
    let mut loading = Loading::default();
    tree.directories_with(&["go"])
        .into_iter()
        .filter_map(|directory| of_directory(tree, directory, &mut loading))
        .collect()
}

/// The directories of each module that load plugins, which are looked for once a module.
type Loading<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn of_directory<'a>(tree: &'a Tree, directory: &str, loading: &mut Loading<'a>) -> Option<Candidate> {
    let (module, manifest) = tree
        .named("go.mod")
        .filter(|(module, _)| tree::is_within(directory, module))
        .max_by_key(|(module, _)| if *module == "." { 0 } else { module.len() })?;
    let sources: Vec<&str> = tree
        .directly_in(directory)
        .filter(|(path, text)| path.ends_with(".go") && !path.ends_with("_test.go") && !is_left_out(text))
        .map(|(_, text)| text)
        .collect();
    let is_main = |text: &&str| text.lines().any(|line| line.trim_end() == "package main");
    if !sources.iter().any(is_main) {
        return None;
    }
    let has = |start: &str| {
        sources
            .iter()
            .any(|text| text.lines().any(|line| line.starts_with(start)))
    };
    let is_for_loading = directory.split('/').any(|part| PLUGIN_DIRECTORIES.contains(&part));
    let imports_plugin = sources
        .iter()
        .any(|text| text.lines().any(|line| imports(line, "plugin")));
    let kind = if has("func main()") && (!is_for_loading || imports_plugin) {
        let loads = imports_plugin
            || loading
                .entry(module)
                .or_insert_with(|| loading_directories(tree, module))
                .contains(directory);
        Kind::Host {
            loads: loads.then_some(Loader::Go),
        }
    } else {
        Kind::Plugin(Loader::Go)
    };
    let module_path = manifest
        .lines()
        .find_map(|line| line.strip_prefix("module "))
        .unwrap_or("host")
        .trim();
    let name = tree::file_name(if directory == "." {
        module_path.trim_matches('"')
    } else {
        directory
    })
    .to_owned();
    // The modules of a workspace see each other only from there.
    let module = workspace_of(tree, module).unwrap_or(module);
    let package = directory
        .strip_prefix(if module == "." { "" } else { module })
        .map(|rest| rest.trim_start_matches('/'))
        .unwrap_or(directory);
    let package = if directory == module {
        ".".to_owned()
    } else {
        format!("./{package}")
    };
    let artifact = if matches!(kind, Kind::Host { .. }) {
        name.clone()
    } else {
        format!("{name}.so")
    };
    Some(Candidate {
        package: Some(package),
        exports: sources.iter().flat_map(|text| exports(text)).collect(),
        ..Candidate::of(&name, LanguageName::Go, module, &artifact, kind)
    })
}

/// The directories below `root` with packages that load plugins, themselves or by what they import.
fn loading_directories<'a>(tree: &'a Tree, root: &str) -> BTreeSet<&'a str> {
    let sources: Vec<(&str, &str)> = tree
        .files()
        .filter(|(path, _)| path.ends_with(".go") && !path.ends_with("_test.go") && tree::is_within(path, root))
        .map(|(path, text)| (tree::parent(path), text))
        .collect();
    let mut loading: BTreeSet<&str> = sources
        .iter()
        .filter(|(_, text)| text.lines().any(|line| imports(line, "plugin")))
        .map(|(directory, _)| *directory)
        .collect();
    // Each round adds a directory or is the last.
    loop {
        // Packages are imported by their module's path and their own, which need not have the project's directories in it.
        let endings: Vec<String> = loading
            .iter()
            .filter_map(|directory| directory.strip_prefix(if root == "." { "" } else { root }))
            .map(|directory| format!("/{}\"", directory.trim_start_matches('/')))
            .filter(|ending| ending != "/\"" && ending != "/.\"")
            .collect();
        let is_next = |(directory, text): &&(&str, &str)| {
            !loading.contains(directory) && endings.iter().any(|ending| text.contains(ending.as_str()))
        };
        let next: Vec<&str> = sources
            .iter()
            .filter(is_next)
            .map(|(directory, _)| *directory)
            .collect();
        if next.is_empty() {
            return loading;
        }
        loading.extend(next);
    }
}

/// The sources of a module's packages that load plugins.
pub(super) fn loading_sources<'a>(tree: &'a Tree, module: &str) -> Vec<&'a str> {
    let loading = loading_directories(tree, module);
    tree.files()
        .filter(|(path, _)| {
            path.ends_with(".go") && !path.ends_with("_test.go") && loading.contains(tree::parent(path))
        })
        .map(|(_, text)| text)
        .collect()
}

/// The directory whose `go.work` uses the module.
fn workspace_of<'a>(tree: &'a Tree, module: &str) -> Option<&'a str> {
    let uses = |directory: &str, text: &str| {
        let words = text.split_whitespace().filter(|word| word.starts_with('.'));
        words
            .filter_map(|word| tree::join(directory, word))
            .any(|used| used == module)
    };
    tree.named("go.work")
        .find(|(directory, text)| uses(directory, text))
        .map(|(directory, _)| directory)
}

/// Files that `go build` leaves out unless it is asked for them.
fn is_left_out(text: &str) -> bool {
    text.lines()
        .take_while(|line| !line.starts_with("package "))
        .any(|line| line.trim() == "//go:build ignore")
}

fn imports(line: &str, package: &str) -> bool {
    let line = line.trim().strip_prefix("import ").unwrap_or(line.trim());
    line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(package)
}

/// Functions and variables of a source that `plugin.Lookup` finds.
fn exports(text: &str) -> Vec<String> {
    let declared = |line: &str| -> Option<String> {
        let rest = line.strip_prefix("func ").or_else(|| line.strip_prefix("var "))?;
        identifier(rest)
            .filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))
            .map(str::to_owned)
    };
    text.lines().filter_map(declared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_hosts_and_the_rest_is_loaded() {
        let tree = Tree::of(&[
            ("go.mod", "module example.com/gateway\n\ngo 1.24\n"),
            (
                "main.go",
                "package main\n\nimport (\n\t\"plugin\"\n)\n\nfunc main() {}\n",
            ),
            ("gen.go", "//go:build ignore\n\npackage main\n\nfunc main() {}\n"),
            ("api/api.go", "package api\n"),
            (
                "plugins/match/match.go",
                "package main\n\nfunc Handler() {}\n\nvar Name = \"x\"\n\nfunc (t T) Method() {}\n",
            ),
            (
                "plugins/old/old.go",
                "package main\n\nfunc Handler() {}\nfunc main() {}\n",
            ),
            ("plugins/old/old_test.go", "package main\n\nfunc TestX() {}\n"),
        ]);
        let seen: Vec<(String, Kind, Option<String>)> = candidates(&tree)
            .into_iter()
            .map(|unit| (unit.artifact, unit.kind, unit.package))
            .collect();
        let plugin = |name: &str| {
            (
                format!("{name}.so"),
                Kind::Plugin(Loader::Go),
                Some(format!("./plugins/{name}")),
            )
        };
        let host = (
            "gateway".to_owned(),
            Kind::Host {
                loads: Some(Loader::Go),
            },
            Some(".".to_owned()),
        );
        assert_eq!(seen, [host, plugin("match"), plugin("old")]);
        assert_eq!(candidates(&tree)[1].exports, ["Handler", "Name"]);
    }

    #[test]
    fn modules_of_a_workspace_are_compiled_from_it() {
        let tree = Tree::of(&[
            ("go.work", "go 1.24\n\nuse (\n\t./host\n\t./plugins/a\n)\n"),
            ("host/go.mod", "module x/host\n"),
            ("host/main.go", "package main\n\nimport \"plugin\"\n\nfunc main() {}\n"),
            ("plugins/a/go.mod", "module x/a\n"),
            ("plugins/a/a.go", "package main\n\nfunc New() {}\n"),
        ]);
        let found = candidates(&tree);
        let seen: Vec<(&str, Option<&str>)> = found
            .iter()
            .map(|unit| (unit.source.as_str(), unit.package.as_deref()))
            .collect();
        assert_eq!(seen, [(".", Some("./host")), (".", Some("./plugins/a"))]);
    }

    #[test]
    fn without_a_module_there_is_nothing_to_build() {
        assert_eq!(
            candidates(&Tree::of(&[("main.go", "package main\nfunc main() {}\n")])),
            []
        );
    }

    #[test]
    fn a_module_in_a_directory_has_its_own_packages() {
        let tree = Tree::of(&[
            ("svc/go.mod", "module svc\n"),
            ("svc/cmd/run/main.go", "package main\nfunc main() {}\n"),
        ]);
        let found = candidates(&tree);
        assert_eq!(
            (found[0].source.as_str(), found[0].package.as_deref()),
            ("svc", Some("./cmd/run"))
        );
    }
}
