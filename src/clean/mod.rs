//! `clean`: everything that carries a project's label, found first and removed one by one, so that what cannot be removed
//! keeps nothing else.

mod directories;
mod find;
mod remove;
mod unused;

use std::path::PathBuf;

use serde::Serialize;

use crate::name::{EnvironmentName, ProjectName};

pub use directories::directories;
pub use find::{Found, count, find};
pub use remove::{CleanError, Removed, Remover};
pub use unused::{UnusedImages, locked_images, unused_images};

/// Whose things are cleaned up.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The project.
    pub project: ProjectName,
    /// Its environments, whose build images have names of this project.
    pub environments: Vec<EnvironmentName>,
    /// The checkout whose things go, as its label has it; none for those of all checkouts.
    pub owner: Option<String>,
}

/// One thing to be removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Item {
    /// A container, running or not, with its anonymous volumes.
    Container {
        /// What the engine calls it.
        id: String,
        /// Its name.
        name: String,
        /// `created`, `running`, `exited`, …
        state: String,
    },
    /// A named volume.
    Volume {
        /// Its name.
        name: String,
        /// For the shared volume of an environment, whether this checkout made it. Several checkouts may publish there: it
        /// goes with who did last.
        #[serde(skip)]
        shared: Option<Shared>,
    },
    /// An image, or one of its names.
    Image {
        /// A tag, or the ID of an image without one.
        reference: String,
        /// Whether only the name goes, because the image has others.
        only_name: bool,
        /// The shared volume with which it was published, and with which it goes; none for one that is this checkout's alone.
        #[serde(skip)]
        published_with: Option<String>,
    },
    /// A directory with all that is in it.
    Directory {
        /// Absolute.
        path: PathBuf,
    },
    /// What a process which died was writing.
    Leftover {
        /// Absolute.
        path: PathBuf,
    },
}

/// What is known of a shared volume before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shared {
    /// Whether the checkout that is cleaned made it.
    pub made_here: bool,
}

impl Item {
    /// `container`, `volume`, `image`, `directory` or `leftover`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Container { .. } => "container",
            Self::Volume { .. } => "volume",
            Self::Image { .. } => "image",
            Self::Directory { .. } => "directory",
            Self::Leftover { .. } => "leftover",
        }
    }

    /// What people know it by.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Container { name, .. } | Self::Volume { name, .. } => name.clone(),
            Self::Image { reference, .. } => reference.clone(),
            Self::Directory { path } | Self::Leftover { path } => path.display().to_string(),
        }
    }

    /// What else should be known before it goes; empty for nothing.
    #[must_use]
    pub fn note(&self) -> &str {
        match self {
            Self::Container { state, .. } => state,
            Self::Volume { shared: Some(_), .. } => "if no other checkout has published there since",
            Self::Image { only_name: true, .. } => "the name only: the image has others",
            _ => "",
        }
    }
}
