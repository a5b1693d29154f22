//! What a run tells while it goes on: these types are the interface between the work and every reporter.

use std::fmt;

use serde::Serialize;

use crate::name::{EnvironmentName, UnitName};

/// A part of the main job, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Recipes become image IDs.
    Images,
    /// Dependencies that lock files name are brought in.
    Fetch,
    /// The smoke loader is compiled.
    Loader,
    /// Host and plugins are compiled.
    Compile,
    /// Artifacts become a bundle.
    Collect,
    /// What loading the artifacts will come to is predicted.
    Check,
    /// The artifacts are loaded for real.
    Smoke,
    /// Bundle, shared volume and matched image are published.
    Seal,
    /// What the lock has is compiled once more, and compared.
    Verify,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Images => "images",
            Self::Fetch => "fetch",
            Self::Loader => "loader",
            Self::Compile => "compile",
            Self::Collect => "collect",
            Self::Check => "check",
            Self::Smoke => "smoke",
            Self::Seal => "bundle",
            Self::Verify => "verify",
        })
    }
}

/// One step of a run: a stage, of an environment, of a unit where the stage works on units.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StepId {
    /// The environment; none for work that all environments share.
    pub environment: Option<EnvironmentName>,
    /// Which part of the job.
    pub stage: Stage,
    /// The unit, or what else tells steps of one stage apart (`build`, `runtime`).
    pub subject: Option<String>,
}

/// One thing that happened. Times are not in here: the reporter has the clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run over these environments starts.
    RunStarted {
        /// The project's name.
        project: String,
        /// The environments, in order.
        environments: Vec<EnvironmentName>,
        /// The host and the plugins.
        units: Vec<UnitName>,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: StepId,
    },
    /// A step goes on; `message` replaces what was shown for it before.
    StepProgress {
        /// Which.
        step: StepId,
        /// What it is doing, in a few words.
        message: String,
        /// How much of it is done, where that is known: done and total, in the same unit.
        fraction: Option<(u64, u64)>,
    },
    /// A step wrote a line of output (a compiler's, a bootstrap's).
    StepOutput {
        /// Which.
        step: StepId,
        /// One line, without its end.
        line: String,
    },
    /// A step ended well.
    StepFinished {
        /// Which.
        step: StepId,
        /// What came out, in a few words.
        summary: String,
        /// Whether the result was there already.
        cached: bool,
    },
    /// A step failed; the error itself comes at the end of the run.
    StepFailed {
        /// Which.
        step: StepId,
        /// What failed, in a few words.
        summary: String,
    },
    /// What an environment turned out to be made of, for the line under its name.
    EnvironmentDescribed {
        /// Which.
        environment: EnvironmentName,
        /// For example `debian trixie · glibc 2.41 · rustc 1.85.1 · gcc 14.2.0`.
        description: String,
    },
    /// A stage of an environment is complete: the line that stays.
    StageSummary {
        /// Which environment.
        environment: EnvironmentName,
        /// Which stage.
        stage: Stage,
        /// The middle column, for example `build 3f9c2a71 · runtime 81ab09d4`; empty when the stage's steps and their
        /// times say it best.
        text: String,
        /// The right column, for example `from lock`; empty when the time that the stage took says it best.
        note: String,
    },
    /// All went well.
    RunFinished {
        /// How many environments were built.
        environments: usize,
        /// How many units were compiled.
        compiled: usize,
        /// How many units were there already.
        cached: usize,
        /// What to try next, commands each.
        next: Vec<String>,
    },
    /// A signal was heard: what is in the middle is finished or undone, and then the program ends.
    Stopping {
        /// What people are told about it, in one line.
        message: String,
    },
    /// What is not known of how artifacts will load, though it stops nothing: a warning for people, as `check` tells it.
    Unknown {
        /// The environment.
        environment: EnvironmentName,
        /// The findings, line by line.
        lines: Vec<String>,
    },
    /// Something the user should know though it stops nothing.
    Warning {
        /// What, in one line.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// Takes events, in the order in which they happen. Implemented by reporters and by tests.
pub trait Events: Send + Sync {
    /// One thing happened.
    fn emit(&self, event: Event);
}

/// Keeps events for tests, and for runs nobody watches.
#[derive(Debug, Default)]
pub struct Recorded(std::sync::Mutex<Vec<Event>>);

impl Recorded {
    /// All that was emitted so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Events for Recorded {
    fn emit(&self, event: Event) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(event);
    }
}
