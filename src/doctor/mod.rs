//! `doctor`: is everything there that a build needs? Facts are observed once ([`observe()`]); the checks are a table of pure
//! functions from facts to lines.

mod apt;
mod checks;
mod facts;
mod machine;
mod observe;

use serde::Serialize;

use crate::exit::Exit;

pub use checks::{CHECKS, Check};
pub use facts::{
    Bootstrap, Certificates, EngineState, Facts, Leftovers, LockState, Mirror, ProjectState, Space, UserNamespaces,
};
pub use observe::{Observed, observe};

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Something will not work, or not well.
    Warn,
    /// Nothing, or nothing of this project, can be built.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The check's name.
    pub check: &'static str,
    /// What it found.
    pub status: Status,
    /// What is there, in one line.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All lines, in the order of the table. A check that has nothing to look at gives none.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Line> {
    CHECKS
        .iter()
        .filter_map(|check| {
            let (status, text, hint) = (check.judge)(facts)?;
            Some(Line {
                check: check.name,
                status,
                text,
                hint,
            })
        })
        .collect()
}

/// What the program ends with: the engine's failure has a code of its own.
#[must_use]
pub fn exit(lines: &[Line]) -> Exit {
    let fails = |line: &&Line| line.status == Status::Fail;
    match lines.iter().find(fails) {
        None => Exit::Ok,
        Some(_) if lines.iter().filter(fails).any(|line| line.check == checks::ENGINE) => Exit::Engine,
        Some(_) => Exit::Findings,
    }
}
