use std::fs;

use super::removal::{Removal, remove_own};
use super::*;
use crate::bundle::manifest::tests::{artifact, manifest_of};
use crate::engine::fake::{FakeEngine, Node};
use crate::engine::{Executed, Network};

const VOLUME: &str = "lockstep-greeter-glibc";
const IMAGE: &str = "build";

fn engine() -> FakeEngine {
    emulator::with_volumes(FakeEngine::new()).with_image(IMAGE)
}

/// Somebody who waits at most a moment.
fn impatient<'a>(cancellation: &'a CancellationToken, on_wait: &'a (dyn Fn(&str) + Send + Sync)) -> Patience<'a> {
    Patience {
        on_wait,
        limit: Duration::from_millis(300),
        cancellation,
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
        publisher: "checkout1".to_owned(),
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
        impatient(&CancellationToken::new(), &|_| {}),
    )
    .await
}

/// A release is made current, and the lease given back.
async fn published(engine: &FakeEngine, content: &[u8]) {
    let committed = staged(engine, content).await.unwrap().commit().await.unwrap();
    committed.end().await.unwrap();
}

/// The files of releases.
fn releases(engine: &FakeEngine) -> Vec<String> {
    let files = engine.volume_files(VOLUME).into_keys();
    files.filter(|path| path.starts_with("releases/")).collect()
}

/// What `current` leads to.
fn current(engine: &FakeEngine) -> Option<String> {
    let mut target = None;
    engine.tamper(VOLUME, |files| {
        if let Some(Node::Link(link)) = files.get("current") {
            target = Some(link.clone());
        }
    });
    target
}

fn release_of(content: &[u8]) -> String {
    Expected::of(&bundle(content).1).unwrap().path()
}

#[tokio::test]
async fn a_release_is_uploaded_and_committed() {
    let engine = engine();
    let release = staged(&engine, b"host").await.unwrap();
    let path = release.path_in_volume();
    assert_eq!(
        releases(&engine),
        [format!("{path}/greeter"), format!("{path}/manifest.json")]
    );
    assert_eq!((release.instance(), current(&engine)), (Some("random"), None));
    release.commit().await.unwrap().end().await.unwrap();
    assert_eq!(current(&engine), Some(path));
    assert_eq!(engine.left_behind(), [format!("volume {VOLUME}")]);
    let helper = &engine.created()[0];
    assert_eq!(
        (helper.user.as_str(), helper.capabilities.len(), helper.network),
        ("0:0", 0, Network::None)
    );
    assert_eq!(helper.name, "lockstep-greeter-glibc-lease");
}

#[tokio::test]
async fn the_release_before_stays_and_older_ones_go() {
    let engine = engine();
    for content in [&b"1"[..], b"2", b"3", b"3"] {
        published(&engine, content).await;
    }
    let mut expected: Vec<String> = [&b"2"[..], b"3"]
        .into_iter()
        .map(release_of)
        .flat_map(|path| [format!("{path}/greeter"), format!("{path}/manifest.json")])
        .collect();
    expected.sort();
    assert_eq!(releases(&engine), expected);
    let notes = String::from_utf8(engine.volume_files(VOLUME)["publishers"].clone()).unwrap();
    assert!(notes.ends_with(" checkout1\n"), "{notes}");
}

#[tokio::test]
async fn what_is_discarded_leaves_no_volume_that_was_not_there_before() {
    let engine = engine();
    staged(&engine, b"host").await.unwrap().discard().await.unwrap();
    assert_eq!(engine.left_behind(), Vec::<String>::new());

    engine.create_volume(VOLUME, &Labels::new()).await.unwrap();
    let release = staged(&engine, b"host").await.unwrap();
    assert_eq!(release.instance(), None, "somebody else made it");
    release.discard().await.unwrap();
    assert_eq!(engine.left_behind(), [format!("volume {VOLUME}")]);
    assert_eq!(releases(&engine), Vec::<String>::new());
}

#[tokio::test]
async fn a_release_that_is_there_is_not_uploaded_again_and_survives_a_discard() {
    let engine = engine();
    published(&engine, b"host").await;
    let before = releases(&engine);
    staged(&engine, b"host").await.unwrap().discard().await.unwrap();
    assert_eq!(releases(&engine), before);
    let uploads = engine.calls().iter().filter(|call| call.starts_with("upload")).count();
    assert_eq!(uploads, 1);
}

#[tokio::test]
async fn a_release_that_is_not_what_it_was_is_uploaded_again() {
    let file = || format!("{}/greeter", release_of(b"host"));
    type Change = fn(&mut crate::engine::fake::Files, String);
    let changes: [Change; 5] = [
        |files, file| _ = files.insert(file, Node::text("ho")),
        |files, file| _ = files.insert(file, Node::text("HOST")),
        |files, file| _ = files.insert(file, Node::program("host")),
        |files, file| _ = files.remove(&file),
        |files, file| _ = files.insert(file, Node::Link("/etc/passwd".to_owned())),
    ];
    for change in changes {
        let engine = engine();
        published(&engine, b"host").await;
        engine.tamper(VOLUME, |files| change(files, file()));
        published(&engine, b"host").await;
        assert_eq!(engine.volume_files(VOLUME)[&file()], b"host");
    }
}

#[tokio::test]
async fn what_changes_between_the_test_and_the_commit_is_not_published() {
    let engine = engine();
    published(&engine, b"host").await;
    let release = staged(&engine, b"tsoh").await.unwrap();
    let file = format!("{}/greeter", release.path_in_volume());
    engine.tamper(VOLUME, |files| _ = files.insert(file.clone(), Node::text("evil")));
    let error = release.commit().await.unwrap_err();
    assert_eq!(error.notes(), ["greeter has another content"], "{error}");
    assert_eq!(current(&engine), Some(release_of(b"host")));
    assert!(!engine.volume_files(VOLUME).contains_key(&file));
}

#[tokio::test]
async fn what_a_killed_run_left_in_the_volume_is_tidied_up() {
    let engine = engine();
    published(&engine, b"host").await;
    engine.tamper(VOLUME, |files| {
        for path in ["incoming/greeter", "releases/0123456789abcdef/greeter"] {
            files.insert(path.to_owned(), Node::program("left"));
        }
    });
    staged(&engine, b"host").await.unwrap().discard().await.unwrap();
    let files = engine.volume_files(VOLUME);
    assert!(!files.values().any(|content| content == b"left"), "{files:?}");
}

#[tokio::test]
async fn only_one_at_a_time_has_the_volume() {
    let engine = engine();
    let first = staged(&engine, b"host").await.unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let (directory, manifest) = bundle(b"tsoh");
    let token = CancellationToken::new();
    let on_wait = |holder: &str| told.lock().unwrap().push(holder.to_owned());
    let second = || async {
        let volume = volume(&engine).await;
        let patience = impatient(&token, &on_wait);
        stage(Arc::new(engine.clone()), volume, &manifest, directory.path(), patience).await
    };
    let error = second().await.unwrap_err();
    assert!(matches!(error, VolumeError::Busy { .. }), "{error}");
    assert_eq!(
        *told.lock().unwrap(),
        ["run run1, container lockstep-greeter-glibc-lease"]
    );

    // A run that was killed lets its container end; the next one takes it away.
    drop(first);
    second().await.unwrap().commit().await.unwrap().end().await.unwrap();
    assert_eq!(current(&engine), Some(release_of(b"tsoh")));
    assert_eq!(engine.left_behind(), [format!("volume {VOLUME}")]);

    token.cancel();
    let _first = staged(&engine, b"host").await.unwrap();
    assert!(matches!(second().await, Err(VolumeError::Cancelled)));
}

#[tokio::test]
async fn a_volume_goes_with_who_published_last() {
    let engine = engine();
    published(&engine, b"host").await;
    let mut other = volume(&engine).await;
    other.publisher = "checkout2".to_owned();
    let kept = Removal::Kept {
        publisher: "checkout1".to_owned(),
    };
    assert_eq!(remove_own(&engine, &other, true).await.unwrap(), kept);
    let publishing = staged(&engine, b"tsoh").await.unwrap();
    let error = remove_own(&engine, &volume(&engine).await, true).await.unwrap_err();
    assert!(matches!(error, VolumeError::Busy { .. }), "{error}");
    publishing.discard().await.unwrap();
    let removal = remove_own(&engine, &volume(&engine).await, false).await.unwrap();
    assert_eq!((removal, engine.left_behind()), (Removal::Removed, vec![]));
}

#[tokio::test]
async fn a_volume_of_another_project_is_left_alone() {
    let engine = engine();
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
    let engine = FakeEngine::new().with_image(IMAGE).on_exec("bundle", |_, _| Executed {
        status: 1,
        output: "rm: cannot remove 'incoming': Permission denied\n".to_owned(),
    });
    let error = staged(&engine, b"host").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to tidy up in the volume `lockstep-greeter-glibc`: the helper ended with status 1: \
         rm: cannot remove 'incoming': Permission denied"
    );
    assert_eq!(engine.left_behind(), Vec::<String>::new());
}

#[tokio::test]
async fn an_engine_that_fails_anywhere_in_staging_leaves_nothing() {
    for call in ["create-volume", "create lockstep-greeter-glibc-lease", "exec", "upload"] {
        let engine = engine().failing(call, "no space left on device");
        let error = staged(&engine, b"host").await.unwrap_err();
        assert!(error.to_string().contains("no space left on device"), "{call}: {error}");
        assert_eq!(engine.left_behind(), Vec::<String>::new(), "{call}");
    }
}

#[tokio::test]
async fn an_artifact_that_is_not_what_the_manifest_says_is_not_published() {
    let engine = engine();
    let (directory, manifest) = bundle(b"host");
    fs::write(directory.path().join("greeter"), "tsoh").unwrap();
    let staged = stage(
        Arc::new(engine.clone()),
        volume(&engine).await,
        &manifest,
        directory.path(),
        impatient(&CancellationToken::new(), &|_| {}),
    )
    .await;
    let error = staged.unwrap_err().to_string();
    assert!(error.contains("`greeter` is not what the manifest says"), "{error}");
    assert_eq!(engine.left_behind(), Vec::<String>::new());
}
