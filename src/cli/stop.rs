//! Why a command stopped.

use crate::exit::Exit;
use crate::plan::PlanError;
use crate::problem::Problem;
use crate::report::{Failure, Printer};
use crate::run::RunError;

/// What stops a command: problems of a file, all at once, or one failure.
#[derive(Debug)]
pub(super) enum Stop {
    Problems(Vec<Problem>),
    Failure(Box<Failure>),
}

impl Stop {
    /// Tells the user, and what the program ends with.
    pub(super) fn report(&self, printer: &Printer) -> Exit {
        match self {
            Self::Problems(problems) => {
                printer.problems(problems);
                Exit::Usage
            }
            Self::Failure(failure) => {
                printer.failure(failure);
                failure.exit
            }
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        error.failure().into()
    }
}

impl From<PlanError> for Stop {
    fn from(error: PlanError) -> Self {
        RunError::from(error).into()
    }
}
