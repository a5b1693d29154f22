//! `lockstep image load`: brings what was saved to this machine.

use std::path::PathBuf;

use clap::Args;

use super::kept::project_run;
use crate::cli::World;
use crate::cli::format::Format;
use crate::cli::stop::Stop;
use crate::exit::Exit;
use crate::printable::printable;
use crate::run::Run;

#[derive(Debug, Args)]
pub(in crate::cli) struct LoadArguments {
    /// What `lockstep image save` wrote
    #[arg(value_name = "FILE")]
    archive: PathBuf,
    /// What is printed on standard output in the end
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn load(arguments: &LoadArguments, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    let report = project_run(project, world, async |run: &Run| run.load(&arguments.archive).await)?;
    match arguments.format {
        Format::Json => world.print_json(&report)?,
        Format::Text => {
            for item in &report.loaded {
                world.printer.data(&format!("{}: loaded\n", printable(item)));
            }
            for item in &report.left_out {
                world
                    .printer
                    .data(&format!("{}: left out, the lock does not have it\n", printable(item)));
            }
        }
    }
    Ok(Exit::Ok)
}
