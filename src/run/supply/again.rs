//! Made again: from exactly the packages that the lock has, or as its recipe says where it is no recipe of packages.

use super::super::RunError;
use super::super::making::{Made, Making};
use super::super::recipe::{Kind, assembled};
use crate::image::{LockedImage, make_again};
use crate::lock;

/// Makes the locked image again.
pub(super) async fn make(making: &Making<'_>, kind: Kind<'_>, locked: &lock::Image) -> Result<Made, RunError> {
    let Kind::Bootstrapped(recipe) = kind else {
        return kind.make(making).await;
    };
    let (locked, archives, offline) = (locked.clone(), making.project.archives.clone(), making.offline);
    let image = assembled(making, recipe, move |request| {
        make_again(
            request,
            &LockedImage {
                layers: &locked.layers,
                packages: &locked.packages,
                archives: &archives,
                offline,
            },
        )
    });
    let image = image.await?;
    making.loaded(&image, false).await
}
