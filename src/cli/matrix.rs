//! `lockstep matrix`: every host against every plugin.

use super::World;
use super::format::Format;
use super::project_run::{EnvironmentArguments, with_run};
use super::stop::Stop;
use crate::exit::Exit;
use crate::matrix::render;
use crate::run::Run;

pub(super) fn matrix(arguments: &EnvironmentArguments, world: &World) -> Result<Exit, Stop> {
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
    // What crosses environments may fail; what is of one environment may not, and nothing may come as a surprise.
    Ok(if matrix.broken().next().is_some() {
        Exit::Smoke
    } else if matrix.disagreements().next().is_some() {
        Exit::Findings
    } else {
        Exit::Ok
    })
}
