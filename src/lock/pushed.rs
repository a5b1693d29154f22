//! What of an environment a registry keeps, by digest. Where that registry is, the project says and never the lock.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::digest::Digest;

/// What an image is of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// In which everything is compiled.
    Build,
    /// Out of which a host was taken.
    Host,
    /// With everything in it that was built.
    Matched,
    /// In which everything runs.
    Runtime,
}

impl Role {
    /// All of them, by name.
    pub const ALL: [Self; 4] = [Self::Build, Self::Host, Self::Matched, Self::Runtime];

    /// Its name, as in the lock.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Host => "host",
            Self::Matched => "matched",
            Self::Runtime => "runtime",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("`{text}` is no image of an environment: there are build, host, matched, runtime"))
    }
}

/// The digests that manifests have in the registry, by what the images are.
pub type Pushed = BTreeMap<Role, Digest>;
