//! One container from its creation to its removal: what every step that runs something does.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::{ByteStream, ContainerExit, ContainerId, ContainerSpec, Engine, EngineError};

pub use super::output::{LineSink, OUTPUT_LIMIT_BYTES, TAIL_LIMIT_LINES};

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
    let work = async {
        let outcome = execute(engine, &container, job, output).await?;
        collect(container.clone(), outcome).await
    };
    let result = tokio::select! {
        result = work => result,
        () = cancellation.cancelled() => Err(JobError::Cancelled.into()),
    };
    let removed = engine.remove_container(&container).await;
    // What went wrong first is what the user should read.
    let value = result?;
    removed.map_err(JobError::from)?;
    Ok(value)
}

async fn execute(
    engine: &dyn Engine,
    container: &ContainerId,
    job: Job<'_>,
    sink: LineSink<'_>,
) -> Result<Outcome, JobError> {
    for upload in job.uploads {
        engine.upload(container, &upload.path, upload.archive).await?;
    }
    let mut pieces = engine.logs(container).await?;
    engine.start(container).await?;
    let mut output = Output::new(job.line_limit_bytes, sink);
    let ending = tokio::select! {
        // The end first: a reader that is behind is drained below, and one that is over its limit ends the container.
        biased;
        exit = engine.wait(container, job.limit) => match exit {
            Ok(exit) => Ending::Exited(exit),
            // Any other limit is one of the engine's own.
            Err(EngineError::TimedOut { limit, .. }) if limit == job.limit => Ending::TimedOut { limit },
            Err(error) => return Err(error.into()),
        },
        error = output.read_until_limit(&mut pieces) => match error {
            Some(error) => return Err(error.into()),
            None => Ending::TooMuchOutput { limit_bytes: OUTPUT_LIMIT_BYTES },
        },
    };
    if !matches!(ending, Ending::Exited(_)) {
        output.discard_during(&mut pieces, engine.kill(container)).await?;
    }
    output.drain(&mut pieces).await?;
    Ok(Outcome {
        ending,
        tail: output.finish(),
    })
}
