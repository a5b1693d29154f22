//! Removing what a run made, by its labels: at the end of the run, or later when the run could not do it itself.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{ContainerId, Engine, EngineError, Labels};

/// How often the engine is asked again for what is still there.
const SWEEP_ROUNDS_LIMIT: u32 = 10;
/// How long it is given after a round in which something could not be removed: a container that is just being made or
/// removed keeps its volume.
const SWEEP_PAUSE_MILLISECONDS: u64 = if cfg!(test) { 1 } else { 300 };

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// The names of containers.
    pub containers: BTreeSet<String>,
    /// The names of volumes.
    pub volumes: BTreeSet<String>,
}

/// Removes every container, running or not, and every volume that carries all these labels. One that cannot be removed
/// does not keep the others from being removed.
///
/// # Errors
/// When something is still there after several rounds; and for no labels at all, which everything carries.
pub async fn sweep(engine: &dyn Engine, labels: &Labels) -> Result<Swept, EngineError> {
    if labels.is_empty() {
        let cause = "no label says which".to_owned();
        return Err(EngineError::Failed {
            action: "remove containers and volumes".to_owned(),
            cause,
        });
    }
    let mut swept = Swept::default();
    let mut failure = None;
    for _ in 0..SWEEP_ROUNDS_LIMIT {
        failure = None;
        let containers = engine.containers(labels).await?;
        for container in &containers {
            match engine.remove_container(&ContainerId(container.id.clone())).await {
                Ok(()) => _ = swept.containers.insert(container.name.clone()),
                Err(error) => failure = Some(error),
            }
        }
        // After the containers, which would keep them.
        let volumes = engine.volumes(labels).await?;
        for volume in &volumes {
            match engine.remove_volume(&volume.name).await {
                Ok(()) => _ = swept.volumes.insert(volume.name.clone()),
                Err(error) => failure = Some(error),
            }
        }
        // Once more after something was found: what was being created then is there now.
        if containers.is_empty() && volumes.is_empty() {
            break;
        }
        match &failure {
            // An engine that has gone, or is not waited for any longer, does nothing better the next time.
            Some(error) if error.is_uncertain() => break,
            Some(_) => tokio::time::sleep(Duration::from_millis(SWEEP_PAUSE_MILLISECONDS)).await,
            None => {}
        }
    }
    failure.map_or(Ok(swept), Err)
}

/// Removes every image that carries all these labels, and gives their names (or IDs, where they have none). An image that
/// others are built on goes after those.
///
/// # Errors
/// When one cannot be removed, because a container uses it for example; and for no labels at all.
pub async fn sweep_images(engine: &dyn Engine, labels: &Labels) -> Result<BTreeSet<String>, EngineError> {
    refuse_no_labels(labels)?;
    let mut swept = BTreeSet::new();
    loop {
        let images = engine.images(labels).await?;
        let mut failure = None;
        let mut removed = 0_u32;
        for image in images {
            match engine.remove_image(&image.id.0).await {
                Ok(()) => {
                    removed += 1;
                    let names = if image.tags.is_empty() {
                        vec![image.id.0]
                    } else {
                        image.tags
                    };
                    swept.extend(names);
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            None => return Ok(swept),
            // Every round removes at least one, so this ends.
            Some(error) if removed == 0 => return Err(error),
            Some(_) => {}
        }
    }
}

fn refuse_no_labels(labels: &Labels) -> Result<(), EngineError> {
    if labels.is_empty() {
        let cause = "no label says which".to_owned();
        return Err(EngineError::Failed {
            action: "remove what was made".to_owned(),
            cause,
        });
    }
    Ok(())
}

/// The values that the label `name` has on containers and volumes that carry all of `labels`: for example the runs of
/// which a project still has something.
///
/// # Errors
/// What the engine fails with.
pub async fn label_values(engine: &dyn Engine, labels: &Labels, name: &str) -> Result<BTreeSet<String>, EngineError> {
    let containers = engine
        .containers(labels)
        .await?
        .into_iter()
        .map(|container| container.labels);
    let volumes = engine.volumes(labels).await?.into_iter().map(|volume| volume.labels);
    Ok(containers
        .chain(volumes)
        .filter_map(|mut labels| labels.remove(name))
        .collect())
}
