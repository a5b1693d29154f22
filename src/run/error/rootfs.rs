//! Why a root file system cannot be opened.

use std::io;

use crate::engine::EngineError;
use crate::exit::Exit;
use crate::report::Failure;
use crate::rootfs::RootFsError;

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub enum OpenRootError {
    /// What is at the path, or came from the engine, cannot be taken as one.
    #[error(transparent)]
    Root(#[from] RootFsError),
    /// Nothing has this name.
    #[error("there is no file or directory {name}, and the engine has no such image")]
    NoImage {
        /// As it was given.
        name: String,
    },
    /// There is nothing at the path, and nobody to ask for an image.
    #[error("there is no file or directory {name}, and no engine to ask for an image of this name: {cause}")]
    NoEngine {
        /// As it was given.
        name: String,
        /// Why.
        cause: EngineError,
    },
    /// The engine has the image and did not hand it out.
    #[error(transparent)]
    Engine(EngineError),
    /// The engine's stream broke off.
    #[error("failed to read the image {name}: {cause}")]
    Stream {
        /// The image.
        name: String,
        /// Why.
        cause: io::Error,
    },
}

impl OpenRootError {
    /// The error as the user sees it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let message = self.to_string();
        let (exit, hint) = match self {
            Self::Root(error) => (Exit::Usage, error.hint()),
            Self::NoImage { name } => (
                Exit::Usage,
                Some(format!(
                    "bring it first: docker pull {name}; or give a directory, a tar or a saved image"
                )),
            ),
            Self::NoEngine { cause, .. } | Self::Engine(cause) => (Exit::Engine, cause.hint()),
            Self::Stream { .. } => (Exit::Engine, None),
        };
        let failure = Failure::new(exit, "rootfs", message);
        let failure = match self {
            Self::Root(error) => failure.at(error.what()),
            _ => failure,
        };
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}
