//! Why there is no root file system.

use std::io;

use crate::image::LayerError;

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
    /// It is compressed in a way that is not read here.
    #[error("{what} is compressed with {how}, which cannot be read")]
    Compressed {
        /// The path, or the layer in it.
        what: String,
        /// The program that compresses so.
        how: &'static str,
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
    /// What cannot be taken, as it was given.
    #[must_use]
    pub fn what(&self) -> &str {
        match self {
            Self::Read { what, .. }
            | Self::NoTar { what, .. }
            | Self::Compressed { what, .. }
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
            Self::Compressed { how, .. } => {
                format!(
                    "uncompress it with {how}, or save the image with layers that are plain or compressed with gzip"
                )
            }
            Self::Layer { .. } | Self::Missing { .. } | Self::Malformed { .. } => {
                "save the image again, with all of its layers: docker save IMAGE -o image.tar".to_owned()
            }
            Self::Several { .. } => "save the one that is meant: docker save IMAGE -o image.tar".to_owned(),
        })
    }
}
