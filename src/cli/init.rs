//! `lockstep init`: writes `lockstep.yaml` from what is there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::World;
use super::stop::Stop;
use crate::config;
use crate::exit::Exit;
use crate::image;
use crate::init::{self, Asked, Candidate, Proposal, ProposedContract, ProposedHost, Tree, Unrecognised};
use crate::printable::printable;
use crate::report::{Failure, of_machine};
use crate::temporary::{self, INIT_PREFIX};

/// The name of the file that is written.
const FILE_NAME: &str = "lockstep.yaml";
/// What was recognised and not used is named up to here.
const LEFT_OUT_NAMED_LIMIT_COUNT: usize = 5;

/// The same for what was not understood.
const NOTES_NAMED_LIMIT_COUNT: usize = 12;

/// What `init` takes.
#[derive(Debug, clap::Args)]
pub(super) struct InitArguments {
    /// The project's directory
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,
    /// The host, where it is not compiled here: `nginx` or another known one, or a program of an image
    #[arg(long, value_name = "NAME|IMAGE[:PATH]")]
    host: Option<String>,
    /// Overwrite a lockstep.yaml that is there
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
    let asked = arguments.host.as_deref().map(Asked::parse).transpose();
    let asked = asked.map_err(|error| usage(error.to_string()).with_hint(error.hint()))?;
    let name = directory
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let tree = Tree::read(&directory).map_err(|error| usage(error.to_string()))?;
    let proposal = match init::propose(&tree, &name, asked.as_ref()) {
        Ok(proposal) => Ok(proposal),
        Err(error) => in_examples(&directory, &name, asked.as_ref())
            .map_err(|error| usage(error.to_string()))?
            .ok_or(error),
    };
    let proposal = proposal.map_err(|error| {
        let looked_for = init::LOOKED_FOR.iter().map(|line| (*line).to_owned());
        usage(error.to_string())
            .at(directory.display().to_string())
            .with_notes(std::iter::once("looked for:".to_owned()).chain(looked_for.map(|line| format!("  {line}"))))
            .with_hint(error.hint())
    })?;
    let text = init::render(&proposal);
    check(&text, &directory, &proposal)?;
    let failed = |path: &Path, error: &std::io::Error| {
        of_machine(
            "file",
            format!("failed to write {}: {error}", path.display()),
            error,
            path,
        )
    };
    // The recipe first: what names it is there only when it is.
    let recipe = proposal.host.recipe().filter(|recipe| !recipe.is_there);
    if let Some(recipe) = recipe {
        let path = directory.join(&recipe.path);
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        if path.parent().is_some_and(is_link) {
            // It would lead to where nobody asked for a file.
            return Err(usage(format!(
                "failed to write {}: its directory is a symbolic link",
                recipe.path
            ))
            .with_hint("replace the link by a directory")
            .into());
        }
        write_new(&path, &recipe.text).map_err(|error| failed(&path, &error))?;
    }
    write(&path, &text).map_err(|error| failed(&path, &error))?;
    for line in summary(&proposal, &path, &arguments.directory) {
        world.printer.line(&printable(&line));
    }
    Ok(Exit::Ok)
}

/// The same, with what lies in `examples/`, which counts only when there is nothing else.
fn in_examples(directory: &Path, name: &str, asked: Option<&Asked>) -> Result<Option<Proposal>, init::TreeError> {
    let tree = Tree::read_with_examples(directory)?;
    let proposal: Result<Proposal, Unrecognised> = init::propose(&tree, name, asked);
    Ok(proposal.ok().map(|mut proposal| {
        proposal.notes.insert(
            0,
            "there is nothing outside of examples/, so this is what lies there".to_owned(),
        );
        proposal
    }))
}

/// Nothing is written that `plan` would not accept.
fn check(text: &str, directory: &Path, proposal: &Proposal) -> Result<(), Stop> {
    let builtin: Vec<&str> = image::Builtin::names().collect();
    let recipe = proposal.host.recipe().map(|recipe| recipe.path.as_str());
    let find = |path: &str| match recipe == Some(path) {
        true => config::Found::File,
        false => config::find(directory, path),
    };
    let surroundings = config::Surroundings {
        file: &directory.join(FILE_NAME),
        directory,
        shown: FILE_NAME,
        builtin: &builtin,
        architecture: crate::platform::architecture(),
        find: &find,
    };
    let (_, problems) = config::parse(text.as_bytes(), &surroundings);
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Stop::Problems(problems)),
    }
}

/// Writes a file that is not there yet, below directories that may have to be made.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(text.as_bytes())
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
            unit.build.as_ref().map_or(language(unit), |build| build.system.name()),
            unit.place()
        )
    };
    let mut lines = vec![format!(" wrote {}", path.display())];
    lines.extend(proposal.host.recipe().map(|recipe| match recipe.is_there {
        true => format!(" kept  {}", recipe.path),
        false => format!(" wrote {}", path.with_file_name(&recipe.path).display()),
    }));
    lines.push(String::new());
    lines.push(match &proposal.host {
        ProposedHost::Compiled { host, .. } => described("host", host),
        ProposedHost::Known { host, .. } => {
            format!("   {:<8}{:<16} {:<5} {}", "host", host.name, "", host.path)
        }
        ProposedHost::Image {
            name, reference, path, ..
        } => {
            format!("   {:<8}{name:<16} {:<5} {path} of {reference}", "host", "")
        }
    });
    lines.extend(proposal.plugins.iter().map(|plugin| described("plugin", plugin)));
    lines.extend(contracts(proposal).iter().map(|line| format!("   contract {line}")));
    let mut left_out: Vec<String> = proposal.left_out.iter().map(init::Candidate::place).collect();
    left_out.dedup();
    if !left_out.is_empty() {
        let named = &left_out[..left_out.len().min(LEFT_OUT_NAMED_LIMIT_COUNT)];
        let rest = match left_out.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(format!("   not used {}{rest}", named.join(", ")));
    }
    let named = &proposal.notes[..proposal.notes.len().min(NOTES_NAMED_LIMIT_COUNT)];
    lines.extend(named.iter().map(|note| format!("   note     {note}")));
    if proposal.notes.len() > named.len() {
        lines.push(format!(
            "   note     and {} more of this kind",
            proposal.notes.len() - named.len()
        ));
    }
    let host = match &proposal.host {
        ProposedHost::Compiled { host, .. } => Some(host.as_ref()),
        _ => None,
    };
    let units = host.into_iter().chain(&proposal.plugins);
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

/// What plugins are held to, one line a contract.
fn contracts(proposal: &Proposal) -> Vec<String> {
    let listed = |start: String, symbols: &[String]| match symbols {
        [] => format!("{start}: no symbol that the host looks up was recognised"),
        symbols => format!("{start} exports {}", symbols.join(", ")),
    };
    let of_kind = |kind: &ProposedContract| listed(format!("every {}", kind.name), &kind.symbols);
    match (proposal.contracts.as_slice(), proposal.symbols.as_slice()) {
        ([], []) => vec!["no symbol that all plugins export was recognised".to_owned()],
        ([], symbols) => vec![listed("every plugin".to_owned(), symbols)],
        (kinds, _) => kinds.iter().map(of_kind).collect(),
    }
}

fn language(unit: &Candidate) -> &'static str {
    crate::init::language(unit.language)
}
