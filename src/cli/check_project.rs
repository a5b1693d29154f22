//! `lockstep check` in a project: all of its bundles without files, and what it knows of files that lie in one of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{CheckArguments, contract_at, show, start_of, usage, user_of};
use super::stop::Stop;
use super::{World, runtime};
use crate::bundle::{BUNDLE_DIRECTORY, MANIFEST_FILE, Manifest};
use crate::check::PairReport;
use crate::config::{CheckContract, Program, Project, Unit};
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::lock::{Lock, lock_path, read as read_lock};
use crate::name::EnvironmentName;
use crate::report::{CheckReport, Failure};
use crate::rootfs::RootFs;
use crate::run::{
    CheckedFiles, CheckedHost, CheckedPlugin, CheckedProcess, PlacedFile, RunError, cached_root, check_bundle,
    image_root, open_rootfs, predict_files, smoke_user, smoked_contract,
};

/// Every published bundle: its host with its plugins, in the runtime image.
pub(super) fn check(arguments: &CheckArguments, allowed: &BTreeSet<String>, world: &World) -> Result<Exit, Stop> {
    if !world.file.exists() {
        let message = "no files were named, and there is no project here whose bundles could be checked";
        return Err(usage(message, "lockstep check HOST PLUGIN…").into());
    }
    let project = world.project()?;
    let published: Vec<&EnvironmentName> = project
        .environments
        .keys()
        .filter(|name| bundle(world, name).join(MANIFEST_FILE).symlink_metadata().is_ok())
        .collect();
    if published.is_empty() {
        let message = format!("no environment of `{}` has a bundle", project.name);
        return Err(usage(message, "lockstep build").into());
    }
    let contract = match &arguments.contract {
        Some(path) => Some(contract_at(path, world)?),
        None => None,
    };
    let lock = read_lock(&lock_path(&project.file)).map_err(RunError::from)?;
    let shown = |file: &PlacedFile| {
        let path = file.path.strip_prefix(&world.context.working_directory);
        path.unwrap_or(&file.path).display().to_string()
    };
    let mut pairs: Vec<PairReport> = vec![];
    let mut manifests = vec![];
    for name in &published {
        manifests.push(check_bundle(
            &bundle(world, name),
            &format!("{BUNDLE_DIRECTORY}/{name}"),
        )?);
    }
    for (name, manifest) in published.into_iter().zip(&manifests) {
        let files = files(&project, name, manifest, contract.as_ref(), world)?;
        let root = match &arguments.rootfs {
            Some(root) => named_root(root, world)?,
            None => runtime_root(lock.as_ref(), name, world)?,
        };
        // Bundles are loaded as in the smoke test, unless somebody says otherwise.
        let user = match (&arguments.user, &arguments.rootfs) {
            (None, None) => Some(smoke_user(&project, name, &*root).map_err(RunError::from)?),
            _ => user_of(arguments, &*root)?,
        };
        let mut process = CheckedProcess::of_smoke(&project, user);
        process.variables.extend(arguments.variables.iter().cloned());
        process.directory = start_of(arguments, &*root);
        let predicted = predict_files(&root, &files, &process, &shown);
        pairs.extend(predicted.map_err(RunError::file("look at the artifacts"))?);
    }
    show(&CheckReport::new(pairs, allowed), arguments, world)
}

/// The directory of a bundle, whether it is there or not.
fn bundle(world: &World, environment: &EnvironmentName) -> PathBuf {
    let directory = world.file.parent().unwrap_or(&world.file);
    directory.join(BUNDLE_DIRECTORY).join(environment.as_str())
}

/// A bundle's files, in the project's order; the plugins are held to `contract` if it is given.
fn files(
    project: &Project,
    environment: &EnvironmentName,
    manifest: &Manifest,
    contract: Option<&CheckContract>,
    world: &World,
) -> Result<CheckedFiles, Failure> {
    let directory = bundle(world, environment);
    let whole = |files: Vec<PlacedFile>| -> Result<Vec<PlacedFile>, Failure> {
        match files.iter().find(|file| !file.path.is_file()) {
            None => Ok(files),
            Some(absent) => {
                let message = format!(
                    "the bundle of {environment} lacks `{}`, which the project names",
                    absent.place
                );
                let failure = usage(message, format!("lockstep build {environment}"));
                Err(failure.at(format!("{BUNDLE_DIRECTORY}/{environment}")))
            }
        }
    };
    let plugin = |unit: &Unit| -> Result<CheckedPlugin, Failure> {
        Ok(CheckedPlugin {
            files: whole(PlacedFile::of_bundle(unit, manifest, &directory))?,
            contract: contract
                .cloned()
                .unwrap_or_else(|| smoked_contract(project.contracts.of(unit))),
        })
    };
    let of_host = whole(PlacedFile::of_host(&project.host, manifest, &directory))?;
    Ok(CheckedFiles {
        host: CheckedHost::of(&project.host, of_host),
        plugins: project.plugins.iter().map(plugin).collect::<Result<_, _>>()?,
        with_companions: true,
    })
}

/// The environment's runtime image as the lock has it: from its layers in the user's cache, else from the engine.
fn runtime_root(lock: Option<&Lock>, environment: &EnvironmentName, world: &World) -> Result<Arc<dyn RootFs>, Stop> {
    let Some(locked) = lock.and_then(|lock| lock.environments.get(environment)) else {
        let message = format!("the lock says nothing of {environment}, so its runtime image is not known");
        let hint = format!("lockstep build {environment}, or name a root with --rootfs");
        return Err(usage(message, hint).into());
    };
    let image = &locked.runtime;
    runtime::block_on_or_stop(&world.events(), async {
        let engine = Docker::connect(&world.context.variables);
        let root = image_root(&world.context.cache_directory, &image.id, &image.layers, engine).await;
        root.map_err(|error| {
            let failure = error.failure();
            // An image of the lock is in no registry, so what the general hint says would not help.
            let hint = format!("make it again: lockstep build {environment}; or name a root with --rootfs");
            match failure.exit {
                Exit::Usage => Stop::from(failure.with_hint(hint)),
                _ => Stop::from(failure),
            }
        })
    })
}

fn named_root(name: &str, world: &World) -> Result<Arc<dyn RootFs>, Stop> {
    runtime::block_on_or_stop(&world.events(), async {
        let engine = Docker::connect(&world.context.variables);
        let opened = open_rootfs(name, &world.context.working_directory, engine).await;
        opened.map(Arc::from).map_err(|error| Stop::from(error.failure()))
    })
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

/// The directory that a file is in, without links.
fn directory_of(file: &Path, world: &World) -> Option<PathBuf> {
    let absolute = world.context.working_directory.join(file);
    absolute.parent()?.canonicalize().ok()
}
