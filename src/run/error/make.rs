//! Why there is no image, and what is told of it.

use super::super::engine_failure::from_engine;
use crate::engine::{EngineError, ImageId};
use crate::exit::Exit;
use crate::image::{ImageError, Tried};
use crate::lock::{Package, Role};
use crate::problem::{Problem, one_line};
use crate::report::{Failure, of_machine};
use crate::source::SourceError;

/// What programs say of a full disk (strerror of ENOSPC).
const NO_SPACE: &str = "No space left on device";
/// What to do when packages of a lock are nowhere.
const MISSING_HINT: &str = "name a place that has them (`archives:` in lockstep.yaml), or take what the mirror has now: \
                            lockstep lock --update";
/// What to do when the image of a lock is nowhere.
const NOWHERE_HINT: &str = "bring it from a machine that has it (lockstep image push, or lockstep image save and lockstep image \
                            load), name a place that has its packages (`archives:` in lockstep.yaml), or make another one: \
                            lockstep lock --update";
/// How many packages are named that cannot be had again.
const MISSING_SHOWN_COUNT: usize = 50;

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
    /// The image of a lock, which nobody has and which cannot be made again.
    #[error("the image of the lock, {}, cannot be had", short(id))]
    Nowhere {
        /// Its ID.
        id: String,
        /// Where it was looked for.
        tried: Vec<Tried>,
        /// Why it was not made again.
        cause: Box<MakeError>,
    },
    /// The project's registry has not got an image of the lock.
    #[error("the {role} image of the lock cannot be pulled")]
    NotKept {
        /// What it is.
        role: Role,
        /// Where it was looked for.
        tried: Tried,
    },
    /// It would take a network, which may not be asked.
    #[error("--offline forbids to {action}")]
    Offline {
        /// In the infinitive.
        action: &'static str,
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
    /// Whether it says that this one image cannot be had, rather than that the machine or the engine cannot do anything.
    #[must_use]
    pub fn is_of_the_image(&self) -> bool {
        match self {
            Self::Build { .. } | Self::Pull { .. } | Self::Offline { .. } => true,
            Self::Image(error) => match error {
                ImageError::Bootstrap { .. } => !says_disk_is_full(error),
                ImageError::Missing { .. }
                | ImageError::NoMirror
                | ImageError::NoKeyring { .. }
                | ImageError::NoProgram { .. } => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// The error as the user sees it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Engine(error) => from_engine(error),
            Self::Build { cause, tail } => from_engine(cause).with_notes(tail.iter().cloned()),
            Self::Pull { reference, cause } => {
                let hint = format!(
                    "load it (`docker load`), name one that the registry has, or use a bootstrap recipe, which needs no registry, instead of `{reference}`"
                );
                let failure = Failure::new(Exit::Engine, "image", self.to_string());
                failure.with_notes(cause.hint()).with_hint(hint)
            }
            Self::Context { .. } => Failure::new(Exit::Usage, "image", self.to_string()),
            Self::Image(ImageError::Engine(error)) => from_engine(error),
            Self::Nowhere { tried, cause, .. } => {
                let cause = cause.failure();
                let looked = tried.iter().map(ToString::to_string);
                let again = std::iter::once(format!("made again: {}", cause.message));
                let details = cause.notes.iter().map(|note| format!("  {note}"));
                let failure =
                    Failure::new(Exit::Drift, "image", self.to_string()).with_notes(looked.chain(again).chain(details));
                failure.with_hint(NOWHERE_HINT)
            }
            Self::Offline { .. } => Failure::new(Exit::Drift, "offline", self.to_string())
                .with_hint("bring it from a machine that has it: lockstep image save, lockstep image load"),
            Self::NotKept { tried, .. } => Failure::new(Exit::Drift, "image", self.to_string())
                .with_notes([tried.to_string()])
                .with_hint("push it from a machine that has it, and commit the lock: lockstep image push"),
            Self::Image(ImageError::Missing { missing, tried, .. }) => {
                let failure = Failure::new(Exit::Drift, "image", self.to_string());
                failure
                    .with_notes(missing_notes(missing, tried))
                    .with_hint(MISSING_HINT)
            }
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
                if says_disk_is_full(error) {
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
    notes.extend(tried.iter().map(ToString::to_string));
    notes
}

fn says_disk_is_full(error: &ImageError) -> bool {
    error.log_tail().iter().any(|line| line.contains(NO_SPACE))
}

/// The beginning of an image's ID, for people.
fn short(id: &str) -> String {
    one_line(&ImageId(id.to_owned()).short())
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
