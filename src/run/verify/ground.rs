//! What all compiles of an environment share, and what comes of one.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::super::exports::{Exports, ExportsTeller};
use super::super::resolved::BuildImage;
use super::diffoscope::Diffoscope;
use super::published::Published;
use super::second::Second;
use crate::digest::Digest;
use crate::name::UnitName;
use crate::verify::{Cause, Variation};

/// The variations of a set.
pub(super) type Set = Vec<&'static Variation>;
/// The bits that are to come out, by unit and artifact.
pub(super) type Expected = BTreeMap<UnitName, BTreeMap<String, Digest>>;

/// What all environments of a verification share.
#[derive(Default)]
pub(super) struct Whole {
    /// What somebody published.
    pub(super) published: Option<Published>,
    /// The engine that compiles too.
    pub(super) second: Option<Second>,
    /// Whether images are made again.
    pub(super) makes_images: bool,
    /// What draws pages of differences.
    pub(super) diffoscope: Option<Diffoscope>,
}

/// What all compiles of an environment share.
pub(super) struct Ground<'a> {
    pub(super) whole: &'a Whole,
    pub(super) exports: &'a Exports,
    pub(super) teller: &'a ExportsTeller,
    /// Whether plugins wait for what the host exports.
    pub(super) is_asked: bool,
    pub(super) stop: &'a CancellationToken,
    /// The build image on the second engine.
    pub(super) second_image: Option<BuildImage>,
}

/// What came of one compile.
pub(super) struct Verified {
    pub(super) rebuilt: BTreeMap<String, Digest>,
    pub(super) causes: Vec<Cause>,
    pub(super) rebuilds: usize,
    pub(super) not_varied: BTreeMap<String, String>,
}
