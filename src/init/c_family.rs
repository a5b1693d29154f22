//! Directories of C and C++ sources: with a `main` a host, without one a plugin.

use std::collections::BTreeSet;

use super::targets::Targets;
use super::text::{common, identifier};
use super::tree::{self, CPP_EXTENSIONS, Tree, is_source};
use super::{Candidate, Kind, build_files};
use crate::config::{BuildSystem, LanguageName, Loader};
use crate::language::{SOURCE_ROOT, quote};

const HEADER_EXTENSIONS: &[&str] = &["h", "hh", "hpp"];
/// What gives C++ functions C's names.
const C_LINKAGE: &str = "extern \"C\"";

/// The systems whose files tell of libraries that are linked into something else.
const SYSTEMS: &[BuildSystem] = &[
    BuildSystem::Meson,
    BuildSystem::Cmake,
    BuildSystem::Autotools,
    BuildSystem::Make,
];

/// All directories with C or C++ sources that belong to no Cargo package and no Go module, and lie below none of `roots`,
/// which a build makes as a whole.
pub(super) fn candidates(targets: &Targets<'_>, roots: &[String], notes: &mut Vec<String>) -> Vec<Candidate> {
    let tree = targets.tree;
    let mut found = Vec::new();
    for directory in source_directories(tree) {
        if roots.iter().any(|root| tree::is_within(directory, root)) {
            continue;
        }
        let programs: Vec<&str> = tree
            .directly_in(directory)
            .filter(|(path, text)| is_source(path) && has_main(text))
            .map(|(path, _)| path)
            .collect();
        if programs.len() > 1 {
            notes.push(format!(
                "{directory} has {} sources with a main: each is taken for a program of its own",
                programs.len()
            ));
            found.extend(programs.into_iter().map(|path| of_program(tree, directory, path)));
            continue;
        }
        let parts = plugins_of_one_file(tree, directory);
        if programs.is_empty() && parts.len() > 1 {
            notes.push(format!(
                "{directory} has {} sources that export the same: each is taken for a plugin of its own",
                parts.len()
            ));
            found.extend(
                parts
                    .into_iter()
                    .map(|(path, exports)| of_file(tree, directory, path, exports)),
            );
            continue;
        }
        let build = build_files::of_directory(targets, directory, SYSTEMS);
        if programs.is_empty() && build.is_some_and(|build| build.makes_static && build.shared.is_empty()) {
            notes.push(format!(
                "{directory} is a library that is linked into others, and no plugin"
            ));
            continue;
        }
        found.push(of_directory(tree, directory));
    }
    found
}

/// The directories with sources that are not part of a package in another language.
pub(super) fn source_directories(tree: &Tree) -> BTreeSet<&str> {
    let others: BTreeSet<&str> = ["Cargo.toml", "go.mod"]
        .into_iter()
        .flat_map(|name| tree.named(name))
        // A workspace's root or a module at the top of the project does not claim what lies in other directories.
        .map(|(directory, _)| directory)
        .filter(|directory| *directory != ".")
        .chain(tree.directories_with(&["go"]))
        .collect();
    // What a package at the top compiles itself is part of that.
    let build_script = tree.text("build.rs").unwrap_or_default();
    let is_package = tree.text("Cargo.toml").is_some_and(|text| text.contains("[package]"));
    let is_other = |directory: &str| {
        let is_stub = tree
            .directly_in(directory)
            .any(|(path, _)| is_source(path) && build_script.contains(tree::file_name(path)));
        let is_claimed = is_package && (is_stub || tree::is_within(directory, "src"));
        is_claimed || tree::with_ancestors(directory).any(|above| others.contains(above))
    };
    let mut directories = tree.directories_with(&["c"]);
    directories.extend(tree.directories_with(CPP_EXTENSIONS));
    directories.retain(|directory| !is_other(directory));
    directories
}

/// Whether a source is that of a program.
pub(super) fn has_main(text: &str) -> bool {
    text.lines().any(is_main)
}

/// What a source is written in.
pub(super) fn language_of(path: &str) -> LanguageName {
    match tree::extension(path) {
        "c" => LanguageName::C,
        _ => LanguageName::Cpp,
    }
}

/// What the sources of a directory are compiled as.
pub(super) fn language_in(tree: &Tree, directory: &str) -> LanguageName {
    let is_cpp = tree
        .directly_in(directory)
        .any(|(path, _)| CPP_EXTENSIONS.contains(&tree::extension(path)));
    if is_cpp { LanguageName::Cpp } else { LanguageName::C }
}

/// The command that compiles one source to a plugin.
pub(super) fn plugin_command(language: LanguageName, file: &str, artifact: &str) -> String {
    command(language, "-fPIC -shared", file, artifact)
}

fn command(language: LanguageName, flags: &str, file: &str, artifact: &str) -> String {
    let (compiler, variable) = match language {
        LanguageName::Cpp => ("${CXX:-c++} -x c++", "CXXFLAGS"),
        _ => ("${CC:-cc}", "CFLAGS"),
    };
    // What follows `-x none` is told by its name again: what is linked is no C++.
    let end = if language == LanguageName::Cpp { " -x none" } else { "" };
    let (file, artifact) = (quote(&format!("./{file}")), quote(artifact));
    format!(
        "{compiler} ${{{variable}-}} {flags} -o \"$LOCKSTEP_OUT\"/{artifact} {file}{end} ${{LDFLAGS-}} ${{LDLIBS-}}"
    )
}

fn of_program(tree: &Tree, directory: &str, path: &str) -> Candidate {
    let (name, language) = (tree::stem(path), language_of(path));
    let loads = tree
        .text(path)
        .is_some_and(|text| text.contains("dlopen("))
        .then_some(Loader::Dlopen);
    Candidate {
        command: Some(command(language, "-rdynamic", tree::file_name(path), name)),
        inputs: inputs(tree, directory),
        ..Candidate::of(name, language, directory, name, Kind::Host { loads })
    }
}

fn of_file(tree: &Tree, directory: &str, path: &str, exports: Vec<String>) -> Candidate {
    let (name, language) = (tree::stem(path), language_of(path));
    let artifact = format!("{name}.so");
    let includes: String = inputs(tree, directory)
        .iter()
        .map(|input| format!(" -I{}", quote(&format!("{SOURCE_ROOT}/{input}"))))
        .collect();
    Candidate {
        command: Some(command(
            language,
            &format!("-fPIC -shared{includes}"),
            tree::file_name(path),
            &artifact,
        )),
        inputs: inputs(tree, directory),
        exports,
        ..Candidate::of(name, language, directory, &artifact, Kind::Plugin(Loader::Dlopen))
    }
}

/// The sources of a directory that all define the same function for others, which no program or library could.
fn plugins_of_one_file<'a>(tree: &'a Tree, directory: &'a str) -> Vec<(&'a str, Vec<String>)> {
    let is_cpp = |path: &str| language_of(path) == LanguageName::Cpp;
    let exports: Vec<(&str, Vec<String>)> = tree
        .directly_in(directory)
        .filter(|(path, _)| is_source(path))
        .map(|(path, text)| (path, definitions(text, is_cpp(path), &BTreeSet::new())))
        .collect();
    let all: Vec<&[String]> = exports.iter().map(|(_, names)| names.as_slice()).collect();
    if common(&all).is_empty() { vec![] } else { exports }
}

fn of_directory(tree: &Tree, directory: &str) -> Candidate {
    let is_cpp = language_in(tree, directory) == LanguageName::Cpp;
    let extensions: &[&str] = if is_cpp { CPP_EXTENSIONS } else { &["c"] };
    let sources: Vec<&str> = tree
        .directly_in(directory)
        .filter(|(path, _)| extensions.contains(&tree::extension(path)))
        .map(|(_, text)| text)
        .collect();
    let linked = if is_cpp { with_c_names(tree) } else { BTreeSet::new() };
    let defined: Vec<String> = sources
        .iter()
        .flat_map(|text| definitions(text, is_cpp, &linked))
        .collect();
    // `src` says nothing, and the directory above it does.
    let named = if tree::file_name(directory) == "src" {
        tree::parent(directory)
    } else {
        directory
    };
    let name = if named == "." { "host" } else { tree::file_name(named) }.to_owned();
    let is_host = sources.iter().any(|text| has_main(text));
    let loads = sources
        .iter()
        .any(|text| text.contains("dlopen("))
        .then_some(Loader::Dlopen);
    let kind = if is_host {
        Kind::Host { loads }
    } else {
        Kind::Plugin(Loader::Dlopen)
    };
    let artifact = if is_host { name.clone() } else { format!("{name}.so") };
    let language = if is_cpp { LanguageName::Cpp } else { LanguageName::C };
    Candidate {
        inputs: inputs(tree, directory),
        exports: if is_host { vec![] } else { defined },
        ..Candidate::of(&name, language, directory, &artifact, kind)
    }
}

fn is_main(line: &str) -> bool {
    ["int main(", "int main (", "auto main(", "main("]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Directories elsewhere in the project whose headers the sources include.
pub(super) fn inputs(tree: &Tree, directory: &str) -> Vec<String> {
    let included = |text: &str| -> Vec<String> {
        let quoted = |line: &str| -> Option<String> {
            let rest = line
                .trim_start()
                .strip_prefix('#')?
                .trim_start()
                .strip_prefix("include")?
                .trim_start();
            Some(rest.strip_prefix('"')?.split('"').next()?.to_owned())
        };
        text.lines().filter_map(quoted).collect()
    };
    let headers: BTreeSet<String> = tree
        .directly_in(directory)
        .flat_map(|(_, text)| included(text))
        .collect();
    let found: BTreeSet<String> = headers
        .iter()
        .filter(|header| !tree::join(directory, header).is_some_and(|path| tree.contains(&path)))
        .filter_map(|header| {
            let above = header.rsplit_once('/').map_or("", |(above, _)| above);
            let mut found = tree.named(tree::file_name(header)).map(|(directory, _)| directory);
            match above {
                "" => found.find(|directory| *directory != "."),
                above => found.find_map(|directory| directory.strip_suffix(above)?.strip_suffix('/')),
            }
        })
        .filter(|other| !tree::is_within(other, directory))
        .map(str::to_owned)
        .collect();
    found.into_iter().collect()
}

/// The names before parentheses: in a header, those of functions.
fn called(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.match_indices('(').filter_map(move |(end, _)| {
        let before = &text[..end];
        let start = before
            .rfind(|character| !is_part(character))
            .map_or(0, |index| index + 1);
        before.get(start..).and_then(identifier)
    })
}

/// What headers declare with C's names.
fn with_c_names(tree: &Tree) -> BTreeSet<&str> {
    let headers = tree
        .files()
        .filter(|(path, _)| HEADER_EXTENSIONS.contains(&tree::extension(path)));
    headers
        .filter(|(_, text)| text.contains(C_LINKAGE))
        .flat_map(|(_, text)| called(text))
        .collect()
}

/// The functions that these sources define for others.
pub(super) fn exports(tree: &Tree, sources: &[&str]) -> Vec<String> {
    let is_cpp = |path: &str| language_of(path) == LanguageName::Cpp;
    let linked = match sources.iter().any(|path| is_cpp(path)) {
        true => with_c_names(tree),
        false => BTreeSet::new(),
    };
    let texts = sources.iter().filter_map(|path| Some((path, tree.text(path)?)));
    texts
        .flat_map(|(path, text)| definitions(text, is_cpp(path), &linked))
        .collect()
}

/// The functions that a source defines for others: not static, and with C's names, by where they stand or because they
/// are among `linked`, which headers declare so.
fn definitions(text: &str, is_cpp: bool, linked: &BTreeSet<&str>) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_c_block = !is_cpp;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim_end() == "extern \"C\" {" {
            in_c_block = true;
            continue;
        }
        let declaration = line.strip_prefix("extern \"C\" ");
        let is_c = in_c_block || declaration.is_some();
        let line = declaration.unwrap_or(line).trim_end();
        let starts = line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let is_other = ["static ", "typedef ", "struct {", "else", "namespace "]
            .iter()
            .any(|word| line.starts_with(word));
        let opens =
            line.ends_with('{') || line.ends_with('}') || lines.peek().is_some_and(|next| next.starts_with('{'));
        if !starts || is_other || !opens || line.ends_with(';') {
            continue;
        }
        // A name without a type before it is a macro, not a definition.
        let name = line.split_once('(').and_then(|(head, _)| {
            let start = head.rfind(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))?;
            identifier(head.get(start + 1..)?)
        });
        names.extend(
            name.filter(|name| (is_c || linked.contains(name)) && *name != "main")
                .map(str::to_owned),
        );
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_main_makes_a_host_and_headers_are_inputs() {
        let tree = Tree::of(&[
            (
                "host/src/main.c",
                "#include <dlfcn.h>\nint main(int argc, char **argv) {\n  dlopen(argv[1], 2);\n}\n",
            ),
            (
                "plugins/include/greeter.h",
                "#ifdef __cplusplus\nextern \"C\" {\n#endif\nEXPORT char *plugin_greet(const char *name);\n",
            ),
            (
                "plugins/reverse/reverse.c",
                "#include \"greeter.h\"\nstatic int helper(int x) { return x; }\nconst char *plugin_name(void) { return \"r\"; }\n\
                 char *plugin_greet(const char *name)\n{\n  if (name) {\n  }\n}\nint declared(void);\n",
            ),
            (
                "plugins/stats/stats.cpp",
                "namespace {\nint hidden() { return 1; }\n}\nextern \"C\" const char* plugin_name() { return \"s\"; }\nchar *plugin_greet(const char *name)\n{\n}\nvoid cxx() {\n}\n\u{e4}\u{e4}(x) {\n",
            ),
            ("shout/Cargo.toml", ""),
            ("shout/native.c", "int x(void) { return 1; }\n"),
        ]);
        let found = candidates(&Targets::of(&tree), &[], &mut vec![]);
        let seen: Vec<(&str, LanguageName, Kind)> = found
            .iter()
            .map(|unit| (unit.artifact.as_str(), unit.language, unit.kind))
            .collect();
        assert_eq!(
            seen,
            [
                (
                    "host",
                    LanguageName::C,
                    Kind::Host {
                        loads: Some(Loader::Dlopen)
                    }
                ),
                ("reverse.so", LanguageName::C, Kind::Plugin(Loader::Dlopen)),
                ("stats.so", LanguageName::Cpp, Kind::Plugin(Loader::Dlopen)),
            ]
        );
        assert_eq!(found[1].inputs, ["plugins/include"]);
        assert_eq!(found[1].exports, ["plugin_name", "plugin_greet"]);
        assert_eq!(found[2].exports, ["plugin_name", "plugin_greet"]);
    }
}
