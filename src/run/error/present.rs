//! Why a program of an image cannot be the host.

use std::fmt;
use std::io;

use super::super::program::Unfit;
use crate::name::EnvironmentName;

/// An image in which a program is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whence {
    /// That in which everything runs.
    Runtime(EnvironmentName),
    /// One of which nothing else is taken, by its reference.
    Image(String),
}

impl fmt::Display for Whence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(environment) => write!(formatter, "the runtime image of {environment}"),
            Self::Image(reference) => write!(formatter, "the image `{reference}`"),
        }
    }
}

/// Why a program of an image cannot be the host.
#[derive(Debug, thiserror::Error)]
pub enum PresentHostError {
    /// It is not there.
    #[error("{whence} has no `{path}`")]
    Missing {
        /// The image.
        whence: Whence,
        /// `host.path`.
        path: String,
        /// Something of that name elsewhere in the image.
        elsewhere: Option<String>,
    },
    /// It is there, and no program that loads anything.
    #[error("`{path}` in {whence} is {}", unfit.what)]
    NoProgram {
        /// The image.
        whence: Whence,
        /// `host.path`.
        path: String,
        /// What it is.
        unfit: Unfit,
    },
    /// Its content cannot be read.
    #[error("failed to read `{path}` of {whence}: {cause}")]
    Read {
        /// The image.
        whence: Whence,
        /// `host.path`.
        path: String,
        /// Why.
        cause: io::Error,
    },
}

impl PresentHostError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Missing {
                elsewhere: Some(elsewhere),
                ..
            } => format!("did you mean `{elsewhere}`? It is there"),
            Self::Missing {
                whence: Whence::Runtime(_),
                ..
            } => "add the package that has it to the runtime image's recipe, or correct `path:` of the host".to_owned(),
            Self::Missing {
                whence: Whence::Image(_),
                ..
            } => "correct `path:` of the host, or name the image that has it".to_owned(),
            Self::NoProgram { unfit, .. } => unfit.hint(),
            Self::Read {
                whence: Whence::Runtime(_),
                ..
            } => "make the image again: lockstep lock --update".to_owned(),
            Self::Read {
                whence: Whence::Image(reference),
                ..
            } => format!("bring the image again: docker pull {reference}"),
        }
    }
}
