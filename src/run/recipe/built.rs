//! Images that the engine's builder makes from a Dockerfile, and that are the same wherever it was done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::super::RunError;
use super::super::container::in_memory;
use super::super::error::MakeError;
use super::super::labels;
use super::super::making::{Made, Making};
use crate::config::Project;
use crate::digest::Digest;
use crate::engine::{ByteStream, ImageBuild, ImageFacts};
use crate::event::Event;
use crate::image::{
    BuiltinDockerfile, ImageCache, LocalImage, NormalRequest, RAW_REPOSITORY, base_of, image_name, normal_key,
    normalise,
};
use crate::lock;
use crate::owner::Owner;
use crate::platform::architecture;
use crate::regular_file;
use crate::source::{SourceError, SourceTree};
use crate::stream;

/// How much of what a failed build said is shown.
const TAIL_LIMIT_LINES: usize = 20;
/// The largest Dockerfile.
const DOCKERFILE_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// The owner of files in a build context: the engine's builder runs as root.
const CONTEXT_OWNER: Owner = Owner { uid: 0, gid: 0 };

/// A stage of a Dockerfile.
pub(in crate::run) struct Dockerfile<'a> {
    /// What its image is called where people look for it.
    name: String,
    target: Option<&'a str>,
    /// Patterns of what the image does not keep.
    remove: &'a [String],
    text: Text<'a>,
}

/// Where a Dockerfile's text comes from.
enum Text<'a> {
    /// A file of the project, with its directory as build context.
    Project { project: &'a Project, path: &'a str },
    /// It comes with the program, and needs no context.
    Shipped(&'static str),
}

impl<'a> Dockerfile<'a> {
    /// One of the project's files.
    pub(super) fn of_project(
        project: &'a Project,
        path: &'a str,
        target: Option<&'a str>,
        remove: &'a [String],
    ) -> Self {
        let place = path.strip_suffix("/Dockerfile").unwrap_or(path);
        Self {
            name: match target {
                Some(target) => format!("{place}/{target}"),
                None => place.to_owned(),
            },
            target,
            remove,
            text: Text::Project { project, path },
        }
    }

    /// One that comes with the program.
    pub(super) fn shipped(name: &str, stage: BuiltinDockerfile) -> Self {
        Self {
            name: name.to_owned(),
            target: Some(stage.target),
            remove: &[],
            text: Text::Shipped(stage.text),
        }
    }

    /// What its image is called where people look for it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The digest of what the recipe says.
    pub(super) fn digest(&self) -> Result<Digest, MakeError> {
        let target = self.target.unwrap_or_default();
        match &self.text {
            Text::Project { project, path } => {
                let context = context_tree(project, path)?.digest().to_string();
                let fields = ["dockerfile", &context, file_name(path), target];
                let remove = self.remove.iter().map(String::as_str);
                Ok(Digest::of_fields(&fields.into_iter().chain(remove).collect::<Vec<_>>()))
            }
            Text::Shipped(text) => Ok(Digest::of_fields(&["dockerfile", text, target])),
        }
    }

    /// What an engine may call the image that a lock means.
    pub(super) fn names(&self, locked: &lock::Image) -> Option<String> {
        locked.id.parse().ok().map(|id| image_name(&self.name, id))
    }

    /// Has the engine build it, unless that was done before, and brings what came of it into the one form that it has
    /// everywhere.
    pub(super) async fn make_image(&self, making: &Making<'_>) -> Result<Made, RunError> {
        let digest = self.digest()?;
        let cache = ImageCache::below(&making.context.cache_directory);
        let key = normal_key(digest, architecture(), making.project.source_date_epoch);
        // A run that asks for news does so once for all environments of the recipe.
        let known = cache.find(key, making.update.then_some(making.context.started_at_seconds));
        let (image, was_there) = match known {
            Some(image) => (image, true),
            None => {
                let text = self.text()?;
                let built = self.built(making, digest).await?;
                (self.normal(making, &cache, &built, digest, &text).await?, false)
            }
        };
        making.loaded(&image, was_there).await
    }

    /// Has the engine build it with nothing that its builder remembers; what comes of it goes to `cache`, and nothing stays in
    /// the engine.
    pub(super) async fn remake(&self, making: &Making<'_>, cache: &ImageCache) -> Result<LocalImage, RunError> {
        let digest = self.digest()?;
        let text = self.text()?;
        let tag = format!("{}-again", recipe_tag(digest));
        let built = self.build(making, digest, tag.clone(), true).await?;
        let image = self.normal(making, cache, &built, digest, &text).await;
        making.engine.remove_image(&tag).await?;
        image
    }

    fn text(&self) -> Result<String, MakeError> {
        let (project, path) = match &self.text {
            Text::Project { project, path } => (project, path),
            Text::Shipped(text) => return Ok((*text).to_owned()),
        };
        let location = project.directory.join(path);
        regular_file::read_text(&location, DOCKERFILE_LIMIT_BYTES).map_err(|cause| MakeError::Context {
            dockerfile: (*path).to_owned(),
            cause: SourceError::Io {
                action: "read",
                path: location.clone(),
                cause,
            },
        })
    }

    /// The build context, and the Dockerfile's name in it.
    fn context(&self) -> Result<(ByteStream, &str), RunError> {
        match &self.text {
            Text::Project { project, path } => {
                let (tree, mtime) = (context_tree(project, path)?, project.source_date_epoch);
                let context = stream::written_by(move |writer| tree.write_archive(writer, "", CONTEXT_OWNER, mtime));
                Ok((context, file_name(path)))
            }
            Text::Shipped(text) => Ok((single_file("Dockerfile", text.as_bytes())?, "Dockerfile")),
        }
    }

    /// The image as the builder makes it. Its name in the engine stays, for it keeps the builder's own cache alive.
    async fn built(&self, making: &Making<'_>, digest: Digest) -> Result<ImageFacts, RunError> {
        let tag = recipe_tag(digest);
        // Built before from the same files: that is the same recipe's image.
        if !making.update
            && let Some(facts) = making.engine.image(&tag).await?
            && facts.labels.get(labels::RECIPE) == Some(&digest.to_string())
        {
            return Ok(facts);
        }
        self.build(making, digest, tag, making.update).await
    }

    async fn build(
        &self,
        making: &Making<'_>,
        digest: Digest,
        tag: String,
        is_fresh: bool,
    ) -> Result<ImageFacts, RunError> {
        making.may_ask_a_network("run the commands of a Dockerfile")?;
        let (context, dockerfile) = self.context()?;
        let request = ImageBuild {
            context,
            dockerfile: dockerfile.to_owned(),
            target: self.target.map(ToOwned::to_owned),
            arguments: making.network.proxies.clone(),
            labels: BTreeMap::from([(labels::RECIPE.to_owned(), digest.to_string())]),
            tag: tag.clone(),
            is_fresh,
        };
        let tail = Mutex::new(VecDeque::new());
        let log = |line: &str| {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL_LIMIT_LINES {
                tail.pop_front();
            }
            tail.push_back(line.to_owned());
            making.events.emit(Event::StepOutput {
                step: making.step.clone(),
                line: line.to_owned(),
            })
        };
        let built = making.until_cancelled(making.engine.build_image(request, &log)).await?;
        built.map_err(|cause| MakeError::Build {
            cause,
            tail: std::mem::take(&mut *tail.lock().unwrap_or_else(PoisonError::into_inner)).into(),
        })?;
        making.existing(&tag).await
    }

    async fn normal(
        &self,
        making: &Making<'_>,
        cache: &ImageCache,
        built: &ImageFacts,
        recipe: Digest,
        text: &str,
    ) -> Result<LocalImage, RunError> {
        let base = match base_of(text, self.target) {
            Some(base) => making.engine.image(&base).await?.map(|facts| facts.diff_ids),
            None => None,
        };
        making.progress("leaving out what records the day".to_owned(), None);
        let archive = making.engine.save_image(&built.id.0).await?;
        let epoch_seconds = making.project.source_date_epoch;
        let labels = BTreeMap::from([
            (labels::ROLE.to_owned(), labels::ENVIRONMENT_ROLE.to_owned()),
            (labels::RECIPE.to_owned(), recipe.to_string()),
        ]);
        let (name, remove, cache) = (self.name.clone(), self.remove.to_vec(), cache.clone());
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
        let read = making.until_cancelled(read).await?;
        let read = read.map_err(RunError::file("read an image of the engine"))?;
        Ok(read.map_err(MakeError::from)?)
    }
}

/// What an engine calls the image that it built from a Dockerfile.
fn recipe_tag(digest: Digest) -> String {
    format!("{RAW_REPOSITORY}:{}", digest.short())
}

/// A build context of one file.
fn single_file(name: &str, content: &[u8]) -> Result<ByteStream, RunError> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, name, content)
        .map_err(RunError::file("write a tar"))?;
    Ok(in_memory(archive.into_inner().map_err(RunError::file("write a tar"))?))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The directory of a Dockerfile is its build context.
fn context_tree(project: &Project, dockerfile: &str) -> Result<SourceTree, MakeError> {
    let directory = dockerfile.rsplit_once('/').map_or(".", |(directory, _)| directory);
    SourceTree::scan(&project.directory.join(directory), ".", &[]).map_err(|cause| MakeError::Context {
        dockerfile: dockerfile.to_owned(),
        cause,
    })
}
