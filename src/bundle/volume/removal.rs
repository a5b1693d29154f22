//! Removing a volume, under its lease: nobody's release goes who is publishing, and no other checkout's that has.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::lease::{Lease, LeaseTerms};
use super::look::{View, look_at_notes, look_directly};
use super::{Patience, ReleaseVolume, VOLUME_PATH, VolumeError, helper_spec};
use crate::engine::{ContainerSpec, Engine, EngineError, Mount};

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
    remove_if(engine, volume, |view| view.current.is_none())
        .await
        .map(|_| ())
}

/// Removes a volume unless another checkout than `volume.publisher` published what is current. `is_maker` says whether this
/// checkout made the volume, which decides where nothing else tells.
///
/// # Errors
/// [`VolumeError::Busy`] when somebody is publishing to it or it is mounted, and what the engine fails with.
pub async fn remove_own(engine: &dyn Engine, volume: &ReleaseVolume, is_maker: bool) -> Result<Removal, VolumeError> {
    remove_if(engine, volume, |view| match &view.publisher {
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
    may_go: impl Fn(&View) -> bool,
) -> Result<Removal, VolumeError> {
    let patience = Patience {
        on_wait: &|_| {},
        limit: LEASE_TIMEOUT,
        cancellation: &CancellationToken::new(),
    };
    let terms = LeaseTerms {
        volume: &volume.name,
        spec: ContainerSpec {
            mounts: vec![],
            ..helper_spec(volume, "lease", &["cat"])
        },
        patience: &patience,
    };
    let lease = Lease::acquire_briefly(engine, terms).await?;
    let removed = look_and_remove(engine, volume, may_go).await;
    let released = lease.release(engine).await;
    let removal = removed?;
    released?;
    Ok(removal)
}

async fn look_and_remove(
    engine: &dyn Engine,
    volume: &ReleaseVolume,
    may_go: impl Fn(&View) -> bool,
) -> Result<Removal, VolumeError> {
    let Some(facts) = engine.volume(&volume.name).await? else {
        return Ok(Removal::Removed);
    };
    let view = match look_directly(&facts, None) {
        Some(view) => view,
        None => look_through_engine(engine, volume).await?,
    };
    if !may_go(&view) {
        return Ok(Removal::Kept {
            publisher: view.publisher.unwrap_or_default(),
        });
    }
    engine.remove_volume(&volume.name).await?;
    Ok(Removal::Removed)
}

/// Through a container that has the volume and is never started.
async fn look_through_engine(engine: &dyn Engine, volume: &ReleaseVolume) -> Result<View, EngineError> {
    let spec = look_spec(volume);
    let container = engine.create_container(&spec).await?;
    let view = look_at_notes(engine, &container).await;
    engine.remove_container(&container).await?;
    view
}

/// A container through which a volume is looked at: it is never started.
pub(super) fn look_spec(volume: &ReleaseVolume) -> ContainerSpec {
    ContainerSpec {
        tied: false,
        mounts: vec![Mount::Volume {
            name: volume.name.clone(),
            path: VOLUME_PATH.to_owned(),
            read_only: true,
        }],
        ..helper_spec(volume, "look", &["true"])
    }
}
