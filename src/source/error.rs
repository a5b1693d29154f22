//! Why a unit's sources cannot be uploaded.

use std::io;
use std::path::PathBuf;

/// What is wrong with a source tree.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A path given in the project's file does not exist.
    #[error("`{path}` does not exist in {}", project.display())]
    Missing {
        /// The path as given.
        path: String,
        /// The project's directory.
        project: PathBuf,
    },
    /// A path given in the project's file is absolute, empty or leads out of the project.
    #[error("`{path}` leads out of the project")]
    Outside {
        /// The path as given.
        path: String,
    },
    /// A unit's source is no directory.
    #[error("`{path}` is not a directory")]
    NotADirectory {
        /// The path as given.
        path: String,
    },
    /// A path given in the project's file leads through a symbolic link.
    #[error("`{path}` leads through the symbolic link `{link}`")]
    ThroughLink {
        /// The path as given.
        path: String,
        /// The part of it that is a link.
        link: String,
    },
    /// A path given in the project's file is among what is never uploaded.
    #[error("`{path}` would not be uploaded: a rule excludes it, or it holds no file")]
    Excluded {
        /// The path as given.
        path: String,
    },
    /// A file of ignore rules has a line that is no rule.
    #[error("failed to read the ignore rules that apply to `{path}`: {cause}")]
    IgnoreRule {
        /// The directory they are in, relative to the project.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// A file of ignore rules cannot be read.
    #[error("failed to read the ignore rules in `{path}`: {cause}")]
    IgnoreFile {
        /// The file, relative to the project.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// A name that is not UTF-8.
    #[error("the name of `{path}` is not UTF-8")]
    Name {
        /// The path, with replacement characters.
        path: String,
    },
    /// A path too long for a tar and for most file systems.
    #[error("`{path}` is longer than {limit} bytes")]
    PathTooLong {
        /// The path, relative to the project.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// A socket, a device or a named pipe.
    #[error("`{path}` is a {kind}, and only files, directories and symbolic links can be uploaded")]
    Kind {
        /// The path, relative to the project.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// A symbolic link that means something else inside a container.
    #[error("the symbolic link `{path}` points to `{target}`, {why}")]
    Link {
        /// The link, relative to the project.
        path: String,
        /// Where it points.
        target: String,
        /// What is wrong with that.
        why: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Too many files.
    #[error("there are more than {limit} files below `{path}`")]
    TooMany {
        /// The unit's source.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// Too many bytes.
    #[error("the files below `{path}` are larger than {limit_bytes} bytes together; the largest is `{largest}`")]
    TooLarge {
        /// The unit's source.
        path: String,
        /// The largest file, relative to the project.
        largest: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A file is not what it was when it was hashed.
    #[error("`{path}` changed while the build was reading it")]
    Changed {
        /// The path, relative to the project.
        path: String,
    },
    /// The operating system refused.
    #[error("failed to {action} {}: {cause}", path.display())]
    Io {
        /// In the infinitive.
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
}

impl SourceError {
    /// What to do about it, where lockstep knows.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Outside { .. } => "`source` and `inputs` are paths inside the project's directory",
            Self::NotADirectory { .. } => "a unit's `source` is the directory that it is compiled in",
            Self::ThroughLink { .. } => "name the directory that it points to",
            Self::Excluded { path } => {
                return Some(format!(
                    "put `!{path}` into .lockstepignore if a .gitignore excludes it; lockstep's own files always stay"
                ));
            }
            Self::IgnoreFile { .. } => "make it a small text file, or remove it",
            Self::Name { .. } | Self::PathTooLong { .. } => "rename it, or exclude it in .lockstepignore",
            Self::Kind { .. } => "exclude it in .lockstepignore",
            Self::Link { hint, .. } => hint,
            Self::TooMany { .. } | Self::TooLarge { .. } => "exclude what is not source in .lockstepignore",
            Self::Changed { .. } => {
                "what a program writes while a build reads is no source: put it outside of the project or into \
                 .lockstepignore, as the log of this very run; else build again when nothing writes there"
            }
            Self::Missing { .. } | Self::IgnoreRule { .. } | Self::Io { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
