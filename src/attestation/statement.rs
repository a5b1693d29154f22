//! The in-toto attestation framework's statement, v1: <https://github.com/in-toto/attestation/tree/main/spec/v1>.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Digest;

/// `_type` of every statement.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Digests of files and of image configs.
pub(super) const SHA256: &str = "sha256";
/// Digests of trees of files: SHA-256 over paths, modes and contents, which no other tool computes.
pub(super) const TREE: &str = "lockstepTree";

/// A predicate about subjects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statement<Predicate> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Resource>,
    predicate_type: &'static str,
    predicate: Predicate,
}

impl<Predicate> Statement<Predicate> {
    pub(super) fn new(predicate_type: &'static str, subject: Vec<Resource>, predicate: Predicate) -> Self {
        Self {
            kind: STATEMENT_TYPE,
            subject,
            predicate_type,
            predicate,
        }
    }
}

/// A resource descriptor: an artifact, by name, place or digest.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uri: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) digest: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<&'static str, Vec<String>>,
}

impl Resource {
    /// Something with a digest of this kind.
    pub(super) fn new(name: impl Into<String>, kind: &'static str, digest: Digest) -> Self {
        Self {
            name: name.into(),
            digest: BTreeMap::from([(kind, digest.hex())]),
            ..Self::default()
        }
    }
}
