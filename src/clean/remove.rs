//! Removing one thing.

use std::path::{Path, PathBuf};

use super::{Item, Scope, Shared};
use crate::bundle::{ReleaseVolume, Removal, VolumeError, remove_own};
use crate::engine::{ContainerId, Engine, EngineError, ImageId, Labels};
use crate::run::labels;
use crate::temporary;

/// How many images are tried for a look at a volume, when one after the other goes away.
const IMAGES_TRIED_LIMIT: usize = 8;

/// Why something is still there.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The shared volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The file system.
    #[error("failed to remove {}: {cause}", path.display())]
    File {
        /// The directory.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is not there any more.
    Gone,
    /// It is of another checkout.
    Kept,
}

/// Removes the things of one scope.
pub struct Remover<'a> {
    /// Where they are.
    pub engine: &'a dyn Engine,
    /// Whose they are.
    pub scope: Scope,
    /// The run that removes them.
    pub run_id: String,
}

impl Remover<'_> {
    /// Removes `item`; well when it is gone already.
    ///
    /// # Errors
    /// See [`CleanError`].
    pub async fn remove(&self, item: &Item) -> Result<Removed, CleanError> {
        let removed = match item {
            Item::Container { id, .. } => self.engine.remove_container(&ContainerId(id.clone())).await,
            Item::Volume {
                name,
                shared: Some(shared),
            } => return self.remove_shared(name, *shared).await,
            Item::Volume { name, shared: None } => self.engine.remove_volume(name).await,
            // Volumes are removed before: one that is still there is another checkout's, and so is what was published with it.
            Item::Image {
                published_with: Some(volume),
                ..
            } if self.engine.volume(volume).await?.is_some() => return Ok(Removed::Kept),
            Item::Image { reference, .. } => self.engine.remove_image(reference).await,
            Item::Directory { path } => remove_path(path).map(|()| Ok(()))?,
            Item::Leftover { path } => temporary::remove_dead(path).map(|_| Ok(())).map_err(of(path))?,
        };
        match removed {
            Ok(()) | Err(EngineError::NotFound { .. }) => Ok(Removed::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a shared volume if this checkout published what is current there, and nobody publishes just now.
    async fn remove_shared(&self, name: &str, shared: Shared) -> Result<Removed, CleanError> {
        let Some(owner) = &self.scope.owner else {
            return Ok(self.engine.remove_volume(name).await.map(|()| Removed::Gone)?);
        };
        // Any image: what is made of it is never started. It may be another project's, and go away in the same moment.
        let images = self.engine.images(&Labels::new()).await?;
        if images.is_empty() {
            if shared.made_here {
                self.engine.remove_volume(name).await?;
                return Ok(Removed::Gone);
            }
            return Ok(Removed::Kept);
        }
        let mut last = None;
        for image in images.into_iter().take(IMAGES_TRIED_LIMIT) {
            match self.remove_shared_with(name, &shared, owner, image.id).await {
                Err(CleanError::Volume(error @ VolumeError::Engine(EngineError::NotFound { .. }))) => {
                    last = Some(error)
                }
                removed => return removed,
            }
        }
        last.map_or(Ok(Removed::Kept), |error| Err(error.into()))
    }

    async fn remove_shared_with(
        &self,
        name: &str,
        shared: &Shared,
        owner: &str,
        image: ImageId,
    ) -> Result<Removed, CleanError> {
        let labels = [
            (labels::PROJECT, self.scope.project.to_string()),
            (labels::OWNER, owner.to_owned()),
            (labels::ROLE, "clean".to_owned()),
            (labels::RUN, self.run_id.clone()),
        ];
        let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value)).into();
        let volume = ReleaseVolume {
            name: name.to_owned(),
            labels: labels.clone(),
            container_labels: labels,
            instance: self.run_id.clone(),
            publisher: owner.to_owned(),
            container_name: format!("{name}-clean-{}", self.run_id),
            image,
            mtime_seconds: 0,
        };
        match remove_own(self.engine, &volume, shared.made_here).await? {
            Removal::Removed => Ok(Removed::Gone),
            Removal::Kept { .. } => Ok(Removed::Kept),
        }
    }
}

/// A link is removed itself: what it leads to is not the project's.
fn remove_path(path: &Path) -> Result<(), CleanError> {
    temporary::remove(path).map_err(of(path))
}

fn of(path: &Path) -> impl FnOnce(std::io::Error) -> CleanError + '_ {
    move |cause| CleanError::File {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_goes_and_what_it_leads_to_stays() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "").unwrap();
        let link = directory.path().join("dist");
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        remove_path(&link).unwrap();
        assert!(kept.join("file").exists() && !link.exists());
        remove_path(&kept).unwrap();
        remove_path(&kept).unwrap();
        assert!(!kept.exists());
    }
}
