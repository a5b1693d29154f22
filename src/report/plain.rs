//! Progress where there is no terminal: a line with the time for each thing that happened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Printer, elapsed};
use crate::counted::counted;
use crate::event::{Event, Events, StepId};

/// Writes lines such as `12:34:56 glibc compile shout: 2.3s`.
pub(super) struct Plain {
    printer: Arc<Printer>,
    started: Instant,
    steps: Mutex<HashMap<StepId, Instant>>,
}

impl Plain {
    pub(super) fn new(printer: Arc<Printer>) -> Self {
        Self {
            printer,
            started: Instant::now(),
            steps: Mutex::default(),
        }
    }

    fn line(&self, text: &str) {
        self.printer.line(&format!("{} {text}", clock()));
    }

    fn took(&self, step: &StepId) -> String {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps
            .remove(step)
            .map(|started| elapsed(started.elapsed()))
            .unwrap_or_default()
    }
}

/// The time of day, UTC: logs of different machines are laid side by side.
fn clock() -> String {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |duration| duration.as_secs())
        % DAY_SECONDS;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `glibc compile shout`, without what the step has not.
fn name(step: &StepId) -> String {
    let environment = step.environment.as_ref().map(ToString::to_string);
    let parts = [environment, Some(step.stage.to_string()), step.subject.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

impl Events for Plain {
    fn emit(&self, event: Event) {
        match event {
            Event::RunStarted {
                project,
                environments,
                units,
            } => {
                let each = if environments.len() == 1 { "" } else { " each" };
                let environments: Vec<String> = environments.iter().map(ToString::to_string).collect();
                self.line(&format!(
                    "{project}: {} · {}{each}",
                    environments.join(", "),
                    counted(units.len(), "unit")
                ));
            }
            Event::StepStarted { step } => {
                self.line(&format!("{}: started", name(&step)));
                self.steps
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(step, Instant::now());
            }
            // A line for each would drown the rest; what a step printed is shown when it fails.
            Event::StepProgress { .. } | Event::StepOutput { .. } => {}
            Event::StepFinished {
                step,
                summary,
                cached: true,
            } => {
                self.took(&step);
                self.line(&format!("{}: {summary} (from cache)", name(&step)));
            }
            Event::StepFinished {
                step,
                summary,
                cached: false,
            } => {
                let took = self.took(&step);
                self.line(&format!("{}: {summary} ({took})", name(&step)));
            }
            Event::StepFailed { step, summary } => {
                let took = self.took(&step);
                self.line(&format!("{}: failed: {summary} ({took})", name(&step)));
            }
            Event::EnvironmentDescribed {
                environment,
                description,
            } => self.line(&format!("{environment}: {description}")),
            // The steps have said it already, where it is only about their times.
            Event::StageSummary { text, .. } if text.is_empty() => {}
            Event::StageSummary {
                environment,
                stage,
                text,
                note,
            } => {
                let note = if note.is_empty() { note } else { format!(" ({note})") };
                self.line(&format!("{environment} {stage}: {text}{note}"));
            }
            Event::RunFinished {
                environments,
                compiled,
                cached,
                next,
            } => {
                let took = elapsed(self.started.elapsed());
                let built = counted(environments, "environment");
                self.line(&format!(
                    "built {built} in {took} · {compiled} compiled, {cached} from cache"
                ));
                if !next.is_empty() {
                    self.line(&format!("next: {}", next.join(" · ")));
                }
            }
            Event::Stopping { message } => self.line(&message),
            Event::Unknown { environment, lines } => self.printer.unknown(&environment, &lines),
            Event::Warning { message, hint } => self.printer.warning(&message, hint.as_deref()),
        }
    }
}
