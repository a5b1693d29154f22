//! Variables of makefiles and of shell scripts like them, as far as they are words: what a program computes is left out.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::beside::Files;

/// What make looks for in a directory, in this order (make(1)).
pub(crate) const MAKEFILES: &[&str] = &["GNUmakefile", "makefile", "Makefile"];
/// How deep variables and functions may be nested; a variable that names itself ends here.
const DEPTH_LIMIT_EXPANSIONS: usize = 8;
/// How long a value may become; patterns of patterns would not end otherwise.
const VALUE_LIMIT_BYTES: usize = 64 * 1024;
/// More lines are not written by hand.
const LINES_LIMIT_COUNT: usize = 20_000;
/// How many variables are looked up for one, which is what it takes that each names many others.
const LOOKUPS_LIMIT_COUNT: usize = 1000;
/// The same for all rules of a file.
const RULES_LOOKUPS_LIMIT_COUNT: usize = 20_000;
/// Stands in a value for what is computed. No text that is read has it in a word that counts.
const UNKNOWN: char = '\0';

/// A file with variables, and the files that its patterns are matched with.
pub(crate) struct Makefile<'a> {
    text: &'a str,
    /// What is given to each variable, and whether it is added to what that has.
    given: BTreeMap<&'a str, Vec<(bool, String)>>,
    files: Option<&'a dyn Files>,
    lookups_left: Cell<usize>,
}

/// How one file is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The file.
    pub(crate) target: String,
    /// What it is made from.
    pub(crate) needs: String,
    /// The commands, with their variables filled in; what is computed is no text.
    pub(crate) recipe: String,
}

/// The words of a variable of a file that stands for itself; see [`Makefile::words`].
pub(crate) fn words(text: &str, variable: &str) -> Vec<String> {
    Makefile::of(text, None).words(variable)
}

impl<'a> Makefile<'a> {
    /// A makefile in the directory of `files`.
    pub(crate) fn new(text: &'a str, files: &'a dyn Files) -> Self {
        Self::of(text, Some(files))
    }

    fn of(text: &'a str, files: Option<&'a dyn Files>) -> Self {
        Self {
            text,
            given: given(text),
            files,
            lookups_left: Cell::new(LOOKUPS_LIMIT_COUNT),
        }
    }

    /// The words of `variable`, in their order: of its first value, and of what is added to it (`+=`).
    pub(crate) fn words(&self, variable: &str) -> Vec<String> {
        self.lookups_left.set(LOOKUPS_LIMIT_COUNT);
        let value = self.variable(variable, DEPTH_LIMIT_EXPANSIONS).unwrap_or_default();
        known_words(&value)
    }

    /// The rules that make a file of a known name.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        let mut open = 0..0;
        self.lookups_left.set(RULES_LOOKUPS_LIMIT_COUNT);
        for line in self.text.lines().take(LINES_LIMIT_COUNT) {
            if let Some(command) = line.strip_prefix('\t') {
                let command = self.expand(command, DEPTH_LIMIT_EXPANSIONS);
                for rule in rules.get_mut(open.clone()).into_iter().flatten() {
                    rule.recipe.push_str(&command);
                    rule.recipe.push('\n');
                }
                continue;
            }
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let is_assignment = |targets: &str, needs: &str| targets.contains('=') || needs.starts_with(['=', ':']);
            open = rules.len()..rules.len();
            if let Some((targets, needs)) = without_comment(line).split_once(':')
                && !is_assignment(targets, needs)
            {
                let targets = self.expand(targets, DEPTH_LIMIT_EXPANSIONS);
                let needs = self.expand(needs, DEPTH_LIMIT_EXPANSIONS);
                let named = known_words(&targets).into_iter().filter(|target| !target.contains('%'));
                rules.extend(named.map(|target| Rule {
                    target,
                    needs: needs.clone(),
                    recipe: String::new(),
                }));
                open.end = rules.len();
            }
        }
        rules
    }

    fn variable(&self, name: &str, depth: usize) -> Option<String> {
        let depth = depth.checked_sub(1)?;
        self.lookups_left.set(self.lookups_left.get().checked_sub(1)?);
        let mut value: Option<String> = None;
        for (is_more, text) in self.given.get(name)? {
            value = match (value, is_more) {
                (None, _) => Some(self.expand(text, depth)),
                (Some(value), true) => Some(format!("{value} {}", self.expand(text, depth))),
                (Some(value), false) => Some(value),
            };
        }
        value.filter(|value| value.len() <= VALUE_LIMIT_BYTES)
    }

    fn expand(&self, text: &str, depth: usize) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let (value, after) = self.reference(after, depth);
            match value.filter(|value| expanded.len() + value.len() <= VALUE_LIMIT_BYTES) {
                Some(value) => expanded.push_str(&value),
                None => expanded.push(UNKNOWN),
            }
            rest = after;
        }
        expanded + rest
    }

    /// What a reference stands for, which begins after its `$`, and what follows it.
    fn reference<'t>(&self, text: &'t str, depth: usize) -> (Option<String>, &'t str) {
        let close = match text.chars().next() {
            Some('(') => ')',
            Some('{') => '}',
            Some('$') => return (None, &text[1..]),
            // What a rule is for, stays as it is written.
            Some('@' | '<' | '^') => return (Some(format!("${}", &text[..1])), &text[1..]),
            _ => {
                let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
                let end = text.find(|character| !is_part(character)).unwrap_or(text.len());
                return (self.variable(&text[..end], depth), &text[end..]);
            }
        };
        let Some(end) = end_of(text, close) else {
            return (None, "");
        };
        let (inside, after) = (&text[1..end], &text[end + 1..]);
        let value = match inside.split_once([' ', '\t']) {
            Some((function, arguments)) => self.call(function, arguments, depth),
            None => match inside
                .split_once(':')
                .map(|(name, change)| (name, change.split_once('=')))
            {
                Some((name, Some((from, to)))) => self
                    .variable(name, depth)
                    .map(|value| each(&value, |word| replaced(word, from, to))),
                _ => self.variable(inside, depth),
            },
        };
        (value, after)
    }

    /// The functions of make that list, and change, names of files.
    fn call(&self, function: &str, arguments: &str, depth: usize) -> Option<String> {
        let depth = depth.checked_sub(1)?;
        let text = |arguments: &str| self.expand(arguments.trim(), depth);
        match function {
            "wildcard" => {
                let patterns = text(arguments);
                let mut found = Vec::new();
                for pattern in known_words(&patterns) {
                    found.extend(self.matching(&pattern));
                }
                Some(found.join(" "))
            }
            "patsubst" => {
                let mut parts = arguments.splitn(3, ',');
                let (from, to, words) = (text(parts.next()?), text(parts.next()?), text(parts.next()?));
                Some(each(&words, |word| replaced(word, &from, &to)))
            }
            "addprefix" => {
                let (prefix, words) = arguments.split_once(',')?;
                let prefix = text(prefix);
                Some(each(&text(words), |word| format!("{prefix}{word}")))
            }
            "notdir" => Some(each(&text(arguments), |word| {
                word.rsplit('/').next().unwrap_or_default().to_owned()
            })),
            "sort" | "strip" => Some(each(&text(arguments), str::to_owned)),
            _ => None,
        }
    }

    fn matching(&self, pattern: &str) -> Vec<&'a str> {
        let matches = |path: &str| {
            let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
            patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| is_like(pattern, part))
        };
        let files = self.files.into_iter().flat_map(Files::all);
        files.map(|(path, _)| path).filter(|path| matches(path)).collect()
    }
}

/// What the lines of a text give to variables.
fn given(text: &str) -> BTreeMap<&str, Vec<(bool, String)>> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_.-@".contains(character);
    let mut variables: BTreeMap<&str, Vec<(bool, String)>> = BTreeMap::new();
    let mut lines = text.lines().take(LINES_LIMIT_COUNT);
    while let Some(line) = lines.next() {
        let Some((left, value)) = line.split_once('=') else {
            continue;
        };
        let is_more = left.ends_with('+');
        let name = left.trim_end_matches(['?', ':', '+']).trim();
        if name.is_empty() || !name.chars().all(is_part) {
            continue;
        }
        let mut value = without_comment(value).to_owned();
        while value.ends_with('\\') {
            value.pop();
            value.push(' ');
            value.push_str(without_comment(lines.next().unwrap_or_default()));
        }
        let value = value.trim().trim_matches('"').to_owned();
        variables.entry(name).or_default().push((is_more, value));
    }
    variables
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// Where the parenthesis that `text` begins with is closed.
fn end_of(text: &str, close: char) -> Option<usize> {
    let open = text.chars().next()?;
    let mut depth = 0_usize;
    for (index, character) in text.char_indices() {
        if character == open {
            depth += 1;
        } else if character == close {
            depth -= 1;
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

fn known_words(value: &str) -> Vec<String> {
    let words = value.split_whitespace().filter(|word| !word.contains(UNKNOWN));
    words.map(str::to_owned).collect()
}

fn each(value: &str, change: impl Fn(&str) -> String) -> String {
    let words: Vec<String> = value.split_whitespace().map(change).collect();
    words.join(" ")
}

/// A word after `$(X:from=to)`: `%` stands for the same in both, and without it both are ends.
fn replaced(word: &str, from: &str, to: &str) -> String {
    let Some((start, end)) = from.split_once('%') else {
        return match word.strip_suffix(from) {
            Some(stem) => format!("{stem}{to}"),
            None => word.to_owned(),
        };
    };
    match word.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)) {
        Some(stem) => to.replacen('%', stem, 1),
        None => word.to_owned(),
    }
}

/// Whether a pattern, in which `*` stands for anything, takes a name.
fn is_like(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::beside::Listed;
    use super::*;

    #[test]
    fn words_are_filled_in_and_computed_ones_left_out() {
        let files = Listed(&[
            ("sql/x--1--2.sql", ""),
            ("sql/x.sql", ""),
            ("src/x.c", ""),
            ("x.control", ""),
        ]);
        for (text, variable, expected) in [
            ("A = one $(B) # three\nB=two", "A", "one two"),
            ("A=\"one two\"", "A", "one two"),
            ("A = one \\\n  two \\\n three # four\nAB = x", "A", "one two three"),
            ("A := one\nA += two\nA = three", "A", "one two"),
            ("A = $(shell date) x-$(shell date) y", "A", "y"),
            ("A = $A $(B)\nB = ${A}", "A", ""),
            (
                "E = x\nA = $(wildcard sql/$(E)--*.sql *.control)",
                "A",
                "sql/x--1--2.sql x.control",
            ),
            ("A = $(patsubst %.c,%,$(wildcard src/*.c))", "A", "src/x"),
            (
                "S = a.c b.c d\nA = $(S:.c=.o) $(S:%.c=o/%.o)",
                "A",
                "a.o b.o d o/a.o o/b.o d",
            ),
            ("A = $(notdir $(addprefix x/,a b))", "A", "a b"),
            ("A = $(unclosed", "A", ""),
            ("", "A", ""),
        ] {
            assert_eq!(
                Makefile::new(text, &files).words(variable).join(" "),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn values_do_not_grow_without_an_end() {
        let text: String = (0..8)
            .map(|number| format!("A{number} = {}\n", format!("$(A{})", number + 1).repeat(100)))
            .chain(["A8 = aaaaaaaaaa\n".to_owned()])
            .collect();
        assert!(words(&text, "A0").iter().all(|word| word.len() <= VALUE_LIMIT_BYTES));
    }
}
