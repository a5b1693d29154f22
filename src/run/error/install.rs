//! Why plugins cannot be where the host looks for them.

/// Why plugins cannot be put where the project says.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Something else is there, or on the way there.
    #[error("plugins cannot be put into `{install}`: `{path}` in the runtime image is no directory")]
    NoDirectory {
        /// `install:`.
        install: String,
        /// What is none.
        path: String,
    },
    /// Two things that are shipped would be there.
    #[error("`{one}` and `{other}` are both to be `{path}` in the runtime image")]
    Twice {
        /// Where.
        path: String,
        /// The place of one in the bundle.
        one: String,
        /// That of the other.
        other: String,
    },
    /// The image has a file of that name.
    #[error("the runtime image has `{path}` already, so the plugin cannot be put there")]
    Taken {
        /// Which.
        path: String,
    },
}

impl InstallError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoDirectory { .. } => {
                "name the directory in which the host looks for plugins as `install:` of the host".to_owned()
            }
            Self::Twice { .. } => "name one of them otherwise, or give it another `install:`".to_owned(),
            Self::Taken { .. } => {
                "name the artifact otherwise, or leave the package that brings the file out of the runtime image"
                    .to_owned()
            }
        }
    }
}
