//! Why an image could not be made.

use std::io;
use std::path::PathBuf;

use super::child::ChildError;
use super::tried::Tried;
use crate::counted::counted;
use crate::digest::Digest;
use crate::engine::EngineError;
use crate::lock::Package;

/// Why a layer could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// What it is made of cannot be read.
    #[error("failed to read a root filesystem: {0}")]
    Read(#[source] io::Error),
    /// It cannot be written.
    #[error("failed to write a layer: {0}")]
    Write(#[source] io::Error),
    /// An entry leads out of the root.
    #[error("an entry of a root filesystem leads outside: `{path}`")]
    Outside {
        /// Its path.
        path: String,
    },
    /// There are more entries than an image can sensibly have.
    #[error("a root filesystem has more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: u64,
    },
    /// A file is larger than a plain tar can say.
    #[error("a root filesystem has a file of more than {limit} bytes")]
    FileTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The entries are not sorted.
    #[error("a root filesystem is not sorted: `{path}` comes too late")]
    Order {
        /// The first that is out of order.
        path: String,
    },
    /// A file has a second name, and its first one is left out.
    #[error("`{path}` is another name of `{target}`, which is left out of the image: leave out both")]
    LinkTarget {
        /// The second name.
        path: String,
        /// The first one.
        target: String,
    },
    /// A pattern cannot be used.
    #[error("failed to understand the pattern `{pattern}`: {cause}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        cause: String,
    },
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The machine's apt knows no archive of the distribution.
    #[error(
        "this machine's apt configuration names no Debian archive\n  hint: set LOCKSTEP_DEBIAN_MIRROR to the address of one"
    )]
    NoMirror,
    /// The distribution's keys are not there.
    #[error("{} is missing\n  hint: install the package debian-archive-keyring", path.display())]
    NoKeyring {
        /// Where they should be.
        path: PathBuf,
    },
    /// A program that is needed is not there.
    #[error("{program} is not installed\n  hint: install the package {package}, or run `make setup`")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// The bootstrap failed.
    #[error("failed to bootstrap {recipe}: {cause}\n  hint: the whole log is {}", log.display())]
    Bootstrap {
        /// The recipe.
        recipe: String,
        /// Why.
        cause: ChildError,
        /// Where it says more.
        log: PathBuf,
    },
    /// Packages of a lock that cannot be had again.
    #[error("{} of the lock {} nowhere", of_all(missing.len(), *total), if *total == 1 { "is" } else { "are" })]
    Missing {
        /// Which, in order of their names.
        missing: Vec<Package>,
        /// How many were looked for.
        total: usize,
        /// Where.
        tried: Vec<Tried>,
    },
    /// The same packages gave something else.
    #[error("{recipe}, made again from the packages of the lock, is another one: layer {found} instead of {expected}")]
    OtherLayer {
        /// The recipe.
        recipe: String,
        /// The layer that the lock has.
        expected: Digest,
        /// The one that came out.
        found: Digest,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// What the bootstrap made cannot become a layer.
    #[error("failed to assemble {recipe}: {cause}")]
    Layer {
        /// The recipe.
        recipe: String,
        /// Why.
        cause: LayerError,
    },
    /// The cache cannot be used.
    #[error("failed to {action} {}: {cause}", path.display())]
    Cache {
        /// In the infinitive.
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
    /// What was added does not go with what the image began with.
    #[error(
        "failed to extend the runtime image: {added} does not go with {base}, which runs: both are of the source {from}\n  hint: \
         the mirror has moved on since the runtime image was made; `lockstep lock --update` makes both anew"
    )]
    Versions {
        /// What was added: name and version.
        added: String,
        /// What is there of the same source, or was.
        base: String,
        /// The source package.
        from: String,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine took an image and now has another.
    #[error("the engine has no {tag} with the layers that were just loaded")]
    NotLoaded {
        /// Its name.
        tag: String,
    },
    /// A config that should be changed is none.
    #[error("failed to understand an image's config: {cause}")]
    Config {
        /// Why.
        cause: String,
    },
}

/// `2 of 31 packages`.
fn of_all(count: usize, total: usize) -> String {
    format!("{count} of {}", counted(total, "package"))
}

impl ImageError {
    /// Whether the run was cancelled, rather than that something failed.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Cancelled
                | Self::Bootstrap {
                    cause: ChildError::Cancelled,
                    ..
                }
        )
    }

    /// The last lines of the bootstrap's log, when it was the bootstrap that failed.
    #[must_use]
    pub fn log_tail(&self) -> &[String] {
        match self {
            Self::Bootstrap {
                cause: ChildError::Failed { tail, .. },
                ..
            } => tail,
            _ => &[],
        }
    }
}
