//! Output: events and failures in, text out. Nothing else prints.

mod check;
mod failure;
mod fit;
mod human;
mod inspect;
mod jsonl;
mod plain;
mod printer;
mod time;

use std::sync::Arc;

pub use check::{CheckReport, FindingRecord, PairRecord, explain_rule, list_rules, render_check};
pub use failure::Failure;
pub use fit::fit;
pub use inspect::render_inspection;
pub use printer::Printer;
pub use time::elapsed;

use crate::event::{Event, Events};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Progress {
    /// A terminal is redrawn in place; anything else gets plain lines.
    #[default]
    Auto,
    /// Lines with the time, one for each thing that happened.
    Plain,
    /// One JSON object a line.
    Jsonl,
    /// Only warnings and what went wrong.
    Quiet,
}

/// The reporter that fits.
#[must_use]
pub fn reporter(progress: Progress, printer: &Arc<Printer>) -> Arc<dyn Events> {
    match progress {
        Progress::Auto if printer.is_terminal() => Arc::new(human::Human::new(Arc::clone(printer))),
        Progress::Auto | Progress::Plain => Arc::new(plain::Plain::new(Arc::clone(printer))),
        Progress::Jsonl => Arc::new(jsonl::Jsonl::new(Arc::clone(printer))),
        Progress::Quiet => Arc::new(Quiet(Arc::clone(printer))),
    }
}

struct Quiet(Arc<Printer>);

impl Events for Quiet {
    fn emit(&self, event: Event) {
        if let Event::Warning { message, hint } = event {
            self.0.warning(&message, hint.as_deref());
        }
    }
}

/// A text that quotes a file, which may say anything: what would move a terminal's cursor is escaped.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        let turns_direction =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns_direction {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
