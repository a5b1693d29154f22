//! Why nothing can be compared with what somebody published.

use crate::bundle::ManifestError;
use crate::exit::Exit;

/// Why nothing can be compared with it.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// There is none.
    #[error("there is no bundle in {name}")]
    None {
        /// As it was given.
        name: String,
        /// Where it was looked for.
        tried: Vec<String>,
    },
    /// It is of something else.
    #[error("the bundle in {name} is of the {what} `{found}`, and not of `{expected}`")]
    Another {
        /// As it was given.
        name: String,
        /// `project` or `environment`.
        what: &'static str,
        /// What it is of.
        found: String,
        /// What is verified.
        expected: String,
    },
    /// Its manifest cannot be read.
    #[error("the manifest of {name} cannot be taken: {cause}")]
    Manifest {
        /// As it was given.
        name: String,
        /// Why.
        cause: ManifestError,
    },
    /// It has no such artifact.
    #[error("the bundle in {name} has no `{artifact}` of `{unit}`")]
    Lacks {
        /// As it was given.
        name: String,
        /// The unit.
        unit: String,
        /// Its artifact.
        artifact: String,
    },
    /// It is not what its own manifest says.
    #[error("`{file}` in {name} is not what the manifest there says")]
    Altered {
        /// As it was given.
        name: String,
        /// The file.
        file: String,
    },
}

impl PublishedError {
    /// What the program ends with: what was changed after it was published is found, and all else is a mistake in the command.
    pub(in crate::run) fn exit(&self) -> Exit {
        match self {
            Self::Altered { .. } => Exit::Findings,
            _ => Exit::Usage,
        }
    }

    /// What to do about it.
    #[must_use]
    pub(in crate::run) fn hint(&self) -> Option<String> {
        match self {
            Self::None { tried, .. } => Some(format!(
                "give a bundle's directory, a matched image or a shared volume; looked for {}",
                tried.join(", ")
            )),
            Self::Another {
                what: "environment",
                found,
                ..
            } => Some(format!("lockstep verify {found} --against …")),
            Self::Another { .. } => Some("verify it from a clone of its own sources and lock".to_owned()),
            Self::Manifest { .. } => None,
            Self::Lacks { .. } => Some("it was made from other sources or another lockstep.yaml".to_owned()),
            Self::Altered { .. } => Some("somebody changed it after it was published: publish it again".to_owned()),
        }
    }
}
