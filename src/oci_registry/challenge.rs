//! What a registry says that it wants of who asks (RFC 9110, 11.6.1; distribution, "Token Authentication Specification").

use std::collections::BTreeMap;

/// How many parameters of a header are read; two or three are told.
const PARAMETERS_LIMIT_COUNT: usize = 64;

/// One way to prove who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Its scheme, in lower case.
    pub(super) scheme: String,
    /// What it is told with, by names in lower case.
    pub(super) parameters: BTreeMap<String, String>,
}

/// The challenges in a `WWW-Authenticate` header. What is none is left out.
pub(super) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header;
    for _ in 0..PARAMETERS_LIMIT_COUNT {
        rest = rest.trim_start_matches(|character: char| !is_of_word(character));
        if rest.is_empty() {
            break;
        }
        let (word, after) = split(rest);
        match (after.trim_start().strip_prefix('='), found.last_mut()) {
            (Some(value), Some(challenge)) => {
                let (value, after) = value_of(value.trim_start());
                challenge.parameters.insert(word.to_ascii_lowercase(), value);
                rest = after;
            }
            _ => {
                found.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    ..Challenge::default()
                });
                rest = after;
            }
        }
    }
    found
}

fn is_of_word(character: char) -> bool {
    !character.is_whitespace() && !matches!(character, ',' | '=' | '"')
}

/// The word that a text begins with, and what follows.
fn split(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|character: char| !is_of_word(character))
            .unwrap_or(text.len()),
    )
}

/// The value that a text begins with, a word or what stands in quotes, and what follows.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, after) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (word.to_owned(), after);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, character)| character)),
            character => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Challenge {
            scheme: scheme.to_owned(),
            parameters: parameters.iter().map(owned).collect(),
        }
    }

    #[test]
    fn what_is_wanted_is_read() {
        for (header, expected) in [
            ("", vec![]),
            (" , ", vec![]),
            ("Basic realm=\"test\"", vec![challenge("basic", &[("realm", "test")])]),
            (
                "Bearer realm=\"https://auth.example/token?a=b,c\",service=\"x.example\", scope=\"repository:a:pull,push\"",
                vec![challenge(
                    "bearer",
                    &[
                        ("realm", "https://auth.example/token?a=b,c"),
                        ("service", "x.example"),
                        ("scope", "repository:a:pull,push"),
                    ],
                )],
            ),
            (
                "Negotiate, BASIC Realm=\"a \\\"b\\\"\", bearer realm = plain",
                vec![
                    challenge("negotiate", &[]),
                    challenge("basic", &[("realm", "a \"b\"")]),
                    challenge("bearer", &[("realm", "plain")]),
                ],
            ),
            ("Bearer realm=\"open", vec![challenge("bearer", &[("realm", "open")])]),
        ] {
            assert_eq!(challenges(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_ends(header in "[ ,=\"\\\\a-zA-Zä]{0,40}") {
            prop_assert!(challenges(&header).len() <= PARAMETERS_LIMIT_COUNT);
        }

        #[test]
        fn what_is_quoted_is_read_as_it_was(value in "[ -~]{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer realm=\"{quoted}\", service=x");
            prop_assert_eq!(challenges(&header), [challenge("bearer", &[("realm", &value), ("service", "x")])]);
        }
    }
}
