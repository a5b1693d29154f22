//! What is needed to make an image, of whatever kind its recipe is, and how it gets into the engine.

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::error::MakeError;
use crate::config::Project;
use crate::context::Context;
use crate::digest::Digest;
use crate::engine::{Engine, ImageFacts, TransferProgress};
use crate::event::{Event, Events, StepId};
use crate::image::{LocalImage, provide};
use crate::lock;
use crate::network::NetworkSettings;
use crate::repository::Repository;

/// What is needed to make an image.
pub(super) struct Making<'a> {
    pub(super) project: &'a Project,
    pub(super) context: &'a Context,
    pub(super) engine: &'a dyn Engine,
    pub(super) events: &'a dyn Events,
    pub(super) step: &'a StepId,
    pub(super) cancellation: &'a CancellationToken,
    pub(super) network: &'a NetworkSettings,
    /// Where the project keeps its environments.
    pub(super) registry: Option<&'a Repository>,
    /// The digest that the image has there.
    pub(super) pushed: Option<Digest>,
    /// What the lock has of it.
    pub(super) expected: Option<&'a lock::Image>,
    /// Whether the world is asked again, whatever is there.
    pub(super) update: bool,
    /// Whether nothing may be asked of a network.
    pub(super) offline: bool,
}

/// An image that the engine has now.
pub(super) struct Made {
    pub(super) facts: ImageFacts,
    /// Whether it was made now.
    pub(super) is_new: bool,
}

impl Making<'_> {
    /// Brings an image of the cache to the engine; `was_made` says whether it was in the cache before.
    pub(super) async fn loaded(&self, image: &LocalImage, was_made: bool) -> Result<Made, RunError> {
        self.progress("loading into the engine".to_owned(), None);
        let (facts, was_loaded) = self
            .until_cancelled(provide(self.engine, image))
            .await?
            .map_err(MakeError::from)?;
        Ok(Made {
            facts,
            is_new: !(was_made && was_loaded),
        })
    }

    /// Brings an image from its registry to the engine.
    pub(super) async fn pull(&self, reference: &str) -> Result<ImageFacts, RunError> {
        self.may_ask_a_network("pull an image")?;
        let progress = |progress: TransferProgress| self.progress(progress.status, progress.bytes);
        let pulled = self
            .until_cancelled(self.engine.pull_image(reference, &progress))
            .await?;
        pulled.map_err(|cause| MakeError::Pull {
            reference: reference.to_owned(),
            cause,
        })?;
        self.existing(reference).await
    }

    /// Whether a network may be asked, which is needed to do something.
    pub(super) fn may_ask_a_network(&self, action: &'static str) -> Result<(), MakeError> {
        match self.offline {
            true => Err(MakeError::Offline { action }),
            false => Ok(()),
        }
    }

    /// An image that the engine must have now.
    pub(super) async fn existing(&self, reference: &str) -> Result<ImageFacts, RunError> {
        let vanished = || MakeError::Vanished {
            reference: reference.to_owned(),
        };
        Ok(self.engine.image(reference).await?.ok_or_else(vanished)?)
    }

    /// What `work` gives, unless the run is cancelled first.
    pub(super) async fn until_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, RunError> {
        tokio::select! {
            value = work => Ok(value),
            () = self.cancellation.cancelled() => Err(RunError::Interrupted),
        }
    }

    /// Tells what is being done.
    pub(super) fn progress(&self, message: String, fraction: Option<(u64, u64)>) {
        self.events.emit(Event::StepProgress {
            step: self.step.clone(),
            message,
            fraction,
        });
    }
}
