//! A host that is a script: followed to the program that it starts, with what it makes of its surroundings.

use std::collections::BTreeMap;

use super::arguments::usage;
use crate::check::Subject;
use crate::cli::World;
use crate::facts::elf::Unreadable;
use crate::facts::wrapper::{SCRIPT_LIMIT_BYTES, Surroundings, started};
use crate::printable::printable;
use crate::report::{Failure, Progress};
use crate::rootfs::{FileKind, Found, RootFs};

/// How many scripts may start each other before the host; one is usual.
const SCRIPTS_LIMIT_COUNT: usize = 8;
/// Where programs are looked for when nothing else is said (exec(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What a host's process is started with.
pub(super) struct HostProcess {
    /// The program, or a script before it.
    pub(super) program: Subject,
    /// All of its variables.
    pub(super) variables: BTreeMap<String, String>,
    /// Its working directory.
    pub(super) directory: String,
}

/// The process of the program that a host starts which is a script, through as many of them as there are.
///
/// # Errors
/// When it cannot be told what a script starts, or that is not there.
pub(super) fn behind_scripts(
    root: &dyn RootFs,
    mut process: HostProcess,
    world: &World,
) -> Result<HostProcess, Failure> {
    for _ in 0..SCRIPTS_LIMIT_COUNT {
        let Some(script) = script(root, &process.program) else {
            return Ok(process);
        };
        let shown = process.program.shown;
        let refused = |why: String| {
            usage(
                format!("`{shown}` is a script, and {why}"),
                "name the program that opens the plugins, and give what the script sets with --env NAME=VALUE",
            )
            .at(&shown)
        };
        let bytes = root.bytes(&script, SCRIPT_LIMIT_BYTES);
        let bytes = bytes.ok_or_else(|| refused("not all of it is at hand".to_owned()))?;
        let surroundings = Surroundings {
            path: &process.program.path,
            real_path: &script.path,
            variables: &process.variables,
        };
        let started = started(&bytes, &surroundings).map_err(|error| refused(error.to_string()))?;
        let set = started.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let told = set.collect::<Vec<_>>().join(" ");
        process.variables.retain(|name, _| !started.removed.contains(name));
        process.variables.extend(started.variables);
        process.directory = started.directory.unwrap_or(process.directory);
        let place = found_program(root, &started.program, &process.variables, &process.directory);
        let place = place.ok_or_else(|| refused(format!("there is no `{}`, which it starts", started.program)))?;
        let with = if told.is_empty() { "" } else { " with " };
        let line = format!("`{shown}` is a script: it starts {place}{with}{told}");
        if world.progress != Progress::Quiet {
            world.printer.line(&printable(&line));
        }
        process.program = Subject {
            shown: place.clone(),
            path: place,
        };
    }
    let shown = process.program.shown;
    Err(usage(
        format!("`{shown}` is the last of {SCRIPTS_LIMIT_COUNT} scripts that start each other"),
        "name the program that opens the plugins",
    ))
}

/// A file that another program is started for, which it names in its first line.
fn script(root: &dyn RootFs, file: &Subject) -> Option<Found> {
    let found = root.look(&file.path).ok()?;
    let object = root.object(&found);
    matches!(object, Some(Err(Unreadable::Magic { head: [b'#', b'!', ..] }))).then_some(found)
}

/// Where a program is that is started by a path or by a name.
fn found_program(
    root: &dyn RootFs,
    program: &str,
    variables: &BTreeMap<String, String>,
    directory: &str,
) -> Option<String> {
    let is_there = |path: &String| root.look(path).is_ok_and(|found| found.kind == FileKind::File);
    let below = |directory: &str| format!("{}/{program}", directory.trim_end_matches('/'));
    if program.starts_with('/') {
        return Some(program.to_owned()).filter(is_there);
    }
    if program.contains('/') {
        return Some(below(directory)).filter(is_there);
    }
    let path = variables.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    path.split(':').map(below).find(is_there)
}
