//! `lockstep check`: static verdicts, for any files.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::Access;
use rustix::io::Errno;

use super::check_project::{Home, contract_of_its_host};
use super::schema::Format;
use super::stop::Stop;
use super::{World, runtime};
use crate::check::{Environment, Plugin, RULES, Request, Subject, User, Verdict, check as judge, rule};
use crate::config::{CheckContract, load_contract};
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::facts::elf::Unreadable;
use crate::nearest::nearest;
use crate::report::{CheckReport, Failure, Progress, fit, render_check};
use crate::rootfs::{DirectoryRoot, OverlayRoot, RootFs};
use crate::run::open_rootfs;

/// The variables of glibc's loader (ld.so(8)); musl's knows the first two.
const LOADER_VARIABLES: &[&str] = &[
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LD_ASSUME_KERNEL",
    "LD_AUDIT",
    "LD_BIND_NOT",
    "LD_BIND_NOW",
    "LD_DEBUG",
    "LD_DEBUG_OUTPUT",
    "LD_DYNAMIC_WEAK",
    "LD_HWCAP_MASK",
    "LD_ORIGIN_PATH",
    "LD_POINTER_GUARD",
    "LD_PREFER_MAP_32BIT_EXEC",
    "LD_PROFILE",
    "LD_PROFILE_OUTPUT",
    "LD_SHOW_AUXV",
    "LD_TRACE_LOADED_OBJECTS",
    "LD_USE_LOAD_BIAS",
    "LD_VERBOSE",
    "LD_WARN",
];

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The host program, then the plugins in the order in which it opens them; with --rootfs a path from the top is one in the root if it is there [default: the bundles of the project]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file system in which they run: a directory, a tar, a saved image, or an image in the engine [default: this machine; for a bundle of the project its runtime image]
    #[arg(long, value_name = "ROOT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) rootfs: Option<String>,
    /// What the host expects of a plugin: `lockstep.yaml`, or a file with the keys of its `contract` [default: for a bundle of the project, the project's]
    #[arg(long, value_name = "FILE")]
    pub(super) contract: Option<PathBuf>,
    /// A variable of the host's process, beside the image's; LD_LIBRARY_PATH and LD_PRELOAD count, on this machine also yours
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) variables: Vec<(String, String)>,
    /// The host's working directory, in the root [default: the image's, else /; on this machine yours]
    #[arg(long, value_name = "DIRECTORY", value_parser = directory)]
    pub(super) cwd: Option<String>,
    /// Who the host runs as, by names or numbers as for `docker run`; files must be readable for it [default: the image's; on this machine you]
    #[arg(long, value_name = "USER[:GROUP]", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) user: Option<String>,
    /// A code whose findings are no reason to fail; several with commas or one by one
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = code)]
    allow: Vec<String>,
    /// Fail for what is unknown, too
    #[arg(long)]
    strict: bool,
    /// What is printed on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn check(arguments: &CheckArguments, world: &World) -> Result<Exit, Stop> {
    let allowed: BTreeSet<String> = arguments.allow.iter().cloned().collect();
    let (host, plugins) = match arguments.files.split_first() {
        Some((host, plugins)) if !plugins.is_empty() => (host, plugins),
        Some(_) => return Err(usage("there is no plugin to check", "name the host, then its plugins").into()),
        None => return super::check_project::check(arguments, &allowed, world),
    };
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
    if is_script(&*root, &host) {
        return Err(usage(
            format!("`{}` is a script", host.shown),
            "name the program that it starts, which opens the plugins",
        )
        .at(&host.shown)
        .into());
    }
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
    let environment = Environment {
        variables,
        directory: match &arguments.cwd {
            None if runs_here => world.context.working_directory.to_string_lossy().into_owned(),
            _ => start_of(arguments, &*root),
        },
        user: match user_of(arguments, &*root)? {
            None if runs_here => Some(User::current()),
            user => user,
        },
    };
    let request = Request {
        root: &*root,
        host: named(host),
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
    let report = CheckReport::new(judge(&request), &allowed);
    show(&report, arguments, world)
}

/// This program's own variables that a loader reads: on this machine the host has them too.
fn of_the_loader(world: &World) -> impl Iterator<Item = (String, String)> {
    let is_read = |name: &str| LOADER_VARIABLES.contains(&name) || name == "GLIBC_TUNABLES";
    let variables = world.context.variables.iter();
    variables
        .filter(move |(name, _)| is_read(name))
        .map(|(name, value)| (name.clone(), value.clone()))
}

/// Whether a file is started by another program, which it names in its first line.
fn is_script(root: &dyn RootFs, file: &Subject) -> bool {
    let object = root.look(&file.path).ok().and_then(|found| root.object(&found));
    matches!(object, Some(Err(Unreadable::Magic { head: [b'#', b'!', ..] })))
}

/// Where the host starts: where it was said, else where the image says.
pub(super) fn start_of(arguments: &CheckArguments, root: &dyn RootFs) -> String {
    let told = arguments.cwd.as_ref().or(root.defaults().directory.as_ref());
    told.map_or_else(|| "/".to_owned(), String::clone)
}

/// Who the host runs as: who was named, else who the image names; none if nobody is.
pub(super) fn user_of(arguments: &CheckArguments, root: &dyn RootFs) -> Result<Option<User>, Failure> {
    if let Some(told) = &arguments.user {
        let user = User::resolve(told, root).map_err(|error| {
            let message = format!("there is no user `{told}` in the root: {error}");
            usage(message, "name one that is there, or give the numbers: --user 1000:1000")
        })?;
        return Ok(Some(user));
    }
    let Some(told) = &root.defaults().user else {
        return Ok(None);
    };
    let user = User::resolve(told, root).map_err(|error| {
        let message = format!("the image is to run as `{told}`, and no engine will start it: {error}");
        usage(
            message,
            "add the user to the image, or say who the host runs as: --user",
        )
    })?;
    Ok(Some(user))
}

/// Prints a report; what the program ends with.
pub(super) fn show(report: &CheckReport, arguments: &CheckArguments, world: &World) -> Result<Exit, Stop> {
    match arguments.format {
        Format::Json => world.print_json(report)?,
        Format::Text if world.progress == Progress::Quiet && report.verdict == Verdict::Ok => {}
        Format::Text => {
            let text = render_check(report);
            let columns = world.printer.columns();
            world
                .printer
                .data(&columns.map_or_else(|| text.clone(), |columns| fit(&text, columns)));
        }
    }
    let limit = if arguments.strict {
        Verdict::Unknown
    } else {
        Verdict::Danger
    };
    Ok(if report.verdict >= limit {
        Exit::Findings
    } else {
        Exit::Ok
    })
}

/// A code as reports print it: `danger[libc-family]`, or by itself.
pub(super) fn bare_code(text: &str) -> &str {
    let inner = text.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
    inner.unwrap_or(text)
}

/// The code of `--allow`; one that no rule has is a mistake.
pub(super) fn code(text: &str) -> Result<String, String> {
    let text = bare_code(text.trim());
    if rule(text).is_some() {
        return Ok(text.to_owned());
    }
    Err(match nearest(text, RULES.iter().map(|rule| rule.code)) {
        Some(near) => format!("no finding has this code; did you mean `{near}`?"),
        None => "no finding has this code; `lockstep explain` lists them".to_owned(),
    })
}

pub(super) fn contract_at(path: &Path, world: &World) -> Result<CheckContract, Stop> {
    let (contract, problems) = load_contract(&world.context.working_directory.join(path), &path.display().to_string());
    contract.ok_or(Stop::Problems(problems))
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
    let root = runtime::block_on_or_stop(&world.events(), async {
        let engine = Docker::connect(&world.context.variables);
        let opened = open_rootfs(name, &world.context.working_directory, engine).await;
        opened.map_err(|error| Stop::from(error.failure()))
    })?;
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

pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, "check", message).with_hint(hint)
}

fn directory(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("it is a directory in the root, so it begins with a slash".to_owned())
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("write it as NAME=VALUE")?;
    if name.starts_with("LD_")
        && !LOADER_VARIABLES.contains(&name)
        && let Some(near) = nearest(name, LOADER_VARIABLES.iter().copied())
    {
        return Err(format!("no loader reads {name}; did you mean `{near}`?"));
    }
    Ok((name.to_owned(), value.to_owned()))
}
