//! What the commands have in common that keep environments, or have them again.

use clap::Args;

use crate::cli::World;
use crate::cli::format::Format;
use crate::cli::project_run::with_run;
use crate::cli::stop::Stop;
use crate::config::Project;
use crate::name::EnvironmentName;
use crate::run::{Options, Run, RunError};

/// What they take.
#[derive(Debug, Args)]
pub(super) struct ImageArguments {
    /// Which environments [default: those of `default:`]
    #[arg(value_name = "ENVIRONMENT")]
    pub(super) environments: Vec<String>,
    /// What is printed on standard output in the end
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

/// Has `work` done with the environments that are asked for.
pub(super) fn image_run<T, W>(arguments: &ImageArguments, world: &World, work: W) -> Result<T, Stop>
where
    W: AsyncFnOnce(&Run, &[EnvironmentName]) -> Result<T, RunError>,
{
    let project = world.project()?;
    let environments = crate::plan::select(&project, &arguments.environments)?;
    project_run(project, world, async |run: &Run| work(run, &environments).await)
}

/// Has `work` done in a run of the project that compiles nothing.
pub(super) fn project_run<T, W>(project: Project, world: &World, work: W) -> Result<T, Stop>
where
    W: AsyncFnOnce(&Run) -> Result<T, RunError>,
{
    with_run(project, Options::without_compiles(), world, work)
}
