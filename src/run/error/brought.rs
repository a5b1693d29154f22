//! Why a file of the project cannot be its host.

use std::io;

use super::super::program::Unfit;

/// Why a file of the project cannot be its host.
#[derive(Debug, thiserror::Error)]
pub enum BroughtHostError {
    /// It is none that loads plugins.
    #[error("`{path}`, which is to be the host, is {}", unfit.what)]
    Unfit {
        /// `host.file`.
        path: String,
        /// What it is.
        unfit: Unfit,
        /// Where the project names it.
        place: String,
    },
    /// It cannot be read.
    #[error("failed to read `{path}`, which is to be the host: {cause}")]
    Read {
        /// `host.file`.
        path: String,
        /// Why.
        cause: io::Error,
        /// Where the project names it.
        place: String,
    },
}

impl BroughtHostError {
    /// Where the project names the file.
    #[must_use]
    pub fn place(&self) -> &str {
        match self {
            Self::Unfit { place, .. } | Self::Read { place, .. } => place,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unfit { unfit, .. } => unfit.hint(),
            Self::Read { .. } => {
                "it must be a regular file of the project that its user can read, and no link".to_owned()
            }
        }
    }
}
