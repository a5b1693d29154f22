//! The user's cache: images that were made on this machine, by their IDs.

use super::super::RunError;
use super::super::making::Making;
use super::{Asked, not_there};
use crate::image::ImageCache;
use crate::lock;

/// Takes the locked image out of the cache.
pub(super) async fn ask(making: &Making<'_>, locked: &lock::Image) -> Result<Asked, RunError> {
    let cache = ImageCache::below(&making.context.cache_directory);
    match locked.id.parse().ok().and_then(|id| cache.find_id(id)) {
        Some(image) => Ok(Ok(making.loaded(&image, true).await?)),
        None => Ok(Err(not_there("the user's cache"))),
    }
}
