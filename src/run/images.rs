//! From recipes to images: from the lock where it has them, else from the world; and never another image in silence.

use std::collections::BTreeMap;

use super::error::MakeError;
use super::keep::Kept;
use super::making::{Made, Making};
use super::recipe::{Kind, check_extension, name_of, recipe_digest};
use super::resolved::{Origin, ResolvedEnvironment, ResolvedImage, Wanted};
use super::supply::supply;
use super::truth::KnownImage;
use super::{Run, RunError};
use crate::config::RecipeReference;
use crate::event::{Event, Stage, StepId};

use crate::lock::{self, Change, LockFile, Role, environment_changes, is_other_host, still_pushed};
use crate::name::EnvironmentName;

/// Under which key an environment's entry has the host.
const HOST_KEY: &str = "host";

/// What `lock` did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LockReport {
    /// The version of this form.
    pub schema_version: u32,
    /// What changed, by environment; one without changes is there with none.
    pub environments: BTreeMap<EnvironmentName, Vec<Change>>,
    /// What could not be looked at, and why: it is not known to be true.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unchecked: BTreeMap<EnvironmentName, Vec<String>>,
    /// The packages that were put where they can be had again, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

impl LockReport {
    pub(super) fn new() -> Self {
        Self {
            schema_version: 1,
            environments: BTreeMap::new(),
            unchecked: BTreeMap::new(),
            kept: None,
        }
    }

    /// Whether all was looked at, and nothing differs.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.environments.values().all(Vec::is_empty) && self.unchecked.is_empty()
    }

    /// Whether something differs.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.environments.values().all(Vec::is_empty)
    }

    /// The same, with the lines of the lock that say what is not so.
    pub(super) fn located(mut self, file: &LockFile) -> Self {
        for (environment, changes) in &mut self.environments {
            lock::locate(changes, environment, file);
        }
        self
    }
}

impl Run {
    /// The images of an environment. With an entry in the lock, exactly those, and all that it says of them must be true;
    /// `update` looks at the world again.
    pub(super) async fn resolve(
        &self,
        environment: &EnvironmentName,
        locked: Option<&lock::Environment>,
        update: bool,
    ) -> Result<ResolvedEnvironment, RunError> {
        let Some(recipes) = self.project.environments.get(environment) else {
            let known = self.project.environments.keys().cloned().collect();
            return Err(crate::plan::PlanError::UnknownEnvironment {
                name: environment.to_string(),
                known,
            }
            .into());
        };
        let expected = locked.filter(|_| !update);
        if let Some(expected) = expected {
            self.check_recipes(environment, recipes, expected)?;
        }
        let pushed = |role| expected.and_then(|entry| entry.pushed.get(&role).copied());
        let build = Wanted {
            role: Role::Build,
            recipe: &recipes.build,
            expected: expected.map(|entry| &entry.build),
            pushed: pushed(Role::Build),
        };
        let build = self.resolve_image(environment, build, update).await?;
        let runtime = Wanted {
            role: Role::Runtime,
            recipe: &recipes.runtime,
            expected: expected.map(|entry| &entry.runtime),
            pushed: pushed(Role::Runtime),
        };
        let runtime = self.resolve_image(environment, runtime, update).await?;
        if matches!(recipes.build, RecipeReference::Extended { .. }) {
            check_extension(&build.locked, &runtime.locked)?;
        }
        let toolchains = self.probe_toolchains(environment, &build.id, &runtime.id).await?;
        let brought = self.brought_host(environment, locked, update).await?;
        let host = match &brought {
            Some(host) => Some(host.locked.clone()),
            None => self.present_host(environment, &runtime).await?,
        };
        let resolved = ResolvedEnvironment {
            build,
            runtime,
            toolchains,
            host,
            brought,
        };
        if let Some(expected) = expected {
            let mut changes = environment_changes(expected, &resolved.entry());
            // Another host is another project, not another environment: its entry is written anew as those of units are.
            let is_of_project = |change: &Change| match &resolved.host {
                // The project's own file.
                Some(host) if resolved.brought.is_some() && host.image.is_none() => {
                    change.path.first().is_some_and(|step| step == HOST_KEY)
                }
                _ => is_other_host(change),
            };
            changes.retain(|change| !is_of_project(change));
            if !changes.is_empty() {
                let details = self.differing_files(expected, &resolved, &changes).await?;
                return Err(RunError::Drift {
                    environment: environment.clone(),
                    changes,
                    details,
                });
            }
        }
        Ok(resolved)
    }

    /// A recipe that was edited makes another environment: told before anything is made from it.
    fn check_recipes(
        &self,
        environment: &EnvironmentName,
        recipes: &crate::config::Environment,
        expected: &lock::Environment,
    ) -> Result<(), RunError> {
        let mut changes = Vec::new();
        for (role, recipe, locked) in [
            ("build", &recipes.build, &expected.build),
            ("runtime", &recipes.runtime, &expected.runtime),
        ] {
            let digest = recipe_digest(&self.project, recipe)?;
            let subject = format!("{role} recipe");
            changes.extend(Change::of_digests(subject, &[role, "recipe"], locked.recipe, digest));
        }
        if changes.is_empty() {
            Ok(())
        } else {
            Err(RunError::Drift {
                environment: environment.clone(),
                changes,
                details: vec![],
            })
        }
    }

    pub(super) async fn resolve_image(
        &self,
        environment: &EnvironmentName,
        wanted: Wanted<'_>,
        update: bool,
    ) -> Result<ResolvedImage, RunError> {
        self.is_cancelled()?;
        let Wanted {
            role, recipe, expected, ..
        } = wanted;
        if let Some(expected) = expected {
            if let Some(KnownImage { facts, truth }) = self.locked_image(environment, recipe, expected).await? {
                return Ok(ResolvedImage {
                    id: facts.id,
                    locked: truth,
                    origin: Origin::Lock,
                });
            }
            // Nothing that could be made now would fit what contradicts itself.
            let changes = self.contradictions(role.name(), recipe, expected)?;
            if !changes.is_empty() {
                return Err(RunError::Drift {
                    environment: environment.clone(),
                    changes,
                    details: vec![],
                });
            }
        }
        let step = StepId {
            environment: None,
            stage: Stage::Images,
            subject: Some(name_of(recipe)),
        };
        self.events.emit(Event::StepStarted { step: step.clone() });
        let making = self.making(&step, &wanted, update);
        let made = async {
            let kind = Kind::of(&self.project, recipe)?;
            let made = match expected {
                Some(locked) => supply(&making, kind, locked).await?,
                None => kind.make(&making).await?,
            };
            let truth = self.truth(environment, recipe, &made.facts, expected).await?;
            let replaced = || MakeError::Replaced {
                reference: made.facts.id.0.clone(),
            };
            let truth = truth.ok_or_else(replaced)?;
            Ok::<_, RunError>((made, truth))
        };
        let (Made { facts, is_new }, locked) = match made.await {
            Ok(made) => made,
            Err(error) => {
                self.events.emit(Event::StepFailed {
                    step,
                    summary: format!("{role} image of {environment}"),
                });
                return Err(error);
            }
        };
        self.events.emit(Event::StepFinished {
            step,
            summary: facts.id.short(),
            cached: !is_new,
        });
        Ok(ResolvedImage {
            id: facts.id,
            locked,
            origin: if is_new { Origin::Made } else { Origin::Present },
        })
    }

    /// What is needed to make an image, or to find it.
    pub(super) fn making<'a>(&'a self, step: &'a StepId, wanted: &Wanted<'a>, update: bool) -> Making<'a> {
        Making {
            project: &self.project,
            context: &self.context,
            engine: self.engine.as_ref(),
            events: self.events.as_ref(),
            step,
            cancellation: &self.cancellation,
            network: &self.network,
            registry: self.registry.as_ref(),
            pushed: wanted.pushed,
            expected: wanted.expected,
            update,
            offline: self.options.offline,
        }
    }

    /// Writes the lock's part about environments, and tells what changed. Units are left as they are.
    ///
    /// # Errors
    /// When an image cannot be made, or the lock cannot be written; without `update`, when an entry is not true.
    pub async fn lock(&self, environments: &[EnvironmentName], update: bool) -> Result<LockReport, RunError> {
        let mut file = lock::read_file(&lock::lock_path(&self.project.file))?;
        let mut report = LockReport::new();
        for environment in environments {
            let before = file.lock.environments.get(environment).cloned();
            let resolved = self.resolve(environment, before.as_ref(), update).await;
            let resolved = resolved.map_err(|error| error.located(&file))?;
            if let Some(before) = before.as_ref().filter(|_| !update) {
                let untrue = self.untrue_artifacts(environment, &resolved, before)?;
                untrue.map_or(Ok(()), |error| Err(error.located(&file)))?;
            }
            let mut entry = resolved.entry();
            entry.units = before.as_ref().map(|before| before.units.clone()).unwrap_or_default();
            entry.pushed = still_pushed(before.as_ref(), &entry);
            self.events.emit(Event::EnvironmentDescribed {
                environment: environment.clone(),
                description: resolved.description(),
            });
            self.emit_images(environment, &resolved);
            let changes = match &before {
                Some(before) => environment_changes(before, &entry),
                None => vec![Change::new(
                    format!("environment {environment}"),
                    &[],
                    None,
                    Some("locked".to_owned()),
                )],
            };
            report.environments.insert(environment.clone(), changes);
            file.lock.environments.insert(environment.clone(), entry);
        }
        // Environments that the project no longer has are of no use to anybody.
        file.lock
            .environments
            .retain(|name, _| self.project.environments.contains_key(name));
        self.is_cancelled()?;
        self.write_lock(&file)?;
        Ok(report)
    }

    /// Whether the lock has other artifacts of what is to be compiled than this machine has: then one of them is not what
    /// came out.
    fn untrue_artifacts(
        &self,
        environment: &EnvironmentName,
        resolved: &ResolvedEnvironment,
        entry: &lock::Environment,
    ) -> Result<Option<RunError>, RunError> {
        let work = self.prepare(std::slice::from_ref(environment))?;
        let identity = resolved.build_image().identity;
        let checked = work
            .plan_of(environment)
            .map(|plan| self.check_artifacts(plan, identity, entry));
        let changes = checked.map(|checked| checked.changes).unwrap_or_default();
        Ok((!changes.is_empty()).then(|| RunError::Drift {
            environment: environment.clone(),
            changes,
            details: vec![],
        }))
    }

    /// Writes a lock, unless it is what is there already, so that its time of change means something.
    pub(super) fn write_lock(&self, file: &LockFile) -> Result<(), RunError> {
        let before = lock::read_file(&file.path)?;
        if before.lock == file.lock && before.misformed()?.is_none() && before.exists() {
            return Ok(());
        }
        Ok(lock::write(&file.path, &file.lock)?)
    }

    /// The line about an environment's images.
    pub(super) fn emit_images(&self, environment: &EnvironmentName, resolved: &ResolvedEnvironment) {
        let note = match resolved.build.origin.max(resolved.runtime.origin) {
            Origin::Lock => "from lock",
            Origin::Present => "present",
            Origin::Made => "made",
        };
        self.events.emit(Event::StageSummary {
            environment: environment.clone(),
            stage: Stage::Images,
            text: format!(
                "build {} · runtime {}",
                resolved.build.id.short(),
                resolved.runtime.id.short()
            ),
            note: note.to_owned(),
        });
    }
}
