//! What an engine fails with, as the user sees it.

use crate::engine::EngineError;
use crate::exit::Exit;
use crate::report::Failure;

/// An engine's error as the user sees it.
#[must_use]
pub fn from_engine(error: &EngineError) -> Failure {
    let (exit, code) = match error {
        EngineError::BuildFailed { .. } => (Exit::Build, "engine"),
        // The engine only waited for it.
        EngineError::Source { .. } => (Exit::Usage, "source"),
        _ => (Exit::Engine, "engine"),
    };
    hinted(Failure::new(exit, code, error.to_string()), error.hint())
}

/// A failure with a hint, where there is one.
pub(super) fn hinted(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
