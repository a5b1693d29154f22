//! The smoke test: artifacts loaded for real, in the runtime image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::accounts::Accounts;
use super::container::{ContainerPlan, OWNER, TMP_LIMIT_BYTES, in_memory, plain_variables};
use super::open::Opened;
use super::opener::Opener;
use super::placed::{BUNDLE_PATH, bundle_path, plugins_directory};
use super::sources::loader_files;
use super::stage::{Stage, StagedBundle};
use super::{Run, RunError};
use crate::check::Verdict;
use crate::config::Smoke;
use crate::engine::job::{self, Ending, Job, Upload};
use crate::engine::{ContainerSpec, Mount, Network, OutputStream};
use crate::event::{Event, Stage as EventStage};
use crate::language::{HOME_ROOT, ROOT};
use crate::name::EnvironmentName;
use crate::owner::Owner;
use crate::smoke::{
    self, HostObservation, Mismatch, Outcome, Place, PluginObservation, SmokeFailure, Whereabouts, failed_plugins,
};

/// Where the loader is in the container.
const LOADER_PATH: &str = "/lockstep/loader/lockstep-loader";
/// How long a step may take to end beyond what it is given: to stop, and until nothing of it is left.
const STEP_GRACE: Duration = Duration::from_secs(20);
/// How long a container may take beyond what the loader itself may, before it is taken for dead.
const CONTAINER_GRACE: Duration = Duration::from_secs(30);
/// The longest event: two streams of the loader's limit and a channel of four times that, each byte as six.
const EVENT_LINE_LIMIT_BYTES: usize = 40 * 1024 * 1024;
/// Who the loader is: whoever can become another user.
const GUARD: Owner = Owner { uid: 0, gid: 0 };
/// What it needs for that, and to end what is another user's. What it starts has none of it.
const CAPABILITIES: [&str; 3] = ["KILL", "SETGID", "SETUID"];
/// The directories below [`ROOT`].
const DIRECTORIES: &[&str] = &["home", "loader"];
/// Where the shared volume is mounted.
const VOLUME_PATH: &str = "/lockstep/volume";
/// Where host and plugins can write, how large it may grow, and to what part of the container's memory at most.
const WRITABLE: [(&str, u64, u64); 3] = [
    ("/tmp", TMP_LIMIT_BYTES, 4),
    (HOME_ROOT, TMP_LIMIT_BYTES, 8),
    ("/dev/shm", 64 * 1024 * 1024, 8),
];
/// To what part of the container's memory at most the directories may grow together that steps ask for. Where there are some, the
/// others may grow to half of what they may else.
const ASKED_FOR_PART: u64 = 4;
/// Where users and groups are, of which a container may have to be told.
const ACCOUNTS_DIRECTORY: &str = "/etc";
/// The files there.
const ACCOUNTS_FILES: [&str; 2] = ["passwd", "group"];

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
        let result = self.smoke(stage).await.and_then(|(report, opened)| {
            contradiction(environment, &opened, predicted)?;
            let missing = match (&self.project.smoke, &report.host) {
                (Some(smoke), Some(host)) => smoke::hint_unstarted_program(smoke, host),
                _ => None,
            };
            judge(environment, report, self.is_sure_of_host(&opened), missing)
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

    /// Of plugins that do not load in the host, whether the contract says that it opens them; none if there are none.
    fn is_sure_of_host(&self, opened: &[Opened]) -> Option<bool> {
        let failed = opened
            .iter()
            .filter(|opened| opened.observation.outcome != Outcome::Loaded && matches!(opened.opener, Opener::Host(_)));
        let is_sure = |opened: &Opened| {
            let unit = self.project.plugins.get(opened.plugin);
            unit.is_some_and(|unit| self.project.contracts.of(unit).opened_by.is_some())
        };
        failed.map(is_sure).min()
    }

    /// Loads every plugin, then runs the host with all of them. Says also who opened them.
    async fn smoke(&self, stage: &Stage<'_>) -> Result<(SmokeReport, Vec<Opened>), RunError> {
        let opened = self.open_plugins(stage).await?;
        let host = self.drive_host(stage).await?;
        let mismatches = match (&self.project.smoke, &host) {
            (Some(smoke), Some(host)) => smoke::host_mismatches(smoke, host),
            _ => vec![],
        };
        let report = SmokeReport {
            plugins: opened.iter().map(|opened| opened.observation.clone()).collect(),
            host,
            mismatches,
        };
        Ok((report, opened))
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
            let plugins = side.files_of_plugins(&self.project);
            let stage = side.stage("bundle", side.files_of(&self.project), plugins);
            reports.insert(name.clone(), self.smoke_stage(name, &stage, &[]).await?);
        }
        Ok(reports)
    }

    /// What the host does with the plugins; none for projects without a smoke command.
    pub(super) async fn drive_host(&self, stage: &Stage<'_>) -> Result<Option<HostObservation>, RunError> {
        let Some(smoke) = &self.project.smoke else {
            return Ok(None);
        };
        let whereabouts = Whereabouts {
            host: &self.project.host,
            host_directory: BUNDLE_PATH,
            plugins_directory: plugins_directory(&self.project),
            users: &stage.accounts.users,
            user: OWNER,
        };
        let limit = smoke
            .steps
            .iter()
            .map(|step| step.invocation.timeout + STEP_GRACE)
            .sum();
        let arguments = smoke::steps(smoke, whereabouts);
        let told = self.run_loader(stage, "drive", arguments, limit, Some(smoke)).await?;
        let report =
            smoke::host_report(&told.events, &smoke.steps, !told.ending.is_success()).map_err(SmokeFailure::from)?;
        match report.place {
            Place::Ended => Ok(Some(report.host)),
            Place::AtWork | Place::Between => Ok(Some(HostObservation {
                failure: Some(format!("it ended the smoke loader: {}", smoke::described(&told.ending))),
                ..report.host
            })),
            Place::NotBegun => Err(told.failure().into()),
        }
    }

    /// Runs the loader in a container of its own and gives what it told, however it ended. What `smoke` asks for is there.
    pub(super) async fn run_loader(
        &self,
        stage: &Stage<'_>,
        role: &str,
        arguments: Vec<String>,
        limit: Duration,
        smoke: Option<&Smoke>,
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
            volumes: match &stage.bundle {
                StagedBundle::InVolume { volume, .. } => vec![Mount::Volume {
                    name: volume.clone(),
                    path: VOLUME_PATH.to_owned(),
                    read_only: true,
                }],
                StagedBundle::InImage | StagedBundle::OfFiles(_) => vec![],
            },
        });
        let places = smoke.map_or_else(Vec::new, |smoke| places(smoke, stage.accounts));
        let mut spec = guarded(spec, places);
        let told = stage.accounts.files.as_ref().map(|_| ACCOUNTS_DIRECTORY);
        let bundle = match &stage.bundle {
            StagedBundle::InImage => vec![],
            StagedBundle::InVolume { .. } | StagedBundle::OfFiles(_) => {
                stage.installs.directories().chain([bundle_path().0]).collect()
            }
        };
        // One directory may be meant twice.
        let filled: BTreeSet<&str> = told.into_iter().chain(bundle).collect();
        for path in filled {
            // The engine fills a new volume with what the image has there.
            spec.mounts.push(Mount::Anonymous {
                path: path.to_owned(),
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
        let loader = loader_files(self.project.contracts.loader()).iter();
        let loader = loader
            .map(|file| (stage.loader.join(file), (*file).to_owned(), true))
            .collect();
        uploads.push(self.files_of(GUARD, "loader", loader));
        if let Some(texts) = &stage.accounts.files {
            uploads.push(self.accounts_files(texts)?);
        }
        let (above, current) = bundle_path();
        match &stage.bundle {
            StagedBundle::InImage => return Ok(uploads),
            StagedBundle::InVolume { path, .. } => {
                uploads.push(self.link_to(GUARD, above, current, &format!("{VOLUME_PATH}/{path}"))?);
            }
            StagedBundle::OfFiles(host) => {
                let files = host.iter().chain(&stage.plugins).cloned().collect();
                uploads.push(self.placed_files(GUARD, above, current, files));
            }
        }
        for (directory, files) in stage.installs.placed(&stage.plugins) {
            uploads.push(self.placed_files(GUARD, directory, ".", files));
        }
        Ok(uploads)
    }

    /// Users and groups, in the place of those that the image has.
    fn accounts_files(&self, texts: &[String; 2]) -> Result<Upload, RunError> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, text) in ACCOUNTS_FILES.into_iter().zip(texts) {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(GUARD.uid.into());
            header.set_gid(GUARD.gid.into());
            header.set_size(text.len() as u64);
            header.set_mtime(self.project.source_date_epoch);
            archive
                .append_data(&mut header, name, text.as_bytes())
                .map_err(RunError::file("write a tar"))?;
        }
        let bytes = archive.into_inner().map_err(RunError::file("write a tar"))?;
        Ok(Upload {
            path: ACCOUNTS_DIRECTORY.to_owned(),
            archive: in_memory(bytes),
        })
    }
}

/// A directory that a step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WritablePlace {
    path: String,
    owner: Owner,
    executable: bool,
}

/// The directories that steps ask for, each once.
fn places(smoke: &Smoke, accounts: &Accounts) -> Vec<WritablePlace> {
    let mut places: BTreeMap<&str, WritablePlace> = BTreeMap::new();
    for step in &smoke.steps {
        for path in &step.writable {
            let place = places.entry(path).or_insert_with(|| WritablePlace {
                path: path.clone(),
                owner: accounts.owner_of(Some(&step.invocation)),
                executable: false,
            });
            place.executable |= step.exec;
        }
    }
    places.into_values().collect()
}

/// What the loader told until its container ended.
pub(super) struct Told {
    /// How that ended.
    pub(super) ending: Ending,
    /// The lines of its standard output.
    pub(super) events: Vec<String>,
    /// Those of standard error.
    words: Vec<String>,
}

impl Told {
    pub(super) fn failure(self) -> SmokeFailure {
        SmokeFailure::loader(&self.ending, self.words)
    }
}

/// A container in which the loader is another user than what it loads, and where that can write to memory alone: to so
/// little of it that what stays there leaves enough for the loader.
fn guarded(mut spec: ContainerSpec, places: Vec<WritablePlace>) -> ContainerSpec {
    let memory_bytes = spec.limits.memory_bytes;
    // The loader is the first process: it reaps what plugins leave behind and hands on signals.
    spec.init = false;
    // Servers ask where they are.
    spec.sees_interfaces = true;
    spec.user = format!("{}:{}", GUARD.uid, GUARD.gid);
    spec.capabilities = CAPABILITIES.map(ToOwned::to_owned).to_vec();
    spec.mounts.retain(|mount| !matches!(mount, Mount::Tmpfs { .. }));
    let shares = if places.is_empty() { 1 } else { 2 };
    for (path, limit_bytes, part) in WRITABLE {
        spec.mounts.push(Mount::Tmpfs {
            path: path.to_owned(),
            size_bytes: (memory_bytes / (part * shares)).min(limit_bytes),
        });
    }
    let each_bytes = memory_bytes / ASKED_FOR_PART / (places.len() as u64).max(1);
    for place in places {
        spec.mounts.push(Mount::OwnedTmpfs {
            path: place.path,
            size_bytes: each_bytes.min(TMP_LIMIT_BYTES),
            owner: place.owner,
            executable: place.executable,
        });
    }
    spec
}

/// An error if something did not load of which the prediction was that it will.
fn contradiction(environment: &EnvironmentName, opened: &[Opened], predicted: &[Verdict]) -> Result<(), RunError> {
    let is_refused = |plugin: &PluginObservation| {
        let outcomes = [Outcome::NotLoadable, Outcome::SymbolMissing, Outcome::TypeDiffers];
        outcomes.contains(&plugin.outcome) && !plugin.is_unopened()
    };
    let contradicted: Vec<&Opened> = opened
        .iter()
        .filter(|opened| is_refused(&opened.observation) && predicted.get(opened.plugin) == Some(&Verdict::Ok))
        .collect();
    let Some(first) = contradicted.first() else {
        return Ok(());
    };
    let fault = "one of the two is wrong, and that is a fault of lockstep's: please report it with these files";
    let is_typed = |opened: &&Opened| opened.observation.outcome == Outcome::TypeDiffers;
    let (opener, hint) = match first.opener {
        Opener::Host(_) => ("the host", fault),
        // A plugin's types are its own, whatever the host exports.
        _ if contradicted.iter().all(is_typed) => ("the smoke loader", fault),
        Opener::Loader | Opener::Nobody => (
            "the smoke loader",
            "the smoke loader has nothing of what the host exports: write `opened_by: host` in the contract, or \
             `opened_by: nobody` where the host cannot",
        ),
    };
    Err(SmokeFailure::Contradiction {
        environment: environment.clone(),
        plugins: contradicted
            .into_iter()
            .map(|opened| opened.observation.clone())
            .collect(),
        opener,
        hint,
    }
    .into())
}

/// An error unless all is as expected; `missing` says what to do about a program that is not there. Of plugins that the host opens, `is_sure_of_host` says whether the contract says so.
fn judge(
    environment: &EnvironmentName,
    report: SmokeReport,
    is_sure_of_host: Option<bool>,
    missing: Option<String>,
) -> Result<SmokeReport, RunError> {
    if failed_plugins(&report.plugins).next().is_none() && report.mismatches.is_empty() {
        return Ok(report);
    }
    let SmokeReport {
        plugins, mismatches, ..
    } = report;
    Err(SmokeFailure::Observed {
        environment: environment.clone(),
        hint: is_sure_of_host
            .and_then(|is_sure| smoke::hint_within_host(&plugins, is_sure))
            .map(str::to_owned)
            .or(missing),
        plugins,
        mismatches,
    }
    .into())
}
