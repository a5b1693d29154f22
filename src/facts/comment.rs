//! Which compilers and linkers had a part in a file (`.comment`): also those of what was linked in.

use serde::Serialize;

use super::elf::Elf;

/// No section is looked at further.
const COMMENT_LIMIT_BYTES: usize = 64 * 1024;
/// No file names more tools.
const TOOL_LIMIT_COUNT: usize = 64;

/// A program that had a part in making a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Which one.
    pub kind: ToolKind,
    /// Its version, without what a distribution says about itself.
    pub version: Option<String>,
    /// The whole line.
    pub text: String,
}

/// What can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolKind {
    /// The GNU compilers, of any language.
    Gcc,
    /// Clang.
    Clang,
    /// The Rust compiler.
    Rustc,
    /// A linker that says so.
    Linker,
    /// Any other.
    Other,
}

/// The tools that a file names, each line once, in order.
#[must_use]
pub fn tools(elf: &Elf) -> Vec<Tool> {
    let section = elf.section(".comment").unwrap_or_default();
    let section = section.get(..COMMENT_LIMIT_BYTES).unwrap_or(section);
    let mut tools: Vec<Tool> = Vec::new();
    for line in section.split(|byte| *byte == 0) {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        if text.is_empty() || tools.iter().any(|tool| tool.text == text) {
            continue;
        }
        if tools.len() == TOOL_LIMIT_COUNT {
            break;
        }
        tools.push(Tool::parse(text));
    }
    tools
}

impl Tool {
    fn parse(text: String) -> Self {
        let first_number = |rest: &str| {
            rest.split([' ', '(', '-'])
                .find(|word| is_version(word))
                .map(ToOwned::to_owned)
        };
        let (kind, version) = if let Some(rest) = text.strip_prefix("rustc version ") {
            // A pre-release says so: `1.97.0-nightly (0aced202c 2026-01-06)`.
            (ToolKind::Rustc, rest.split(' ').next().map(ToOwned::to_owned))
        } else if let Some(rest) = text.strip_prefix("GCC: ") {
            // What stands in parentheses is the distribution's.
            let rest = rest.rfind(") ").map_or(rest, |end| &rest[end + 2..]);
            (ToolKind::Gcc, first_number(rest))
        } else if let Some((_, rest)) = text.split_once("clang version ") {
            (ToolKind::Clang, first_number(rest))
        } else if let Some(rest) = text.strip_prefix("Linker: ") {
            (ToolKind::Linker, first_number(rest))
        } else if let Some(rest) = text.strip_prefix("mold ") {
            (ToolKind::Linker, first_number(rest))
        } else {
            (ToolKind::Other, None)
        };
        Self { kind, version, text }
    }
}

fn is_version(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        for (text, kind, version) in [
            ("GCC: (Debian 14.2.0-19) 14.2.0", ToolKind::Gcc, Some("14.2.0")),
            (
                "GCC: (GNU) 4.8.5 20150623 (Red Hat 4.8.5-44)",
                ToolKind::Gcc,
                Some("4.8.5"),
            ),
            (
                "GCC: (Alpine 13.2.1_git20240309) 13.2.1 20240309",
                ToolKind::Gcc,
                Some("13.2.1"),
            ),
            (
                "rustc version 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)",
                ToolKind::Rustc,
                Some("1.85.1"),
            ),
            (
                "rustc version 1.94.0-nightly (0aced202c 2026-01-06)",
                ToolKind::Rustc,
                Some("1.94.0-nightly"),
            ),
            ("Debian clang version 14.0.6", ToolKind::Clang, Some("14.0.6")),
            ("clang version 18.1.3 (1ubuntu1)", ToolKind::Clang, Some("18.1.3")),
            (
                "Linker: LLD 22.1.2 (/checkout/src 1cb4e38)",
                ToolKind::Linker,
                Some("22.1.2"),
            ),
            ("mold 2.30.0 (compatible with GNU ld)", ToolKind::Linker, Some("2.30.0")),
            ("something else", ToolKind::Other, None),
        ] {
            let tool = Tool::parse(text.to_owned());
            assert_eq!((tool.kind, tool.version.as_deref()), (kind, version), "{text}");
        }
    }
}
