//! A file of the project that is shipped as it is.

use serde::Serialize;

use crate::digest::Digest;
use crate::place::Place;

/// A file of the project that lies in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// Relative to the project's directory, `/`-separated.
    pub path: String,
    /// Where it lies in the bundle.
    pub place: Place,
    /// Of its content as it is shipped.
    pub digest: Digest,
    /// Of that.
    pub size_bytes: u64,
    /// Whether it may be executed.
    pub executable: bool,
    /// The directory of the image in which it is looked for, if it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
    /// Whether `{plugins}` in it is filled in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fill: bool,
}
