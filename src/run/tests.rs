//! The main job on the fake engine: what a run does when the world does not do its part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{BuildReport, LockReport, Options, Run, RunError, StepEnd};
use crate::bundle::emulator::with_volumes;
use crate::bundle::verify;
use crate::config::load;
use crate::context::Context;
use crate::engine::fake::{Behaviour, FakeContainer, FakeEngine, Files, Node};
use crate::engine::job::OUTPUT_LIMIT_BYTES;
use crate::engine::{ContainerSpec, Engine as _, EngineError, Labels, Mount, Network, OutputStream};
use crate::event::{Event, Recorded};
use crate::exit::Exit;
use crate::name::EnvironmentName;

const PROJECT: &str = "version: 1
project: sample
environments:
  one: {build: {image: 'build:1'}, runtime: {image: 'runtime:1'}}
host: {language: c, source: host, artifacts: [host]}
plugins:
  - {name: shout, language: c, source: shout, artifacts: [shout.so]}
  - {name: whisper, language: c, source: whisper, artifacts: [whisper.so]}
contract: {loader: dlopen, abi: c, symbols: [greet]}
smoke: {command: [host, '{plugins}'], expect: {status: 0, stdout: [hello]}}
limits: {timeout: 1s}
";
const VOLUME: &str = "volume lockstep-sample-one";
/// More than any of these tests waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A project in a directory of its own.
struct Sample {
    directory: TempDir,
    runs: AtomicUsize,
}

impl Sample {
    fn new() -> Self {
        let sample = Self {
            directory: tempfile::tempdir().unwrap(),
            runs: AtomicUsize::new(0),
        };
        sample.write("lockstep.yaml", PROJECT);
        for unit in ["host", "shout", "whisper"] {
            sample.write(&format!("{unit}/{unit}.c"), unit);
        }
        sample
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path().join(path)).ok()
    }

    /// The bundle, which is whole if it is there.
    fn bundle(&self) -> Option<String> {
        let directory = self.path().join("dist/one");
        if !directory.exists() {
            return None;
        }
        let (manifest, differences) = verify(&directory).unwrap();
        assert_eq!(differences, []);
        Some(manifest.digest().unwrap().to_string())
    }

    async fn start(
        &self,
        engine: &FakeEngine,
        locked: bool,
        cancellation: &CancellationToken,
    ) -> (Result<Run, RunError>, Arc<Recorded>) {
        self.start_with(
            engine,
            Options {
                jobs: 1,
                locked,
                check: false,
                allowed: BTreeSet::new(),
                only_looks: false,
                offline: false,
            },
            cancellation,
        )
        .await
    }

    async fn start_with(
        &self,
        engine: &FakeEngine,
        options: Options,
        cancellation: &CancellationToken,
    ) -> (Result<Run, RunError>, Arc<Recorded>) {
        let (project, problems) = load(&self.path().join("lockstep.yaml"), "lockstep.yaml", &[]);
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let context = Context {
            working_directory: self.path().to_owned(),
            cache_directory: self.path().join("cache"),
            variables: BTreeMap::new(),
            started_at_seconds: 0,
            run_id: format!("run{number}"),
            temporary_directory: std::env::temp_dir(),
            machine_id: "machine".to_owned(),
            is_root: false,
            processors: 1,
        };
        let events = Arc::new(Recorded::default());
        let run = Run::start(
            project.unwrap_or_else(|| panic!("{problems:?}")),
            context,
            Arc::new(engine.clone()),
            events.clone(),
            cancellation.clone(),
            options,
        );
        (run.await, events)
    }

    async fn build_with(
        &self,
        engine: &FakeEngine,
        locked: bool,
        cancellation: &CancellationToken,
    ) -> Result<BuildReport, RunError> {
        let run = self.start(engine, locked, cancellation).await.0?;
        let result = run.build(&[one()]).await;
        run.finish(result).await
    }

    async fn build(&self, engine: &FakeEngine) -> Result<BuildReport, RunError> {
        self.build_with(engine, false, &CancellationToken::new()).await
    }

    async fn locked_build(&self, engine: &FakeEngine) -> Result<BuildReport, RunError> {
        self.build_with(engine, true, &CancellationToken::new()).await
    }

    async fn check_lock(&self, engine: &FakeEngine) -> Result<LockReport, RunError> {
        let run = self.start(engine, true, &CancellationToken::new()).await.0?;
        let result = run.check_lock().await;
        run.finish(result).await
    }

    async fn lock(&self, engine: &FakeEngine, update: bool) -> Result<LockReport, RunError> {
        let run = self.start(engine, false, &CancellationToken::new()).await.0?;
        let result = run.lock(&[one()], update).await;
        run.finish(result).await
    }
}

fn one() -> EnvironmentName {
    EnvironmentName::new("one").unwrap()
}

/// An engine on which everything works.
fn engine() -> FakeEngine {
    with_volumes(FakeEngine::new())
        .with_image("build:1")
        .with_image("runtime:1")
        .on("probe", |_| Behaviour::exit(0).stdout("tool gcc 14.2.0"))
        .on("compile", compile)
        .on("smoke", smoke)
}

/// What a compile's container says before its command begins.
const NO_NETWORK: &str = "lockstep-network up lo routes lookup failed connection untried";

/// A compile's container that has no network, and ends well.
fn isolated() -> Behaviour {
    Behaviour::exit(0).stdout(NO_NETWORK)
}

/// What a compiler makes of the sources depends on the sources alone.
fn compile(container: &FakeContainer) -> Behaviour {
    let name = &container.spec.name;
    let artifact = match ["lockstep-loader", "shout", "whisper"]
        .into_iter()
        .find(|unit| name.contains(&format!("compile-{unit}")))
    {
        Some("lockstep-loader") => "lockstep-loader".to_owned(),
        Some(plugin) => format!("{plugin}.so"),
        None => "host".to_owned(),
    };
    let sources: Vec<u8> = container
        .files
        .iter()
        .filter(|(path, _)| path.starts_with("/lockstep/src/"))
        .flat_map(|(_, content)| content.clone())
        .collect();
    let behaviour = isolated().file(&format!("/lockstep/out/{artifact}"), sources.clone());
    match artifact.as_str() {
        "lockstep-loader" => behaviour.file("/lockstep/out/lockstep-probe.so", sources),
        _ => behaviour,
    }
}

const TEXT: &str = r#"{"text":"hello","tail":null}"#;
const END: &str = r#"{"schema":1,"event":"end"}"#;

const STEP: &str = r#"{"schema":1,"event":"step","index":0}"#;
const STARTING: &str = r#"{"schema":1,"event":"starting"}"#;

fn opening(path: &str) -> String {
    format!(r#"{{"schema":1,"event":"opening","path":"{path}"}}"#)
}

fn plugin(path: &str, outcome: &str) -> String {
    format!(
        r#"{{"schema":1,"event":"plugin","path":"{path}","outcome":"{outcome}","phase":null,"symbol":null,"message":null,"missing":[],"signal_name":null,"status":null,"calls":[],"stdout":{TEXT},"stderr":{TEXT}}}"#
    )
}

fn loaded(path: &str) -> String {
    plugin(path, "loaded")
}

/// A loader that finds everything as it should be.
fn smoke(container: &FakeContainer) -> Behaviour {
    if container.argument_with("steps").is_some() {
        let exit = format!(
            r#"{{"schema":1,"event":"exit","status":0,"signal_name":null,"stopped_by":"itself","stdout":{TEXT},"stderr":{TEXT}}}"#
        );
        return Behaviour::exit(0)
            .stdout(STEP)
            .stdout(STARTING)
            .stdout(&exit)
            .stdout(END);
    }
    let plugins = container.spec.command.iter().filter(|word| word.ends_with(".so"));
    let behaviour = plugins.fold(Behaviour::exit(0), |behaviour, path| {
        let missing = !container.files.contains_key(path);
        let outcome = if missing { "not-loadable" } else { "loaded" };
        behaviour.stdout(&opening(path)).stdout(&plugin(path, outcome))
    });
    behaviour.stdout(END)
}

/// An engine on which everything works but the compile of `shout`.
fn engine_with_shout(shout: impl Fn() -> Behaviour + Send + Sync + 'static) -> FakeEngine {
    engine().on("compile", move |container| {
        if container.spec.name.contains("compile-shout") {
            shout()
        } else {
            compile(container)
        }
    })
}

fn exit_of<T>(result: &Result<T, RunError>) -> Exit {
    match result {
        Ok(_) => Exit::Ok,
        Err(error) => error.failure().exit,
    }
}

/// The names of images that only a run that is going on may have.
async fn staged_images(engine: &FakeEngine) -> Vec<String> {
    let images = engine.images(&Labels::new()).await.unwrap();
    let tags = images.into_iter().flat_map(|image| image.tags);
    tags.filter(|tag| tag.contains("staged")).collect()
}

/// Nothing is on the engine, nor in the project beside its sources, that a failed first build should not leave.
async fn assert_nothing_left(sample: &Sample, engine: &FakeEngine) {
    assert_eq!(engine.left_behind(), Vec::<String>::new());
    assert_eq!(staged_images(engine).await, Vec::<String>::new());
    assert_eq!((sample.bundle(), sample.read("lockstep.lock")), (None, None));
    assert_eq!(temporary_files(sample), Vec::<String>::new());
}

/// Staging and collecting directories of runs.
fn temporary_files(sample: &Sample) -> Vec<String> {
    // None when the run ended before it had one.
    let entries = std::fs::read_dir(sample.path().join(".lockstep"));
    entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("staging-") || name.starts_with("collect-"))
        .collect()
}

fn step_end(error: &RunError) -> &StepEnd {
    match error {
        RunError::Step(failure) => &failure.end,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_build_publishes_and_the_next_one_does_nothing() {
    let (sample, engine) = (Sample::new(), engine());
    let report = sample.build(&engine).await.unwrap();
    let compiled = |report: &BuildReport| -> Vec<String> {
        let units = report.environments.iter().flat_map(|environment| &environment.units);
        units
            .filter(|unit| !unit.cached)
            .map(|unit| unit.name.to_string())
            .collect()
    };
    assert_eq!(compiled(&report), ["host", "shout", "whisper"]);
    assert_eq!(engine.left_behind(), [VOLUME]);
    assert_eq!(staged_images(&engine).await, Vec::<String>::new());
    assert_eq!(temporary_files(&sample), Vec::<String>::new());
    let image = engine.image("lockstep/sample:one").await.unwrap().unwrap();
    let runtime = engine.image("runtime:1").await.unwrap().unwrap();
    assert_eq!(image.diff_ids[..1], runtime.diff_ids[..], "it begins with the runtime");
    let published = engine.volume_files("lockstep-sample-one");
    assert!(
        published.keys().any(|path| path.ends_with("/shout.so")),
        "{published:?}"
    );

    let (bundle, lock, created) = (sample.bundle(), sample.read("lockstep.lock"), engine.created().len());
    let again = sample.build(&engine).await.unwrap();
    assert!(again.environments[0].unchanged);
    let looks = engine.created().split_off(created);
    assert!(looks.iter().all(|spec| spec.name.ends_with("-look")), "{looks:?}");
    assert!(
        !engine
            .calls()
            .iter()
            .any(|call| call.contains("start") && call.ends_with("-look"))
    );
    assert_eq!((sample.bundle(), sample.read("lockstep.lock")), (bundle.clone(), lock));

    sample.write("shout/shout.c", "louder");
    let changed = sample.build(&engine).await.unwrap();
    assert_eq!(compiled(&changed), ["shout"]);
    let compiles = engine.created()[created..]
        .iter()
        .filter(|spec| spec.name.contains("-compile-"))
        .count();
    assert_eq!(compiles, 1);
    assert_ne!(sample.bundle(), bundle);
    assert_eq!(engine.left_behind(), [VOLUME]);
}

/// A host and its plugins of one build, and a plugin that lockstep links itself.
const SHARED: &str = "version: 1
project: sample
environments:
  one: {build: {image: 'build:1'}, runtime: {image: 'runtime:1'}}
builds:
  tree: {language: c, command: make, source: tree}
host: {from: tree, artifacts: [host]}
plugins:
  - {name: loud, from: tree, artifacts: [{file: loud.so, to: very/loud.so}]}
  - {name: quiet, from: tree, artifacts: [quiet.so]}
  - {name: shout, language: c, source: shout, artifacts: [shout.so]}
contract: {loader: dlopen, abi: c, symbols: [greet]}
limits: {timeout: 1s}
";

fn sample_of_one_build() -> Sample {
    let sample = Sample::new();
    sample.write("lockstep.yaml", SHARED);
    sample.write("tree/Makefile", "all:\n");
    sample
}

/// An engine on which the compile of `tree` leaves these.
fn engine_with_tree(names: &'static [&'static str]) -> FakeEngine {
    engine().on("compile", move |container| {
        let compiled = compile(container);
        match container.spec.name.contains("compile-tree") {
            true => names.iter().fold(isolated(), |behaviour, name| {
                behaviour.file(&format!("/lockstep/out/{name}"), *name)
            }),
            false => compiled,
        }
    })
}

const TREE: &[&str] = &["host", "loud.so", "quiet.so"];

/// The compiles of units and builds, in their order.
fn compiles(engine: &FakeEngine) -> Vec<&'static str> {
    let created = engine.created();
    let names = created.iter().filter_map(|spec| spec.name.split_once("-compile-"));
    let known = ["host", "loud", "quiet", "shout", "tree"];
    names
        .filter_map(|(_, name)| known.into_iter().find(|known| name.starts_with(known)))
        .collect()
}

#[tokio::test]
async fn a_build_runs_once_for_all_units_that_take_from_it() {
    let (sample, engine) = (sample_of_one_build(), engine_with_tree(TREE));
    let report = sample.build(&engine).await.unwrap();
    assert_eq!(compiles(&engine), ["tree", "shout"]);
    let units: Vec<_> = report.environments[0]
        .units
        .iter()
        .map(|unit| {
            (
                unit.name.to_string(),
                unit.artifacts.keys().cloned().collect::<Vec<_>>(),
            )
        })
        .collect();
    let unit = |name: &str, artifact: &str| (name.to_owned(), vec![artifact.to_owned()]);
    assert_eq!(
        units,
        [
            unit("host", "host"),
            unit("loud", "loud.so"),
            unit("quiet", "quiet.so"),
            unit("shout", "shout.so")
        ]
    );
    let lock = crate::lock::read(&sample.path().join("lockstep.lock"))
        .unwrap()
        .unwrap();
    let locked = &lock.environments[&one()].units;
    let evidence: BTreeMap<&str, _> = locked
        .iter()
        .map(|(name, unit)| (name.as_str(), (unit.source, unit.action)))
        .collect();
    assert!(evidence["host"] == evidence["loud"] && evidence["host"] == evidence["quiet"]);
    assert_ne!(evidence["host"], evidence["shout"]);
    let published = engine.volume_files("lockstep-sample-one");
    for place in ["/host", "/very/loud.so", "/quiet.so", "/shout.so"] {
        assert!(published.keys().any(|path| path.ends_with(place)), "{published:?}");
    }
    assert!(sample.locked_build(&engine).await.unwrap().environments[0].unchanged);
    sample.check_lock(&engine).await.unwrap();

    // A line of one of its units' sources, and what one of them takes, are the whole build's.
    sample.write("tree/loud.c", "louder");
    sample.build(&engine).await.unwrap();
    assert_eq!(compiles(&engine), ["tree", "shout", "tree"]);
    sample.write("lockstep.yaml", &SHARED.replace("[quiet.so]", "[quiet.so, more.so]"));
    let failure = sample.locked_build(&engine).await.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Drift);
    assert_eq!(compiles(&engine).len(), 3);
}

#[tokio::test]
async fn other_files_of_a_unit_of_a_build_compile_nothing() {
    let (sample, engine) = (sample_of_one_build(), engine_with_tree(TREE));
    sample.build(&engine).await.unwrap();
    sample.write("notes.txt", "quietly");
    sample.write(
        "lockstep.yaml",
        &SHARED.replace("[quiet.so]", "[quiet.so], files: [notes.txt]"),
    );
    sample.build(&engine).await.unwrap();
    assert_eq!(compiles(&engine), ["tree", "shout"]);
}

#[tokio::test]
async fn what_a_build_does_not_leave_is_named() {
    let (sample, engine) = (sample_of_one_build(), engine_with_tree(&["host", "loud.so"]));
    let failure = sample.build(&engine).await.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Build);
    assert!(
        failure.message.contains("`tree`") && failure.message.contains("left no `quiet.so`"),
        "{}",
        failure.message
    );
    assert_nothing_left(&sample, &engine).await;
}

#[test]
fn a_plan_shows_a_build_once_and_who_takes_what() {
    let sample = sample_of_one_build();
    let (project, problems) = load(&sample.path().join("lockstep.yaml"), "lockstep.yaml", &[]);
    let project = project.unwrap_or_else(|| panic!("{problems:?}"));
    let plan = super::plan_only(&project, &[one()]).unwrap();
    let text = crate::plan::render(&plan);
    let is_digest = |word: &&str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let without_loader = text.split("  compile  lockstep-loader").next().unwrap();
    let steps: Vec<String> = without_loader
        .lines()
        .filter(|line| ["  compile", "  take"].iter().any(|step| line.starts_with(step)))
        .map(|line| {
            line.split_whitespace()
                .filter(|word| !is_digest(word))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        steps,
        [
            "compile tree source -> host, loud.so, quiet.so",
            "take host from tree: host",
            "take loud from tree: loud.so as very/loud.so",
            "take quiet from tree: quiet.so",
            "compile shout source -> shout.so",
        ]
    );
    let image = crate::digest::Digest::of(b"image");
    let environment = &plan.environments[0];
    let keys: BTreeSet<_> = environment
        .units
        .iter()
        .filter(|unit| unit.unit.from.is_some())
        .chain(&environment.builds)
        .map(|unit| unit.action_key(image))
        .collect();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn host_and_plugins_are_compiled_in_one_image_without_a_network() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    let compiles: Vec<_> = engine
        .created()
        .into_iter()
        .filter(|spec| spec.name.contains("-compile-"))
        .collect();
    assert_eq!(compiles.len(), 4, "host, two plugins, the loader");
    for spec in compiles {
        assert_eq!(spec.image, engine.image("build:1").await.unwrap().unwrap().id);
        assert_eq!(
            (spec.network, spec.user.as_str()),
            (crate::engine::Network::None, "1000:1000")
        );
        assert!(spec.read_only_root && spec.capabilities.is_empty());
        // Nothing of a unit is there when its container shows that it has no network: a loader would take `LD_PRELOAD`.
        let variables: Vec<&str> = spec.environment.keys().map(String::as_str).collect();
        assert_eq!(variables, ["HOME", "LANG", "TZ"]);
        assert!(
            spec.command.contains(&"TMPDIR=/lockstep/target".to_owned()),
            "{:?}",
            spec.command
        );
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_ends_with_3_and_says_what_to_do() {
    let (sample, engine) = (Sample::new(), FakeEngine::new().with_image("build:1"));
    let result = sample.build(&engine).await;
    let failure = result.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Engine);
    assert!(failure.message.contains("runtime:1"), "{}", failure.message);
    assert!(failure.hint.is_some_and(|hint| hint.contains("docker load")));
    assert_nothing_left(&sample, &engine).await;
}

#[tokio::test]
async fn an_image_is_pulled_when_it_is_missing() {
    let (sample, engine) = (Sample::new(), engine());
    let runtime = engine.image("runtime:1").await.unwrap().unwrap();
    engine.remove_image(&runtime.id.0).await.unwrap();
    engine.publish_image("runtime:1", "runtime:1");
    sample.build(&engine).await.unwrap();
    let lock = sample.read("lockstep.lock").unwrap();
    assert!(lock.contains("runtime@sha256:"), "the lock names it by digest: {lock}");
}

#[tokio::test]
async fn a_failed_compile_ends_with_4_and_shows_the_unit_its_last_words_and_its_log() {
    let (sample, engine) = (
        Sample::new(),
        engine_with_shout(|| {
            Behaviour::exit(3)
                .stdout(NO_NETWORK)
                .stdout("compiling")
                .stderr("shout.c:1: error: expected `;`")
        }),
    );
    let error = sample.build(&engine).await.unwrap_err();
    assert_eq!(step_end(&error), &StepEnd::Status(3));
    let failure = error.failure();
    assert_eq!(failure.exit, Exit::Build);
    assert!(
        failure.message.contains("`shout`") && failure.message.contains("status 3"),
        "{}",
        failure.message
    );
    assert!(
        failure.notes.iter().any(|note| note.contains("expected `;`")),
        "{:?}",
        failure.notes
    );
    let log = sample.read(&failure.place.unwrap()).unwrap();
    assert_eq!(log, "compiling\nshout.c:1: error: expected `;`\n");
    assert_nothing_left(&sample, &engine).await;
}

#[tokio::test]
async fn a_failed_compile_ends_the_others_and_is_what_is_told() {
    let sample = Sample::new();
    let engine = engine().on("compile", |container| {
        let is_plugin = |name: &str| container.spec.name.contains(&format!("compile-{name}"));
        // The plugins are linked against what their host exports, so they wait for it.
        assert!(!is_plugin("shout") && !is_plugin("whisper"));
        if is_plugin("lockstep-loader") {
            Behaviour::hang()
        } else {
            Behaviour::exit(3).takes(Duration::from_millis(50))
        }
    });
    let options = Options {
        jobs: 4,
        locked: false,
        check: false,
        allowed: BTreeSet::new(),
        only_looks: false,
        offline: false,
    };
    let (run, _) = sample.start_with(&engine, options, &CancellationToken::new()).await;
    let run = run.unwrap();
    let result = run.build(&[one()]).await;
    let left = engine.left_behind();
    assert_eq!(left, Vec::<String>::new(), "each removes its own container");
    let error = run.finish(result).await.unwrap_err();
    assert_eq!(step_end(&error), &StepEnd::Status(3));
}

#[tokio::test]
async fn a_compile_that_breaks_a_limit_is_told_apart() {
    let memory = engine_with_shout(Behaviour::out_of_memory);
    let time = engine_with_shout(Behaviour::hang);
    let output = engine_with_shout(|| {
        let piece = vec![b'x'; usize::try_from(OUTPUT_LIMIT_BYTES).unwrap() + 1];
        Behaviour::hang().writes(OutputStream::Stdout, piece)
    });
    for (engine, expected) in [
        (memory, StepEnd::OutOfMemory(4 << 30)),
        (time, StepEnd::TimedOut(Duration::from_secs(1))),
        (output, StepEnd::TooMuchOutput(OUTPUT_LIMIT_BYTES)),
    ] {
        let sample = Sample::new();
        let error = sample.build(&engine).await.unwrap_err();
        assert_eq!(step_end(&error), &expected);
        assert_eq!(error.failure().exit, Exit::Build);
        assert_nothing_left(&sample, &engine).await;
    }
}

#[tokio::test]
async fn an_artifact_that_does_not_come_out_is_named() {
    let (sample, engine) = (Sample::new(), engine_with_shout(isolated));
    let result = sample.build(&engine).await;
    let failure = result.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Build);
    assert!(failure.message.contains("shout.so"), "{}", failure.message);
    assert_nothing_left(&sample, &engine).await;
}

#[tokio::test]
async fn a_failed_smoke_test_leaves_the_previous_bundle() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    let before = (
        sample.bundle(),
        sample.read("lockstep.lock"),
        engine.volume_files("lockstep-sample-one"),
    );
    let image = engine.image("lockstep/sample:one").await.unwrap();
    let engine = engine.on("smoke", |_| Behaviour::exit(0).stdout("no event"));
    sample.write("shout/shout.c", "silent");
    let result = sample.build(&engine).await;
    assert_eq!(exit_of(&result), Exit::Smoke);
    assert_eq!(engine.left_behind(), [VOLUME]);
    assert_eq!((sample.bundle(), sample.read("lockstep.lock")), (before.0, before.1));
    assert_eq!(engine.image("lockstep/sample:one").await.unwrap(), image);
    assert_eq!(staged_images(&engine).await, Vec::<String>::new());
}

/// A loader that finds everything as it should be, and that a plugin ends with this status when it is opened.
fn smoke_ended_by(hostile: &'static str, status: i64) -> impl Fn(&FakeContainer) -> Behaviour + Send + Sync + 'static {
    move |container| {
        let mut paths = container.spec.command.iter().filter(|word| word.ends_with(".so"));
        let mut told = Vec::new();
        let is_hostile = |path: &String| path.ends_with(&format!("/{hostile}.so"));
        for path in paths.by_ref().take_while(|path| !is_hostile(path)) {
            told.extend([opening(path), loaded(path)]);
        }
        let ended = container.spec.command.iter().find(|word| is_hostile(word));
        match ended.filter(|_| container.argument_with("steps").is_none()) {
            None => smoke(container),
            Some(path) => {
                told.push(opening(path));
                told.iter()
                    .fold(Behaviour::exit(status), |behaviour, line| behaviour.stdout(line))
            }
        }
    }
}

/// How often a container opened plugins.
fn times_opened(engine: &FakeEngine) -> usize {
    let created = engine.created();
    created
        .iter()
        .filter(|spec| spec.command.iter().any(|word| word == "open"))
        .count()
}

#[tokio::test]
async fn a_plugin_that_ends_the_loader_takes_nobody_with_it() {
    // The second container tells who it was: in the first, one that was there before could have had to do with it.
    for (hostile, times) in [("shout", 2), ("whisper", 2)] {
        let (sample, engine) = (Sample::new(), engine().on("smoke", smoke_ended_by(hostile, 137)));
        let failure = sample.build(&engine).await.unwrap_err().failure();
        assert_eq!(failure.exit, Exit::Smoke);
        assert!(failure.message.ends_with("1 plugin failed"), "{}", failure.message);
        assert_eq!(
            failure.notes,
            [format!("{hostile}.so: ended the smoke loader: status 137")]
        );
        assert_eq!(times_opened(&engine), times, "{hostile}");
        assert_nothing_left(&sample, &engine).await;
    }
}

#[tokio::test]
async fn a_plugin_is_not_blamed_for_what_an_earlier_one_did() {
    for (status, last) in [
        (137, r#"{"schema":1,"event":"opening","path":"/bun"#),
        (0, r#"{"schema":1,"event":"unclean","message":"files in /tmp"}"#),
        (70, r#"{"schema":1,"event":"error","message":"failed to make a pipe"}"#),
    ] {
        let first = move |container: &FakeContainer| {
            let words = container.spec.command.iter();
            let paths: Vec<&String> = words.filter(|word| word.ends_with(".so")).collect();
            match paths.as_slice() {
                [first, _] => [&opening(first), &loaded(first), last]
                    .into_iter()
                    .fold(Behaviour::exit(status), Behaviour::stdout),
                _ => smoke(container),
            }
        };
        let (sample, engine) = (Sample::new(), engine().on("smoke", first));
        let report = sample.build(&engine).await.unwrap();
        let smoke = report.environments[0].smoke.as_ref().unwrap();
        assert_eq!(smoke.plugins.len(), 2);
        assert_eq!(times_opened(&engine), 2);
    }
}

#[tokio::test]
async fn a_loader_that_never_begins_is_nobodys_fault() {
    for words in ["", "error[usage]: unknown flag `--user`"] {
        let (sample, engine) = (
            Sample::new(),
            engine().on("smoke", move |_| Behaviour::exit(127).stderr(words)),
        );
        let failure = sample.build(&engine).await.unwrap_err().failure();
        assert_eq!(failure.exit, Exit::Smoke);
        assert!(failure.message.contains("status 127"), "{}", failure.message);
        assert_eq!(times_opened(&engine), 1);
    }
}

#[tokio::test]
async fn a_host_that_ends_the_loader_is_named() {
    let engine = engine().on("smoke", |container| match container.argument_with("steps") {
        Some(_) => Behaviour::exit(137).stdout(STEP).stdout(STARTING),
        None => smoke(container),
    });
    let failure = Sample::new().build(&engine).await.unwrap_err().failure();
    assert!(
        failure
            .notes
            .iter()
            .any(|note| note.contains("it ended the smoke loader: status 137")),
        "{:?}",
        failure.notes
    );
}

/// What the smoke containers of a build may write to, which is memory alone: all of it in bytes.
fn smoke_containers(engine: &FakeEngine) -> Vec<ContainerSpec> {
    let created = engine.created();
    let smoke: Vec<_> = created
        .into_iter()
        .filter(|spec| spec.name.contains("-smoke-"))
        .collect();
    assert_eq!(smoke.len(), 2);
    for spec in &smoke {
        assert_eq!(spec.user, "0:0");
        assert_eq!(spec.capabilities, ["KILL", "SETGID", "SETUID"]);
        assert!(spec.read_only_root && !spec.init && spec.network == Network::None);
        let sizes = spec.mounts.iter().map(|mount| match mount {
            Mount::Tmpfs { size_bytes, .. } | Mount::OwnedTmpfs { size_bytes, .. } => *size_bytes,
            Mount::Volume { read_only, .. } => {
                assert!(read_only, "{mount:?}");
                0
            }
            // It belongs to root, and so does all that is uploaded.
            Mount::Anonymous { .. } => 0,
        });
        assert!(sizes.sum::<u64>() <= spec.limits.memory_bytes / 2);
    }
    smoke
}

/// The directories that steps ask for are their users', and take from what there is for all.
#[tokio::test]
async fn steps_write_to_a_part_of_memory_alone() {
    let (sample, engine) = (Sample::new(), engine());
    let steps = "smoke:\n- {run: [host, '{plugins}'], user: 7, writable: [/data], exec: true}\n- {run: [ls], user: 7, writable: [/data]}\n- {run: [ls], writable: [/other]}";
    let smoke = PROJECT.lines().find(|line| line.starts_with("smoke:")).unwrap();
    sample.write("lockstep.yaml", &PROJECT.replace(smoke, steps));
    // One step is all that this loader tells of.
    let failure = sample.build(&engine).await.unwrap_err();
    assert!(failure.to_string().contains("where `step` 1 comes next"), "{failure}");
    let containers = smoke_containers(&engine);
    let own = containers
        .iter()
        .flat_map(|spec| &spec.mounts)
        .filter_map(|mount| match mount {
            Mount::OwnedTmpfs {
                path,
                owner,
                executable,
                ..
            } => Some((path.as_str(), owner.uid, owner.gid, *executable)),
            _ => None,
        });
    assert_eq!(
        own.collect::<Vec<_>>(),
        [("/data", 7, 7, true), ("/other", 1000, 1000, false)]
    );
    let steps = containers
        .iter()
        .find(|spec| spec.command.iter().any(|word| word == "steps"))
        .unwrap();
    for user in ["7:7", "1000:1000"] {
        assert!(
            steps.command.windows(2).any(|words| words == ["--user", user]),
            "{user}"
        );
    }
    // The image knows nobody, so its container is told.
    assert!(
        steps
            .mounts
            .iter()
            .any(|mount| matches!(mount, Mount::Anonymous { path, .. } if path == "/etc"))
    );
}

/// The loader is somebody else than what it loads, with what it needs for that and nothing more.
#[tokio::test]
async fn what_is_loaded_can_write_to_a_part_of_memory_alone() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    for spec in smoke_containers(&engine) {
        assert!(spec.command.windows(2).any(|words| words == ["--user", "1000:1000"]));
    }
    let created = engine.created();
    for spec in created.iter().filter(|spec| spec.name.contains("-compile-")) {
        assert_eq!(
            (spec.user.as_str(), spec.capabilities.as_slice()),
            ("1000:1000", &[][..])
        );
    }
}

/// Builds, and cancels as soon as the engine was asked for something that contains `call`.
async fn cancelled_at(sample: &Sample, engine: &FakeEngine, call: &str) -> Result<BuildReport, RunError> {
    let cancellation = CancellationToken::new();
    let canceller = async {
        while !engine.calls().iter().any(|line| line.contains(call)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        cancellation.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = sample.build_with(engine, false, &cancellation) => result,
        () = canceller => unreachable!("it waits for ever"),
        () = tokio::time::sleep(PATIENCE) => panic!("not cancelled at `{call}`: {:?}", engine.calls()),
    }
}

#[tokio::test]
async fn a_cancelled_build_leaves_nothing() {
    for (role, call) in [
        ("probe", "start lockstep-sample-one-probe-runtime"),
        ("fetch", "start lockstep-sample-one-fetch"),
        ("compile", "start lockstep-sample-one-compile-shout"),
        ("smoke", "start lockstep-sample-one-smoke"),
    ] {
        let sample = Sample::new();
        let engine = engine_with_shout(Behaviour::hang);
        let engine = match role {
            "compile" => engine,
            _ => engine
                .on("compile", compile)
                .on(role, |container| match &container.spec.name {
                    name if name.contains("-probe-build-") => Behaviour::exit(0),
                    _ => Behaviour::hang(),
                }),
        };
        let error = cancelled_at(&sample, &engine, call).await.unwrap_err();
        let RunError::Stopped {
            published,
            halfway,
            left_behind,
        } = &error
        else {
            panic!("{role}: {error}")
        };
        assert!(published.is_empty() && halfway.is_empty(), "{role}");
        assert_eq!(left_behind, &[""; 0], "{role}");
        assert_eq!(error.failure().exit, Exit::Interrupted);
        assert_nothing_left(&sample, &engine).await;
    }
}

#[tokio::test]
async fn a_build_cancelled_before_it_begins_makes_nothing() {
    let (sample, engine, cancellation) = (Sample::new(), engine(), CancellationToken::new());
    cancellation.cancel();
    let result = sample.build_with(&engine, false, &cancellation).await;
    assert_eq!(exit_of(&result), Exit::Interrupted);
    assert_eq!(engine.created().len(), 0);
    assert_nothing_left(&sample, &engine).await;
}

/// How many calls `work` of a build on `engine` takes, and whether it went well.
async fn calls_of_build(sample: &Sample, engine: &FakeEngine) -> (usize, Result<BuildReport, RunError>) {
    let before = engine.calls().len();
    let run = sample.start(engine, false, &CancellationToken::new()).await.0.unwrap();
    let result = run.build(&[one()]).await;
    let calls = engine.calls().len() - before;
    (calls, run.finish(result).await)
}

#[tokio::test]
async fn an_engine_that_goes_away_at_any_call_harms_nothing() {
    let changed = |sample: &Sample| sample.write("shout/shout.c", "louder");
    let (sample, engine_for_count) = (Sample::new(), engine());
    sample.build(&engine_for_count).await.unwrap();
    let old = sample.bundle();
    changed(&sample);
    let (calls, result) = calls_of_build(&sample, &engine_for_count).await;
    assert!(result.is_ok() && calls > 20, "{calls} calls: {result:?}");
    let new = sample.bundle();
    assert_ne!(old, new);

    for call in 1..=calls {
        let (sample, engine) = (Sample::new(), engine());
        sample.build(&engine).await.unwrap();
        let lock = sample.read("lockstep.lock");
        changed(&sample);
        let engine = {
            let before = engine.calls().len();
            engine.gone_at(before + call)
        };
        let lost = sample.build(&engine).await;
        let at = engine.calls().last().cloned();
        assert_eq!(exit_of(&lost), Exit::Engine, "call {call} of {calls}, {at:?}");
        let bundle = sample.bundle();
        // Once the volume's link may have been replaced, the engine alone knows which bundle is current.
        let was_published = bundle == new;
        assert!(
            bundle == old || was_published,
            "call {call}: neither the old bundle nor the new one"
        );
        if !was_published {
            assert_eq!(sample.read("lockstep.lock"), lock, "call {call}");
        }
        assert_eq!(temporary_files(&sample), Vec::<String>::new(), "call {call}");

        engine.come_back();
        let result = sample.build(&engine).await;
        assert_eq!(exit_of(&result), Exit::Ok, "the build after call {call}");
        assert_eq!(sample.bundle(), new, "call {call}");
        assert_eq!(engine.left_behind(), [VOLUME], "call {call}");
        assert_eq!(staged_images(&engine).await, Vec::<String>::new(), "call {call}");
        assert!(
            sample.locked_build(&engine).await.unwrap().environments[0].unchanged,
            "call {call}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_in_the_first_build_leaves_what_the_next_one_removes() {
    let (sample, engine_for_count) = (Sample::new(), engine());
    let (calls, result) = calls_of_build(&sample, &engine_for_count).await;
    assert!(result.is_ok(), "{result:?}");
    for call in 1..=calls {
        let (sample, engine) = (Sample::new(), engine().gone_at(call));
        assert_eq!(
            exit_of(&sample.build(&engine).await),
            Exit::Engine,
            "call {call} of {calls}"
        );
        engine.come_back();
        let (run, events) = sample.start(&engine, false, &CancellationToken::new()).await;
        let run = run.unwrap();
        run.finish(Ok(())).await.unwrap();
        let left: Vec<String> = engine.left_behind().into_iter().filter(|left| left != VOLUME).collect();
        assert_eq!(left, Vec::<String>::new(), "call {call}");
        assert_eq!(staged_images(&engine).await, Vec::<String>::new(), "call {call}");
        let warnings = events
            .events()
            .into_iter()
            .filter(|event| matches!(event, Event::Warning { .. }));
        assert!(warnings.count() <= 1, "one line about what was removed");
    }
}

#[tokio::test]
async fn a_bundle_that_cannot_be_published_leaves_nothing_on_the_engine() {
    let (sample, engine) = (Sample::new(), engine());
    sample.write("dist/one", "a file where the bundle belongs");
    let failure = sample.build(&engine).await.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure.message.contains("dist/one") && failure.hint.is_some(),
        "{}",
        failure.message
    );
    assert_eq!(engine.left_behind(), Vec::<String>::new());
    assert_eq!(staged_images(&engine).await, Vec::<String>::new());
    assert_eq!(sample.read("lockstep.lock"), None);
}

#[tokio::test]
async fn a_release_that_cannot_be_made_current_is_taken_back() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    let before = (sample.bundle(), sample.read("lockstep.lock"));
    sample.write("shout/shout.c", "louder");
    // The words are in the script that makes a release current, and in no other.
    let engine = engine.failing("is not there", "mv: cannot move");
    let result = sample.build(&engine).await;
    assert_eq!(exit_of(&result), Exit::Engine);
    assert_eq!((sample.bundle(), sample.read("lockstep.lock")), before);
    assert_eq!(staged_images(&engine).await, Vec::<String>::new());
    assert_eq!(engine.left_behind(), [VOLUME]);
}

#[tokio::test]
async fn what_was_published_is_looked_at_and_damage_is_repaired_and_told() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    let whole = engine.volume_files("lockstep-sample-one");
    let plugin = whole.keys().find(|path| path.ends_with("/shout.so")).unwrap().clone();
    let current = |files: &mut Files| _ = files.remove("current");
    let damages: [&dyn Fn(&FakeEngine); 5] = [
        &|engine| {
            engine.tamper("lockstep-sample-one", |files| {
                _ = files.insert(plugin.clone(), Node::program("evil"))
            })
        },
        &|engine| engine.tamper("lockstep-sample-one", |files| _ = files.remove(&plugin)),
        &|engine| engine.tamper("lockstep-sample-one", current),
        &|engine| engine.tamper("lockstep-sample-one", Files::clear),
        &|engine| engine.add_image("lockstep/sample:one", "another"),
    ];
    for damage in damages {
        damage(&engine);
        let (run, events) = sample.start(&engine, false, &CancellationToken::new()).await;
        let run = run.unwrap();
        let result = run.build(&[one()]).await;
        let report = run.finish(result).await.unwrap();
        // The project is free again.
        drop(run);
        assert!(!report.environments[0].unchanged);
        let told = events.events();
        let is_told =
            |event: &Event| matches!(event, Event::Warning { message, .. } if message.contains("not as it was"));
        assert!(told.iter().any(is_told), "{told:?}");
        let published = engine.volume_files("lockstep-sample-one");
        assert_eq!((&published[&plugin], published.len()), (&whole[&plugin], whole.len()));
        assert!(sample.build(&engine).await.unwrap().environments[0].unchanged);
    }
}

#[tokio::test]
async fn another_image_is_drift_until_the_lock_is_updated() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    let (bundle, lock) = (sample.bundle(), sample.read("lockstep.lock"));
    let old = engine.image("build:1").await.unwrap().unwrap().id;
    engine.add_image("build:1", "another compiler");

    // The engine still has what the lock names.
    sample.write("shout/shout.c", "louder");
    sample.build(&engine).await.unwrap();
    assert_ne!(sample.bundle(), bundle);

    engine.remove_image(&old.0).await.unwrap();
    let (bundle, relocked) = (sample.bundle(), sample.read("lockstep.lock"));
    assert_ne!(relocked, lock);
    sample.write("shout/shout.c", "even louder");
    for result in [sample.build(&engine).await, sample.locked_build(&engine).await] {
        let failure = result.unwrap_err().failure();
        assert_eq!(failure.exit, Exit::Drift);
        assert!(
            failure.notes.iter().any(|note| note.starts_with("~ build image: ")),
            "{:?}",
            failure.notes
        );
        assert!(failure.hint.is_some_and(|hint| hint.contains("lock --update one")));
        assert_eq!(
            (sample.bundle(), sample.read("lockstep.lock")),
            (bundle.clone(), relocked.clone())
        );
        assert_eq!(engine.left_behind(), [VOLUME]);
    }

    let report = sample.lock(&engine, true).await.unwrap();
    let changes: Vec<String> = report.environments[&one()].iter().map(ToString::to_string).collect();
    assert!(
        changes[0].starts_with("~ build image: ") && changes.len() == 1,
        "{changes:?}"
    );
    let report = sample.build(&engine).await.unwrap();
    assert!(
        report.environments[0].units.iter().all(|unit| !unit.cached),
        "another image compiles all"
    );
    assert!(sample.lock(&engine, true).await.unwrap().environments[&one()].is_empty());
}

#[tokio::test]
async fn a_tag_that_moved_on_is_pulled_as_it_was_locked() {
    let (sample, engine) = (Sample::new(), engine());
    let local = engine.image("runtime:1").await.unwrap().unwrap().id;
    engine.remove_image(&local.0).await.unwrap();
    engine.publish_image("runtime:1", "first");
    sample.build(&engine).await.unwrap();
    let locked = engine.image("runtime:1").await.unwrap().unwrap();
    engine.publish_image("runtime:1", "second");
    engine.remove_image("lockstep/sample:one").await.unwrap();
    engine.remove_image(&locked.id.0).await.unwrap();
    sample.locked_build(&engine).await.unwrap();
    let calls = engine.calls();
    assert!(
        calls.iter().any(|call| call.starts_with("pull runtime@sha256:")),
        "{calls:?}"
    );

    let report = sample.lock(&engine, true).await.unwrap();
    let changes: Vec<String> = report.environments[&one()].iter().map(ToString::to_string).collect();
    assert!(
        changes.iter().any(|change| change.starts_with("~ runtime image: ")),
        "{changes:?}"
    );
}

#[tokio::test]
async fn another_recipe_or_toolchain_is_drift_too() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    let created = engine.created().len();
    sample.write("lockstep.yaml", &PROJECT.replace("build:1", "build:2"));
    let failure = sample.build(&engine).await.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Drift);
    assert!(
        failure.notes.iter().any(|note| note.starts_with("~ build recipe: ")),
        "{:?}",
        failure.notes
    );
    assert_eq!(engine.created().len(), created, "told before anything is made");
}

#[tokio::test]
async fn locked_takes_only_what_the_lock_has_and_never_writes() {
    let (sample, engine) = (Sample::new(), engine());
    let result = sample.locked_build(&engine).await;
    assert_eq!(exit_of(&result), Exit::Drift, "nothing is locked");
    assert_nothing_left(&sample, &engine).await;

    sample.build(&engine).await.unwrap();
    let lock = sample.read("lockstep.lock");
    sample.write("shout/shout.c", "louder");
    let compiles = |engine: &FakeEngine| {
        engine
            .created()
            .iter()
            .filter(|spec| spec.name.contains("-compile-"))
            .count()
    };
    let before = compiles(&engine);
    let failure = sample.locked_build(&engine).await.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Drift);
    assert!(
        failure.notes.iter().any(|note| note.contains("unit shout source")),
        "{:?}",
        failure.notes
    );
    assert_eq!(
        (sample.read("lockstep.lock"), compiles(&engine)),
        (lock.clone(), before)
    );

    sample.write("shout/shout.c", "shout");
    std::fs::remove_dir_all(sample.path().join("dist")).unwrap();
    sample.locked_build(&engine).await.unwrap();
    assert_eq!(sample.read("lockstep.lock"), lock);
    assert!(sample.bundle().is_some());
}

/// A project whose images came from a registry, and its engine.
async fn sample_from_registry() -> (Sample, FakeEngine) {
    let engine = engine().on("fetch", |_| Behaviour::exit(0).file("/lockstep/deps/library", "always"));
    let sample = sample_that_fetches();
    for name in ["build:1", "runtime:1"] {
        let local = engine.image(name).await.unwrap().unwrap().id;
        engine.remove_image(&local.0).await.unwrap();
        engine.publish_image(name, name);
    }
    sample.build(&engine).await.unwrap();
    (sample, engine)
}

/// Each line of a text changed in each of its words, left out, and given twice.
fn edits(good: &str) -> Vec<String> {
    let lines: Vec<&str> = good.lines().collect();
    let mut edits = vec![];
    for (number, line) in lines.iter().enumerate() {
        let with = |replacement: &[&str]| {
            [&lines[..number], replacement, &lines[number + 1..]]
                .concat()
                .join("\n")
                + "\n"
        };
        edits.extend([with(&[]), with(&[line, line])]);
        let ends = line.char_indices().filter(|(at, character)| {
            let next = line[at + 1..].chars().next();
            character.is_ascii_alphanumeric() && next.is_none_or(|next| !next.is_ascii_alphanumeric())
        });
        for (at, character) in ends {
            let other = if character == '1' { '2' } else { '1' };
            edits.push(with(&[&format!("{}{other}{}", &line[..at], &line[at + 1..])]));
        }
    }
    edits
}

#[tokio::test]
async fn every_line_of_a_lock_counts() {
    let (sample, engine) = sample_from_registry().await;
    let good = sample.read("lockstep.lock").unwrap();
    assert!(good.contains("registry: build@sha256:"), "{good}");
    assert!(good.contains("dependencies: sha256:"), "{good}");
    assert_eq!(exit_of(&sample.locked_build(&engine).await), Exit::Ok);
    assert!(sample.check_lock(&engine).await.unwrap().is_current());
    let edits = edits(&good);
    assert!(edits.len() > 150, "{}", edits.len());
    for text in edits {
        sample.write("lockstep.lock", &text);
        let built = sample.locked_build(&engine).await;
        assert_eq!(exit_of(&built), Exit::Drift, "{text}{built:?}");
        let place = built.unwrap_err().failure().place.unwrap_or_default();
        assert!(place.starts_with("lockstep.lock:"), "{place}: {text}");
        match sample.check_lock(&engine).await {
            Ok(report) => assert!(!report.is_current(), "{text}"),
            Err(error) => assert_eq!(error.failure().exit, Exit::Drift, "{text}{error}"),
        }
        assert_eq!(sample.read("lockstep.lock"), Some(text));
        assert_eq!(engine.left_behind(), [VOLUME]);
    }
}

#[tokio::test]
async fn what_a_check_cannot_see_is_no_success() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    assert!(sample.check_lock(&engine).await.unwrap().is_current());
    let (gone, kept) = (sample.path().join(".lockstep/compiled"), sample.path().join("kept"));
    std::fs::rename(&gone, &kept).unwrap();
    assert!(
        sample.check_lock(&engine).await.unwrap().is_current(),
        "the bundle has the artifacts"
    );
    std::fs::remove_dir_all(sample.path().join("dist")).unwrap();
    let report = sample.check_lock(&engine).await.unwrap();
    assert!(!report.is_current() && !report.has_changes(), "{report:?}");
    assert_eq!(report.unchecked[&one()].len(), 3, "{report:?}");
    std::fs::rename(&kept, &gone).unwrap();
    assert!(sample.check_lock(&engine).await.unwrap().is_current());

    engine.remove_image("lockstep/sample:one-build").await.unwrap();
    engine.remove_image("build:1").await.unwrap();
    let report = sample.check_lock(&engine).await.unwrap();
    assert!(!report.is_current() && !report.has_changes(), "{report:?}");
    let reasons = &report.unchecked[&one()];
    assert!(
        reasons.iter().any(|reason| reason.starts_with("the build image ")),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn an_image_may_have_the_name_that_another_store_gives_it() {
    let (sample, engine) = sample_from_registry().await;
    let good = sample.read("lockstep.lock").unwrap();
    let image = engine.image("build:1").await.unwrap().unwrap();
    let manifest = image.repository_digests[0].rsplit_once('@').unwrap().1.to_owned();
    // A containerd store would have called it so.
    let text = good.replace(&image.id.0, &manifest);
    assert_ne!(text, good);
    sample.write("lockstep.lock", &text);
    assert!(sample.check_lock(&engine).await.unwrap().is_current());
    assert_eq!(exit_of(&sample.locked_build(&engine).await), Exit::Ok);
    assert_eq!(exit_of(&sample.build(&engine).await), Exit::Ok);
    assert_eq!(sample.read("lockstep.lock"), Some(text));
}

#[tokio::test]
async fn a_registry_that_nobody_confirms_passes_only_without_locked() {
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    let good = sample.read("lockstep.lock").unwrap();
    // As when the image was pulled where it was locked, and loaded from a file here.
    let digest = crate::digest::Digest::of(b"manifest");
    let text = good.replacen(
        "      packages:",
        &format!("      registry: build@{digest}\n      packages:"),
        1,
    );
    sample.write("lockstep.lock", &text);
    assert_eq!(exit_of(&sample.build(&engine).await), Exit::Ok);
    assert!(sample.build(&engine).await.unwrap().environments[0].unchanged);
    for attempt in 1..=2 {
        let failure = sample.locked_build(&engine).await.unwrap_err().failure();
        assert_eq!(failure.exit, Exit::Drift, "attempt {attempt}");
        assert!(
            failure.notes[0].starts_with("- build registry: build@"),
            "{:?}",
            failure.notes
        );
    }
    let pulls = engine.calls();
    let pulls: Vec<&String> = pulls.iter().filter(|call| call.starts_with("pull ")).collect();
    assert!(
        pulls.iter().all(|call| **call == format!("pull build@{digest}")),
        "{pulls:?}"
    );
    assert!(!sample.check_lock(&engine).await.unwrap().is_current());
    assert_eq!(sample.read("lockstep.lock"), Some(text));
}

#[tokio::test]
async fn locked_looks_at_environments_that_are_not_built() {
    let (sample, engine) = (Sample::new(), engine());
    let two = PROJECT.replace(
        "  one: {build",
        "  two: {build: {image: 'build:1'}, runtime: {image: 'runtime:1'}}\n  one: {build",
    );
    sample.write("lockstep.yaml", &two);
    let both = [one(), EnvironmentName::new("two").unwrap()];
    let run = sample.start(&engine, false, &CancellationToken::new()).await.0.unwrap();
    let result = run.build(&both).await;
    run.finish(result).await.unwrap();
    drop(run);
    let good = sample.read("lockstep.lock").unwrap();
    assert_eq!(exit_of(&sample.locked_build(&engine).await), Exit::Ok);
    let at = good.rfind("gcc: 14.2.0").unwrap();
    sample.write(
        "lockstep.lock",
        &format!("{}gcc: 15.2.0{}", &good[..at], &good[at + 11..]),
    );
    let failure = sample.locked_build(&engine).await.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Drift);
    assert!(
        failure.notes[1].starts_with("~ toolchain gcc: 15.2.0 -> 14.2.0"),
        "{:?}",
        failure.notes
    );
    // What the project has not, the lock should not have.
    sample.write("lockstep.lock", &good);
    sample.write("lockstep.yaml", PROJECT);
    let failure = sample.locked_build(&engine).await.unwrap_err().failure();
    assert_eq!(failure.exit, Exit::Drift);
    assert!(
        failure.notes[1].starts_with("- environment two: "),
        "{:?}",
        failure.notes
    );
    assert!(!sample.check_lock(&engine).await.unwrap().is_current());
}

#[tokio::test]
async fn other_bits_for_the_same_inputs_are_an_error() {
    let count = Arc::new(AtomicUsize::new(0));
    let engine = engine_with_shout(move || {
        let random = format!("random {}", count.fetch_add(1, Ordering::Relaxed));
        isolated().file("/lockstep/out/shout.so", random)
    });
    let sample = Sample::new();
    sample.build(&engine).await.unwrap();
    let (bundle, lock) = (sample.bundle(), sample.read("lockstep.lock"));
    // As in a fresh clone: the lock is there, and nothing that was compiled.
    std::fs::remove_dir_all(sample.path().join(".lockstep")).unwrap();
    let error = sample.build(&engine).await.unwrap_err();
    let RunError::NotReproducible(other) = &error else {
        panic!("{error}");
    };
    assert_eq!((other.unit.as_str(), other.artifact.as_str()), ("shout", "shout.so"));
    assert_eq!(error.failure().exit, Exit::Drift);
    assert_eq!((sample.bundle(), sample.read("lockstep.lock")), (bundle, lock));
    assert_eq!(engine.left_behind(), [VOLUME]);
}

#[tokio::test]
async fn what_differs_is_not_kept_as_if_it_were_right() {
    let count = Arc::new(AtomicUsize::new(0));
    let engine = engine_with_shout(move || {
        let random = format!("random {}", count.fetch_add(1, Ordering::Relaxed));
        isolated().file("/lockstep/out/shout.so", random)
    });
    let sample = Sample::new();
    sample.build(&engine).await.unwrap();
    std::fs::remove_dir_all(sample.path().join(".lockstep")).unwrap();
    for attempt in 1..=2 {
        let before = engine.created().len();
        assert_eq!(exit_of(&sample.build(&engine).await), Exit::Drift, "attempt {attempt}");
        let compiled = engine.created()[before..]
            .iter()
            .any(|spec| spec.name.contains("compile-shout"));
        assert!(compiled, "attempt {attempt} compiles shout anew");
    }
}

#[tokio::test]
async fn a_volume_of_another_project_is_not_touched() {
    let (sample, engine) = (Sample::new(), engine());
    let foreign = Labels::from([("dev.lockstep.project".to_owned(), "other".to_owned())]);
    engine.create_volume("lockstep-sample-one", &foreign).await.unwrap();
    let failure = sample.build(&engine).await.unwrap_err().failure();
    assert!(
        failure.message.contains("other") && failure.hint.is_some(),
        "{}",
        failure.message
    );
    assert_eq!(engine.left_behind(), [VOLUME]);
    assert!(engine.volume_files("lockstep-sample-one").is_empty());
}

#[tokio::test]
async fn an_image_without_a_shell_is_still_a_runtime_image() {
    let (sample, engine) = (Sample::new(), engine());
    let no_shell = "exec: \"sh\": executable file not found in $PATH";
    let without = engine.failing("start lockstep-sample-one-probe-runtime", no_shell);
    sample.build(&without).await.unwrap();
    let lock = sample.read("lockstep.lock").unwrap();
    assert!(lock.contains("gcc: 14.2.0"), "{lock}");

    let sample = Sample::new();
    let without = without.failing("start lockstep-sample-one-probe-build", no_shell);
    let error = sample.build(&without).await.unwrap_err();
    assert!(
        matches!(error, RunError::Engine(EngineError::Failed { .. })),
        "the build image needs one: {error}"
    );
}

#[tokio::test]
async fn a_compile_that_has_a_network_or_shows_nothing_is_the_engines_failure() {
    let with_network =
        || Behaviour::exit(97).stdout("lockstep-network up lo eth0 routes eth0 lookup untried connection untried");
    for (engine, expected) in [
        (engine_with_shout(with_network), "has a network: eth0"),
        (engine_with_shout(|| with_unit(NO_NETWORK)), "did not show"),
    ] {
        let sample = Sample::new();
        let failure = sample.build(&engine).await.unwrap_err().failure();
        assert_eq!((failure.exit, failure.code), (Exit::Engine, "network"));
        assert!(
            failure.message.contains("`shout`") && failure.message.contains(expected),
            "{}",
            failure.message
        );
        assert!(failure.hint.is_some());
        assert_nothing_left(&sample, &engine).await;
    }
    let (sample, engine) = (Sample::new(), engine());
    sample.build(&engine).await.unwrap();
    let (manifest, _) = verify(&sample.path().join("dist/one")).unwrap();
    let shown = manifest.units.iter().map(|unit| unit.network.clone().unwrap());
    assert!(
        shown
            .into_iter()
            .all(|network| network.interfaces == ["lo"] && network.routes.is_empty())
    );
}

/// A unit that says so itself, behind something else.
fn with_unit(line: &str) -> Behaviour {
    let behaviour = Behaviour::exit(0).stdout("hello").stdout(line);
    behaviour.file("/lockstep/out/shout.so", "shout")
}

/// A project of which `shout` fetches.
fn sample_that_fetches() -> Sample {
    let sample = Sample::new();
    sample.write(
        "lockstep.yaml",
        &PROJECT.replace("source: shout,", "source: shout, fetch: get,"),
    );
    sample
}

#[tokio::test]
async fn dependencies_that_are_fetched_again_and_differ_are_drift_even_if_they_compile() {
    let count = Arc::new(AtomicUsize::new(0));
    let engine = engine().on("fetch", move |_| {
        let content = format!("fetched {}", count.fetch_add(1, Ordering::Relaxed));
        Behaviour::exit(0).file("/lockstep/deps/library", content)
    });
    let sample = sample_that_fetches();
    sample.build(&engine).await.unwrap();
    let (bundle, lock) = (sample.bundle(), sample.read("lockstep.lock").unwrap());
    assert_eq!(lock.matches("    dependencies: sha256:").count(), 1, "{lock}");
    // As in a fresh clone: the lock is there, and nothing that was fetched.
    std::fs::remove_dir_all(sample.path().join(".lockstep")).unwrap();
    for attempt in 1..=2 {
        let before = engine.created().len();
        let error = sample.build(&engine).await.unwrap_err();
        let RunError::OtherDependencies(other) = &error else {
            panic!("{attempt}: {error}");
        };
        let line = lock.lines().position(|line| line.contains(&other.expected.to_string()));
        assert_eq!((other.unit.as_str(), other.line), ("shout", line.map(|line| line + 1)));
        assert_eq!(error.failure().exit, Exit::Drift);
        let started: Vec<String> = engine.created()[before..]
            .iter()
            .map(|spec| spec.name.clone())
            .collect();
        assert!(
            started.iter().any(|name| name.contains("fetch-shout")),
            "{attempt}: {started:?}"
        );
        assert!(
            !started.iter().any(|name| name.contains("compile-shout")),
            "{attempt}: {started:?}"
        );
    }
    assert_eq!((sample.bundle(), sample.read("lockstep.lock").unwrap()), (bundle, lock));
}

#[tokio::test]
async fn dependencies_that_are_the_same_again_fit_the_lock_and_a_lock_that_says_otherwise_does_not() {
    let engine = engine().on("fetch", |_| Behaviour::exit(0).file("/lockstep/deps/library", "always"));
    let sample = sample_that_fetches();
    sample.build(&engine).await.unwrap();
    std::fs::remove_dir_all(sample.path().join(".lockstep")).unwrap();
    sample.locked_build(&engine).await.unwrap();
    let (manifest, _) = verify(&sample.path().join("dist/one")).unwrap();
    let fetched: Vec<String> = manifest
        .units
        .iter()
        .filter_map(|unit| Some(unit.dependencies?.to_string()))
        .collect();
    let lock = sample.read("lockstep.lock").unwrap();
    assert!(fetched.len() == 1 && lock.contains(&fetched[0]), "{fetched:?}");
    // What was compiled is still there, with what was fetched for it: it is fetched again, and compared.
    let other = crate::digest::Digest::of(b"other").to_string();
    sample.write("lockstep.lock", &lock.replace(&fetched[0], &other));
    let before = engine.created().len();
    let error = sample.build(&engine).await.unwrap_err();
    assert!(matches!(error, RunError::OtherDependencies(_)), "{error}");
    let fetches = |from: usize| {
        let created = engine.created();
        created[from..]
            .iter()
            .filter(|spec| spec.name.contains("fetch-shout"))
            .count()
    };
    assert_eq!(fetches(before), 1);
    // What cannot be read is fetched again, too.
    sample.write("lockstep.lock", &lock);
    let kept = std::fs::read_dir(sample.path().join(".lockstep/fetched")).unwrap();
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().path()).collect();
    std::fs::write(&kept[0], "no tar").unwrap();
    std::fs::remove_dir_all(sample.path().join(".lockstep/compiled")).unwrap();
    std::fs::remove_dir_all(sample.path().join("dist")).unwrap();
    sample.locked_build(&engine).await.unwrap();
    assert_eq!(fetches(before), 2);
}

#[tokio::test]
async fn what_is_said_of_a_bundle_is_beside_it_the_same_everywhere_and_mended() {
    let (sample, engine) = (Sample::new(), engine());
    let report = sample.build(&engine).await.unwrap();
    assert_eq!(report.environments[0].metadata, "dist/one.meta");
    let files = |sample: &Sample| {
        ["provenance.json", "sbom.spdx.json"].map(|name| sample.read(&format!("dist/one.meta/{name}")).unwrap())
    };
    let written = files(&sample);
    let run = sample.start(&engine, false, &CancellationToken::new()).await.0.unwrap();
    let told = run.attestations(&one()).unwrap().unwrap();
    assert_eq!([told.provenance, told.sbom], written.clone().map(String::into_bytes));
    drop(run);
    // Another directory, another engine, another run.
    let (other, other_engine) = (Sample::new(), self::engine());
    other.runs.store(70, Ordering::Relaxed);
    other.build(&other_engine).await.unwrap();
    assert_eq!(files(&other), written);
    let path = other.path().display().to_string();
    assert!(
        !written
            .iter()
            .any(|text| text.contains(&path) || text.contains("machine"))
    );

    let provenance: serde_json::Value = serde_json::from_str(&written[0]).unwrap();
    let image = engine.image("lockstep/sample:one").await.unwrap().unwrap();
    let subjects = provenance["subject"].as_array().unwrap();
    let digest =
        |name: &str| subjects.iter().find(|subject| subject["name"] == name).unwrap()["digest"]["sha256"].clone();
    assert_eq!(
        format!("sha256:{}", digest("lockstep/sample:one").as_str().unwrap()),
        image.id.0
    );
    let bundle = sample.bundle().unwrap();
    assert_eq!(format!("sha256:{}", digest("manifest.json").as_str().unwrap()), bundle);

    let damages: [&dyn Fn(&Sample); 3] = [
        &|sample| sample.write("dist/one.meta/sbom.spdx.json", "{}"),
        &|sample| std::fs::remove_dir_all(sample.path().join("dist/one.meta")).unwrap(),
        &|sample| sample.write("dist/one.meta/more", ""),
    ];
    for damage in damages {
        damage(&sample);
        let (run, events) = sample.start(&engine, false, &CancellationToken::new()).await;
        let run = run.unwrap();
        assert!(matches!(run.attestations(&one()), Err(RunError::Altered { .. })));
        let result = run.build(&[one()]).await;
        let report = run.finish(result).await.unwrap();
        drop(run);
        assert!(!report.environments[0].unchanged);
        let is_told =
            |event: &Event| matches!(event, Event::Warning { message, .. } if message.contains("dist/one.meta"));
        assert!(events.events().iter().any(is_told));
        assert_eq!(
            (files(&sample), sample.bundle()),
            (written.clone(), Some(bundle.clone()))
        );
        assert!(sample.build(&engine).await.unwrap().environments[0].unchanged);
    }
}
