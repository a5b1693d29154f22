//! What is true of an image that the engine has, whatever a lock says: the entry that its lock should have.
//!
//! An image that lockstep assembles carries the list of its packages in its config, all of which follows from recipe,
//! layers and packages, and whose digest is the ID: so each of these proves the others. Any other image is asked what is
//! installed in it. Nothing here is taken from the lock, which is only told where to look.

use super::error::MakeError;
use super::labels;
use super::matched::config_digest;
use super::recipe::{Kind, assembled_id, pinned};
use super::{Run, RunError};
use crate::config::RecipeReference;
use crate::digest::Digest;
use crate::engine::{ContainerId, ContainerSpec, EngineError, ImageFacts, ImageId};
use crate::image::packages::{PACKAGE_LIST_LIMIT_BYTES, PACKAGE_LISTS};
use crate::image::{ImageCache, LocalImage, Recipe, image_key, labelled_packages};
use crate::lock::{self, Change, Package};
use crate::name::EnvironmentName;
use crate::plan::EnvironmentPlan;
use crate::platform::architecture;
use crate::stream;

/// What images are asked, for the cache: their own list of packages, read from the files above.
const PACKAGES_QUESTION: &str = "packages by /var/lib/dpkg/status, /lib/apk/db/installed 1";
/// The digest of their config.
const CONFIG_QUESTION: &str = "config 1";

/// An image that the engine has, and what is true of it.
pub(super) struct KnownImage {
    pub(super) facts: ImageFacts,
    pub(super) truth: lock::Image,
}

impl Run {
    /// The image that a lock means, when the engine has it. What is true of it may be something else than the lock says.
    pub(super) async fn locked_image(
        &self,
        environment: &EnvironmentName,
        reference: &RecipeReference,
        locked: &lock::Image,
    ) -> Result<Option<KnownImage>, RunError> {
        let kind = Kind::of(&self.project, reference)?;
        for (name, is_proof) in kind.names(locked, self.project.source_date_epoch) {
            let facts = match self.engine.image(&name).await {
                // What can be no image's name is none's.
                Err(EngineError::NotFound { .. }) => None,
                facts => facts?,
            };
            if let Some(facts) = facts
                && (is_proof || facts.diff_ids == locked.layers)
                && let Some(truth) = self.truth(environment, reference, &facts, Some(locked)).await?
            {
                return Ok(Some(KnownImage { facts, truth }));
            }
        }
        Ok(None)
    }

    /// The ID that an image of this recipe has with the layers and packages that a lock names.
    fn claimed_id(&self, recipe: &Recipe, locked: &lock::Image) -> Digest {
        self.assembled_id(recipe, architecture(), &locked.layers, &locked.packages)
    }

    /// What is wrong with an entry by itself, without a look at any image: its ID does not follow from its other lines.
    pub(super) fn contradictions(
        &self,
        role: &str,
        reference: &RecipeReference,
        locked: &lock::Image,
    ) -> Result<Vec<Change>, RunError> {
        let Some(recipe) = Kind::of(&self.project, reference)?.bootstrapped() else {
            return Ok(vec![]);
        };
        let claimed = self.claimed_id(&recipe, locked).to_string();
        if claimed == locked.id && locked.registry.is_none() {
            return Ok(vec![]);
        }
        // This machine may know which of the lines it is.
        let made = self.cached_truth(reference)?;
        let is_meant = |made: &lock::Image| {
            let same = [
                made.id == locked.id,
                made.layers == locked.layers,
                made.packages == locked.packages,
            ];
            same.into_iter().filter(|is_same| *is_same).count() >= 2
        };
        if let Some(made) = made.filter(is_meant) {
            return Ok(lock::image_changes(role, locked, &made));
        }
        let mut changes = Vec::new();
        if claimed != locked.id {
            let after = format!("{claimed}, if its layers and packages are right");
            changes.extend(Change::between(
                format!("{role} image"),
                &[role, "id"],
                &locked.id,
                &after,
            ));
        }
        if locked.registry.is_some() {
            let subject = format!("{role} registry");
            changes.push(Change::new(subject, &[role, "registry"], locked.registry.clone(), None));
        }
        Ok(changes)
    }

    fn assembled_id(&self, recipe: &Recipe, architecture: &str, layers: &[Digest], packages: &[Package]) -> Digest {
        assembled_id(recipe, architecture, self.project.source_date_epoch, layers, packages)
    }

    /// What is true of an image as that of a recipe; none when it is not that recipe's. `locked` says what of it is to be
    /// confirmed, where an image has several names.
    pub(super) async fn truth(
        &self,
        environment: &EnvironmentName,
        reference: &RecipeReference,
        facts: &ImageFacts,
        locked: Option<&lock::Image>,
    ) -> Result<Option<lock::Image>, RunError> {
        let kind = Kind::of(&self.project, reference)?;
        if let Kind::Bootstrapped(recipe) = &kind {
            return self.truth_of_assembled(recipe, facts).await;
        }
        let recipe = kind.digest()?;
        if matches!(kind, Kind::Built(_)) && facts.labels.get(labels::RECIPE) != Some(&recipe.to_string()) {
            return Ok(None);
        }
        Ok(Some(lock::Image {
            recipe,
            id: self.confirmed_id(facts, locked).await?,
            layers: facts.diff_ids.clone(),
            registry: self.confirmed_registry(reference, facts, locked).await?,
            packages: self.installed(environment, facts).await?,
        }))
    }

    async fn truth_of_assembled(&self, recipe: &Recipe, facts: &ImageFacts) -> Result<Option<lock::Image>, RunError> {
        let digest = recipe.digest();
        if facts.labels.get(labels::RECIPE) != Some(&digest.to_string()) {
            return Ok(None);
        }
        let Some(packages) = labelled_packages(&facts.labels) else {
            return Ok(None);
        };
        let id = self.assembled_id(recipe, &facts.architecture, &facts.diff_ids, &packages);
        if facts.id.0 != id.to_string() && self.config_digest(&facts.id).await? != Some(id) {
            return Ok(None);
        }
        Ok(Some(lock::Image {
            recipe: digest,
            id: id.to_string(),
            layers: facts.diff_ids.clone(),
            registry: None,
            packages,
        }))
    }

    /// What the user's cache says of a recipe's image, where the engine has none.
    pub(super) fn cached_truth(&self, reference: &RecipeReference) -> Result<Option<lock::Image>, RunError> {
        let Some(recipe) = Kind::of(&self.project, reference)?.bootstrapped() else {
            return Ok(None);
        };
        let key = image_key(&recipe, architecture(), self.project.source_date_epoch);
        let cached = ImageCache::below(&self.context.cache_directory).find(key, None);
        let is_whole = |image: &LocalImage| {
            image.id() == self.assembled_id(&recipe, architecture(), &image.diff_ids(), &image.packages)
        };
        Ok(cached.filter(is_whole).map(|image| lock::Image {
            recipe: image.recipe,
            id: image.id().to_string(),
            layers: image.diff_ids(),
            registry: None,
            packages: image.packages,
        }))
    }

    /// The ID under which the lock has the image if it is one of the image's, else what the engine calls it. In one kind
    /// of image store that is the digest of its config, in the other that of its manifest, which registries know.
    async fn confirmed_id(&self, facts: &ImageFacts, locked: Option<&lock::Image>) -> Result<String, RunError> {
        let Some(locked) = locked.filter(|locked| locked.id != facts.id.0 && locked.layers == facts.diff_ids) else {
            return Ok(facts.id.0.clone());
        };
        let of_registry = |name: &String| name.rsplit_once('@').is_some_and(|(_, digest)| digest == locked.id);
        let config = || async { Ok::<_, RunError>(self.config_digest(&facts.id).await?.map(|id| id.to_string())) };
        if facts.repository_digests.iter().any(of_registry) || config().await?.as_ref() == Some(&locked.id) {
            return Ok(locked.id.clone());
        }
        Ok(facts.id.0.clone())
    }

    /// The name under which a registry has the image. An engine knows it only of what it pulled, not of what was loaded
    /// into it, so that it does not know the lock's is no contradiction; with `--locked` the registry itself is asked.
    async fn confirmed_registry(
        &self,
        reference: &RecipeReference,
        facts: &ImageFacts,
        locked: Option<&lock::Image>,
    ) -> Result<Option<String>, RunError> {
        if !matches!(reference, RecipeReference::Image { .. }) {
            return Ok(None);
        }
        // Where this project keeps it is not where it comes from.
        let (kept, known): (Vec<_>, Vec<_>) = facts.repository_digests.iter().partition(|name| self.is_kept_at(name));
        let Some(locked) = locked else {
            return Ok(known.first().copied().cloned());
        };
        let is_strict = self.options.locked;
        match &locked.registry {
            Some(name) if known.contains(&name) => Ok(Some(name.clone())),
            // What the project's registry has by the lock's digest needs no other.
            Some(name) if !kept.is_empty() || self.options.offline => Ok(Some(name.clone())),
            Some(name) if known.is_empty() && !is_strict => Ok(Some(name.clone())),
            Some(name) if known.is_empty() => {
                let RecipeReference::Image { reference } = reference else {
                    return Ok(None);
                };
                let Some(pinned) = pinned(reference, name) else {
                    return Ok(None);
                };
                let is_there = self.engine.pull_image(&pinned, &|_| {}).await.is_ok();
                let pulled = match is_there {
                    true => self.engine.image(&pinned).await?,
                    false => None,
                };
                let confirmed =
                    pulled.is_some_and(|pulled| pulled.id == facts.id && pulled.repository_digests.contains(name));
                Ok(confirmed.then(|| name.clone()))
            }
            None if !is_strict => Ok(None),
            _ => Ok(known.first().copied().cloned()),
        }
    }

    /// Whether a name with a digest is in the project's own registry.
    fn is_kept_at(&self, name: &str) -> bool {
        let repository = name.rsplit_once('@').map(|(repository, _)| repository);
        self.registry
            .as_ref()
            .is_some_and(|registry| Some(registry.to_string().as_str()) == repository)
    }

    /// Whether registries know the images as the lock says. A build without `--locked` does not insist on it, so that it
    /// went well is no proof.
    pub(super) async fn are_registries_confirmed(
        &self,
        plan: &EnvironmentPlan,
        entry: &lock::Environment,
    ) -> Result<bool, RunError> {
        for (reference, locked) in [(&plan.build, &entry.build), (&plan.runtime, &entry.runtime)] {
            if !matches!(reference, RecipeReference::Image { .. }) {
                continue;
            }
            let Ok(Some(facts)) = self.engine.image(&locked.id).await else {
                return Ok(false);
            };
            if self.confirmed_registry(reference, &facts, Some(locked)).await? != locked.registry {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn config_digest(&self, image: &ImageId) -> Result<Option<Digest>, RunError> {
        if let Some(known) = self.observed.answer(image, CONFIG_QUESTION) {
            return Ok(Some(known));
        }
        let found = config_digest(self.engine.as_ref(), image).await?;
        Ok(found.map(|digest| self.observed.keep(image, CONFIG_QUESTION, digest)))
    }

    /// What is installed in an image, from its own list; none for images without one.
    async fn installed(&self, environment: &EnvironmentName, image: &ImageFacts) -> Result<Vec<Package>, RunError> {
        if let Some(known) = self.observed.answer(&image.id, PACKAGES_QUESTION) {
            return Ok(known);
        }
        let name = format!("lockstep-packages-{}-{}", image.id.short(), self.context.run_id);
        let labels = self.passing_labels(environment, "image");
        let spec = ContainerSpec::unstarted(name, image.id.clone(), labels, vec![]);
        let container = self.engine.create_container(&spec).await?;
        let packages = self.read_packages(&container).await;
        self.engine.remove_container(&container).await?;
        Ok(self.observed.keep(&image.id, PACKAGES_QUESTION, packages?))
    }

    async fn read_packages(&self, container: &ContainerId) -> Result<Vec<Package>, MakeError> {
        for (path, parse) in PACKAGE_LISTS {
            let archive = match self.engine.download(container, path).await {
                Ok(archive) => archive,
                Err(EngineError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let text = stream::read_by(archive, |reader| {
                use std::io::Read as _;
                let mut archive = tar::Archive::new(reader);
                let mut text = String::new();
                if let Some(entry) = archive.entries()?.next() {
                    entry?.take(PACKAGE_LIST_LIMIT_BYTES).read_to_string(&mut text)?;
                }
                Ok(text)
            });
            let failed = |cause| MakeError::Packages { path, cause };
            return Ok(parse(&text.await.map_err(failed)?.map_err(failed)?));
        }
        Ok(vec![])
    }
}
