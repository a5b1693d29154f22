//! What of a project is in the engine.

use std::collections::{BTreeMap, BTreeSet};

use super::{Item, Scope, Shared};
use crate::counted::counted;
use crate::engine::{Engine, EngineError, ImageFacts, Labels};
use crate::name::EnvironmentName;
use crate::plan::Publication;
use crate::run::labels;

/// The role of the volumes to which bundles are published.
const BUNDLE_ROLE: &str = "bundle";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What can go, in the order in which it can: what uses others first.
    pub items: Vec<Item>,
    /// How many containers, volumes and images are other checkouts'.
    pub others: usize,
}

/// Containers, volumes and images of a project: of one checkout, or of all of them.
///
/// # Errors
/// What the engine fails with.
pub async fn find(engine: &dyn Engine, scope: &Scope) -> Result<Found, EngineError> {
    let labels = Labels::from([(labels::PROJECT.to_owned(), scope.project.to_string())]);
    let is_own = |labels: &Labels| match &scope.owner {
        Some(owner) => labels.get(labels::OWNER) == Some(owner),
        None => true,
    };
    // A matched image is the same in all checkouts; whose it is, its volume says.
    let is_matched = |labels: &Labels| !labels.contains_key(labels::OWNER);
    let of_project = engine.containers(&labels).await?;
    let mut others = of_project.iter().filter(|container| !is_own(&container.labels)).count();
    let mut containers: Vec<Item> = of_project
        .into_iter()
        .filter(|container| is_own(&container.labels))
        .map(|container| Item::Container {
            id: container.id,
            name: container.name,
            state: container.state,
        })
        .collect();
    containers.sort();
    let mut volumes = Vec::new();
    for volume in engine.volumes(&labels).await? {
        let made_here = is_own(&volume.labels);
        let is_shared = volume.labels.get(labels::ROLE).is_some_and(|role| role == BUNDLE_ROLE);
        others += usize::from(!made_here && !is_shared);
        if made_here || is_shared {
            let shared = (is_shared && scope.owner.is_some()).then_some(Shared { made_here });
            volumes.push(Item::Volume {
                name: volume.name,
                shared,
            });
        }
    }
    volumes.sort();
    let of_project = engine.images(&labels).await?;
    let is_found = |image: &&ImageFacts| is_own(&image.labels) || is_matched(&image.labels);
    others += of_project.iter().filter(|image| !is_found(image)).count();
    let found = of_project.iter().filter(is_found);
    let published_with = |environment: Option<EnvironmentName>| {
        let environment = environment.filter(|_| scope.owner.is_some())?;
        Some(Publication::new(&scope.project, &environment).volume)
    };
    let mut images: Vec<Item> = found
        .flat_map(|image| {
            let environment = image.labels.get(labels::ENVIRONMENT);
            let environment = environment.filter(|_| is_matched(&image.labels));
            of_labelled(
                image,
                published_with(environment.and_then(|name| EnvironmentName::new(name).ok())),
            )
        })
        .collect();
    // Build images are shared by all projects with the same recipe, so they carry no project's label; only their names do,
    // and those are of all checkouts.
    let environments = match others {
        0 => environments(engine, scope).await?,
        _ => BTreeSet::new(),
    };
    for environment in environments {
        let name = Publication::new(&scope.project, &environment).build_image;
        let is_new = !images
            .iter()
            .any(|item| matches!(item, Item::Image { reference, .. } if *reference == name));
        if let Some(image) = engine.image(&name).await?.filter(|_| is_new) {
            images.push(Item::Image {
                only_name: image.tags.len() > 1,
                reference: name,
                published_with: published_with(Some(environment)),
            });
        }
    }
    images.sort();
    let items = containers.into_iter().chain(volumes).chain(images).collect();
    Ok(Found { items, others })
}

/// The project's environments, and those that it had once, as long as one of their build images has its name.
async fn environments(engine: &dyn Engine, scope: &Scope) -> Result<BTreeSet<EnvironmentName>, EngineError> {
    let role = Labels::from([(labels::ROLE.to_owned(), labels::ENVIRONMENT_ROLE.to_owned())]);
    let images = engine.images(&role).await?;
    let tags = images.iter().flat_map(|image| &image.tags);
    let had = tags.filter_map(|tag| Publication::of_build_image(&scope.project, tag));
    Ok(scope.environments.iter().cloned().chain(had).collect())
}

/// An image goes when its last name does.
fn of_labelled(image: &ImageFacts, published_with: Option<String>) -> Vec<Item> {
    if image.tags.is_empty() {
        return vec![Item::Image {
            reference: image.id.0.clone(),
            only_name: false,
            published_with,
        }];
    }
    image
        .tags
        .iter()
        .map(|tag| Item::Image {
            reference: tag.clone(),
            only_name: false,
            published_with: published_with.clone(),
        })
        .collect()
}

/// How many there are of each kind, for a last line: `2 containers, 1 volume`.
#[must_use]
pub fn count(items: &[&Item]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item.kind()).or_default() += 1;
    }
    let said = counts.iter().map(|(kind, count)| counted(*count, kind));
    said.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::stream::{self, StreamExt as _};

    use super::*;
    use crate::clean::{Removed, Remover};
    use crate::engine::fake::FakeEngine;
    use crate::engine::{ContainerSpec, ImageBuild, ImageId};
    use crate::name::ProjectName;

    const OWNER: &str = "mine";

    fn labelled(project: &str) -> Labels {
        of_owner(project, OWNER)
    }

    fn of_owner(project: &str, owner: &str) -> Labels {
        let label = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        [
            (labels::PROJECT, project),
            (labels::OWNER, owner),
            (labels::ROLE, "cache"),
        ]
        .map(label)
        .into()
    }

    fn remover(engine: &FakeEngine) -> Remover<'_> {
        Remover {
            engine,
            scope: scope(),
            run_id: "run".to_owned(),
        }
    }

    fn scope() -> Scope {
        Scope {
            project: ProjectName::new("greeter").unwrap(),
            environments: vec![
                EnvironmentName::new("glibc").unwrap(),
                EnvironmentName::new("musl").unwrap(),
            ],
            owner: Some(OWNER.to_owned()),
        }
    }

    /// A build context with nothing but a Dockerfile.
    fn context() -> Vec<u8> {
        let mut archive = tar::Builder::new(vec![]);
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        archive.append_data(&mut header, "Dockerfile", &b""[..]).unwrap();
        archive.into_inner().unwrap()
    }

    async fn add_image(engine: &FakeEngine, project: &str, tag: &str) -> ImageId {
        let build = ImageBuild {
            context: stream::iter([Ok(context().into())]).boxed(),
            dockerfile: "Dockerfile".to_owned(),
            target: None,
            arguments: BTreeMap::new(),
            labels: labelled(project),
            tag: tag.to_owned(),
            is_fresh: false,
        };
        engine.build_image(build, &|_| {}).await.unwrap()
    }

    async fn add_container(engine: &FakeEngine, project: &str, name: &str, image: &str) {
        let image = engine.image(image).await.unwrap().unwrap().id;
        let spec = ContainerSpec::unstarted(name.to_owned(), image, labelled(project), vec![]);
        engine.create_container(&spec).await.unwrap();
    }

    /// An engine with things of two projects; the glibc build image is shared, the musl one is not.
    async fn engine() -> FakeEngine {
        let engine = FakeEngine::new()
            .with_image("debian:build")
            .with_image("lockstep/greeter:musl-build");
        let shared = engine.image("debian:build").await.unwrap().unwrap().id;
        engine
            .tag_image(&shared, "lockstep/greeter", "glibc-build")
            .await
            .unwrap();
        for project in ["greeter", "gateway"] {
            engine
                .create_volume(&format!("lockstep-{project}-glibc"), &labelled(project))
                .await
                .unwrap();
            add_container(&engine, project, &format!("{project}-compile"), "debian:build").await;
            add_image(&engine, project, &format!("lockstep/{project}:glibc")).await;
        }
        engine
    }

    fn names(items: &[Item]) -> Vec<String> {
        items
            .iter()
            .map(|item| {
                format!("{} {} {}", item.kind(), item.name(), item.note())
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    #[tokio::test]
    async fn what_carries_the_label_is_found_and_nothing_else() {
        let items = find(&engine().await, &scope()).await.unwrap().items;
        assert_eq!(
            names(&items),
            [
                "container greeter-compile created",
                "volume lockstep-greeter-glibc",
                "image lockstep/greeter:glibc",
                "image lockstep/greeter:glibc-build the name only: the image has others",
                "image lockstep/greeter:musl-build",
            ]
        );
        let all: Vec<&Item> = items.iter().collect();
        assert_eq!(count(&all), "1 container, 3 images, 1 volume");
    }

    #[tokio::test]
    async fn the_build_image_of_an_environment_that_is_no_more_is_found() {
        let engine = FakeEngine::new();
        for tag in ["lockstep/greeter:old-build", "lockstep/gateway:old-build"] {
            let build = ImageBuild {
                context: stream::iter([Ok(context().into())]).boxed(),
                dockerfile: "Dockerfile".to_owned(),
                target: None,
                arguments: BTreeMap::new(),
                labels: Labels::from([(labels::ROLE.to_owned(), labels::ENVIRONMENT_ROLE.to_owned())]),
                tag: tag.to_owned(),
                is_fresh: false,
            };
            engine.build_image(build, &|_| {}).await.unwrap();
        }
        let items = find(&engine, &scope()).await.unwrap().items;
        assert_eq!(names(&items), ["image lockstep/greeter:old-build"]);
    }

    #[tokio::test]
    async fn finding_removes_nothing() {
        let engine = engine().await;
        let before = engine.left_behind();
        find(&engine, &scope()).await.unwrap();
        assert_eq!(engine.left_behind(), before);
        assert!(
            !engine.calls().iter().any(|call| call.starts_with("remove")),
            "{:?}",
            engine.calls()
        );
    }

    #[tokio::test]
    async fn after_removal_only_other_projects_things_are_there() {
        let engine = engine().await;
        for item in find(&engine, &scope()).await.unwrap().items {
            assert_eq!(remover(&engine).remove(&item).await.unwrap(), Removed::Gone);
        }
        assert_eq!(find(&engine, &scope()).await.unwrap().items, []);
        assert_eq!(
            engine.left_behind(),
            ["container gateway-compile", "volume lockstep-gateway-glibc"]
        );
        assert!(
            engine.image("debian:build").await.unwrap().is_some(),
            "a shared image stays"
        );
        assert!(engine.image("lockstep/gateway:glibc").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_cannot_be_removed_is_said() {
        let engine = engine().await.failing("remove", "it is in use");
        let items = find(&engine, &scope()).await.unwrap().items;
        let error = remover(&engine).remove(&items[0]).await.unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }

    #[tokio::test]
    async fn what_other_checkouts_made_stays_unless_all_of_it_is_to_go() {
        let engine = engine().await;
        let others = of_owner("greeter", "theirs");
        engine
            .create_volume("lockstep-greeter-glibc-cache", &others)
            .await
            .unwrap();
        let mut theirs = others.clone();
        theirs.insert(labels::ROLE.to_owned(), "bundle".to_owned());
        engine.create_volume("lockstep-greeter-musl", &theirs).await.unwrap();
        let items = find(&engine, &scope()).await.unwrap().items;
        assert_eq!(
            names(&items),
            [
                "container greeter-compile created",
                "volume lockstep-greeter-glibc",
                "volume lockstep-greeter-musl if no other checkout has published there since",
                "image lockstep/greeter:glibc",
            ],
            "the names of build images are theirs, too"
        );
        for item in &items {
            remover(&engine).remove(item).await.unwrap();
        }
        assert!(engine.volume("lockstep-greeter-musl").await.unwrap().is_some());

        let all = Scope { owner: None, ..scope() };
        let items = find(&engine, &all).await.unwrap().items;
        assert_eq!(
            names(&items),
            [
                "volume lockstep-greeter-glibc-cache",
                "volume lockstep-greeter-musl",
                "image lockstep/greeter:glibc-build the name only: the image has others",
                "image lockstep/greeter:musl-build",
            ]
        );
    }

    /// It is the same image for both, so no label says whose it is.
    #[tokio::test]
    async fn a_matched_image_goes_with_the_volume_that_it_was_published_with() {
        let engine = FakeEngine::new();
        let mut theirs = of_owner("greeter", "theirs");
        theirs.insert(labels::ROLE.to_owned(), "bundle".to_owned());
        engine.create_volume("lockstep-greeter-glibc", &theirs).await.unwrap();
        let (project, environment) = (scope().project, scope().environments[0].clone());
        let build = ImageBuild {
            context: stream::iter([Ok(context().into())]).boxed(),
            dockerfile: "Dockerfile".to_owned(),
            target: None,
            arguments: BTreeMap::new(),
            labels: labels::matched(&project, &environment),
            tag: "lockstep/greeter:glibc".to_owned(),
            is_fresh: false,
        };
        engine.build_image(build, &|_| {}).await.unwrap();
        let items = find(&engine, &scope()).await.unwrap().items;
        let image = items.iter().find(|item| item.kind() == "image").unwrap();
        assert_eq!(remover(&engine).remove(image).await.unwrap(), Removed::Kept);
        engine.remove_volume("lockstep-greeter-glibc").await.unwrap();
        assert_eq!(remover(&engine).remove(image).await.unwrap(), Removed::Gone);
        assert_eq!(engine.image("lockstep/greeter:glibc").await.unwrap(), None);
    }
}
