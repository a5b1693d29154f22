//! Compiling one unit: in the build image, without a network, which its container shows first, from its sources and what was
//! fetched alone.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::container::{CACHE_DIRECTORY, ContainerPlan, OWNER, file_stream, plain_variables};
use super::error::{OtherDependencies, StepEnd, StepFailure};
use super::exports::{self, Exports};
use super::isolation::{FoundNetwork, NotIsolated, Observer, isolated};
use super::resolved::BuildImage;
use super::sources::LOADER_NAME;
use super::store::{CompileRecord, Store};
use super::{Run, RunError};
use crate::bundle::{Artifact, Declared, collect};
use crate::digest::Digest;
use crate::engine::job::{Job, Outcome, Upload, run_and_collect};
use crate::engine::lines::LINE_LIMIT_BYTES;
use crate::engine::{Mount, Network};
use crate::event::{Event, Stage, StepId};
use crate::language::{CACHE_ROOT, CacheAccess, HOST_NAME, OUT_ROOT, ROOT, cache_access};
use crate::name::EnvironmentName;
use crate::plan::UnitPlan;
use crate::regular_file;
use crate::source::SourceTree;
use crate::temporary::{self, COLLECT_PREFIX, TemporaryDirectory};

/// How many of a failed step's last lines are shown.
const TAIL_SHOWN_LINES: usize = 40;

/// A unit's artifacts, and where they are.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) directory: PathBuf,
    pub(super) action: Digest,
    pub(super) fetch: Option<Digest>,
    /// What was fetched for it, and that its container had no network.
    pub(super) record: CompileRecord,
    pub(super) cached: bool,
}

/// What a compile is given by others than its unit.
#[derive(Clone, Copy, Default)]
pub(super) struct CompileInput<'a> {
    /// What the host exports.
    pub(super) exports: Option<&'a Exports>,
    /// The digest of what the lock says is fetched for it.
    pub(super) dependencies: Option<Digest>,
}

impl Compiled {
    /// What one unit takes of it.
    pub(super) fn part(&self, names: &[String]) -> Self {
        let is_its = |artifact: &&Artifact| names.contains(&artifact.name);
        Self {
            artifacts: self.artifacts.iter().filter(is_its).cloned().collect(),
            ..self.clone()
        }
    }
}

impl CompileInput<'_> {
    /// What the lock has and what was found, if those differ.
    fn other_than(&self, found: Option<Digest>) -> Option<(Digest, Digest)> {
        let both = self.dependencies.zip(found);
        both.filter(|(expected, found)| expected != found)
    }
}

/// What is brought into a container beside a unit's sources.
struct Brought {
    uploads: Vec<Upload>,
    /// The digest of what was fetched.
    dependencies: Option<Digest>,
}

fn not_isolated(environment: &EnvironmentName, unit: &UnitPlan, found: FoundNetwork) -> RunError {
    RunError::NotIsolated(Box::new(NotIsolated {
        unit: unit.name.clone(),
        environment: environment.clone(),
        found,
    }))
}

/// The full output of a step, in a file.
pub(super) struct Log {
    path: PathBuf,
    file: Mutex<fs::File>,
}

impl Run {
    /// Compiles a unit, unless the same was compiled before; `stop` ends it like the run's own cancellation.
    pub(super) async fn compile(
        &self,
        environment: &EnvironmentName,
        image: &BuildImage,
        unit: &UnitPlan,
        tree: &SourceTree,
        given: CompileInput<'_>,
        stop: &CancellationToken,
    ) -> Result<Compiled, RunError> {
        if stop.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        let action = unit.action_key(image.identity);
        let fetch = unit.fetch_key(image.identity);
        let compiled = |artifacts, record, cached| Compiled {
            artifacts,
            directory: self.store_of(unit).compiled(action),
            action,
            fetch,
            record,
            cached,
        };
        // The loader is no unit of the project: its line would only puzzle those who read what was compiled.
        let stage = if unit.name.as_str() == LOADER_NAME {
            Stage::Loader
        } else {
            Stage::Compile
        };
        let step = Self::step(environment, stage, unit.name.as_str());
        let store = self.store_of(unit);
        let kept = store.compiled_artifacts(action, &unit.unit.artifacts);
        let kept = kept.zip(store.compile_record(action));
        // What was fetched before the lock had something else is fetched again, and compared.
        let is_locked = |record: &CompileRecord| given.other_than(record.dependencies).is_none();
        if let Some((artifacts, record)) = kept.filter(|(_, record)| is_locked(record)) {
            self.events.emit(Event::StepStarted { step: step.clone() });
            self.events.emit(Event::StepFinished {
                step,
                summary: "compiled".to_owned(),
                cached: true,
            });
            return Ok(compiled(artifacts, record, true));
        }
        let fetched = self
            .fetch(environment, image, unit, tree, given.dependencies, stop)
            .await?;
        let dependencies = fetched.as_ref().map(|fetched| fetched.digest);
        if let Some((expected, found)) = given.other_than(dependencies) {
            return Err(RunError::OtherDependencies(Box::new(OtherDependencies {
                environment: environment.clone(),
                unit: unit.name.clone(),
                expected,
                found,
                line: None,
            })));
        }
        let mut uploads: Vec<Upload> = exports::upload(unit, given.exports, stop).await?.into_iter().collect();
        uploads.extend(fetched.map(|fetched| Upload {
            path: ROOT.to_owned(),
            archive: file_stream(fetched.path),
        }));
        self.events.emit(Event::StepStarted { step: step.clone() });
        let brought = Brought { uploads, dependencies };
        let result = self
            .compile_in_container(environment, image, unit, tree, brought, stop)
            .await;
        self.emit_end(step, &result, |_| "compiled".to_owned());
        let (artifacts, record) = result?;
        Ok(compiled(artifacts, record, false))
    }

    async fn compile_in_container(
        &self,
        environment: &EnvironmentName,
        image: &BuildImage,
        unit: &UnitPlan,
        tree: &SourceTree,
        brought: Brought,
        stop: &CancellationToken,
    ) -> Result<(Vec<Artifact>, CompileRecord), RunError> {
        let mut volumes = vec![];
        // Not the loader: what is compiled for all projects depends on nothing that a project's units were near to.
        let access = match unit.name.as_str() {
            LOADER_NAME => CacheAccess::None,
            _ => cache_access(&unit.unit),
        };
        if access != CacheAccess::None {
            let name = self.cache_volume(environment).await?;
            volumes.push(Mount::Volume {
                name,
                path: CACHE_ROOT.to_owned(),
                read_only: access == CacheAccess::Read,
            });
        }
        let mut spec = self.container(ContainerPlan {
            environment,
            role: "compile",
            subject: unit.name.as_str(),
            image: &image.id,
            command: isolated(self.measured(&unit.compile.script), &unit.compile.variables),
            variables: plain_variables(),
            working_directory: &unit.compile.working_directory,
            network: Network::None,
            volumes,
        });
        spec.machine.host_name = Some(HOST_NAME.to_owned());
        let mounted = (access == CacheAccess::Read).then_some(CACHE_DIRECTORY);
        let mut uploads = vec![self.directories_but(mounted)?, self.sources(tree)];
        uploads.extend(brought.uploads);
        let job = Job {
            spec: &spec,
            uploads,
            limit: self.project.limits.timeout,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: Some(self.disk_limit(environment, &image.id)),
        };
        let log = self.log(environment, unit.name.as_str())?;
        let observer = Observer::default();
        let collect = async |container, mut outcome: Outcome| {
            let (network, line) = observer.seen();
            // It is not the unit's.
            if let Some(at) = outcome.tail.iter().position(|told| Some(told) == line.as_ref()) {
                outcome.tail.remove(at);
            }
            let network = match network {
                // One that was ended before it could say anything is told for that.
                Err(FoundNetwork::Nothing) if !outcome.ending.is_success() && line.is_none() => None,
                Ok(network) => Some(network),
                Err(found) => return Err(not_isolated(environment, unit, found)),
            };
            self.check_outcome("compile", environment, unit, outcome, &log)?;
            let network = network.ok_or_else(|| not_isolated(environment, unit, FoundNetwork::Nothing))?;
            let archive = self.engine.download(&container, OUT_ROOT).await?;
            let record = CompileRecord {
                dependencies: brought.dependencies,
                network,
            };
            let artifacts = self.keep_artifacts(environment, unit, image, archive, &record).await?;
            Ok((artifacts, record))
        };
        // The loader is no unit of the project: its line would only puzzle those who read what was compiled.
        let stage = if unit.name.as_str() == LOADER_NAME {
            Stage::Loader
        } else {
            Stage::Compile
        };
        let step = Self::step(environment, stage, unit.name.as_str());
        let sink = |stream, line: &str| {
            if !observer.takes(stream, line) {
                self.output(&step, &log, line);
            }
        };
        run_and_collect(self.engine.as_ref(), job, &sink, stop, collect).await
    }

    async fn keep_artifacts(
        &self,
        environment: &EnvironmentName,
        unit: &UnitPlan,
        image: &BuildImage,
        archive: crate::engine::ByteStream,
        record: &CompileRecord,
    ) -> Result<Vec<Artifact>, RunError> {
        let store = self.store_of(unit);
        fs::create_dir_all(store.root()).map_err(RunError::file_at("make the directory", store.root()))?;
        let staging = TemporaryDirectory::new_in(store.root(), COLLECT_PREFIX)
            .map_err(RunError::file_at("make a directory in", store.root()))?;
        let declared = Declared {
            root: "out".to_owned(),
            artifacts: unit.unit.artifacts.iter().cloned().collect(),
            artifact_limit_bytes: self.project.limits.artifact_bytes,
        };
        let failed = |cause| RunError::Collect {
            unit: unit.name.clone(),
            environment: environment.clone(),
            cause,
        };
        let collected = collect(archive, declared, staging.path()).await.map_err(failed)?;
        if collected.ignored_count > 0 {
            self.events.emit(Event::Warning {
                message: format!(
                    "`{}` left {} files that it does not declare: {}",
                    unit.name,
                    collected.ignored_count,
                    collected.ignored.join(", ")
                ),
                hint: Some("add them to `artifacts:`, or do not put them into $LOCKSTEP_OUT".to_owned()),
            });
        }
        let action = unit.action_key(image.identity);
        let keep = store.keep_compiled(action, staging.path(), &collected.artifacts, record);
        keep.map_err(RunError::file_at("keep artifacts in", store.root()))?;
        Ok(collected.artifacts)
    }

    /// Where a unit's artifacts are kept: with the project, but those of the loader for all projects, because it depends on
    /// the build image alone.
    fn store_of(&self, unit: &UnitPlan) -> &Store {
        if unit.name.as_str() == LOADER_NAME {
            &self.shared
        } else {
            &self.store
        }
    }

    /// The volume in which languages keep what makes the next compile faster.
    async fn cache_volume(&self, environment: &EnvironmentName) -> Result<String, RunError> {
        let name = self.cache_volume_name(environment);
        if self.engine.volume(&name).await?.is_none() {
            self.new_volumes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(name.clone());
            self.engine
                .create_volume(&name, &self.lasting_labels(environment, "cache"))
                .await?;
        }
        Ok(name)
    }

    pub(super) fn cache_volume_name(&self, environment: &EnvironmentName) -> String {
        format!("lockstep-{}-{environment}-cache", self.project.name)
    }

    /// A unit's sources, as an upload.
    pub(super) fn sources(&self, tree: &SourceTree) -> Upload {
        Upload {
            path: ROOT.to_owned(),
            archive: tree.archive("src", OWNER, self.project.source_date_epoch),
        }
    }

    /// Starts the log of a step.
    pub(super) fn log(&self, environment: &EnvironmentName, step: &str) -> Result<Log, RunError> {
        let path = self.store.log(environment, step);
        let directory = path.parent().unwrap_or(Path::new("."));
        regular_file::make_directory(directory).map_err(RunError::file_at("make the directory", directory))?;
        // A link with that name would be written through, whatever it leads to.
        let file = temporary::remove(&path).and_then(|()| fs::File::create_new(&path));
        let file = file.map_err(RunError::file_at("write the log", &path))?;
        Ok(Log {
            path,
            file: Mutex::new(file),
        })
    }

    /// One line of a step's output: to its log and to the reporter.
    pub(super) fn output(&self, step: &StepId, log: &Log, line: &str) {
        // A full disk shows in the artifacts; a log that is cut for it is no reason to stop.
        let _ = writeln!(log.file.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
        self.events.emit(Event::StepOutput {
            step: step.clone(),
            line: line.to_owned(),
        });
    }

    /// An error unless the container ended well.
    pub(super) fn check_outcome(
        &self,
        action: &'static str,
        environment: &EnvironmentName,
        unit: &UnitPlan,
        outcome: Outcome,
        log: &Log,
    ) -> Result<(), RunError> {
        let Some(end) = StepEnd::of(&outcome, &self.project.limits) else {
            return Ok(());
        };
        let skipped = outcome.tail.len().saturating_sub(TAIL_SHOWN_LINES);
        let path = log
            .path
            .strip_prefix(&self.project.directory)
            .unwrap_or(&log.path)
            .to_owned();
        Err(RunError::Step(Box::new(StepFailure {
            action,
            unit: unit.name.clone(),
            environment: environment.clone(),
            end,
            tail: outcome.tail.into_iter().skip(skipped).collect(),
            log: path,
        })))
    }
}
