//! The one place that owns standard output and standard error.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use console::style;
use indicatif::MultiProgress;

use super::Failure;
use crate::name::EnvironmentName;
use crate::printable::{guarded, printable};
use crate::problem::{Part, Problem};

/// Writes to the two streams. Standard output carries only what somebody could pipe; all else goes to standard error.
pub struct Printer {
    bars: MultiProgress,
    /// Whether data could not be written though somebody would have read it.
    has_failed: AtomicBool,
    is_terminal: bool,
    /// What would have been written, for tests.
    #[cfg(test)]
    captured: Option<std::sync::Mutex<String>>,
}

impl Default for Printer {
    fn default() -> Self {
        Self {
            bars: MultiProgress::new(),
            has_failed: AtomicBool::new(false),
            is_terminal: std::io::stderr().is_terminal(),
            #[cfg(test)]
            captured: None,
        }
    }
}

impl Printer {
    /// Whether standard error is a terminal, which can be redrawn.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The lines at the bottom of the terminal that are redrawn in place.
    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// How wide standard output is; none if it is no terminal.
    #[must_use]
    pub fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        (size.ws_col > 0).then(|| usize::from(size.ws_col))
    }

    /// A report for people, to standard output. Nothing of others in it reaches a terminal but as plain text.
    pub fn data(&self, text: &str) {
        self.document(&guarded(text, console::colors_enabled()));
    }

    /// Data for programs, to standard output, as it is. Nothing reads on when the other end is closed, so that is no
    /// error.
    pub fn document(&self, text: &str) {
        #[cfg(test)]
        if self.capture(text) {
            return;
        }
        let written = self.bars.suspend(|| {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        });
        if let Err(error) = written
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            self.has_failed.store(true, Ordering::Relaxed);
            self.warning(&format!("failed to write to standard output: {error}"), None);
        }
    }

    /// Whether some of the data was not written, as on a full disk.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// A line for people, to standard error. Nothing of others in it reaches a terminal but as plain text.
    pub fn line(&self, text: &str) {
        self.record(&guarded(text, console::colors_enabled_stderr()));
    }

    /// A line for programs, to standard error, as it is.
    pub(super) fn record(&self, text: &str) {
        #[cfg(test)]
        if self.capture(&format!("{text}\n")) {
            return;
        }
        self.bars.suspend(|| {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "{text}");
        });
    }

    /// Something the user should know though it stops nothing.
    pub fn warning(&self, message: &str, hint: Option<&str>) {
        let head = style("warning").for_stderr().yellow().bold();
        let mut text = format!("{head}: {}", printable(message));
        if let Some(hint) = hint {
            let _ = write!(text, "\n  hint: {}", printable(hint));
        }
        self.line(&text);
    }

    /// What is not known of how artifacts will load: `lines` are [`super::render_check`]'s.
    pub fn unknown(&self, environment: &EnvironmentName, lines: &[String]) {
        let message = format!("some of what decides how plugins load in {environment} is not known");
        self.warning(
            &message,
            Some("`lockstep explain CODE` says more; --allow CODE leaves it out"),
        );
        lines.iter().for_each(|line| self.line(&format!("  {line}")));
    }

    /// Everything that is wrong with a file.
    pub fn problems(&self, problems: &[Problem]) {
        let paint = |part: Part, text: &str| match part {
            Part::Severity | Part::Mark => style(text).for_stderr().red().bold().to_string(),
            Part::Message => style(text).for_stderr().bold().to_string(),
            Part::Gutter => style(text).for_stderr().dim().to_string(),
            Part::Hint => text.to_owned(),
        };
        let rendered: Vec<String> = problems
            .iter()
            .map(|problem| problem.render(&paint).trim_end().to_owned())
            .collect();
        self.line(&rendered.join("\n\n"));
    }

    /// A printer that keeps what it would write.
    #[cfg(test)]
    pub(super) fn capturing() -> Self {
        Self {
            captured: Some(std::sync::Mutex::default()),
            ..Self::default()
        }
    }

    /// What a capturing printer has kept.
    #[cfg(test)]
    pub(super) fn captured(&self) -> String {
        let captured = self.captured.as_ref().map(|kept| kept.lock().unwrap().clone());
        captured.unwrap_or_default()
    }

    #[cfg(test)]
    fn capture(&self, text: &str) -> bool {
        let Some(kept) = &self.captured else { return false };
        kept.lock().unwrap().push_str(text);
        true
    }

    /// What ended the run.
    pub fn failure(&self, failure: &Failure) {
        let _ = self.bars.clear();
        self.line(failure.render().trim_end());
    }
}
