//! What stops the program, in the form in which the user sees it.

use std::fmt::Write as _;

use console::style;
use serde::Serialize;

use crate::exit::Exit;
use crate::printable::{printable, printable_lines};

/// One failure: what, where, why, what next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What the program ends with.
    #[serde(skip)]
    pub exit: Exit,
    /// A stable kebab-case code, for example `compile`.
    pub code: &'static str,
    /// What failed and why, in one line.
    pub message: String,
    /// Where: a file, a unit, a log.
    pub place: Option<String>,
    /// The evidence, lines as they are: a compiler's output, a list of changes.
    pub notes: Vec<String>,
    /// Whether the evidence is a report of ours, with its colours: lines in which what is foreign was made printable.
    #[serde(skip)]
    pub is_report: bool,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that has only a message.
    #[must_use]
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            place: None,
            notes: vec![],
            is_report: false,
            hint: None,
        }
    }

    /// The same, at a place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The same, with evidence.
    #[must_use]
    pub fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// The same, with the lines of a report of ours as its evidence.
    #[must_use]
    pub fn with_report(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.notes = lines.into_iter().collect();
        self.is_report = true;
        self
    }

    /// The same, with what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The text that goes to standard error.
    #[must_use]
    pub fn render(&self) -> String {
        let head = format!("error[{}]", self.code);
        // What an engine says may have several lines: the others are told as evidence.
        let mut message = printable_lines(self.message.trim_end());
        let first = message.next().unwrap_or_default();
        let mut text = format!("{}: {first}\n", style(head).for_stderr().red().bold());
        if let Some(place) = &self.place {
            let _ = writeln!(text, "  --> {}", printable(place));
        }
        let notes = self.notes.iter().flat_map(|note| match self.is_report {
            true => vec![note.clone()],
            false => printable_lines(note).collect(),
        });
        for note in message.chain(notes) {
            let _ = writeln!(text, "   |  {note}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  hint: {}", printable(hint));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_where_why_and_what_next() {
        let failure = Failure::new(Exit::Build, "compile", "failed to compile `reverse`")
            .at(".lockstep/logs/glibc-reverse.log")
            .with_notes(["reverse.c:3: error".to_owned()])
            .with_hint("mend it");
        let expected = "error[compile]: failed to compile `reverse`\n  --> .lockstep/logs/glibc-reverse.log\n   |  reverse.c:3: error\n  hint: mend it\n";
        assert_eq!(console::strip_ansi_codes(&failure.render()), expected);
    }
}
