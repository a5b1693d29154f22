//! `lockstep smoke`: only the loading.

use clap::Args;

use super::World;
use super::build::{RunArguments, with_run};
use super::schema::Format;
use super::stop::Stop;
use crate::exit::Exit;
use crate::run::Run;

#[derive(Debug, Args)]
pub(super) struct SmokeArguments {
    /// Which environments [default: those of `default:`]
    #[arg(value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    #[command(flatten)]
    run: RunArguments,
    /// What is printed on standard output in the end
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn smoke(arguments: &SmokeArguments, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    let environments = crate::plan::select(&project, &arguments.environments)?;
    let options = arguments.run.options(world);
    let reports = with_run(project, options, world, async |run: &Run| {
        run.smoke_bundles(&environments).await
    })?;
    if arguments.format == Format::Json {
        world.print_json(&reports)?;
    }
    Ok(Exit::Ok)
}
