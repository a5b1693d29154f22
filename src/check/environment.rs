//! What a process is started with, and how its host opens plugins.

use std::collections::BTreeMap;

pub use crate::config::{BindingTime, ScopeFlag};

/// The variables and the working directory of the host's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The variables.
    pub variables: BTreeMap<String, String>,
    /// The working directory; an absolute path in the root.
    pub directory: String,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            variables: BTreeMap::new(),
            directory: "/".to_owned(),
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
