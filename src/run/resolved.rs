//! An environment whose images are there: what they are, and where they came from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::placed::PlacedFile;
use crate::config::RecipeReference;
use crate::digest::{Digest, Hasher};
use crate::engine::ImageId;
use crate::lock::{self, Role};
use crate::plan::PlannedFile;

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The lock names it and the engine has it.
    Lock,
    /// It was there, or made before from the same recipe.
    Present,
    /// It was made now.
    Made,
}

/// One image of an environment.
#[derive(Debug, Clone)]
pub(super) struct ResolvedImage {
    pub(super) id: ImageId,
    pub(super) locked: lock::Image,
    pub(super) origin: Origin,
}

/// An image that an environment wants.
pub(super) struct Wanted<'a> {
    pub(super) role: Role,
    pub(super) recipe: &'a RecipeReference,
    /// What the lock has of it.
    pub(super) expected: Option<&'a lock::Image>,
    /// Its digest in the project's registry, by the lock.
    pub(super) pushed: Option<Digest>,
}

/// An environment whose images are there.
#[derive(Debug, Clone)]
pub(super) struct ResolvedEnvironment {
    pub(super) build: ResolvedImage,
    pub(super) runtime: ResolvedImage,
    pub(super) toolchains: BTreeMap<String, String>,
    /// The host, where it is not compiled.
    pub(super) host: Option<lock::Host>,
    /// It, where it is shipped.
    pub(super) brought: Option<BroughtHost>,
}

impl ResolvedEnvironment {
    pub(super) fn build_image(&self) -> BuildImage {
        BuildImage {
            id: self.build.id.clone(),
            identity: identity(&self.build.locked),
        }
    }

    /// The lock's entry, without units.
    pub(super) fn entry(&self) -> lock::Environment {
        lock::Environment {
            build: self.build.locked.clone(),
            runtime: self.runtime.locked.clone(),
            toolchains: self.toolchains.clone(),
            host: self.host.clone(),
            pushed: lock::Pushed::new(),
            units: BTreeMap::new(),
        }
    }

    pub(super) fn description(&self) -> String {
        describe(&self.toolchains)
    }
}

/// `debian trixie · glibc 2.41 · rustc 1.85.1 · gcc 14.2.0`.
pub(super) fn describe(toolchains: &BTreeMap<String, String>) -> String {
    const UNNAMED: [&str; 2] = ["distribution", "libc"];
    // cargo and g++ say nothing that rustc and gcc do not.
    const LEFT_OUT: [&str; 2] = ["cargo", "g++"];
    let named = toolchains
        .iter()
        .filter(|(name, _)| !UNNAMED.contains(&name.as_str()) && !LEFT_OUT.contains(&name.as_str()));
    let unnamed = UNNAMED.iter().filter_map(|name| toolchains.get(*name).cloned());
    unnamed
        .chain(named.map(|(name, version)| format!("{name} {version}")))
        .collect::<Vec<_>>()
        .join(" · ")
}

/// What an image is wherever it is: its recipe decides its configuration, and its layers its files.
pub(super) fn identity(image: &lock::Image) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(image.recipe.to_string().as_bytes());
    for layer in &image.layers {
        hasher.field(layer.to_string().as_bytes());
    }
    hasher.finish()
}

/// A host that lies in the bundle and is not compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BroughtHost {
    /// What is shipped.
    pub(super) file: PlannedFile,
    /// Where its content is, on this machine.
    pub(super) content: PathBuf,
    /// What the lock says of it.
    pub(super) locked: lock::Host,
}

impl BroughtHost {
    /// It as a file that lies in the bundle.
    pub(super) fn placed(&self) -> PlacedFile {
        PlacedFile {
            path: self.content.clone(),
            place: self.file.place.to_string(),
        }
    }
}

/// The image in which everything of an environment is compiled.
#[derive(Debug, Clone)]
pub(super) struct BuildImage {
    /// What the engine calls it.
    pub(super) id: ImageId,
    /// What it is everywhere: the digest of its recipe and layers.
    pub(super) identity: Digest,
}
