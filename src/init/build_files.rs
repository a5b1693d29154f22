//! Files of build systems: which system makes what lies in a directory, and what its shared objects are called.

use super::tree::{self, Tree};
use crate::config::BuildSystem;
use crate::known_hosts::words;

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
pub(super) fn of_directory(tree: &Tree, directory: &str, systems: &[BuildSystem]) -> Option<BuildFile> {
    systems.iter().find_map(|system| by_system(tree, directory, *system))
}

fn by_system(tree: &Tree, directory: &str, system: BuildSystem) -> Option<BuildFile> {
    let levels = ancestors(directory);
    let text_of = |level: &str, names: &[&str]| {
        names
            .iter()
            .find_map(|name| tree.text(&tree::join(level, name)?))
            .filter(|text| !text.is_empty())
    };
    let (starts, files): (&[&str], &[&str]) = match system {
        BuildSystem::Meson => (&["meson.build"], &["meson.build"]),
        BuildSystem::Cmake => (&["CMakeLists.txt"], &["CMakeLists.txt"]),
        BuildSystem::Autotools => (&["configure.ac"], &["Makefile.am", "Makefile.in"]),
        BuildSystem::Make | BuildSystem::Pgxs => (MAKEFILES, MAKEFILES),
        _ => return None,
    };
    let is_start = |text: &str| match system {
        BuildSystem::Meson | BuildSystem::Cmake => text.to_ascii_lowercase().contains("project"),
        BuildSystem::Pgxs => text.contains("PGXS"),
        _ => true,
    };
    let has_start = |level: &&&str| text_of(level, starts).is_some_and(is_start);
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
    Some(BuildFile {
        system,
        source: (*source).to_owned(),
        shared,
        makes_static,
    })
}

const MAKEFILES: &[&str] = &["GNUmakefile", "makefile", "Makefile"];

/// A directory and those above it, up to the project's.
fn ancestors(directory: &str) -> Vec<&str> {
    let mut levels = vec![directory];
    while let Some(last) = levels.last().filter(|last| **last != ".") {
        levels.push(tree::parent(last));
    }
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
        BuildSystem::Meson => {
            let prefix = if text.contains("name_prefix") { "" } else { "lib" };
            let calls = ["shared_module(", "shared_library("];
            let quoted = calls.iter().flat_map(|call| arguments(text, call));
            let names = quoted.filter_map(|argument| argument.strip_prefix('\'')?.split('\'').next());
            names.map(|name| format!("{prefix}{name}.so")).collect()
        }
        BuildSystem::Cmake => {
            let has_no_prefix = text.contains("PREFIX \"\"");
            let prefix = if has_no_prefix { "" } else { "lib" };
            let is_shared = |argument: &&str| {
                let kind = argument.split_whitespace().nth(1);
                matches!(kind, Some("SHARED" | "MODULE"))
            };
            // Names of commands may be written in either case.
            let calls = ["add_library(", "ADD_LIBRARY("];
            let made = calls.iter().flat_map(|call| arguments(text, call));
            made.filter(is_shared)
                .filter_map(|argument| argument.split_whitespace().next())
                .filter(|name| !name.contains('$'))
                .map(|name| format!("{prefix}{name}.so"))
                .collect()
        }
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

/// What follows `call`, up to its end.
fn arguments<'a>(text: &'a str, call: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(call).filter_map(move |(index, _)| {
        let rest = text.get(index + call.len()..)?;
        Some(rest[..rest.find(')')?].trim_start())
    })
}

/// The words of a makefile that end in `.so`, with the variables filled in that have one word.
fn made_by_makefile(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    // What is removed may never have been made.
    let is_removed = |line: &&str| ["rm ", "$(RM)", "find "].iter().any(|word| line.contains(word));
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    for line in lines.filter(|line| !is_removed(line)) {
        for word in line.split(|character: char| character.is_whitespace() || "=:;\"'".contains(character)) {
            let Some(stem) = word.strip_suffix(".so") else { continue };
            let stem = stem.rsplit('/').next().unwrap_or_default();
            let filled = match stem.strip_prefix('$') {
                None => Some(stem.to_owned()),
                Some(name) => {
                    let name = name.trim_start_matches(['(', '{']).trim_end_matches([')', '}']);
                    words(text, name).into_iter().next()
                }
            };
            names.extend(filled.map(|stem| format!("{stem}.so")));
        }
    }
    names
}

/// Whether a name can be that of an artifact, and stand in a command.
pub(super) fn is_file_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    starts_well && name.bytes().all(is_plain) && name.len() <= 200
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
                "T = lfs\nall: src/$T.so x.so\n\tcp $(T).so $(DIR)\n",
                "lfs.so x.so",
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
            let found = of_directory(&tree, "src", &[system]).unwrap();
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
        let found = of_directory(&tree, "src", &[BuildSystem::Meson, BuildSystem::Autotools]).unwrap();
        assert_eq!(
            (
                found.source.as_str(),
                found.shared.join(" ").as_str(),
                found.makes_static
            ),
            (".", "pam_x.so", true)
        );
        assert_eq!(of_directory(&tree, "src", &[BuildSystem::Make]), None);
        let makefiles = Tree::of(&[
            ("Makefile", "all: top.so\n"),
            ("modules/Makefile", "all: one.so\n\trm -f old.so\n"),
            ("modules/a.c", ""),
            ("other/Makefile", "all:\n"),
        ]);
        let source_of = |directory: &str| {
            let found = of_directory(&makefiles, directory, &[BuildSystem::Make]).unwrap();
            (found.source, found.shared.join(" "))
        };
        let pair = |source: &str, shared: &str| (source.to_owned(), shared.to_owned());
        assert_eq!(source_of("modules"), pair("modules", "one.so"));
        assert_eq!(source_of("other"), pair(".", "top.so"));
    }
}
