//! Why nothing was loaded of what was saved.

use std::path::PathBuf;

use crate::image::LayoutError;

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
#[error("failed to load {}: {cause}", file.display())]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub cause: LayoutError,
}
