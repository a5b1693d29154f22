//! A host that somebody else has built: looked at before anything is made, and put into bundles as it is.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::{BroughtHostError, PresentHostError, Whence};
use super::present::ProgramInImage;
use super::program::{Unfit, unfit};
use super::recipe::recipe_digest;
use super::resolved::{BroughtHost, Origin, ResolvedImage, Wanted};
use super::truth::KnownImage;
use super::{Run, RunError};
use crate::config::{BroughtProgram, BroughtSource, OpenedBy, Project, RecipeReference};
use crate::digest::Digest;
use crate::lock::{self, Role};
use crate::name::EnvironmentName;
use crate::place::Place;
use crate::plan::PlannedFile;
use crate::regular_file::{self, Unfit as UnfitFile};
use crate::rootfs::{OverlayRoot, RootFs as _};

/// The largest program that is brought.
const PROGRAM_LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// The host that the project has the file of; none for other hosts.
///
/// # Errors
/// [`BroughtHostError`].
pub(super) fn host_of_project(project: &Project) -> Result<Option<BroughtHost>, RunError> {
    let Some(program) = project.host.brought() else {
        return Ok(None);
    };
    let BroughtSource::File(path) = &program.source else {
        return Ok(None);
    };
    let content = project.directory.join(path);
    let file = looked_at(project, program, path, &content)?;
    let locked = lock::Host {
        path: file.path.clone(),
        digest: file.digest,
        package: None,
        image: None,
    };
    Ok(Some(BroughtHost { file, content, locked }))
}

/// What `host_of_project` finds, as planning needs it.
///
/// # Errors
/// [`BroughtHostError`].
pub(super) fn planned_host(project: &Project) -> Result<Option<PlannedFile>, RunError> {
    Ok(host_of_project(project)?.map(|host| host.file))
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
    planned(program, path.to_owned(), digest, size_bytes)
}

/// The program as it lies in a bundle.
fn planned(
    program: &BroughtProgram,
    path: String,
    digest: Digest,
    size_bytes: u64,
) -> Result<PlannedFile, BroughtHostError> {
    let place = Place::new(program.name.as_str()).map_err(|invalid| BroughtHostError::Read {
        path: path.clone(),
        cause: io::Error::other(invalid.to_string()),
        place: program.place.clone(),
    })?;
    Ok(PlannedFile {
        path,
        place,
        digest,
        size_bytes,
        executable: true,
        install: None,
        fill: false,
    })
}

/// Whether the host may be one that opens nothing itself.
fn may_be_static(project: &Project) -> bool {
    let mut contracts = project.contracts.iter();
    !contracts.any(|named| named.contract.opened_by == Some(OpenedBy::Host))
}

/// Why a file of this machine can be no host of the project.
fn unfit_file(project: &Project, file: &Path) -> io::Result<Option<Unfit>> {
    let mut root = OverlayRoot::new(None)?;
    let path = root.put(file);
    let found = root.look(&path).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(unfit(&root, &found, may_be_static(project)))
}

/// A host that is taken from an image of its own.
#[derive(Clone, Copy)]
struct OfImage<'a> {
    program: &'a BroughtProgram,
    reference: &'a str,
    path: &'a str,
}

impl<'a> OfImage<'a> {
    fn of(project: &'a Project) -> Option<Self> {
        let program = project.host.brought()?;
        match &program.source {
            BroughtSource::File(_) => None,
            BroughtSource::Image { reference, path } => Some(Self {
                program,
                reference,
                path,
            }),
        }
    }

    fn recipe(self) -> RecipeReference {
        RecipeReference::Image {
            reference: self.reference.to_owned(),
        }
    }

    /// What a lock says of this host, if it means this one.
    fn locked_by(self, project: &Project, entry: &'a lock::Environment) -> Result<Option<Locked<'a>>, RunError> {
        let recipe = recipe_digest(project, &self.recipe())?;
        let locked = entry.host.as_ref().filter(|host| host.path == self.path);
        let locked = locked.and_then(|host| {
            Some(Locked {
                host,
                image: host.image.as_ref()?,
            })
        });
        Ok(locked.filter(|locked| locked.image.recipe == recipe))
    }

    /// It as it lies in the bundle, with its content from a file.
    fn as_in_bundle(self, content: PathBuf, locked: lock::Host) -> Result<BroughtHost, RunError> {
        let size_bytes = content
            .metadata()
            .map_err(RunError::file_at("look at", &content))?
            .len();
        let path = format!("{}:{}", self.reference, self.path);
        let file = planned(self.program, path, locked.digest, size_bytes)?;
        Ok(BroughtHost { file, content, locked })
    }
}

/// A locked host with its image.
#[derive(Clone, Copy)]
struct Locked<'a> {
    host: &'a lock::Host,
    image: &'a lock::Image,
}

/// What a lock's entry would say of a host that is taken from an image, as far as the project's files alone tell; none for other
/// hosts.
pub(super) fn host_by_name(project: &Project, entry: &lock::Environment) -> Result<Option<lock::Host>, RunError> {
    let Some(of_image) = OfImage::of(project) else {
        return Ok(None);
    };
    let nothing = || lock::Image {
        recipe: Digest::of(b""),
        id: of_image.reference.to_owned(),
        layers: vec![],
        registry: None,
        packages: vec![],
    };
    let locked = entry.host.clone();
    let image = locked.as_ref().and_then(|host| host.image.clone());
    Ok(Some(lock::Host {
        path: of_image.path.to_owned(),
        digest: locked.as_ref().map_or(Digest::of(b""), |host| host.digest),
        package: locked.and_then(|host| host.package),
        image: Some(lock::Image {
            recipe: recipe_digest(project, &of_image.recipe())?,
            ..image.unwrap_or_else(nothing)
        }),
    }))
}

impl Run {
    /// The host that is brought, as an environment has it: the project's file, or a program of an image; none for other hosts.
    pub(super) async fn brought_host(
        &self,
        environment: &EnvironmentName,
        entry: Option<&lock::Environment>,
        update: bool,
    ) -> Result<Option<BroughtHost>, RunError> {
        let Some(of_image) = OfImage::of(&self.project) else {
            return host_of_project(&self.project);
        };
        let locked = match entry.filter(|_| !update) {
            Some(entry) => of_image.locked_by(&self.project, entry)?,
            None => None,
        };
        if let Some(Locked { host, .. }) = locked
            && let Some(kept) = self.store.kept_host(host.digest)
        {
            // It is known by what it is: nobody needs to be asked for its image.
            return Ok(Some(of_image.as_in_bundle(kept, host.clone())?));
        }
        let expected = locked.map(|locked| locked.image);
        let recipe = of_image.recipe();
        let wanted = Wanted {
            role: Role::Host,
            recipe: &recipe,
            expected,
            pushed: entry.and_then(|entry| entry.pushed.get(&Role::Host).copied()),
        };
        let image = self.resolve_image(environment, wanted, update).await?;
        let whence = Whence::Image(of_image.reference.to_owned());
        let program = ProgramInImage {
            image: &image,
            whence: &whence,
            path: of_image.path,
            may_be_static: may_be_static(&self.project),
        };
        let mut host = self.host_in_image(environment, program).await?;
        host.image = Some(image.locked.clone());
        if let Some(kept) = self.store.kept_host(host.digest) {
            return Ok(Some(of_image.as_in_bundle(kept, host)?));
        }
        let failed = |cause| RunError::file_at("keep the host in", self.store.root())(cause);
        let file = self.store.new_host().map_err(failed)?;
        let target = file.as_file().try_clone().map_err(failed)?;
        let digest = self.copy_from_image(environment, &program, target).await?;
        if digest != host.digest {
            return Err(PresentHostError::Read {
                whence,
                path: of_image.path.to_owned(),
                cause: io::Error::other("it is not what it was a moment ago"),
            }
            .into());
        }
        let kept = self.store.keep_host(digest, file).map_err(failed)?;
        Ok(Some(of_image.as_in_bundle(kept, host)?))
    }

    /// What is true of a host that is taken from an image, by the image that the engine has; none when it has not.
    pub(super) async fn true_host_of_image(
        &self,
        environment: &EnvironmentName,
        entry: &lock::Environment,
    ) -> Result<Option<lock::Host>, RunError> {
        let Some(of_image) = OfImage::of(&self.project) else {
            return Ok(None);
        };
        let Some(locked) = of_image.locked_by(&self.project, entry)? else {
            // Another program is meant than the lock has.
            return host_by_name(&self.project, entry);
        };
        let Some(KnownImage { facts, truth }) =
            self.locked_image(environment, &of_image.recipe(), locked.image).await?
        else {
            return Ok(None);
        };
        let image = ResolvedImage {
            id: facts.id,
            locked: truth.clone(),
            origin: Origin::Lock,
        };
        let program = ProgramInImage {
            image: &image,
            whence: &Whence::Image(of_image.reference.to_owned()),
            path: of_image.path,
            may_be_static: may_be_static(&self.project),
        };
        let mut host = self.host_in_image(environment, program).await?;
        host.image = Some(truth);
        Ok(Some(host))
    }
}
