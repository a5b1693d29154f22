//! A run of the project on the engine: what commands take that start one, and how they do it.

use std::sync::Arc;

use clap::Args;

use super::format::Format;
use super::stop::Stop;
use super::{World, runtime};
use crate::config::Project;
use crate::engine::docker::Docker;
use crate::run::{Options, Run, RunError};

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
    #[arg(long, value_name = "CODE", value_parser = super::code::code)]
    pub(super) allow: Vec<String>,
    /// Predict nothing: the smoke test alone decides
    #[arg(long)]
    pub(super) no_check: bool,
    /// Ask no network for anything: what is not on this machine is an error
    #[arg(long)]
    pub(super) offline: bool,
}

impl RunArguments {
    pub(super) fn options(&self, world: &World) -> Options {
        Options {
            jobs: self.jobs.map_or(world.context.processors, usize::from),
            locked: self.locked,
            check: !self.no_check,
            allowed: self.allow.iter().cloned().collect(),
            only_looks: false,
            offline: self.offline,
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
