//! `lockstep check` of files that are named.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;

use super::arguments::{
    CheckArguments, contract_at, named_root, of_the_loader, restrictions_of, start_of, usage, user_of,
};
use super::home::{Home, contract_of_its_host};
use super::script::{HostProcess, behind_scripts};
use crate::check::{Environment, PairReport, Plugin, Request, Subject, User, check};
use crate::cli::World;
use crate::cli::stop::Stop;
use crate::config::CheckContract;
use crate::report::Failure;
use crate::rootfs::{DirectoryRoot, OverlayRoot, RootFs};

/// Judges these plugins for this host.
pub(super) fn judge(
    (host, plugins): (&Path, &[PathBuf]),
    arguments: &CheckArguments,
    world: &World,
) -> Result<Vec<PairReport>, Stop> {
    let home = match arguments.rootfs {
        None => Home::of(host, world)?,
        Some(_) => None,
    };
    if let Some(home) = &home {
        arguments
            .files
            .iter()
            .try_for_each(|file| home.check_bundle_of(file, world))?;
    }
    // The same for all plugins, but in a project's bundles, where each may have its own.
    let common = match (&arguments.contract, &home) {
        (Some(path), _) => Some(contract_at(path, world)?),
        (None, Some(_)) => None,
        (None, None) => Some(contract_of_its_host(host, world)?.unwrap_or_default()),
    };
    let contract_of = |plugin: &PathBuf| match (&common, &home) {
        (None, Some(home)) => home.contract_of(plugin, world),
        (common, _) => common.clone().unwrap_or_default(),
    };
    let contracts: Vec<CheckContract> = plugins.iter().map(contract_of).collect();
    let (root, is_root_known) = root(arguments, host, home.as_ref(), world)?;
    // The process ends soon: giving back the maps of thousands of files one by one would take longer.
    let mut root = ManuallyDrop::new(root);
    let mut subject = |path: &Path| -> Result<Subject, Failure> {
        let absolute = world.context.working_directory.join(path);
        let shown = path.display().to_string();
        if absolute.to_str().is_none() {
            return Err(usage(format!("the name of `{shown}` is no UTF-8"), "give it another name").at(shown));
        }
        let is_here = std::fs::symlink_metadata(&absolute).is_ok();
        // What is not on this machine may be named as a process in the root calls it; a path from the top is first looked for there.
        let inside = format!("/{}", shown.trim_start_matches('/'));
        if arguments.rootfs.is_some() && (path.is_absolute() || !is_here) && root.look(&inside).is_ok() {
            return Ok(Subject {
                path: inside.clone(),
                shown: inside,
            });
        }
        if !is_here {
            let hint = match &arguments.rootfs {
                Some(name) => format!("check the path; a file inside {name} is named by its path there"),
                None => "check the path".to_owned(),
            };
            return Err(usage(format!("there is no file `{shown}`"), hint).at(shown));
        }
        if rustix::fs::access(&absolute, Access::READ_OK) == Err(Errno::ACCESS) {
            return Err(usage(
                format!("failed to read `{shown}`: permission denied"),
                "check the permissions",
            )
            .at(shown));
        }
        let shipped = home
            .as_ref()
            .map(|home| home.shipped_with(&absolute, world))
            .unwrap_or_default();
        let Some((itself, others)) = shipped.split_first() else {
            return Ok(Subject {
                path: root.put(&absolute),
                shown,
            });
        };
        let path = root.put_at(&itself.path, &itself.place);
        for other in others {
            root.put_at(&other.path, &other.place);
        }
        Ok(Subject { path, shown })
    };
    let host = subject(host)?;
    let plugins: Vec<Subject> = plugins.iter().map(|path| subject(path)).collect::<Result<_, _>>()?;
    // What lies inside the root is called as a process in the root calls it.
    let named = |subject: Subject| {
        let is_inside = arguments.rootfs.is_some() && !subject.path.starts_with(crate::rootfs::FILES_DIRECTORY);
        let shown = if is_inside { subject.path.clone() } else { subject.shown };
        Subject { shown, ..subject }
    };
    let mut variables: BTreeMap<String, String> = root.defaults().variables.iter().cloned().collect();
    let runs_here = arguments.rootfs.is_none() && home.is_none();
    if runs_here {
        variables.extend(of_the_loader(world));
    }
    variables.extend(arguments.variables.iter().cloned());
    let directory = match &arguments.cwd {
        None if runs_here => world.context.working_directory.to_string_lossy().into_owned(),
        _ => start_of(arguments, &*root),
    };
    // A script may ask for any of them.
    let mut known = match runs_here {
        true => world.context.variables.clone(),
        false => BTreeMap::new(),
    };
    known.extend(variables.clone());
    let process = HostProcess {
        program: host,
        variables: known.clone(),
        directory,
    };
    let process = behind_scripts(&*root, process, world)?;
    variables.retain(|name, _| process.variables.contains_key(name));
    let is_new = |(name, value): &(String, String)| known.get(name) != Some(value);
    variables.extend(process.variables.into_iter().filter(is_new));
    let environment = Environment {
        variables,
        directory: process.directory,
        user: match user_of(arguments, &*root)? {
            None if runs_here => Some(User::current()),
            user => user,
        },
        restrictions: restrictions_of(arguments),
    };
    let request = Request {
        root: &*root,
        host: named(process.program),
        beside_host: vec![],
        plugins: plugins
            .into_iter()
            .zip(&contracts)
            .map(|(subject, contract)| Plugin::alone(named(subject), contract))
            .collect(),
        environment: &environment,
        with_companions: false,
        is_root_known,
    };
    Ok(check(&request))
}

/// The root in which the host runs, and whether it is known: the one that was named, else the runtime image of the bundle that
/// the host lies in, else this machine if the host could start here, else none.
fn root(
    arguments: &CheckArguments,
    host: &Path,
    home: Option<&Home>,
    world: &World,
) -> Result<(OverlayRoot, bool), Stop> {
    let failed = |error: std::io::Error| {
        usage(
            format!("failed to look at this machine: {error}"),
            "check the permissions",
        )
    };
    if let Some(root) = home.and_then(|home| home.root.clone()) {
        return Ok((OverlayRoot::new(Some(Box::new(root))).map_err(failed)?, true));
    }
    let Some(name) = &arguments.rootfs else {
        let machine = DirectoryRoot::open(Path::new("/")).map_err(failed)?;
        let host = world.context.working_directory.join(host);
        let is_known = is_startable(&machine, &host);
        let base = is_known.then(|| Box::new(machine) as Box<dyn RootFs>);
        return Ok((OverlayRoot::new(base).map_err(failed)?, is_known));
    };
    let root = named_root(name, world)?;
    Ok((OverlayRoot::new(Some(root)).map_err(failed)?, true))
}

/// Whether a program's interpreter is on this machine; what has none needs none.
fn is_startable(machine: &DirectoryRoot, host: &Path) -> bool {
    let object = machine
        .look(&host.to_string_lossy())
        .ok()
        .and_then(|found| machine.object(&found)?.ok());
    let interpreter = object.and_then(|elf| elf.interpreter.clone());
    interpreter.is_none_or(|interpreter| machine.look(&interpreter).is_ok())
}
