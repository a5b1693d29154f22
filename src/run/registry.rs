//! Where a run keeps environments: the project's registry, or the one that this machine names instead.

use crate::config::Project;
use crate::context::Context;
use crate::exit::Exit;
use crate::report::Failure;
use crate::repository::{InvalidRepository, Repository};

/// The variable that names another registry than the project's.
const VARIABLE: &str = "LOCKSTEP_REGISTRY";

/// Why there is no registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The variable names none.
    #[error("`{value}`, which {VARIABLE} names, is no place in a registry")]
    Invalid {
        /// Its value.
        value: String,
        /// Why.
        cause: InvalidRepository,
    },
    /// Nobody names one.
    #[error("no registry is named")]
    Unnamed,
}

impl RegistryError {
    /// The error as the user sees it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let hint = match self {
            Self::Invalid { cause, .. } => cause.to_string(),
            Self::Unnamed => {
                format!("write `registry: registry.example.org/team/project` into lockstep.yaml, or set {VARIABLE}")
            }
        };
        Failure::new(Exit::Usage, "registry", self.to_string()).with_hint(hint)
    }
}

/// The registry, where one is named.
///
/// # Errors
/// When the variable names none.
pub(super) fn registry_of(project: &Project, context: &Context) -> Result<Option<Repository>, RegistryError> {
    match context.variables.get(VARIABLE).filter(|value| !value.is_empty()) {
        Some(value) => match value.parse() {
            Ok(repository) => Ok(Some(repository)),
            Err(cause) => Err(RegistryError::Invalid {
                value: value.clone(),
                cause,
            }),
        },
        None => Ok(project.registry.clone()),
    }
}
