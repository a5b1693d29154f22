//! Directories of C and C++ sources: with a `main` a host, without one a plugin.

use std::collections::BTreeSet;

use super::text::identifier;
use super::tree::{self, Tree};
use super::{Candidate, Kind};
use crate::config::{LanguageName, Loader};

const CPP_EXTENSIONS: &[&str] = &["cc", "cpp", "cxx"];
const HEADER_EXTENSIONS: &[&str] = &["h", "hh", "hpp"];
/// What gives C++ functions C's names.
const C_LINKAGE: &str = "extern \"C\"";

/// All directories with C or C++ sources that belong to no Cargo package and no Go module.
pub(super) fn candidates(tree: &Tree) -> Vec<Candidate> {
    let others: BTreeSet<&str> = ["Cargo.toml", "go.mod"]
        .into_iter()
        .flat_map(|name| tree.named(name))
        // A workspace's root or a module at the top of the project does not claim what lies in other directories.
        .map(|(directory, _)| directory)
        .filter(|directory| *directory != ".")
        .chain(tree.directories_with(&["go"]))
        .collect();
    let is_other = |directory: &str| {
        others
            .iter()
            .any(|other| *other == directory || (*other != "." && tree::is_within(directory, other)))
    };
    let mut directories = tree.directories_with(&["c"]);
    directories.extend(tree.directories_with(CPP_EXTENSIONS));
    directories
        .into_iter()
        .filter(|directory| !is_other(directory))
        .map(|directory| of_directory(tree, directory))
        .collect()
}

fn of_directory(tree: &Tree, directory: &str) -> Candidate {
    let is_cpp = tree
        .directly_in(directory)
        .any(|(path, _)| CPP_EXTENSIONS.contains(&tree::extension(path)));
    let extensions: &[&str] = if is_cpp { CPP_EXTENSIONS } else { &["c"] };
    let sources: Vec<&str> = tree
        .directly_in(directory)
        .filter(|(path, _)| extensions.contains(&tree::extension(path)))
        .map(|(_, text)| text)
        .collect();
    let headers = tree
        .files()
        .filter(|(path, _)| HEADER_EXTENSIONS.contains(&tree::extension(path)));
    let linked: BTreeSet<&str> = headers
        .filter(|(_, text)| is_cpp && text.contains(C_LINKAGE))
        .flat_map(|(_, text)| called(text))
        .collect();
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
    let is_host = sources.iter().any(|text| text.lines().any(is_main));
    let loads = sources
        .iter()
        .any(|text| text.contains("dlopen("))
        .then_some(Loader::Dlopen);
    Candidate {
        artifact: if is_host { name.clone() } else { format!("{name}.so") },
        name,
        language: if is_cpp { LanguageName::Cpp } else { LanguageName::C },
        source: directory.to_owned(),
        inputs: inputs(tree, directory),
        package: None,
        kind: if is_host {
            Kind::Host { loads }
        } else {
            Kind::Plugin(Loader::Dlopen)
        },
        exports: if is_host { vec![] } else { defined },
        advice: None,
    }
}

fn is_main(line: &str) -> bool {
    ["int main(", "int main (", "auto main(", "main("]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Directories elsewhere in the project whose headers the sources include.
fn inputs(tree: &Tree, directory: &str) -> Vec<String> {
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
            let suffix = format!("/{header}");
            tree.files().find_map(|(path, _)| path.strip_suffix(suffix.as_str()))
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
        let found = candidates(&tree);
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
