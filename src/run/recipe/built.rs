//! Images that the engine's builder makes from a Dockerfile, and that are the same wherever it was done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::RunError;
use super::labels;
use super::making::{Made, MakeError, Making, RECIPE_LABEL, recipe_digest, recipe_tag};
use crate::config::RecipeReference;
use crate::digest::Digest;
use crate::engine::{ByteStream, ImageBuild, ImageFacts};
use crate::event::Event;
use crate::image::{ImageCache, LocalImage, NormalRequest, base_of, normal_key, normalise};
use crate::platform::architecture;
use crate::stream;

/// How much of what a failed build said is shown.
const TAIL_LIMIT_LINES: usize = 20;

/// What the engine's builder is asked for.
pub(super) struct DockerfileBuild<'a> {
    pub(super) recipe: &'a RecipeReference,
    /// The Dockerfile's text.
    pub(super) text: &'a str,
    /// Its name in the context.
    pub(super) file_name: &'a str,
    pub(super) target: Option<&'a str>,
    /// Patterns of what the image does not keep.
    pub(super) remove: &'a [String],
    pub(super) context: ByteStream,
}

/// Where an image that was built comes from, as far as it counts for its one form.
struct Origin {
    /// What it is called where people look for it.
    name: String,
    /// The digest of its recipe.
    recipe: Digest,
    /// What its last stage begins with.
    base: Option<String>,
    /// Patterns of what it does not keep.
    remove: Vec<String>,
}

/// What the image of a Dockerfile is called where people look for it: where the file lies, and the stage.
fn dockerfile_name(path: &str, target: Option<&str>) -> String {
    let place = path.strip_suffix("/Dockerfile").unwrap_or(path);
    match target {
        Some(target) => format!("{place}/{target}"),
        None => place.to_owned(),
    }
}

/// What the image of a recipe is called in the engine, where a builder makes it; none for other recipes.
pub(super) fn built_name(recipe: &RecipeReference) -> Option<String> {
    match recipe {
        RecipeReference::Dockerfile { path, target, .. } => Some(dockerfile_name(path, target.as_deref())),
        RecipeReference::Builtin { name } => Some(name.clone()),
        _ => None,
    }
}

impl Making<'_> {
    /// Has the engine build a Dockerfile, and brings what came of it into the one form that it has everywhere.
    pub(super) async fn build(&self, build: DockerfileBuild<'_>) -> Result<Made, RunError> {
        let digest = recipe_digest(self.project, build.recipe)?;
        let cache = ImageCache::below(&self.context.cache_directory);
        let key = normal_key(digest, architecture(), self.project.source_date_epoch);
        // A run that asks for news does so once for all environments of the recipe.
        let known = cache.find(key, self.update.then_some(self.context.started_at_seconds));
        let (image, was_there) = match known {
            Some(image) => (image, true),
            None => {
                let origin = Origin {
                    name: built_name(build.recipe).unwrap_or_default(),
                    recipe: digest,
                    base: base_of(build.text, build.target),
                    remove: build.remove.to_vec(),
                };
                let built = self.built(build, digest).await?;
                (self.normal(&built, origin).await?, false)
            }
        };
        self.loaded(&image, was_there).await
    }

    /// The image as the builder makes it. Its name in the engine stays, for it keeps the builder's own cache alive.
    async fn built(&self, build: DockerfileBuild<'_>, digest: Digest) -> Result<ImageFacts, RunError> {
        let tag = recipe_tag(digest);
        // Built before from the same files: that is the same recipe's image.
        if !self.update
            && let Some(facts) = self.engine.image(&tag).await?
            && facts.labels.get(RECIPE_LABEL) == Some(&digest.to_string())
        {
            return Ok(facts);
        }
        let request = ImageBuild {
            context: build.context,
            dockerfile: build.file_name.to_owned(),
            target: build.target.map(ToOwned::to_owned),
            arguments: self.network.proxies.clone(),
            labels: BTreeMap::from([(RECIPE_LABEL.to_owned(), digest.to_string())]),
            tag: tag.clone(),
            is_fresh: self.update,
        };
        let tail = Mutex::new(VecDeque::new());
        let log = |line: &str| {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL_LIMIT_LINES {
                tail.pop_front();
            }
            tail.push_back(line.to_owned());
            self.events.emit(Event::StepOutput {
                step: self.step.clone(),
                line: line.to_owned(),
            })
        };
        let built = self.until_cancelled(self.engine.build_image(request, &log)).await?;
        built.map_err(|cause| MakeError::Build {
            cause,
            tail: std::mem::take(&mut *tail.lock().unwrap_or_else(PoisonError::into_inner)).into(),
        })?;
        self.existing(&tag).await
    }

    async fn normal(&self, built: &ImageFacts, origin: Origin) -> Result<LocalImage, RunError> {
        let Origin {
            name,
            recipe,
            base,
            remove,
        } = origin;
        let base = match base {
            Some(base) => self.engine.image(&base).await?.map(|facts| facts.diff_ids),
            None => None,
        };
        self.events.emit(Event::StepProgress {
            step: self.step.clone(),
            message: "leaving out what records the day".to_owned(),
            fraction: None,
        });
        let archive = self.engine.save_image(&built.id.0).await?;
        let cache = ImageCache::below(&self.context.cache_directory);
        let epoch_seconds = self.project.source_date_epoch;
        let labels = BTreeMap::from([
            (labels::ROLE.to_owned(), "environment".to_owned()),
            (RECIPE_LABEL.to_owned(), recipe.to_string()),
        ]);
        let read = stream::read_by(archive, move |reader| {
            let request = NormalRequest {
                name: &name,
                recipe,
                base: base.as_deref().unwrap_or_default(),
                remove: &remove,
                epoch_seconds,
                labels: &labels,
                cache: &cache,
            };
            normalise(&request, reader)
        });
        let read = self.until_cancelled(read).await?;
        let read = read.map_err(RunError::file("read an image of the engine"))?;
        Ok(read.map_err(MakeError::from)?)
    }
}
