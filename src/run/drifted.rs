//! In what an image differs from the one that the lock has, for the error that says that it is another one: packages are in the
//! lock and are told by it; where they are the same, it is files.

use std::path::PathBuf;

use super::resolved::ResolvedEnvironment;
use super::rootfs::image_contents;
use super::{Run, RunError};
use crate::comparison::{Side, compare};
use crate::digest::Digest;
use crate::engine::{EngineError, ImageId};
use crate::image::ImageCache;
use crate::lock::{self, Change};
use crate::problem::one_line;
use crate::report::summarised_comparison;
use crate::rootfs::{Contents, RootFsError, open_layer_contents};

/// How many files are named.
const FILES_SHOWN_COUNT: usize = 10;

impl Run {
    /// The lines that say it, for each image that is another one with the same packages.
    pub(super) async fn differing_files(
        &self,
        expected: &lock::Environment,
        found: &ResolvedEnvironment,
        changes: &[Change],
    ) -> Result<Vec<String>, RunError> {
        let mut lines = Vec::new();
        for (role, locked, image) in [
            ("build", &expected.build, &found.build),
            ("runtime", &expected.runtime, &found.runtime),
        ] {
            let is_of = |change: &&Change, key: &str| {
                let path: Vec<&str> = change.path.iter().map(String::as_str).collect();
                path.starts_with(&[role, key])
            };
            let has = |key: &str| changes.iter().any(|change| is_of(&change, key));
            if has("id") && !has("packages") && !has("recipe") {
                let layers = &image.locked.layers;
                lines.extend(self.differing_files_of(role, locked, &image.id, layers).await?);
            }
        }
        Ok(lines)
    }

    /// The lines for one image, which the engine has.
    pub(super) async fn differing_files_of(
        &self,
        role: &str,
        locked: &lock::Image,
        image: &ImageId,
        layers: &[Digest],
    ) -> Result<Vec<String>, RunError> {
        let before = self.contents_of(&ImageId(locked.id.clone()), &locked.layers).await?;
        let Some(before) = before else {
            let id = one_line(&ImageId(locked.id.clone()).short());
            return Ok(vec![
                format!(
                    "the locked {role} image {id} is neither in the engine nor in the user's cache, so its files are not compared;"
                ),
                "where it is, `lockstep image diff` says in what the two differ".to_owned(),
            ]);
        };
        let Some(after) = self.contents_of(image, layers).await? else {
            return Ok(vec![]);
        };
        let compared = tokio::task::spawn_blocking(move || {
            let (a, b) = (
                Side {
                    name: "the locked image",
                    contents: &before,
                },
                Side {
                    name: "the image",
                    contents: &after,
                },
            );
            compare(a, b, false)
        });
        let compared = compared.await.map_err(std::io::Error::other);
        let lines = match compared.map_err(RunError::file("compare two images"))? {
            Ok(comparison) if comparison.same => {
                vec!["its files are the same; its config, or how they are layered, is not".to_owned()]
            }
            Ok(comparison) => summarised_comparison(&comparison, FILES_SHOWN_COUNT),
            // It is another image all the same, which is what must be told.
            Err(error) => vec![error.to_string()],
        };
        let head = format!("in the {role} image (A is the locked one):");
        Ok(std::iter::once(head)
            .chain(lines.into_iter().map(|line| format!("  {line}")))
            .collect())
    }

    /// What is in an image: by its layers, where the user's cache has them, else as the engine has it; none if nobody has it.
    async fn contents_of(&self, image: &ImageId, diff_ids: &[Digest]) -> Result<Option<Contents>, RunError> {
        let cache = ImageCache::below(&self.context.cache_directory);
        if let Some(paths) = cache.layers(diff_ids) {
            let layers: Vec<(Digest, PathBuf)> = diff_ids.iter().copied().zip(paths).collect();
            let what = image.short();
            let opened = tokio::task::spawn_blocking(move || open_layer_contents(&layers, &what));
            let opened: Result<Result<Contents, RootFsError>, _> = opened.await;
            // What is damaged there, the engine may have whole.
            if let Ok(Ok(contents)) = opened {
                return Ok(Some(contents));
            }
        }
        match self.engine.image(&image.0).await {
            Ok(Some(_)) => Ok(image_contents(self.engine.as_ref(), &self.context, &image.0).await.ok()),
            Ok(None) | Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
