//! What sources tell without being parsed: enough for a proposal that a person reads before using it.

use std::collections::BTreeSet;

/// The identifier that `text` begins with.
pub(super) fn identifier(text: &str) -> Option<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let length = text.find(|character| !is_part(character)).unwrap_or(text.len());
    let name = &text[..length];
    let starts_well = name.starts_with(|character: char| character.is_ascii_alphabetic() || character == '_');
    starts_well.then_some(name)
}

/// The names that every list has, each once, in the order of the first.
pub(super) fn common(lists: &[&[String]]) -> Vec<String> {
    let Some((first, rest)) = lists.split_first() else {
        return vec![];
    };
    let mut seen = BTreeSet::new();
    first
        .iter()
        .filter(|name| rest.iter().all(|list| list.contains(name)) && seen.insert(*name))
        .cloned()
        .collect()
}

/// A name for a unit or project: what is not allowed becomes a `-`, and names never begin or end with one.
pub(super) fn unit_name(text: &str) -> String {
    /// Names are longer only when they are generated.
    const LENGTH_LIMIT_CHARACTERS: usize = 40;
    let mut name = String::new();
    for character in text.chars().take(LENGTH_LIMIT_CHARACTERS) {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if name.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            name.push(if "_.".contains(character) { character } else { '-' });
        }
    }
    let name = name.trim_end_matches(['-', '_', '.']);
    match name {
        "" => "unit".to_owned(),
        // The smoke loader's own.
        "lockstep-loader" => "loader".to_owned(),
        name => name.to_owned(),
    }
}

/// A name that is not taken, which it is then: `base`, or that with a number.
pub(super) fn free_name(base: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = base.to_owned();
    // Fewer are taken than there are numbers to try, so one is free.
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

/// The same for a project, whose name is part of those of images that other things have, too.
pub(super) fn project_name(text: &str) -> String {
    let name = unit_name(text).replace(".staged-", "-staged-");
    match name.as_str() {
        "environment" | "recipe" => format!("{name}-project"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_becomes_a_name() {
        for (text, expected) in [
            ("Shout", "shout"),
            ("my plugin!", "my-plugin"),
            ("a--b", "a-b"),
            ("_x_", "x"),
            ("ä", "unit"),
            ("v1.2", "v1.2"),
        ] {
            assert_eq!(unit_name(text), expected);
            assert!(crate::name::UnitName::new(unit_name(text)).is_ok());
        }
    }

    #[test]
    fn only_what_all_have_is_common() {
        let lists = [
            vec!["b".to_owned(), "a".to_owned(), "b".to_owned()],
            vec!["a".to_owned(), "c".to_owned(), "b".to_owned()],
        ];
        assert_eq!(common(&[&lists[0], &lists[1]]), ["b", "a"]);
        assert_eq!(common(&[]), Vec::<String>::new());
    }
}
