use std::fs;

use super::*;
use crate::bundle::manifest::tests::{artifact, manifest_of};
use crate::engine::fake::{Behaviour, FakeContainer, FakeEngine};

const VOLUME: &str = "lockstep-greeter-glibc";
const IMAGE: &str = "build";

/// A helper that cannot do its work: what a full disk or a tampered volume does to it.
fn broken(container: &FakeContainer) -> Behaviour {
    match container.argument_with("mv -T") {
        Some(_) => Behaviour::exit(1).stderr("mv: cannot move 'current.new': Permission denied"),
        None => Behaviour::exit(0),
    }
}

async fn volume(engine: &FakeEngine) -> ReleaseVolume {
    let image = engine.image(IMAGE).await.unwrap().unwrap().id;
    let labels = |extra: &[(&str, &str)]| -> Labels {
        let common = [(PROJECT_LABEL, "greeter"), ("dev.lockstep.role", "bundle")];
        common
            .iter()
            .chain(extra)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    ReleaseVolume {
        name: VOLUME.to_owned(),
        labels: labels(&[]),
        container_labels: labels(&[("dev.lockstep.run", "run1")]),
        instance: "random".to_owned(),
        container_name: "bundle-run1".to_owned(),
        image,
        mtime_seconds: 1_735_689_600,
    }
}

fn bundle(content: &[u8]) -> (tempfile::TempDir, Manifest) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("greeter"), content).unwrap();
    (directory, manifest_of(&[artifact("greeter", content)]))
}

async fn staged(engine: &FakeEngine, content: &[u8]) -> Result<StagedRelease, VolumeError> {
    let (directory, manifest) = bundle(content);
    stage(
        Arc::new(engine.clone()),
        volume(engine).await,
        &manifest,
        directory.path(),
    )
    .await
}

fn releases(engine: &FakeEngine) -> Vec<String> {
    engine.volume_files(VOLUME).into_keys().collect()
}

#[tokio::test]
async fn a_release_is_uploaded_and_committed() {
    let engine = FakeEngine::new().with_image(IMAGE);
    let release = staged(&engine, b"host").await.unwrap();
    let path = release.path_in_volume();
    assert_eq!(
        releases(&engine),
        [format!("{path}/greeter"), format!("{path}/manifest.json")]
    );
    assert_eq!(release.instance(), Some("random"));
    release.commit().await.unwrap();
    assert_eq!(engine.left_behind(), [format!("volume {VOLUME}")]);
    let helper = &engine.created()[0];
    assert_eq!(
        (helper.user.as_str(), helper.capabilities.len(), helper.network),
        ("0:0", 0, Network::None)
    );
    assert_eq!(
        helper.command.last(),
        Some(&path.trim_start_matches("releases/").to_owned())
    );
}

#[tokio::test]
async fn what_is_discarded_leaves_no_volume_that_was_not_there_before() {
    let engine = FakeEngine::new().with_image(IMAGE);
    staged(&engine, b"host").await.unwrap().discard().await.unwrap();
    assert_eq!(engine.left_behind(), Vec::<String>::new());

    engine.create_volume(VOLUME, &Labels::new()).await.unwrap();
    let release = staged(&engine, b"host").await.unwrap();
    assert_eq!(release.instance(), None, "somebody else made it");
    release.discard().await.unwrap();
    assert_eq!(engine.left_behind(), [format!("volume {VOLUME}")]);
    let purposes: Vec<String> = engine.created().into_iter().map(|spec| spec.name).collect();
    assert_eq!(purposes[1..], ["bundle-run1-commit", "bundle-run1-discard"]);
}

#[tokio::test]
async fn a_release_that_is_there_is_not_uploaded_again_and_survives_a_discard() {
    let engine = FakeEngine::new().with_image(IMAGE);
    staged(&engine, b"host").await.unwrap().commit().await.unwrap();
    let before = releases(&engine);
    staged(&engine, b"host").await.unwrap().discard().await.unwrap();
    assert_eq!(releases(&engine), before);
    let count = |verb: &str| engine.calls().iter().filter(|call| call.starts_with(verb)).count();
    assert_eq!((count("upload"), count("create bundle-run1-discard")), (1, 0));
}

#[tokio::test]
async fn a_release_whose_upload_broke_off_is_uploaded_again() {
    let engine = FakeEngine::new().with_image(IMAGE);
    let (_directory, manifest) = bundle(b"host");
    let release = &manifest.digest().unwrap().hex()[..RELEASE_NAME_DIGITS];
    staged(&engine, b"other").await.unwrap().commit().await.unwrap();
    let half = stream::written_by({
        let name = format!("releases/{release}/greeter");
        move |writer| {
            let mut archive = DeterministicTar::new(writer, Owner { uid: 0, gid: 0 }, 0);
            archive.file(&name, 2, false, &b"ho"[..])?;
            archive.finish()
        }
    });
    let volume = volume(&engine).await;
    let helper = engine
        .create_container(&helper_spec(&volume, "test", "", release))
        .await
        .unwrap();
    engine.upload(&helper, VOLUME_PATH, half).await.unwrap();
    engine.remove_container(&helper).await.unwrap();

    staged(&engine, b"host").await.unwrap().commit().await.unwrap();
    assert_eq!(
        engine.volume_files(VOLUME)[&format!("releases/{release}/greeter")],
        b"host"
    );
}

#[tokio::test]
async fn a_volume_of_another_project_is_left_alone() {
    let engine = FakeEngine::new().with_image(IMAGE);
    let labels = Labels::from([(PROJECT_LABEL.to_owned(), "gateway".to_owned())]);
    engine.create_volume(VOLUME, &labels).await.unwrap();
    let error = staged(&engine, b"host").await.unwrap_err();
    assert!(
        matches!(&error, VolumeError::Foreign { owner, .. } if owner == "gateway"),
        "{error}"
    );
    assert_eq!(releases(&engine), Vec::<String>::new());
}

#[tokio::test]
async fn a_helper_that_fails_is_quoted_and_nothing_is_left() {
    let engine = FakeEngine::new().with_image(IMAGE).on("bundle", broken);
    let error = staged(&engine, b"host").await.unwrap().commit().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to make the release current in the volume `lockstep-greeter-glibc`: the helper ended with status 1: \
         mv: cannot move 'current.new': Permission denied"
    );
    assert_eq!(engine.left_behind(), Vec::<String>::new());
}

#[tokio::test]
async fn an_engine_that_fails_anywhere_in_staging_leaves_nothing() {
    for call in ["create-volume", "create bundle", "upload"] {
        let engine = FakeEngine::new()
            .with_image(IMAGE)
            .failing(call, "no space left on device");
        let error = staged(&engine, b"host").await.unwrap_err();
        assert!(error.to_string().contains("no space left on device"), "{call}: {error}");
        assert_eq!(engine.left_behind(), Vec::<String>::new(), "{call}");
    }
}

#[tokio::test]
async fn an_artifact_that_is_not_what_the_manifest_says_is_not_published() {
    let engine = FakeEngine::new().with_image(IMAGE);
    let (directory, manifest) = bundle(b"host");
    fs::write(directory.path().join("greeter"), "tsoh").unwrap();
    let staged = stage(
        Arc::new(engine.clone()),
        volume(&engine).await,
        &manifest,
        directory.path(),
    )
    .await;
    let error = staged.unwrap_err().to_string();
    assert!(error.contains("`greeter` is not what the manifest says"), "{error}");
    assert_eq!(engine.left_behind(), Vec::<String>::new());
}
