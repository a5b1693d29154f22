//! Files of this machine, and where they lie in a bundle; and where that is in every container.

use std::path::{Path, PathBuf};

use crate::bundle::Manifest;
use crate::config::{Host, Project, Unit};
use crate::plan::PlannedFile;

/// Where a container finds the bundle that is used, in the smoke test and in the matched image alike. It is also where
/// `current` of the shared volume is for whoever mounts that at `/bundle`.
pub(super) const BUNDLE_PATH: &str = "/bundle/current";

/// The same, as a directory and a name in it.
pub(super) fn bundle_path() -> (&'static str, &'static str) {
    BUNDLE_PATH.rsplit_once('/').unwrap_or(("/", BUNDLE_PATH))
}

/// The directory that holds the plugins, in the smoke test and in the matched image alike: what `{plugins}` stands for.
pub(super) fn plugins_directory(project: &Project) -> &str {
    project.host.install.as_deref().unwrap_or(BUNDLE_PATH)
}

/// A file of this machine, and where it lies in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path in the bundle.
    pub place: String,
}

impl PlacedFile {
    /// What a unit yielded, from the directory in which that is kept, the main one first.
    pub(super) fn of_compiled<'a>(unit: &'a Unit, directory: &'a Path) -> impl Iterator<Item = Self> + 'a {
        unit.places().map(|(name, place)| Self {
            path: directory.join(name),
            place: place.to_owned(),
        })
    }

    /// What is shipped of the project's own files.
    pub(super) fn of_project<'a>(files: &'a [PlannedFile], project: &'a Path) -> impl Iterator<Item = Self> + 'a {
        files.iter().map(|file| Self {
            path: project.join(&file.path),
            place: file.place.to_string(),
        })
    }

    /// What a published bundle has of a project's host; nothing where that is in the runtime image.
    #[must_use]
    pub fn of_host(host: &Host, manifest: &Manifest, directory: &Path) -> Vec<Self> {
        if let Some(unit) = host.unit() {
            return Self::of_bundle(unit, manifest, directory);
        }
        host.place()
            .map(|place| Self {
                path: directory.join(place),
                place: place.to_owned(),
            })
            .into_iter()
            .collect()
    }

    /// What a published bundle has of a unit, what the unit yielded first.
    #[must_use]
    pub fn of_bundle(unit: &Unit, manifest: &Manifest, directory: &Path) -> Vec<Self> {
        let record = manifest.units.iter().find(|record| record.name == unit.name);
        let files = record.into_iter().flat_map(|record| &record.files);
        let places = unit.places().map(|(_, place)| place);
        places
            .chain(files.map(|file| file.name.as_str()))
            .map(|place| Self {
                path: directory.join(place),
                place: place.to_owned(),
            })
            .collect()
    }
}
