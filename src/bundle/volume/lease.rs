//! Who may change a volume: one run at a time, of whichever checkout, and none that has ended.
//!
//! The lease is a container whose name follows from the volume's, because an engine gives a name once. It runs `cat` on an
//! input that the run holds: when the run ends, by whatever means, the container does too, and whoever waits removes it.
//! A container that was made and never started counts for half a minute.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{PROJECT_LABEL, Patience, VolumeError};
use crate::engine::{ContainerFacts, ContainerId, ContainerSpec, Engine, EngineError, Labels, Tie};

/// How often a lease is tried that somebody else has.
const POLL_MILLISECONDS: u64 = 200;
/// How long a lease may lie there that was made and not started: its run was killed in between, or is about to start it.
const START_TIMEOUT_SECONDS: u64 = 30;
/// The label that says which run somebody's container belongs to.
const RUN_LABEL: &str = "dev.lockstep.run";

/// What a lease is asked for with.
pub(super) struct LeaseTerms<'a> {
    /// The volume.
    pub(super) volume: &'a str,
    /// The container; its name is [`name`]'s.
    pub(super) spec: ContainerSpec,
    pub(super) patience: &'a Patience<'a>,
}

/// The lease, while it is held.
pub(super) struct Lease {
    container: ContainerId,
    /// None for a lease that is only there for a moment and was not started.
    _tie: Option<Tie>,
}

/// What a volume's lease is called.
#[must_use]
pub(super) fn name(volume: &str) -> String {
    format!("{volume}-lease")
}

impl Lease {
    /// Takes the lease, waiting for those who have it. A container that is not [`tied`](ContainerSpec::tied) is not started,
    /// and need not be able to: others leave it alone for half a minute, which is long enough for a look.
    ///
    /// # Errors
    /// [`VolumeError::Busy`] after the limit, [`VolumeError::Cancelled`], and what the engine fails with.
    pub(super) async fn acquire(engine: &dyn Engine, terms: LeaseTerms<'_>) -> Result<Self, VolumeError> {
        let mut waiting = Waiting::new(engine, terms.volume, &terms.spec.labels, terms.patience);
        loop {
            let container = match engine.create_container(&terms.spec).await {
                Ok(container) => container,
                Err(EngineError::NameTaken { .. }) => {
                    waiting.once_more().await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if !terms.spec.tied {
                return Ok(Self { container, _tie: None });
            }
            match engine.start_tied(&container).await {
                Ok(tie) => {
                    return Ok(Self {
                        container,
                        _tie: Some(tie),
                    });
                }
                // Somebody took it for dead, because it took so long to start.
                Err(EngineError::NotFound { .. }) => {}
                Err(error) => {
                    let _ = engine.remove_container(&container).await;
                    return Err(error.into());
                }
            }
        }
    }

    /// The container, which has the volume.
    pub(super) fn container(&self) -> &ContainerId {
        &self.container
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When the engine fails; the lease ends with this process then.
    pub(super) async fn release(self, engine: &dyn Engine) -> Result<(), VolumeError> {
        Ok(engine.remove_container(&self.container).await?)
    }
}

/// Waits for somebody else's lease to end, and removes what is left of one that has.
struct Waiting<'a> {
    engine: &'a dyn Engine,
    volume: &'a str,
    /// The containers of the volume's project.
    labels: Labels,
    patience: &'a Patience<'a>,
    started: Instant,
    told: bool,
    /// A lease that is not started, and since when it was seen so.
    unstarted: Option<(String, Instant)>,
}

impl<'a> Waiting<'a> {
    fn new(engine: &'a dyn Engine, volume: &'a str, labels: &Labels, patience: &'a Patience<'a>) -> Self {
        let project = labels.get(PROJECT_LABEL).cloned();
        let labels = project.map(|project| (PROJECT_LABEL.to_owned(), project));
        Self {
            engine,
            volume,
            labels: labels.into_iter().collect(),
            patience,
            started: Instant::now(),
            told: false,
            unstarted: None,
        }
    }

    async fn once_more(&mut self) -> Result<(), VolumeError> {
        let name = name(self.volume);
        let containers = self.engine.containers(&self.labels).await?;
        let holder = containers.into_iter().find(|container| container.name == name);
        let is_dead = holder.as_ref().is_some_and(|holder| self.is_dead(holder));
        if let Some(holder) = holder.as_ref().filter(|_| is_dead) {
            // The engine itself refuses it if the container has started meanwhile.
            if self
                .engine
                .remove_ended_container(&ContainerId(holder.id.clone()))
                .await?
            {
                return Ok(());
            }
        }
        let holder = holder.map_or_else(|| format!("container {name}"), |holder| description(&holder));
        if !self.told {
            (self.patience.on_wait)(&holder);
            self.told = true;
        }
        if self.started.elapsed() >= self.patience.limit {
            return Err(VolumeError::Busy {
                volume: self.volume.to_owned(),
                holder,
                limit: self.patience.limit,
            });
        }
        tokio::select! {
            () = sleep(Duration::from_millis(POLL_MILLISECONDS)) => Ok(()),
            () = self.patience.cancellation.cancelled() => Err(VolumeError::Cancelled),
        }
    }

    fn is_dead(&mut self, holder: &ContainerFacts) -> bool {
        match holder.state.as_str() {
            "exited" | "dead" | "stopped" => true,
            "created" | "configured" | "initialized" => match &self.unstarted {
                Some((id, since)) if *id == holder.id => since.elapsed().as_secs() >= START_TIMEOUT_SECONDS,
                _ => {
                    self.unstarted = Some((holder.id.clone(), Instant::now()));
                    false
                }
            },
            _ => false,
        }
    }
}

fn description(holder: &ContainerFacts) -> String {
    match holder.labels.get(RUN_LABEL) {
        Some(run) => format!("run {run}, container {}", holder.name),
        None => format!("container {}", holder.name),
    }
}
