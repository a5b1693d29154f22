//! What is shipped of a project's own files, beside what its units yield: `files:`.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::ShipError;
use super::placed::plugins_directory;
use super::{Run, RunError};
use crate::config::{Host, PLUGINS_PLACEHOLDER, Project, Unit};
use crate::digest::Digest;
use crate::name::UnitName;
use crate::place::{Place, in_the_way};
use crate::plan::PlannedFile;
use crate::regular_file;
use crate::source::{Entry, SourceError, SourceTree};

/// The largest file in which something is filled in.
const FILLED_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// What a unit ships, by its `files:` and what was found below them.
pub(super) fn planned_files(project: &Project, unit: &Unit, tree: &SourceTree) -> Result<Vec<PlannedFile>, ShipError> {
    let mut planned = Vec::new();
    for shipped in &unit.files {
        let below = format!("{}/", shipped.path);
        let found = tree.entries().filter_map(|(path, entry)| {
            let rest = if path == shipped.path {
                ""
            } else {
                path.strip_prefix(&below)?
            };
            Some((path, rest, entry))
        });
        for (path, rest, entry) in found {
            let (unit_name, path) = (unit.name.clone(), path.to_owned());
            let Entry::File {
                digest,
                size_bytes,
                executable,
            } = entry
            else {
                return Err(ShipError::Link { unit: unit_name, path });
            };
            let place = match rest {
                "" => Ok(shipped.place.clone()),
                rest => Place::new(rest).and_then(|rest| rest.below(&shipped.place)),
            };
            let place = match place {
                Ok(place) => place,
                Err(cause) => {
                    return Err(ShipError::Place {
                        unit: unit_name,
                        path,
                        cause,
                    });
                }
            };
            let (digest, size_bytes) = if shipped.fill {
                let content = filled(&project.directory.join(&path), plugins_directory(project));
                let content = content.map_err(|cause| ShipError::Fill {
                    unit: unit_name,
                    path: path.clone(),
                    cause,
                })?;
                (Digest::of(content.as_bytes()), content.len() as u64)
            } else {
                (*digest, *size_bytes)
            };
            planned.push(PlannedFile {
                path,
                place,
                digest,
                size_bytes,
                executable: *executable,
                install: shipped.install.as_ref().map(|install| match rest.rsplit_once('/') {
                    Some((below, _)) => format!("{install}/{below}"),
                    None => install.clone(),
                }),
                fill: shipped.fill,
            });
        }
    }
    Ok(planned)
}

/// An error if something would lie where something else does, or below it.
pub(super) fn check_places<'a>(
    host: &'a Host,
    units: impl Iterator<Item = (&'a Unit, &'a [PlannedFile])> + Clone,
) -> Result<(), ShipError> {
    let mut taken: BTreeMap<String, &UnitName> = BTreeMap::new();
    taken.extend(host.place().map(|place| (place.to_owned(), host.name())));
    for (unit, _) in units.clone() {
        taken.extend(unit.places().map(|(_, place)| (place.to_owned(), &unit.name)));
    }
    for (unit, files) in units {
        for file in files {
            if let Some((place, other)) = in_the_way(&taken, file.place.as_str()) {
                return Err(ShipError::Taken {
                    unit: unit.name.clone(),
                    path: file.path.clone(),
                    place: place.to_owned(),
                    other: (*other).clone(),
                });
            }
            taken.insert(file.place.to_string(), &unit.name);
        }
    }
    Ok(())
}

/// A file's text, with the plugins' directory filled in.
fn filled(path: &Path, plugins_directory: &str) -> std::io::Result<String> {
    let text = regular_file::read_text(path, FILLED_LIMIT_BYTES)?;
    Ok(text.replace(PLUGINS_PLACEHOLDER, plugins_directory))
}

impl Run {
    /// Copies what a unit ships into a bundle in the making, whose directories are there.
    pub(super) fn copy_shipped(&self, unit: &UnitName, files: &[PlannedFile], bundle: &Path) -> Result<(), RunError> {
        files
            .iter()
            .try_for_each(|file| self.copy_file(unit, file, &self.project.directory.join(&file.path), bundle))
    }

    /// Copies one file from where it is.
    pub(super) fn copy_file(
        &self,
        unit: &UnitName,
        file: &PlannedFile,
        from: &Path,
        bundle: &Path,
    ) -> Result<(), RunError> {
        let to = bundle.join(file.place.as_str());
        let failed = |cause| RunError::file_at("copy a file to", &to)(cause);
        let mut target = File::create_new(&to).map_err(failed)?;
        if file.fill {
            let text = filled(from, plugins_directory(&self.project)).map_err(RunError::file_at("read", from))?;
            target.write_all(text.as_bytes()).map_err(failed)?;
        } else {
            let source = regular_file::open_itself(from).map_err(RunError::file_at("read", from))?;
            // One byte more than was found, so that a file that grows is not taken for whole.
            std::io::copy(&mut source.take(file.size_bytes.saturating_add(1)), &mut target).map_err(failed)?;
        }
        let mode = if file.executable { 0o755 } else { 0o644 };
        target.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        let copied = regular_file::open_itself(&to)
            .and_then(Digest::of_reader)
            .map_err(failed)?;
        if copied != file.digest {
            return Err(RunError::Source {
                unit: unit.clone(),
                cause: SourceError::Changed {
                    path: file.path.clone(),
                },
            });
        }
        Ok(())
    }
}
