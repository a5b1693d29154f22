//! What a process is started with, and how its host opens plugins.

use std::collections::BTreeMap;

use super::user::User;
pub use crate::config::{BindingTime, ScopeFlag};

/// The variables, the working directory and the user of the host's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The variables.
    pub variables: BTreeMap<String, String>,
    /// The working directory; an absolute path in the root.
    pub directory: String,
    /// Who it runs as, if that is known.
    pub user: Option<User>,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            variables: BTreeMap::new(),
            directory: "/".to_owned(),
            user: None,
        }
    }
}

impl Environment {
    /// A variable that is set to something.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// The flags with which the host calls `dlopen(3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenMode {
    /// When functions are bound.
    pub binding: BindingTime,
    /// Who sees the symbols.
    pub scope: ScopeFlag,
}
