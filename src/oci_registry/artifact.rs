//! A document as registries keep it: an artifact, which is a manifest with one layer (image specification 1.1, manifest.md,
//! "Guidelines for Artifact Usage").
//!
//! What it says depends on the document and on what that is about alone: no time and no name of a machine is in it, so that
//! it is the same from wherever it comes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::digest::Digest;
use crate::media_type::{EMPTY, EMPTY_TYPE, MANIFEST_TYPE, SCHEMA_VERSION};

/// The annotation that names a file (image specification, annotations.md).
const TITLE_ANNOTATION: &str = "org.opencontainers.image.title";
/// [`EMPTY`] in base 64 (RFC 4648), as the empty descriptor carries it.
const EMPTY_DATA: &str = "e30=";

/// A document about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is called, for people.
    pub title: &'static str,
    /// What it is, as a media type.
    pub artifact_type: &'static str,
    /// Its text.
    pub content: Bytes,
}

/// What points at something in a registry (image specification, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<&'static str, &'static str>,
}

impl Descriptor {
    /// What points at a content.
    pub(super) fn of(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(content),
            size: content.len(),
            data: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Descriptor,
    layers: [Descriptor; 1],
    subject: &'a Descriptor,
    annotations: &'a BTreeMap<&'static str, &'static str>,
}

/// A document's artifact.
pub(super) struct Artifact {
    /// The text of its manifest.
    pub(super) manifest: Bytes,
    /// What a list of referrers says of it.
    pub(super) descriptor: Descriptor,
}

impl Artifact {
    /// The artifact of a document about `subject`.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which does not happen.
    pub(super) fn of(document: &Document, subject: &Descriptor) -> Result<Self, serde_json::Error> {
        let annotations = BTreeMap::from([(TITLE_ANNOTATION, document.title)]);
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: SCHEMA_VERSION,
            media_type: MANIFEST_TYPE,
            artifact_type: document.artifact_type,
            config: Descriptor {
                data: Some(EMPTY_DATA),
                ..Descriptor::of(EMPTY_TYPE, EMPTY)
            },
            layers: [Descriptor {
                annotations: annotations.clone(),
                ..Descriptor::of(document.artifact_type, &document.content)
            }],
            subject,
            annotations: &annotations,
        })?;
        let descriptor = Descriptor {
            artifact_type: Some(document.artifact_type),
            annotations,
            ..Descriptor::of(MANIFEST_TYPE, &manifest)
        };
        Ok(Self {
            manifest: manifest.into(),
            descriptor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_s_artifact_has_it_and_what_it_is_about_and_nothing_else() {
        let subject = Descriptor::of("application/vnd.docker.distribution.manifest.v2+json", b"image");
        let document = Document {
            title: "sbom.spdx.json",
            artifact_type: "application/spdx+json",
            content: Bytes::from_static(b"{\"spdxVersion\": \"SPDX-2.3\"}"),
        };
        let artifact = Artifact::of(&document, &subject).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&artifact.manifest).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
        insta::assert_snapshot!(serde_json::to_string_pretty(&artifact.descriptor).unwrap());
        assert_eq!(artifact.descriptor.digest, Digest::of(&artifact.manifest));
        let again = Artifact::of(&document, &subject).unwrap();
        assert_eq!(again.manifest, artifact.manifest);
        let other = Descriptor::of(MANIFEST_TYPE, b"another image");
        assert_ne!(Artifact::of(&document, &other).unwrap().manifest, artifact.manifest);
    }
}
