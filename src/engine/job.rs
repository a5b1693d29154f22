//! One container from its creation to its removal: what every step that runs something does.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio_util::sync::CancellationToken;

use super::lines::Lines;
use super::{ByteStream, ContainerExit, ContainerId, ContainerSpec, Engine, EngineError, LogStream, OutputStream};

/// How much a container may write in all before it is ended.
pub const OUTPUT_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How many of a container's last lines are kept.
pub const TAIL_LIMIT_LINES: usize = 200;
/// How long the output of a container that has ended may stand still before it is taken for complete.
const DRAIN_TIMEOUT_SECONDS: u64 = 10;

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

/// Takes a job's lines as they come.
pub type LineSink<'a> = &'a (dyn for<'line> Fn(OutputStream, &'line str) + Send + Sync);

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
    output: LineSink<'_>,
) -> Result<Outcome, JobError> {
    for upload in job.uploads {
        engine.upload(container, &upload.path, upload.archive).await?;
    }
    let mut pieces = engine.logs(container).await?;
    engine.start(container).await?;
    let mut reading = Reading::new(job.line_limit_bytes, output);
    let ending = tokio::select! {
        // The end first: a reader that is behind is drained below, and one that is over its limit ends the container.
        biased;
        exit = engine.wait(container, job.limit) => match exit {
            Ok(exit) => Ending::Exited(exit),
            // Any other limit is one of the engine's own.
            Err(EngineError::TimedOut { limit, .. }) if limit == job.limit => Ending::TimedOut { limit },
            Err(error) => return Err(error.into()),
        },
        error = reading.read_until_limit(&mut pieces) => match error {
            Some(error) => return Err(error.into()),
            None => Ending::TooMuchOutput { limit_bytes: OUTPUT_LIMIT_BYTES },
        },
    };
    if !matches!(ending, Ending::Exited(_)) {
        engine.kill(container).await?;
    }
    reading.drain(&mut pieces).await?;
    Ok(Outcome {
        ending,
        tail: reading.finish(),
    })
}

/// A job's output on its way to lines.
struct Reading<'a> {
    stdout: Lines,
    stderr: Lines,
    tail: VecDeque<String>,
    bytes: u64,
    output: LineSink<'a>,
}

impl<'a> Reading<'a> {
    fn new(line_limit_bytes: usize, output: LineSink<'a>) -> Self {
        Self {
            stdout: Lines::new(line_limit_bytes),
            stderr: Lines::new(line_limit_bytes),
            tail: VecDeque::new(),
            bytes: 0,
            output,
        }
    }

    fn take(&mut self, stream: OutputStream, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let Self {
            stdout,
            stderr,
            tail,
            output,
            ..
        } = self;
        let lines = match stream {
            OutputStream::Stdout => stdout,
            OutputStream::Stderr => stderr,
        };
        lines.push(piece, |line| keep(tail, *output, stream, line));
    }

    /// Reads until there was too much (none) or the engine fails; when the output ends before, waits for ever, because
    /// then the container's end is what counts.
    async fn read_until_limit(&mut self, pieces: &mut LogStream) -> Option<EngineError> {
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok((stream, piece)) => self.take(stream, &piece),
                Err(error) => return Some(error),
            }
            if self.bytes > OUTPUT_LIMIT_BYTES {
                return None;
            }
        }
        std::future::pending().await
    }

    /// Reads what is still on its way after the container's end.
    async fn drain(&mut self, pieces: &mut LogStream) -> Result<(), EngineError> {
        let limit = Duration::from_secs(DRAIN_TIMEOUT_SECONDS);
        while self.bytes <= OUTPUT_LIMIT_BYTES
            && let Ok(Some(piece)) = tokio::time::timeout(limit, pieces.next()).await
        {
            let (stream, piece) = piece?;
            self.take(stream, &piece);
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<String> {
        let Self {
            stdout,
            stderr,
            tail,
            output,
            ..
        } = &mut self;
        stdout.finish(|line| keep(tail, *output, OutputStream::Stdout, line));
        stderr.finish(|line| keep(tail, *output, OutputStream::Stderr, line));
        self.tail.into()
    }
}

fn keep(tail: &mut VecDeque<String>, output: LineSink<'_>, stream: OutputStream, line: &str) {
    output(stream, line);
    if tail.len() == TAIL_LIMIT_LINES {
        tail.pop_front();
    }
    tail.push_back(line.to_owned());
}
