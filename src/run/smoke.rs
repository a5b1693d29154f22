//! The smoke test: artifacts loaded for real, in the runtime image.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::container::{ContainerPlan, plain_variables};
use super::{Run, RunError};
use crate::config::Project;
use crate::engine::job::{self, Ending, Job, Upload};
use crate::engine::{ContainerExit, ImageId, Mount, Network, OutputStream};
use crate::event::{Event, Stage as EventStage};
use crate::language::ROOT;
use crate::name::EnvironmentName;
use crate::smoke::{self, HostObservation, Mismatch, PluginObservation, SmokeFailure, failed_plugins};

/// Where the loader is in the container.
const LOADER_PATH: &str = "/lockstep/loader/lockstep-loader";
/// How long one plugin may take to load and to answer.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a container may take beyond what the loader itself may, before it is taken for dead.
const CONTAINER_GRACE: Duration = Duration::from_secs(30);
/// The longest event: three streams of the loader's limit, escaped.
const EVENT_LINE_LIMIT_BYTES: usize = 24 * 1024 * 1024;

/// How the artifacts of an environment did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SmokeReport {
    /// What was seen of each plugin.
    pub plugins: Vec<PluginObservation>,
    /// What was seen of the host; none for projects without a smoke command.
    pub host: Option<HostObservation>,
    /// In what the host did not do what is expected.
    pub mismatches: Vec<Mismatch>,
}

/// Where a container finds host, plugins and loader.
pub(super) struct Stage<'a> {
    pub(super) environment: &'a EnvironmentName,
    /// For the container's name.
    pub(super) subject: &'a str,
    /// The runtime image.
    pub(super) image: &'a ImageId,
    /// The loader, compiled in the same environment.
    pub(super) loader: PathBuf,
    /// What else is mounted.
    pub(super) volumes: Vec<Mount>,
    /// Files of this machine for `bin` and `plugins` below [`ROOT`].
    pub(super) files: Vec<(&'static str, Vec<PathBuf>)>,
    /// The directory that holds the host.
    pub(super) host_directory: String,
    /// The directory that holds the plugins.
    pub(super) plugins_directory: String,
}

/// The file that the host loads of each plugin: its first artifact; others are its companions.
pub(super) fn plugin_files(project: &Project) -> Vec<String> {
    project
        .plugins
        .iter()
        .filter_map(|plugin| plugin.artifacts.first().cloned())
        .collect()
}

impl Run {
    /// The smoke test of a stage, with its line; an error unless all went as expected.
    pub(super) async fn smoke_stage(
        &self,
        environment: &EnvironmentName,
        stage: &Stage<'_>,
    ) -> Result<SmokeReport, RunError> {
        let step = Self::step(environment, EventStage::Smoke, "loading");
        self.events.emit(Event::StepStarted { step: step.clone() });
        let result = self.smoke(stage).await.and_then(|report| judge(environment, report));
        self.emit_end(step, &result, |_| "loaded".to_owned());
        let report = result?;
        let host = if report.host.is_some() {
            " · host answered as expected"
        } else {
            ""
        };
        self.events.emit(Event::StageSummary {
            environment: environment.clone(),
            stage: EventStage::Smoke,
            text: format!("{} loaded{host}", report.plugins.len()),
            note: String::new(),
        });
        Ok(report)
    }

    /// Loads every plugin, then runs the host with all of them.
    async fn smoke(&self, stage: &Stage<'_>) -> Result<SmokeReport, RunError> {
        let plugins = self.open_plugins(stage, &plugin_files(&self.project)).await?;
        let host = self.drive_host(stage).await?;
        let mismatches = match (&self.project.smoke, &host) {
            (Some(smoke), Some(host)) => smoke::host_mismatches(smoke, host),
            _ => vec![],
        };
        Ok(SmokeReport {
            plugins,
            host,
            mismatches,
        })
    }

    /// The smoke test of bundles that are there already, from their files.
    ///
    /// # Errors
    /// When a bundle is missing or is not what its manifest says, or the test fails.
    pub async fn smoke_bundles(
        &self,
        environments: &[EnvironmentName],
    ) -> Result<BTreeMap<EnvironmentName, SmokeReport>, RunError> {
        let work = self.prepare(environments)?;
        let mut reports = BTreeMap::new();
        for name in environments {
            let side = self.side(name, &work).await?;
            let stage = side.stage(
                "bundle",
                side.files_of(&self.project),
                side.files_of_plugins(&self.project),
            );
            reports.insert(name.clone(), self.smoke_stage(name, &stage).await?);
        }
        Ok(reports)
    }

    /// What the loader says of each of `plugins`.
    pub(super) async fn open_plugins(
        &self,
        stage: &Stage<'_>,
        plugins: &[String],
    ) -> Result<Vec<PluginObservation>, RunError> {
        if plugins.is_empty() {
            return Ok(vec![]);
        }
        let paths: Vec<String> = plugins
            .iter()
            .map(|plugin| format!("{}/{plugin}", stage.plugins_directory))
            .collect();
        let arguments = smoke::open(&self.project.contract, PLUGIN_TIMEOUT, &paths);
        let count = u32::try_from(plugins.len()).unwrap_or(u32::MAX);
        let events = self
            .run_loader(stage, "open", arguments, PLUGIN_TIMEOUT.saturating_mul(count))
            .await?;
        Ok(smoke::plugin_observations(&events, &paths).map_err(SmokeFailure::from)?)
    }

    /// What the host does with the plugins; none for projects without a smoke command.
    pub(super) async fn drive_host(&self, stage: &Stage<'_>) -> Result<Option<HostObservation>, RunError> {
        let Some(smoke) = &self.project.smoke else {
            return Ok(None);
        };
        let arguments = smoke::drive(smoke, &stage.host_directory, &stage.plugins_directory);
        let events = self.run_loader(stage, "drive", arguments, smoke.timeout).await?;
        Ok(Some(smoke::host_observation(&events).map_err(SmokeFailure::from)?))
    }

    /// Runs the loader in a container of its own and gives its events.
    async fn run_loader(
        &self,
        stage: &Stage<'_>,
        role: &str,
        arguments: Vec<String>,
        limit: Duration,
    ) -> Result<Vec<String>, RunError> {
        let mut command = vec![LOADER_PATH.to_owned()];
        command.extend(arguments);
        let mut spec = self.container(ContainerPlan {
            environment: stage.environment,
            role: "smoke",
            subject: &format!("{}-{role}", stage.subject),
            image: stage.image,
            command,
            variables: plain_variables(),
            working_directory: ROOT,
            network: Network::None,
            volumes: stage.volumes.clone(),
        });
        // The loader is the first process: it reaps what plugins leave behind and hands on signals.
        spec.init = false;
        let job = Job {
            spec: &spec,
            uploads: self.smoke_uploads(stage)?,
            limit: limit + CONTAINER_GRACE,
            line_limit_bytes: EVENT_LINE_LIMIT_BYTES,
        };
        let (events, words) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let sink = |stream, line: &str| {
            let lines = if stream == OutputStream::Stdout {
                &events
            } else {
                &words
            };
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line.to_owned());
        };
        let outcome = job::run(self.engine.as_ref(), job, &sink, &self.cancellation).await?;
        let events = events.into_inner().unwrap_or_else(PoisonError::into_inner);
        match outcome.ending {
            // The loader ends with 0 once it has reported, whatever it reports.
            Ending::Exited(ContainerExit { status: 0, .. }) => Ok(events),
            ending => {
                Err(SmokeFailure::loader(&ending, words.into_inner().unwrap_or_else(PoisonError::into_inner)).into())
            }
        }
    }

    fn smoke_uploads(&self, stage: &Stage<'_>) -> Result<Vec<Upload>, RunError> {
        let mut uploads = vec![self.directories()?];
        uploads.push(self.files(
            "loader",
            vec![(stage.loader.clone(), "lockstep-loader".to_owned(), true)],
        ));
        for (directory, paths) in &stage.files {
            let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            uploads.push(self.files(
                directory,
                paths.iter().map(|path| (path.clone(), name(path), true)).collect(),
            ));
        }
        Ok(uploads)
    }
}

fn judge(environment: &EnvironmentName, report: SmokeReport) -> Result<SmokeReport, RunError> {
    if failed_plugins(&report.plugins).next().is_none() && report.mismatches.is_empty() {
        return Ok(report);
    }
    let SmokeReport {
        plugins, mismatches, ..
    } = report;
    Err(SmokeFailure::Observed {
        environment: environment.clone(),
        plugins,
        mismatches,
    }
    .into())
}
