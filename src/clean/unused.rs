//! Images of environments that nothing on the engine uses any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use super::Item;
use crate::config::Project;
use crate::engine::{Engine, EngineError, ImageFacts, Labels};
use crate::image::{IMAGE_REPOSITORY, ImageCache, RAW_REPOSITORY};
use crate::lock;
use crate::run::labels;

/// How long ago an image must have been made: between being made and being used by something that can be seen, no build
/// takes as long.
const MINIMUM_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What can go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnusedImages {
    /// Their names.
    pub items: Vec<Item>,
    /// How many there are.
    pub count: usize,
    /// What they take at most, in bytes: images share layers.
    pub size_bytes: u64,
}

/// The images of environments that were made from this `cache` more than a day before `now_seconds` (since the epoch), are
/// not in `locked` (IDs), and that nothing on the engine uses: no container, no other name, such as a built project gives
/// to its build image, and no other image that stands on them, as a built project's does on its runtime.
///
/// What is not in the cache may be somebody else's, and stays. With the image of a Dockerfile goes what the builder made of
/// it first.
///
/// # Errors
/// What the engine fails with.
pub async fn unused_images(
    engine: &dyn Engine,
    cache: &ImageCache,
    now_seconds: u64,
    locked: &BTreeSet<String>,
) -> Result<UnusedImages, EngineError> {
    let before = UNIX_EPOCH + Duration::from_secs(now_seconds).saturating_sub(MINIMUM_AGE);
    let mut old: BTreeSet<String> = cache.made_before(before).iter().map(ToString::to_string).collect();
    old.retain(|id| !locked.contains(id));
    if old.is_empty() {
        return Ok(UnusedImages::default());
    }
    let containers = engine.containers(&Labels::new()).await?;
    let running: BTreeSet<String> = containers.into_iter().map(|container| container.image.0).collect();
    Ok(judge(engine.images(&Labels::new()).await?, &old, &running))
}

fn judge(images: Vec<ImageFacts>, old: &BTreeSet<String>, running: &BTreeSet<String>) -> UnusedImages {
    let prefix = format!("{IMAGE_REPOSITORY}:");
    let is_candidate = |image: &ImageFacts| {
        image
            .labels
            .get(labels::ROLE)
            .is_some_and(|role| role == labels::ENVIRONMENT_ROLE)
            && !image.tags.is_empty()
            && image.tags.iter().all(|tag| tag.starts_with(&prefix))
            && old.contains(&image.id.0)
            && !running.contains(&image.id.0)
    };
    let (candidates, others): (Vec<ImageFacts>, Vec<ImageFacts>) = images.into_iter().partition(is_candidate);
    let is_unused = |image: &ImageFacts| !others.iter().any(|other| other.diff_ids.starts_with(&image.diff_ids));
    let unused: BTreeMap<String, ImageFacts> = candidates
        .into_iter()
        .filter(is_unused)
        .map(|image| (image.id.0.clone(), image))
        .collect();
    let raw = raw_images(&others, &unused, running);
    let unused: BTreeMap<String, ImageFacts> = unused.into_iter().chain(raw).collect();
    let mut items: Vec<Item> = unused
        .values()
        .flat_map(|image| &image.tags)
        .map(|tag| Item::Image {
            reference: tag.clone(),
            only_name: false,
            published_with: None,
        })
        .collect();
    items.sort();
    UnusedImages {
        items,
        count: unused.len(),
        size_bytes: unused.values().map(|image| image.size_bytes).sum(),
    }
}

/// What a builder made first of the images that go, and of none that stays.
fn raw_images(
    others: &[ImageFacts],
    unused: &BTreeMap<String, ImageFacts>,
    running: &BTreeSet<String>,
) -> Vec<(String, ImageFacts)> {
    let prefix = format!("{RAW_REPOSITORY}:");
    let is_raw = |image: &ImageFacts| {
        !image.tags.is_empty()
            && image.tags.iter().all(|tag| tag.starts_with(&prefix))
            && !running.contains(&image.id.0)
    };
    let recipe = |image: &ImageFacts| image.labels.get(labels::RECIPE).cloned();
    let gone: BTreeSet<String> = unused.values().filter_map(recipe).collect();
    let kept: BTreeSet<String> = others
        .iter()
        .filter(|image| !is_raw(image))
        .filter_map(recipe)
        .collect();
    let goes = |image: &&ImageFacts| {
        is_raw(image) && recipe(image).is_some_and(|recipe| gone.contains(&recipe) && !kept.contains(&recipe))
    };
    let raw = others.iter().filter(goes);
    raw.map(|image| (image.id.0.clone(), image.clone())).collect()
}

/// The IDs of the images that a project's lock names; none without a lock that can be read.
#[must_use]
pub fn locked_images(project: &Project) -> BTreeSet<String> {
    let lock = lock::read(&lock::lock_path(&project.file)).ok().flatten();
    let environments = lock.into_iter().flat_map(|lock| lock.environments.into_values());
    environments.flat_map(|one| [one.build.id, one.runtime.id]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::engine::ImageId;

    fn image(id: &str, layers: &[&str], tags: &[&str]) -> ImageFacts {
        ImageFacts {
            id: ImageId(id.to_owned()),
            diff_ids: layers.iter().map(|layer| Digest::of(layer.as_bytes())).collect(),
            repository_digests: vec![],
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            architecture: "amd64".to_owned(),
            labels: Labels::from([(labels::ROLE.to_owned(), labels::ENVIRONMENT_ROLE.to_owned())]),
            environment: vec![],
            user: String::new(),
            size_bytes: 10,
        }
    }

    #[test]
    fn only_what_nothing_uses_goes() {
        let mut foreign = image("foreign", &["x"], &["lockstep/environment:foreign-0"]);
        foreign.labels = Labels::new();
        let images = vec![
            image("gone", &["a"], &["lockstep/environment:gone-1"]),
            image("gone base", &["b"], &["lockstep/environment:b-2"]),
            image("gone on it", &["b", "c"], &["lockstep/environment:c-3"]),
            image("young", &["d"], &["lockstep/environment:d-4"]),
            image("running", &["e"], &["lockstep/environment:e-5"]),
            image(
                "build",
                &["f", "g"],
                &["lockstep/environment:g-6", "lockstep/greeter:glibc-build"],
            ),
            image("base of build", &["f"], &["lockstep/environment:f-7"]),
            image("runtime", &["h"], &["lockstep/environment:h-8"]),
            image("matched", &["h", "i"], &["lockstep/greeter:glibc"]),
            image("nameless", &["j"], &[]),
            foreign,
        ];
        let old = images
            .iter()
            .map(|image| image.id.0.clone())
            .filter(|id| id != "young")
            .collect();
        let unused = judge(images, &old, &BTreeSet::from(["running".to_owned()]));
        let names: Vec<String> = unused.items.iter().map(Item::name).collect();
        assert_eq!(
            names,
            [
                "lockstep/environment:b-2",
                "lockstep/environment:c-3",
                "lockstep/environment:gone-1"
            ]
        );
        assert_eq!((unused.count, unused.size_bytes), (3, 30));
    }

    #[test]
    fn what_a_builder_made_goes_with_the_image_that_came_of_it() {
        let of = |mut image: ImageFacts, recipe: &str| {
            image.labels.insert(labels::RECIPE.to_owned(), recipe.to_owned());
            image
        };
        let raw = |id: &str, layer: &str, tag: &str| {
            let mut image = image(id, &[layer], &[tag]);
            image.labels.remove(labels::ROLE);
            image
        };
        let images = vec![
            of(image("gone", &["a"], &["lockstep/environment:a-1"]), "one"),
            of(raw("raw of gone", "a raw", "lockstep/recipe:1"), "one"),
            of(image("kept", &["b"], &["lockstep/environment:b-2", "mine:1"]), "two"),
            of(raw("raw of kept", "b raw", "lockstep/recipe:2"), "two"),
            of(raw("raw of nothing", "c raw", "lockstep/recipe:3"), "three"),
        ];
        let old = BTreeSet::from(["gone".to_owned(), "kept".to_owned()]);
        let unused = judge(images, &old, &BTreeSet::new());
        let names: Vec<String> = unused.items.iter().map(Item::name).collect();
        assert_eq!(names, ["lockstep/environment:a-1", "lockstep/recipe:1"]);
    }
}
