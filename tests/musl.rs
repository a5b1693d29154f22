//! The musl images from within: what is compiled in the one catches panics and exceptions in the other.
//!
//! The first run on a machine makes the images, which takes minutes; they stay in the user's cache.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use common::{Ground, TestResult, archive, bytes_stream, on_engine, read, unpack};
use lockstep::context::Context;
use lockstep::engine::job::{Job, JobError, Outcome, Upload, run_and_collect};
use lockstep::engine::{ContainerSpec, Engine, EngineError, ImageId, ResourceLimits};
use lockstep::image::{Builtin, ImageCache, Machine, MakeRequest, Recipe, make, provide};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(10 * 60);
/// Uploaded directories belong to the user that compiles; the volume itself does not.
const DIRECTORY: (&str, u32, &[u8]) = ("work/", 0o755, b"");
const SOURCES: &[(&str, u32, &[u8])] = &[
    DIRECTORY,
    ("work/build.sh", 0o644, include_bytes!("musl/build.sh")),
    ("work/host.rs", 0o644, include_bytes!("musl/host.rs")),
    ("work/plugin.cpp", 0o644, include_bytes!("musl/plugin.cpp")),
    ("work/plugin.rs", 0o644, include_bytes!("musl/plugin.rs")),
];

/// The user's own cache, as the program finds it.
fn cache_directory(variables: &BTreeMap<String, String>) -> PathBuf {
    let variable = |name: &str| variables.get(name).map(PathBuf::from);
    variable("LOCKSTEP_CACHE_DIR")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("lockstep")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/lockstep")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/lockstep"))
}

async fn image(ground: &Ground, name: &'static str) -> Result<ImageId, Box<dyn std::error::Error + Send + Sync>> {
    let image = tokio::task::spawn_blocking(move || {
        let variables: BTreeMap<String, String> = std::env::vars().collect();
        let context = Context {
            working_directory: PathBuf::from("/"),
            cache_directory: cache_directory(&variables),
            variables,
            started_at_seconds: 0,
            run_id: "test".to_owned(),
            machine_id: "test".to_owned(),
            is_root: rustix::process::geteuid().is_root(),
            processors: 1,
        };
        let recipe = Recipe::read(&Builtin, &format!("{name}.yaml")).map_err(|problems| format!("{problems:?}"))?;
        let request = MakeRequest {
            recipe: &recipe,
            machine: &Machine::from_context(&context),
            cache: &ImageCache::below(&context.cache_directory),
            epoch_seconds: 1_735_689_600,
            refresh_before_seconds: None,
            cancel: &CancellationToken::new(),
            progress: &|_| {},
        };
        make(&request).map_err(|error| format!("{error}\n{}", error.log_tail().join("\n")))
    });
    let (image, _) = image.await??;
    Ok(provide(&ground.engine, &image).await?.0.id)
}

fn spec(ground: &Ground, name: &str, image: ImageId, script: &str) -> ContainerSpec {
    ContainerSpec {
        image,
        command: ["sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
        limits: ResourceLimits {
            memory_bytes: 2 << 30,
            nano_cpus: 1_000_000_000,
            processes: 256,
        },
        read_only_root: false,
        ..ground.spec(name, &[])
    }
}

/// Runs a container with these files in `/lockstep`; its outcome, and what is in `/lockstep/work/out` then.
async fn run(
    ground: &Ground,
    spec: &ContainerSpec,
    files: Vec<u8>,
) -> Result<(Outcome, Result<Vec<u8>, EngineError>), JobError> {
    let upload = Upload {
        path: "/lockstep".to_owned(),
        archive: bytes_stream(files),
    };
    let job = Job {
        spec,
        uploads: vec![upload],
        limit: LIMIT,
        line_limit_bytes: 4096,
    };
    let engine = &ground.engine;
    run_and_collect(
        engine,
        job,
        &|_, _| {},
        &CancellationToken::new(),
        |container, outcome| async move {
            let files = match engine.download(&container, "/lockstep/work/out").await {
                Ok(stream) => read(stream).await,
                Err(error) => Err(error),
            };
            Ok((outcome, files))
        },
    )
    .await
}

#[test]
fn what_is_compiled_for_musl_catches_what_is_thrown() {
    on_engine(|ground| async move {
        let build = image(&ground, "musl/build").await?;
        let compile = spec(&ground, "compile", build, "cd work; sh build.sh");
        let (outcome, files) = run(&ground, &compile, archive(SOURCES)?).await?;
        assert!(outcome.ending.is_success(), "{}", outcome.tail.join("\n"));

        let files = unpack(&files?)?;
        let mut uploads = vec![DIRECTORY];
        for name in ["host", "libplugin.so", "plugin-cpp.so"] {
            let (_, content) = &files[&format!("out/{name}")];
            uploads.push((Box::leak(format!("work/{name}").into_boxed_str()), 0o755, content));
        }
        let runtime = image(&ground, "musl/runtime").await?;
        let load = spec(
            &ground,
            "load",
            runtime,
            "cd work; ./host ./libplugin.so ./plugin-cpp.so 2> /dev/null",
        );
        let (outcome, _) = run(&ground, &load, archive(&uploads)?).await?;
        let expected = ["host caught: true", "./libplugin.so: 42 10", "./plugin-cpp.so: 312 111"];
        assert_eq!(outcome.tail, expected, "{outcome:?}");
        Ok(()) as TestResult
    });
}
