//! What a project knows of files that lie in one of its bundles, or could be its host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::{BUNDLE_DIRECTORY, MANIFEST_FILE};
use crate::cli::World;
use crate::cli::stop::Stop;
use crate::config::{CheckContract, Program, Project};
use crate::lock::{lock_path, read as read_lock};
use crate::name::EnvironmentName;
use crate::rootfs::RootFs;
use crate::run::{PlacedFile, RunError, cached_root, check_bundle, smoked_contract};

/// What a project knows of a host that lies in one of its bundles.
pub(super) struct Home {
    project: Project,
    /// The bundles that are there.
    bundles: Vec<PathBuf>,
    /// The runtime image of the host's environment, if it is at hand without the engine.
    pub(super) root: Option<Arc<dyn RootFs>>,
}

impl Home {
    /// The project's answer; none if the host lies in no bundle of a project that is found from here.
    pub(super) fn of(host: &Path, world: &World) -> Result<Option<Self>, Stop> {
        let above = world.file.parent().unwrap_or(&world.file).join(BUNDLE_DIRECTORY);
        let Some(directory) = directory_of(host, world) else {
            return Ok(None);
        };
        let is_below = above.canonicalize().is_ok_and(|above| directory.starts_with(above));
        if !is_below || !world.file.is_file() {
            return Ok(None);
        }
        let project = world.project()?;
        let there = |name: &EnvironmentName| {
            let bundle = bundle(world, name).canonicalize().ok()?;
            bundle.join(MANIFEST_FILE).symlink_metadata().is_ok().then_some(bundle)
        };
        let is_home = |name: &&EnvironmentName| there(name).is_some_and(|bundle| directory.starts_with(bundle));
        let Some(environment) = project.environments.keys().find(is_home) else {
            return Ok(None);
        };
        let lock = read_lock(&lock_path(&project.file)).map_err(RunError::from)?;
        let locked = lock.as_ref().and_then(|lock| lock.environments.get(environment));
        let root = match locked.map(|locked| &locked.runtime) {
            Some(image) => cached_root(&world.context.cache_directory, &image.id, &image.layers)
                .map_err(|error| Stop::from(error.failure()))?,
            None => None,
        };
        let bundles = project.environments.keys().filter_map(there).collect();
        Ok(Some(Self { project, bundles, root }))
    }

    /// What the host expects of a file: by its place, if it lies in a bundle.
    pub(super) fn contract_of(&self, plugin: &Path, world: &World) -> CheckContract {
        let unit = self.place_of(plugin, world).and_then(|(_, place)| {
            let mut plugins = self.project.plugins.iter();
            plugins.find(|unit| unit.places().any(|(_, other)| other == place))
        });
        let contract = match unit {
            Some(unit) => Some(self.project.contracts.of(unit)),
            None => self.project.contracts.named(None),
        };
        contract.map_or_else(|| any_contract(&self.project), smoked_contract)
    }

    /// The bundle in which a file lies, and where.
    fn place_of(&self, file: &Path, world: &World) -> Option<(&Path, String)> {
        let directory = directory_of(file, world)?;
        let bundle = self.bundles.iter().find(|bundle| directory.starts_with(bundle))?;
        let file = directory.join(file.file_name()?);
        let place = file.strip_prefix(bundle).ok()?.to_str()?.to_owned();
        Some((bundle, place))
    }

    /// An error unless the bundle that a file lies in is what its manifest says; well for a file that lies in none.
    pub(super) fn check_bundle_of(&self, file: &Path, world: &World) -> Result<(), Stop> {
        let Some((directory, _)) = self.place_of(file, world) else {
            return Ok(());
        };
        let project = world.file.parent().and_then(|above| above.canonicalize().ok());
        let shown = project.and_then(|project| Some(directory.strip_prefix(project).ok()?.display().to_string()));
        check_bundle(directory, &shown.unwrap_or_else(|| directory.display().to_string()))?;
        Ok(())
    }

    /// A file of a bundle, and what the unit yielded beside it whose first artifact it is; nothing for one that lies in none.
    pub(super) fn shipped_with(&self, file: &Path, world: &World) -> Vec<PlacedFile> {
        let Some((bundle, place)) = self.place_of(file, world) else {
            return vec![];
        };
        let mut units = self.project.units();
        let unit = units.find(|unit| unit.main_place() == place);
        let others = unit.into_iter().flat_map(|unit| unit.places().skip(1));
        let others: Vec<String> = others.map(|(_, other)| other.to_owned()).collect();
        let placed = |place: String| PlacedFile {
            path: bundle.join(&place),
            place,
        };
        let others = others.into_iter().map(placed).filter(|other| other.path.is_file());
        std::iter::once(placed(place)).chain(others).collect()
    }
}

/// The contract of the project that is found from here, for its host where it lies in no bundle: a file in the project's
/// directory that is called like the host's artifact.
pub(super) fn contract_of_its_host(host: &Path, world: &World) -> Result<Option<CheckContract>, Stop> {
    let above = world.file.parent().and_then(|above| above.canonicalize().ok());
    let directory = directory_of(host, world);
    let is_inside = directory
        .zip(above)
        .is_some_and(|(directory, above)| directory.starts_with(above));
    if !is_inside || !world.file.is_file() {
        return Ok(None);
    }
    let project = world.project()?;
    let name = host.file_name().unwrap_or_default();
    let is_host = match &project.host.program {
        Program::Compiled(unit) => unit.artifacts.first().is_some_and(|first| first.as_str() == name),
        Program::Brought(program) => program.file_name() == name,
        Program::Runtime(_) => false,
    };
    Ok(is_host.then(|| match project.contracts.named(None) {
        Some(contract) => CheckContract::from(contract),
        None => any_contract(&project),
    }))
}

/// What is known of what the host expects where nobody says which of its contracts it is.
fn any_contract(project: &Project) -> CheckContract {
    CheckContract {
        loader: Some(project.contracts.loader()),
        ..CheckContract::default()
    }
}

/// The directory of a bundle, whether it is there or not.
pub(super) fn bundle(world: &World, environment: &EnvironmentName) -> PathBuf {
    let directory = world.file.parent().unwrap_or(&world.file);
    directory.join(BUNDLE_DIRECTORY).join(environment.as_str())
}

/// The directory that a file is in, without links.
fn directory_of(file: &Path, world: &World) -> Option<PathBuf> {
    let absolute = world.context.working_directory.join(file);
    absolute.parent()?.canonicalize().ok()
}
