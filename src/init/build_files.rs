//! Files of build systems: which system makes what lies in a directory, and what its shared objects are called.

use super::targets::{self, Target, TargetKind, Targets};
use super::tree::{self, Tree, is_file_name, is_source};
use crate::config::BuildSystem;
use crate::known_hosts::{MAKEFILES, words};

/// A build that a directory is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuildFile {
    /// The system.
    pub(super) system: BuildSystem,
    /// Where it starts: the topmost directory that it has a file in.
    pub(super) source: String,
    /// The shared objects that the file nearest to the directory makes.
    pub(super) shared: Vec<String>,
    /// Whether that file makes a library that is linked into something else.
    pub(super) makes_static: bool,
}

/// The build of `directory` by the first of `systems` that has a file in it or above.
pub(super) fn of_directory(targets: &Targets<'_>, directory: &str, systems: &[BuildSystem]) -> Option<BuildFile> {
    systems.iter().find_map(|system| by_system(targets, directory, *system))
}

fn text_of<'a>(tree: &'a Tree, level: &str, names: &[&str]) -> Option<&'a str> {
    names
        .iter()
        .find_map(|name| tree.text(&tree::join(level, name)?))
        .filter(|text| !text.is_empty())
}

/// The files that a system starts with, and those that say what is made.
fn files_of(system: BuildSystem) -> Option<(&'static [&'static str], &'static [&'static str])> {
    match system {
        BuildSystem::Meson => Some((&["meson.build"], &["meson.build"])),
        BuildSystem::Cmake => Some((&["CMakeLists.txt"], &["CMakeLists.txt"])),
        BuildSystem::Autotools => Some((&["configure.ac"], &["Makefile.am", "Makefile.in"])),
        BuildSystem::Make | BuildSystem::Pgxs => Some((MAKEFILES, MAKEFILES)),
        _ => None,
    }
}

/// Whether a build by `system` could start in a directory.
pub(super) fn starts_in(tree: &Tree, directory: &str, system: BuildSystem) -> bool {
    let is_start = |text: &str| match system {
        BuildSystem::Meson | BuildSystem::Cmake => text.to_ascii_lowercase().contains("project"),
        BuildSystem::Pgxs => text.contains("PGXS"),
        _ => true,
    };
    files_of(system).is_some_and(|(starts, _)| text_of(tree, directory, starts).is_some_and(is_start))
}

fn by_system(targets: &Targets<'_>, directory: &str, system: BuildSystem) -> Option<BuildFile> {
    let tree = targets.tree;
    let levels = ancestors(directory);
    let (_, files) = files_of(system)?;
    let text_of = |level: &str, names: &[&str]| text_of(tree, level, names);
    let has_start = |level: &&&str| starts_in(tree, level, system);
    let names_one = |level: &&&str| text_of(level, files).is_some_and(|text| !made_by_makefile(text).is_empty());
    let source = match system {
        // A makefile of another directory makes what is in this one only if it says so.
        BuildSystem::Make => levels
            .iter()
            .find(names_one)
            .or_else(|| levels.first().filter(has_start))?,
        BuildSystem::Pgxs => levels.iter().find(has_start)?,
        _ => levels.iter().rev().find(has_start)?,
    };
    let within = levels.iter().filter(|level| tree::is_within(level, source));
    let mut makes_static = false;
    let mut shared = Vec::new();
    for text in within.filter_map(|level| text_of(level, files)) {
        makes_static |= shared.is_empty() && has_static(system, text);
        shared = shared_of(system, text);
        if !shared.is_empty() {
            break;
        }
    }
    if shared.is_empty() {
        shared = made_elsewhere(targets, directory, system, source);
    }
    Some(BuildFile {
        system,
        source: (*source).to_owned(),
        shared,
        makes_static,
    })
}

/// A directory and those above it, up to the project's.
fn ancestors(directory: &str) -> Vec<&str> {
    let mut levels: Vec<&str> = tree::with_ancestors(directory).collect();
    levels.extend((directory != ".").then_some("."));
    levels
}

fn has_static(system: BuildSystem, text: &str) -> bool {
    let words: &[&str] = match system {
        BuildSystem::Meson => &["static_library("],
        BuildSystem::Cmake => &[" STATIC"],
        BuildSystem::Autotools => &["noinst_LTLIBRARIES", "noinst_LIBRARIES", "lib_LIBRARIES"],
        _ => &["$(AR)", "ar rc", "ar cr"],
    };
    words.iter().any(|word| text.contains(word))
}

/// The names of the shared objects that a build file makes, as far as they are written there.
fn shared_of(system: BuildSystem, text: &str) -> Vec<String> {
    only_names(match system {
        BuildSystem::Meson | BuildSystem::Cmake => targets::shared(system, text),
        BuildSystem::Autotools => {
            if !text.contains("_LTLIBRARIES") {
                return only_names(made_by_makefile(text));
            }
            let text = text.replace("\\\n", " ");
            let lists = text.lines().filter_map(|line| {
                let (variable, made) = line.split_once('=')?;
                let variable = variable.trim().trim_end_matches('+').trim();
                let is_made = variable.ends_with("_LTLIBRARIES")
                    && !variable.starts_with("noinst")
                    && !variable.starts_with("check");
                is_made.then_some(made)
            });
            let names = lists.flat_map(str::split_whitespace);
            names
                .filter_map(|name| Some(format!("{}.so", name.strip_suffix(".la")?)))
                .collect()
        }
        BuildSystem::Make => made_by_makefile(text),
        _ => vec![],
    })
}

/// Those that can be artifacts, each once.
fn only_names(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| is_file_name(name));
    names.sort();
    names.dedup();
    names
}

/// The shared objects that build files of other directories make of the sources of this one.
fn made_elsewhere(targets: &Targets<'_>, directory: &str, system: BuildSystem, root: &str) -> Vec<String> {
    let tree = targets.tree;
    let sources: Vec<&str> = tree
        .directly_in(directory)
        .map(|(path, _)| tree::file_name(path))
        .collect();
    let made = targets.below(system, root);
    let files_of_system = files_of(system).map_or(&[][..], |(_, files)| files);
    let names_one = |text: &str| sources.iter().any(|source| is_source(source) && text.contains(source));
    let is_shared = |target: &&Target| matches!(target.kind, TargetKind::Module | TargetKind::Library);
    let files = |is_of: &dyn Fn(&Target) -> bool| -> Vec<String> {
        let shared = made.iter().filter(is_shared).filter(|target| is_of(target));
        only_names(shared.map(|target| target.file.clone()).collect())
    };
    let named = files(&|target| names_one(&target.said));
    if !named.is_empty() {
        return named;
    }
    // A file may name its sources before it says what becomes of them.
    files(&|target| text_of(tree, &target.directory, files_of_system).is_some_and(names_one))
}

/// The words of a makefile that end in `.so`, with the variables filled in that have one word.
fn made_by_makefile(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    // What is removed may never have been made.
    let is_removed = |line: &&str| ["rm ", "$(RM)", "find "].iter().any(|word| line.contains(word));
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    for line in lines.filter(|line| !is_removed(line)) {
        for word in line.split(|character: char| character.is_whitespace() || "=:;\"'".contains(character)) {
            let Some((stem, ending)) = shared_name(word) else {
                continue;
            };
            let stem = stem.rsplit('/').next().unwrap_or_default();
            let filled = match stem.strip_prefix('$') {
                None => Some(stem.to_owned()),
                Some(name) => {
                    let name = name.trim_start_matches(['(', '{']).trim_end_matches([')', '}']);
                    words(text, name).into_iter().next()
                }
            };
            names.extend(filled.map(|stem| format!("{stem}{ending}")));
        }
    }
    names
}

/// A name of a shared object without its ending: `.so`, or one with a version.
fn shared_name(word: &str) -> Option<(&str, &str)> {
    let start = word.find(".so")?;
    let (stem, ending) = word.split_at(start);
    let version = ending.strip_prefix(".so")?;
    let is_version =
        version.is_empty() || version.starts_with('.') && version[1..].bytes().all(|byte| byte.is_ascii_digit());
    (is_version && version != ".").then_some((stem, ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_names_its_shared_objects() {
        for (system, file, text, expected) in [
            (
                BuildSystem::Make,
                "src/Makefile",
                "T = lfs\nall: src/$T.so x.so y.so.2 z.so.h\n\tcp $(T).so $(DIR)\n",
                "lfs.so x.so y.so.2",
            ),
            (
                BuildSystem::Meson,
                "meson.build",
                "project('x', 'c')\nshared_module('one', 'a.c', name_prefix: '')\nstatic_library('s', 'b.c')\n",
                "one.so",
            ),
            (
                BuildSystem::Cmake,
                "CMakeLists.txt",
                "project(x C)\nadd_library(two MODULE a.c)\nadd_library(three STATIC b.c)\nadd_library(${X} SHARED)\n",
                "libtwo.so",
            ),
        ] {
            let tree = Tree::of(&[(file, text), ("src/a.c", "")]);
            let found = of_directory(&Targets::of(&tree), "src", &[system]).unwrap();
            assert_eq!(found.shared.join(" "), expected);
        }
        let tree = Tree::of(&[
            ("configure.ac", "AC_INIT\n"),
            ("Makefile.am", "SUBDIRS = src\n"),
            (
                "src/Makefile.am",
                "pam_LTLIBRARIES = pam_x.la\nnoinst_LTLIBRARIES = libcommon.la\n",
            ),
        ]);
        let found = of_directory(
            &Targets::of(&tree),
            "src",
            &[BuildSystem::Meson, BuildSystem::Autotools],
        )
        .unwrap();
        assert_eq!(
            (
                found.source.as_str(),
                found.shared.join(" ").as_str(),
                found.makes_static
            ),
            (".", "pam_x.so", true)
        );
        assert_eq!(of_directory(&Targets::of(&tree), "src", &[BuildSystem::Make]), None);
        let makefiles = Tree::of(&[
            ("Makefile", "all: top.so\n"),
            ("modules/Makefile", "all: one.so\n\trm -f old.so\n"),
            ("modules/a.c", ""),
            ("other/Makefile", "all:\n"),
        ]);
        let source_of = |directory: &str| {
            let found = of_directory(&Targets::of(&makefiles), directory, &[BuildSystem::Make]).unwrap();
            (found.source, found.shared.join(" "))
        };
        let pair = |source: &str, shared: &str| (source.to_owned(), shared.to_owned());
        assert_eq!(source_of("modules"), pair("modules", "one.so"));
        assert_eq!(source_of("other"), pair(".", "top.so"));
    }
}
