//! Which files belong to a unit: its source and inputs, less what the ignore rules exclude.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;

use super::rules::RuleBudget;
use super::{EXCLUDED_FROM_PROJECT, EXCLUDED_NAMES, IGNORE_FILE, PATH_LIMIT_BYTES, SOURCE_FILES_LIMIT, SourceError};
use crate::regular_file;

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
    let refused = Refused::default();
    let budget = Arc::new(RuleBudget::default());
    check_rules(project, project, &budget)?;
    for entry in builder(project, &roots, &refused, budget).build() {
        if let Some(error) = refused.take() {
            return Err(error);
        }
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
    if let Some(error) = refused.take() {
        return Err(error);
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
fn builder(project: &Path, roots: &[Root], refused: &Refused, budget: Arc<RuleBudget>) -> WalkBuilder {
    let wanted: Vec<PathBuf> = roots.iter().map(|root| project.join(&root.path)).collect();
    let (top, refused) = (project.to_owned(), refused.clone());
    let mut builder = WalkBuilder::new(project);
    builder
        .standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .follow_links(false)
        .filter_entry(move |entry| {
            let path = entry.path();
            let is_entered = !is_excluded(&top, path)
                && wanted
                    .iter()
                    .any(|root| path.starts_with(root) || root.starts_with(path));
            let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
            is_entered && (!is_directory || refused.none(check_directory(&top, path, &budget)))
        });
    builder
}

/// The first reason not to enter a directory: a filter of a walk can only say no.
#[derive(Clone, Default)]
struct Refused(Arc<Mutex<Option<SourceError>>>);

impl Refused {
    /// Whether there was no reason; keeps it if there was.
    fn none(&self, checked: Result<(), SourceError>) -> bool {
        let Err(error) = checked else { return true };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        false
    }

    fn take(&self) -> Option<SourceError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What must be so before a directory is entered, which reads its rules.
fn check_directory(project: &Path, directory: &Path, budget: &RuleBudget) -> Result<(), SourceError> {
    let relative = directory.strip_prefix(project).unwrap_or(directory);
    if relative.as_os_str().len() > PATH_LIMIT_BYTES {
        return Err(SourceError::PathTooLong {
            path: relative.to_string_lossy().into_owned(),
            limit: PATH_LIMIT_BYTES,
        });
    }
    check_rules(project, directory, budget)
}

/// The walk itself reads rules to their end, whatever they are.
fn check_rules(project: &Path, directory: &Path, budget: &RuleBudget) -> Result<(), SourceError> {
    let checked = budget.check(directory, &[".gitignore", IGNORE_FILE]);
    checked.map_err(|(path, cause)| SourceError::IgnoreFile {
        path: path
            .strip_prefix(project)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned(),
        cause,
    })
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
    match regular_file::kind_of(kind) {
        None => Ok(Found::File),
        Some(_) if kind.is_symlink() => Ok(Found::Link),
        Some(other) => Err(SourceError::Kind {
            path: path.to_owned(),
            kind: other,
        }),
    }
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
