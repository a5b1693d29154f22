//! What an image is made from. Each kind of recipe is a file that answers three questions: its digest, what an engine may call
//! its image, and how the image is made.

mod bootstrapped;
mod built;
mod extension;
mod name;
mod pulled;

use std::collections::BTreeSet;
use std::path::Path;

use super::RunError;
use super::error::MakeError;
use super::making::{Made, Making};
use crate::config::{Project, RecipeReference};
use crate::digest::Digest;
use crate::image::{Builtin, ImageCache, LocalImage, Recipe};
use crate::lock;

pub(super) use bootstrapped::{assembled, assembled_id, make_again};
pub(super) use built::Dockerfile;
pub(super) use extension::check_extension;
pub(super) use name::name_of;
pub(super) use pulled::pinned;

/// A recipe, by how its image comes about.
pub(super) enum Kind<'a> {
    /// A registry has it, or the engine.
    Pulled {
        /// As the project's file has it.
        reference: &'a str,
    },
    /// The engine's builder makes it.
    Built(Dockerfile<'a>),
    /// lockstep makes it from packages.
    Bootstrapped(Recipe),
}

/// What came of making an image once more.
pub(super) enum Remaking {
    /// It.
    Made(LocalImage),
    /// It is of a kind that is not made here.
    NotMade {
        /// Why.
        why: String,
    },
}

impl<'a> Kind<'a> {
    /// The kind of a project's recipe.
    ///
    /// # Errors
    /// When a file of a recipe for packages cannot be read.
    pub(super) fn of(project: &'a Project, recipe: &'a RecipeReference) -> Result<Self, MakeError> {
        Ok(match recipe {
            RecipeReference::Image { reference } => Self::Pulled { reference },
            RecipeReference::Dockerfile { path, target, remove } => {
                Self::Built(Dockerfile::of_project(project, path, target.as_deref(), remove))
            }
            RecipeReference::Builtin { name } => match Builtin::dockerfile(name) {
                Some(stage) => Self::Built(Dockerfile::shipped(name, stage)),
                None => Self::Bootstrapped(bootstrapped::shipped(name)?),
            },
            RecipeReference::File { path } => Self::Bootstrapped(bootstrapped::of_project(project, path)?),
            RecipeReference::Extended { runtime, packages } => match Self::of(project, runtime)? {
                Self::Bootstrapped(runtime) => Self::Bootstrapped(Recipe::extending(runtime, packages.clone())),
                Self::Pulled { .. } | Self::Built(_) => {
                    let runtime = name_of(runtime);
                    return Err(MakeError::NotExtensible { runtime });
                }
            },
        })
    }

    /// What its image is called where people look for it.
    pub(super) fn image_name(&self) -> &str {
        match self {
            Self::Pulled { reference } => reference,
            Self::Built(dockerfile) => dockerfile.name(),
            Self::Bootstrapped(recipe) => &recipe.name,
        }
    }

    /// The recipe, when lockstep assembles its image itself.
    pub(super) fn bootstrapped(self) -> Option<Recipe> {
        match self {
            Self::Bootstrapped(recipe) => Some(recipe),
            Self::Pulled { .. } | Self::Built(_) => None,
        }
    }

    /// The digest of what the recipe says: of its files, or of a registry's reference.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn digest(&self) -> Result<Digest, MakeError> {
        match self {
            Self::Pulled { reference } => Ok(pulled::digest(reference)),
            Self::Built(dockerfile) => dockerfile.digest(),
            Self::Bootstrapped(recipe) => Ok(recipe.digest()),
        }
    }

    /// What an engine may call the image that a lock means, and whether the name alone says that it is this one.
    pub(super) fn names(&self, locked: &lock::Image, epoch_seconds: u64) -> Vec<(String, bool)> {
        let mut names = vec![(locked.id.clone(), true)];
        match self {
            Self::Pulled { reference } => names.push(((*reference).to_owned(), false)),
            Self::Built(dockerfile) => names.extend(dockerfile.names(locked).map(|name| (name, true))),
            Self::Bootstrapped(recipe) => {
                let all = bootstrapped::names(recipe, locked, epoch_seconds);
                names.extend(all.into_iter().map(|name| (name, true)));
            }
        }
        let mut seen = BTreeSet::new();
        names.retain(|(name, _)| seen.insert(name.clone()));
        names
    }

    /// Makes the image that the lock has once more, whatever there is of it. What is made lies in `scratch`.
    ///
    /// # Errors
    /// Why there is none, or that its layers are others.
    pub(super) async fn remake(
        self,
        making: &Making<'_>,
        locked: &lock::Image,
        scratch: &Path,
    ) -> Result<Remaking, RunError> {
        let scratch = ImageCache::below(scratch);
        match self {
            Self::Pulled { .. } => Ok(Remaking::NotMade {
                why: "a registry made it: it is had by its digest".to_owned(),
            }),
            Self::Built(dockerfile) => dockerfile.remake(making, &scratch).await.map(Remaking::Made),
            Self::Bootstrapped(recipe) => {
                let image = bootstrapped::make_again(making, recipe, locked, &scratch).await;
                image.map(Remaking::Made)
            }
        }
    }

    /// Makes the image, or finds it.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn make(self, making: &Making<'_>) -> Result<Made, RunError> {
        match self {
            Self::Pulled { reference } => pulled::find_or_pull(making, reference).await,
            Self::Built(dockerfile) => dockerfile.make_image(making).await,
            Self::Bootstrapped(recipe) => bootstrapped::make_image(making, recipe).await,
        }
    }
}

/// The digest of what a recipe says: of its files, or of a registry's reference.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn recipe_digest(project: &Project, recipe: &RecipeReference) -> Result<Digest, MakeError> {
    Kind::of(project, recipe)?.digest()
}
