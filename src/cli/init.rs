//! `lockstep init`: writes `lockstep.yaml` from what is there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::World;
use super::stop::Stop;
use crate::exit::Exit;
use crate::init::{self, Candidate, Proposal, Tree};
use crate::printable::printable;
use crate::report::{Failure, of_machine};
use crate::temporary::{self, INIT_PREFIX};

/// The name of the file that is written.
const FILE_NAME: &str = "lockstep.yaml";
/// What was recognised and not used is named up to here.
const LEFT_OUT_NAMED_LIMIT_COUNT: usize = 5;

/// What `init` takes.
#[derive(Debug, clap::Args)]
pub(super) struct InitArguments {
    /// The project's directory
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    force: bool,
}

/// Writes the file and says what it is made from.
pub(super) fn init(arguments: &InitArguments, world: &World) -> Result<Exit, Stop> {
    let directory = world.context.working_directory.join(&arguments.directory);
    let usage = |message: String| Failure::new(Exit::Usage, "init", message);
    let directory = directory
        .canonicalize()
        .map_err(|error| usage(format!("failed to open {}: {error}", arguments.directory.display())))?;
    let path = directory.join(FILE_NAME);
    if path.exists() && !arguments.force {
        return Err(usage(format!("{FILE_NAME} exists already"))
            .at(path.display().to_string())
            .with_hint("overwrite it with: lockstep init --force")
            .into());
    }
    let tree = Tree::read(&directory).map_err(|error| usage(error.to_string()))?;
    let name = directory
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let proposal = init::propose(&tree, &name).map_err(|error| {
        let looked_for = init::LOOKED_FOR.iter().map(|line| (*line).to_owned());
        usage(error.to_string())
            .at(directory.display().to_string())
            .with_notes(std::iter::once("looked for:".to_owned()).chain(looked_for.map(|line| format!("  {line}"))))
            .with_hint("start from one of the samples, greeter or gateway, and describe your units in lockstep.yaml")
    })?;
    write(&path, &init::render(&proposal)).map_err(|error| {
        of_machine(
            "file",
            format!("failed to write {}: {error}", path.display()),
            &error,
            &path,
        )
    })?;
    for line in summary(&proposal, &path, &arguments.directory) {
        world.printer.line(&printable(&line));
    }
    Ok(Exit::Ok)
}

/// Writes `text`, whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = temporary::file_in(directory, INIT_PREFIX)?;
    file.write_all(text.as_bytes())?;
    // Everybody who can read the project's other files can read this one: temporary files start private.
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

fn summary(proposal: &Proposal, path: &Path, given: &Path) -> Vec<String> {
    let described = |role: &str, unit: &Candidate| {
        format!(
            "   {role:<8}{:<16} {:<5} {}",
            unit.name,
            language(unit),
            init::place(unit)
        )
    };
    let mut lines = vec![format!(" wrote {}", path.display()), String::new()];
    lines.push(described("host", &proposal.host));
    lines.extend(proposal.plugins.iter().map(|plugin| described("plugin", plugin)));
    let symbols = match proposal.symbols.as_slice() {
        [] => "no symbol that all plugins export was recognised".to_owned(),
        symbols => format!("every plugin exports {}", symbols.join(", ")),
    };
    lines.push(format!("   contract {symbols}"));
    let left_out: Vec<String> = proposal.left_out.iter().map(init::place).collect();
    if !left_out.is_empty() {
        let named = &left_out[..left_out.len().min(LEFT_OUT_NAMED_LIMIT_COUNT)];
        let rest = match left_out.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(format!("   not used {}{rest}", named.join(", ")));
    }
    let units = std::iter::once(&proposal.host).chain(&proposal.plugins);
    let mut advice: Vec<&str> = units.filter_map(|unit| unit.advice.as_deref()).collect();
    advice.dedup();
    lines.push(String::new());
    lines.extend(advice.into_iter().map(|advice| format!(" first: {advice}")));
    let enter = if given == Path::new(".") {
        String::new()
    } else {
        format!("cd {} · ", given.display())
    };
    lines.push(format!(
        " next: {enter}read {FILE_NAME} · lockstep doctor · lockstep plan · lockstep build"
    ));
    lines
}

fn language(unit: &Candidate) -> &'static str {
    crate::init::language(unit.language)
}
