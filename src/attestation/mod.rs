//! What is said of a bundle beside its bits, in the field's own forms: out of what it was made (an in-toto statement with SLSA's
//! provenance) and what is in it (SPDX). Records in, documents out: no time of day, no machine and no path is in them, so the
//! same build says the same everywhere.

mod component;
mod package_url;
mod provenance;
mod sbom;
mod spdx;
mod statement;

use std::collections::BTreeMap;

use serde::Serialize;

pub use component::{Component, components};

use crate::bundle::Manifest;
use crate::digest::Digest;
use crate::lock;

/// What the URIs begin with that name what is lockstep's own.
const NAMESPACE: &str = "https://lockstep.dev";

/// What is told about.
pub struct Subject<'a> {
    /// The bundle.
    pub manifest: &'a Manifest,
    /// What the lock says of its environment.
    pub locked: &'a lock::Environment,
    /// How each unit was compiled.
    pub commands: Vec<UnitCommand<'a>>,
    /// The matched image's name.
    pub image_name: &'a str,
    /// The digest of its config.
    pub image: Digest,
    /// What is linked into files of the bundle, by their places; those of which nothing is known are left out.
    pub components: BTreeMap<String, Vec<Component>>,
}

/// How a unit was compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitCommand<'a> {
    /// The unit.
    pub name: &'a str,
    /// For `sh -eu -c`, in the build image.
    pub script: &'a str,
    /// All variables on top of the image's own.
    pub variables: &'a BTreeMap<String, String>,
    /// Where it started.
    #[serde(rename = "workingDirectory")]
    pub working_directory: &'a str,
}

/// Both documents, as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestations {
    /// An in-toto statement (v1) with SLSA's provenance (v1).
    pub provenance: Vec<u8>,
    /// An SPDX document (2.3).
    pub sbom: Vec<u8>,
}

/// What is to be said of a bundle.
///
/// # Errors
/// Never for values of these types; JSON's writer has no other signature.
pub fn attest(subject: &Subject<'_>) -> serde_json::Result<Attestations> {
    Ok(Attestations {
        provenance: json(&provenance::statement(subject))?,
        sbom: json(&sbom::document(subject)?)?,
    })
}

/// JSON with indentation and a line end.
fn json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(json)
}

#[cfg(test)]
mod tests;
