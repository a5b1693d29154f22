//! What units are made of, as the project's file names it: where a walk must go, and whose what it finds is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

use super::SourceError;
use super::scan_error::ScanError;

/// A unit's source (a directory) and inputs (files or directories), relative to the project's directory; or what it ships.
#[derive(Debug, Clone, Copy)]
pub struct UnitPaths<'a> {
    /// The directory that it is compiled in; none where only files are wanted.
    pub source: Option<&'a str>,
    /// What else it reads.
    pub inputs: &'a [String],
}

impl<'a> UnitPaths<'a> {
    /// The first path of them.
    pub(super) fn first(&self) -> &'a str {
        self.source
            .or(self.inputs.first().map(String::as_str))
            .unwrap_or_default()
    }
}

/// The paths that units name. Paths are compared by their parts, so that all below one stand together.
#[derive(Debug)]
pub(super) struct Roots {
    /// Which units name a path.
    units: BTreeMap<PathBuf, BTreeSet<usize>>,
    /// What each unit names, in order, as it was given and as a path.
    given: Vec<Vec<(String, PathBuf)>>,
}

impl Roots {
    /// # Errors
    /// The first path that cannot be a unit's.
    pub(super) fn new(project: &Path, wanted: &[UnitPaths<'_>]) -> Result<Self, ScanError> {
        let mut units: BTreeMap<PathBuf, BTreeSet<usize>> = BTreeMap::new();
        let mut given = Vec::new();
        for (unit, paths) in wanted.iter().enumerate() {
            let failed = |cause| ScanError { unit, cause };
            let mut own = vec![];
            if let Some(source) = paths.source {
                let path = root_path(project, source).map_err(failed)?;
                if !project.join(&path).is_dir() {
                    let path = source.to_owned();
                    return Err(failed(SourceError::NotADirectory { path }));
                }
                own.push((source.to_owned(), path));
            }
            for input in paths.inputs {
                own.push((input.clone(), root_path(project, input).map_err(failed)?));
            }
            for (_, path) in &own {
                units.entry(path.clone()).or_default().insert(unit);
            }
            given.push(own);
        }
        Ok(Self { units, given })
    }

    /// Whether a path leads to what a unit names, or is below it.
    pub(super) fn touch(&self, path: &Path) -> bool {
        self.above(path).next().is_some() || self.below(path).next().is_some()
    }

    /// What units name that is the path, or has it below; and which units.
    pub(super) fn above<'roots>(
        &'roots self,
        path: &Path,
    ) -> impl Iterator<Item = (&'roots Path, &'roots BTreeSet<usize>)> {
        path.ancestors()
            .filter_map(|path| self.units.get_key_value(path))
            .map(|(path, units)| (path.as_path(), units))
    }

    /// Which units name something below the path, or the path.
    fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a BTreeSet<usize>> {
        self.units
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded))
            .take_while(move |(root, _)| root.starts_with(path))
            .map(|(_, units)| units)
    }

    /// The units whose files may be at the path or below it, or are found on a way that goes through it.
    pub(super) fn units_at(&self, path: &Path) -> BTreeSet<usize> {
        let above = self.above(path).map(|(_, units)| units);
        above.chain(self.below(path)).flatten().copied().collect()
    }

    /// An error about a path, as the first unit's that has to do with it.
    pub(super) fn failed(&self, path: &Path, cause: SourceError) -> ScanError {
        let unit = path.ancestors().find_map(|path| self.units_at(path).first().copied());
        ScanError {
            unit: unit.unwrap_or_default(),
            cause,
        }
    }

    /// An error unless each path is among those below which something was found.
    pub(super) fn check_yield(&self, yielding: &BTreeSet<&Path>) -> Result<(), ScanError> {
        for (unit, paths) in self.given.iter().enumerate() {
            if let Some((given, _)) = paths.iter().find(|(_, path)| !yielding.contains(path.as_path())) {
                let cause = SourceError::Excluded { path: given.clone() };
                return Err(ScanError { unit, cause });
            }
        }
        Ok(())
    }
}

/// The path of what the project's file names, from the project's directory.
fn root_path(project: &Path, given: &str) -> Result<PathBuf, SourceError> {
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
    if given.is_empty() { Err(outside()) } else { Ok(path) }
}
