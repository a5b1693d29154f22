//! A bundle of lockstep's in a root: of what project it is, what is in it, and out of which images it was made.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bundle::{BUNDLE_DIRECTORIES, INSTALLED_DIRECTORY, MANIFEST_FILE, MANIFEST_LIMIT_BYTES, Manifest};
use crate::digest::Digest;
use crate::name::{EnvironmentName, ProjectName, UnitName};
use crate::rootfs::{FileKind, RootFs};

/// What a bundle's manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleFacts {
    /// The manifest.
    pub manifest: String,
    /// The project.
    pub project: ProjectName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The version of lockstep that made it.
    pub lockstep: String,
    /// The host: a unit's name, or where it was taken from.
    pub host: Option<String>,
    /// The plugins, in the order in which they are loaded.
    pub plugins: Vec<UnitName>,
    /// The image in which it was compiled, as the lock has it.
    pub build_image: Digest,
    /// The image that it stands on, as the lock has it.
    pub runtime_image: Digest,
    /// The toolchains of the build image.
    pub toolchains: BTreeMap<String, String>,
}

/// The bundle in a root, if there is one. What is no manifest of ours is none.
pub(super) fn bundle(root: &dyn RootFs) -> Option<BundleFacts> {
    let directories = BUNDLE_DIRECTORIES.iter().map(|directory| format!("/{directory}"));
    let installed = root.list(&format!("/{INSTALLED_DIRECTORY}"));
    let installed = installed.into_iter().map(|directory| format!("{directory}/"));
    let mut paths = directories
        .chain(installed)
        .map(|directory| format!("{directory}{MANIFEST_FILE}"));
    paths.find_map(|path| {
        let found = root.look(&path).ok().filter(|found| found.kind == FileKind::File)?;
        let bytes = root.bytes(&found, MANIFEST_LIMIT_BYTES)?;
        let manifest = Manifest::from_json(&bytes).ok()?;
        let host = manifest.units.iter().find(|unit| unit.is_host());
        let taken = manifest.host.map(|host| host.path);
        Some(BundleFacts {
            manifest: path,
            project: manifest.project,
            environment: manifest.environment,
            lockstep: manifest.lockstep,
            host: host.map(|unit| unit.name.to_string()).or(taken),
            plugins: manifest
                .units
                .iter()
                .filter(|unit| !unit.is_host())
                .map(|unit| unit.name.clone())
                .collect(),
            build_image: manifest.build_image.config,
            runtime_image: manifest.runtime_image.config,
            toolchains: manifest.toolchains,
        })
    })
}
