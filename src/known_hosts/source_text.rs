//! What texts of sources and build files tell without being parsed.

/// Longer parameter lists are none.
const PARAMETERS_LIMIT_BYTES: usize = 4096;

fn is_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// The functions that a source in C defines (a body follows), of those that `wanted` takes, in their order.
pub(super) fn defined(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (open, _) in text.match_indices('(') {
        let before = text[..open].trim_end();
        let start = before.rfind(|character| !is_part(character)).map_or(0, |index| {
            index + before[index..].chars().next().map_or(1, char::len_utf8)
        });
        let name = &before[start..];
        if name.is_empty() || !wanted(name) || names.iter().any(|other| other == name) {
            continue;
        }
        let end = closing(&text[open..], PARAMETERS_LIMIT_BYTES);
        if end.is_some_and(|end| text[open + end + 1..].trim_start().starts_with('{')) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Where the `(` that `text` begins with is closed, if that is in its first `limit_bytes`.
pub(crate) fn closing(text: &str, limit_bytes: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, byte) in text.bytes().enumerate().take(limit_bytes) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// What stands between `start` and the next of `ends`, for each place where `start` is.
pub(super) fn between<'a>(text: &'a str, start: &'a str, ends: &'a [char]) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).filter_map(move |(index, _)| {
        let rest = text.get(index + start.len()..)?;
        Some(rest[..rest.find(ends)?].trim().trim_matches(['"', '\'', '[', ']']))
    })
}

/// The first text in quotes behind `call` and the arguments before it: `name` of `Init(ctx, "name", 1)`, or of a macro that
/// `#define`s it in `all`.
pub(super) fn quoted_argument<'a>(text: &'a str, call: &str, all: &[(&str, &'a str)]) -> Option<&'a str> {
    text.match_indices(call).find_map(|(index, _)| {
        let rest = text.get(index + call.len()..)?.trim_start().strip_prefix('(')?;
        let argument = rest.get(..rest.find(')')?)?.split(',').nth(1)?.trim();
        in_quotes(argument).or_else(|| all.iter().find_map(|(_, text)| defined_text(text, argument)))
    })
}

/// What a macro stands for, if that is a text.
fn defined_text<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest = line
            .trim_start()
            .strip_prefix('#')?
            .trim_start()
            .strip_prefix("define")?;
        let rest = rest.trim_start().strip_prefix(name)?;
        in_quotes(rest.strip_prefix([' ', '\t'])?.trim())
    })
}

fn in_quotes(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.split('"').next()
}
