//! What a run has of the project's directory: all of it for itself, or, where nothing can be written, a look.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::RunError;
use crate::bundle::restore;
use crate::context::Context;
use crate::event::{Event, Events};
use crate::report::is_unwritable;
use crate::state::{PROJECT_LOCK_TIMEOUT, ProjectLock, SharedLock, StateError};
use crate::temporary::{self, TemporaryDirectory};

/// What the names of directories start with that stand for a state directory that cannot be written.
const STATE_PREFIX: &str = "lockstep-state-";

/// A run's hold on its project.
#[derive(Debug)]
pub(super) enum Hold {
    /// No other run is here.
    Alone(ProjectLock),
    /// Nothing is written here. What must be kept while the run goes on is kept elsewhere.
    Looking {
        state: TemporaryDirectory,
        _lock: Option<SharedLock>,
    },
}

impl Hold {
    /// Where the run keeps what belongs to this project and machine.
    pub(super) fn directory(&self) -> &Path {
        match self {
            Self::Alone(lock) => lock.directory(),
            Self::Looking { state, .. } => state.path(),
        }
    }

    /// This run ends while the engine may still be at work for it.
    pub(super) fn ends_unsettled(&self) {
        if let Self::Alone(lock) = self {
            lock.ends_unsettled();
        }
    }

    /// Whether the run before this one was killed, or ended without an answer.
    pub(super) fn follows_a_death(&self) -> bool {
        matches!(self, Self::Alone(lock) if lock.follows_a_death())
    }

    /// Whether what other runs of this checkout have left is of the dead.
    pub(super) fn is_of_this_run_alone(&self) -> bool {
        matches!(self, Self::Alone(_))
    }
}

/// Takes the project for this run alone, and removes from it what dead runs have left. Who only looks gets along with a
/// directory that cannot be written.
pub(super) async fn take(
    directory: &Path,
    context: &Context,
    events: &Arc<dyn Events>,
    cancellation: &CancellationToken,
    only_looks: bool,
) -> Result<Hold, RunError> {
    let holder = format!("run {}, process {}", context.run_id, std::process::id());
    let on_wait = |holder: &str| {
        let message = format!("waiting for another run of this project to end ({holder})");
        events.emit(Event::Warning { message, hint: None });
    };
    let taken = tokio::select! {
        lock = ProjectLock::acquire(directory, &holder, on_wait, PROJECT_LOCK_TIMEOUT) => lock,
        () = cancellation.cancelled() => return Err(RunError::Interrupted),
    };
    match taken {
        Err(StateError::Io { cause, .. }) if only_looks && is_unwritable(&cause) => {}
        taken => {
            let lock = taken?;
            restore(directory, &lock.leftovers()?)?;
            lock.sweep()?;
            return Ok(Hold::Alone(lock));
        }
    }
    let lock = tokio::select! {
        lock = ProjectLock::share(directory, on_wait, PROJECT_LOCK_TIMEOUT) => lock?,
        () = cancellation.cancelled() => return Err(RunError::Interrupted),
    };
    let parent = &context.temporary_directory;
    // Of other users too, as far as they can be removed.
    let _ = temporary::sweep(parent, &[STATE_PREFIX]);
    let state =
        TemporaryDirectory::new_in(parent, STATE_PREFIX).map_err(RunError::file_at("make a directory in", parent))?;
    events.emit(Event::Warning {
        message: format!("{} cannot be written: nothing is kept there", directory.display()),
        hint: match lock {
            Some(_) => None,
            None => Some("see to it that no build goes on here meanwhile".to_owned()),
        },
    });
    Ok(Hold::Looking { state, _lock: lock })
}
