//! Removing a volume, under its lease: nobody's release goes who is publishing, and no other checkout's that has.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::lease::{Lease, LeaseTerms};
use super::look::{Sight, Signs};
use super::{Patience, ReleaseVolume, VolumeError, lease, sight_into};
use crate::engine::{ContainerSpec, Engine};

/// How long a removal waits for somebody who publishes: one who wants to get rid of things does not wait for a build.
const LEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// Another checkout published what is current.
    Kept {
        /// Which.
        publisher: String,
    },
}

/// Removes a volume in which nobody has published; well when it is gone already.
pub(super) async fn remove_unpublished(engine: &dyn Engine, volume: &ReleaseVolume) -> Result<(), VolumeError> {
    remove_if(engine, volume, |signs| signs.current.is_none())
        .await
        .map(|_| ())
}

/// Removes a volume unless another checkout than `volume.publisher` published what is current. `is_maker` says whether this
/// checkout made the volume, which decides where nothing else tells.
///
/// # Errors
/// [`VolumeError::Busy`] when somebody is publishing to it or it is mounted, and what the engine fails with.
pub async fn remove_own(engine: &dyn Engine, volume: &ReleaseVolume, is_maker: bool) -> Result<Removal, VolumeError> {
    remove_if(engine, volume, |signs| match &signs.publisher {
        Some(publisher) => *publisher == volume.publisher,
        None => is_maker,
    })
    .await
}

/// Decides and removes in one: who holds the lease is the only one who changes the volume, and the lease's container does
/// not have it, so that it can be removed meanwhile.
async fn remove_if(
    engine: &dyn Engine,
    volume: &ReleaseVolume,
    may_go: impl Fn(&Signs) -> bool,
) -> Result<Removal, VolumeError> {
    let patience = Patience {
        on_wait: &|_| {},
        limit: LEASE_TIMEOUT,
        cancellation: &CancellationToken::new(),
    };
    let terms = LeaseTerms {
        volume: &volume.name,
        spec: ContainerSpec::unstarted(
            lease::name(&volume.name),
            volume.image.clone(),
            volume.container_labels.clone(),
            vec![],
        ),
        patience: &patience,
    };
    let lease = Lease::acquire(engine, terms).await?;
    let removed = look_and_remove(engine, volume, may_go).await;
    let released = lease.release(engine).await;
    let removal = removed?;
    released?;
    Ok(removal)
}

async fn look_and_remove(
    engine: &dyn Engine,
    volume: &ReleaseVolume,
    may_go: impl Fn(&Signs) -> bool,
) -> Result<Removal, VolumeError> {
    let Some(facts) = engine.volume(&volume.name).await? else {
        return Ok(Removal::Removed);
    };
    let signs = sight_into(engine, volume, &facts, async |sight: &Sight| sight.signs(engine).await).await?;
    if !may_go(&signs) {
        return Ok(Removal::Kept {
            publisher: signs.publisher.unwrap_or_default(),
        });
    }
    engine.remove_volume(&volume.name).await?;
    Ok(Removal::Removed)
}
