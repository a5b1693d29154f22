//! Which image a stage of a Dockerfile stands on, by the Dockerfile alone.

use std::collections::BTreeMap;

/// How many stages may stand on each other; engines allow as many layers.
const STAGES_LIMIT_COUNT: usize = 127;

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    /// What `FROM` names: an earlier stage or an image.
    from: String,
    name: Option<String>,
}

/// The image that a stage of a Dockerfile stands on (Dockerfile reference, `FROM`): that of the last one when no `target` is
/// named. None for `scratch`, for stages that are not there, and for what the Dockerfile alone does not tell.
#[must_use]
pub fn base_of(dockerfile: &str, target: Option<&str>) -> Option<String> {
    let stages = stages(dockerfile);
    let named = |name: &str, before: usize| {
        let is_meant = |stage: &Stage| {
            stage
                .name
                .as_deref()
                .is_some_and(|known| known.eq_ignore_ascii_case(name))
        };
        let by_number = || name.parse().ok().filter(|number| *number < before);
        stages[..before].iter().rposition(is_meant).or_else(by_number)
    };
    let mut at = match target {
        Some(target) => named(target, stages.len())?,
        None => stages.len().checked_sub(1)?,
    };
    for _ in 0..STAGES_LIMIT_COUNT {
        let from = &stages[at].from;
        match named(from, at) {
            Some(earlier) => at = earlier,
            None if from.is_empty() || from.contains('$') || from.eq_ignore_ascii_case("scratch") => return None,
            None => return Some(from.clone()),
        }
    }
    None
}

fn stages(dockerfile: &str) -> Vec<Stage> {
    let mut stages = Vec::new();
    // What `ARG` says before the first `FROM` is all that a `FROM` can name.
    let mut arguments: BTreeMap<String, String> = BTreeMap::new();
    for line in instructions(dockerfile) {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default();
        if instruction.eq_ignore_ascii_case("ARG") && stages.is_empty() {
            for word in words {
                if let Some((name, value)) = word.split_once('=') {
                    let value = value.trim_matches(['"', '\'']);
                    arguments.insert(name.to_owned(), filled(value, &arguments));
                }
            }
        } else if instruction.eq_ignore_ascii_case("FROM") {
            let words: Vec<&str> = words.skip_while(|word| word.starts_with("--")).collect();
            let name = match words[..] {
                [_, word, name, ..] if word.eq_ignore_ascii_case("AS") => Some(name.to_owned()),
                _ => None,
            };
            let from = filled(words.first().copied().unwrap_or_default(), &arguments);
            stages.push(Stage { from, name });
        }
    }
    stages
}

/// The lines that say something, with those that go on put together.
fn instructions(dockerfile: &str) -> Vec<String> {
    let directive = |line: &str| {
        let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("escape")
            .then(|| value.trim().chars().next())?
    };
    let mut comments = dockerfile.lines().take_while(|line| line.trim_start().starts_with('#'));
    let escape = comments.find_map(directive).unwrap_or('\\');
    let mut instructions = Vec::new();
    let mut open = String::new();
    for line in dockerfile.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_suffix(escape) {
            Some(begun) => {
                open.push_str(begun);
                open.push(' ');
            }
            None => {
                open.push_str(line);
                instructions.push(std::mem::take(&mut open));
            }
        }
    }
    instructions.push(open);
    instructions
}

/// A text with `$NAME`, `${NAME}` and `${NAME:-default}` filled in; what is not known stays.
fn filled(text: &str, arguments: &BTreeMap<String, String>) -> String {
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut filled = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        filled.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let (inner, after, shown) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((inner, after)) => (inner, after, format!("${{{inner}}}")),
            None => {
                let end = rest.find(|character| !is_of_name(character)).unwrap_or(rest.len());
                (&rest[..end], &rest[end..], format!("${}", &rest[..end]))
            }
        };
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let known = arguments
            .get(name)
            .filter(|value| !value.is_empty() || default.is_none());
        filled.push_str(known.map(String::as_str).or(default).unwrap_or(&shown));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stage_stands_on_an_image() {
        let several = "ARG VERSION=3.22 FLAVOUR\n\
                       ARG IMAGE=\"alpine:${VERSION}\"\n\
                       FROM --platform=linux/amd64 $IMAGE AS build\n\
                       RUN true\n\
                       from Build as more\n\
                       FROM debian:${SUITE:-trixie}-slim AS runtime\n\
                       FROM scratch AS none\n\
                       FROM $UNKNOWN AS unknown\n\
                       FROM 2\n";
        for (dockerfile, target, expected) in [
            ("FROM alpine\n", None, Some("alpine")),
            (
                "# escape=`\nFROM `\n  # a word\n\n  alpine `\n  AS x\nRUN a \\",
                Some("X"),
                Some("alpine"),
            ),
            (several, Some("build"), Some("alpine:3.22")),
            (several, Some("more"), Some("alpine:3.22")),
            (several, Some("runtime"), Some("debian:trixie-slim")),
            (several, Some("1"), Some("alpine:3.22")),
            (several, Some("none"), None),
            (several, Some("unknown"), None),
            (several, Some("nothing"), None),
            (several, None, Some("debian:trixie-slim")),
            ("", None, None),
            ("RUN x\nFROM", None, None),
        ] {
            assert_eq!(
                base_of(dockerfile, target).as_deref(),
                expected,
                "{dockerfile} {target:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(FROM |ARG |AS |[a$\\{\\}:\\-= \n\\\\#`]){0,30}", target in "[a0-2]{0,2}") {
            let _ = base_of(&text, Some(&target));
            let _ = base_of(&text, None);
        }
    }
}
