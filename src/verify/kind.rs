//! What it is that differs.

use serde::Serialize;

/// What it is that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Where the sources lay.
    Path,
    /// When it was compiled.
    Date,
    /// What the machine is called.
    HostName,
    /// Who compiled it.
    User,
    /// The same in another order.
    Order,
    /// Chance.
    Random,
}

impl Kind {
    /// What people are told.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Date => "date",
            Self::HostName => "host name",
            Self::User => "user",
            Self::Order => "order",
            Self::Random => "random",
        }
    }
}
