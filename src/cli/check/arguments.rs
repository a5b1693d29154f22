//! What `lockstep check` takes, and what that means.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::check::{Restrictions, User};
use crate::cli::format::Format;
use crate::cli::stop::Stop;
use crate::cli::{World, runtime};
use crate::config::{CheckContract, load_contract};
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::facts::file_capabilities::Capabilities;
use crate::nearest::nearest;
use crate::report::Failure;
use crate::rootfs::RootFs;
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
pub(in crate::cli) struct CheckArguments {
    /// The host program, then the plugins in the order in which it opens them; with --rootfs a path from the top is one in the root if it is there [default: the bundles of the project]
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
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
    /// The host is started with no_new_privs, as engines and systemd do for `no-new-privileges`: its set-user-ID counts for nothing
    #[arg(long)]
    pub(super) no_new_privileges: bool,
    /// A capability that no process may have where the host runs, or ALL; several with commas or one by one
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = capability)]
    pub(super) cap_drop: Vec<Capabilities>,
    /// A code whose findings are no reason to fail; several with commas or one by one
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = crate::cli::code::code)]
    pub(super) allow: Vec<String>,
    /// Fail for what is unknown, too
    #[arg(long)]
    pub(super) strict: bool,
    /// What is printed on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
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

/// What keeps the host from being given more rights.
pub(super) fn restrictions_of(arguments: &CheckArguments) -> Restrictions {
    let dropped = arguments.cap_drop.iter().copied();
    Restrictions {
        gives_nothing: false,
        no_new_privileges: arguments.no_new_privileges,
        dropped: dropped.fold(Capabilities::default(), Capabilities::with),
    }
}

pub(super) fn contract_at(path: &Path, world: &World) -> Result<CheckContract, Stop> {
    let (contract, problems) = load_contract(&world.context.working_directory.join(path), &path.display().to_string());
    contract.ok_or(Stop::Problems(problems))
}

/// The root that is named: a path on this machine, else an image of the engine.
pub(super) fn named_root(name: &str, world: &World) -> Result<Box<dyn RootFs>, Stop> {
    runtime::block_on_or_stop(&world.events(), async {
        let engine = Docker::connect(&world.context.variables);
        let opened = open_rootfs(name, &world.context.working_directory, engine).await;
        opened.map_err(|error| Stop::from(error.failure()))
    })
}

/// This program's own variables that a loader reads: on this machine the host has them too.
pub(super) fn of_the_loader(world: &World) -> impl Iterator<Item = (String, String)> {
    let is_read = |name: &str| LOADER_VARIABLES.contains(&name) || name == "GLIBC_TUNABLES";
    let variables = world.context.variables.iter();
    variables
        .filter(move |(name, _)| is_read(name))
        .map(|(name, value)| (name.clone(), value.clone()))
}

pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, "check", message).with_hint(hint)
}

fn capability(text: &str) -> Result<Capabilities, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Capabilities::ALL);
    }
    Capabilities::named(text).ok_or_else(|| {
        let name = text.to_ascii_lowercase();
        let short = |name: &'static str| name.trim_start_matches("cap_");
        let near = nearest(name.trim_start_matches("cap_"), Capabilities::names().map(short));
        near.map_or_else(
            || "there is no such capability; write it as NET_ADMIN or ALL".to_owned(),
            |near| {
                format!(
                    "there is no such capability; did you mean `{}`?",
                    near.to_ascii_uppercase()
                )
            },
        )
    })
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
