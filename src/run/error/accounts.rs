//! Why nobody can be who the smoke test is to run something as.

use crate::name::EnvironmentName;

/// Why there is no such user.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The image does not know it.
    #[error("the runtime image of {environment} has no user `{name}`, as which the smoke test runs a step")]
    Unknown {
        /// The environment.
        environment: EnvironmentName,
        /// `user:` of the step.
        name: String,
        /// Whom it knows.
        known: String,
    },
    /// It is root, by another name.
    #[error("`{name}` is root, or of its group, in the runtime image of {environment}, and nothing is tested as root")]
    Root {
        /// The environment.
        environment: EnvironmentName,
        /// `user:` of the step.
        name: String,
    },
}

impl AccountsError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { known, .. } => {
                format!("it has {known}; add the package that makes the user to its recipe, or write a number")
            }
            Self::Root { .. } => {
                "name the user that the host has where it is deployed, or leave `user:` out".to_owned()
            }
        }
    }
}
