//! Images that a registry has, and that may be in the engine already.

use super::super::RunError;
use super::super::error::MakeError;
use super::super::making::{Made, Making};
use crate::digest::Digest;
use crate::engine::ImageFacts;

/// The digest of what the recipe says.
pub(super) fn digest(reference: &str) -> Digest {
    Digest::of_fields(&["image", reference])
}

/// The image with the digest that the lock has, in the repository that the recipe names: what is asked for, and where,
/// is never for the lock to say. None for a lock that has no digest, and for a recipe that has one itself.
pub(in crate::run) fn pinned(reference: &str, locked: &str) -> Option<String> {
    let (_, digest) = locked.rsplit_once('@')?;
    digest.parse::<Digest>().ok()?;
    if reference.contains('@') {
        return None;
    }
    // A colon before the last slash is a port.
    let start = reference.rfind('/').map_or(0, |slash| slash + 1);
    let end = reference[start..]
        .find(':')
        .map_or(reference.len(), |colon| start + colon);
    Some(format!("{}@{digest}", &reference[..end]))
}

/// The image as the engine has it, pulled when it has another or none.
pub(super) async fn find_or_pull(making: &Making<'_>, reference: &str) -> Result<Made, RunError> {
    // The lock may know it by digest, when the tag has moved on since.
    let locked = making.expected.and_then(|expected| expected.registry.as_deref());
    let pinned = locked.and_then(|locked| pinned(reference, locked));
    let present = making.engine.image(reference).await?;
    let wanted = |facts: &ImageFacts| making.expected.is_none_or(|expected| expected.layers == facts.diff_ids);
    let is_usable = |facts: &ImageFacts| wanted(facts) && (!making.update || facts.repository_digests.is_empty());
    let (facts, is_new) = match present {
        Some(facts) if is_usable(&facts) => (facts, false),
        other => match (making.pull(pinned.as_deref().unwrap_or(reference)).await, other) {
            (Ok(facts), _) => (facts, true),
            // Another image has the name, and the locked one is nowhere: that it differs is what the user should
            // read, not that there is no registry.
            (Err(RunError::Image(MakeError::Pull { .. })), Some(other)) if !making.update => (other, false),
            (Err(error), _) => return Err(error),
        },
    };
    Ok(Made { facts, is_new })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_says_which_image_and_never_where_it_is() {
        let digest = Digest::of(b"image");
        let locked = format!("elsewhere:5000/other@{digest}");
        for (reference, expected) in [
            ("alpine:3.22", Some("alpine@")),
            ("alpine", Some("alpine@")),
            ("host:5000/a/b", Some("host:5000/a/b@")),
            ("host:5000/a/b:1", Some("host:5000/a/b@")),
            ("alpine@sha256:00", None),
        ] {
            let expected = expected.map(|name| format!("{name}{digest}"));
            assert_eq!(pinned(reference, &locked), expected, "{reference}");
        }
        for locked in ["", "alpine", "alpine@", "alpine@latest"] {
            assert_eq!(pinned("alpine", locked), None, "{locked}");
        }
    }
}
