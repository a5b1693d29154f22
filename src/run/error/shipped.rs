//! Why something cannot be shipped with a unit.

use crate::name::UnitName;
use crate::place::InvalidPlace;

/// Why a file cannot be shipped.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// Links are not followed, and a bundle has none.
    #[error("`{path}`, which `{unit}` ships, is a symbolic link")]
    Link {
        /// The unit.
        unit: UnitName,
        /// Which, relative to the project.
        path: String,
    },
    /// What is in a directory has no place there.
    #[error("`{path}`, which `{unit}` ships, has no place in a bundle: {cause}")]
    Place {
        /// The unit.
        unit: UnitName,
        /// Which, relative to the project.
        path: String,
        /// Why.
        cause: InvalidPlace,
    },
    /// Something else lies there, or above it.
    #[error("`{path}`, which `{unit}` ships, would lie where `{other}` has something: `{place}`")]
    Taken {
        /// The unit.
        unit: UnitName,
        /// Which, relative to the project.
        path: String,
        /// Where.
        place: String,
        /// Whose it is.
        other: UnitName,
    },
    /// It cannot be read to fill something in.
    #[error("failed to fill in `{path}`, which `{unit}` ships: {cause}")]
    Fill {
        /// The unit.
        unit: UnitName,
        /// Which, relative to the project.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
}

impl ShipError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Link { .. } => "ship what it leads to: `{file: …, to: …}`",
            Self::Place { .. } | Self::Taken { .. } => "say where it is to lie: `{file: …, to: …}`",
            Self::Fill { .. } => "only small files of text can be filled in; remove `fill:`",
        }
    }
}
