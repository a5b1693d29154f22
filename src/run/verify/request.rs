//! What `verify` is asked for.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::Engine;
use crate::name::EnvironmentName;

/// What `verify` is asked for.
#[derive(Clone, Default)]
pub struct VerifyRequest {
    /// What is compiled again.
    pub environments: Vec<EnvironmentName>,
    /// What is compared with, as it was given; the lock where there is none.
    pub against: Option<String>,
    /// Another engine, which compiles everything too.
    pub engine: Option<OtherEngine>,
    /// Whether images are made again, though they are there.
    pub makes_images: bool,
    /// Where diffoscope leaves a page for each artifact that differs.
    pub diffoscope: Option<PathBuf>,
}

/// Another engine than that of the run.
#[derive(Clone)]
pub struct OtherEngine {
    /// Where it is, as it was given.
    pub address: String,
    /// The engine.
    pub engine: Arc<dyn Engine>,
}
