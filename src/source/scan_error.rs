//! What a walk over units' files ends with.

use super::SourceError;

/// What is wrong with a unit's files, and which unit's: by its place in what was asked for.
#[derive(Debug)]
pub struct ScanError {
    /// The unit; the first, when several have the file.
    pub unit: usize,
    /// What is wrong.
    pub cause: SourceError,
}
