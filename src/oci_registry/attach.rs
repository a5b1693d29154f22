//! Documents about an image, put beside it: as artifacts that refer to it (distribution specification 1.1, "Pushing Manifests
//! with Subject").

use serde::Serialize;

use super::artifact::{Artifact, Descriptor, Document};
use super::client::Registry;
use super::error::ExchangeError;
use super::referrers_index::{tag, with_artifacts};
use crate::digest::Digest;
use crate::media_type::{EMPTY, INDEX_TYPE, MANIFEST_TYPE};

/// How often the list of referrers is read and written, when others write it at the same time.
const LIST_TRIES_COUNT: usize = 5;
/// What is done with that list.
const LISTING: &str = "write the list of referrers in";

/// A document that is in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attached {
    /// What it is called.
    pub title: &'static str,
    /// What it is, as a media type.
    pub artifact_type: &'static str,
    /// The digest of its artifact's manifest.
    pub digest: Digest,
}

/// Puts documents into a registry that has an image, as what refers to that. What is there already stays as it is.
///
/// # Errors
/// When the registry does not have the image, does not take them, or fails.
pub async fn attach(
    registry: &mut Registry,
    image: Digest,
    documents: &[Document],
) -> Result<Vec<Attached>, ExchangeError> {
    let subject = registry.describe(image).await?;
    registry.put_blob(&EMPTY.into()).await?;
    let mut attached = Vec::new();
    let mut unlisted = Vec::new();
    for document in documents {
        registry.put_blob(&document.content).await?;
        let artifact = Artifact::of(document, &subject);
        let artifact = artifact.map_err(|error| registry.failed("describe a document to", &error.to_string()))?;
        let digest = artifact.descriptor.digest;
        let is_listed = registry
            .put_manifest(&digest.to_string(), MANIFEST_TYPE, artifact.manifest, image)
            .await?;
        if !is_listed {
            unlisted.push(artifact.descriptor);
        }
        attached.push(Attached {
            title: document.title,
            artifact_type: document.artifact_type,
            digest,
        });
    }
    if !unlisted.is_empty() {
        list(registry, image, &unlisted).await?;
    }
    Ok(attached)
}

/// Puts artifacts into the list of an image's referrers that the registry does not keep itself. It is done when they are in what
/// is read: whoever writes at the same time may have written over it.
async fn list(registry: &mut Registry, image: Digest, artifacts: &[Descriptor]) -> Result<(), ExchangeError> {
    let tag = tag(image);
    for _ in 0..LIST_TRIES_COUNT {
        let found = registry.index(&tag).await?;
        let merged = with_artifacts(found.as_deref(), artifacts);
        let merged = merged.map_err(|error| registry.refused(LISTING, &format!("{error}: {tag}")))?;
        let Some(merged) = merged else { return Ok(()) };
        registry.put_manifest(&tag, INDEX_TYPE, merged, image).await?;
    }
    Err(registry.failed(LISTING, "others write it all the time"))
}
