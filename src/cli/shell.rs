//! `lockstep completions` and `lockstep man`: for shells and readers, made from the command line itself.

use clap_complete::{Shell, generate};

use super::World;
use super::stop::Stop;
use crate::exit::Exit;
use crate::report::Failure;

/// The program's name.
const PROGRAM: &str = "lockstep";

/// What `completions` takes.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// What `man` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// The command whose page it is, as it is called (`image diff`); the program's own when left out
    command: Vec<String>,
}

/// Prints a shell's completion script.
pub(super) fn completions(arguments: &CompletionsArguments, mut program: clap::Command, world: &World) -> Exit {
    let mut script = Vec::new();
    generate(arguments.shell, &mut program, PROGRAM, &mut script);
    world.printer.document(&String::from_utf8_lossy(&script));
    Exit::Ok
}

/// A word that is no command.
fn no_command(name: &str, above: &clap::Command) -> Failure {
    let known: Vec<&str> = above.get_subcommands().map(clap::Command::get_name).collect();
    let failure = Failure::new(Exit::Usage, "usage", format!("there is no command `{name}`"));
    match known.is_empty() {
        true => failure.with_hint(format!("`{}` has none below it", above.get_name())),
        false => failure.with_hint(format!("there are: {}", known.join(", "))),
    }
}

/// Prints a manual page.
pub(super) fn man(arguments: &ManArguments, mut program: clap::Command, world: &World) -> Result<Exit, Stop> {
    // Only a built command knows the options that all commands take.
    program.build();
    let mut command = program;
    for name in &arguments.command {
        let below = command.find_subcommand(name).cloned();
        command = below.ok_or_else(|| no_command(name, &command))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::new(Exit::Internal, "man", format!("failed to render the page: {error}")))?;
    world.printer.document(&String::from_utf8_lossy(&page));
    Ok(Exit::Ok)
}
