//! Trees that a build system makes as a whole: their programs could be hosts, and what those open are plugins.

use std::collections::BTreeSet;

use super::build_files;
use super::targets::{self, Target, TargetKind, Targets};
use super::tree::{self, Tree};
use super::{Candidate, Kind, c_family};
use crate::config::{Build, BuildSystem, LanguageName, Loader};
use crate::known_hosts::FileBeside;

/// The systems, of which the first that starts in a directory counts.
const SYSTEMS: &[BuildSystem] = &[
    BuildSystem::Meson,
    BuildSystem::Cmake,
    BuildSystem::Autotools,
    BuildSystem::Make,
];
/// Where the loader looks for libraries by itself.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
/// What a program calls to open a module: the C library's, glib's and libtool's.
pub(super) const OPENING: &[&str] = &["dlopen(", "dlopen (", "g_module_open", "lt_dlopen"];
/// Parts of names of programs that are for a tree's own sake.
const FOR_ITSELF: &[&str] = &["bench", "example", "fuzz", "test"];

/// What whole builds make, and where they start: what lies below is theirs.
pub(super) fn candidates(targets: &Targets<'_>, notes: &mut Vec<String>) -> (Vec<Candidate>, Vec<String>) {
    let tree = targets.tree;
    let mut found = Vec::new();
    let mut roots: Vec<String> = Vec::new();
    let directories: BTreeSet<&str> = tree.files().map(|(path, _)| tree::parent(path)).collect();
    // What lies above comes first in this order, but for the top, which comes before all others.
    let top = directories.get(".").copied();
    for directory in top
        .into_iter()
        .chain(directories.iter().copied().filter(|directory| *directory != "."))
    {
        if roots.iter().any(|root| tree::is_within(directory, root)) {
            continue;
        }
        for system in SYSTEMS {
            if !build_files::starts_in(tree, directory, *system) {
                continue;
            }
            let made = targets.below(*system, directory);
            let has = |kind: TargetKind| made.iter().any(|target| target.kind == kind);
            // A makefile that anybody wrote is believed when it is clear.
            let is_clear = has(TargetKind::Program) && has(TargetKind::Module);
            if made.is_empty() || *system == BuildSystem::Make && !is_clear {
                continue;
            }
            found.extend(of_tree(tree, *system, directory, made.to_vec(), notes));
            roots.push(directory.to_owned());
            break;
        }
    }
    (found, roots)
}

fn of_tree(tree: &Tree, system: BuildSystem, root: &str, made: Vec<Target>, notes: &mut Vec<String>) -> Vec<Candidate> {
    let (programs, others): (Vec<Target>, Vec<Target>) =
        made.into_iter().partition(|target| target.kind == TargetKind::Program);
    let is_for_itself = |target: &Target| {
        let names = [target.file.as_str(), target.directory.as_str()];
        names
            .iter()
            .any(|name| FOR_ITSELF.iter().any(|part| name.contains(part)))
    };
    let (own, mut programs): (Vec<Target>, Vec<Target>) = programs.into_iter().partition(is_for_itself);
    if programs.is_empty() {
        programs = own;
    }
    let of_kind = |kind: TargetKind| others.iter().filter(move |target| target.kind == kind);
    let (own, mut modules): (Vec<&Target>, Vec<&Target>) =
        of_kind(TargetKind::Module).partition(|target| is_for_itself(target));
    if modules.is_empty() {
        modules = own;
    }
    let mut libraries: Vec<&Target> = of_kind(TargetKind::Library)
        .filter(|target| target.is_installed)
        .collect();
    if modules.is_empty() && programs.is_empty() {
        // Nobody here opens it, so it is for somebody else.
        modules = std::mem::take(&mut libraries);
    }
    let mut options: BTreeSet<String> = BTreeSet::new();
    let needed = |target: &Target| -> Option<Vec<String>> {
        target
            .conditions
            .iter()
            .map(|condition| targets::option(tree, root, condition))
            .collect()
    };
    let (sure, doubtful): (Vec<&Target>, Vec<&Target>) = modules.iter().partition(|target| needed(target).is_some());
    if !doubtful.is_empty() {
        let names: Vec<&str> = doubtful.iter().map(|target| target.file.as_str()).collect();
        let verb = if sure.is_empty() { "listed" } else { "left out" };
        notes.push(format!(
            "{} {verb}: what the build finds decides whether it makes them",
            names.join(", ")
        ));
    }
    let modules = if sure.is_empty() { doubtful } else { sure };
    for target in &modules {
        options.extend(needed(target).unwrap_or_default());
    }
    let mut build = Build::of(system);
    build.options = options.into_iter().collect();
    let opens = opens(tree, root).then_some(Loader::Dlopen);
    let project = project_name(tree, system, root);
    programs.sort_by_key(|target| (project.as_deref() != Some(&target.file), !target.is_installed));
    let candidate = |target: &Target, kind: Kind| {
        let sources = sources(tree, root, target);
        let name = target.file.split('.').next().unwrap_or_default();
        let name = match kind {
            Kind::Host { .. } => &target.file,
            Kind::Plugin(_) => name.strip_prefix("lib").unwrap_or(name),
        };
        let is_cpp = sources
            .iter()
            .any(|path| c_family::language_of(path) == LanguageName::Cpp);
        let language = if is_cpp { LanguageName::Cpp } else { LanguageName::C };
        let exports = match kind {
            Kind::Host { .. } => vec![],
            Kind::Plugin(_) => c_family::exports(tree, &sources),
        };
        Candidate {
            exports,
            build: Some(build.clone()),
            ..Candidate::of(name, language, root, &target.file, kind)
        }
    };
    let mut found: Vec<Candidate> = programs
        .iter()
        .map(|target| candidate(target, Kind::Host { loads: opens }))
        .collect();
    let first = found.len();
    found.extend(
        modules
            .iter()
            .map(|target| candidate(target, Kind::Plugin(Loader::Dlopen))),
    );
    if let Some(first) = found.get_mut(first) {
        // What host and plugins are linked with is shipped as well, once.
        let libraries = libraries.iter().filter(|target| needed(target).is_some());
        first.beside.made = libraries
            .map(|target| FileBeside::installed(&target.file, LIBRARIES))
            .collect();
    }
    found
}

/// Whether something below `root` opens modules.
fn opens(tree: &Tree, root: &str) -> bool {
    tree.within(root)
        .any(|(path, text)| tree::is_source(path) && OPENING.iter().any(|call| text.contains(call)))
}

/// The sources of a target: those that its build file names, in its directory, or elsewhere if there are none.
fn sources<'a>(tree: &'a Tree, root: &str, target: &Target) -> Vec<&'a str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-._+".contains(character);
    let stems: BTreeSet<&str> = target
        .said
        .split(|character| !is_part(character))
        .filter_map(|word| word.rsplit_once('.'))
        .filter(|(_, ending)| ["c", "cc", "cpp", "cxx", "lo", "o"].contains(ending))
        .map(|(stem, _)| stem)
        .collect();
    let named = |directory: &str| -> Vec<&'a str> {
        let sources = tree
            .within(directory)
            .map(|(path, _)| path)
            .filter(|path| tree::is_source(path));
        let is_named = |path: &&str| {
            let name = tree::file_name(path);
            stems.contains(name.rsplit_once('.').map_or(name, |(stem, _)| stem))
        };
        sources.filter(is_named).collect()
    };
    let near = named(&target.directory);
    if near.is_empty() { named(root) } else { near }
}

/// What the tree calls itself.
fn project_name(tree: &Tree, system: BuildSystem, root: &str) -> Option<String> {
    let (file, call) = match system {
        BuildSystem::Meson => ("meson.build", "project("),
        BuildSystem::Cmake => ("CMakeLists.txt", "project("),
        BuildSystem::Autotools => ("configure.ac", "AC_INIT("),
        _ => return None,
    };
    let text = tree.text(&tree::join(root, file)?)?;
    let start = text.to_ascii_lowercase().find(&call.to_ascii_lowercase())? + call.len();
    let rest = text.get(start..)?.trim_start_matches(['\'', '"', '[', ' ', '\n']);
    let end = rest.find(['\'', '"', ']', ' ', ',', ')', '\n'])?;
    Some(rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Proposal, ProposedHost, propose};
    use super::*;

    fn described(files: &[(&str, &str)]) -> (String, Vec<String>, Proposal) {
        let proposal = propose(&Tree::of(files), "x", None).unwrap();
        let host = match &proposal.host {
            ProposedHost::Compiled { host, .. } => format!("{} {:?}", host.artifact, host.from),
            other => format!("{other:?}"),
        };
        let plugins = proposal
            .plugins
            .iter()
            .map(|plugin| format!("{} {:?}", plugin.artifact, plugin.from))
            .collect();
        (host, plugins, proposal)
    }

    const HOST: &str = "int main(void) { dlopen(0, 0); dlsym(h, \"run\"); }\n";
    const PLUGIN: &str = "int run(void) {\n}\nint other(void) {\n}\n";

    #[test]
    fn a_tree_is_built_once_for_its_host_and_what_that_opens() {
        let build = "project('x', 'c')\nexecutable('tool', 't.c')\nexecutable('x', 'src/main.c', install: true)\n\
                     executable('x-test', 'u.c')\nlibrary('core', 'core.c', install: true)\n\
                     shared_module('one', 'one.c')\nif get_option('two')\n  shared_module('two', 'two.c')\nendif\n\
                     if have\n  shared_module('three', 'one.c')\nendif\n";
        let (host, plugins, proposal) = described(&[
            ("meson.build", build),
            ("src/main.c", HOST),
            ("core.c", "int core(void) {\n}\n"),
            ("one.c", PLUGIN),
            ("two.c", PLUGIN),
            ("t.c", "int main(void) {\n}\n"),
        ]);
        assert_eq!(host, "x Some(\"tree\")");
        assert_eq!(plugins, ["libone.so Some(\"tree\")", "libtwo.so Some(\"tree\")"]);
        assert_eq!(proposal.symbols, ["run"]);
        assert_eq!(
            proposal.builds[0].making.build.as_ref().unwrap().options,
            ["-Dtwo=true"]
        );
        assert_eq!(
            proposal.plugins[0].beside.made,
            [FileBeside::installed("libcore.so", LIBRARIES)]
        );
        assert!(
            proposal
                .notes
                .iter()
                .any(|note| note.starts_with("libthree.so left out")),
            "{:?}",
            proposal.notes
        );
    }

    #[test]
    fn libraries_that_are_linked_are_no_plugins() {
        let build =
            "project(x C)\nadd_executable(x main.c)\nadd_library(core STATIC core.c)\nadd_library(one MODULE one.c)\n";
        let files = [
            ("CMakeLists.txt", build),
            ("main.c", HOST),
            ("core/core.c", "int core(void) {\n}\n"),
            ("one/one.c", PLUGIN),
        ];
        let (host, plugins, _) = described(&files);
        assert_eq!(
            (host.as_str(), plugins),
            ("x Some(\"tree\")", vec!["libone.so Some(\"tree\")".to_owned()])
        );
    }
}
