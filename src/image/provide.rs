//! Brings an image of the cache into an engine, unless it is there already.

use std::collections::BTreeSet;

use super::archive::ImageArchive;
use super::cache::LocalImage;
use super::error::ImageError;
use crate::digest::Digest;
use crate::engine::{Engine, ImageFacts, Labels};

/// The repository that environments' images are tagged in: one name for all projects, because they share images.
pub const IMAGE_REPOSITORY: &str = "lockstep/environment";

/// The repository that images are tagged in as a builder made them from a Dockerfile, before they have their one form.
pub const RAW_REPOSITORY: &str = "lockstep/recipe";

/// The tag of an image: what its topmost recipe is called, for people, and the beginning of its ID.
#[must_use]
pub fn image_tag(image: &LocalImage) -> String {
    tag_of(image.layers.last().map_or("", |layer| layer.name.as_str()), image.id())
}

/// The name under which an engine has the image of a recipe with this name, if it has the image with this ID.
#[must_use]
pub fn image_name(recipe: &str, id: Digest) -> String {
    format!("{IMAGE_REPOSITORY}:{}", tag_of(recipe, id))
}

fn tag_of(name: &str, id: Digest) -> String {
    const NAME_PARTS: usize = 2;
    const NAME_LIMIT_CHARACTERS: usize = 64;
    const ID_DIGITS: usize = 12;
    let parts: Vec<&str> = name.rsplit('/').take(NAME_PARTS).collect();
    let mut tag: String = parts
        .into_iter()
        .rev()
        .flat_map(|part| part.chars().chain(['-']))
        .filter(|character| character.is_ascii_alphanumeric() || "-_.".contains(*character))
        .skip_while(|character| !character.is_ascii_alphanumeric())
        .take(NAME_LIMIT_CHARACTERS)
        .collect();
    tag.push_str(&id.hex()[..ID_DIGITS]);
    tag
}

/// The image as the engine has it; loaded first when it has not. The second value says whether it was there already.
///
/// # Errors
/// What the engine fails with, and [`ImageError::NotLoaded`].
pub async fn provide(engine: &dyn Engine, image: &LocalImage) -> Result<(ImageFacts, bool), ImageError> {
    let tag = format!("{IMAGE_REPOSITORY}:{}", image_tag(image));
    let expected = image.diff_ids();
    if let Some(facts) = engine.image(&tag).await?.filter(|facts| facts.diff_ids == expected) {
        return Ok((facts, true));
    }
    let there = shared_layers(engine, &expected).await?;
    // Layers that an image of the engine begins with need not be sent; an engine that wants them all the same gets
    // all of them.
    let mut result = engine.load_images(archive(image, &tag, there).into_stream()).await;
    let mut found = engine.image(&tag).await?;
    if there > 0 && (result.is_err() || found.is_none()) {
        result = engine.load_images(archive(image, &tag, 0).into_stream()).await;
        found = engine.image(&tag).await?;
    }
    result?;
    let facts = found
        .filter(|facts| facts.diff_ids == expected)
        .ok_or(ImageError::NotLoaded { tag })?;
    Ok((facts, false))
}

fn archive(image: &LocalImage, tag: &str, there: usize) -> ImageArchive {
    ImageArchive {
        config: image.config.clone(),
        layers: image
            .layers
            .iter()
            .enumerate()
            .map(|(number, layer)| (layer.diff_id, (number >= there).then(|| layer.path.clone())))
            .collect(),
        tags: vec![tag.to_owned()],
    }
}

/// How many of the lowest layers an image of the engine begins with.
async fn shared_layers(engine: &dyn Engine, diff_ids: &[Digest]) -> Result<usize, ImageError> {
    let label = Labels::from([("dev.lockstep.role".to_owned(), "environment".to_owned())]);
    let images = engine.images(&label).await?;
    let stacks: BTreeSet<&[Digest]> = images.iter().map(|image| image.diff_ids.as_slice()).collect();
    let shared = |stack: &[Digest]| {
        stack
            .iter()
            .zip(diff_ids)
            .take_while(|(left, right)| left == right)
            .count()
    };
    Ok(stacks.into_iter().map(shared).max().unwrap_or(0))
}
