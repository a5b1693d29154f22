//! One image, from a recipe of any kind: the seam behind which the kinds differ.

use std::cell::Cell;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::background::in_background;
use super::built::DockerfileBuild;
use super::container::in_memory;
use super::images::name_of;
use crate::config::{Project, RecipeReference};
use crate::context::Context;
use crate::digest::{Digest, Hasher};
use crate::engine::{ByteStream, Engine, EngineError, ImageFacts};
use crate::event::{Event, Events, StepId};
use crate::exit::Exit;
use crate::image::{
    Builtin, ImageCache, ImageError, LocalImage, LockedImage, Machine, MakeRequest, Recipe, RecipeFiles, Tried, make,
    make_again, provide,
};
use crate::lock::{self, Package};
use crate::network::NetworkSettings;
use crate::owner::Owner;
use crate::problem::Problem;
use crate::regular_file;
use crate::report::{Failure, of_machine};
use crate::source::{SourceError, SourceTree};
use crate::stream;

/// How large a recipe may be, with all files that it and its bases put into an image.
const RECIPE_FILES_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// What programs say of a full disk (strerror of ENOSPC).
const NO_SPACE: &str = "No space left on device";
/// How many packages are named that cannot be had again.
const MISSING_SHOWN_COUNT: usize = 50;
/// The owner of files in a build context: the engine's builder runs as root.
const CONTEXT_OWNER: Owner = Owner { uid: 0, gid: 0 };

/// The label under which an image that was built from a Dockerfile carries the digest of its recipe.
pub(super) const RECIPE_LABEL: &str = "dev.lockstep.recipe";

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
    /// Whether it was made now.
    pub(super) is_new: bool,
}

/// Why an image was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine's builder.
    #[error("{cause}")]
    Build {
        /// Its error.
        cause: EngineError,
        /// What the build said last.
        tail: Vec<String>,
    },
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
    /// A bootstrap, or what lockstep assembles itself.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Recipe files that cannot be understood.
    #[error("{}", list(problems))]
    Recipe {
        /// Everything that is wrong with them.
        problems: Vec<Problem>,
    },
    /// A saved image without a config.
    #[error("the engine saved {image} without a config")]
    NoConfig {
        /// Which.
        image: String,
    },
    /// The engine said that it made an image, and has none.
    #[error("the engine has no image `{reference}` after making it")]
    Vanished {
        /// Its name or ID.
        reference: String,
    },
    /// The runtime image of an environment whose build image extends it is made in another way.
    #[error("`{runtime}` cannot be extended: it is made from a Dockerfile")]
    NotExtensible {
        /// The runtime's recipe.
        runtime: String,
    },
    /// A build image extends another image than the one that runs.
    #[error("the runtime image has {runtime}, and the build image that extends it has {build}")]
    OtherPackage {
        /// A package and its version.
        runtime: String,
        /// The same package there.
        build: String,
    },
    /// The same, with the same packages.
    #[error("the build image extends another image than the runtime: its lowest layers are not the runtime's")]
    OtherRuntime,
    /// What the engine has under the image's name is something else.
    #[error(
        "the engine's image `{reference}` is not the one that was made: its layers are the same, its config is not"
    )]
    Replaced {
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
            Self::Build { cause, tail } => super::from_engine(cause).with_notes(tail.iter().cloned()),
            Self::Pull { reference, cause } => {
                let hint = format!(
                    "load it (`docker load`), name one that the registry has, or use a bootstrap recipe, which needs no registry, instead of `{reference}`"
                );
                let failure = Failure::new(Exit::Engine, "image", self.to_string());
                failure.with_notes(cause.hint()).with_hint(hint)
            }
            Self::Context { .. } => Failure::new(Exit::Usage, "image", self.to_string()),
            Self::Image(ImageError::Engine(error)) => super::from_engine(error),
            Self::Image(ImageError::Missing { missing, tried, .. }) => Failure::new(
                Exit::Drift,
                "image",
                format!("failed to make an image of the lock again: {self}"),
            )
            .with_notes(missing_notes(missing, tried))
            .with_hint(
                "name a place that has them (`archives:` in lockstep.yaml), or take what the mirror has now: \
                         lockstep lock --update",
            ),
            Self::Image(ImageError::OtherLayer { .. }) => {
                let hint = "what makes it differ may be the recipe's own scripts, or another mmdebstrap; see what does: \
                            lockstep image diff";
                Failure::new(Exit::Drift, "image", self.to_string()).with_hint(hint)
            }
            Self::Image(ImageError::Cache { path, cause, .. }) => of_machine("image", self.to_string(), cause, path),
            Self::NotExtensible { .. } => Failure::new(Exit::Usage, "recipe", self.to_string())
                .with_hint("name the image that compiles by itself, instead of `extends: runtime`"),
            Self::OtherPackage { .. } | Self::OtherRuntime => {
                Failure::new(Exit::Drift, "image", self.to_string()).with_hint("make both anew: lockstep lock --update")
            }
            Self::Image(error) => {
                let exit = match error {
                    ImageError::Bootstrap { .. } => Exit::Build,
                    ImageError::Versions { .. } => Exit::Drift,
                    _ => Exit::Internal,
                };
                let message = self.to_string();
                let (message, hint) = message.split_once("\n  hint: ").unwrap_or((&message, ""));
                let failure = Failure::new(exit, "image", message).with_notes(error.log_tail().iter().cloned());
                let is_full = error.log_tail().iter().any(|line| line.contains(NO_SPACE));
                if is_full {
                    let failure = Failure {
                        exit: Exit::Usage,
                        ..failure
                    };
                    return failure.with_hint(
                        "a disk of this machine is full, or its memory: make room in the user's cache and in /tmp",
                    );
                }
                if hint.is_empty() {
                    failure
                } else {
                    failure.with_hint(hint)
                }
            }
            Self::Recipe { problems } => {
                let first = problems.first().map(|problem| problem.message.clone());
                // The first one's own words are the message, so what is shown of it begins with its place.
                let lines = problems.iter().flat_map(|problem| {
                    let text = problem.to_string();
                    text.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
                });
                Failure::new(Exit::Usage, "recipe", first.unwrap_or_default()).with_notes(lines.skip(1))
            }
            Self::Replaced { reference } => Failure::new(Exit::Engine, "image", self.to_string())
                .with_hint(format!("remove it: docker rmi {reference}")),
            Self::Vanished { .. } | Self::Packages { .. } | Self::NoConfig { .. } => {
                Failure::new(Exit::Engine, "image", self.to_string())
            }
        }
    }
}

/// Every package that is nowhere, up to a limit, and each place that was asked.
fn missing_notes(missing: &[Package], tried: &[Tried]) -> Vec<String> {
    let shown = missing.iter().take(MISSING_SHOWN_COUNT);
    let mut notes: Vec<String> = shown
        .map(|package| format!("{} {} {}", package.name, package.version, package.architecture))
        .collect();
    if missing.len() > MISSING_SHOWN_COUNT {
        notes.push(format!("and {} more", missing.len() - MISSING_SHOWN_COUNT));
    }
    notes.push("the engine: does not have the image".to_owned());
    notes.extend(tried.iter().map(ToString::to_string));
    notes
}

/// The digest of what a recipe says: of its files, or of a registry's reference.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn recipe_digest(project: &Project, recipe: &RecipeReference) -> Result<Digest, RunError> {
    match recipe {
        RecipeReference::Image { reference } => Ok(digest_of(&["image", reference])),
        RecipeReference::Dockerfile { path, target, remove } => {
            let context = context_tree(project, path)?.digest().to_string();
            let target = target.as_deref().unwrap_or_default();
            let fields = ["dockerfile", &context, file_name(path), target];
            let remove = remove.iter().map(String::as_str);
            Ok(digest_of(&fields.into_iter().chain(remove).collect::<Vec<_>>()))
        }
        RecipeReference::File { path } => Ok(read_recipe(&ProjectFiles::of(project), path)?.digest()),
        RecipeReference::Extended { runtime, packages } => Ok(extended(project, runtime, packages)?.digest()),
        RecipeReference::Builtin { name } => match Builtin::dockerfile(name) {
            Some(stage) => Ok(digest_of(&["dockerfile", stage.text, stage.target])),
            None => Ok(read_recipe(&Builtin, &format!("{name}.yaml"))?.digest()),
        },
    }
}

/// The recipe, when it is one from which lockstep assembles the image itself.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn bootstrap_recipe(project: &Project, recipe: &RecipeReference) -> Result<Option<Recipe>, MakeError> {
    match recipe {
        RecipeReference::Image { .. } | RecipeReference::Dockerfile { .. } => Ok(None),
        RecipeReference::File { path } => read_recipe(&ProjectFiles::of(project), path).map(Some),
        RecipeReference::Builtin { name } if Builtin::dockerfile(name).is_some() => Ok(None),
        RecipeReference::Builtin { name } => read_recipe(&Builtin, &format!("{name}.yaml")).map(Some),
        RecipeReference::Extended { runtime, packages } => extended(project, runtime, packages).map(Some),
    }
}

/// A runtime's recipe with more packages.
fn extended(project: &Project, runtime: &RecipeReference, packages: &[String]) -> Result<Recipe, MakeError> {
    match bootstrap_recipe(project, runtime)? {
        Some(runtime) => Ok(Recipe::extending(runtime, packages.to_vec())),
        None => Err(MakeError::NotExtensible {
            runtime: name_of(runtime),
        }),
    }
}

/// What of a runtime image is not in a build image that extends it: then what is compiled in the one may not run in the
/// other. That the recipes are right does not say that both images were made from the same packages.
pub(super) fn check_extension(build: &lock::Image, runtime: &lock::Image) -> Result<(), MakeError> {
    let Some(missing) = runtime
        .packages
        .iter()
        .find(|package| !build.packages.contains(package))
    else {
        return match build.layers.starts_with(&runtime.layers) {
            true => Ok(()),
            false => Err(MakeError::OtherRuntime),
        };
    };
    let is_same =
        |package: &&lock::Package| (&package.name, &package.architecture) == (&missing.name, &missing.architecture);
    let found = build.packages.iter().find(is_same);
    Err(MakeError::OtherPackage {
        runtime: format!("{} {}", missing.name, missing.version),
        build: found.map_or("none of it".to_owned(), |package| {
            format!("{} {}", package.name, package.version)
        }),
    })
}

/// The files of a project, as recipes name them.
struct ProjectFiles<'a> {
    directory: &'a Path,
    /// How much may still be read for one recipe, with its bases.
    left_bytes: Cell<u64>,
}

impl<'a> ProjectFiles<'a> {
    fn of(project: &'a Project) -> Self {
        Self {
            directory: &project.directory,
            left_bytes: Cell::new(RECIPE_FILES_LIMIT_BYTES),
        }
    }
}

impl RecipeFiles for ProjectFiles<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = regular_file::read(&self.directory.join(path), self.left_bytes.get());
        let bytes = bytes.map_err(|error| error.to_string())?;
        self.left_bytes.set(self.left_bytes.get() - bytes.len() as u64);
        Ok(bytes)
    }
}

fn read_recipe(files: &dyn RecipeFiles, path: &str) -> Result<Recipe, MakeError> {
    Recipe::read(files, path).map_err(|problems| MakeError::Recipe { problems })
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn digest_of(fields: &[&str]) -> Digest {
    let mut hasher = Hasher::new();
    fields.iter().for_each(|field| hasher.field(field.as_bytes()));
    hasher.finish()
}

/// The image with the digest that the lock has, in the repository that the recipe names: what is asked for, and where,
/// is never for the lock to say. None for a lock that has no digest, and for a recipe that has one itself.
pub(super) fn pinned(reference: &str, locked: &str) -> Option<String> {
    let (_, digest) = locked.rsplit_once('@')?;
    digest.parse::<Digest>().ok()?;
    if reference.contains('@') {
        return None;
    }
    // A colon before the last slash is a port.
    let start = reference.rfind('/').map_or(0, |slash| slash + 1);
    let end = reference[start..]
        .find(':')
        .map_or(reference.len(), |colon| start + colon);
    Some(format!("{}@{digest}", &reference[..end]))
}

/// What an engine calls the image that it built from a Dockerfile.
pub(super) fn recipe_tag(digest: Digest) -> String {
    format!("lockstep/recipe:{}", digest.short())
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

/// A Dockerfile's text, to see what it stands on.
fn dockerfile_text(project: &Project, path: &str) -> Result<String, MakeError> {
    let location = project.directory.join(path);
    regular_file::read_text(&location, RECIPE_FILES_LIMIT_BYTES).map_err(|cause| MakeError::Context {
        dockerfile: path.to_owned(),
        cause: SourceError::Io {
            action: "read",
            path: location.clone(),
            cause,
        },
    })
}

impl Making<'_> {
    /// Makes the image, or finds it.
    pub(super) async fn make(&self, recipe: &RecipeReference) -> Result<Made, RunError> {
        match recipe {
            RecipeReference::Image { reference } => Ok(self.find_or_pull(reference).await?),
            RecipeReference::Dockerfile { path, target, remove } => {
                let text = dockerfile_text(self.project, path)?;
                let (tree, mtime) = (context_tree(self.project, path)?, self.project.source_date_epoch);
                let context = stream::written_by(move |writer| tree.write_archive(writer, "", CONTEXT_OWNER, mtime));
                self.build(DockerfileBuild {
                    recipe,
                    text: &text,
                    file_name: file_name(path),
                    target: target.as_deref(),
                    remove,
                    context,
                })
                .await
            }
            RecipeReference::File { path } => {
                self.bootstrap(read_recipe(&ProjectFiles::of(self.project), path)?)
                    .await
            }
            RecipeReference::Extended { runtime, packages } => {
                self.bootstrap(extended(self.project, runtime, packages)?).await
            }
            RecipeReference::Builtin { name } => match Builtin::dockerfile(name) {
                Some(stage) => {
                    let context = single_file("Dockerfile", stage.text.as_bytes())?;
                    self.build(DockerfileBuild {
                        recipe,
                        text: stage.text,
                        file_name: "Dockerfile",
                        target: Some(stage.target),
                        remove: &[],
                        context,
                    })
                    .await
                }
                None => self.bootstrap(read_recipe(&Builtin, &format!("{name}.yaml"))?).await,
            },
        }
    }

    /// The image that a lock names, which the engine has not: out of the user's cache, or made again.
    pub(super) async fn make_locked(&self, recipe: &RecipeReference, locked: &lock::Image) -> Result<Made, RunError> {
        let cache = ImageCache::below(&self.context.cache_directory);
        if let Some(image) = locked.id.parse().ok().and_then(|id| cache.find_id(id)) {
            return self.loaded(&image, true).await;
        }
        let Some(recipe) = bootstrap_recipe(self.project, recipe)? else {
            return self.make(recipe).await;
        };
        let (locked, archives) = (locked.clone(), self.project.archives.clone());
        let image = self.bootstrapped(recipe, move |request| {
            make_again(
                request,
                &LockedImage {
                    layers: &locked.layers,
                    packages: &locked.packages,
                    archives: &archives,
                },
            )
        });
        let image = image.await?;
        self.loaded(&image, false).await
    }

    /// Makes an image from a distribution's packages, or takes the one that was made before, and brings it to the engine.
    async fn bootstrap(&self, recipe: Recipe) -> Result<Made, RunError> {
        let (image, was_made) = self.bootstrapped(recipe, make).await?;
        self.loaded(&image, was_made).await
    }

    async fn bootstrapped<T: Send + 'static>(
        &self,
        recipe: Recipe,
        make: impl FnOnce(&MakeRequest<'_>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, RunError> {
        let machine = Machine::from_context(self.context);
        let cache = ImageCache::below(&self.context.cache_directory);
        let epoch_seconds = self.project.source_date_epoch;
        let refresh_before_seconds = self.update.then_some(self.context.started_at_seconds);
        in_background(self.step, self.events, self.cancellation, move |background| {
            make(&MakeRequest {
                recipe: &recipe,
                machine: &machine,
                cache: &cache,
                epoch_seconds,
                refresh_before_seconds,
                cancel: background.cancel,
                progress: background.progress,
            })
        })
        .await
    }

    /// Brings an image of the cache to the engine; `was_made` says whether it was in the cache before.
    pub(super) async fn loaded(&self, image: &LocalImage, was_made: bool) -> Result<Made, RunError> {
        let message = "loading into the engine".to_owned();
        self.events.emit(Event::StepProgress {
            step: self.step.clone(),
            message,
            fraction: None,
        });
        let (facts, was_loaded) = self
            .until_cancelled(provide(self.engine, image))
            .await?
            .map_err(MakeError::from)?;
        Ok(Made {
            facts,
            is_new: !(was_made && was_loaded),
        })
    }

    async fn find_or_pull(&self, reference: &str) -> Result<Made, RunError> {
        // The lock may know it by digest, when the tag has moved on since.
        let locked = self.expected.and_then(|expected| expected.registry.as_deref());
        let pinned = locked.and_then(|locked| pinned(reference, locked));
        let present = self.engine.image(reference).await?;
        let wanted = |facts: &ImageFacts| self.expected.is_none_or(|expected| expected.layers == facts.diff_ids);
        let is_usable = |facts: &ImageFacts| wanted(facts) && (!self.update || facts.repository_digests.is_empty());
        let (facts, is_new) = match present {
            Some(facts) if is_usable(&facts) => (facts, false),
            other => match (self.pull(pinned.as_deref().unwrap_or(reference)).await, other) {
                (Ok(facts), _) => (facts, true),
                // Another image has the name, and the locked one is nowhere: that it differs is what the user should
                // read, not that there is no registry.
                (Err(RunError::Image(MakeError::Pull { .. })), Some(other)) if !self.update => (other, false),
                (Err(error), _) => return Err(error),
            },
        };
        Ok(Made { facts, is_new })
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

    pub(super) async fn existing(&self, reference: &str) -> Result<ImageFacts, RunError> {
        let vanished = || MakeError::Vanished {
            reference: reference.to_owned(),
        };
        Ok(self.engine.image(reference).await?.ok_or_else(vanished)?)
    }

    /// What `work` gives, unless the run is cancelled first.
    pub(super) async fn until_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, RunError> {
        tokio::select! {
            value = work => Ok(value),
            () = self.cancellation.cancelled() => Err(RunError::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_image_has_what_its_runtime_has() {
        let image = |packages: &[&str], layers: &[&[u8]]| lock::Image {
            recipe: Digest::of(b"recipe"),
            id: String::new(),
            layers: layers.iter().map(|layer| Digest::of(layer)).collect(),
            registry: None,
            packages: packages.iter().map(|package| package.parse().unwrap()).collect(),
        };
        let runtime = image(&["nginx 1.26-1 amd64 -"], &[b"1"]);
        for (packages, layers, expected) in [
            (
                &["nginx 1.26-1 amd64 -", "nginx-dev 1.26-1 all -"][..],
                &[&b"1"[..], b"2"][..],
                "",
            ),
            (
                &["nginx 1.27-1 amd64 -"],
                &[b"1", b"2"],
                "the runtime image has nginx 1.26-1, and the build image that extends it has nginx 1.27-1",
            ),
            (
                &["gcc 14 amd64 -"],
                &[b"1"],
                "the runtime image has nginx 1.26-1, and the build image that extends it has none of it",
            ),
            (
                &["nginx 1.26-1 amd64 -"],
                &[b"2"],
                "the build image extends another image than the runtime: its lowest layers are not the runtime's",
            ),
        ] {
            let checked = check_extension(&image(packages, layers), &runtime);
            assert_eq!(
                checked.err().map(|error| error.to_string()).unwrap_or_default(),
                expected
            );
        }
    }

    #[test]
    fn the_lock_says_which_image_and_never_where_it_is() {
        let digest = Digest::of(b"image");
        let locked = format!("elsewhere:5000/other@{digest}");
        for (reference, expected) in [
            ("alpine:3.22", Some("alpine@")),
            ("alpine", Some("alpine@")),
            ("host:5000/a/b", Some("host:5000/a/b@")),
            ("host:5000/a/b:1", Some("host:5000/a/b@")),
            ("alpine@sha256:00", None),
        ] {
            let expected = expected.map(|name| format!("{name}{digest}"));
            assert_eq!(pinned(reference, &locked), expected, "{reference}");
        }
        for locked in ["", "alpine", "alpine@", "alpine@latest"] {
            assert_eq!(pinned("alpine", locked), None, "{locked}");
        }
    }
}
