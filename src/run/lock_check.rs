//! `lock --check`: whether every line of the lock is true. First by the project's files alone, then by the images that the
//! engine has and by what was compiled. Nothing is made, pulled or written for it.

use std::collections::BTreeMap;

use super::brought::{host_by_name, host_of_project};
use super::build::{gone_environment, planned_changes};
use super::images::LockReport;
use super::recipe::recipe_digest;
use super::resolved::{Origin, ResolvedImage, identity};
use super::sources::scan;
use super::truth::KnownImage;
use super::{Run, RunError};
use crate::bundle::{UnitRecord, verify};
use crate::config::{Program, Project};
use crate::digest::Digest;
use crate::engine::ImageId;
use crate::lock::{self, Change, Lock, environment_changes, image_changes};
use crate::name::EnvironmentName;
use crate::plan::{EnvironmentPlan, UnitPlan};
use crate::problem::one_line;

/// What came of looking at one environment's entry.
pub(super) struct Checked {
    /// What is not so.
    pub(super) changes: Vec<Change>,
    /// What could not be looked at, and why.
    pub(super) unchecked: Vec<String>,
}

fn unlocked(name: &EnvironmentName) -> Change {
    let missing = "not in the lock".to_owned();
    Change::new(format!("environment {name}"), &[], Some(missing), None)
}

/// Reports every environment that the lock has and the project has not.
fn report_gone(report: &mut LockReport, lock: &Lock, project: &Project) {
    let known = |name: &&EnvironmentName| project.environments.contains_key(*name);
    for name in lock.environments.keys().filter(|name| !known(name)) {
        report.environments.insert(name.clone(), vec![gone_environment(name)]);
    }
}

/// Compares recipes and sources with what the lock says, by the project's files alone.
///
/// # Errors
/// When the lock or a file of the project cannot be read.
pub fn check_lock(project: &Project) -> Result<LockReport, RunError> {
    let file = lock::read_file(&lock::lock_path(&project.file))?;
    let sources = scan(project)?;
    let host = host_of_project(project)?.map(|host| host.locked);
    let mut report = LockReport::new();
    for (name, environment) in &project.environments {
        let Some(entry) = file.lock.environments.get(name) else {
            if project.default.contains(name) {
                report.environments.insert(name.clone(), vec![unlocked(name)]);
            }
            continue;
        };
        let mut changes = Vec::new();
        for (role, recipe, locked) in [
            ("build", &environment.build, &entry.build),
            ("runtime", &environment.runtime, &entry.runtime),
        ] {
            let digest = recipe_digest(project, recipe)?;
            let subject = format!("{role} recipe");
            changes.extend(Change::of_digests(subject, &[role, "recipe"], locked.recipe, digest));
        }
        let host = match &host {
            Some(host) => Some(host.clone()),
            None => host_by_name(project, entry)?,
        };
        if host.is_some() {
            let seen = lock::Environment { host, ..entry.clone() };
            changes.extend(environment_changes(entry, &seen));
        }
        for unit in project.units() {
            let subject = format!("unit {} source", unit.name);
            let path = ["units", unit.name.as_str(), "source"];
            let source = sources.get(&unit.name).map(|(_, source)| source.digest);
            match (entry.units.get(&unit.name), source) {
                (Some(locked), Some(source)) => {
                    changes.extend(Change::of_digests(subject, &path, locked.source, source));
                }
                (None, Some(source)) => changes.push(Change::new(subject, &path, None, Some(source.short()))),
                (_, None) => {}
            }
        }
        let gone = entry.units.keys().filter(|name| !sources.contains_key(name));
        changes.extend(gone.map(|name| {
            let path = ["units", name.as_str()];
            Change::new(format!("unit {name}"), &path, Some("locked".to_owned()), None)
        }));
        report.environments.insert(name.clone(), changes);
    }
    report_gone(&mut report, &file.lock, project);
    Ok(report.located(&file))
}

impl Run {
    /// Compares every line of the lock with what is true: of the project's default environments and of those it has.
    ///
    /// # Errors
    /// When the lock or a file of the project cannot be read, the engine does not answer, or the lock is not written as
    /// lockstep writes it.
    pub async fn check_lock(&self) -> Result<LockReport, RunError> {
        let all: Vec<_> = self.project.environments.keys().cloned().collect();
        let work = self.prepare(&all)?;
        let mut report = LockReport::new();
        for plan in &work.environments {
            self.is_cancelled()?;
            let name = &plan.name;
            if let Some(entry) = work.lock.lock.environments.get(name) {
                let Checked { changes, unchecked } = self.check_entry(plan, entry).await?;
                report.environments.insert(name.clone(), changes);
                if !unchecked.is_empty() {
                    report.unchecked.insert(name.clone(), unchecked);
                }
            } else if self.project.default.contains(name) {
                report.environments.insert(name.clone(), vec![unlocked(name)]);
            }
        }
        report_gone(&mut report, &work.lock.lock, &self.project);
        if !report.has_changes()
            && let Some(misformed) = work.lock.misformed()?
        {
            return Err(RunError::Misformed {
                file: work.lock.name(),
                misformed,
            });
        }
        Ok(report.located(&work.lock))
    }

    /// Compares an environment's entry with what is true, as far as it can be seen without making anything.
    pub(super) async fn check_entry(
        &self,
        plan: &EnvironmentPlan,
        entry: &lock::Environment,
    ) -> Result<Checked, RunError> {
        let (mut changes, mut unchecked) = (Vec::new(), Vec::new());
        let mut images = BTreeMap::new();
        let mut truth = entry.clone();
        for (role, recipe, locked, true_image) in [
            ("build", &plan.build, &entry.build, &mut truth.build),
            ("runtime", &plan.runtime, &entry.runtime, &mut truth.runtime),
        ] {
            let digest = recipe_digest(&self.project, recipe)?;
            if digest != locked.recipe {
                true_image.recipe = digest;
                changes.extend(image_changes(role, locked, true_image));
                continue;
            }
            if let Some(known) = self.locked_image(&plan.name, recipe, locked).await? {
                let KnownImage { facts, truth } = known;
                changes.extend(image_changes(role, locked, &truth));
                images.insert(role, facts.id);
                *true_image = truth;
                continue;
            }
            let contradictions = self.contradictions(role, recipe, locked)?;
            let is_known = self.cached_truth(recipe)?.is_some_and(|cached| cached == *locked);
            if contradictions.is_empty() && !is_known {
                let id = one_line(&ImageId(locked.id.clone()).short());
                unchecked.push(format!("the {role} image {id}: the engine does not have it"));
            }
            changes.extend(contradictions);
        }
        let host = match (&self.project.host.program, images.get("runtime")) {
            (Program::Compiled(_), _) => None,
            (Program::Brought(program), _) if program.image().is_none() => {
                host_of_project(&self.project)?.map(|host| host.locked)
            }
            (Program::Brought(program), _) => {
                let known = self.true_host_of_image(&plan.name, entry).await?;
                if known.is_none() {
                    let image = program.image().unwrap_or_default();
                    unchecked.push(format!("the host's image {image}: the engine does not have it"));
                }
                known.or_else(|| entry.host.clone())
            }
            (Program::Runtime(_), Some(id)) => {
                let runtime = ResolvedImage {
                    id: id.clone(),
                    locked: truth.runtime.clone(),
                    origin: Origin::Lock,
                };
                self.present_host(&plan.name, &runtime).await?
            }
            (Program::Runtime(program), None) => {
                unchecked.push(format!("the host {}: the engine does not have its image", program.path));
                entry.host.clone()
            }
        };
        changes.extend(environment_changes(entry, &lock::Environment { host, ..entry.clone() }));
        let toolchains = match (images.get("build"), images.get("runtime")) {
            (Some(build), Some(runtime)) => Some(self.probe_toolchains(&plan.name, build, runtime).await?),
            _ => self.known_toolchains(&ImageId(entry.build.id.clone()), &ImageId(entry.runtime.id.clone())),
        };
        match toolchains {
            Some(toolchains) => {
                let seen = lock::Environment {
                    toolchains,
                    ..entry.clone()
                };
                changes.extend(environment_changes(entry, &seen));
            }
            None => unchecked.push("the toolchains: an image that would tell them is not there".to_owned()),
        }
        let identity = identity(&truth.build);
        changes.extend(planned_changes(plan, identity, &entry.units));
        let artifacts = self.check_artifacts(plan, identity, entry);
        changes.extend(artifacts.changes);
        unchecked.extend(artifacts.unchecked);
        Ok(Checked { changes, unchecked })
    }

    /// Compares the artifacts of units that are as they are planned with those that were compiled or published here.
    pub(super) fn check_artifacts(
        &self,
        plan: &EnvironmentPlan,
        identity: Digest,
        entry: &lock::Environment,
    ) -> Checked {
        let (mut changes, mut unchecked) = (Vec::new(), Vec::new());
        for unit in &plan.units {
            let action = unit.action_key(identity);
            let Some(locked) = entry.units.get(&unit.name).filter(|locked| locked.action == action) else {
                continue;
            };
            let Some(known) = self.known_artifacts(plan, unit, action) else {
                unchecked.push(format!(
                    "the artifacts of `{}`: they were neither compiled nor published here",
                    unit.name
                ));
                continue;
            };
            if let Some(known) = self.known_dependencies(plan, unit, action) {
                let subject = format!("unit {} dependencies", unit.name);
                let path = ["units", unit.name.as_str(), "dependencies"];
                changes.extend(match locked.dependencies {
                    Some(locked) => Change::of_digests(subject, &path, locked, known),
                    None => Some(Change::new(subject, &path, None, Some(known.short()))),
                });
            }
            for (name, digest) in &locked.artifacts {
                let subject = format!("unit {} artifact {name}", unit.name);
                let path = ["units", unit.name.as_str(), "artifacts", name.as_str()];
                if let Some(known) = known.get(name) {
                    changes.extend(Change::of_digests(subject, &path, *digest, *known));
                }
            }
        }
        Checked { changes, unchecked }
    }

    /// The digest of what was fetched for this action, by the record of its compile or by the published bundle.
    fn known_dependencies(&self, plan: &EnvironmentPlan, unit: &UnitPlan, action: Digest) -> Option<Digest> {
        let recorded = self.store.compile_record(action).and_then(|record| record.dependencies);
        recorded.or_else(|| self.published(plan, unit, action)?.dependencies)
    }

    /// What the bundle that was published says of this action of a unit, if it is whole.
    fn published(&self, plan: &EnvironmentPlan, unit: &UnitPlan, action: Digest) -> Option<UnitRecord> {
        let (manifest, differences) = verify(&self.project.directory.join(&plan.publication.directory)).ok()?;
        let mut units = manifest.units.into_iter();
        let published = units.find(|published| published.name == unit.name && published.action == action);
        published.filter(|_| differences.is_empty())
    }

    /// The digests of what this action gave, by name, if all of it is kept or published, and whole.
    fn known_artifacts(
        &self,
        plan: &EnvironmentPlan,
        unit: &UnitPlan,
        action: Digest,
    ) -> Option<BTreeMap<String, Digest>> {
        if let Some(kept) = self.store.compiled_artifacts(action, &unit.unit.artifacts) {
            return Some(
                kept.into_iter()
                    .map(|artifact| (artifact.name, artifact.digest))
                    .collect(),
            );
        }
        let published = self.published(plan, unit, action)?;
        let digest_at = |place: &str| {
            let found = published.artifacts.iter().find(|artifact| artifact.name == place);
            found.map(|artifact| artifact.digest)
        };
        let places = unit.unit.places();
        Some(
            places
                .filter_map(|(name, place)| Some((name.to_owned(), digest_at(place)?)))
                .collect(),
        )
    }
}
