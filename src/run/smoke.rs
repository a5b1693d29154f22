//! The smoke test: artifacts loaded for real, in the runtime image.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::container::{ContainerPlan, OWNER, TMP_LIMIT_BYTES, plain_variables};
use super::opener::Opener;
use super::sources::loader_files;
use super::{Run, RunError};
use crate::check::Verdict;
use crate::config::{Project, SmokeKind};
use crate::engine::job::{self, Ending, Job, Upload};
use crate::engine::{ContainerSpec, ImageId, Mount, Network, OutputStream};
use crate::event::{Event, Stage as EventStage};
use crate::language::{HOME_ROOT, ROOT};
use crate::name::EnvironmentName;
use crate::owner::Owner;
use crate::smoke::{
    self, Confinement, HostObservation, Mismatch, Outcome, Place, PluginObservation, SmokeFailure, Within,
    failed_plugins,
};

/// Where the loader is in the container.
const LOADER_PATH: &str = "/lockstep/loader/lockstep-loader";
/// Where the probe is, which makes a host open plugins.
const PROBE_PATH: &str = "/lockstep/loader/lockstep-probe.so";
/// Those of a project without a smoke test.
static NO_VARIABLES: BTreeMap<String, String> = BTreeMap::new();
/// How long one plugin may take to load and to answer.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a process may take in which several plugins are opened. The loader takes no more than an hour.
const PROCESS_TIMEOUT_LIMIT: Duration = Duration::from_secs(600);
/// How long it may take until nothing of a plugin is left.
const PLUGIN_GRACE: Duration = Duration::from_secs(10);
/// How long a container may take beyond what the loader itself may, before it is taken for dead.
const CONTAINER_GRACE: Duration = Duration::from_secs(30);
/// The longest event: two streams of the loader's limit and a channel of four times that, each byte as six.
const EVENT_LINE_LIMIT_BYTES: usize = 40 * 1024 * 1024;
/// Who the loader is: whoever can become another user.
const GUARD: Owner = Owner { uid: 0, gid: 0 };
/// What it needs for that, and to end what is another user's. What it starts has none of it.
const CAPABILITIES: [&str; 3] = ["KILL", "SETGID", "SETUID"];
/// The directories below [`ROOT`].
const DIRECTORIES: &[&str] = &["home", "loader", "bin", "plugins"];
/// Where host and plugins can write, how large it may grow, and to what part of the container's memory at most.
const WRITABLE: [(&str, u64, u64); 3] = [
    ("/tmp", TMP_LIMIT_BYTES, 4),
    (HOME_ROOT, TMP_LIMIT_BYTES, 8),
    ("/dev/shm", 64 * 1024 * 1024, 8),
];
/// What keeps plugins from the loader and from each other. Every engine has `/dev/mqueue`, for queues of messages.
const CONFINEMENT: Confinement<'static> = Confinement {
    user: OWNER,
    scratch: &["/tmp", HOME_ROOT, "/dev/shm", "/dev/mqueue"],
};

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
    /// The directory of this machine that holds the loader, compiled in the same environment.
    pub(super) loader: PathBuf,
    /// Who opens plugins.
    pub(super) opener: Opener,
    /// What else is mounted.
    pub(super) volumes: Vec<Mount>,
    /// Files of this machine for `bin` and `plugins` below [`ROOT`].
    pub(super) files: Vec<(&'static str, Vec<PathBuf>)>,
    /// The directory that holds the host.
    pub(super) host_directory: String,
    /// The directory that holds the plugins.
    pub(super) plugins_directory: String,
    /// The plugins' files on this machine, their companions too.
    pub(super) plugins_here: Vec<PathBuf>,
    /// A directory of the image, and files of this machine that are put beside what it holds.
    pub(super) install: Option<(String, Vec<PathBuf>)>,
}

/// What became of plugins, and in whose process that was.
pub(super) struct Opened {
    pub(super) plugins: Vec<PluginObservation>,
    pub(super) opener: Opener,
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
    /// The smoke test of a stage, with its line; an error unless all went as expected, and as it was `predicted`, if it was.
    pub(super) async fn smoke_stage(
        &self,
        environment: &EnvironmentName,
        stage: &Stage<'_>,
        predicted: &[Verdict],
    ) -> Result<SmokeReport, RunError> {
        let step = Self::step(environment, EventStage::Smoke, "loading");
        self.events.emit(Event::StepStarted { step: step.clone() });
        let result = self.smoke(stage).await.and_then(|(report, opener)| {
            contradiction(environment, &report.plugins, predicted, &opener)?;
            let within_host = matches!(opener, Opener::Host(_));
            let is_sure = self.project.contract.opened_by.is_some();
            judge(environment, report, within_host.then_some(is_sure))
        });
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
            text: match (report.plugins.len(), report.host.is_some()) {
                (0, true) => "host answered as expected".to_owned(),
                (count, _) => {
                    let order = smoke::order_in_words(&report.plugins);
                    let order = order.map_or_else(String::new, |order| format!(" · {order}"));
                    format!("{count} loaded{order}{host}")
                }
            },
            note: String::new(),
        });
        Ok(report)
    }

    /// Loads every plugin, then runs the host with all of them. Says also who opened them.
    async fn smoke(&self, stage: &Stage<'_>) -> Result<(SmokeReport, Opener), RunError> {
        let Opened { plugins, opener } = self.open_plugins(stage, &plugin_files(&self.project)).await?;
        let host = self.drive_host(stage).await?;
        let mismatches = match (&self.project.smoke, &host) {
            (Some(smoke), Some(host)) => smoke::host_mismatches(smoke, host),
            _ => vec![],
        };
        let report = SmokeReport {
            plugins,
            host,
            mismatches,
        };
        Ok((report, opener))
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
            reports.insert(name.clone(), self.smoke_stage(name, &stage, &[]).await?);
        }
        Ok(reports)
    }

    /// What the loader says of each of `plugins`. None of them can take that of another one with it: where the loader ends
    /// early, the others are left to a new container, and each decides about one at least.
    pub(super) async fn open_plugins(&self, stage: &Stage<'_>, plugins: &[String]) -> Result<Opened, RunError> {
        let opened = self.open_plugins_by(stage.opener.clone(), stage, plugins).await?;
        let is_sure = self.project.contract.opened_by.is_some();
        match opened.plugins.iter().find(|plugin| plugin.is_unopened()) {
            Some(plugin) if !is_sure => {
                let message = format!(
                    "{} does not come to its main when it is started alone, so the smoke loader opens the plugins: {}",
                    self.project.host.name(),
                    smoke::outcome_in_words(plugin)
                );
                self.events.emit(Event::Warning {
                    message,
                    hint: Some("`opened_by: loader` in the contract says that it is to be so".to_owned()),
                });
                self.open_plugins_by(Opener::Loader, stage, plugins).await
            }
            _ => Ok(opened),
        }
    }

    async fn open_plugins_by(&self, opener: Opener, stage: &Stage<'_>, plugins: &[String]) -> Result<Opened, RunError> {
        if opener == Opener::Nobody {
            let plugins = vec![];
            return Ok(Opened { plugins, opener });
        }
        let paths: Vec<String> = plugins
            .iter()
            .map(|plugin| format!("{}/{plugin}", stage.plugins_directory))
            .collect();
        let mut plugins = self.open_in_containers(&opener, stage, "open", &[], &paths).await?;
        self.open_after_others(&opener, stage, &paths, &mut plugins).await?;
        Ok(Opened { plugins, opener })
    }

    /// What the loader says of each of these plugins, opened after those that are `before` them.
    pub(super) async fn open_in_containers(
        &self,
        opener: &Opener,
        stage: &Stage<'_>,
        role: &str,
        before: &[String],
        paths: &[String],
    ) -> Result<Vec<PluginObservation>, RunError> {
        let mut seen = Vec::new();
        let mut round = 1;
        while seen.len() < paths.len() {
            let role = if round == 1 {
                role.to_owned()
            } else {
                format!("{role}-{round}")
            };
            seen.extend(
                self.open_in_one_container(opener, stage, &role, before, &paths[seen.len()..])
                    .await?,
            );
            round += 1;
        }
        Ok(seen)
    }

    /// What the loader says of the first of these plugins, in a container of its own; never of none of them.
    async fn open_in_one_container(
        &self,
        opener: &Opener,
        stage: &Stage<'_>,
        role: &str,
        before: &[String],
        paths: &[String],
    ) -> Result<Vec<PluginObservation>, RunError> {
        let within = match opener {
            Opener::Host(program) => Some(Within {
                program,
                probe: PROBE_PATH,
                env: self.project.smoke.as_ref().map_or(&NO_VARIABLES, |smoke| &smoke.env),
                plugins_directory: &stage.plugins_directory,
            }),
            Opener::Loader | Opener::Nobody => None,
        };
        let count = |plugins: &[String]| u32::try_from(plugins.len()).unwrap_or(u32::MAX);
        let timeout = PLUGIN_TIMEOUT.saturating_mul(count(before).saturating_add(1));
        let timeout = timeout.min(PROCESS_TIMEOUT_LIMIT);
        let contract = &self.project.contract;
        let arguments = smoke::open(contract, within, timeout, CONFINEMENT, before, paths);
        let limit = (timeout + PLUGIN_GRACE).saturating_mul(count(paths));
        let told = self.run_loader(stage, role, arguments, limit).await?;
        let report =
            smoke::plugin_report(&told.events, paths, !told.ending.is_success()).map_err(SmokeFailure::from)?;
        match (report.place, report.plugins.is_empty(), paths.first()) {
            // Nothing but this plugin was ever at work there, so nothing else can have ended it. Of a later one that is
            // not known: what an earlier one has done may show only then.
            (Place::AtWork, true, Some(path)) => Ok(vec![PluginObservation::ended_loader(
                path,
                smoke::described(&told.ending),
            )]),
            (_, false, _) => Ok(report.plugins),
            (_, true, _) => Err(told.failure().into()),
        }
    }

    /// What the host does with the plugins; none for projects without a smoke command.
    pub(super) async fn drive_host(&self, stage: &Stage<'_>) -> Result<Option<HostObservation>, RunError> {
        let Some(smoke) = &self.project.smoke else {
            return Ok(None);
        };
        let arguments = smoke::drive(
            smoke,
            &self.project.host,
            CONFINEMENT,
            &stage.host_directory,
            &stage.plugins_directory,
        );
        let requests = match &smoke.kind {
            SmokeKind::Server(server) => Some(server.requests.len()),
            SmokeKind::Command(_) => None,
        };
        let told = self.run_loader(stage, "drive", arguments, smoke.timeout).await?;
        let report =
            smoke::host_report(&told.events, requests, !told.ending.is_success()).map_err(SmokeFailure::from)?;
        match report.place {
            Place::Ended => Ok(Some(report.host)),
            Place::AtWork | Place::Between => Ok(Some(HostObservation {
                failure: Some(format!("it ended the smoke loader: {}", smoke::described(&told.ending))),
                ..report.host
            })),
            Place::NotBegun => Err(told.failure().into()),
        }
    }

    /// Runs the loader in a container of its own and gives what it told, however it ended.
    async fn run_loader(
        &self,
        stage: &Stage<'_>,
        role: &str,
        arguments: Vec<String>,
        limit: Duration,
    ) -> Result<Told, RunError> {
        let mut command = vec![LOADER_PATH.to_owned()];
        command.extend(arguments);
        let spec = self.container(ContainerPlan {
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
        let mut spec = guarded(spec);
        if let Some((path, _)) = &stage.install {
            // The engine fills a new volume with what the image has there.
            spec.mounts.push(Mount::Anonymous {
                path: path.clone(),
                labels: spec.labels.clone(),
            });
        }
        let job = Job {
            spec: &spec,
            uploads: self.smoke_uploads(stage)?,
            limit: limit + CONTAINER_GRACE,
            line_limit_bytes: EVENT_LINE_LIMIT_BYTES,
            disk: None,
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
        Ok(Told {
            ending: outcome.ending,
            events: events.into_inner().unwrap_or_else(PoisonError::into_inner),
            words: words.into_inner().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// All of it belongs to the loader's user: no plugin can replace another one, the host or the loader.
    fn smoke_uploads(&self, stage: &Stage<'_>) -> Result<Vec<Upload>, RunError> {
        let mut uploads = vec![self.directories_of(GUARD, DIRECTORIES)?];
        let loader = loader_files(self.project.contract.loader).iter();
        let loader = loader
            .map(|file| (stage.loader.join(file), (*file).to_owned(), true))
            .collect();
        uploads.push(self.files_of(GUARD, "loader", loader));
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let executables = |paths: &[PathBuf]| paths.iter().map(|path| (path.clone(), name(path), true)).collect();
        for (directory, paths) in &stage.files {
            uploads.push(self.files_of(GUARD, directory, executables(paths)));
        }
        if let Some((directory, paths)) = &stage.install {
            let files = self.files_of(GUARD, ".", executables(paths));
            uploads.push(Upload {
                path: directory.clone(),
                ..files
            });
        }
        Ok(uploads)
    }
}

/// What the loader told until its container ended.
struct Told {
    /// How that ended.
    ending: Ending,
    /// The lines of its standard output.
    events: Vec<String>,
    /// Those of standard error.
    words: Vec<String>,
}

impl Told {
    fn failure(self) -> SmokeFailure {
        SmokeFailure::loader(&self.ending, self.words)
    }
}

/// A container in which the loader is another user than what it loads, and where that can write to memory alone: to so
/// little of it that what stays there leaves enough for the loader.
fn guarded(mut spec: ContainerSpec) -> ContainerSpec {
    let memory_bytes = spec.limits.memory_bytes;
    // The loader is the first process: it reaps what plugins leave behind and hands on signals.
    spec.init = false;
    // Servers ask where they are.
    spec.sees_interfaces = true;
    spec.user = format!("{}:{}", GUARD.uid, GUARD.gid);
    spec.capabilities = CAPABILITIES.map(ToOwned::to_owned).to_vec();
    spec.mounts.retain(|mount| !matches!(mount, Mount::Tmpfs { .. }));
    for (path, limit_bytes, part) in WRITABLE {
        spec.mounts.push(Mount::Tmpfs {
            path: path.to_owned(),
            size_bytes: (memory_bytes / part).min(limit_bytes),
        });
    }
    spec
}

/// An error if something did not load of which the prediction was that it will.
fn contradiction(
    environment: &EnvironmentName,
    plugins: &[PluginObservation],
    predicted: &[Verdict],
    opener: &Opener,
) -> Result<(), RunError> {
    let is_refused = |plugin: &PluginObservation| {
        matches!(plugin.outcome, Outcome::NotLoadable | Outcome::SymbolMissing) && !plugin.is_unopened()
    };
    let pairs = plugins.iter().zip(predicted);
    let contradicted: Vec<PluginObservation> = pairs
        .filter(|(plugin, predicted)| is_refused(plugin) && **predicted == Verdict::Ok)
        .map(|(plugin, _)| plugin.clone())
        .collect();
    if contradicted.is_empty() {
        return Ok(());
    }
    let (opener, hint) = match opener {
        Opener::Host(_) => (
            "the host",
            "one of the two is wrong, and that is a fault of lockstep's: please report it with these files",
        ),
        Opener::Loader | Opener::Nobody => (
            "the smoke loader",
            "the smoke loader has nothing of what the host exports: write `opened_by: host` in the contract, or \
             `opened_by: nobody` where the host cannot",
        ),
    };
    Err(SmokeFailure::Contradiction {
        environment: environment.clone(),
        plugins: contradicted,
        opener,
        hint,
    }
    .into())
}

/// An error unless all is as expected. Of plugins that the host opens, `is_sure_of_host` says whether the contract says so.
fn judge(
    environment: &EnvironmentName,
    report: SmokeReport,
    is_sure_of_host: Option<bool>,
) -> Result<SmokeReport, RunError> {
    if failed_plugins(&report.plugins).next().is_none() && report.mismatches.is_empty() {
        return Ok(report);
    }
    let SmokeReport {
        plugins, mismatches, ..
    } = report;
    Err(SmokeFailure::Observed {
        environment: environment.clone(),
        hint: is_sure_of_host.and_then(|is_sure| smoke::hint_within_host(&plugins, is_sure)),
        plugins,
        mismatches,
    }
    .into())
}
