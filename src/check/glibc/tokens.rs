//! `$ORIGIN` and the other tokens of search paths (ld.so(8), "Dynamic string tokens"; `_dl_dst_substitute`).

use super::super::object_id::ObjectId;
use super::super::process::Process;

const TOKENS: [&str; 3] = ["ORIGIN", "LIB", "PLATFORM"];

/// The token that a text begins with, and its length with its dollar.
fn token_at(text: &str) -> Option<(&'static str, usize)> {
    TOKENS.into_iter().find_map(|token| {
        let braced = format!("${{{token}}}");
        let plain = format!("${token}");
        if text.starts_with(&braced) {
            return Some((token, braced.len()));
        }
        let after = text.get(plain.len()..)?;
        let ends = !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
        (text.starts_with(&plain) && ends).then_some((token, plain.len()))
    })
}

/// Whether there is a token in a text.
pub(super) fn has_token(text: &str) -> bool {
    text.match_indices('$').any(|(at, _)| token_at(&text[at..]).is_some())
}

/// Replaces `$ORIGIN`, `$LIB` and `$PLATFORM` in what `of` says; none where that drops the element.
///
/// In secure-execution mode `$ORIGIN` counts only where the element begins with it, and that of the program only if it leads
/// below one of the loader's own directories.
pub(super) fn expand_tokens(
    process: &Process<'_>,
    element: &str,
    of: ObjectId,
    mut not_modelled: impl FnMut(&str),
) -> Option<String> {
    let origin = process.object(of).origin();
    let mut expanded = String::new();
    let mut rest = element;
    let mut is_to_be_trusted = false;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        let Some((token, len)) = token_at(rest) else {
            expanded.push('$');
            rest = &rest[1..];
            continue;
        };
        let after = &rest[len..];
        expanded.push_str(match token {
            "ORIGIN" => {
                let is_first = rest.len() == element.len() && (after.is_empty() || after.starts_with('/'));
                if process.is_secure() && !is_first {
                    return None;
                }
                is_to_be_trusted = process.is_secure() && of == 0;
                origin
            }
            "LIB" => &process.paths.lib,
            _ => {
                not_modelled("$PLATFORM, which depends on the processor");
                "x86_64"
            }
        });
        rest = after;
    }
    expanded.push_str(rest);
    (!is_to_be_trusted || is_trusted(&expanded, &process.paths.defaults)).then_some(expanded)
}

/// Whether a path leads below one of the loader's own directories, by its spelling alone (`is_trusted_path_normalize`).
fn is_trusted(path: &str, defaults: &[String]) -> bool {
    let mut parts: Vec<&str> = vec![];
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let normal = format!("/{}/", parts.join("/"));
    path.starts_with('/')
        && defaults
            .iter()
            .any(|default| normal.starts_with(&format!("{default}/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_whole_words() {
        let check = |text: &str, expected: bool| assert_eq!(has_token(text), expected, "{text}");
        check("$ORIGIN/../lib/x.so", true);
        check("a${LIB}b", true);
        check("$$PLATFORM", true);
        check("$ORIGINAL/x.so", false);
        check("${ORIGIN", false);
        check("$", false);
        check("libx.so", false);
    }

    #[test]
    fn only_what_is_below_the_loaders_directories_is_trusted() {
        let defaults = ["/lib/x86_64-linux-gnu", "/usr/lib"].map(str::to_owned);
        let check = |path: &str, expected: bool| assert_eq!(is_trusted(path, &defaults), expected, "{path}");
        check("/usr/lib", true);
        check("/usr/lib/app/../other", true);
        check("/usr/bin/../lib/app", true);
        check("/usr/lib/../bin", false);
        check("/usr/library", false);
        check("/lib", false);
        check("/lib/./x86_64-linux-gnu//", true);
        check("/../../usr/lib", true);
        check("/opt/app", false);
        check("", false);
    }
}
