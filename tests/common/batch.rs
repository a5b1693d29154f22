//! Containers of the images that lockstep brings, for what tests compile and load: a tar goes in, and tars come out.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use lockstep::context::Context;
use lockstep::engine::job::{Job, JobError, Outcome, Upload, run_and_collect};
use lockstep::engine::{ContainerSpec, Engine, EngineError, ImageId, Mount, ResourceLimits};
use lockstep::image::{Builtin, ImageCache, Machine, MakeRequest, Recipe, make, provide};
use tokio_util::sync::CancellationToken;

use super::{Ground, archive, bytes_stream, read};

/// Without a warm build cache, Go's standard library is compiled some ten times.
const BATCH_TIMEOUT: Duration = Duration::from_secs(20 * 60);
const LINE_LIMIT_BYTES: usize = 16 * 1024;
const MEMORY_LIMIT_BYTES: u64 = 4 << 30;
const PROCESSES_LIMIT_COUNT: u64 = 1024;
/// What it may have of the machine, in billionths of a processor: all of it.
const PROCESSORS_LIMIT_NANO: u64 = 64_000_000_000;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Everything that one container does. It has no network.
pub(crate) struct Batch<'a> {
    /// Tells it from others of the same test.
    pub(crate) name: &'a str,
    pub(crate) image: ImageId,
    /// For `sh -eu`, in `/lockstep`, where `work`, `home` and `tmp` are.
    pub(crate) script: &'a str,
    /// A tar that is unpacked in `/lockstep`.
    pub(crate) files: Vec<u8>,
    /// As root, who may change the root directory and become someone else, and nothing more; else as user 1000.
    pub(crate) changes_root: bool,
    /// The paths that are brought back.
    pub(crate) wanted: &'a [&'a str],
}

/// What a batch that succeeded has left.
pub(crate) struct Done {
    /// Everything that it wrote, line by line, of both streams.
    pub(crate) lines: Vec<String>,
    /// A tar for each wanted path.
    pub(crate) archives: Vec<Vec<u8>>,
}

/// Runs a batch; it fails with the end of what was written when the script does.
pub(crate) async fn run(ground: &Ground, batch: Batch<'_>) -> Result<Done, Failure> {
    let (user, capabilities) = if batch.changes_root {
        ("0:0", &["SYS_CHROOT", "SETUID", "SETGID", "DAC_OVERRIDE", "KILL"][..])
    } else {
        ("1000:1000", &[][..])
    };
    let spec = ContainerSpec {
        image: batch.image,
        command: ["sh", "-eu", "-c", batch.script].map(str::to_owned).to_vec(),
        limits: ResourceLimits {
            memory_bytes: MEMORY_LIMIT_BYTES,
            nano_cpus: PROCESSORS_LIMIT_NANO,
            processes: PROCESSES_LIMIT_COUNT,
            file_bytes: None,
        },
        user: user.to_owned(),
        capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
        mounts: vec![Mount::Anonymous {
            path: "/lockstep".to_owned(),
            labels: ground.labels.clone(),
        }],
        environment: [("HOME", "/lockstep/home"), ("TMPDIR", "/lockstep/tmp"), ("LANG", "C")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        init: true,
        tied: false,
        ..ground.spec(batch.name, &[])
    };
    // Uploaded directories belong to the user of the container; the volume itself does not.
    let directories = archive(&["home/", "tmp/", "work/"].map(|path| (path, 0o755, &b""[..])))?;
    let job = Job {
        spec: &spec,
        uploads: [directories, batch.files]
            .map(|files| Upload {
                path: "/lockstep".to_owned(),
                archive: bytes_stream(files),
            })
            .into(),
        limit: BATCH_TIMEOUT,
        line_limit_bytes: LINE_LIMIT_BYTES,
        disk: None,
    };
    let lines = Mutex::new(Vec::new());
    let keep = |_, line: &str| {
        lines
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .push(line.to_owned())
    };
    let (engine, wanted) = (&ground.engine, batch.wanted);
    let collect = |container, outcome: Outcome| async move {
        let mut archives = Vec::new();
        if outcome.ending.is_success() {
            for path in wanted {
                archives.push(match engine.download(&container, path).await {
                    Ok(stream) => read(stream).await,
                    Err(error) => Err(error),
                });
            }
        }
        Ok::<_, JobError>((outcome, archives))
    };
    let (outcome, archives) = run_and_collect(engine, job, &keep, &CancellationToken::new(), collect).await?;
    if !outcome.ending.is_success() {
        return Err(format!("{}: {:?}\n{}", batch.name, outcome.ending, outcome.tail.join("\n")).into());
    }
    Ok(Done {
        lines: lines.into_inner().unwrap_or_else(|broken| broken.into_inner()),
        archives: archives.into_iter().collect::<Result<_, EngineError>>()?,
    })
}

/// The image of a recipe that lockstep brings (`debian/build`), made if it is not in the user's own cache. That takes minutes.
pub(crate) async fn builtin_image(ground: &Ground, name: &'static str) -> Result<ImageId, Failure> {
    let image = tokio::task::spawn_blocking(move || {
        let context = context();
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

/// The machine as the program sees it, with the user's own cache.
pub(crate) fn context() -> Context {
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    let variable = |name: &str| variables.get(name).map(PathBuf::from);
    let cache_directory = variable("LOCKSTEP_CACHE_DIR")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("lockstep")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/lockstep")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/lockstep"));
    Context {
        working_directory: PathBuf::from("/"),
        cache_directory,
        variables,
        started_at_seconds: 0,
        run_id: "test".to_owned(),
        temporary_directory: std::env::temp_dir(),
        machine_id: "test".to_owned(),
        is_root: rustix::process::geteuid().is_root(),
        processors: 1,
    }
}
