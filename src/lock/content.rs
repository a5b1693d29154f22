//! What `lockstep.lock` says.

use std::collections::BTreeMap;

use serde::Serialize;

use super::package::Package;
use super::pushed::Pushed;
use crate::digest::Digest;
use crate::name::{EnvironmentName, UnitName};

/// The version of the format that this program reads and writes.
pub const SCHEMA_VERSION: u32 = 1;
/// The largest lock that is read; one of a few hundred packages has some 50 KB.
pub const LOCK_SIZE_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// All of `lockstep.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The environments that have been built or locked.
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            environments: BTreeMap::new(),
        }
    }
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Where everything is compiled.
    pub build: Image,
    /// Where everything runs.
    pub runtime: Image,
    /// Toolchains and C library by name, as the images themselves tell.
    pub toolchains: BTreeMap<String, String>,
    /// The host, where it is not compiled, and so no unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// The digests under which a registry keeps its images.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pushed: Pushed,
    /// The units that have been compiled.
    pub units: BTreeMap<UnitName, Unit>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The digest of its recipe: of the files, or of the reference.
    pub recipe: Digest,
    /// The digest of its config, which is its ID in the classic image store. Of images that others made, what the engine
    /// calls it.
    pub id: String,
    /// The digests of its layers, lowest first: the same in every engine.
    pub layers: Vec<Digest>,
    /// The name and digest under which a registry has it, for images from a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// What is installed in it.
    pub packages: Vec<Package>,
}

/// A host that is not compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Where it is: absolute in an image, else relative to the project's directory.
    pub path: String,
    /// The digest of its content.
    pub digest: Digest,
    /// The package that brought it and its version, by the image's own lists; none when they do not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The image that it is in; none for one of the runtime image, and for the project's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

/// One unit's inputs and what came out of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// The digest of its sources.
    pub source: Digest,
    /// The digest of all that decides what is fetched for it: image, command, variables, the files that name dependencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Digest>,
    /// The digest of what its fetch brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Digest>,
    /// The digest of all that its compile depends on: image, command, variables, sources, dependencies.
    pub action: Digest,
    /// Its artifacts by file name.
    pub artifacts: BTreeMap<String, Digest>,
    /// What else is shipped with it, by its place in the bundle.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Digest>,
}
