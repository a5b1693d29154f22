//! `lockstep.yaml`: text in, a [`Project`] or every problem of the file out.
//!
//! [`parse`] is pure: what it must know of the project's directory comes in as a function. [`load`] asks the disk.

mod archives;
mod artifact;
mod build;
mod builds;
mod contract;
mod contracts;
mod decode;
mod environment;
mod expectation;
mod fit;
mod host;
mod image;
mod image_path;
mod invocation;
mod known_build;
mod language_name;
mod limits;
mod making;
mod named;
mod paths;
mod placed;
mod project;
mod registry;
mod request;
mod reserved;
mod scope;
mod smoke;
mod step;
#[cfg(test)]
mod tests;
mod unit;
mod unit_role;

use std::path::Path;

use crate::platform::architecture;
use crate::problem::Problem;
use crate::yaml;

pub use artifact::is_artifact_name;
pub use build::{Build, BuildSystem};
pub use contract::CheckContract;
pub use language_name::LanguageName;
pub use paths::{Found, find};
pub use project::{
    Abi, Argument, BindingTime, BroughtProgram, BroughtSource, Call, Client, Contract, Contracts, Environment,
    Expectation, Host, ImageStart, Invocation, Limits, Loader, NamedContract, OpenedBy, PLUGINS_PLACEHOLDER, Program,
    Project, Question, Ready, RecipeReference, Request, ResponseExpectation, Returns, RuntimeProgram, ScopeFlag,
    Server, ShippedFile, Smoke, Step, StepKind, Stop, Unit,
};
pub use scope::Surroundings;
pub use unit_role::UnitRole;

/// The code of every problem of `lockstep.yaml`.
pub const PROBLEM_CODE: &str = "config";

/// Decodes `bytes`, the content of `lockstep.yaml`. There is a project exactly when there are no problems.
pub fn parse(bytes: &[u8], surroundings: &Surroundings<'_>) -> (Option<Project>, Vec<Problem>) {
    let expected = "a project, which starts with `version: 1`; `lockstep init` writes one";
    yaml::read(PROBLEM_CODE, surroundings.shown, bytes, expected, |value| {
        decode::project(value, surroundings)
    })
}

/// Reads a contract alone: of `lockstep.yaml`, or of a file with the keys of a contract, of which any may be left out.
pub fn load_contract(path: &Path, shown: &str) -> (Option<CheckContract>, Vec<Problem>) {
    let hint = "write the keys of a contract into it: loader, abi, symbols, flags, scope";
    let bytes = match yaml::read_file(PROBLEM_CODE, path, shown, hint) {
        Ok(bytes) => bytes,
        Err(problem) => return (None, vec![*problem]),
    };
    let expected = "a contract: loader, abi, symbols, flags, scope";
    yaml::read(PROBLEM_CODE, shown, &bytes, expected, contract::alone)
}

/// Reads the project whose file is at `path` (absolute), called `shown` in problems; `builtin` are the names of the
/// recipes that come with lockstep. There is a project exactly when there are no problems.
pub fn load(path: &Path, shown: &str, builtin: &[&str]) -> (Option<Project>, Vec<Problem>) {
    let hint = "go to a directory with a `lockstep.yaml`, name one with `--file`, or write one with `lockstep init`";
    let bytes = match yaml::read_file(PROBLEM_CODE, path, shown, hint) {
        Ok(bytes) => bytes,
        Err(problem) => return (None, vec![*problem]),
    };
    let directory = match path.parent().unwrap_or(path).canonicalize() {
        Ok(directory) => directory,
        Err(error) => {
            let message = format!("failed to find the directory of `{shown}`: {error}");
            return (
                None,
                vec![Problem::of_file(
                    PROBLEM_CODE,
                    shown,
                    message,
                    "check the permissions above it",
                )],
            );
        }
    };
    let surroundings = Surroundings {
        file: &directory.join(path.file_name().unwrap_or_default()),
        directory: &directory,
        shown,
        builtin,
        architecture: architecture(),
        find: &|path| find(&directory, path),
    };
    parse(&bytes, &surroundings)
}
