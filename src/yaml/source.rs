//! The text of a file, and places in it.

use crate::problem::{Excerpt, Problem, one_line};

/// A range of a text, in bytes, on the boundaries of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// The text of a file, and how it is called in problems.
pub(super) struct Source<'a> {
    code: &'static str,
    file: &'a str,
    text: &'a str,
    /// The offset of the first byte of each line.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(code: &'static str, file: &'a str, text: &'a str) -> Self {
        let bytes = text.as_bytes();
        // YAML 1.2.2, section 5.4: a lone carriage return ends a line too.
        let ends_line = |offset: usize| match bytes[offset] {
            b'\n' => true,
            b'\r' => bytes.get(offset + 1) != Some(&b'\n'),
            _ => false,
        };
        let starts = (0..bytes.len())
            .filter(|offset| ends_line(*offset))
            .map(|offset| offset + 1);
        Self {
            code,
            file,
            text,
            lines: std::iter::once(0).chain(starts).collect(),
        }
    }

    /// The text without its byte order mark, and where that starts.
    pub(super) fn content(&self) -> (&'a str, usize) {
        match self.text.strip_prefix('\u{feff}') {
            Some(content) => (content, self.text.len() - content.len()),
            None => (self.text, 0),
        }
    }

    pub(super) fn start(&self) -> Span {
        Span {
            start: self.content().1,
            end: self.content().1,
        }
    }

    /// The line of an offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// What is written at `span`, as far as its first line goes.
    fn line_text(&self, line: usize) -> (usize, &'a str) {
        let start = self.lines.get(line - 1).copied().unwrap_or(self.text.len());
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        let text = self
            .text
            .get(start..end)
            .unwrap_or_default()
            .trim_end_matches(['\n', '\r']);
        // The byte order mark takes no column.
        match text.strip_prefix('\u{feff}').filter(|_| start == 0) {
            Some(rest) => (text.len() - rest.len(), rest),
            None => (start, text),
        }
    }

    /// The first tab with which the line of an offset, or the one after it, is indented.
    pub(super) fn indenting_tab(&self, offset: usize) -> Option<Span> {
        let line = self.line(offset);
        (line..=line + 1).find_map(|line| {
            let (start, text) = self.line_text(line);
            let indentation = text.len() - text.trim_start_matches([' ', '\t']).len();
            let tab = start + text.get(..indentation)?.find('\t')?;
            Some(Span {
                start: tab,
                end: tab + 1,
            })
        })
    }

    /// Where a span begins, as problems tell it: `lockstep.yaml:7:12`.
    pub(super) fn place(&self, span: Span) -> String {
        let line = self.line(span.start);
        let (line_start, text) = self.line_text(line);
        let before = text.get(..span.start.saturating_sub(line_start)).unwrap_or(text);
        format!("{}:{line}:{}", self.file, before.chars().count() + 1)
    }

    /// A problem at `span`, which is shown as far as its first line goes.
    pub(super) fn problem(&self, span: Span, message: &str, label: &str) -> Problem {
        let start = span.start.min(self.text.len());
        let line = self.line(start);
        let (line_start, text) = self.line_text(line);
        let column = start.saturating_sub(line_start).min(text.len());
        let length = span.end.saturating_sub(span.start).min(text.len() - column);
        let marked = text.get(column..column + length).unwrap_or_default().trim_end();
        Problem {
            code: self.code,
            message: one_line(message),
            file: self.file.to_owned(),
            excerpt: Some(Excerpt::new(line, text, column, marked.len(), one_line(label))),
            hint: None,
        }
    }
}
