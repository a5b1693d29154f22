//! A host that somebody else has built: looked at before anything is made, and put into bundles as it is.

use std::io::{self, Read as _};
use std::path::Path;

use super::RunError;
use super::program::{Unfit, unfit};
use crate::config::{BroughtProgram, BroughtSource, OpenedBy, Project};
use crate::digest::Digest;
use crate::lock;
use crate::place::Place;
use crate::plan::PlannedFile;
use crate::regular_file::{self, Unfit as UnfitFile};
use crate::rootfs::{OverlayRoot, RootFs as _};

/// The largest program that is brought.
const PROGRAM_LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Why a file of the project cannot be its host.
#[derive(Debug, thiserror::Error)]
pub enum BroughtHostError {
    /// It is none that loads plugins.
    #[error("`{path}`, which is to be the host, is {}", unfit.what)]
    Unfit {
        /// `host.file`.
        path: String,
        /// What it is.
        unfit: Unfit,
        /// Where the project names it.
        place: String,
    },
    /// It cannot be read.
    #[error("failed to read `{path}`, which is to be the host: {cause}")]
    Read {
        /// `host.file`.
        path: String,
        /// Why.
        cause: io::Error,
        /// Where the project names it.
        place: String,
    },
}

impl BroughtHostError {
    /// Where the project names the file.
    #[must_use]
    pub fn place(&self) -> &str {
        match self {
            Self::Unfit { place, .. } | Self::Read { place, .. } => place,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unfit { unfit, .. } => unfit.hint(),
            Self::Read { .. } => {
                "it must be a regular file of the project that its user can read, and no link".to_owned()
            }
        }
    }
}

/// The host's file, where the project brings it; none for other hosts.
///
/// # Errors
/// [`BroughtHostError`].
pub(super) fn planned_host(project: &Project) -> Result<Option<PlannedFile>, RunError> {
    match project.host.brought() {
        None => Ok(None),
        Some(program) => match &program.source {
            BroughtSource::File(path) => {
                let file = project.directory.join(path);
                Ok(Some(looked_at(project, program, path, &file)?))
            }
        },
    }
}

fn looked_at(
    project: &Project,
    program: &BroughtProgram,
    path: &str,
    file: &Path,
) -> Result<PlannedFile, BroughtHostError> {
    let failed = |cause| BroughtHostError::Read {
        path: path.to_owned(),
        cause,
        place: program.place.clone(),
    };
    let content = regular_file::open_itself(file).map_err(failed)?;
    let size_bytes = content.metadata().map_err(failed)?.len();
    if size_bytes > PROGRAM_LIMIT_BYTES {
        return Err(failed(UnfitFile::TooLarge(PROGRAM_LIMIT_BYTES).into()));
    }
    if let Some(unfit) = unfit_file(project, file).map_err(failed)? {
        return Err(BroughtHostError::Unfit {
            path: path.to_owned(),
            unfit,
            place: program.place.clone(),
        });
    }
    let digest = Digest::of_reader(content.take(size_bytes)).map_err(failed)?;
    let place = Place::new(program.name.as_str()).map_err(|invalid| failed(io::Error::other(invalid.to_string())))?;
    Ok(PlannedFile {
        path: path.to_owned(),
        place,
        digest,
        size_bytes,
        executable: true,
        install: None,
        fill: false,
    })
}

/// Why a file of this machine can be no host of the project.
fn unfit_file(project: &Project, file: &Path) -> io::Result<Option<Unfit>> {
    let mut root = OverlayRoot::new(None)?;
    let path = root.put(file);
    let found = root.look(&path).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    let mut contracts = project.contracts.iter();
    let opens_plugins = contracts.any(|named| named.contract.opened_by == Some(OpenedBy::Host));
    Ok(unfit(&root, &found, !opens_plugins))
}

/// What the lock says of a host's file.
pub(super) fn locked_host(file: &PlannedFile) -> lock::Host {
    lock::Host {
        path: file.path.clone(),
        digest: file.digest,
        package: None,
    }
}
