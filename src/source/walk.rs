//! Which files belong to which unit: its source and inputs, less what the ignore rules exclude. One walk over the project
//! finds those of all units, so that no directory is opened once for each of them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::FileType;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;

use super::roots::{Roots, UnitPaths};
use super::rules::{RuleBudget, count_rules};
use super::scan_error::ScanError;
use super::{EXCLUDED_FROM_PROJECT, EXCLUDED_NAMES, IGNORE_FILE, PATH_LIMIT_BYTES, SOURCE_FILES_LIMIT, SourceError};
use crate::regular_file;

/// What a walk finds; the rest follows from reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    File,
    Link,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The files and links of all units, relative to the project, each once, sorted by the bytes of their paths.
    pub(super) found: Vec<(String, Found)>,
    /// Which of them are each unit's, in the same order.
    pub(super) of_units: Vec<Vec<usize>>,
    /// How many directories were opened for that.
    #[cfg_attr(not(test), expect(dead_code, reason = "what it takes is held by tests"))]
    pub(super) opened_directories: usize,
}

/// The files and links of all `units`.
///
/// Rules come from the .gitignore and .lockstepignore files of the project alone: those of its parents, of the user and
/// of the clone (`.git/info/exclude`) would make the result depend on the machine.
pub(super) fn walk(project: &Path, units: &[UnitPaths<'_>]) -> Result<Walked, ScanError> {
    let roots = Arc::new(Roots::new(project, units)?);
    let look = Look {
        project: project.to_owned(),
        roots: Arc::clone(&roots),
        budgets: Arc::new(units.iter().map(|_| RuleBudget::default()).collect()),
        refused: Arc::default(),
        opened_directories: Arc::default(),
    };
    look.check_rules(project)?;
    let mut found: Vec<(String, Found, Vec<usize>)> = Vec::new();
    let mut counts = vec![0_usize; units.len()];
    let mut yielding = BTreeSet::new();
    for entry in look.builder().build() {
        if let Some(error) = look.take_refused() {
            return Err(error);
        }
        let entry = entry.map_err(|error| {
            let path = path_of(&error).unwrap_or(project);
            roots.failed(relative_to(project, path), failed_walk(project, &error))
        })?;
        let relative_path = relative_to(project, entry.path());
        let failed = |cause| roots.failed(relative_path, cause);
        let relative = relative_name(relative_path).map_err(failed)?;
        if let Some(error) = entry.error() {
            return Err(failed(SourceError::IgnoreRule {
                path: relative,
                cause: error.to_string(),
            }));
        }
        let Some(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            continue;
        }
        let mut owners: BTreeSet<usize> = BTreeSet::new();
        for (root, named_by) in roots.above(relative_path) {
            yielding.insert(root);
            owners.extend(named_by);
        }
        for unit in &owners {
            let (count, paths) = (&mut counts[*unit], &units[*unit]);
            if *count == SOURCE_FILES_LIMIT {
                let cause = SourceError::TooMany {
                    path: paths.first().to_owned(),
                    limit: SOURCE_FILES_LIMIT,
                };
                return Err(ScanError { unit: *unit, cause });
            }
            *count += 1;
        }
        let kind = kind_of(kind, &relative).map_err(failed)?;
        found.push((relative, kind, owners.into_iter().collect()));
    }
    if let Some(error) = look.take_refused() {
        return Err(error);
    }
    roots.check_yield(&yielding)?;
    found.sort_unstable_by(|(left, ..), (right, ..)| left.as_bytes().cmp(right.as_bytes()));
    let mut walked = Walked {
        of_units: counts.into_iter().map(Vec::with_capacity).collect(),
        opened_directories: look.opened_directories.load(Ordering::Relaxed),
        ..Walked::default()
    };
    for (path, kind, owners) in found {
        for unit in owners {
            walked.of_units[unit].push(walked.found.len());
        }
        walked.found.push((path, kind));
    }
    Ok(walked)
}

/// What decides which directories a walk enters.
#[derive(Clone)]
struct Look {
    project: PathBuf,
    roots: Arc<Roots>,
    /// What each unit's rules may still be: one with many must not keep another one from its own.
    budgets: Arc<Vec<RuleBudget>>,
    /// The first reason not to enter a directory: a filter of a walk can only say no.
    refused: Arc<Mutex<Option<ScanError>>>,
    opened_directories: Arc<AtomicUsize>,
}

impl Look {
    /// Walks the whole project, so that the rules of every directory above a root apply, but enters only what leads to
    /// one.
    fn builder(&self) -> WalkBuilder {
        let look = self.clone();
        let mut builder = WalkBuilder::new(&self.project);
        builder
            .standard_filters(false)
            .git_ignore(true)
            .require_git(false)
            .add_custom_ignore_filename(IGNORE_FILE)
            .follow_links(false)
            .filter_entry(move |entry| {
                let path = entry.path();
                let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
                // The walk opens a directory before it asks whether to go on there.
                look.opened_directories
                    .fetch_add(usize::from(is_directory), Ordering::Relaxed);
                let is_entered =
                    !is_excluded(&look.project, path) && look.roots.touch(relative_to(&look.project, path));
                is_entered && (!is_directory || look.may_enter(path))
            });
        builder
    }

    /// Whether there is no reason not to enter a directory; keeps it if there is.
    fn may_enter(&self, directory: &Path) -> bool {
        let Err(error) = self.check_directory(directory) else {
            return true;
        };
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        false
    }

    fn take_refused(&self) -> Option<ScanError> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What must be so before a directory is entered, which reads its rules.
    fn check_directory(&self, directory: &Path) -> Result<(), ScanError> {
        let relative = relative_to(&self.project, directory);
        if relative.as_os_str().len() > PATH_LIMIT_BYTES {
            let cause = SourceError::PathTooLong {
                path: relative.to_string_lossy().into_owned(),
                limit: PATH_LIMIT_BYTES,
            };
            return Err(self.roots.failed(relative, cause));
        }
        self.check_rules(directory)
    }

    /// The walk itself reads rules to their end, whatever they are.
    fn check_rules(&self, directory: &Path) -> Result<(), ScanError> {
        let relative = relative_to(&self.project, directory);
        for name in [".gitignore", IGNORE_FILE] {
            let failed = |cause| SourceError::IgnoreFile {
                path: relative.join(name).to_string_lossy().into_owned(),
                cause,
            };
            let rules =
                count_rules(&directory.join(name)).map_err(|cause| self.roots.failed(relative, failed(cause)))?;
            let units = if rules > 0 {
                self.roots.units_at(relative)
            } else {
                BTreeSet::new()
            };
            for unit in units {
                let taken = self.budgets[unit].take(rules);
                taken.map_err(|cause| ScanError {
                    unit,
                    cause: failed(cause),
                })?;
            }
        }
        Ok(())
    }
}

fn relative_to<'path>(project: &Path, path: &'path Path) -> &'path Path {
    path.strip_prefix(project).unwrap_or(path)
}

/// The path that an error of a walk is about.
fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}

fn is_excluded(project: &Path, path: &Path) -> bool {
    let Some(name) = path.file_name().filter(|_| path != project) else {
        return false;
    };
    let among = |names: &[&str]| names.iter().any(|excluded| OsStr::new(excluded) == name);
    among(EXCLUDED_NAMES) || (path.parent() == Some(project) && among(EXCLUDED_FROM_PROJECT))
}

fn relative_name(relative: &Path) -> Result<String, SourceError> {
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
