//! Turtle (W3C, "RDF 1.1 Turtle"), as far as the data files of plugins need it: what is said of named things at the top, with
//! their prefixes filled in.

use std::collections::BTreeMap;

/// Longer texts are data of another kind.
const TOKENS_LIMIT_COUNT: usize = 200_000;
/// What `a` stands for.
const TYPE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";

/// A thing, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// Its name, as a whole.
    pub(super) name: String,
    /// Predicates with their objects, both as a whole.
    said: Vec<(String, String)>,
}

impl Subject {
    /// Whether it is one of this kind.
    pub(super) fn is_a(&self, kind: &str) -> bool {
        self.objects(TYPE).any(|object| object == kind)
    }

    /// The objects of a predicate.
    pub(super) fn objects<'a>(&'a self, predicate: &'a str) -> impl Iterator<Item = &'a str> {
        let said = self.said.iter().filter(move |(name, _)| name == predicate);
        said.map(|(_, object)| object.as_str())
    }
}

/// All that a text speaks of at its top.
pub(super) fn subjects(text: &str) -> Vec<Subject> {
    let mut prefixes: BTreeMap<String, String> = BTreeMap::new();
    let mut subjects = Vec::new();
    let mut statement: Vec<String> = Vec::new();
    let mut depth = 0_usize;
    for token in tokens(text).into_iter().take(TOKENS_LIMIT_COUNT) {
        match token.as_str() {
            "[" | "(" => {
                // What has no name is an object of which nothing more is taken.
                if depth == 0 {
                    statement.push(token);
                }
                depth += 1;
            }
            "]" | ")" => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            "." => {
                match statement.as_slice() {
                    [word, prefix, name] if word.eq_ignore_ascii_case("@prefix") => {
                        prefixes.insert(prefix.clone(), name.trim_matches(['<', '>']).to_owned());
                    }
                    [name, said @ ..] => subjects.extend(subject(name, said, &prefixes)),
                    [] => {}
                }
                statement.clear();
            }
            _ => statement.push(token),
        }
    }
    subjects
}

fn subject(name: &str, said: &[String], prefixes: &BTreeMap<String, String>) -> Option<Subject> {
    let whole = |token: &str| -> Option<String> {
        if let Some(name) = token.strip_prefix('<') {
            return Some(name.trim_end_matches('>').to_owned());
        }
        let (prefix, rest) = token.split_once(':')?;
        Some(format!("{}{rest}", prefixes.get(&format!("{prefix}:"))?))
    };
    let name = whole(name)?;
    let mut pairs = Vec::new();
    for part in said.split(|token| token == ";") {
        let Some((predicate, objects)) = part.split_first() else {
            continue;
        };
        let predicate = match predicate.as_str() {
            "a" => Some(TYPE.to_owned()),
            predicate => whole(predicate),
        };
        if let Some(predicate) = predicate {
            let objects = objects.iter().filter_map(|object| whole(object));
            pairs.extend(objects.map(|object| (predicate.clone(), object)));
        }
    }
    Some(Subject { name, said: pairs })
}

/// Names, texts and signs; comments are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '#' => {
                rest = rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
                continue;
            }
            '<' => rest.find('>').map_or(rest.len(), |end| end + 1),
            '"' | '\'' => end_of_text(rest, first),
            '[' | ']' | '(' | ')' | ';' | ',' | '.' => 1,
            _ => {
                let is_end = |character: char| character.is_whitespace() || "<\"[]();,#".contains(character);
                let end = rest.find(is_end).unwrap_or(rest.len()).max(first.len_utf8());
                // The dot that ends a statement may follow a name at once.
                let word = &rest[..end];
                let without = word.trim_end_matches('.');
                if without.is_empty() { end } else { without.len() }
            }
        };
        let (token, after) = rest.split_at(end);
        if token != "," {
            tokens.push(token.to_owned());
        }
        rest = after.trim_start();
    }
    tokens
}

/// Where a text in quotes ends: the byte after the last of them.
fn end_of_text(text: &str, quote: char) -> usize {
    let long: String = std::iter::repeat_n(quote, 3).collect();
    if let Some(inside) = text.strip_prefix(&long) {
        return inside.find(&long).map_or(text.len(), |end| end + 6);
    }
    let mut is_escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        if character == quote && !is_escaped {
            return index + 1;
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_named_things_is_read() {
        let text = "@prefix lv2: <http://lv2#> . # a comment . ;\n@prefix x: <urn:x/>.\n\
                    x:one a lv2:Plugin , lv2:Other ; lv2:name \"a ; b . \\\" c\"@en ; lv2:port [ a lv2:Port ; lv2:index 0 ] ; lv2:binary <one.so> .\n\
                    <urn:two>\n  a lv2:Plugin;\n  lv2:needs x:f.\n\"\"\"a . b\"\"\" . unknown:x a lv2:Plugin . <urn:three> a lv2:Else";
        let found = subjects(text);
        let names: Vec<&str> = found.iter().map(|subject| subject.name.as_str()).collect();
        assert_eq!(names, ["urn:x/one", "urn:two"]);
        assert!(found.iter().all(|subject| subject.is_a("http://lv2#Plugin")));
        assert_eq!(found[0].objects("http://lv2#binary").collect::<Vec<_>>(), ["one.so"]);
        assert_eq!(found[1].objects("http://lv2#needs").collect::<Vec<_>>(), ["urn:x/f"]);
        for text in ["", "<", "\"", "'", ". . ]", "a b", "\u{e4}:\u{e4} a <x> ."] {
            subjects(text);
        }
    }
}
