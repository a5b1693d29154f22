//! The fake by itself, and jobs and sweeps on it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::job::{self, Ending, Job, JobError, OUTPUT_LIMIT_BYTES, Outcome, TAIL_LIMIT_LINES, Upload};
use crate::engine::sweep::{label_values, sweep};
use crate::engine::{MachineView, Mount, Network, OutputStream, ResourceLimits};

const IMAGE: &str = "debian:build";
const LIMIT: Duration = Duration::from_secs(20);

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

async fn spec(engine: &FakeEngine, role: &str) -> Result<ContainerSpec, EngineError> {
    let image = engine
        .image(IMAGE)
        .await?
        .ok_or_else(|| state::missing("image", IMAGE))?;
    let labels = labels(&[(ROLE_LABEL, role), ("run", "1")]);
    Ok(ContainerSpec {
        name: format!("{role}-shout"),
        image: image.id,
        command: vec!["cc".to_owned()],
        environment: BTreeMap::new(),
        working_directory: "/lockstep".to_owned(),
        user: "1000:1000".to_owned(),
        labels: labels.clone(),
        network: Network::None,
        mounts: vec![Mount::Anonymous {
            path: "/lockstep".to_owned(),
            labels,
        }],
        limits: ResourceLimits {
            memory_bytes: 1,
            nano_cpus: 1,
            processes: 1,
            file_bytes: None,
        },
        read_only_root: true,
        init: false,
        tied: false,
        capabilities: Vec::new(),
        sees_interfaces: false,
        beside: None,
        machine: MachineView::default(),
    })
}

fn files(pairs: &[(&str, &str)]) -> Result<ByteStream, EngineError> {
    let files = pairs
        .iter()
        .map(|(path, content)| ((*path).to_owned(), Node::program(*content)));
    Ok(stream_of(archive::pack(&files.collect())?))
}

/// Runs a job with one source file, collects `/lockstep/out/x`, and returns that with the outcome.
async fn run(engine: &FakeEngine, cancellation: &CancellationToken) -> Result<(Outcome, Vec<u8>), JobError> {
    let spec = spec(engine, "compile").await?;
    let uploads = vec![Upload {
        path: "/lockstep/src".to_owned(),
        archive: files(&[("x.c", "int x;")])?,
    }];
    let job = Job {
        spec: &spec,
        uploads,
        limit: Duration::from_millis(200),
        line_limit_bytes: crate::engine::lines::LINE_LIMIT_BYTES,
        disk: None,
    };
    let collect = |container: ContainerId, outcome: Outcome| async move {
        if !outcome.ending.is_success() {
            return Ok((outcome, Vec::new()));
        }
        let archive = read(engine.download(&container, "/lockstep/out").await?).await?;
        Ok((
            outcome,
            archive::unpack(&archive)?["out/x"]
                .content()
                .unwrap_or_default()
                .to_vec(),
        ))
    };
    job::run_and_collect(engine, job, &|_, _| {}, cancellation, collect).await
}

#[tokio::test]
async fn a_job_takes_files_in_and_out_and_leaves_nothing() -> Result<(), JobError> {
    let engine = FakeEngine::new().with_image(IMAGE).on("compile", |container| {
        let source = container.files["/lockstep/src/x.c"].clone();
        Behaviour::exit(0)
            .stdout("compiling")
            .stderr("warning")
            .file("/lockstep/out/x", source)
    });
    let (outcome, artifact) = run(&engine, &CancellationToken::new()).await?;
    assert_eq!(outcome.tail, ["compiling", "warning"]);
    assert_eq!(artifact, b"int x;");
    assert_eq!(engine.left_behind(), [""; 0]);
    let expected = ["create", "upload", "logs", "start", "wait", "download", "remove"];
    let calls = engine.calls();
    let verbs = calls.iter().skip(1).filter_map(|call| call.split(' ').next());
    assert_eq!(verbs.collect::<Vec<_>>(), expected);
    Ok(())
}

#[tokio::test]
async fn a_job_tells_how_it_ended() -> Result<(), JobError> {
    let exited = |status, out_of_memory| Ending::Exited(ContainerExit { status, out_of_memory });
    let limit = Duration::from_millis(200);
    let flood = vec![b'x'; usize::try_from(OUTPUT_LIMIT_BYTES).unwrap_or(usize::MAX) + 1];
    for (behaviour, expected) in [
        (Behaviour::exit(3), exited(3, false)),
        (
            Behaviour::exit(0)
                .takes(Duration::from_millis(20))
                .file("/lockstep/out/x", ""),
            exited(0, false),
        ),
        (Behaviour::out_of_memory(), exited(137, true)),
        (Behaviour::hang(), Ending::TimedOut { limit }),
        (
            Behaviour::hang().writes(OutputStream::Stdout, flood),
            Ending::TooMuchOutput {
                limit_bytes: OUTPUT_LIMIT_BYTES,
            },
        ),
    ] {
        let engine = FakeEngine::new()
            .with_image(IMAGE)
            .on("compile", move |_| behaviour.clone());
        let (outcome, _) = run(&engine, &CancellationToken::new()).await?;
        assert_eq!(outcome.ending, expected);
        assert_eq!(engine.left_behind(), [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn only_the_last_lines_are_kept_and_all_are_told() -> Result<(), JobError> {
    let text: String = (0..=TAIL_LIMIT_LINES).map(|number| format!("{number}\n")).collect();
    let engine = FakeEngine::new().with_image(IMAGE).on("compile", move |_| {
        Behaviour::exit(0).writes(OutputStream::Stderr, text.clone())
    });
    let spec = spec(&engine, "compile").await?;
    let told = Mutex::new(0);
    let count = |_: OutputStream, _: &str| *told.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    let job = Job {
        spec: &spec,
        uploads: Vec::new(),
        limit: LIMIT,
        line_limit_bytes: crate::engine::lines::LINE_LIMIT_BYTES,
        disk: None,
    };
    let outcome = job::run(&engine, job, &count, &CancellationToken::new()).await?;
    assert_eq!(outcome.tail.len(), TAIL_LIMIT_LINES);
    assert_eq!(outcome.tail.first().map(String::as_str), Some("1"));
    assert_eq!(told.into_inner().ok(), Some(TAIL_LIMIT_LINES + 1));
    Ok(())
}

#[tokio::test]
async fn whatever_fails_nothing_is_left() -> Result<(), EngineError> {
    for verb in ["create", "upload", "logs", "start", "wait", "download"] {
        let engine = FakeEngine::new()
            .with_image(IMAGE)
            .on("compile", |_| Behaviour::exit(0).file("/lockstep/out/x", ""))
            .failing(&format!("{verb} compile"), "disk on fire");
        let error = run(&engine, &CancellationToken::new()).await.err();
        let failed =
            |error| matches!(error, JobError::Engine(EngineError::Failed { cause, .. }) if cause == "disk on fire");
        assert!(error.is_some_and(failed), "{verb}");
        assert_eq!(engine.left_behind(), [""; 0], "{verb}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_not_blamed_on_the_engine() -> Result<(), JobError> {
    let engine = FakeEngine::new().with_image(IMAGE);
    let spec = spec(&engine, "compile").await?;
    let failure = EngineError::Source {
        hint: None,
        cause: "x.c: permission denied".to_owned(),
    };
    let archive = stream::iter([Err(failure.clone())]).boxed();
    let uploads = vec![Upload {
        path: "/lockstep".to_owned(),
        archive,
    }];
    let job = Job {
        spec: &spec,
        uploads,
        limit: LIMIT,
        line_limit_bytes: crate::engine::lines::LINE_LIMIT_BYTES,
        disk: None,
    };
    let error = job::run(&engine, job, &|_, _| {}, &CancellationToken::new())
        .await
        .err();
    assert_eq!(error, Some(JobError::Engine(failure)));
    assert_eq!(engine.left_behind(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_cancelled_job_leaves_nothing() -> Result<(), JobError> {
    let cancellation = CancellationToken::new();
    let cancelled = cancellation.clone();
    let engine = FakeEngine::new().with_image(IMAGE).on("compile", move |_| {
        cancelled.cancel();
        Behaviour::hang()
    });
    assert_eq!(run(&engine, &cancellation).await, Err(JobError::Cancelled));
    assert_eq!(engine.left_behind(), [""; 0]);
    let calls = engine.calls().len();
    assert_eq!(run(&engine, &cancellation).await, Err(JobError::Cancelled));
    assert_eq!(
        engine.calls().len(),
        calls + 1,
        "nothing is created once the run is cancelled"
    );
    Ok(())
}

#[tokio::test]
async fn an_engine_that_went_away_is_swept_when_it_is_back() -> Result<(), EngineError> {
    // image, create, upload, logs, start: the fifth call fails, and the removal after it.
    let engine = FakeEngine::new().with_image(IMAGE).gone_at(5);
    let error = run(&engine, &CancellationToken::new()).await.err();
    let is_lost = |error| {
        matches!(
            error,
            JobError::Engine(EngineError::Unreachable {
                obstacle: Obstacle::Lost,
                ..
            })
        )
    };
    assert!(error.is_some_and(is_lost));
    assert_eq!(engine.left_behind().len(), 2, "{:?}", engine.left_behind());
    engine.come_back();
    let run = labels(&[("run", "1")]);
    assert_eq!(
        label_values(&engine, &Labels::new(), "run")
            .await?
            .into_iter()
            .collect::<Vec<_>>(),
        ["1"]
    );
    assert_eq!(sweep(&engine, &labels(&[("run", "2")])).await?.containers.len(), 0);
    let swept = sweep(&engine, &run).await?;
    assert_eq!(swept.containers.into_iter().collect::<Vec<_>>(), ["compile-shout"]);
    assert_eq!(engine.left_behind(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_sweep_goes_on_where_it_can_and_tells_what_it_could_not() -> Result<(), EngineError> {
    let engine = FakeEngine::new().failing("remove-volume a", "volume is in use");
    let run = labels(&[("run", "1")]);
    for name in ["a", "b"] {
        engine.create_volume(name, &run).await?;
    }
    assert!(matches!(sweep(&engine, &run).await, Err(EngineError::Failed { .. })));
    assert_eq!(engine.left_behind(), ["volume a"]);
    assert!(
        sweep(&engine, &Labels::new()).await.is_err(),
        "everything carries no label"
    );
    assert_eq!(engine.left_behind(), ["volume a"]);
    Ok(())
}

#[tokio::test]
async fn images_come_and_go() -> Result<(), EngineError> {
    let engine = FakeEngine::new().with_registry_image("alpine:3.22");
    assert_eq!(engine.image("alpine:3.22").await?, None);
    engine.pull_image("alpine:3.22", &|_| {}).await?;
    let image = engine
        .image("alpine:3.22")
        .await?
        .ok_or_else(|| state::missing("image", "alpine:3.22"))?;
    engine.tag_image(&image.id, "mine", "1").await?;
    assert_eq!(engine.image(&image.id.0).await?.map(|image| image.tags.len()), Some(2));
    let digest = engine.push_image("mine:1", &|_| {}).await?;
    assert!(engine.push_image("mine:2", &|_| {}).await.is_err());
    engine.remove_image("alpine:3.22").await?;
    assert_eq!(
        engine.image("mine:1").await?.map(|found| found.id),
        Some(image.id.clone())
    );
    engine.remove_image(&image.id.0).await?;
    engine.remove_image(&image.id.0).await?;
    assert_eq!(engine.images(&Labels::new()).await?, []);
    assert!(engine.pull_image("debian:12", &|_| {}).await.is_err());
    let pushed = format!("mine@{digest}");
    engine.pull_image(&pushed, &|_| {}).await?;
    assert_eq!(engine.image(&pushed).await?.map(|found| found.id), Some(image.id));
    Ok(())
}

#[tokio::test]
async fn a_loaded_image_is_known_by_its_configuration() -> Result<(), EngineError> {
    let layer = crate::digest::Digest::of(b"layer");
    let config = format!(
        r#"{{"architecture":"amd64","config":{{"Labels":{{"a":"b"}},"Env":["X=y"],"User":"1000"}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    );
    let manifest = r#"[{"Config":"config.json","RepoTags":["mine:1"],"Layers":[]}]"#;
    let engine = FakeEngine::new();
    engine
        .load_images(files(&[("manifest.json", manifest), ("config.json", &config)])?)
        .await?;
    let image = engine
        .image("mine:1")
        .await?
        .ok_or_else(|| state::missing("image", "mine:1"))?;
    assert_eq!(image.id.0, crate::digest::Digest::of(config.as_bytes()).to_string());
    assert_eq!((image.diff_ids, image.user.as_str()), (vec![layer], "1000"));
    assert_eq!(engine.images(&labels(&[("a", "b")])).await?.len(), 1);
    assert!(!read(engine.save_image("mine:1").await?).await?.is_empty());
    assert!(engine.load_images(files(&[])?).await.is_err());
    Ok(())
}

#[tokio::test]
async fn volumes_outlive_containers_and_read_only_mounts_are_that() -> Result<(), JobError> {
    let write = |_: &FakeContainer| Behaviour::exit(0).file("/bundle/x", "1");
    let engine = FakeEngine::new().with_image(IMAGE).on("bundle", write);
    engine.create_volume("bundle", &Labels::new()).await?;
    let mut spec = spec(&engine, "bundle").await?;
    for (read_only, expected) in [(false, true), (true, false)] {
        let mount = Mount::Volume {
            name: "bundle".to_owned(),
            path: "/bundle".to_owned(),
            read_only,
        };
        spec.mounts = vec![mount];
        let job = Job {
            spec: &spec,
            uploads: Vec::new(),
            limit: LIMIT,
            line_limit_bytes: crate::engine::lines::LINE_LIMIT_BYTES,
            disk: None,
        };
        let outcome = job::run(&engine, job, &|_, _| {}, &CancellationToken::new()).await;
        assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
    }
    assert_eq!(
        engine.volume_files("bundle"),
        BTreeMap::from([("x".to_owned(), b"1".to_vec())])
    );
    assert_eq!(engine.left_behind(), ["volume bundle"]);
    Ok(())
}
