//! Removing one thing.

use std::path::{Path, PathBuf};

use super::Item;
use crate::engine::{ContainerId, Engine, EngineError};

/// Why something is still there.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file system.
    #[error("failed to remove {}: {cause}", path.display())]
    File {
        /// The directory.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// Removes `item`; well when it is gone already.
///
/// # Errors
/// See [`CleanError`].
pub async fn remove(engine: &dyn Engine, item: &Item) -> Result<(), CleanError> {
    let removed = match item {
        Item::Container { id, .. } => engine.remove_container(&ContainerId(id.clone())).await,
        Item::Volume { name } => engine.remove_volume(name).await,
        Item::Image { reference, .. } => engine.remove_image(reference).await,
        Item::Directory { path } => return remove_directory(path),
    };
    match removed {
        Err(EngineError::NotFound { .. }) => Ok(()),
        other => Ok(other?),
    }
}

/// A link is removed itself: what it leads to is not the project's.
fn remove_directory(path: &Path) -> Result<(), CleanError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(CleanError::File {
            path: path.to_owned(),
            cause,
        }),
        Ok(()) => Ok(()),
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
        remove_directory(&link).unwrap();
        assert!(kept.join("file").exists() && !link.exists());
        remove_directory(&kept).unwrap();
        remove_directory(&kept).unwrap();
        assert!(!kept.exists());
    }
}
