//! A bootstrap recipe: what an image is made of.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::{Digest, Hasher};

/// Part of every key: to be changed when the same recipe is made into an image in another way.
const KEY_VERSION: &[u8] = b"lockstep bootstrap 2";

/// How packages get into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Unpacked, and nothing else: no maintainer script runs, and there is no package manager. For runtime images.
    Extract,
    /// Essential packages and apt, all installed as the distribution means it. For build images.
    Apt,
}

/// What the image starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Ground {
    /// Nothing: a distribution's packages.
    Distribution {
        /// `debian`.
        distribution: Distribution,
        /// The release, for example `trixie`.
        suite: String,
        /// How packages get in.
        variant: Variant,
    },
    /// Another recipe's image, whose layers it shares.
    Base(Box<Recipe>),
}

/// The distributions that can be bootstrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Debian.
    Debian,
}

/// A file or directory that the recipe itself brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnFile {
    /// Where it goes: relative to the image's root.
    pub path: String,
    /// Its content; none for a directory.
    #[serde(skip)]
    pub content: Option<Vec<u8>>,
    /// Its permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: u32,
}

/// What containers of the image start with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImageDefaults {
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// `uid:gid`; root when empty.
    pub user: String,
    /// The working directory.
    pub workdir: String,
}

/// A bootstrap recipe with everything it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// Its path without `.yaml`, for messages.
    pub name: String,
    /// What it starts from.
    pub ground: Ground,
    /// Packages to add, without those that they depend on.
    pub packages: Vec<String>,
    /// Patterns (dpkg's `path-exclude`) of files that are never unpacked.
    pub exclude: Vec<String>,
    /// Symbolic links that exist before the first package is unpacked: path to target.
    pub links: BTreeMap<String, String>,
    /// Files of its own.
    pub files: Vec<OwnFile>,
    /// Shell scripts that run as root in the new root, in order.
    pub setup: Vec<String>,
    /// Patterns of paths that are left out of the image, with all below them.
    pub remove: Vec<String>,
    /// What its containers start with; on top of the base's.
    pub defaults: ImageDefaults,
    /// Whether what it adds must go with what the base has: no package of the base in another version, and none beside
    /// it of the same source in another one.
    pub keeps_base: bool,
}

impl Recipe {
    /// A recipe for compiling what runs in the image of `base`: that image, and `packages`.
    #[must_use]
    pub fn extending(base: Self, packages: Vec<String>) -> Self {
        Self {
            name: format!("{}-build", base.name),
            ground: Ground::Base(Box::new(base)),
            packages,
            exclude: vec![],
            links: BTreeMap::new(),
            files: vec![],
            setup: vec![],
            remove: vec![],
            defaults: ImageDefaults::default(),
            keeps_base: true,
        }
    }

    /// The recipes that it stands on, and itself, lowest first.
    #[must_use]
    pub fn chain(&self) -> Vec<&Self> {
        let mut chain = match &self.ground {
            Ground::Base(base) => base.chain(),
            Ground::Distribution { .. } => vec![],
        };
        chain.push(self);
        chain
    }

    /// Whether its packages are only unpacked, and what a recipe on top of it adds as well.
    #[must_use]
    pub fn is_unpacked_only(&self) -> bool {
        match &self.ground {
            Ground::Base(base) => base.is_unpacked_only(),
            Ground::Distribution { variant, .. } => *variant == Variant::Extract,
        }
    }

    /// The release whose packages it takes.
    #[must_use]
    pub fn suite(&self) -> &str {
        match &self.ground {
            Ground::Base(base) => base.suite(),
            Ground::Distribution { suite, .. } => suite,
        }
    }

    /// What containers start with, the bases' included.
    #[must_use]
    pub fn merged_defaults(&self) -> ImageDefaults {
        let mut merged = ImageDefaults::default();
        for recipe in self.chain() {
            let defaults = &recipe.defaults;
            merged.env.extend(defaults.env.clone());
            for (value, own) in [
                (&mut merged.user, &defaults.user),
                (&mut merged.workdir, &defaults.workdir),
            ] {
                if !own.is_empty() {
                    value.clone_from(own);
                }
            }
        }
        merged
    }

    /// The digest of all that the recipe says, of the files that it names and of its bases: not of its name, so that
    /// the same recipe elsewhere has the same digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field(KEY_VERSION);
        match &self.ground {
            Ground::Distribution {
                distribution,
                suite,
                variant,
            } => {
                hasher.field(format!("{distribution:?} {variant:?}").as_bytes());
                hasher.field(suite.as_bytes());
            }
            Ground::Base(base) => hasher.field(base.digest().to_string().as_bytes()),
        }
        for list in [&self.packages, &self.exclude, &self.setup, &self.remove] {
            hasher.field(&(list.len() as u64).to_le_bytes());
            list.iter().for_each(|item| hasher.field(item.as_bytes()));
        }
        for map in [&self.links, &self.defaults.env] {
            hasher.field(&(map.len() as u64).to_le_bytes());
            for (key, value) in map {
                hasher.field(key.as_bytes());
                hasher.field(value.as_bytes());
            }
        }
        for file in &self.files {
            hasher.field(file.path.as_bytes());
            hasher.field(format!("{:o} {} {}", file.mode, file.owner, file.content.is_some()).as_bytes());
            hasher.field(file.content.as_deref().unwrap_or_default());
        }
        hasher.field(self.defaults.user.as_bytes());
        hasher.field(self.defaults.workdir.as_bytes());
        // Not said of others, so that their digests stay what they were.
        if self.keeps_base {
            hasher.field(b"keeps base");
        }
        hasher.finish()
    }
}
