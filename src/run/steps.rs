//! What a run tells of its steps: that one begins, how far it is, and how it ended.

use super::{Run, RunError};
use crate::engine::TransferProgress;
use crate::event::{Event, Stage, StepId};
use crate::name::EnvironmentName;

impl Run {
    /// A step of an environment.
    pub(super) fn step(environment: &EnvironmentName, stage: Stage, subject: impl Into<String>) -> StepId {
        StepId {
            environment: Some(environment.clone()),
            stage,
            subject: Some(subject.into()),
        }
    }

    /// Does the work of a step, and tells that it begins and how it ends; `summary` says what came of it.
    pub(super) async fn in_step<T>(
        &self,
        step: StepId,
        summary: impl FnOnce(&T) -> String,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        self.is_cancelled()?;
        self.events.emit(Event::StepStarted { step: step.clone() });
        let done = work.await;
        self.emit_end(step, &done, summary);
        done
    }

    /// Tells how far a transfer is.
    pub(super) fn emit_transfer(&self, step: &StepId, progress: TransferProgress) {
        self.events.emit(Event::StepProgress {
            step: step.clone(),
            message: progress.status,
            fraction: progress.bytes,
        });
    }

    /// Tells how a step ended.
    pub(super) fn emit_end<T>(&self, step: StepId, result: &Result<T, RunError>, summary: impl FnOnce(&T) -> String) {
        self.events.emit(match result {
            Ok(value) => Event::StepFinished {
                step,
                summary: summary(value),
                cached: false,
            },
            Err(RunError::Step(failure)) => Event::StepFailed {
                step,
                summary: failure.end.to_string(),
            },
            Err(error) => Event::StepFailed {
                step,
                summary: match error {
                    RunError::Interrupted => "stopped".to_owned(),
                    _ => "failed".to_owned(),
                },
            },
        });
    }
}
