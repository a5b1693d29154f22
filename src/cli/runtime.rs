//! The asynchronous runtime, and the signals that end it.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::stop::Stop;
use crate::engine::leash::STOP_LIMIT_SECONDS;
use crate::event::{Event, Events};
use crate::exit::Exit;
use crate::report::{Failure, of_machine};
use crate::run::RunError;

/// How many threads the runtime has: it mostly waits.
const WORKER_THREADS: usize = 2;
/// How long the program may go on after the first signal, whatever it does: longer than it is to wait for an engine.
const STOP_TIMEOUT: Duration = Duration::from_secs(STOP_LIMIT_SECONDS + 5);
/// How long threads that block are waited for when all is done; they have nobody left to work for.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs `work` to its end. The first SIGINT, SIGTERM or SIGHUP is told at once and cancels the token, so that `work` can
/// clean up; a second one ends the program at once, and so does the time that `work` may take for that.
pub(super) fn block_on<T, F>(events: &Arc<dyn Events>, work: impl FnOnce(CancellationToken) -> F) -> Result<T, Stop>
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
    let result = runtime.block_on(async {
        let cancellation = CancellationToken::new();
        let signals = [
            ("SIGINT", SignalKind::interrupt()),
            ("SIGTERM", SignalKind::terminate()),
            ("SIGHUP", SignalKind::hangup()),
        ];
        for (name, kind) in signals {
            let stream = signal(kind).map_err(failed)?;
            tokio::spawn(watch(name, stream, cancellation.clone(), Arc::clone(events)));
        }
        tokio::spawn(end_in_time(cancellation.clone(), Arc::clone(events)));
        let result = work(cancellation.clone()).await;
        // Whatever it failed with then, it failed because it was to end.
        match result {
            Err(Stop::Failure(failure)) if cancellation.is_cancelled() && failure.exit != Exit::Interrupted => {
                Err(RunError::Interrupted.into())
            }
            result => result,
        }
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

/// Runs `work`, which leaves nothing behind when it is dropped, to its end or to the first signal.
pub(super) fn block_on_or_stop<T>(
    events: &Arc<dyn Events>,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    block_on(events, |cancellation| async move {
        tokio::select! {
            result = work => result,
            () = cancellation.cancelled() => Err(RunError::Interrupted.into()),
        }
    })
}

async fn watch(name: &'static str, mut signals: Signal, cancellation: CancellationToken, events: Arc<dyn Events>) {
    while signals.recv().await.is_some() {
        if cancellation.is_cancelled() {
            end();
        }
        // First, so that nothing that is told later keeps it from being heard.
        cancellation.cancel();
        events.emit(Event::Stopping {
            message: format!(
                "stopping: {name} was heard, what is in the middle is finished or undone; once more ends at once"
            ),
        });
    }
}

async fn end_in_time(cancellation: CancellationToken, events: Arc<dyn Events>) {
    cancellation.cancelled().await;
    tokio::time::sleep(STOP_TIMEOUT).await;
    events.emit(Event::Warning {
        message: format!(
            "ended without cleaning up, which took more than {} s",
            STOP_TIMEOUT.as_secs()
        ),
        hint: Some("the next run, or `lockstep clean`, removes what is left".to_owned()),
    });
    end();
}

fn end() -> ! {
    std::process::exit(i32::from(Exit::Interrupted as u8));
}
