//! Compiling one unit once more, for its bits alone: nothing is taken from what is kept, and nothing is added to it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::super::container::{ContainerPlan, DIRECTORIES, OWNER};
use super::super::exports::{self, Exports};
use super::super::fetch::FETCHED_ENTRIES_LIMIT;
use super::super::resolved::BuildImage;
use super::super::{Run, RunError};
use crate::bundle::{Declared, collect};
use crate::digest::Digest;
use crate::engine::job::{Job, Outcome, Upload, run_and_collect};
use crate::engine::lines::LINE_LIMIT_BYTES;
use crate::engine::{ByteStream, ContainerSpec, Mount, Network};
use crate::event::{Event, Stage};
use crate::language::{CacheAccess, HOST_NAME, OUT_ROOT, ROOT, cache_access};
use crate::name::EnvironmentName;
use crate::owner::Owner;
use crate::plan::UnitPlan;
use crate::regular_file;
use crate::source::{EntryTimes, SourceTree};
use crate::stream;
use crate::temporary::{COLLECT_PREFIX, TemporaryDirectory};
use crate::verify::{FailureRecord, NOT_VARIED, Setting, SourcePlace, moved, rebuilt};

/// Below the root, for what a rebuild brings along: sources that are to lie elsewhere, and the clock.
const OWN_DIRECTORIES: [&str; 2] = ["varied", STAGED_DIRECTORY];
const STAGED_DIRECTORY: &str = "staged";
const SOURCE_DIRECTORY: &str = "src";
/// Where what earlier builds left is seen.
const KEPT_PATH: &str = "/lockstep/kept";
/// Makes it what a unit's tools find, with links: what they add is the unit's own.
const FILL_FROM_KEPT: &str = r#"for kept in /lockstep/kept/*; do
  if [ -d "$kept" ]; then mkdir "/lockstep/cache/${kept##*/}"; cp -Rs "$kept/." "/lockstep/cache/${kept##*/}"; fi
done"#;
/// How much later each source file is than the one before it, where each has a time of its own.
const SOURCE_TIME_STEP_SECONDS: u64 = 61;
/// How long before `source_date_epoch` the first of them is: the last one is not to be in the future.
const SOURCE_TIMES_BEFORE_SECONDS: u64 = 200 * 24 * 60 * 60;

/// What is compiled again and again.
#[derive(Clone)]
pub(super) struct Rebuild<'a> {
    pub(super) environment: &'a EnvironmentName,
    pub(super) image: &'a BuildImage,
    pub(super) unit: &'a UnitPlan,
    pub(super) tree: &'a SourceTree,
    pub(super) exports: &'a Exports,
    /// What was fetched.
    pub(super) dependencies: Option<PathBuf>,
    /// The image as it was made again, where that is another one.
    pub(super) remade: Option<&'a BuildImage>,
    /// What is counted and noted meanwhile.
    pub(super) tally: &'a Tally,
}

/// What is counted and noted while something is compiled again and again.
#[derive(Default)]
pub(super) struct Tally {
    /// How often it was compiled.
    pub(super) count: AtomicUsize,
    /// What could not be varied, and why.
    pub(super) not_varied: Mutex<BTreeMap<String, String>>,
}

/// What came of it.
pub(super) enum Attempt {
    /// Its artifacts.
    Built(Bits),
    /// It did not compile, or left something else than its artifacts.
    Failed(Box<RunError>),
}

/// Artifacts, for as long as they are compared.
pub(super) struct Bits {
    pub(super) digests: BTreeMap<String, Digest>,
    directory: TemporaryDirectory,
}

impl Bits {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Attempt {
    /// Whether the same bits came out.
    pub(super) fn is_as(&self, bits: &Bits) -> bool {
        matches!(self, Self::Built(other) if other.digests == bits.digests)
    }

    /// The artifacts; an error where it did not compile.
    pub(super) fn bits(self) -> Result<Bits, RunError> {
        match self {
            Self::Built(bits) => Ok(bits),
            Self::Failed(error) => Err(*error),
        }
    }

    /// How it failed, if it did.
    pub(super) fn failure(&self) -> Option<FailureRecord> {
        let Self::Failed(error) = self else { return None };
        Some(match &**error {
            RunError::Step(step) => FailureRecord {
                end: step.end.to_string(),
                tail: step.tail.clone(),
                log: Some(step.log.display().to_string()),
            },
            error => FailureRecord {
                end: error.to_string(),
                tail: vec![],
                log: None,
            },
        })
    }
}

impl Rebuild<'_> {
    fn note(&self, variations: &str, why: &str) {
        let mut notes = self.tally.not_varied.lock().unwrap_or_else(PoisonError::into_inner);
        for variation in variations.split(", ") {
            notes.entry(variation.to_owned()).or_insert_with(|| why.to_owned());
        }
    }

    /// Takes what a container tells of what it could not vary.
    fn listen(&self, line: &str) {
        let told = line.strip_prefix(NOT_VARIED).and_then(|told| told.split_once(": "));
        if let Some((variations, why)) = told {
            self.note(variations, why);
        }
    }
}

impl Run {
    /// Compiles a unit in a new container, as `setting` says; `label` tells people what this rebuild is for.
    pub(super) async fn rebuild(
        &self,
        rebuild: &Rebuild<'_>,
        setting: &Setting,
        label: &str,
        stop: &CancellationToken,
    ) -> Result<Attempt, RunError> {
        let Rebuild { environment, unit, .. } = *rebuild;
        let number = rebuild.tally.count.fetch_add(1, Ordering::Relaxed) + 1;
        let uploads = self.rebuild_uploads(rebuild, setting, stop).await?;
        let spec = self.rebuild_container(rebuild, setting, number).await?;
        let job = Job {
            spec: &spec,
            uploads,
            limit: self.project.limits.timeout,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: Some(self.disk_limit(environment, &rebuild.image.id)),
        };
        let step = Self::step(environment, Stage::Verify, format!("{} {label}", unit.name));
        self.events.emit(Event::StepStarted { step: step.clone() });
        let log = self.log(environment, &format!("{}-verify-{number}", unit.name))?;
        let out = moved(OUT_ROOT, setting.root.unwrap_or(ROOT));
        let collecting = async |container, outcome: Outcome| {
            self.check_outcome("compile", environment, unit, outcome, &log)?;
            let archive = self.engine.download(&container, &out).await?;
            self.take_bits(environment, unit, archive).await
        };
        let sink = |_, line: &str| {
            rebuild.listen(line);
            self.output(&step, &log, line);
        };
        let result = run_and_collect(self.engine.as_ref(), job, &sink, stop, collecting).await;
        self.emit_end(step, &result, |_| "compiled".to_owned());
        match result {
            Ok(bits) => Ok(Attempt::Built(bits)),
            Err(error @ (RunError::Step(_) | RunError::Collect { .. })) => Ok(Attempt::Failed(Box::new(error))),
            Err(error) => Err(error),
        }
    }

    async fn rebuild_container(
        &self,
        rebuild: &Rebuild<'_>,
        setting: &Setting,
        number: usize,
    ) -> Result<ContainerSpec, RunError> {
        let Rebuild { environment, unit, .. } = *rebuild;
        let root = setting.root.unwrap_or(ROOT);
        let remade = rebuild.remade.filter(|_| setting.is_in_remade_image);
        let mut setting = setting.clone();
        let mut volumes = Vec::new();
        if setting.has_kept
            && let Some(volume) = self.kept_volume(rebuild).await?
        {
            volumes.push(Mount::Volume {
                name: volume,
                path: moved(KEPT_PATH, root),
                read_only: true,
            });
            setting.first.push(FILL_FROM_KEPT);
        }
        if setting.processors.is_some() && self.engine_facts.processors < 2 {
            rebuild.note("processors", "the engine has one");
        }
        let own = &unit.unit.env;
        let command = rebuilt(&unit.compile, own, &setting, self.context.started_at_seconds);
        let is_in_memory = setting.sources != SourcePlace::Volume;
        if is_in_memory {
            volumes.push(Mount::OwnedTmpfs {
                path: format!("{root}/{SOURCE_DIRECTORY}"),
                size_bytes: self.project.limits.memory_bytes / 2,
                owner: setting.owner.unwrap_or(OWNER),
                executable: true,
            });
        }
        let mut spec = self.container(ContainerPlan {
            environment,
            role: "verify",
            subject: &format!("{}-{number}", unit.name),
            image: &remade.unwrap_or(rebuild.image).id,
            command: self.measured_below(root, &command.script),
            variables: command.variables,
            // What is not there yet would be made by the engine, and belong to root.
            working_directory: if is_in_memory { root } else { &command.working_directory },
            network: Network::None,
            volumes,
        });
        for mount in &mut spec.mounts {
            if let Mount::Anonymous { path, .. } = mount
                && path == ROOT
            {
                root.clone_into(path);
            }
        }
        if let Some(owner) = setting.owner {
            spec.user = format!("{}:{}", owner.uid, owner.gid);
        }
        spec.machine.host_name = Some(setting.host_name.unwrap_or(HOST_NAME).to_owned());
        spec.machine.domain_name = setting.domain_name.map(str::to_owned);
        spec.machine.processors = setting.processors.map(str::to_owned);
        spec.machine.may_fix_addresses = !setting.personality.is_empty();
        Ok(spec)
    }

    /// The volume in which the language's tools keep what makes the next compile faster, if there is one for this unit.
    pub(super) async fn kept_volume(&self, rebuild: &Rebuild<'_>) -> Result<Option<String>, RunError> {
        if cache_access(&rebuild.unit.unit) == CacheAccess::None {
            return Ok(None);
        }
        let name = self.cache_volume_name(rebuild.environment);
        if self.engine.volume(&name).await?.is_some() {
            return Ok(Some(name));
        }
        rebuild.note("caches", "no build has kept anything here");
        Ok(None)
    }

    async fn rebuild_uploads(
        &self,
        rebuild: &Rebuild<'_>,
        setting: &Setting,
        stop: &CancellationToken,
    ) -> Result<Vec<Upload>, RunError> {
        let root = setting.root.unwrap_or(ROOT);
        let owner = setting.owner.unwrap_or(OWNER);
        let is_in_memory = setting.sources != SourcePlace::Volume;
        let mut directories = DIRECTORIES.to_vec();
        directories.extend(OWN_DIRECTORIES);
        let epoch = self.project.source_date_epoch;
        let times = match setting.has_source_times {
            false => EntryTimes::from(epoch),
            true => EntryTimes {
                first_seconds: epoch.saturating_sub(SOURCE_TIMES_BEFORE_SECONDS),
                step_seconds: SOURCE_TIME_STEP_SECONDS,
            },
        };
        let directory = if is_in_memory {
            STAGED_DIRECTORY
        } else {
            SOURCE_DIRECTORY
        };
        let mut uploads = vec![
            self.directories_of(owner, &directories)?,
            Upload {
                path: ROOT.to_owned(),
                archive: rebuild.tree.archive(directory, owner, times),
            },
        ];
        uploads.extend(exports::upload(rebuild.unit, Some(rebuild.exports), stop).await?);
        uploads.extend(rebuild.dependencies.clone().map(|path| Upload {
            path: ROOT.to_owned(),
            archive: owned(path, owner),
        }));
        for upload in &mut uploads {
            root.clone_into(&mut upload.path);
        }
        Ok(uploads)
    }

    async fn take_bits(
        &self,
        environment: &EnvironmentName,
        unit: &UnitPlan,
        archive: ByteStream,
    ) -> Result<Bits, RunError> {
        let root = self.store.root();
        let directory =
            TemporaryDirectory::new_in(root, COLLECT_PREFIX).map_err(RunError::file_at("make a directory in", root))?;
        let declared = Declared {
            root: "out".to_owned(),
            artifacts: unit.unit.artifacts.iter().cloned().collect(),
            artifact_limit_bytes: self.project.limits.artifact_bytes,
        };
        let collected = collect(archive, declared, directory.path()).await;
        let collected = collected.map_err(|cause| RunError::Collect {
            unit: unit.name.clone(),
            environment: environment.clone(),
            cause,
        })?;
        let digests = collected.artifacts.into_iter();
        Ok(Bits {
            digests: digests.map(|artifact| (artifact.name, artifact.digest)).collect(),
            directory,
        })
    }
}

/// What was fetched, as an upload that belongs to `owner`.
fn owned(path: PathBuf, owner: Owner) -> ByteStream {
    stream::written_by(move |writer| {
        let mut archive = tar::Archive::new(regular_file::open_itself(&path)?);
        let mut owned = tar::Builder::new(writer);
        for (count, entry) in archive.entries()?.enumerate() {
            if count == FETCHED_ENTRIES_LIMIT {
                return Err(io::Error::other(format!("more than {FETCHED_ENTRIES_LIMIT} files")));
            }
            let entry = entry?;
            let path = entry.path()?.into_owned();
            let mut header = entry.header().clone();
            header.set_uid(owner.uid.into());
            header.set_gid(owner.gid.into());
            let size = entry.size();
            owned.append_data(&mut header, &path, entry.take(size))?;
        }
        owned.finish()
    })
}
