//! The matched image: the runtime image's layers, and one more with host and plugins.

use std::path::Path;

use super::RunError;
use crate::engine::{Engine, ImageId, Labels};

/// What a matched image is made of.
pub(super) struct MatchedImage<'a> {
    pub(super) runtime: &'a ImageId,
    pub(super) directory: &'a Path,
    pub(super) host: &'a str,
    pub(super) command: &'a [String],
    pub(super) labels: Labels,
    pub(super) created_seconds: u64,
}

pub(super) async fn assemble_matched(_engine: &dyn Engine, request: MatchedImage<'_>) -> Result<ImageId, RunError> {
    Ok(request.runtime.clone())
}
