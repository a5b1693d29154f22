//! What of a bundle is not as its manifest says.

use std::fmt;

/// A way in which a bundle is not what its manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A file is not there.
    Missing {
        /// Its name.
        name: String,
    },
    /// A file is of another size, content or mode, or is no file.
    Changed {
        /// Its name.
        name: String,
        /// What is different: `size`, `content`, `mode`, `kind`.
        what: &'static str,
    },
    /// A file is there that the manifest does not name.
    Unknown {
        /// Its name.
        name: String,
    },
}

impl Difference {
    /// Which file it is about, by its path in the bundle.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Missing { name } | Self::Changed { name, .. } | Self::Unknown { name } => name,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(formatter, "{name} is missing"),
            Self::Changed { name, what } => write!(formatter, "{name} has another {what}"),
            Self::Unknown { name } => write!(formatter, "{name} is not in the manifest"),
        }
    }
}
