//! `lockstep build`: the main job.

use clap::Args;

use super::format::Format;
use super::project_run::{RunArguments, with_run};
use super::stop::Stop;
use super::{World, plan};
use crate::exit::Exit;
use crate::run::Run;

#[derive(Debug, Args)]
pub(super) struct BuildArguments {
    /// Which environments [default: those of `default:`]
    #[arg(value_name = "ENVIRONMENT")]
    pub(super) environments: Vec<String>,
    #[command(flatten)]
    pub(super) run: RunArguments,
    /// Show what would be done, as `lockstep plan` does
    #[arg(long)]
    pub(super) dry_run: bool,
    /// What is printed on standard output in the end
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

pub(super) fn build(arguments: &BuildArguments, world: &World) -> Result<Exit, Stop> {
    if arguments.dry_run {
        return plan::show(&arguments.environments, arguments.format, world);
    }
    let project = world.project()?;
    let environments = crate::plan::select(&project, &arguments.environments)?;
    let report = with_run(project, arguments.run.options(world), world, async |run: &Run| {
        run.build(&environments).await
    })?;
    if arguments.format == Format::Json {
        world.print_json(&report)?;
    }
    Ok(Exit::Ok)
}
