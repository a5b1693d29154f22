//! `lockstep plan`: what a build would do.

use clap::Args;

use super::World;
use super::format::Format;
use super::stop::Stop;
use crate::exit::Exit;
use crate::plan::{render, select};
use crate::run::plan_only;

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// Which environments [default: those of `default:`]
    #[arg(value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    /// What is printed on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn plan(arguments: &PlanArguments, world: &World) -> Result<Exit, Stop> {
    show(&arguments.environments, arguments.format, world)
}

/// Prints the plan of `environments`; for `build --dry-run` too.
pub(super) fn show(environments: &[String], format: Format, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    let environments = select(&project, environments)?;
    let plan = plan_only(&project, &environments)?;
    match format {
        Format::Json => world.print_json(&plan)?,
        Format::Text => world.printer.data(&render(&plan)),
    }
    Ok(Exit::Ok)
}
