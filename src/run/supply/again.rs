//! Made again: from exactly the packages that the lock has, or as its recipe says where it is no recipe of packages.

use super::super::RunError;
use super::super::making::{Made, Making};
use super::super::recipe::{Kind, make_again};
use crate::image::ImageCache;
use crate::lock;

/// Makes the locked image again.
pub(super) async fn make(making: &Making<'_>, kind: Kind<'_>, locked: &lock::Image) -> Result<Made, RunError> {
    let Kind::Bootstrapped(recipe) = kind else {
        return kind.make(making).await;
    };
    let cache = ImageCache::below(&making.context.cache_directory);
    let image = make_again(making, recipe, locked, &cache).await?;
    making.loaded(&image, false).await
}
