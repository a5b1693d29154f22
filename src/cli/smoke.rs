//! `lockstep smoke`: only the loading.

use super::World;
use super::format::Format;
use super::project_run::{EnvironmentArguments, with_run};
use super::stop::Stop;
use crate::exit::Exit;
use crate::run::{Options, Run};

pub(super) fn smoke(arguments: &EnvironmentArguments, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    let environments = crate::plan::select(&project, &arguments.environments)?;
    let options = Options {
        only_looks: true,
        offline: false,
        ..arguments.run.options(world)
    };
    let reports = with_run(project, options, world, async |run: &Run| {
        run.smoke_bundles(&environments).await
    })?;
    if arguments.format == Format::Json {
        world.print_json(&reports)?;
    }
    Ok(Exit::Ok)
}
