//! What came of a verification: the form for scripts, and what people are told.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Kind, Variation};
use crate::comparison::PartDifference;
use crate::digest::Digest;
use crate::lock::Role;
use crate::name::{EnvironmentName, ProjectName, UnitName};

/// The version of the form for scripts.
pub const VERIFICATION_SCHEMA_VERSION: u32 = 1;

/// What came of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// [`VERIFICATION_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The project.
    pub project: ProjectName,
    /// What was compared with: `lockstep.lock`, or what somebody published.
    pub against: String,
    /// The engine that compiled everything too, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Whether every bit came out again.
    pub equal: bool,
    /// What was varied.
    pub variations: Vec<VariationRecord>,
    /// The environments, in order.
    pub environments: Vec<VerifiedEnvironment>,
}

/// A variation, for those who read the report alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VariationRecord {
    /// Its name.
    pub name: &'static str,
    /// What is changed.
    pub description: &'static str,
    /// What it cannot change, or whom it does not reach.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub limits: &'static str,
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedEnvironment {
    /// Its name.
    pub name: EnvironmentName,
    /// Whether every bit of it came out again.
    pub equal: bool,
    /// The image in which it was compiled.
    pub build_image: String,
    /// The images that were made again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<VerifiedImage>,
    /// How many containers compiled for it.
    pub rebuilds: usize,
    /// What could not be varied here, by variation, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub not_varied: BTreeMap<String, String>,
    /// The units.
    pub units: Vec<VerifiedUnit>,
}

/// An image that was made again, though it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedImage {
    /// What it is of the environment.
    pub role: Role,
    /// The ID that the lock has.
    pub expected: String,
    /// The ID that came out; none where nothing was made.
    pub remade: Option<String>,
    /// Whether nothing speaks against it.
    pub equal: bool,
    /// In what the two differ, or why nothing was made, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedUnit {
    /// Its name.
    pub name: UnitName,
    /// Whether every bit of it came out again, whatever was varied.
    pub equal: bool,
    /// Its artifacts.
    pub artifacts: Vec<VerifiedArtifact>,
    /// What made a difference, one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedArtifact {
    /// Its name.
    pub name: String,
    /// What it is to be; none where nothing is known of it.
    pub expected: Option<Digest>,
    /// What came out when it was compiled once more as it was.
    pub rebuilt: Digest,
}

/// How a difference shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// With all of these changed at once, and not with fewer.
    Varied,
    /// From one build to the next though nothing was changed; not while all of these are kept from changing by themselves.
    BuildToBuild,
    /// Always the same here, and another one than what it is to be.
    Elsewhere,
    /// Another engine gives other bits.
    OtherEngine,
}

/// Something that makes a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// How it shows.
    pub manner: Manner,
    /// The smallest set of variations; empty where none is to blame.
    pub variations: Vec<&'static str>,
    /// What it is, if that can be told.
    pub kind: Option<Kind>,
    /// The artifacts that differ.
    pub artifacts: Vec<ArtifactDifference>,
    /// With them, it could not be compiled at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureRecord>,
    /// What ends it.
    pub cure: Option<&'static str>,
}

/// In what an artifact differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArtifactDifference {
    /// Its name.
    pub name: String,
    /// Where, and what is there; none where only one of the two is at hand.
    pub parts: Vec<PartDifference>,
    /// Where more of it is shown, if a page was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// A compile that failed because something was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureRecord {
    /// How it ended.
    pub end: String,
    /// The last lines of its output.
    pub tail: Vec<String>,
    /// All of its output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl From<&Variation> for VariationRecord {
    fn from(variation: &Variation) -> Self {
        Self {
            name: variation.name,
            description: variation.description,
            limits: variation.limits,
        }
    }
}
