//! What is where the configuration points.

use std::io;
use std::path::{Path, PathBuf};

use crate::nearest::nearest;

/// How many names of a directory are looked at for one that may be meant.
const SIBLINGS_LIMIT: usize = 1000;

/// What a path of the project turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A directory, or a link to one in the project.
    Directory,
    /// A plain file, or a link to one in the project.
    File,
    /// A socket, a device or something else that has no content to build from.
    Other,
    /// Not there.
    Nothing {
        /// A path that is there and may be meant.
        similar: Option<String>,
    },
    /// It leads out of the project by a link.
    Outside {
        /// Where it leads to.
        target: PathBuf,
    },
    /// It cannot be looked at.
    Unknown {
        /// Why.
        cause: String,
    },
}

/// Looks at `path`, relative, below `directory`, which is without links itself.
#[must_use]
pub fn find(directory: &Path, path: &str) -> Found {
    let full = directory.join(path);
    match full.canonicalize() {
        Ok(target) if !target.starts_with(directory) => Found::Outside { target },
        Ok(target) if target.is_dir() => Found::Directory,
        Ok(target) if target.is_file() => Found::File,
        Ok(_) => Found::Other,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Found::Nothing {
                similar: similar(directory, path),
            }
        }
        Err(error) => Found::Unknown {
            cause: error.to_string(),
        },
    }
}

/// The path with its first part that is not there replaced by what may be meant, when that exists.
fn similar(directory: &Path, path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let missing = (1..=parts.len()).find(|count| !directory.join(parts[..*count].join("/")).exists())?;
    let parent = directory.join(parts[..missing - 1].join("/"));
    let names: Vec<String> = parent
        .read_dir()
        .ok()?
        .take(SIBLINGS_LIMIT)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut meant = parts.clone();
    meant[missing - 1] = nearest(parts[missing - 1], sorted)?;
    let meant = meant.join("/");
    directory.join(&meant).exists().then_some(meant)
}
