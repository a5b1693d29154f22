//! `lockstep matrix`: every host against every plugin.

use clap::Args;

use super::World;
use super::build::{RunArguments, with_run};
use super::schema::Format;
use super::stop::Stop;
use crate::exit::Exit;
use crate::matrix::render;
use crate::run::Run;

#[derive(Debug, Args)]
pub(super) struct MatrixArguments {
    /// Which environments [default: those of `default:`]
    #[arg(value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    #[command(flatten)]
    run: RunArguments,
    /// What is printed on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn matrix(arguments: &MatrixArguments, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    let environments = crate::plan::select(&project, &arguments.environments)?;
    let options = arguments.run.options(world);
    let matrix = with_run(project, options, world, async |run: &Run| {
        run.matrix(&environments).await
    })?;
    match arguments.format {
        Format::Json => world.print_json(&matrix)?,
        Format::Text => world.printer.data(&render(&matrix)),
    }
    // What crosses environments may fail; what is of one environment may not.
    Ok(if matrix.broken().next().is_none() {
        Exit::Ok
    } else {
        Exit::Smoke
    })
}
