//! The registry where the project keeps its environments, by the digests that the lock has.

use super::super::RunError;
use super::super::error::MakeError;
use super::super::making::{Made, Making};
use super::super::recipe::Kind;
use super::{Asked, not_there};
use crate::digest::Digest;
use crate::engine::EngineError;
use crate::image::{IMAGE_REPOSITORY, Tried};
use crate::lock;

/// Pulls the locked image out of the registry.
pub(in crate::run) async fn ask(making: &Making<'_>, kind: &Kind<'_>, locked: &lock::Image) -> Result<Asked, RunError> {
    let because = |place: String, why: &str| {
        Ok(Err(Tried {
            place,
            why: Some(why.to_owned()),
        }))
    };
    let Some(registry) = making.registry else {
        return because(
            "the registry".to_owned(),
            "none is named (`registry:` in lockstep.yaml, or LOCKSTEP_REGISTRY)",
        );
    };
    if making.offline {
        return because(registry.to_string(), "not asked: --offline");
    }
    let Some(digest) = making.pushed else {
        return because(
            registry.to_string(),
            "the lock has no digest there (lockstep image push)",
        );
    };
    pull(making, kind, locked, &registry.by_digest(digest), digest).await
}

async fn pull(
    making: &Making<'_>,
    kind: &Kind<'_>,
    locked: &lock::Image,
    reference: &str,
    digest: Digest,
) -> Result<Asked, RunError> {
    let facts = match making.pull(reference).await {
        Ok(facts) => facts,
        Err(RunError::Image(MakeError::Pull { cause, .. })) => {
            let why = match cause {
                // What the engine failed to do is said by the place.
                EngineError::Failed { cause, .. } => cause,
                error => error.to_string(),
            };
            return Ok(Err(Tried {
                place: reference.to_owned(),
                why: Some(why),
            }));
        }
        Err(error) => return Err(error),
    };
    if facts.diff_ids != locked.layers {
        return Ok(Err(Tried {
            why: Some(format!("another image has the digest {} there", digest.short())),
            ..not_there(reference)
        }));
    }
    // What has no other name than its digest is removed with the next `docker image prune`.
    let names = kind.names(locked, making.project.source_date_epoch);
    let own = names.iter().find_map(|(name, _)| {
        let tag = name.strip_prefix(IMAGE_REPOSITORY)?.strip_prefix(':')?;
        Some(tag.to_owned())
    });
    if let Some(tag) = own {
        making.engine.tag_image(&facts.id, IMAGE_REPOSITORY, &tag).await?;
    }
    Ok(Ok(Made { facts, is_new: true }))
}
