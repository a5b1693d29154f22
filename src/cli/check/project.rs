//! `lockstep check` in a project: all of its bundles.

use std::sync::Arc;

use super::arguments::{CheckArguments, contract_at, named_root, restrictions_of, start_of, usage, user_of};
use super::home::bundle;
use crate::bundle::{BUNDLE_DIRECTORY, MANIFEST_FILE, Manifest};
use crate::check::PairReport;
use crate::cli::stop::Stop;
use crate::cli::{World, runtime};
use crate::config::{CheckContract, Project, Unit};
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::lock::{Lock, lock_path, read as read_lock};
use crate::name::EnvironmentName;
use crate::report::Failure;
use crate::rootfs::RootFs;
use crate::run::{
    CheckedFiles, CheckedHost, CheckedPlugin, CheckedProcess, PlacedFile, RunError, check_bundle, image_root,
    predict_files, smoke_user, smoked_contract,
};

/// Every published bundle: its host with its plugins, in the runtime image.
pub(super) fn judge(arguments: &CheckArguments, world: &World) -> Result<Vec<PairReport>, Stop> {
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
            Some(root) => Arc::from(named_root(root, world)?),
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
        process.restrictions = restrictions_of(arguments);
        let predicted = predict_files(&root, &files, &process, &shown);
        pairs.extend(predicted.map_err(RunError::file("look at the artifacts"))?);
    }
    Ok(pairs)
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
