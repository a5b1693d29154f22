//! One package of an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A package as the distribution knows it; in the lock one line, `<name> <version> <architecture> <hash>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Package {
    /// Its name, for example `libc6`.
    pub name: String,
    /// Its version, as the distribution writes it.
    pub version: String,
    /// Its architecture, for example `amd64` or `x86_64`.
    pub architecture: String,
    /// The hash of the package's file with its algorithm (`sha256:…` for Debian, apk's own `Q1…`), or `-` where the
    /// image does not tell.
    pub hash: String,
}

impl fmt::Display for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} {} {}",
            self.name, self.version, self.architecture, self.hash
        )
    }
}

/// A line that is no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a package: expected `<name> <version> <architecture> <hash>`")]
pub struct InvalidPackage {
    /// The line.
    pub text: String,
}

impl FromStr for Package {
    type Err = InvalidPackage;

    fn from_str(text: &str) -> Result<Self, InvalidPackage> {
        let fields: Vec<&str> = text.split(' ').collect();
        match fields[..] {
            [name, version, architecture, hash] if fields.iter().all(|field| !field.is_empty()) => Ok(Self {
                name: name.to_owned(),
                version: version.to_owned(),
                architecture: architecture.to_owned(),
                hash: hash.to_owned(),
            }),
            _ => Err(InvalidPackage { text: text.to_owned() }),
        }
    }
}

impl From<Package> for String {
    fn from(package: Package) -> Self {
        package.to_string()
    }
}

impl TryFrom<String> for Package {
    type Error = InvalidPackage;

    fn try_from(text: String) -> Result<Self, InvalidPackage> {
        text.parse()
    }
}
