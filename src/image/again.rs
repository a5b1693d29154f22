//! Makes an image that a lock names once more, from exactly the packages that the lock has.

use super::cache::{ImageCache, LocalImage};
use super::error::ImageError;
use super::gather::Gathering;
use super::kept_repository::KeptRepository;
use super::make::{MakeRequest, assembled, bootstrap_layer, image_key};
use super::package_archive::PackageArchive;
use crate::digest::Digest;
use crate::lock::Package;

/// What a lock says of an image that is made from packages.
pub struct LockedImage<'a> {
    /// Its layers, lowest first.
    pub layers: &'a [Digest],
    /// All packages that it was made of.
    pub packages: &'a [Package],
    /// Where these are looked for first.
    pub kept: &'a ImageCache,
    /// Where they may be had again.
    pub archives: &'a [PackageArchive],
    /// Whether only this machine is asked.
    pub offline: bool,
}

/// Makes the image; blocks for as long as that takes. Layers that are in the cache are not made again.
///
/// # Errors
/// See [`ImageError`]: [`ImageError::Missing`] when a package is nowhere, [`ImageError::OtherLayer`] when the packages
/// give another image.
pub fn make_again(request: &MakeRequest<'_>, locked: &LockedImage<'_>) -> Result<LocalImage, ImageError> {
    let recipe = request.recipe;
    let key = image_key(recipe, request.machine.architecture, request.epoch_seconds);
    let _lock = request.cache.lock(key, request.cancel)?;
    let _writing = request.cache.begin_writing()?;
    let mut repository = None;
    let mut layers = Vec::new();
    for (recipe, &expected) in recipe.chain().into_iter().zip(locked.layers) {
        if let Some(layer) = request.cache.layer(expected, &recipe.name) {
            layers.push(layer);
            continue;
        }
        let repository = match &mut repository {
            Some(repository) => repository,
            none => none.insert(gathered(request, locked)?),
        };
        let layer = bootstrap_layer(request, recipe, &layers, Some(repository))?;
        if layer.diff_id != expected {
            return Err(ImageError::OtherLayer {
                recipe: recipe.name.clone(),
                expected,
                found: layer.diff_id,
            });
        }
        layers.push(layer.keep(request.cache, &recipe.name)?);
    }
    let image = assembled(request, recipe, layers, locked.packages.to_vec());
    match request.cache.find(key, None) {
        // What the recipe gave last stays what it gives.
        Some(_) => request.cache.insert_again(&image)?,
        None => request.cache.insert(key, &image)?,
    }
    Ok(image)
}

fn gathered(request: &MakeRequest<'_>, locked: &LockedImage<'_>) -> Result<KeptRepository, ImageError> {
    let gathering = Gathering {
        machine: request.machine,
        cache: locked.kept,
        archives: locked.archives,
        offline: locked.offline,
        suite: request.recipe.suite(),
        cancel: request.cancel,
        progress: request.progress,
    };
    KeptRepository::of(gathering.gather(locked.packages)?, request.machine, request.cancel)
}
