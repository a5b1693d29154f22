//! By what an engine was chosen.

use std::fmt;

use serde::Serialize;

use crate::printable::printable;

/// What said which engine it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// `DOCKER_HOST`.
    Host,
    /// A context of the docker client.
    Context {
        /// Its name.
        name: String,
        /// What names it: `DOCKER_CONTEXT`, or the client's `config.json`, in which it is the current one.
        named_by: String,
    },
    /// Nothing: it is the one that everybody has.
    Default,
}

impl Choice {
    /// What an error says of it beside the address; nothing where the address says all.
    #[must_use]
    pub fn aside(&self) -> String {
        match self {
            Self::Context { .. } => format!(" ({self})"),
            Self::Host | Self::Default => String::new(),
        }
    }

    /// How the docker client is told to take the same engine.
    #[must_use]
    pub fn client_command(&self, address: &str) -> String {
        match self {
            Self::Context { name, .. } => format!("docker --context {} version", printable(name)),
            Self::Host | Self::Default => format!("docker --host {address} version"),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => formatter.write_str("DOCKER_HOST"),
            Self::Context { name, named_by } => {
                write!(formatter, "context `{}` of {}", printable(name), printable(named_by))
            }
            Self::Default => formatter.write_str("the default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_says_what_made_it() {
        let context = Choice::Context {
            name: "away\u{1b}".to_owned(),
            named_by: "DOCKER_CONTEXT".to_owned(),
        };
        for (choice, shown, aside) in [
            (Choice::Host, "DOCKER_HOST", ""),
            (Choice::Default, "the default", ""),
            (
                context,
                "context `away\\u{1b}` of DOCKER_CONTEXT",
                " (context `away\\u{1b}` of DOCKER_CONTEXT)",
            ),
        ] {
            assert_eq!((choice.to_string().as_str(), choice.aside().as_str()), (shown, aside));
        }
    }
}
