//! Why there is no root file system.

use std::io;

use crate::image::{LayerError, SavedError};

/// Why what was given cannot be taken as a root file system.
#[derive(Debug, thiserror::Error)]
pub enum RootFsError {
    /// A file or directory cannot be opened or mapped.
    #[error("failed to read {what}: {cause}")]
    Read {
        /// The path, as it was given.
        what: String,
        /// The operating system's words.
        cause: io::Error,
    },
    /// A file is no tar.
    #[error("{what} is no directory, no tar and no saved image{}", because(cause.as_ref()))]
    NoTar {
        /// The path, as it was given.
        what: String,
        /// What is wrong with it; none if nothing in it is of a tar.
        cause: Option<LayerError>,
    },
    /// A layer of an image cannot be read.
    #[error("failed to read the layer {layer} of {what}: {cause}")]
    Layer {
        /// The image.
        what: String,
        /// The layer's name in it.
        layer: String,
        /// Why.
        cause: LayerError,
    },
    /// The image names something that is not in it.
    #[error("{what} lacks {part}")]
    Missing {
        /// The image.
        what: String,
        /// What it lacks.
        part: String,
    },
    /// A description in the image is not what it should be.
    #[error("failed to understand {part} of {what}: {cause}")]
    Malformed {
        /// The image.
        what: String,
        /// Its name in the image.
        part: String,
        /// Why.
        cause: String,
    },
    /// Several images, and no word which is meant.
    #[error("{what} has {} images: {}", names.len(), names.join(", "))]
    Several {
        /// Where they are.
        what: String,
        /// Tags, platforms or digests.
        names: Vec<String>,
    },
}

fn because(cause: Option<&LayerError>) -> String {
    cause.map_or_else(String::new, |cause| format!(": {cause}"))
}

impl RootFsError {
    /// What is wrong with a saved image of this name.
    pub(super) fn saved(what: &str) -> impl FnOnce(SavedError) -> Self {
        let what = what.to_owned();
        move |error| match error {
            SavedError::Layer(LayerError::Read(cause) | LayerError::Write(cause)) => Self::Read { what, cause },
            SavedError::Layer(cause) => Self::NoTar {
                what,
                cause: Some(cause),
            },
            SavedError::Missing { part } => Self::Missing { what, part },
            SavedError::Malformed { part, cause } => Self::Malformed { what, part, cause },
            SavedError::Several { names } => Self::Several { what, names },
        }
    }

    /// What cannot be taken, as it was given.
    #[must_use]
    pub fn what(&self) -> &str {
        match self {
            Self::Read { what, .. }
            | Self::NoTar { what, .. }
            | Self::Layer { what, .. }
            | Self::Missing { what, .. }
            | Self::Malformed { what, .. }
            | Self::Several { what, .. } => what,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } | Self::NoTar { .. } => {
                "give a directory, a tar, an image that was saved, or an image of the engine".to_owned()
            }
            Self::Layer { .. } | Self::Missing { .. } | Self::Malformed { .. } => {
                "save the image again, with all of its layers: docker save IMAGE -o image.tar".to_owned()
            }
            Self::Several { .. } => "save the one that is meant: docker save IMAGE -o image.tar".to_owned(),
        })
    }
}
