//! `image push`: the images of environments, put into the project's registry, and what is said of the matched ones; the images'
//! digests there go into the lock.

use std::collections::BTreeMap;

use serde::Serialize;

use super::registry::RegistryError;
use super::{Run, RunError};
use crate::digest::Digest;
use crate::engine::ImageFacts;
use crate::event::{Event, Stage};
use crate::lock::{self, Pushed, Role};
use crate::name::EnvironmentName;
use crate::oci_registry::Attached;
use crate::plan::EnvironmentPlan;
use crate::repository::Repository;

/// What the images of a registry are called after the environment: the beginning of their ID.
const ID_DIGITS: usize = 12;

/// What was put into a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushReport {
    /// The version of this form.
    pub schema_version: u32,
    /// Where.
    pub registry: Repository,
    /// The images, by environment.
    pub environments: BTreeMap<EnvironmentName, BTreeMap<Role, PushedImage>>,
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushedImage {
    /// Its name there.
    pub name: String,
    /// The digest of its manifest there.
    pub digest: Digest,
    /// The documents that refer to it there.
    pub referrers: Vec<Attached>,
}

/// An image to be pushed, and what it is called there.
struct Outgoing {
    role: Role,
    facts: ImageFacts,
    tag: String,
}

impl Run {
    /// Puts the images of environments into the registry. Environments that are done when a later one fails stay done.
    ///
    /// # Errors
    /// When there is no registry, an environment is not locked, an image cannot be had, or the registry refuses.
    pub async fn push(&self, environments: &[EnvironmentName]) -> Result<PushReport, RunError> {
        let registry = self.registry.clone().ok_or(RegistryError::Unnamed)?;
        let mut work = self.prepare(environments)?;
        let mut report = PushReport {
            schema_version: 1,
            registry: registry.clone(),
            environments: BTreeMap::new(),
        };
        for plan in work.environments.clone() {
            let name = &plan.name;
            let entry = work.locked(name)?.clone();
            let mut images = BTreeMap::new();
            let outgoing = self.outgoing(&plan, &entry).await;
            let outgoing = outgoing.map_err(|error| error.located(&work.lock))?;
            // They are those of the image's own build: what is not the project's last one is not pushed at all.
            let documents = match outgoing.iter().any(|image| image.role == Role::Matched) {
                true => self.documents(name)?,
                false => vec![],
            };
            for outgoing in outgoing {
                let pushed = self.push_image(name, &registry, &outgoing).await?;
                images.insert(outgoing.role, pushed);
            }
            let digests: Pushed = images.iter().map(|(role, image)| (*role, image.digest)).collect();
            if let Some(entry) = work.lock.lock.environments.get_mut(name) {
                entry.pushed = digests;
            }
            // Of what is said of them nothing is in the lock; whatever comes of that, they are there.
            self.write_lock(&work.lock)?;
            if let Some(matched) = images.get_mut(&Role::Matched) {
                let digest = matched.digest;
                matched.referrers = self.push_documents(name, &registry, digest, &documents).await?;
            }
            report.environments.insert(name.clone(), images);
        }
        Ok(report)
    }

    /// What is pushed of an environment: the images that the lock has, and the matched one if it is what was built of it last.
    async fn outgoing(&self, plan: &EnvironmentPlan, entry: &lock::Environment) -> Result<Vec<Outgoing>, RunError> {
        let name = &plan.name;
        let resolved = self.resolve(name, Some(entry), false).await?;
        let mut outgoing = Vec::new();
        let host = resolved.brought.is_some().then_some(entry.host.as_ref()).flatten();
        let host = host.and_then(|host| host.image.as_ref());
        let of_host = host.map(|image| (Role::Host, image.id.as_str()));
        let images = [
            (Role::Build, resolved.build.id.0.as_str()),
            (Role::Runtime, resolved.runtime.id.0.as_str()),
        ];
        for (role, id) in images.into_iter().chain(of_host) {
            // A host that is kept as a file does not need its image here.
            if let Some(facts) = self.engine.image(id).await? {
                let tag = format!("{name}-{role}-{}", short(&facts.id.0));
                outgoing.push(Outgoing { role, facts, tag });
            }
        }
        match self.current_matched_image(plan, entry).await? {
            Some(facts) => outgoing.push(Outgoing {
                role: Role::Matched,
                facts,
                tag: name.to_string(),
            }),
            None => self.events.emit(Event::Warning {
                message: format!("the matched image of {name} is not pushed: it is not what the project is now"),
                hint: Some(format!("lockstep build {name}")),
            }),
        }
        Ok(outgoing)
    }

    /// The matched image of an environment, if it was built of exactly what the project and its lock are now.
    pub(super) async fn current_matched_image(
        &self,
        plan: &EnvironmentPlan,
        entry: &lock::Environment,
    ) -> Result<Option<ImageFacts>, RunError> {
        let Some(record) = self.store.record(&plan.name) else {
            return Ok(None);
        };
        if record.request != self.request_digest(plan, entry)? {
            return Ok(None);
        }
        let found = self.engine.image(&plan.publication.image).await?;
        Ok(found.filter(|facts| facts.id.0 == record.image))
    }

    async fn push_image(
        &self,
        environment: &EnvironmentName,
        registry: &Repository,
        outgoing: &Outgoing,
    ) -> Result<PushedImage, RunError> {
        let name = registry.tagged(&outgoing.tag);
        let step = Self::step(environment, Stage::Images, format!("push {}", outgoing.role));
        let pushing = async {
            let had_name = outgoing.facts.tags.contains(&name);
            self.engine
                .tag_image(&outgoing.facts.id, &registry.to_string(), &outgoing.tag)
                .await?;
            let progress = |progress| self.emit_transfer(&step, progress);
            let pushed = self.engine.push_image(&name, &progress).await;
            if !had_name {
                self.engine.remove_image(&name).await?;
            }
            Ok(pushed?)
        };
        let digest = self.in_step(step.clone(), Digest::short, pushing).await?;
        Ok(PushedImage {
            name,
            digest,
            referrers: vec![],
        })
    }
}

/// The beginning of an ID.
fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(ID_DIGITS).collect()
}
