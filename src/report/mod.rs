//! Output: events and failures in, text out. Nothing else prints.

mod check;
mod comparison;
mod failure;
mod fit;
mod human;
mod inspect;
mod jsonl;
mod machine;
mod plain;
mod printer;
mod shown;
#[cfg(test)]
mod tests;
mod time;
mod verification;

use std::sync::Arc;

pub use check::{CheckReport, FindingRecord, PairRecord, explain_rule, list_rules, render_check, render_findings};
pub use comparison::{render_comparison, summarised_comparison};
pub use failure::Failure;
pub use fit::fit;
pub use inspect::render_inspection;
pub use machine::{is_unwritable, of_machine};
pub use printer::Printer;
pub use time::elapsed;
pub use verification::render_verification;

use crate::event::{Event, Events};
use shown::Shown;

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
        Progress::Auto if printer.is_terminal() => Arc::new(Shown(human::Human::new(Arc::clone(printer)))),
        Progress::Auto | Progress::Plain => Arc::new(Shown(plain::Plain::new(Arc::clone(printer)))),
        Progress::Jsonl => Arc::new(jsonl::Jsonl::new(Arc::clone(printer))),
        Progress::Quiet => Arc::new(Shown(Quiet(Arc::clone(printer)))),
    }
}

struct Quiet(Arc<Printer>);

impl Events for Quiet {
    fn emit(&self, event: Event) {
        match event {
            Event::Unknown { environment, lines } => self.0.unknown(&environment, &lines),
            Event::Warning { message, hint } => self.0.warning(&message, hint.as_deref()),
            Event::Stopping { message } => self.0.line(&message),
            _ => {}
        }
    }
}
