//! Work that blocks: bootstraps, and looking for packages.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::error::MakeError;
use crate::event::{Event, Events, StepId};
use crate::image::ImageError;

/// How long such work may take to end after the run was stopped.
const GRACE: Duration = Duration::from_secs(5);

/// What the work is told and may tell.
pub(super) struct Background<'a> {
    /// Ends it early.
    pub(super) cancel: &'a CancellationToken,
    /// Takes what is being done, in a few words.
    pub(super) progress: &'a (dyn Fn(String) + Sync),
}

/// Does the work beside what else the run does, until it is done or the run is stopped.
pub(super) async fn in_background<T: Send + 'static>(
    step: &StepId,
    events: &dyn Events,
    cancellation: &CancellationToken,
    work: impl FnOnce(&Background<'_>) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, RunError> {
    // Ends the work too when nobody waits for it any more, because something else failed.
    let cancel = cancellation.child_token();
    let _ended_with_this = cancel.clone().drop_guard();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let work = tokio::task::spawn_blocking(move || {
        let progress = move |message: String| _ = sender.send(message);
        work(&Background {
            cancel: &cancel,
            progress: &progress,
        })
    });
    let followed = async {
        while let Some(message) = receiver.recv().await {
            events.emit(Event::StepProgress {
                step: step.clone(),
                message,
                fraction: None,
            });
        }
        work.await
    };
    // It removes what it has made so far; if that takes long, it goes on without being waited for.
    let too_long = async {
        cancellation.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let done = tokio::select! {
        done = followed => done,
        () = too_long => return Err(RunError::Interrupted),
    };
    let done = done.map_err(|error| RunError::file("wait for work")(std::io::Error::other(error)))?;
    done.map_err(|error| match error.is_cancelled() {
        true => RunError::Interrupted,
        false => MakeError::from(error).into(),
    })
}
