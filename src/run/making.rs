//! One image, from a recipe of any kind: the seam behind which the kinds differ.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::{NetworkSettings, RunError};
use crate::config::{Project, RecipeReference};
use crate::context::Context;
use crate::digest::{Digest, Hasher};
use crate::engine::{
    ContainerId, ContainerSpec, Engine, EngineError, ImageBuild, ImageFacts, Labels, Network, ResourceLimits,
};
use crate::event::{Event, Events, StepId};
use crate::exit::Exit;
use crate::image::packages::{parse_apk_installed, parse_dpkg_status};
use crate::lock::{self, Package};
use crate::report::Failure;
use crate::source::{Owner, SourceError, SourceTree};
use crate::stream;

/// Where distributions keep the list of what is installed, and what reads it.
const PACKAGE_LISTS: &[(&str, fn(&str) -> Vec<Package>)] = &[
    ("/var/lib/dpkg/status", parse_dpkg_status),
    ("/lib/apk/db/installed", parse_apk_installed),
];
/// The largest such list that is read.
const PACKAGE_LIST_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// The owner of files in a build context: the engine's builder runs as root.
const CONTEXT_OWNER: Owner = Owner { uid: 0, gid: 0 };

/// What is needed to make an image.
pub(super) struct Making<'a> {
    pub(super) project: &'a Project,
    pub(super) context: &'a Context,
    pub(super) engine: &'a dyn Engine,
    pub(super) events: &'a dyn Events,
    pub(super) step: &'a StepId,
    pub(super) cancellation: &'a CancellationToken,
    pub(super) network: &'a NetworkSettings,
    /// What the lock has of it.
    pub(super) expected: Option<&'a lock::Image>,
    /// Whether the world is asked again, whatever is there.
    pub(super) update: bool,
}

/// An image that the engine has now.
pub(super) struct Made {
    pub(super) facts: ImageFacts,
    pub(super) recipe: Digest,
    pub(super) packages: Vec<Package>,
    /// The name under which a registry has exactly this image.
    pub(super) registry: Option<String>,
    /// Whether it was made now.
    pub(super) is_new: bool,
}

/// Why an image was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image is not there and cannot be pulled.
    #[error("the engine has no image `{reference}`, and it cannot be pulled: {cause}")]
    Pull {
        /// As the project's file has it.
        reference: String,
        /// Why.
        cause: EngineError,
    },
    /// The files beside a Dockerfile.
    #[error("failed to read the build context of {dockerfile}: {cause}")]
    Context {
        /// The Dockerfile.
        dockerfile: String,
        /// Why.
        cause: SourceError,
    },
    /// The engine said that it made an image, and has none.
    #[error("the engine has no image `{reference}` after making it")]
    Vanished {
        /// Its name or ID.
        reference: String,
    },
    /// The list of packages in the image.
    #[error("failed to read {path} of the image: {cause}")]
    Packages {
        /// The list.
        path: &'static str,
        /// Why.
        cause: std::io::Error,
    },
}

impl MakeError {
    /// The error as the user sees it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Engine(error) => super::from_engine(error),
            Self::Pull { reference, cause } => {
                let hint = format!(
                    "load it (`docker load`), name one that the registry has, or use a bootstrap recipe, which needs no registry, instead of `{reference}`"
                );
                let failure = Failure::new(Exit::Engine, "image", self.to_string());
                failure.with_notes(cause.hint()).with_hint(hint)
            }
            Self::Context { .. } => Failure::new(Exit::Usage, "image", self.to_string()),
            Self::Vanished { .. } | Self::Packages { .. } => Failure::new(Exit::Engine, "image", self.to_string()),
        }
    }
}

/// The digest of what a recipe says: of its files, or of a registry's reference.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn recipe_digest(project: &Project, recipe: &RecipeReference) -> Result<Digest, RunError> {
    match recipe {
        RecipeReference::Image { reference } => Ok(digest_of(&["image", reference])),
        RecipeReference::Dockerfile { path, target } => {
            let context = context_tree(project, path)?.digest().to_string();
            Ok(digest_of(&[
                "dockerfile",
                &context,
                file_name(path),
                target.as_deref().unwrap_or_default(),
            ]))
        }
        RecipeReference::File { .. } | RecipeReference::Builtin { .. } => todo!(),
    }
}

fn digest_of(fields: &[&str]) -> Digest {
    let mut hasher = Hasher::new();
    fields.iter().for_each(|field| hasher.field(field.as_bytes()));
    hasher.finish()
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

impl Making<'_> {
    /// Makes the image, or finds it.
    pub(super) async fn make(&self, recipe: &RecipeReference, labels: &Labels) -> Result<Made, RunError> {
        match recipe {
            RecipeReference::Image { reference } => Ok(self.find_or_pull(recipe, reference, labels).await?),
            RecipeReference::Dockerfile { path, target } => self.build(recipe, path, target.as_deref(), labels).await,
            RecipeReference::File { .. } | RecipeReference::Builtin { .. } => todo!(),
        }
    }

    async fn find_or_pull(&self, recipe: &RecipeReference, reference: &str, labels: &Labels) -> Result<Made, RunError> {
        // The lock may name it by digest, when the tag has moved on since.
        let pinned = self.expected.and_then(|expected| expected.registry.as_deref());
        let present = self.engine.image(reference).await?;
        let wanted = |facts: &ImageFacts| self.expected.is_none_or(|expected| expected.layers == facts.diff_ids);
        let present = present.filter(|facts| wanted(facts) && !(self.update && !facts.repository_digests.is_empty()));
        let (facts, is_new) = match present {
            Some(facts) => (facts, false),
            None => (self.pull(pinned.unwrap_or(reference)).await?, true),
        };
        let packages = self.packages(&facts, labels).await?;
        let registry = facts.repository_digests.first().cloned();
        Ok(Made {
            recipe: recipe_digest(self.project, recipe)?,
            packages,
            registry,
            is_new,
            facts,
        })
    }

    async fn pull(&self, reference: &str) -> Result<ImageFacts, RunError> {
        let progress = |progress: crate::engine::PullProgress| {
            self.events.emit(Event::StepProgress {
                step: self.step.clone(),
                message: progress.status,
                fraction: progress.bytes,
            });
        };
        let pulled = self
            .until_cancelled(self.engine.pull_image(reference, &progress))
            .await?;
        pulled.map_err(|cause| MakeError::Pull {
            reference: reference.to_owned(),
            cause,
        })?;
        self.existing(reference).await
    }

    async fn build(
        &self,
        recipe: &RecipeReference,
        path: &str,
        target: Option<&str>,
        labels: &Labels,
    ) -> Result<Made, RunError> {
        let tree = context_tree(self.project, path)?;
        let digest = recipe_digest(self.project, recipe)?;
        let tag = format!("lockstep/recipe:{}", digest.short());
        // Built before from the same files: that is the same recipe's image.
        if !self.update
            && let Some(facts) = self.engine.image(&tag).await?
        {
            let packages = self.packages(&facts, labels).await?;
            return Ok(Made {
                facts,
                recipe: digest,
                packages,
                registry: None,
                is_new: false,
            });
        }
        let build = ImageBuild {
            context: stream::written_by({
                let (tree, mtime) = (tree, self.project.source_date_epoch);
                move |writer| tree.write_archive(writer, "", CONTEXT_OWNER, mtime)
            }),
            dockerfile: file_name(path).to_owned(),
            target: target.map(ToOwned::to_owned),
            arguments: self.network.proxies.clone(),
            labels: BTreeMap::from([("dev.lockstep.recipe".to_owned(), digest.to_string())]),
            tag: tag.clone(),
        };
        let log = |line: &str| {
            self.events.emit(Event::StepOutput {
                step: self.step.clone(),
                line: line.to_owned(),
            })
        };
        self.until_cancelled(self.engine.build_image(build, &log))
            .await?
            .map_err(MakeError::from)?;
        let facts = self.existing(&tag).await?;
        let packages = self.packages(&facts, labels).await?;
        Ok(Made {
            facts,
            recipe: digest,
            packages,
            registry: None,
            is_new: true,
        })
    }

    async fn existing(&self, reference: &str) -> Result<ImageFacts, RunError> {
        let vanished = || MakeError::Vanished {
            reference: reference.to_owned(),
        };
        Ok(self.engine.image(reference).await?.ok_or_else(vanished)?)
    }

    /// What is installed in an image, from its own list; none for images without one.
    async fn packages(&self, image: &ImageFacts, labels: &Labels) -> Result<Vec<Package>, RunError> {
        let spec = ContainerSpec {
            name: format!("lockstep-packages-{}-{}", image.id.short(), self.context.run_id),
            image: image.id.clone(),
            // Never started.
            command: vec!["true".to_owned()],
            environment: BTreeMap::new(),
            working_directory: "/".to_owned(),
            user: "0:0".to_owned(),
            labels: labels.clone(),
            network: Network::None,
            mounts: vec![],
            limits: ResourceLimits {
                memory_bytes: 64 * 1024 * 1024,
                nano_cpus: 1_000_000_000,
                processes: 16,
            },
            read_only_root: true,
            init: false,
            capabilities: vec![],
        };
        let container = self.engine.create_container(&spec).await?;
        let packages = self.read_packages(&container).await;
        self.engine.remove_container(&container).await?;
        Ok(packages?)
    }

    async fn read_packages(&self, container: &ContainerId) -> Result<Vec<Package>, MakeError> {
        for (path, parse) in PACKAGE_LISTS {
            let archive = match self.engine.download(container, path).await {
                Ok(archive) => archive,
                Err(EngineError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let text = stream::read_by(archive, |reader| {
                use std::io::Read as _;
                let mut archive = tar::Archive::new(reader);
                let mut text = String::new();
                if let Some(entry) = archive.entries()?.next() {
                    entry?.take(PACKAGE_LIST_LIMIT_BYTES).read_to_string(&mut text)?;
                }
                Ok(text)
            });
            let failed = |cause| MakeError::Packages { path, cause };
            return Ok(parse(&text.await.map_err(failed)?.map_err(failed)?));
        }
        Ok(vec![])
    }

    /// What `work` gives, unless the run is cancelled first.
    async fn until_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, RunError> {
        tokio::select! {
            value = work => Ok(value),
            () = self.cancellation.cancelled() => Err(RunError::Interrupted),
        }
    }
}
