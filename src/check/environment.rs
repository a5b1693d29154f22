//! What a process is started with, and how its host opens plugins.

use std::collections::BTreeMap;

use super::user::User;
pub use crate::config::{BindingTime, ScopeFlag};
use crate::facts::file_capabilities::Capabilities;

/// The variables, the working directory and the user of the host's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The variables.
    pub variables: BTreeMap<String, String>,
    /// The working directory; an absolute path in the root.
    pub directory: String,
    /// Who it is started by, if that is known.
    pub user: Option<User>,
    /// What keeps it from being given more rights than who starts it has.
    pub restrictions: Restrictions,
}

/// What keeps programs from being given rights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Nothing that a file says counts: a mount with nosuid (mount(8)), or no file's program that opens the plugins.
    pub gives_nothing: bool,
    /// `no_new_privs` (prctl(2)): set-user-ID and set-group-ID mean nothing.
    pub no_new_privileges: bool,
    /// The capabilities that no process there may have: what is not in the bounding set (capabilities(7)).
    pub dropped: Capabilities,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            variables: BTreeMap::new(),
            directory: "/".to_owned(),
            user: None,
            restrictions: Restrictions::default(),
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
