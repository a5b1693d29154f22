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
        if closing(&text[open..]).is_some_and(|end| text[open + end..].trim_start().starts_with('{')) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Where what begins with `(` ends: the byte after its `)`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, byte) in text.bytes().enumerate().take(PARAMETERS_LIMIT_BYTES) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index + 1);
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

/// The words that a makefile or a shell script gives to `variable` (`X = a b`, `X="a b"`), with other variables of it filled
/// in, one level deep; what is computed is left out.
pub(crate) fn words(text: &str, variable: &str) -> Vec<String> {
    let value = |name: &str| -> Option<&str> {
        let mut lines = text.lines().filter_map(|line| {
            let rest = line.trim_start().strip_prefix(name)?.trim_start();
            let rest = rest.trim_start_matches(['?', ':']).strip_prefix('=')?;
            Some(
                rest.split('#')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .trim_matches('"')
                    .trim_end_matches('\\')
                    .trim(),
            )
        });
        lines.next()
    };
    let filled = |word: &str| -> Option<String> {
        let Some((before, rest)) = word.split_once('$') else {
            return Some(word.to_owned());
        };
        let rest = rest.strip_prefix(['(', '{']).unwrap_or(rest);
        let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.strip_prefix([')', '}']).unwrap_or(after);
        let text = format!("{before}{}{after}", value(name)?);
        (!text.contains(['$', ' '])).then_some(text)
    };
    value(variable)
        .into_iter()
        .flat_map(str::split_whitespace)
        .filter_map(filled)
        .collect()
}
