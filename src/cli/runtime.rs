//! The asynchronous runtime, and the signals that end it.

use std::future::Future;
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::stop::Stop;
use crate::exit::Exit;
use crate::report::{Failure, of_machine};

/// How many threads the runtime has: it mostly waits.
const WORKER_THREADS: usize = 2;

/// Runs `work` to its end. The first SIGINT, SIGTERM or SIGHUP cancels the token, so that `work` can clean up; a second
/// one ends the program at once.
pub(super) fn block_on<T, F>(work: impl FnOnce(CancellationToken) -> F) -> Result<T, Stop>
where
    F: Future<Output = Result<T, Stop>>,
{
    let failed = |cause: std::io::Error| -> Failure {
        let message = format!("failed to start: {cause}");
        of_machine("runtime", message, &cause, Path::new("/"))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let cancellation = CancellationToken::new();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = kinds
            .map(signal)
            .into_iter()
            .collect::<Result<Vec<Signal>, _>>()
            .map_err(failed)?;
        for stream in signals {
            tokio::spawn(watch(stream, cancellation.clone()));
        }
        work(cancellation).await
    })
}

async fn watch(mut signals: Signal, cancellation: CancellationToken) {
    while signals.recv().await.is_some() {
        if cancellation.is_cancelled() {
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
        cancellation.cancel();
    }
}
