//! Recipes from which lockstep assembles the image itself, from a distribution's packages.

use std::cell::Cell;
use std::path::Path;

use super::super::RunError;
use super::super::background::in_background;
use super::super::error::MakeError;
use super::super::making::{Made, Making};
use crate::config::Project;
use crate::digest::Digest;
use crate::image::{
    self, Builtin, ImageCache, ImageError, LocalImage, LockedImage, Machine, MakeRequest, Recipe, RecipeFiles,
    image_config, image_key, image_name, make,
};
use crate::lock;
use crate::platform::architecture;
use crate::regular_file;

/// How large a recipe may be, with all files that it and its bases put into an image.
const RECIPE_FILES_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// The recipe of a file of the project, with those that it stands on.
pub(super) fn of_project(project: &Project, path: &str) -> Result<Recipe, MakeError> {
    read_recipe(&ProjectFiles::of(project), path)
}

/// A recipe that comes with the program.
pub(super) fn shipped(name: &str) -> Result<Recipe, MakeError> {
    read_recipe(&Builtin, &format!("{name}.yaml"))
}

/// The files of a project, as recipes name them.
struct ProjectFiles<'a> {
    directory: &'a Path,
    /// How much may still be read for one recipe, with its bases.
    left_bytes: Cell<u64>,
}

impl<'a> ProjectFiles<'a> {
    fn of(project: &'a Project) -> Self {
        Self {
            directory: &project.directory,
            left_bytes: Cell::new(RECIPE_FILES_LIMIT_BYTES),
        }
    }
}

impl RecipeFiles for ProjectFiles<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = regular_file::read(&self.directory.join(path), self.left_bytes.get());
        let bytes = bytes.map_err(|error| error.to_string())?;
        self.left_bytes.set(self.left_bytes.get() - bytes.len() as u64);
        Ok(bytes)
    }
}

fn read_recipe(files: &dyn RecipeFiles, path: &str) -> Result<Recipe, MakeError> {
    Recipe::read(files, path).map_err(|problems| MakeError::Recipe { problems })
}

/// The ID that an image of a recipe has with these layers and packages, which decide all of its config.
pub(in crate::run) fn assembled_id(
    recipe: &Recipe,
    architecture: &str,
    epoch_seconds: u64,
    layers: &[Digest],
    packages: &[lock::Package],
) -> Digest {
    Digest::of(&image_config(recipe, architecture, epoch_seconds, layers, packages).render())
}

/// What an engine may call the image that a lock means.
pub(super) fn names(recipe: &Recipe, locked: &lock::Image, epoch_seconds: u64) -> Vec<String> {
    // In another kind of image store it has its ID as part of its name only. And should the lock's ID be wrong, then the
    // other lines still say which image is meant.
    let claimed = assembled_id(recipe, architecture(), epoch_seconds, &locked.layers, &locked.packages);
    let of_name = |id| image_name(&recipe.name, id);
    let mut names = vec![claimed.to_string()];
    names.extend(locked.id.parse().map(of_name));
    names.push(of_name(claimed));
    names
}

/// Makes the image, or takes the one that was made before, and brings it to the engine.
pub(super) async fn make_image(making: &Making<'_>, recipe: Recipe) -> Result<Made, RunError> {
    if making.offline {
        let key = image_key(&recipe, architecture(), making.project.source_date_epoch);
        let cached = user_cache(making).find(key, None);
        let Some(image) = cached else {
            return Err(MakeError::Offline {
                action: "fetch the packages of an image",
            }
            .into());
        };
        return making.loaded(&image, true).await;
    }
    let (image, was_made) = assembled(making, recipe, make).await?;
    making.loaded(&image, was_made).await
}

/// Makes the image of a lock again, from exactly the packages that it has; what is made goes to `cache`, and layers that are
/// there are not made again.
pub(in crate::run) async fn make_again(
    making: &Making<'_>,
    recipe: Recipe,
    locked: &lock::Image,
    cache: &ImageCache,
) -> Result<LocalImage, RunError> {
    let (locked, archives, offline) = (locked.clone(), making.project.archives.clone(), making.offline);
    let kept = user_cache(making);
    assembled_in(cache.clone(), making, recipe, move |request| {
        image::make_again(
            request,
            &LockedImage {
                layers: &locked.layers,
                packages: &locked.packages,
                kept: &kept,
                archives: &archives,
                offline,
            },
        )
    })
    .await
}

fn user_cache(making: &Making<'_>) -> ImageCache {
    ImageCache::below(&making.context.cache_directory)
}

/// Has `make` assemble an image on this machine.
pub(in crate::run) async fn assembled<T: Send + 'static>(
    making: &Making<'_>,
    recipe: Recipe,
    make: impl FnOnce(&MakeRequest<'_>) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, RunError> {
    assembled_in(user_cache(making), making, recipe, make).await
}

async fn assembled_in<T: Send + 'static>(
    cache: ImageCache,
    making: &Making<'_>,
    recipe: Recipe,
    make: impl FnOnce(&MakeRequest<'_>) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, RunError> {
    let machine = Machine::from_context(making.context);
    let epoch_seconds = making.project.source_date_epoch;
    let refresh_before_seconds = making.update.then_some(making.context.started_at_seconds);
    in_background(making.step, making.events, making.cancellation, move |background| {
        make(&MakeRequest {
            recipe: &recipe,
            machine: &machine,
            cache: &cache,
            epoch_seconds,
            refresh_before_seconds,
            cancel: background.cancel,
            progress: background.progress,
        })
    })
    .await
}
