//! The main job: resolve, fetch, compile, collect, check, smoke-test, seal.

use std::collections::BTreeMap;

use futures_util::stream::StreamExt as _;
use serde::Serialize;

use super::brought::planned_host;
use super::compile::{CompileInput, Compiled};
use super::error::{OtherBits, OtherToolchain};
use super::exports;
use super::resolved::{ResolvedEnvironment, describe};
use super::smoke::SmokeReport;
use super::sources::{LoaderSources, Sources, scan};
use super::store::Record;
use super::{Run, RunError};
use crate::bundle::{Expected, INSTANCE_LABEL, VolumeError, look_at, verify};
use crate::digest::{Digest, Hasher};
use crate::engine::{EngineError, ImageId};
use crate::event::{Event, Stage};
use crate::language::needs_exports;
use crate::lock::{self, Change, LockFile, environment_changes, still_pushed, unit_changes};
use crate::name::{EnvironmentName, ProjectName, UnitName};
use crate::plan::{EnvironmentPlan, PlannedFile, UnitPlan, plan};

/// Part of what a build is asked for: to be changed when builds are held to other rules, so that what passed by the old
/// ones is looked at again.
const REQUEST_VERSION: &[u8] = b"lockstep request 3";

/// What `build` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildReport {
    /// The version of this form.
    pub schema_version: u32,
    /// The project.
    pub project: ProjectName,
    /// The environments, in the order in which they were built.
    pub environments: Vec<EnvironmentReport>,
}

/// What `build` did for one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvironmentReport {
    /// Its name.
    pub name: EnvironmentName,
    /// Whether nothing had to be done.
    pub unchanged: bool,
    /// The build image's ID.
    pub build_image: String,
    /// The runtime image's ID.
    pub runtime_image: String,
    /// The units.
    pub units: Vec<UnitReport>,
    /// The directory of the bundle, relative to the project.
    pub directory: String,
    /// What is said of the bundle beside it: a directory, relative to the project.
    pub metadata: String,
    /// The shared volume.
    pub volume: String,
    /// The matched image's tag.
    pub image: String,
    /// The smoke test; none when nothing had to be done.
    pub smoke: Option<SmokeReport>,
}

/// What came of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitReport {
    /// Its name.
    pub name: UnitName,
    /// Whether its artifacts were there already.
    pub cached: bool,
    /// Its artifacts' digests by name.
    pub artifacts: BTreeMap<String, Digest>,
}

/// What a run over several environments works on.
pub(super) struct Workload {
    pub(super) sources: Sources,
    /// What the project brings as its host.
    pub(super) host: Option<PlannedFile>,
    pub(super) loader: LoaderSources,
    pub(super) lock: LockFile,
    pub(super) environments: Vec<EnvironmentPlan>,
}

impl Run {
    /// Builds environments, in order. Those that are done when a later one fails stay done.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn build(&self, environments: &[EnvironmentName]) -> Result<BuildReport, RunError> {
        let mut work = self.prepare(environments)?;
        if self.options.locked {
            self.check_rest_of_lock(&work).await?;
        }
        self.events.emit(Event::RunStarted {
            project: self.project.name.to_string(),
            environments: environments.to_vec(),
            units: self.project.units().map(|unit| unit.name.clone()).collect(),
        });
        let plans = work.environments.clone();
        // What the lock has may be another image than its recipe would give now: it is made again in its turn.
        let is_new = |plan: &&EnvironmentPlan| !work.lock.lock.environments.contains_key(&plan.name);
        let later: Vec<&EnvironmentPlan> = plans.iter().skip(1).filter(is_new).collect();
        let building = async {
            let mut reports = Vec::new();
            for plan in &plans {
                self.is_cancelled()?;
                let report = self.build_environment(plan, &mut work).await;
                reports.push(report.map_err(|error| error.located(&work.lock))?);
            }
            Ok(reports)
        };
        let reports = self.with_images_ahead(&later, building).await?;
        let known = self.project.environments.keys().cloned().collect();
        let entries = work.lock.lock.environments.values();
        let hosts = entries.filter_map(|entry| entry.host.as_ref()).map(|host| host.digest);
        self.store.prune(&known, &hosts.collect()).map_err(RunError::file_at(
            "remove what is not used any more in",
            self.store.root(),
        ))?;
        let cached = |report: &EnvironmentReport| report.units.iter().filter(|unit| unit.cached).count();
        let units: usize = reports.iter().map(|report| report.units.len()).sum();
        let cached: usize = reports.iter().map(cached).sum();
        self.events.emit(Event::RunFinished {
            environments: reports.len(),
            compiled: units - cached,
            cached,
            next: self.next_steps(&reports),
        });
        Ok(BuildReport {
            schema_version: 1,
            project: self.project.name.clone(),
            environments: reports,
        })
    }

    fn next_steps(&self, reports: &[EnvironmentReport]) -> Vec<String> {
        let matrix = (reports.len() > 1).then(|| "lockstep matrix".to_owned());
        let image = reports.last().map(|report| format!("docker run --rm {}", report.image));
        matrix.into_iter().chain(image).collect()
    }

    /// Reads everything that decides what is to be done.
    pub(super) fn prepare(&self, environments: &[EnvironmentName]) -> Result<Workload, RunError> {
        let lock = lock::read_file(&lock::lock_path(&self.project.file))?;
        let sources = scan(&self.project)?;
        let host = planned_host(&self.project)?;
        let loader = LoaderSources::of(self.project.contracts.loader())?;
        Ok(Workload {
            environments: self.plans(environments, (host.as_ref(), &sources), &loader, &lock)?,
            sources,
            host,
            loader,
            lock,
        })
    }

    fn plans(
        &self,
        environments: &[EnvironmentName],
        (host, sources): (Option<&PlannedFile>, &Sources),
        loader: &LoaderSources,
        lock: &LockFile,
    ) -> Result<Vec<EnvironmentPlan>, RunError> {
        let unit_sources = sources
            .iter()
            .map(|(name, (_, source))| (name.clone(), source.clone()))
            .collect();
        let loader = (loader.unit.clone(), loader.source.clone());
        let sources = (host, &unit_sources);
        let plan = plan(&self.project, environments, sources, &loader, Some(&lock.lock))?;
        Ok(plan.environments)
    }

    async fn build_environment(
        &self,
        plan: &EnvironmentPlan,
        work: &mut Workload,
    ) -> Result<EnvironmentReport, RunError> {
        let locked = work.lock.lock.environments.get(&plan.name).cloned();
        if let Some(report) = self.unchanged(plan, locked.as_ref()).await? {
            return Ok(report);
        }
        if locked.is_none() && self.options.locked {
            return Err(RunError::OutOfDate {
                environment: plan.name.clone(),
                changes: vec![missing_environment(&plan.name)],
            });
        }
        let resolved = self.resolve(&plan.name, locked.as_ref(), false).await?;
        self.events.emit(Event::EnvironmentDescribed {
            environment: plan.name.clone(),
            description: resolved.description(),
        });
        self.emit_images(&plan.name, &resolved);
        self.check_sources_locked(plan, locked.as_ref(), &resolved)?;
        check_toolchains(plan, &resolved)?;
        let compiled = self.compile_all(plan, &resolved, work).await?;
        let entry = self
            .lock_entry(plan, &resolved, &compiled, locked.as_ref())
            .inspect_err(|error| self.forget_what_differs(error, &compiled))?;
        if self.options.locked {
            // What came out must be what the lock has, to the last line, before anything is published.
            let empty = BTreeMap::new();
            let units = locked.as_ref().map_or(&empty, |locked| &locked.units);
            out_of_date(&plan.name, unit_changes(units, &entry.units))?;
            if locked.as_ref() != Some(&entry) {
                return Err(RunError::WouldWrite);
            }
        }
        let predicted = self.check_stage(plan, &resolved, &compiled).await?;
        let sealed = self.seal(plan, &resolved, &compiled, &entry, &predicted).await?;
        work.lock.lock.environments.insert(plan.name.clone(), entry.clone());
        if !self.options.locked {
            self.write_lock(&work.lock)?;
        }
        let record = Record {
            manifest: sealed.manifest,
            request: self.request_digest(plan, &entry)?,
            volume_instance: sealed.volume_instance,
            image: sealed.image.0,
            metadata: sealed.metadata,
            actions: compiled.values().map(|unit| unit.action).collect(),
            fetches: compiled.values().filter_map(|unit| unit.fetch).collect(),
        };
        self.store
            .keep_record(&plan.name, &record)
            .map_err(RunError::file_at("keep the record of the build in", self.store.root()))?;
        let units = plan.units.iter().filter_map(|unit| {
            compiled
                .get(&unit.name)
                .map(|compiled| unit_report(&unit.name, compiled))
        });
        Ok(EnvironmentReport {
            smoke: Some(sealed.smoke),
            units: units.collect(),
            ..self.report(plan, &entry)
        })
    }

    fn report(&self, plan: &EnvironmentPlan, entry: &lock::Environment) -> EnvironmentReport {
        let unit = |(name, unit): (&UnitName, &lock::Unit)| UnitReport {
            name: name.clone(),
            cached: true,
            artifacts: unit.artifacts.clone(),
        };
        EnvironmentReport {
            name: plan.name.clone(),
            unchanged: false,
            build_image: entry.build.id.clone(),
            runtime_image: entry.runtime.id.clone(),
            units: entry.units.iter().map(unit).collect(),
            directory: plan.publication.directory.clone(),
            metadata: plan.publication.metadata.clone(),
            volume: plan.publication.volume.clone(),
            image: plan.publication.image.clone(),
            smoke: None,
        }
    }

    /// Whether the last build was of exactly this, and everything that it published is still there and as it was.
    async fn unchanged(
        &self,
        plan: &EnvironmentPlan,
        locked: Option<&lock::Environment>,
    ) -> Result<Option<EnvironmentReport>, RunError> {
        let (Some(entry), Some(record)) = (locked, self.store.record(&plan.name)) else {
            return Ok(None);
        };
        if record.request != self.request_digest(plan, entry)? {
            return Ok(None);
        }
        let damage = self.damage(plan, &record).await?;
        if !damage.is_empty() {
            self.events.emit(Event::Warning {
                message: format!(
                    "what was published of {} is not as it was: {}",
                    plan.name,
                    damage.join(", ")
                ),
                hint: Some("it is published again now; look for who changed it".to_owned()),
            });
            return Ok(None);
        }
        if self.options.locked && !self.are_registries_confirmed(plan, entry).await? {
            return Ok(None);
        }
        self.events.emit(Event::EnvironmentDescribed {
            environment: plan.name.clone(),
            description: describe(&entry.toolchains),
        });
        self.events.emit(Event::StageSummary {
            environment: plan.name.clone(),
            stage: Stage::Seal,
            text: format!("{} · volume {}", plan.publication.directory, plan.publication.volume),
            note: "nothing changed".to_owned(),
        });
        Ok(Some(EnvironmentReport {
            unchanged: true,
            ..self.report(plan, entry)
        }))
    }

    /// In what the published bundle, volume and image are not what the last good build left.
    async fn damage(&self, plan: &EnvironmentPlan, record: &Record) -> Result<Vec<String>, RunError> {
        let directory = &plan.publication.directory;
        let manifest = match verify(&self.project.directory.join(directory)) {
            Err(error) => return Ok(vec![error.to_string()]),
            Ok((_, differences)) if !differences.is_empty() => {
                return Ok(differences
                    .iter()
                    .map(|difference| format!("{directory}: {difference}"))
                    .collect());
            }
            Ok((manifest, _)) if manifest.digest().ok() != Some(record.manifest) => {
                return Ok(vec![format!("{directory} is another bundle")]);
            }
            Ok((manifest, _)) => manifest,
        };
        let volume = &plan.publication.volume;
        let image = &plan.publication.image;
        let mut damage = match self.engine.volume(volume).await? {
            None => vec![format!("the volume {volume} is gone")],
            Some(facts) if facts.labels.get(INSTANCE_LABEL) != Some(&record.volume_instance) => {
                vec![format!("the volume {volume} is another one")]
            }
            Some(facts) => {
                let expected = Expected::of(&manifest).map_err(VolumeError::from)?;
                let looked = self.release_volume(plan, ImageId(record.image.clone()));
                // Without the image there is nothing to look with, and more to be made anew.
                match look_at(self.engine.as_ref(), &looked, &facts, &expected).await {
                    Ok(differences) => differences
                        .iter()
                        .map(|difference| format!("volume {volume}: {difference}"))
                        .collect(),
                    Err(VolumeError::Engine(EngineError::NotFound { .. })) => vec![],
                    Err(error) => return Err(error.into()),
                }
            }
        };
        damage.extend(self.metadata_damage(&plan.publication, record)?);
        if self
            .engine
            .image(image)
            .await?
            .is_none_or(|image| image.id.0 != record.image)
        {
            damage.push(format!("the image {image} is gone or another one"));
        }
        Ok(damage)
    }

    /// The digest of all that decides the result: the plan, what the lock demands, and what the artifacts must pass.
    pub(super) fn request_digest(&self, plan: &EnvironmentPlan, entry: &lock::Environment) -> Result<Digest, RunError> {
        let mut hasher = Hasher::new();
        hasher.field(REQUEST_VERSION);
        hasher.field(env!("CARGO_PKG_VERSION").as_bytes());
        // The images that the plan shows are those of the lock, which is part of the request itself.
        let plan = EnvironmentPlan {
            locked_images: None,
            ..plan.clone()
        };
        let mut field = |value: Result<Vec<u8>, serde_json::Error>| {
            value
                .map(|bytes| hasher.field(&bytes))
                .map_err(|error| RunError::file("describe the build")(error.into()))
        };
        field(serde_json::to_vec(&plan))?;
        // Where else its images are is no part of it.
        let entry = lock::Environment {
            pushed: lock::Pushed::new(),
            ..entry.clone()
        };
        field(serde_json::to_vec(&entry))?;
        field(serde_json::to_vec(&self.project.contracts))?;
        field(serde_json::to_vec(&self.project.smoke))?;
        field(serde_json::to_vec(&self.project.host))?;
        field(serde_json::to_vec(&self.project.image))?;
        for recipe in [&plan.build, &plan.runtime] {
            hasher.field(
                super::recipe::recipe_digest(&self.project, recipe)?
                    .to_string()
                    .as_bytes(),
            );
        }
        Ok(hasher.finish())
    }

    /// With `--locked`, every unit must be what the lock says before anything is compiled.
    pub(super) fn check_sources_locked(
        &self,
        plan: &EnvironmentPlan,
        locked: Option<&lock::Environment>,
        resolved: &ResolvedEnvironment,
    ) -> Result<(), RunError> {
        if !self.options.locked {
            return Ok(());
        }
        let empty = BTreeMap::new();
        let units = locked.map_or(&empty, |locked| &locked.units);
        // What is left to differ once the images were resolved is the project's: its host and its units.
        let mut changes = locked.map_or_else(Vec::new, |locked| environment_changes(locked, &resolved.entry()));
        changes.extend(planned_changes(plan, resolved.build_image().identity, units));
        out_of_date(&plan.name, changes)
    }

    /// With `--locked`, the whole file must be as it should be, also what says nothing of the environments that are built.
    pub(super) async fn check_rest_of_lock(&self, work: &Workload) -> Result<(), RunError> {
        if let Some(misformed) = work.lock.misformed()? {
            return Err(RunError::Misformed {
                file: work.lock.name(),
                misformed,
            });
        }
        let others = self.project.environments.keys();
        let others: Vec<EnvironmentName> = others.filter(|name| work.plan_of(name).is_none()).cloned().collect();
        let others = self.plans(&others, (work.host.as_ref(), &work.sources), &work.loader, &work.lock)?;
        for (name, entry) in &work.lock.lock.environments {
            let changes = match others.iter().find(|plan| plan.name == *name) {
                // What cannot be looked at here is for the run that builds it.
                Some(plan) => self.check_entry(plan, entry).await?.changes,
                None if work.plan_of(name).is_some() => continue,
                None => vec![gone_environment(name)],
            };
            out_of_date(name, changes).map_err(|error| error.located(&work.lock))?;
        }
        Ok(())
    }

    /// Compiles the loader, all builds and all units that come from none, side by side; gives what came of each unit.
    pub(super) async fn compile_all(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        work: &Workload,
    ) -> Result<BTreeMap<UnitName, Compiled>, RunError> {
        let image = resolved.build_image();
        let compiles = plan.compiles().filter_map(|compile| {
            let unit = plan.units_of(compile).next()?;
            work.sources.get(&unit.name).map(|(tree, _)| (compile, tree))
        });
        // The loader first: it takes longest, and nothing else has to wait for it.
        let (teller, exports) = exports::channel();
        let is_asked = plan.units.iter().any(|unit| needs_exports(&unit.unit));
        if is_asked {
            self.tell_exports(&teller, resolved).await?;
        }
        let all: Vec<_> = [(&plan.loader, &work.loader.tree)]
            .into_iter()
            .chain(compiles)
            .collect();
        let stop = self.cancellation.child_token();
        let mut compiling = futures_util::stream::iter(all)
            .map(|(compile, tree)| {
                let (image, stop) = (&image, &stop);
                let given = CompileInput {
                    exports: Some(&exports),
                    dependencies: locked_dependencies(plan, compile, image.identity, work),
                };
                async move {
                    let compiled = self.compile(&plan.name, image, compile, tree, given, stop).await;
                    (compile, compiled)
                }
            })
            .buffer_unordered(self.options.jobs);
        let (mut compiled, mut failure) = (BTreeMap::new(), None);
        while let Some((compile, result)) = compiling.next().await {
            let host = plan.units_of(compile).find(|unit| unit.is_host());
            // The host's plugins may wait for it.
            let result = result.and_then(|done| match host.and_then(|host| host.unit.artifacts.first()) {
                Some(program) if is_asked => teller.tell_of_file(&done.directory.join(program)).map(|()| done),
                _ => Ok(done),
            });
            match result {
                Ok(done) if compile.name == plan.loader.name => _ = compiled.insert(compile.name.clone(), done),
                Ok(done) => {
                    let units = plan.units_of(compile);
                    compiled.extend(units.map(|unit| (unit.name.clone(), done.part(&unit.unit.artifacts))));
                }
                Err(error) => {
                    // The others end themselves: dropped while the engine makes its container, one would leave it.
                    stop.cancel();
                    failure.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        self.events.emit(Event::StageSummary {
            environment: plan.name.clone(),
            stage: Stage::Compile,
            text: String::new(),
            note: String::new(),
        });
        Ok(compiled)
    }

    /// What is not reproducible is compiled anew by the next run: kept, it would stay wrong after its cause is gone.
    fn forget_what_differs(&self, error: &RunError, compiled: &BTreeMap<UnitName, Compiled>) {
        if let RunError::NotReproducible(other) = error
            && let Some(compiled) = compiled.get(&other.unit)
        {
            // What cannot be removed only leads to the same error once more.
            let _ = self.store.forget_compiled(compiled.action);
        }
    }

    /// The lock's entry after a build. The same inputs that gave other bits than the lock has are an error.
    fn lock_entry(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        compiled: &BTreeMap<UnitName, Compiled>,
        locked: Option<&lock::Environment>,
    ) -> Result<lock::Environment, RunError> {
        let mut units = BTreeMap::new();
        for unit in &plan.units {
            let Some(compiled) = compiled.get(&unit.name) else {
                continue;
            };
            let artifacts: BTreeMap<String, Digest> = compiled
                .artifacts
                .iter()
                .map(|artifact| (artifact.name.clone(), artifact.digest))
                .collect();
            let before = locked
                .and_then(|locked| locked.units.get(&unit.name))
                .filter(|before| before.action == compiled.action);
            // One that the unit does not have is not compared but left out.
            let other = before.and_then(|before| {
                before.artifacts.iter().find_map(|(name, expected)| {
                    let found = artifacts.get(name).filter(|found| *found != expected)?;
                    Some((name, *expected, *found))
                })
            });
            if let Some((artifact, expected, found)) = other {
                return Err(RunError::NotReproducible(Box::new(OtherBits {
                    environment: plan.name.clone(),
                    unit: unit.name.clone(),
                    artifact: artifact.clone(),
                    expected,
                    found,
                    line: None,
                })));
            }
            units.insert(
                unit.name.clone(),
                lock::Unit {
                    source: unit.source,
                    fetch: compiled.fetch,
                    dependencies: compiled.record.dependencies,
                    action: compiled.action,
                    artifacts,
                    files: shipped_digests(unit),
                },
            );
        }
        let mut entry = lock::Environment {
            units,
            ..resolved.entry()
        };
        entry.pushed = still_pushed(locked, &entry);
        Ok(entry)
    }
}

/// What the lock says was fetched for a compile, by the same command for the same files.
pub(super) fn locked_dependencies(
    plan: &EnvironmentPlan,
    compile: &UnitPlan,
    identity: Digest,
    work: &Workload,
) -> Option<Digest> {
    let locked = work.lock.lock.environments.get(&plan.name)?;
    let key = compile.fetch_key(identity)?;
    let units = plan.units_of(compile).filter_map(|unit| locked.units.get(&unit.name));
    units
        .filter(|unit| unit.fetch == Some(key))
        .find_map(|unit| unit.dependencies)
}

/// What a lock that lacks an environment is told.
pub(super) fn missing_environment(name: &EnvironmentName) -> Change {
    let missing = "not in the lock".to_owned();
    Change::new(format!("environment {name}"), &[], None, Some(missing))
}

/// What a lock that has an environment which the project has not is told.
pub(super) fn gone_environment(name: &EnvironmentName) -> Change {
    let gone = "not in the project".to_owned();
    Change::new(format!("environment {name}"), &[], Some(gone), None)
}

/// What is shipped with a unit, as the lock has it.
fn shipped_digests(unit: &UnitPlan) -> BTreeMap<String, Digest> {
    let files = unit.files.iter();
    files.map(|file| (file.place.to_string(), file.digest)).collect()
}

/// What the lock says of the units otherwise than they are planned. Which bits come out is known afterwards; which
/// artifacts there are to be is known before.
pub(super) fn planned_changes(
    plan: &EnvironmentPlan,
    identity: Digest,
    locked: &BTreeMap<UnitName, lock::Unit>,
) -> Vec<Change> {
    let unit = |unit: &UnitPlan| {
        let mut artifacts = locked
            .get(&unit.name)
            .map(|locked| locked.artifacts.clone())
            .unwrap_or_default();
        artifacts.retain(|name, _| unit.unit.artifacts.contains(name));
        let fetch = unit.fetch_key(identity);
        let known = locked.get(&unit.name).and_then(|locked| locked.dependencies);
        let unit_entry = lock::Unit {
            source: unit.source,
            fetch,
            dependencies: known.filter(|_| fetch.is_some()),
            action: unit.action_key(identity),
            artifacts,
            files: shipped_digests(unit),
        };
        (unit.name.clone(), unit_entry)
    };
    let planned: BTreeMap<UnitName, lock::Unit> = plan.units.iter().map(unit).collect();
    let mut changes = unit_changes(locked, &planned);
    for unit in &plan.units {
        let Some(locked) = locked.get(&unit.name) else { continue };
        let missing = unit.unit.artifacts.iter();
        let missing = missing.filter(|name| !locked.artifacts.contains_key(*name));
        changes.extend(missing.map(|name| {
            let subject = format!("unit {} artifact {name}", unit.name);
            let path = ["units", unit.name.as_str(), "artifacts"];
            Change::new(subject, &path, None, Some("not in the lock".to_owned()))
        }));
    }
    changes
}

pub(super) fn out_of_date(environment: &EnvironmentName, changes: Vec<Change>) -> Result<(), RunError> {
    if changes.is_empty() {
        return Ok(());
    }
    Err(RunError::OutOfDate {
        environment: environment.clone(),
        changes,
    })
}

/// An error when a unit's files ask for a compiler that is not the image's; told before anything is fetched for it.
pub(super) fn check_toolchains(plan: &EnvironmentPlan, resolved: &ResolvedEnvironment) -> Result<(), RunError> {
    for unit in plan.compiles() {
        for required in &unit.required {
            // What has no compiler says so itself.
            if let Some(found) = resolved.toolchains.get(&required.tool)
                && !required.is_met_by(found)
            {
                return Err(RunError::Toolchain(Box::new(OtherToolchain {
                    unit: unit.name.clone(),
                    environment: plan.name.clone(),
                    required: required.clone(),
                    found: found.clone(),
                })));
            }
        }
    }
    Ok(())
}

fn unit_report(name: &UnitName, compiled: &Compiled) -> UnitReport {
    let artifacts = compiled
        .artifacts
        .iter()
        .map(|artifact| (artifact.name.clone(), artifact.digest))
        .collect();
    UnitReport {
        name: name.clone(),
        cached: compiled.cached,
        artifacts,
    }
}
