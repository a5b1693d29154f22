//! What is wrong with a file that the user wrote: where, what, and what to do, all of it at once.

use std::fmt;

use serde::Serialize;
use unicode_width::UnicodeWidthChar;

use crate::printable::{is_plain, printable};

/// How much of a long line is shown around what is underlined.
const EXCERPT_LIMIT_COLUMNS: usize = 100;
/// How much of that is kept before what is underlined, when the line must be cut there.
const EXCERPT_LEAD_COLUMNS: usize = 30;
/// What a tab becomes in an excerpt, so that the underline stays below what it means.
const TAB_COLUMNS: usize = 4;
/// How much of a message or label is shown, which may quote what the user wrote.
const TEXT_LIMIT_CHARACTERS: usize = 300;
/// Stands for what was cut from a long line.
const CUT: char = '…';

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable name of its kind, for example `config`.
    pub code: &'static str,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The file, as it should be shown.
    pub file: String,
    /// The place in the file; none when the file as a whole is meant.
    pub excerpt: Option<Excerpt>,
    /// What to do, where the excerpt's label does not say it already.
    pub hint: Option<String>,
}

/// A place in a file, with its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// In characters; never beyond the line's end, and 0 where something is missing.
    pub length: usize,
    /// The line as it is shown: tabs expanded, nothing that moves a terminal's cursor, cut around the place when long.
    pub text: String,
    /// How many terminal columns of `text` stand before the place.
    pub mark_column: usize,
    /// How many terminal columns the place takes, at least one.
    pub mark_columns: usize,
    /// What stands next to the underline: what is meant, or expected instead.
    pub label: String,
}

/// What a piece of a rendered problem is, for those who add colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `error[code]`.
    Severity,
    /// The message after it.
    Message,
    /// Line numbers, `-->` and `|`.
    Gutter,
    /// The underline and its label.
    Mark,
    /// The word `hint`.
    Hint,
}

impl Problem {
    /// A problem of a file as a whole.
    #[must_use]
    pub fn of_file(
        code: &'static str,
        file: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            file: file.into(),
            excerpt: None,
            hint: Some(hint.into()),
        }
    }

    /// What problems of one file are sorted by: those without a place come first.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        self.excerpt
            .as_ref()
            .map_or((0, 0), |excerpt| (excerpt.line, excerpt.column))
    }

    /// The problem as lines of text, each with its end; `paint` may add colour to a part.
    #[must_use]
    pub fn render(&self, paint: &dyn Fn(Part, &str) -> String) -> String {
        let severity = paint(Part::Severity, &format!("error[{}]", self.code));
        let file = printable(&self.file);
        let mut lines = vec![format!(
            "{severity}: {}",
            paint(Part::Message, &printable(&self.message))
        )];
        match &self.excerpt {
            None => lines.push(format!("  {} {file}", paint(Part::Gutter, "-->"))),
            Some(excerpt) => lines.extend(excerpt.render(&file, paint)),
        }
        if let Some(hint) = &self.hint {
            lines.push(format!("  {}: {}", paint(Part::Hint, "hint"), printable(hint)));
        }
        lines.join("\n") + "\n"
    }
}

impl fmt::Display for Problem {
    /// Without colour, and without the last line's end.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.render(&|_, text| text.to_owned()).trim_end())
    }
}

impl Excerpt {
    /// The excerpt for `length` characters of `line_text` that start `start` bytes into it.
    #[must_use]
    pub fn new(line: usize, line_text: &str, start: usize, length_bytes: usize, label: impl Into<String>) -> Self {
        let boundary = |offset: usize| (offset..=line_text.len()).find(|offset| line_text.is_char_boundary(*offset));
        let start = boundary(start).unwrap_or(line_text.len());
        let end = boundary(start.saturating_add(length_bytes)).unwrap_or(line_text.len());
        let (before, rest) = line_text.split_at(start);
        let (marked, after) = rest.split_at(end - start);

        let shown_before = show_end_of(before, EXCERPT_LIMIT_COLUMNS, EXCERPT_LEAD_COLUMNS);
        let room = EXCERPT_LIMIT_COLUMNS.saturating_sub(shown_before.columns);
        let shown_marked = show_start_of(marked, room);
        let room = room.saturating_sub(shown_marked.columns);
        let shown_after = if shown_marked.is_cut {
            Shown::default()
        } else {
            show_start_of(after, room)
        };
        Self {
            line,
            column: before.chars().count() + 1,
            length: marked.chars().count(),
            text: (shown_before.text + &shown_marked.text + &shown_after.text)
                .trim_end()
                .to_owned(),
            mark_column: shown_before.columns,
            mark_columns: shown_marked.columns.max(1),
            label: label.into(),
        }
    }

    fn render(&self, file: &str, paint: &dyn Fn(Part, &str) -> String) -> [String; 3] {
        let number = self.line.to_string();
        let empty = " ".repeat(number.len());
        let gutter = |text: String| paint(Part::Gutter, &text);
        let mark = format!("{} {}", "^".repeat(self.mark_columns), printable(&self.label));
        let line = format!("{} {}", gutter(format!(" {number} |")), printable(&self.text));
        [
            format!(
                "{} {file}:{}:{}",
                gutter(format!("{empty} -->")),
                self.line,
                self.column
            ),
            line.trim_end().to_owned(),
            format!(
                "{} {}{}",
                gutter(format!(" {empty} |")),
                " ".repeat(self.mark_column),
                paint(Part::Mark, mark.trim_end())
            ),
        ]
    }
}

/// A text that quotes what the user wrote, on one line and not endless: what would move the cursor is escaped.
pub(crate) fn one_line(text: &str) -> String {
    let mut characters = text.chars();
    let kept: String = characters.by_ref().take(TEXT_LIMIT_CHARACTERS).collect();
    let mut line = printable(&kept).into_owned();
    if characters.next().is_some() {
        line.push(CUT);
    }
    line
}

/// A piece of a line as a terminal can show it.
#[derive(Default)]
struct Shown {
    text: String,
    columns: usize,
    is_cut: bool,
}

/// How one character is shown: never anything that moves the cursor or turns the direction of writing.
fn shown(character: char) -> (char, usize, usize) {
    match character {
        '\t' => (' ', TAB_COLUMNS, TAB_COLUMNS),
        _ if !is_plain(character) => ('\u{fffd}', 1, 1),
        _ => character
            .width()
            .map_or(('\u{fffd}', 1, 1), |columns| (character, 1, columns)),
    }
}

/// As many characters from the start of `text` as `limit` columns hold.
fn show_start_of(text: &str, limit: usize) -> Shown {
    let mut result = Shown::default();
    for character in text.chars() {
        let (character, times, columns) = shown(character);
        if result.columns + columns > limit {
            result.text.push(CUT);
            result.columns += 1;
            result.is_cut = true;
            break;
        }
        result.text.extend(std::iter::repeat_n(character, times));
        result.columns += columns;
    }
    result
}

/// All of `text` when it leaves room for what follows within `limit` columns, else as much of its end as `lead` holds.
fn show_end_of(text: &str, limit: usize, lead: usize) -> Shown {
    let all = show_start_of(text, limit - lead);
    if !all.is_cut {
        return all;
    }
    let mut columns = 0;
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, character)| {
            columns += shown(*character).2;
            columns <= lead
        })
        .last()
        .map_or(text.len(), |(start, _)| start);
    let end = show_start_of(&text[start..], lead);
    Shown {
        text: format!("{CUT}{}", end.text),
        columns: end.columns + 1,
        is_cut: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(line: usize, text: &str, marked: &str, label: &str, expected: &str) {
        let start = text.find(marked).unwrap_or(text.len());
        let problem = Problem {
            code: "config",
            message: "unknown key `artefacts`".to_owned(),
            file: "lockstep.yaml".to_owned(),
            excerpt: Some(Excerpt::new(line, text, start, marked.len(), label)),
            hint: None,
        };
        assert_eq!(problem.to_string(), expected.trim_matches('\n'));
    }

    #[test]
    fn a_problem_looks_as_the_design_shows_it() {
        check(
            9,
            "  - {name: shout, language: rust, artefacts: [libshout.so]}",
            "artefacts",
            "did you mean `artifacts`?",
            "
error[config]: unknown key `artefacts`
  --> lockstep.yaml:9:35
 9 |   - {name: shout, language: rust, artefacts: [libshout.so]}
   |                                   ^^^^^^^^^ did you mean `artifacts`?
",
        );
    }

    #[test]
    fn the_underline_follows_tabs_wide_characters_and_wide_line_numbers() {
        check(
            120,
            "\tnäme: \"日本\", artefacts: 1",
            "artefacts",
            "here",
            "
error[config]: unknown key `artefacts`
    --> lockstep.yaml:120:14
 120 |     näme: \"日本\", artefacts: 1
     |                   ^^^^^^^^^ here
",
        );
        check(
            1,
            "日本: e\u{301}",
            "日本",
            "here",
            "
error[config]: unknown key `artefacts`
  --> lockstep.yaml:1:1
 1 | 日本: e\u{301}
   | ^^^^ here
",
        );
    }

    #[test]
    fn nothing_in_a_line_moves_the_cursor() {
        let excerpt = Excerpt::new(1, "a\u{1b}[31m\u{202e}b\r", 0, 1, "");
        assert_eq!(excerpt.text, "a\u{fffd}[31m\u{fffd}b\u{fffd}");
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(one_line("a\nb\tc\u{1b}\u{202e} d"), "a\\nb\\tc\\u{1b}\\u{202e} d");
        assert_eq!(one_line(&"日".repeat(400)).chars().count(), 301);
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}wrong{}", "a".repeat(500), "b".repeat(500));
        check(
            7,
            &text,
            "wrong",
            "here",
            &format!(
                "error[config]: unknown key `artefacts`\n  --> lockstep.yaml:7:501\n 7 | …{}wrong{}…\n   | {}^^^^^ here",
                "a".repeat(30),
                "b".repeat(64),
                " ".repeat(31)
            ),
        );
    }

    #[test]
    fn where_something_is_missing_one_column_is_marked() {
        let excerpt = Excerpt::new(1, "host:", 5, 0, "");
        assert_eq!(
            (
                excerpt.column,
                excerpt.length,
                excerpt.mark_column,
                excerpt.mark_columns
            ),
            (6, 0, 5, 1)
        );
    }

    #[test]
    fn a_file_as_a_whole_has_no_line() {
        let problem = Problem::of_file(
            "config",
            "lockstep.yaml",
            "failed to read the file: not there",
            "lockstep init",
        );
        let expected = "error[config]: failed to read the file: not there\n  --> lockstep.yaml\n  hint: lockstep init";
        assert_eq!(problem.to_string(), expected);
    }

    proptest! {
        #[test]
        fn the_mark_lies_inside_what_is_shown(text in "\\PC{0,200}", start in 0usize..900, length in 0usize..900) {
            let excerpt = Excerpt::new(1, &text, start.min(text.len()), length, "label");
            let columns: usize = excerpt.text.chars().filter_map(UnicodeWidthChar::width).sum();
            prop_assert!(columns <= EXCERPT_LIMIT_COLUMNS + 3);
            prop_assert!(excerpt.mark_column + excerpt.mark_columns <= EXCERPT_LIMIT_COLUMNS + 3);
            prop_assert!(excerpt.column + excerpt.length <= text.chars().count() + 1);
        }
    }
}
