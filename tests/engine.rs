//! The real engine: everything that lockstep asks of it.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{Ground, TestResult, archive, bytes_stream, image_archive, on_engine, read, unpack};
use futures_util::stream::{self, StreamExt};
use lockstep::engine::docker::Docker;
use lockstep::engine::job::{self, Ending, Job, JobError, Outcome, Upload};
use lockstep::engine::lines::LINE_LIMIT_BYTES;
use lockstep::engine::sweep::{label_values, sweep};
use lockstep::engine::{
    Choice, ContainerExit, ContainerId, ContainerSpec, Engine, EngineError, ImageBuild, Labels, Mount, Network,
    Obstacle, OutputStream,
};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);

fn exited(status: i64) -> Ending {
    Ending::Exited(ContainerExit {
        status,
        out_of_memory: false,
    })
}

/// Runs a container to its end.
async fn run(ground: &Ground, spec: &ContainerSpec) -> Result<Outcome, JobError> {
    let job = Job {
        spec,
        uploads: Vec::new(),
        limit: LIMIT,
        line_limit_bytes: LINE_LIMIT_BYTES,
        disk: None,
    };
    job::run(&ground.engine, job, &|_, _| {}, &CancellationToken::new()).await
}

/// What is there with the test's label.
async fn left_behind(ground: &Ground) -> Result<(usize, usize), EngineError> {
    let containers = ground.engine.containers(&ground.labels).await?.len();
    Ok((containers, ground.engine.volumes(&ground.labels).await?.len()))
}

#[test]
fn the_engine_tells_what_it_is() {
    on_engine(|ground| async move {
        let facts = ground.engine.facts().await?;
        assert!(facts.version.contains(' '), "{facts:?}");
        assert!(facts.api_version.starts_with("1."), "{facts:?}");
        assert_eq!(facts.operating_system, "linux");
        assert!(facts.processors >= 1 && facts.memory_bytes > 1 << 20, "{facts:?}");
        assert!(
            !facts.storage_driver.is_empty() && !facts.architecture.is_empty(),
            "{facts:?}"
        );
        Ok(())
    });
}

#[test]
fn an_image_is_loaded_tagged_saved_and_removed() {
    on_engine(|ground| async move {
        let Ground {
            engine,
            image,
            labels,
            id,
            ..
        } = ground;
        let name = format!("lockstep-test/{id}:one");
        let facts = engine.image(&image.0).await?.ok_or("the image was not loaded")?;
        assert_eq!(facts.id, image, "an image's ID is its configuration's digest");
        assert_eq!((facts.diff_ids.len(), facts.tags.len()), (1, 0));
        assert_eq!(
            (facts.labels, facts.environment),
            (labels.clone(), vec!["PATH=/".to_owned()])
        );
        assert_eq!(engine.image(&name).await?, None);
        engine.tag_image(&image, &format!("lockstep-test/{id}"), "one").await?;
        assert_eq!(engine.image(&name).await?.map(|facts| facts.id), Some(image.clone()));
        assert_eq!(engine.images(&labels).await?.len(), 1);
        let saved = unpack(&read(engine.save_image(&name).await?).await?)?;
        assert!(saved.contains_key("manifest.json"), "{:?}", saved.keys());
        engine.tag_image(&image, &format!("lockstep-test/{id}"), "two").await?;
        engine.remove_image(&name).await?;
        assert_eq!(engine.image(&image.0).await?.map(|facts| facts.tags.len()), Some(1));
        engine.remove_image(&image.0).await?;
        engine.remove_image(&image.0).await?;
        assert_eq!(engine.image(&image.0).await?, None);
        let missing = engine.tag_image(&image, "lockstep-test/x", "one").await;
        assert!(matches!(missing, Err(EngineError::NotFound { .. })), "{missing:?}");
        let missing = engine.save_image(&image.0).await.err();
        assert!(missing.is_some(), "an image that is not there was saved");
        Ok(())
    });
}

#[test]
fn an_archive_that_is_none_is_an_error() {
    on_engine(|ground| async move {
        let engine = &ground.engine;
        for bytes in [
            b"rubbish".to_vec(),
            archive(&[])?,
            archive(&[("manifest.json", 0o644, b"[]")])?,
        ] {
            let loaded = engine.load_images(bytes_stream(bytes)).await;
            assert!(matches!(loaded, Err(EngineError::Failed { .. })), "{loaded:?}");
        }
        let (mut bytes, _) = image_archive(&[("tool", 0o755, common::tool())], &ground.labels, &[])?;
        bytes.truncate(bytes.len() / 2);
        let loaded = engine.load_images(bytes_stream(bytes.clone())).await;
        assert!(matches!(loaded, Err(EngineError::Failed { .. })), "{loaded:?}");
        let failure = EngineError::Source {
            hint: None,
            cause: "the disk is gone".to_owned(),
        };
        let broken = bytes_stream(bytes).chain(stream::iter([Err(failure.clone())])).boxed();
        assert_eq!(engine.load_images(broken).await, Err(failure));
        Ok(())
    });
}

#[test]
fn a_container_writes_and_ends_as_its_program_does() {
    on_engine(|ground| async move {
        let seen = Mutex::new(Vec::new());
        let mut spec = ground.spec(
            "run",
            &["out", "to stdout", "err", "to stderr", "env", "NAME", "id", "exit", "3"],
        );
        spec.environment = BTreeMap::from([("NAME".to_owned(), "a = b".to_owned())]);
        let keep = |stream: OutputStream, line: &str| {
            if let Ok(mut seen) = seen.lock() {
                seen.push((stream, line.to_owned()));
            }
        };
        let job = Job {
            spec: &spec,
            uploads: Vec::new(),
            limit: LIMIT,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: None,
        };
        let outcome = job::run(&ground.engine, job, &keep, &CancellationToken::new()).await?;
        assert_eq!(outcome.ending, exited(3));
        let seen = seen.into_inner()?;
        let of = |wanted: OutputStream| {
            let lines = seen.iter().filter(|(stream, _)| *stream == wanted);
            lines.map(|(_, line)| line.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of(OutputStream::Stdout), ["to stdout", "a = b", "1000:1000"]);
        assert_eq!(of(OutputStream::Stderr), ["to stderr"]);
        // Init: a first process has no default signal handlers, and aborts in some other way.
        let aborting = ContainerSpec {
            init: true,
            tied: false,
            ..ground.spec("abort", &["abort"])
        };
        assert_eq!(run(&ground, &aborting).await?.ending, exited(134));
        assert_eq!(left_behind(&ground).await?, (0, 0));
        Ok(())
    });
}

#[test]
fn a_container_has_no_more_than_it_needs() {
    on_engine(|ground| async move {
        let outcome = run(&ground, &ground.spec("net", &["list", "/sys/class/net"])).await?;
        // Some kernels give every network namespace the ends of tunnels that lead nowhere.
        assert!(outcome.tail.iter().any(|name| name == "lo"), "{outcome:?}");
        assert!(!outcome.tail.iter().any(|name| name.starts_with("eth")), "{outcome:?}");
        let mut networked = ground.spec("network", &["list", "/sys/class/net"]);
        networked.network = Network::Default;
        let outcome = run(&ground, &networked).await?;
        assert!(outcome.tail.iter().any(|name| name.starts_with("eth")), "{outcome:?}");

        let mut spec = ground.spec("privileges", &["status", "CapBnd", "status", "NoNewPrivs"]);
        assert_eq!(
            run(&ground, &spec).await?.tail,
            ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
        );
        spec.capabilities = vec!["CHOWN".to_owned()];
        assert_eq!(
            run(&ground, &spec).await?.tail,
            ["CapBnd:\t0000000000000001", "NoNewPrivs:\t1"]
        );

        let mut spec = ground.spec("root", &["touch", "/x"]);
        spec.user = "0:0".to_owned();
        let outcome = run(&ground, &spec).await?;
        assert_eq!(
            (outcome.ending, outcome.tail),
            (exited(1), vec!["/x: Read-only file system".to_owned()])
        );
        spec.read_only_root = false;
        assert_eq!(run(&ground, &spec).await?.ending, exited(0));
        spec.read_only_root = true;
        spec.mounts = vec![Mount::Tmpfs {
            path: "/x".to_owned(),
            size_bytes: 1 << 20,
        }];
        spec.command = ["/tool", "touch", "/x/y", "copy", "/tool", "/x/z"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(run(&ground, &spec).await?.ending, exited(0));
        Ok(())
    });
}

#[test]
fn a_container_cannot_take_more_than_its_limits() {
    on_engine(|ground| async move {
        for init in [false, true] {
            let mut spec = ground.spec("memory", &["eat", "512"]);
            spec.init = init;
            spec.limits.nano_cpus = u64::MAX;
            spec.limits.memory_bytes = 32 << 20;
            let outcome = run(&ground, &spec).await?;
            assert_eq!(
                outcome.ending,
                Ending::Exited(ContainerExit {
                    status: 137,
                    out_of_memory: true
                }),
                "{outcome:?}"
            );
        }

        let mut spec = ground.spec("crowd", &["crowd", "100"]);
        spec.limits.processes = 8;
        assert_eq!(run(&ground, &spec).await?.tail, ["started 7"]);

        let spec = ground.spec("time", &["out", "before", "sleep", "600"]);
        let limit = Duration::from_secs(1);
        let started = Instant::now();
        let job = Job {
            spec: &spec,
            uploads: Vec::new(),
            limit,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: None,
        };
        let outcome = job::run(&ground.engine, job, &|_, _| {}, &CancellationToken::new()).await?;
        assert_eq!(
            outcome,
            Outcome {
                engine_disk_is_full: false,
                ending: Ending::TimedOut { limit },
                tail: vec!["before".to_owned()]
            }
        );
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        assert_eq!(left_behind(&ground).await?, (0, 0));
        Ok(())
    });
}

#[test]
fn files_go_in_and_out_of_a_volume_on_a_read_only_root() {
    on_engine(|ground| async move {
        let engine = &ground.engine;
        let spec = ground.spec(
            "files",
            &[
                "copy",
                "src/deep/in",
                "out/copy",
                "copy",
                "/tool",
                "out/big",
                "touch",
                "src/x",
            ],
        );
        // The volume's own directory is root's, whatever an archive says: the program can write only further down.
        let sources = archive(&[
            ("out/", 0o755, b""),
            ("src/", 0o755, b""),
            ("src/deep/", 0o755, b""),
            ("src/deep/in", 0o644, b"content"),
        ])?;
        let uploads = vec![Upload {
            path: "/lockstep".to_owned(),
            archive: bytes_stream(sources),
        }];
        let job = Job {
            spec: &spec,
            uploads,
            limit: LIMIT,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: None,
        };
        let collect = |container: ContainerId, outcome: Outcome| async move {
            assert_eq!(outcome.ending, exited(0), "{outcome:?}");
            let archive = read(engine.download(&container, "/lockstep/out").await?).await?;
            let missing = engine.download(&container, "/lockstep/none").await.err();
            assert!(matches!(missing, Some(EngineError::NotFound { .. })), "{missing:?}");
            Ok::<_, JobError>(archive)
        };
        let bytes = job::run_and_collect(engine, job, &|_, _| {}, &CancellationToken::new(), collect).await?;
        let files = unpack(&bytes)?;
        assert_eq!(files.keys().collect::<Vec<_>>(), ["out/", "out/big", "out/copy"]);
        assert_eq!(files["out/copy"], (1000, b"content".to_vec()));
        assert_eq!(files["out/big"].1.len(), common::tool().len());
        assert_eq!(left_behind(&ground).await?, (0, 0));
        Ok(())
    });
}

#[test]
fn an_upload_that_cannot_be_is_refused() {
    on_engine(|ground| async move {
        let engine = &ground.engine;
        let container = engine.create_container(&ground.spec("uploads", &["exit", "0"])).await?;
        let large = vec![0; 8 << 20];
        for (path, content) in [("/tool", b"x".as_slice()), ("/", b"x"), ("/none", &large)] {
            let files = bytes_stream(archive(&[("x", 0o644, content)])?);
            let uploaded = engine.upload(&container, path, files).await;
            assert!(
                matches!(uploaded, Err(EngineError::Failed { .. } | EngineError::NotFound { .. })),
                "{path}: {uploaded:?}"
            );
        }
        let failure = EngineError::Source {
            hint: None,
            cause: "the file changed".to_owned(),
        };
        let archive = archive(&[("x", 0o644, &large)])?;
        let broken = bytes_stream(archive[..archive.len() / 2].to_vec()).chain(stream::iter([Err(failure.clone())]));
        assert_eq!(
            engine.upload(&container, "/lockstep", broken.boxed()).await,
            Err(failure)
        );
        let nobody = ContainerId("0123456789ab".to_owned());
        let uploaded = engine.upload(&nobody, "/", bytes_stream(Vec::new())).await;
        assert!(matches!(uploaded, Err(EngineError::NotFound { .. })), "{uploaded:?}");
        Ok(())
    });
}

#[test]
fn removing_and_killing_can_be_repeated() {
    on_engine(|ground| async move {
        let engine = &ground.engine;
        let container = engine
            .create_container(&ground.spec("remove", &["sleep", "600"]))
            .await?;
        engine.start(&container).await?;
        let facts = engine.containers(&ground.labels).await?;
        assert_eq!(
            facts.iter().map(|facts| facts.state.as_str()).collect::<Vec<_>>(),
            ["running"]
        );
        assert_eq!(left_behind(&ground).await?, (1, 1));
        engine.kill(&container).await?;
        assert_eq!(engine.wait(&container, LIMIT).await?.status, 137);
        engine.kill(&container).await?;
        assert_eq!(
            engine.wait(&container, LIMIT).await?.status,
            137,
            "the end can be asked for afterwards"
        );
        engine.remove_container(&container).await?;
        engine.remove_container(&container).await?;
        assert_eq!(left_behind(&ground).await?, (0, 0));
        let waited = engine.wait(&container, LIMIT).await;
        assert!(matches!(waited, Err(EngineError::NotFound { .. })), "{waited:?}");
        Ok(())
    });
}

#[test]
fn what_cannot_be_created_or_started_is_told() {
    on_engine(|ground| async move {
        let mut spec = ground.spec("bad", &[]);
        spec.mounts = vec![Mount::Volume {
            name: format!("lockstep-test-{}-none", ground.id),
            path: "/x".to_owned(),
            read_only: true,
        }];
        let created = run(&ground, &spec).await;
        assert!(
            matches!(created, Err(JobError::Engine(EngineError::NotFound { .. }))),
            "{created:?}"
        );
        let mut spec = ground.spec("bad", &[]);
        spec.command = vec!["/nothing".to_owned()];
        let started = run(&ground, &spec).await;
        let Err(JobError::Engine(EngineError::Failed { cause, .. })) = &started else {
            return Err(format!("{started:?}").into());
        };
        assert!(cause.contains("/nothing"), "{cause}");
        spec.image.0 = format!("sha256:{}", "0".repeat(64));
        let created = run(&ground, &spec).await;
        assert!(
            matches!(created, Err(JobError::Engine(EngineError::NotFound { .. }))),
            "{created:?}"
        );
        assert_eq!(left_behind(&ground).await?, (0, 0));
        Ok(())
    });
}

#[test]
fn volumes_are_shared_labelled_and_swept() {
    on_engine(|ground| async move {
        let engine = &ground.engine;
        let name = format!("lockstep-test-{}", ground.id);
        assert_eq!(engine.volume(&name).await?, None);
        engine.create_volume(&name, &ground.labels).await?;
        engine.create_volume(&name, &Labels::new()).await?;
        assert_eq!(
            engine.volume(&name).await?.map(|volume| volume.labels),
            Some(ground.labels.clone())
        );
        assert_eq!(engine.volumes(&ground.labels).await?.len(), 1);
        let mut spec = ground.spec("writer", &["touch", "/shared/x"]);
        spec.user = "0:0".to_owned();
        for (read_only, status) in [(false, 0), (true, 1)] {
            spec.mounts = vec![Mount::Volume {
                name: name.clone(),
                path: "/shared".to_owned(),
                read_only,
            }];
            assert_eq!(run(&ground, &spec).await?.ending, exited(status));
        }
        let container = engine.create_container(&spec).await?;
        let removed = engine.remove_volume(&name).await;
        assert!(
            matches!(removed, Err(EngineError::Failed { .. })),
            "a volume in use was removed: {removed:?}"
        );
        let values = label_values(engine, &ground.labels, common::TEST_LABEL).await?;
        assert_eq!(values, BTreeSet::from([ground.id.clone()]));
        let swept = sweep(engine, &ground.labels).await?;
        assert_eq!((swept.containers.len(), swept.volumes.len()), (1, 1));
        assert_eq!(left_behind(&ground).await?, (0, 0));
        engine.remove_volume(&name).await?;
        engine.remove_container(&container).await?;
        Ok(())
    });
}

#[test]
fn a_cancelled_job_leaves_nothing() {
    on_engine(|ground| async move {
        let cancellation = CancellationToken::new();
        let cancel = |_: OutputStream, _: &str| cancellation.cancel();
        let spec = ground.spec("cancel", &["out", "now", "sleep", "600"]);
        let job = Job {
            spec: &spec,
            uploads: Vec::new(),
            limit: LIMIT,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: None,
        };
        let started = Instant::now();
        let outcome = job::run(&ground.engine, job, &cancel, &cancellation).await;
        assert_eq!(outcome, Err(JobError::Cancelled));
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        assert_eq!(left_behind(&ground).await?, (0, 0));
        Ok(())
    });
}

#[test]
fn no_output_is_lost() {
    const LINES: usize = 16 * 1024;
    on_engine(|ground| async move {
        let spec = |name: &str| ground.spec(name, &["flood", &LINES.to_string()]);
        let flood = async |name: &str| {
            let counts = Mutex::new((0, 0));
            let check = |stream: OutputStream, line: &str| {
                let Ok(mut counts) = counts.lock() else { return };
                let (prefix, count) = match stream {
                    OutputStream::Stdout => ("out", &mut counts.0),
                    OutputStream::Stderr => ("err", &mut counts.1),
                };
                assert_eq!(line, format!("{prefix} {:059}", *count));
                *count += 1;
            };
            let spec = spec(name);
            let job = Job {
                spec: &spec,
                uploads: Vec::new(),
                limit: LIMIT,
                line_limit_bytes: LINE_LIMIT_BYTES,
                disk: None,
            };
            let outcome = job::run(&ground.engine, job, &check, &CancellationToken::new()).await?;
            assert_eq!(outcome.ending, exited(0));
            Ok::<_, JobError>(counts.into_inner().unwrap_or_default())
        };
        // A megabyte on each stream, of two containers at once.
        let (first, second) = tokio::join!(flood("first"), flood("second"));
        assert_eq!((first?, second?), ((LINES, LINES), (LINES, LINES)));
        Ok(())
    });
}

#[test]
fn an_image_is_built_from_a_dockerfile() {
    on_engine(|ground| async move {
        let Ground {
            engine,
            labels,
            id,
            image,
            ..
        } = &ground;
        let base = format!("lockstep-test/{id}:base");
        engine.tag_image(image, &format!("lockstep-test/{id}"), "base").await?;
        let build = |text: &str, tag: &str, target: Option<&str>| {
            let context = archive(&[("images/Dockerfile", 0o644, text.as_bytes())])?;
            Ok::<_, std::io::Error>(ImageBuild {
                context: bytes_stream(context),
                dockerfile: "images/Dockerfile".to_owned(),
                target: target.map(str::to_owned),
                arguments: BTreeMap::from([("WORD".to_owned(), "hello".to_owned())]),
                labels: labels.clone(),
                tag: format!("lockstep-test/{id}:{tag}"),
                is_fresh: false,
            })
        };
        let lines = Mutex::new(Vec::new());
        let log = |line: &str| {
            if let Ok(mut lines) = lines.lock() {
                lines.push(line.to_owned());
            }
        };
        let text = format!("FROM {base} AS one\nARG WORD\nRUN [\"/tool\", \"env\", \"WORD\"]\nFROM one\nENV TWO=2\n");
        let built = engine.build_image(build(&text, "built", Some("one"))?, &log).await?;
        let facts = engine.image(&built.0).await?.ok_or("the image was not built")?;
        assert!(facts.tags.contains(&format!("lockstep-test/{id}:built")), "{facts:?}");
        assert_eq!(facts.labels, *labels);
        assert!(
            !facts.environment.contains(&"TWO=2".to_owned()),
            "the target was not honoured"
        );
        let seen = std::mem::take(&mut *lines.lock().map_err(|error| error.to_string())?);
        assert!(seen.iter().any(|line| line == "hello"), "{seen:?}");

        // What the builder remembers does not run again, unless that is asked for.
        for is_fresh in [false, true] {
            let request = ImageBuild {
                is_fresh,
                ..build(&text, "again", Some("one"))?
            };
            engine.build_image(request, &log).await?;
            let seen = std::mem::take(&mut *lines.lock().map_err(|error| error.to_string())?);
            assert_eq!(seen.iter().any(|line| line == "hello"), is_fresh, "{seen:?}");
        }

        for (text, expected) in [
            (
                format!("FROM {base}\nRUN [\"/tool\", \"err\", \"it broke\", \"exit\", \"3\"]\n"),
                "returned a non-zero code: 3",
            ),
            ("FORM scratch\n".to_owned(), "FORM"),
            (format!("FROM {base}\nCOPY nothing /\n"), "nothing"),
        ] {
            let failed = engine.build_image(build(&text, "failed", None)?, &log).await;
            let Err(EngineError::BuildFailed { dockerfile, cause }) = &failed else {
                return Err(format!("{text}: {failed:?}").into());
            };
            assert_eq!(dockerfile, "images/Dockerfile");
            assert!(cause.contains(expected), "{cause} does not tell of {expected}");
        }
        let seen = lines.into_inner()?;
        assert!(seen.iter().any(|line| line == "it broke"), "{seen:?}");
        assert_eq!(left_behind(&ground).await?, (0, 0));
        Ok(())
    });
}

#[test]
fn a_pull_that_cannot_be_says_why() {
    on_engine(|ground| async move {
        // Nothing listens on this port of the engine's own machine.
        let pulled = ground.engine.pull_image("127.0.0.1:9/lockstep/none:1", &|_| {}).await;
        let Err(error @ EngineError::Failed { cause, .. }) = &pulled else {
            return Err(format!("{pulled:?}").into());
        };
        assert!(cause.contains("connection refused"), "{cause}");
        assert!(
            error
                .to_string()
                .starts_with("the engine failed to pull 127.0.0.1:9/lockstep/none:1: "),
            "{error}"
        );
        assert!(
            error.hint().is_some_and(|hint| hint.contains("bootstrap recipe")),
            "{error}"
        );
        let pulled = ground.engine.pull_image("../containers", &|_| {}).await;
        assert!(matches!(pulled, Err(EngineError::NotFound { .. })), "{pulled:?}");
        Ok(())
    });
}

/// Forwards TCP connections to the engine's socket until it is dropped.
struct Proxy {
    address: String,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let socket = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let socket = socket
            .strip_prefix("unix://")
            .ok_or("this test needs an engine behind a socket")?
            .to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            // Ends with the task, and all connections with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let socket = socket.clone();
                connections.spawn(async move {
                    let mut engine = tokio::net::UnixStream::connect(socket).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut engine).await
                });
            }
        });
        Ok(Self { address, task })
    }
}

#[test]
fn an_engine_behind_tcp_works_and_can_go_away() {
    on_engine(|ground| async move {
        let proxy = Proxy::start().await?;
        let engine = Docker::connect(&BTreeMap::from([("DOCKER_HOST".to_owned(), proxy.address.clone())])).await?;
        let away = Ground {
            engine,
            ..ground.clone()
        };
        assert_eq!(away.engine.facts().await?.address, proxy.address);
        assert_eq!(
            run(&away, &away.spec("tcp", &["out", "far away"])).await?.tail,
            ["far away"]
        );

        let go_away = |_: OutputStream, _: &str| proxy.task.abort();
        let spec = away.spec("lost", &["out", "now", "sleep", "600"]);
        let job = Job {
            spec: &spec,
            uploads: Vec::new(),
            limit: LIMIT,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: None,
        };
        let outcome = job::run(&away.engine, job, &go_away, &CancellationToken::new()).await;
        let Err(JobError::Engine(error @ EngineError::Unreachable { .. })) = outcome else {
            return Err(format!("{outcome:?}").into());
        };
        assert!(error.hint().is_some(), "{error}");
        assert_eq!(
            left_behind(&ground).await?,
            (1, 1),
            "what could not be removed is found by its labels"
        );
        assert_eq!(sweep(&ground.engine, &ground.labels).await?.containers.len(), 1);
        assert_eq!(left_behind(&ground).await?, (0, 0));
        Ok(())
    });
}

/// Answers every connection with the same HTTP response.
async fn answer(body: &'static str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("tcp://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = client.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    Ok(address)
}

/// What connecting with these variables fails with.
async fn connect_error(variables: &[(&str, &str)]) -> Option<EngineError> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Docker::connect(&variables).await.err()
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_apart() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    drop(std::os::unix::net::UnixListener::bind(path("dead.sock"))?);
    let plain = answer(r#"{"ApiVersion":"1.41"}"#).await?;
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        std::fs::write(path(name), "")?;
    }
    let (none, dead) = (
        format!("unix://{}", path("none.sock")),
        format!("unix://{}", path("dead.sock")),
    );
    let (runtime, podman) = (path("run"), path("run/podman/podman.sock"));
    std::fs::create_dir_all(path("run/podman"))?;
    std::fs::write(&podman, "")?;
    let (empty, certificates) = (path("empty"), path(""));
    for (variables, expected) in [
        (
            vec![("DOCKER_HOST", none.as_str()), ("XDG_RUNTIME_DIR", &runtime)],
            Obstacle::NoSocket {
                other: Some(format!("unix://{podman}")),
            },
        ),
        (vec![("DOCKER_HOST", &dead)], Obstacle::Refused),
        (vec![("DOCKER_HOST", "tcp://127.0.0.1:9")], Obstacle::Refused),
        (
            vec![("DOCKER_HOST", "tcp://no-such-host.invalid:9")],
            Obstacle::UnknownHost,
        ),
        (vec![("DOCKER_HOST", "docker.sock")], Obstacle::BadAddress),
        (
            vec![
                ("DOCKER_HOST", &plain),
                ("DOCKER_TLS_VERIFY", "1"),
                ("DOCKER_CERT_PATH", &empty),
            ],
            Obstacle::Tls,
        ),
        (
            vec![
                ("DOCKER_HOST", &plain),
                ("DOCKER_TLS_VERIFY", "1"),
                ("DOCKER_CERT_PATH", &certificates),
            ],
            Obstacle::Tls,
        ),
    ] {
        let error = connect_error(&variables).await;
        let Some(EngineError::Unreachable { obstacle, cause, .. }) = &error else {
            return Err(format!("{variables:?}: {error:?}").into());
        };
        assert_eq!(*obstacle, expected, "{variables:?}: {cause}");
    }
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_refused() -> TestResult {
    let address = answer(r#"{"ApiVersion":"1.40"}"#).await?;
    let error = connect_error(&[("DOCKER_HOST", &address)]).await;
    assert_eq!(
        error,
        Some(EngineError::TooOld {
            address,
            choice: Box::new(Choice::Host),
            found: "1.40".to_owned(),
            needed: "1.41"
        })
    );
    Ok(())
}
