//! Where the problems of one file go.

use std::cell::{Cell, RefCell};

use crate::problem::Problem;

use super::Limits;
use super::source::{Source, Span};

/// More problems than anyone mends at once; those after it are counted only.
const PROBLEM_LIMIT: usize = 200;

/// A value could not be decoded, and the problem has been reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported;

/// A decoded value, or the promise that the reason against it is in the report.
pub type Decoded<T> = Result<T, Reported>;

/// Collects the problems of one file.
pub(super) struct Report<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) limits: Limits,
    problems: RefCell<Vec<Problem>>,
    left_out: Cell<usize>,
    is_complete: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(source: &'a Source<'a>, limits: Limits) -> Self {
        Self {
            source,
            limits,
            problems: RefCell::default(),
            left_out: Cell::new(0),
            is_complete: true,
        }
    }

    /// From here on, what is absent is no problem: the file could not be read to its end.
    pub(super) fn set_incomplete(&mut self) {
        self.is_complete = false;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(super) fn add(&self, span: Span, message: impl AsRef<str>, label: impl AsRef<str>) -> Reported {
        let mut problems = self.problems.borrow_mut();
        if problems.len() >= PROBLEM_LIMIT {
            self.left_out.set(self.left_out.get() + 1);
            return Reported;
        }
        let problem = self.source.problem(span, message.as_ref(), label.as_ref());
        // What an alias repeats is wrong once only.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
        Reported
    }

    /// The problems, in the order of their places.
    pub(super) fn finish(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(Problem::position);
        if let (Some(last), left_out @ 1..) = (problems.last_mut(), self.left_out.get()) {
            last.hint = Some(format!("mend these first: {left_out} more problems are not shown"));
        }
        problems
    }
}
