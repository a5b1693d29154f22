//! What is foreign in an event, made printable before a reporter for people sees it.

use crate::event::{Event, Events, StepId};
use crate::printable::{printable, progress_line};

/// A reporter for people, to which no event comes with anything in it that does something to a terminal.
pub(super) struct Shown<R>(pub(super) R);

impl<R: Events> Events for Shown<R> {
    fn emit(&self, event: Event) {
        self.0.emit(shown(event));
    }
}

/// Every variant and every field, so that a new one has to be thought of.
fn shown(event: Event) -> Event {
    match event {
        Event::RunStarted {
            project,
            environments,
            units,
        } => Event::RunStarted {
            project: text(project),
            environments,
            units,
        },
        Event::StepStarted { step } => Event::StepStarted { step: id(step) },
        Event::StepProgress {
            step,
            message,
            fraction,
        } => Event::StepProgress {
            step: id(step),
            message: text(message),
            fraction,
        },
        Event::StepOutput { step, line } => Event::StepOutput {
            step: id(step),
            line: progress_line(&line),
        },
        Event::StepFinished { step, summary, cached } => Event::StepFinished {
            step: id(step),
            summary: text(summary),
            cached,
        },
        Event::StepFailed { step, summary } => Event::StepFailed {
            step: id(step),
            summary: text(summary),
        },
        Event::EnvironmentDescribed {
            environment,
            description,
        } => Event::EnvironmentDescribed {
            environment,
            description: text(description),
        },
        Event::StageSummary {
            environment,
            stage,
            text: words,
            note,
        } => Event::StageSummary {
            environment,
            stage,
            text: text(words),
            note: text(note),
        },
        Event::RunFinished {
            environments,
            compiled,
            cached,
            next,
        } => Event::RunFinished {
            environments,
            compiled,
            cached,
            next: next.into_iter().map(text).collect(),
        },
        Event::Stopping { message } => Event::Stopping { message: text(message) },
        Event::Unknown { environment, lines } => Event::Unknown { environment, lines },
        Event::Warning { message, hint } => Event::Warning {
            message: text(message),
            hint: hint.map(text),
        },
    }
}

fn id(step: StepId) -> StepId {
    StepId {
        subject: step.subject.map(text),
        ..step
    }
}

fn text(text: String) -> String {
    printable(&text).into_owned()
}
