//! `image pull`: the images of environments, as the lock has them, out of the project's registry.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::MakeError;
use super::making::Made;
use super::recipe::Kind;
use super::registry::RegistryError;
use super::resolved::Wanted;
use super::supply::ask_registry;
use super::truth::KnownImage;
use super::{Run, RunError};
use crate::digest::Digest;
use crate::engine::ImageId;
use crate::event::{Stage, StepId};
use crate::image::Tried;
use crate::lock::{self, Role};
use crate::name::EnvironmentName;
use crate::plan::EnvironmentPlan;
use crate::repository::Repository;

/// What came out of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PullReport {
    /// The version of this form.
    pub schema_version: u32,
    /// Where from.
    pub registry: Repository,
    /// The images, by environment.
    pub environments: BTreeMap<EnvironmentName, BTreeMap<Role, PulledImage>>,
}

/// An image that the engine has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PulledImage {
    /// What the engine calls it.
    pub id: ImageId,
    /// Whether it was there already.
    pub was_there: bool,
}

impl Run {
    /// Brings the images of environments out of the registry, unless the engine has them.
    ///
    /// # Errors
    /// When there is no registry, an environment is not locked, or an image is not there as the lock has it.
    pub async fn pull(&self, environments: &[EnvironmentName]) -> Result<PullReport, RunError> {
        let registry = self.registry.clone().ok_or(RegistryError::Unnamed)?;
        let work = self.prepare(environments)?;
        let mut report = PullReport {
            schema_version: 1,
            registry: registry.clone(),
            environments: BTreeMap::new(),
        };
        for plan in &work.environments {
            let entry = work.locked(&plan.name)?;
            let wanted = [
                (Role::Build, &plan.build, &entry.build),
                (Role::Runtime, &plan.runtime, &entry.runtime),
            ];
            let mut images = BTreeMap::new();
            for (role, recipe, expected) in wanted {
                let wanted = Wanted {
                    role,
                    recipe,
                    expected: Some(expected),
                    pushed: entry.pushed.get(&role).copied(),
                };
                images.insert(role, self.pull_locked(&plan.name, wanted, expected).await?);
            }
            if let Some(digest) = entry.pushed.get(&Role::Matched) {
                let matched = self.pull_matched(plan, &registry, *digest, &entry.runtime).await?;
                images.insert(Role::Matched, matched);
            }
            report.environments.insert(plan.name.clone(), images);
        }
        Ok(report)
    }

    async fn pull_locked(
        &self,
        environment: &EnvironmentName,
        wanted: Wanted<'_>,
        locked: &lock::Image,
    ) -> Result<PulledImage, RunError> {
        let role = wanted.role;
        if let Some(KnownImage { facts, .. }) = self.locked_image(environment, wanted.recipe, locked).await? {
            return Ok(PulledImage {
                id: facts.id,
                was_there: true,
            });
        }
        let kind = Kind::of(&self.project, wanted.recipe)?;
        let step = pull_step(environment, role);
        let pulled = self.in_step(step.clone(), ImageId::short, async {
            match ask_registry(&self.making(&step, &wanted, false), &kind, locked).await? {
                Ok(Made { facts, .. }) => Ok(facts.id),
                Err(tried) => Err(MakeError::NotKept { role, tried }.into()),
            }
        });
        Ok(PulledImage {
            id: pulled.await?,
            was_there: false,
        })
    }

    async fn pull_matched(
        &self,
        plan: &EnvironmentPlan,
        registry: &Repository,
        digest: Digest,
        runtime: &lock::Image,
    ) -> Result<PulledImage, RunError> {
        let reference = registry.by_digest(digest);
        let before = self.engine.image(&reference).await?;
        let (repository, tag) = plan.publication.image.rsplit_once(':').unwrap_or_default();
        let step = pull_step(&plan.name, Role::Matched);
        let pulled = self.in_step(step.clone(), ImageId::short, async {
            if before.is_none() {
                let progress = |progress| self.emit_transfer(&step, progress);
                self.engine.pull_image(&reference, &progress).await?;
            }
            let vanished = || MakeError::Vanished {
                reference: reference.clone(),
            };
            let facts = self.engine.image(&reference).await?.ok_or_else(vanished)?;
            if !stands_on(&facts.diff_ids, runtime) {
                self.engine.remove_image(&reference).await?;
                let why = "the image with this digest does not stand on the lock's runtime image";
                let tried = Tried {
                    place: reference.clone(),
                    why: Some(why.to_owned()),
                };
                return Err(MakeError::NotKept {
                    role: Role::Matched,
                    tried,
                }
                .into());
            }
            self.engine.tag_image(&facts.id, repository, tag).await?;
            Ok(facts.id)
        });
        Ok(PulledImage {
            id: pulled.await?,
            was_there: before.is_some(),
        })
    }
}

/// Whether an image is the runtime image that a lock names with one layer more, as matched images are.
pub(super) fn stands_on(layers: &[Digest], runtime: &lock::Image) -> bool {
    layers.starts_with(&runtime.layers) && layers.len() == runtime.layers.len() + 1
}

fn pull_step(environment: &EnvironmentName, role: Role) -> StepId {
    Run::step(environment, Stage::Images, format!("pull {role}"))
}
