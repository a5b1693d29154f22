//! The text of a proposal: YAML with comments that say what each line is for.

use std::fmt::Write as _;

use super::{Candidate, Proposal};
use crate::config::{Abi, LanguageName, Loader};

/// `lockstep.yaml` for a proposal.
#[must_use]
pub fn render(proposal: &Proposal) -> String {
    let mut text = String::new();
    text.push_str(
        "\
# What lockstep builds here, and in which environments.
#
#   lockstep plan             what a build would do
#   lockstep build            builds host and plugins, and loads every plugin for real
#
# `lockstep plan` shows what it comes to.
version: 1

# Part of the names of the images and volumes that are made.
",
    );
    let _ = writeln!(text, "project: {}", scalar(&proposal.project));
    text.push_str(
        "
# An environment is a pair of images: host and plugins are compiled in the one and run in the other. These recipes come
# with lockstep; a recipe's path in the project, {dockerfile: PATH} or {image: REFERENCE} can stand in their place.
environments:
  glibc:
    build: {builtin: debian/build}
    runtime: {builtin: debian/runtime}
  musl:
    build: {builtin: musl/build}
    runtime: {builtin: musl/runtime}

# What `lockstep build` builds when no environment is named.
default: [glibc, musl]

# The program that loads the plugins: the directory it is compiled in, and the files that must come out of it. The
# language brings the commands; `command:`, `fetch:` and `env:` of a unit replace or complete them.
",
    );
    let _ = writeln!(text, "host:\n{}", unit(&proposal.host, "  "));
    text.push_str(
        "
# The shared objects that it loads, in this order. `inputs` are files and directories outside of `source` that a unit
# reads.
plugins:
",
    );
    for plugin in &proposal.plugins {
        let _ = writeln!(text, "  - {}", unit(plugin, "    ").trim_start());
    }
    text.push_str("\n# What the host expects of every plugin: how it loads them, what they exchange");
    text.push_str(if proposal.symbols.is_empty() {
        ".\n"
    } else {
        ", and which symbols it looks up.\n"
    });
    let _ = writeln!(
        text,
        "contract:\n  loader: {}\n  abi: {}",
        loader(proposal.loader),
        abi(proposal.abi)
    );
    let symbols: Vec<String> = proposal.symbols.iter().map(|symbol| scalar(symbol)).collect();
    if !symbols.is_empty() {
        let _ = writeln!(text, "  symbols: [{}]", symbols.join(", "));
    }
    let _ = write!(
        text,
        "
# With this, the host itself is started in the runtime image, too, after each plugin has been loaded on its own.
# `{{plugins}}` stands for the directory that holds them. A server has `ready:`, `requests:` and `stop:` instead.
#
# smoke:
#   command: [{host}, \"{{plugins}}\"]
#   expect: {{status: 0, stdout: [\"what it must print\"]}}
",
        host = scalar(&proposal.host.artifact)
    );
    text
}

/// A unit's keys, one a line.
fn unit(unit: &Candidate, indentation: &str) -> String {
    let mut lines = vec![
        format!("name: {}", scalar(&unit.name)),
        format!("language: {}", language(unit.language)),
        format!("source: {}", scalar(&unit.source)),
    ];
    if let Some(package) = &unit.package {
        lines.push(format!("package: {}", scalar(package)));
    }
    if !unit.inputs.is_empty() {
        let inputs: Vec<String> = unit.inputs.iter().map(|input| scalar(input)).collect();
        lines.push(format!("inputs: [{}]", inputs.join(", ")));
    }
    lines.push(format!("artifacts: [{}]", scalar(&unit.artifact)));
    lines
        .iter()
        .map(|line| format!("{indentation}{line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A language as `lockstep.yaml` spells it.
#[must_use]
pub fn language(name: LanguageName) -> &'static str {
    match name {
        LanguageName::Rust => "rust",
        LanguageName::Go => "go",
        LanguageName::C => "c",
        LanguageName::Cpp => "cpp",
    }
}

fn loader(loader: Loader) -> &'static str {
    match loader {
        Loader::Dlopen => "dlopen",
        Loader::Go => "go",
    }
}

fn abi(abi: Abi) -> &'static str {
    match abi {
        Abi::C => "c",
        Abi::Cxx => "cxx",
        Abi::Rust => "rust",
        Abi::Go => "go",
    }
}

/// A text as YAML takes it for that text and nothing else: plain where nobody could doubt it, else in quotes, as JSON
/// writes it, which YAML reads the same (YAML 1.2.2, section 1.1).
fn scalar(text: &str) -> String {
    const WORDS: &[&str] = &["false", "n", "no", "null", "off", "on", "true", "y", "yes"];
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_./-".contains(character);
    let starts_plainly = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        || text == "."
        || text.starts_with("./");
    if starts_plainly && text.chars().all(is_plain) && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Tree, propose};
    use super::*;

    #[test]
    fn a_text_is_read_back_as_it_was() {
        for text in [
            "a", "1", "1.0", "no", "./x", ".", "a b", "x: y", "\"", "ä", "", "-", "~", "0x1", "a#b", ".5",
        ] {
            let value: serde_yaml::Value = serde_yaml::from_str(&scalar(text)).unwrap();
            assert_eq!(value.as_str(), Some(text), "{}", scalar(text));
        }
    }

    #[test]
    fn the_file_says_what_was_found() {
        let tree = Tree::of(&[
            ("host/main.c", "int main(void) { dlopen(0, 0); }\n"),
            ("include/api.h", ""),
            ("plugins/a/a.c", "#include \"api.h\"\nint run(void) { return 1; }\n"),
            ("plugins/1st/b.cpp", "extern \"C\" int run() { return 1; }\n"),
        ]);
        insta::assert_snapshot!(render(&propose(&tree, "sample").unwrap()));
    }
}
