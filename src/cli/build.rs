//! `lockstep build`: the main job.

use std::sync::Arc;

use clap::Args;

use super::schema::Format;
use super::stop::Stop;
use super::{World, plan, runtime};
use crate::config::Project;
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::run::{Options, Run, RunError};

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

/// What every command takes that works on environments and has a result to print.
#[derive(Debug, Args)]
pub(super) struct EnvironmentArguments {
    /// Which environments [default: those of `default:`]
    #[arg(value_name = "ENVIRONMENT")]
    pub(super) environments: Vec<String>,
    #[command(flatten)]
    pub(super) run: RunArguments,
    /// What is printed on standard output in the end
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

/// What every command takes that builds.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArguments {
    /// Fail if the lock is missing something or would change; for CI
    #[arg(long)]
    pub(super) locked: bool,
    /// How many units are compiled side by side [default: the number of processors]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// A code of `check` whose findings stop nothing
    #[arg(long, value_name = "CODE", value_parser = super::check::code)]
    pub(super) allow: Vec<String>,
    /// Predict nothing: the smoke test alone decides
    #[arg(long)]
    pub(super) no_check: bool,
}

impl RunArguments {
    pub(super) fn options(&self, world: &World) -> Options {
        Options {
            jobs: self.jobs.map_or(world.context.processors, usize::from),
            locked: self.locked,
            check: !self.no_check,
            allowed: self.allow.iter().cloned().collect(),
            only_looks: false,
        }
    }
}

/// Starts a run on `project`, lets `work` work with it, and cleans up however that goes.
pub(super) fn with_run<T, W>(project: Project, options: Options, world: &World, work: W) -> Result<T, Stop>
where
    W: AsyncFnOnce(&Run) -> Result<T, RunError>,
{
    let events = world.events();
    let told = Arc::clone(&events);
    runtime::block_on(&events, |cancellation| async move {
        let connected = tokio::select! {
            connected = Docker::connect(&world.context.variables) => connected,
            () = cancellation.cancelled() => return Err(RunError::stopped_before().into()),
        };
        let started = Run::start(
            project,
            world.context.clone(),
            Arc::new(connected.map_err(RunError::from)?),
            told,
            cancellation.clone(),
            options,
        )
        .await;
        let run = match started {
            Err(_) if cancellation.is_cancelled() => return Err(RunError::stopped_before().into()),
            started => started?,
        };
        let result = work(&run).await;
        Ok(run.finish(result).await?)
    })
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
