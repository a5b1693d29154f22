//! Where packages can be had again when the mirror no longer has them (`archives:`).

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::apt::BY_HASH_OPTIONS;

/// One such place. What comes from it is known by its hash, so nobody needs to vouch for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageArchive {
    /// A directory as `lockstep lock --keep` makes it: `<hash>/<file>`.
    Directory(PathBuf),
    /// An address: a mirror of the distribution, as it was on some day or still is, or such a directory on a file server.
    Address {
        /// Without what apt calls `dists/` and `pool/`.
        address: String,
        /// The releases to look at, as the mirror calls them; none for the recipe's.
        suite: Option<String>,
        /// Their parts.
        components: Vec<String>,
    },
}

impl PackageArchive {
    /// The line for apt (sources.list(5)); none for a directory, which needs no apt.
    #[must_use]
    pub fn source(&self, recipe_suite: &str) -> Option<String> {
        match self {
            Self::Directory(_) => None,
            Self::Address {
                address,
                suite,
                components,
            } => Some(format!(
                "deb [{BY_HASH_OPTIONS}] {address} {} {}\n",
                suite.as_deref().unwrap_or(recipe_suite),
                components.join(" ")
            )),
        }
    }
}

impl fmt::Display for PackageArchive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(formatter, "{}", path.display()),
            Self::Address { address, .. } => formatter.write_str(address),
        }
    }
}
