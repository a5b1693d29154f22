//! Which files belong to a unit: its source and inputs, less what the ignore rules exclude.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use ignore::WalkBuilder;

use super::{EXCLUDED_FROM_PROJECT, EXCLUDED_NAMES, IGNORE_FILE, PATH_LIMIT_BYTES, SOURCE_FILES_LIMIT, SourceError};

/// What a walk finds; the rest follows from reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    File,
    Link,
}

/// The files and links of `source` and `inputs`, relative to `project`, sorted by the bytes of their paths.
///
/// Rules come from the .gitignore and .lockstepignore files of the project alone: those of its parents, of the user and
/// of the clone (`.git/info/exclude`) would make the result depend on the machine.
pub(super) fn walk(project: &Path, source: &str, inputs: &[String]) -> Result<Vec<(String, Found)>, SourceError> {
    let source_root = Root::new(project, source)?;
    if !project.join(&source_root.path).is_dir() {
        return Err(SourceError::NotADirectory {
            path: source.to_owned(),
        });
    }
    let mut roots = vec![source_root];
    for input in inputs {
        roots.push(Root::new(project, input)?);
    }

    let mut found = Vec::new();
    for entry in builder(project, &roots).build() {
        let entry = entry.map_err(|error| failed_walk(project, &error))?;
        let relative = relative_name(project, entry.path())?;
        if let Some(error) = entry.error() {
            return Err(SourceError::IgnoreRule {
                path: relative,
                cause: error.to_string(),
            });
        }
        let Some(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            continue;
        }
        for root in &mut roots {
            root.yields_something |= Path::new(&relative).starts_with(&root.path);
        }
        if found.len() == SOURCE_FILES_LIMIT {
            return Err(SourceError::TooMany {
                path: source.to_owned(),
                limit: SOURCE_FILES_LIMIT,
            });
        }
        found.push((relative.clone(), kind_of(kind, &relative)?));
    }
    if let Some(root) = roots.iter().find(|root| !root.yields_something) {
        return Err(SourceError::Excluded {
            path: root.given.clone(),
        });
    }
    found.sort_unstable_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
    Ok(found)
}

/// A file or directory that the project's file names.
struct Root {
    given: String,
    path: PathBuf,
    yields_something: bool,
}

impl Root {
    fn new(project: &Path, given: &str) -> Result<Self, SourceError> {
        let outside = || SourceError::Outside { path: given.to_owned() };
        let mut path = PathBuf::new();
        for component in Path::new(given).components() {
            match component {
                Component::CurDir => continue,
                Component::Normal(name) => path.push(name),
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
            }
            match fs::symlink_metadata(project.join(&path)) {
                Ok(metadata) if metadata.is_symlink() => {
                    let link = path.to_string_lossy().into_owned();
                    return Err(SourceError::ThroughLink {
                        path: given.to_owned(),
                        link,
                    });
                }
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                    ) =>
                {
                    return Err(SourceError::Missing {
                        path: given.to_owned(),
                        project: project.to_owned(),
                    });
                }
                Err(cause) => {
                    return Err(SourceError::Io {
                        action: "look at",
                        path: project.join(&path),
                        cause,
                    });
                }
            }
        }
        if given.is_empty() {
            Err(outside())
        } else {
            Ok(Self {
                given: given.to_owned(),
                path,
                yields_something: false,
            })
        }
    }
}

/// Walks the whole project, so that the rules of every directory above a root apply, but enters only what leads to one.
fn builder(project: &Path, roots: &[Root]) -> WalkBuilder {
    let wanted: Vec<PathBuf> = roots.iter().map(|root| project.join(&root.path)).collect();
    let top = project.to_owned();
    let mut builder = WalkBuilder::new(project);
    builder
        .standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .follow_links(false)
        .filter_entry(move |entry| {
            let path = entry.path();
            !is_excluded(&top, path)
                && wanted
                    .iter()
                    .any(|root| path.starts_with(root) || root.starts_with(path))
        });
    builder
}

fn is_excluded(project: &Path, path: &Path) -> bool {
    let Some(name) = path.file_name().filter(|_| path != project) else {
        return false;
    };
    let among = |names: &[&str]| names.iter().any(|excluded| OsStr::new(excluded) == name);
    among(EXCLUDED_NAMES) || (path.parent() == Some(project) && among(EXCLUDED_FROM_PROJECT))
}

fn relative_name(project: &Path, path: &Path) -> Result<String, SourceError> {
    let relative = path.strip_prefix(project).unwrap_or(path);
    let name = relative.to_str().ok_or_else(|| SourceError::Name {
        path: relative.to_string_lossy().into_owned(),
    })?;
    if relative.as_os_str().as_bytes().len() > PATH_LIMIT_BYTES {
        return Err(SourceError::PathTooLong {
            path: name.to_owned(),
            limit: PATH_LIMIT_BYTES,
        });
    }
    Ok(name.to_owned())
}

fn kind_of(kind: FileType, path: &str) -> Result<Found, SourceError> {
    let other = if kind.is_file() {
        return Ok(Found::File);
    } else if kind.is_symlink() {
        return Ok(Found::Link);
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    };
    Err(SourceError::Kind {
        path: path.to_owned(),
        kind: other,
    })
}

fn failed_walk(project: &Path, error: &ignore::Error) -> SourceError {
    let cause = error.io_error().map_or_else(
        || std::io::Error::other(error.to_string()),
        |io| std::io::Error::new(io.kind(), error.to_string()),
    );
    SourceError::Io {
        action: "walk through",
        path: project.to_owned(),
        cause,
    }
}
