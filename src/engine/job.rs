//! One container from its creation to its removal: what every step that runs something does.

use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::watch::{DiskLimit, Excess, watch};
use super::{ByteStream, ContainerExit, ContainerId, ContainerSpec, Engine, EngineError, Mount, OutputStream};

pub use super::output::{LineSink, OUTPUT_LIMIT_BYTES, TAIL_LIMIT_LINES};

/// How a full disk is worded, in lower case: by the C library, by Rust, by others that name the error.
const FULL_DISK_WORDS: [&str; 3] = ["no space left on device", "os error 28", "enospc"];
/// How much is written to see whether a disk is full.
const FULL_DISK_PROBE_BYTES: usize = 1 << 20;
const FULL_DISK_PROBE_NAME: &str = ".lockstep-probe";

/// Something to run in a container of its own.
pub struct Job<'a> {
    /// The container.
    pub spec: &'a ContainerSpec,
    /// What is brought into it before it starts, in this order.
    pub uploads: Vec<Upload>,
    /// How long it may run.
    pub limit: Duration,
    /// The longest line that is kept whole, in bytes.
    pub line_limit_bytes: usize,
    /// How much its volumes may hold; none where it can write to memory alone.
    pub disk: Option<DiskLimit>,
}

/// Files for a container.
pub struct Upload {
    /// The directory they are unpacked in, which exists; on a read-only root, one in a volume.
    pub path: String,
    /// The files, as a tar.
    pub archive: ByteStream,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, or by the kernel.
    Exited(ContainerExit),
    /// It ran longer than it may and was ended.
    TimedOut {
        /// How long it may.
        limit: Duration,
    },
    /// It wrote more than it may and was ended.
    TooMuchOutput {
        /// How much it may.
        limit_bytes: u64,
    },
    /// Its volumes held more than they may and it was ended.
    TooMuchDisk {
        /// How much they may.
        limit_bytes: u64,
    },
    /// It was ended because the engine's disk was nearly full, and had not been when it was started.
    DiskNearlyFull,
}

impl Ending {
    /// Whether it ended by itself, with status 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(ContainerExit { status: 0, .. }))
    }
}

/// What is left of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The last lines that it wrote, of both streams.
    pub tail: Vec<String>,
    /// Whether it failed with words about a full disk, and the engine's disk is full.
    pub engine_disk_is_full: bool,
}

/// Why a job has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
}

/// Runs `job` and gives its outcome. The container is gone when this returns, whatever it returns.
///
/// # Errors
/// When the engine fails, or `cancellation` is cancelled. That the job itself failed is an [`Outcome`].
pub async fn run(
    engine: &dyn Engine,
    job: Job<'_>,
    output: LineSink<'_>,
    cancellation: &CancellationToken,
) -> Result<Outcome, JobError> {
    run_and_collect(
        engine,
        job,
        output,
        cancellation,
        |_, outcome| async move { Ok(outcome) },
    )
    .await
}

/// Runs `job`, and calls `collect` with the ended container, which still has its files, and the outcome. The container is
/// gone when this returns, whatever it returns. When the future is dropped instead, a [sweep](super::sweep::sweep) finds
/// the container by its labels.
///
/// # Errors
/// When the engine fails, `cancellation` is cancelled, or with what `collect` fails.
pub async fn run_and_collect<T, E, Collect, Collected>(
    engine: &dyn Engine,
    job: Job<'_>,
    output: LineSink<'_>,
    cancellation: &CancellationToken,
    collect: Collect,
) -> Result<T, E>
where
    E: From<JobError>,
    Collect: FnOnce(ContainerId, Outcome) -> Collected,
    Collected: Future<Output = Result<T, E>>,
{
    if cancellation.is_cancelled() {
        return Err(JobError::Cancelled.into());
    }
    // Not cancellable: a container whose creation is not waited for could not be removed.
    let container = engine.create_container(job.spec).await.map_err(JobError::from)?;
    let (started, ended) = (CancellationToken::new(), CancellationToken::new());
    let (exceeded, excess) = oneshot::channel();
    let (spec, disk) = (job.spec, job.disk.clone());
    let watching = async {
        let Some(limit) = disk else { return };
        tokio::select! {
            () = started.cancelled() => {}
            () = ended.cancelled() => return,
        }
        // Nobody listens any more when the container has ended in the same moment.
        let exceeded = |excess| _ = exceeded.send(excess);
        let told = |cause: String| {
            output(
                OutputStream::Stderr,
                &format!("[how much is written is not watched: {cause}]"),
            );
        };
        watch(engine, &container, spec, &limit, &ended, exceeded, told).await;
    };
    let working = async {
        let marks = Marks {
            started: &started,
            ended: &ended,
            excess,
        };
        let work = async {
            let outcome = execute(engine, &container, job, output, marks).await?;
            collect(container.clone(), outcome).await
        };
        let result = tokio::select! {
            result = work => result,
            () = cancellation.cancelled() => Err(JobError::Cancelled.into()),
        };
        ended.cancel();
        result
    };
    // The watcher goes first: it would keep the volume, which goes with its container.
    let (result, ()) = tokio::join!(working, watching);
    let removed = engine.remove_container(&container).await;
    // What went wrong first is what the user should read.
    let value = result?;
    removed.map_err(JobError::from)?;
    Ok(value)
}

/// What a job and its watcher tell each other.
struct Marks<'a> {
    started: &'a CancellationToken,
    ended: &'a CancellationToken,
    excess: oneshot::Receiver<Excess>,
}

async fn execute(
    engine: &dyn Engine,
    container: &ContainerId,
    job: Job<'_>,
    sink: LineSink<'_>,
    marks: Marks<'_>,
) -> Result<Outcome, JobError> {
    for upload in job.uploads {
        engine.upload(container, &upload.path, upload.archive).await?;
    }
    let mut pieces = engine.logs(container).await?;
    engine.start(container).await?;
    marks.started.cancel();
    let mut output = Output::new(job.line_limit_bytes, sink);
    let limit_bytes = job.disk.as_ref().map_or(0, |disk| disk.bytes);
    let ending = tokio::select! {
        // The end first: a reader that is behind is drained below, and one that is over its limit ends the container.
        biased;
        exit = engine.wait(container, job.limit) => match exit {
            Ok(exit) => Ending::Exited(exit),
            // Any other limit is one of the engine's own.
            Err(EngineError::TimedOut { limit, .. }) if limit == job.limit => Ending::TimedOut { limit },
            Err(error) => return Err(error.into()),
        },
        Ok(excess) = marks.excess => match excess {
            Excess::TooMuch => Ending::TooMuchDisk { limit_bytes },
            Excess::NearlyFull => Ending::DiskNearlyFull,
        },
        error = output.read_until_limit(&mut pieces) => match error {
            Some(error) => return Err(error.into()),
            None => Ending::TooMuchOutput { limit_bytes: OUTPUT_LIMIT_BYTES },
        },
    };
    if !matches!(ending, Ending::Exited(_)) {
        output.discard_during(&mut pieces, engine.kill(container)).await?;
    }
    marks.ended.cancel();
    output.drain(&mut pieces).await?;
    let tail = output.finish();
    let speaks_of_it = !ending.is_success() && tail.iter().any(|line| says_disk_is_full(line));
    Ok(Outcome {
        engine_disk_is_full: speaks_of_it && is_disk_full(engine, container, job.spec).await,
        ending,
        tail,
    })
}

/// Whether a line has the operating system's words for a full disk.
#[must_use]
pub fn says_disk_is_full(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    FULL_DISK_WORDS.iter().any(|word| line.contains(word))
}

/// Whether nothing more can be written to the volume of a container that has ended, by trying it.
async fn is_disk_full(engine: &dyn Engine, container: &ContainerId, spec: &ContainerSpec) -> bool {
    let volume = spec.mounts.iter().find_map(|mount| match mount {
        Mount::Anonymous { path, .. } => Some(path),
        _ => None,
    });
    let Some(volume) = volume else { return false };
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(FULL_DISK_PROBE_BYTES as u64);
    header.set_mode(0o600);
    let content = vec![1; FULL_DISK_PROBE_BYTES];
    let packed = archive
        .append_data(&mut header, FULL_DISK_PROBE_NAME, &content[..])
        .and_then(|()| archive.into_inner());
    let Ok(packed) = packed else { return false };
    let archive = futures_util::stream::once(async move { Ok(packed.into()) });
    let tried = engine.upload(container, volume, Box::pin(archive)).await;
    matches!(tried, Err(EngineError::DiskFull { .. }))
}
