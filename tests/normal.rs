//! Images that engines' builders make, brought into one form: the same Dockerfile is the same image on two engines with different
//! storage, and it has what the built one had.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::second_engine::SecondEngine;
use common::{Ground, TestResult, archive, bytes_stream, image_archive, on_engine, read, tool};
use lockstep::digest::Digest;
use lockstep::engine::docker::Docker;
use lockstep::engine::{ContainerSpec, Engine, EngineError, ImageBuild, ImageId, Labels};
use lockstep::image::{
    EntryKind, ImageCache, LocalImage, NormalRequest, Tree, base_of, image_name, normalise, provide,
};
use lockstep::stream;

const EPOCH_SECONDS: u64 = 1_735_689_600;
/// The day of the epoch.
const EPOCH_DAY: &str = "20089";

const DOCKERFILE: &str = "ARG BASE=lockstep-test/BASE
FROM ${BASE} AS work
USER 0
RUN [\"/day\", \"first\"]
RUN [\"/day\", \"LAST\"]
ENV TWO=2 ONE=1
EXPOSE 80
VOLUME /data
WORKDIR /d
LABEL vendor=example
HEALTHCHECK CMD [\"/tool\", \"out\", \"well\"]
STOPSIGNAL SIGINT
USER 7:8
ENTRYPOINT [\"/tool\", \"cat\"]
CMD [\"/d/e/n\"]
FROM work
RUN [\"/tool\", \"touch\", \"/never\"]
";

/// Connects to an engine of the test's own.
async fn connected(engine: &SecondEngine) -> Docker {
    let variables = BTreeMap::from([("DOCKER_HOST".to_owned(), engine.address())]);
    Docker::connect(&variables).await.unwrap()
}

/// The program that leaves what depends on the day, compiled as the other one is.
fn day() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("day");
    let mut cc = Command::new("cc");
    let cc = cc
        .args(["-static", "-O1", "-o"])
        .arg(&program)
        .arg("tests/normal/day.c");
    assert!(
        cc.status().unwrap().success(),
        "this test needs a C compiler and a static libc"
    );
    std::fs::read(program).unwrap()
}

/// Builds the Dockerfile on an engine and gives what the builder made.
async fn built(
    engine: &Docker,
    ground: &Ground,
    (day, last): (&[u8], &str),
) -> Result<(ImageId, Vec<Digest>), EngineError> {
    let tag = format!("lockstep-test/{}:base", ground.id);
    let files: [(&str, u32, &[u8]); 10] = [
        ("base/", 0o755, b""),
        ("base/a", 0o644, b"a"),
        ("base/b", 0o644, b"b"),
        ("base/d/", 0o755, b""),
        ("day", 0o755, day),
        ("etc/", 0o755, b""),
        ("tool", 0o755, tool()),
        ("var/", 0o755, b""),
        ("var/log/", 0o755, b""),
        ("var/log/old", 0o644, b"of the base"),
    ];
    let (base, id) = image_archive(&files, &ground.labels, &[&tag]).unwrap();
    engine.load_images(bytes_stream(base)).await?;
    let base = engine.image(&id.0).await?.unwrap().diff_ids;
    let text = DOCKERFILE.replace("lockstep-test/BASE", &tag).replace("LAST", last);
    let build = ImageBuild {
        context: bytes_stream(archive(&[("Dockerfile", 0o644, text.as_bytes())]).unwrap()),
        dockerfile: "Dockerfile".to_owned(),
        target: Some("work".to_owned()),
        arguments: BTreeMap::new(),
        labels: ground.labels.clone(),
        tag: format!("lockstep-test/{}:built", ground.id),
        is_fresh: false,
    };
    assert_eq!(base_of(&text, Some("work")), Some(tag));
    Ok((engine.build_image(build, &|_| {}).await?, base))
}

/// The built image in its one form, in a cache of its own.
async fn normal(engine: &Docker, built: &ImageId, base: Vec<Digest>, cache: &Path) -> LocalImage {
    let archive = engine.save_image(&built.0).await.unwrap();
    let cache = ImageCache::below(cache);
    let read = stream::read_by(archive, move |reader| {
        let request = NormalRequest {
            name: "images/work",
            recipe: Digest::of(b"recipe"),
            base: &base,
            remove: &[],
            epoch_seconds: EPOCH_SECONDS,
            labels: &BTreeMap::from([("dev.lockstep.recipe".to_owned(), "r".to_owned())]),
            cache: &cache,
        };
        normalise(&request, reader)
    });
    read.await.unwrap().unwrap()
}

/// All that an image has, by path, as a container of it has it: kind, mode, owner, attributes, content.
async fn files(engine: &Docker, image: &str, labels: &Labels) -> BTreeMap<String, String> {
    let name = format!(
        "lockstep-test-{}",
        Digest::of(format!("{image}{labels:?}").as_bytes()).short()
    );
    let spec = ContainerSpec::unstarted(name, ImageId(image.to_owned()), labels.clone(), vec![]);
    let container = engine.create_container(&spec).await.unwrap();
    let mut found = BTreeMap::new();
    for root in ["/base", "/d", "/etc", "/var"] {
        let tar = read(engine.download(&container, root).await.unwrap()).await.unwrap();
        let mut tree = Tree::default();
        tree.apply(&tar[..]).unwrap();
        for (path, node) in tree.iter() {
            let entry = &node.entry;
            let kind = match &entry.kind {
                // Which of its names a file has first is up to the storage.
                EntryKind::File { .. } | EntryKind::Hardlink(_) => "file".to_owned(),
                kind => format!("{kind:?}"),
            };
            let content = match entry.kind {
                EntryKind::File { .. } => node.content.to_string(),
                _ => String::new(),
            };
            let attributes: Vec<&String> = entry.attributes.keys().collect();
            let owner = (entry.mode, entry.uid, entry.gid);
            found.insert(
                String::from_utf8_lossy(path).into_owned(),
                format!("{kind} {owner:?} {attributes:?} {content}"),
            );
        }
    }
    engine.remove_container(&container).await.unwrap();
    found
}

/// What a layer says, entry by entry.
fn entries(layer: &Path) -> Vec<String> {
    let mut entries = Vec::new();
    let mut archive = tar::Archive::new(std::fs::File::open(layer).unwrap());
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        let link = header.link_name().unwrap();
        entries.push(format!(
            "{} {:?} {:o} {} {:?}",
            entry.path().unwrap().display(),
            header.entry_type(),
            header.mode().unwrap(),
            header.mtime().unwrap(),
            link
        ));
    }
    entries
}

/// What an engine's builder makes in its one form, which has what the built one has but for what records the day. It goes into
/// the engine, too.
async fn faithful(ground: &Ground, engine: &Docker, last: &str, cache: &Path) -> Result<LocalImage, EngineError> {
    let (built_image, base) = built(engine, ground, (&day(), last)).await?;
    let image = normal(engine, &built_image, base.clone(), cache).await;
    let layers = image.diff_ids();
    assert!(layers.starts_with(&base), "the base's layers stay as they are");
    let (facts, _) = provide(engine, &image).await.unwrap();
    assert_eq!(facts.id.0, image.id().to_string());
    let before = files(engine, &built_image.0, &ground.labels).await;
    let mut after = files(engine, &facts.id.0, &ground.labels).await;
    let left_out = [
        "etc/machine-id",
        "etc/passwd-",
        "var/log/own/log",
        "d/__pycache__/new.pyc",
    ];
    for path in left_out {
        assert!(before.contains_key(path) && !after.contains_key(path), "{path}");
    }
    for changed in ["etc/shadow", "var/log/old"] {
        assert_ne!(before[changed], after[changed], "{changed}");
        after.insert(changed.to_owned(), before[changed].clone());
    }
    let mut expected = before;
    expected.retain(|path, _| !left_out.contains(&path.as_str()));
    assert_eq!(after, expected);
    Ok(image)
}

/// Both are the same image.
fn assert_same(one: &LocalImage, other: &LocalImage) {
    // What differs is easier to read by entry.
    for (one, other) in one.layers.iter().zip(&other.layers) {
        assert_eq!(entries(&one.path), entries(&other.path), "{}", one.name);
    }
    assert_eq!(one.diff_ids(), other.diff_ids());
    let text = |image: &LocalImage| String::from_utf8_lossy(&image.config).into_owned();
    assert_eq!(text(one), text(other));
}

/// The config says what the Dockerfile does, and nothing of the build.
fn assert_config(image: &LocalImage) {
    let config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    let defaults = &config["config"];
    for (value, expected) in [
        (&config["created"], serde_json::json!("2025-01-01T00:00:00Z")),
        (&defaults["Env"], serde_json::json!(["PATH=/", "TWO=2", "ONE=1"])),
        (&defaults["User"], "7:8".into()),
        (&defaults["WorkingDir"], "/d".into()),
        (&defaults["Labels"]["vendor"], "example".into()),
        (&defaults["ExposedPorts"], serde_json::json!({"80/tcp": {}})),
        (&defaults["Volumes"], serde_json::json!({"/data": {}})),
        (&defaults["StopSignal"], "SIGINT".into()),
        (&defaults["Cmd"], serde_json::json!(["/d/e/n"])),
        (&defaults["Healthcheck"]["Test"][0], "CMD".into()),
    ] {
        assert_eq!(*value, expected);
    }
    let text = String::from_utf8_lossy(&image.config);
    assert!(!text.contains("ontainer") && !text.contains("/bin/sh"), "{text}");
}

/// Nothing in the layers is of the day.
fn assert_dateless(image: &LocalImage) {
    let mut tree = Tree::default();
    for layer in &image.layers {
        tree.apply(std::fs::File::open(&layer.path).unwrap()).unwrap();
    }
    let shadow = format!("root:*:19000:0:99999:7:::\nnew:!:{EPOCH_DAY}:0:99999:7:::\n");
    assert_eq!(tree.get(b"etc/shadow").unwrap().content, Digest::of(shadow.as_bytes()));
    for (path, node) in tree.iter() {
        let path = String::from_utf8_lossy(path);
        assert!(node.entry.mtime_seconds <= EPOCH_SECONDS, "{path}");
    }
}

/// A container of it does what the Dockerfile says.
fn assert_runs(image: &LocalImage) {
    let mut docker = Command::new("docker");
    let docker = docker
        .args(["run", "--rm", "--network", "none"])
        .arg(image.id().to_string());
    let output = docker.output().unwrap();
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(0), &b"n"[..]),
        "{output:?}"
    );
}

async fn on_three_engines(ground: Ground, engines: [SecondEngine; 2]) -> TestResult {
    let [overlay, copies] = [connected(&engines[0]).await, connected(&engines[1]).await];
    let cache = tempfile::tempdir()?;
    let cache = |name: &str| cache.path().join(name);
    let first = faithful(&ground, &ground.engine, "second", &cache("first")).await?;
    for (engine, name) in [(&overlay, "overlay"), (&copies, "copies")] {
        assert_same(&first, &faithful(&ground, engine, "second", &cache(name)).await?);
    }
    assert_config(&first);
    assert_dateless(&first);
    assert_runs(&first);
    ground
        .engine
        .remove_image(&image_name("images/work", first.id()))
        .await?;
    // What the machine's own storage may forget (fuse-overlayfs 1.10): that a directory is another one now.
    let once = faithful(&ground, &overlay, "third", &cache("overlay-third")).await?;
    assert_same(
        &once,
        &faithful(&ground, &copies, "third", &cache("copies-third")).await?,
    );
    Ok(())
}

#[test]
fn the_same_dockerfile_is_the_same_image_on_every_engine() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test starts engines, and needs root"
    );
    // Not every file system of a machine takes the first one.
    let data = [(); 3].map(|()| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    let start = |number: usize, storage| SecondEngine::start(data[number].path(), Some(storage));
    let overlay = start(0, "overlay2").or_else(|log| {
        eprintln!("no overlay2 here: {log}");
        start(1, "vfs")
    });
    let engines = [overlay, start(2, "vfs")].map(|engine| engine.unwrap_or_else(|log| panic!("{log}")));
    on_engine(move |ground| on_three_engines(ground, engines));
}

/// How many files the large image has, and how long each is.
const LARGE_FILES_COUNT: u64 = 2000;
const LARGE_FILE_BYTES: u64 = 250_000;
/// How much memory it may take, whatever the image's size.
const MEMORY_LIMIT_KIB: u64 = 64 * 1024;

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..LARGE_FILE_BYTES / 8).flat_map(|_| next()).collect()
}

/// The context of a Dockerfile that makes a large image, as a stream that is never whole in memory.
fn large_context(base: &str) -> lockstep::engine::ByteStream {
    let dockerfile = format!("FROM {base}\nCOPY large /large\n");
    stream::written_by(move |writer| {
        let mut archive = tar::Builder::new(writer);
        let mut add = |path: String, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content)
        };
        add("Dockerfile".to_owned(), dockerfile.as_bytes())?;
        for number in 0..LARGE_FILES_COUNT {
            add(format!("large/{}/{number}", number % 40), &noise(number))?;
        }
        archive.finish()
    })
}

/// How much memory this process has held at most, its own and not that of files.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

#[expect(clippy::print_stdout, reason = "it is what `make bench` shows")]
async fn measured(ground: Ground, address: String, target: Docker) -> TestResult {
    let runs: usize = std::env::var("LOCKSTEP_BENCH_RUNS").map_or(3, |runs| runs.parse().unwrap());
    let base = format!("lockstep-test/{}:base", ground.id);
    let (archive, _) = image_archive(&[("tool", 0o755, tool())], &ground.labels, &[&base])?;
    ground.engine.load_images(bytes_stream(archive)).await?;
    let tag = format!("lockstep-test/{}:large", ground.id);
    let build = ImageBuild {
        context: large_context(&base),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        arguments: BTreeMap::new(),
        labels: ground.labels.clone(),
        tag: tag.clone(),
        is_fresh: false,
    };
    let large = ground.engine.build_image(build, &|_| {}).await?;
    let base = ground.engine.image(&base).await?.unwrap().diff_ids;
    let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let start = Instant::now();
        let script = format!("docker save {tag} | docker --host {address} load --quiet");
        let status = Command::new("sh")
            .args(["-c", &script])
            .stdout(std::process::Stdio::null())
            .status()?;
        assert!(status.success());
        by_hand.push(start.elapsed().as_secs_f64());
        target.remove_image(&tag).await?;
        let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // What the process held before does not count.
        std::fs::write("/proc/self/clear_refs", "5")?;
        let start = Instant::now();
        let image = normal(&ground.engine, &large, base.clone(), cache.path()).await;
        provide(&target, &image).await?;
        ours.push(start.elapsed().as_secs_f64());
        target.remove_image(&image_name("images/work", image.id())).await?;
    }
    let (by_hand, ours) = (median(by_hand), median(ours));
    let peak = peak_memory_kib();
    println!(
        "an image of {} MB, median of {runs}",
        LARGE_FILES_COUNT * LARGE_FILE_BYTES / 1_000_000
    );
    println!("  docker save | docker load            {by_hand:8.2} s");
    println!("  saved, brought into one form, loaded {ours:8.2} s");
    println!("ratio                                  {:8.2}", ours / by_hand);
    println!(
        "memory at most                         {:8.1} MiB",
        peak as f64 / 1024.0
    );
    assert!(peak < MEMORY_LIMIT_KIB, "{peak} KiB");
    assert!(ours <= by_hand, "slower than by hand");
    Ok(())
}

#[test]
#[ignore = "it takes minutes: make bench"]
fn normalising_is_no_slower_than_saving_and_loading() {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let engine = SecondEngine::start(data.path(), Some("overlay2"));
    let engine = engine.unwrap_or_else(|log| panic!("{log}"));
    on_engine(move |ground| async move {
        let target = connected(&engine).await;
        measured(ground, engine.address(), target).await
    });
}
