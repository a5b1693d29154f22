//! The list of an image's referrers where the registry keeps none: an index under a tag that follows from the image's digest
//! (distribution specification 1.1, "Referrers Tag Schema").

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::artifact::Descriptor;
use crate::digest::Digest;
use crate::media_type::{INDEX_TYPE, SCHEMA_VERSION};

/// The tag of the list for the image of this digest. The digests here are short enough to be one as they are.
pub(super) fn tag(subject: Digest) -> String {
    subject.to_string().replace(':', "-")
}

/// Why a list is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what has the tag of the list of referrers is no index")]
pub(super) struct NoIndex;

/// The list with these artifacts in it; none where it has them already as they are. Whatever else is in it stays, in its order.
///
/// # Errors
/// When what was found is no index: somebody else uses the tag, and nothing of it may be lost.
pub(super) fn with_artifacts(found: Option<&[u8]>, artifacts: &[Descriptor]) -> Result<Option<Bytes>, NoIndex> {
    let mut index = match found {
        Some(text) => serde_json::from_slice::<Map<String, Value>>(text).map_err(|_| NoIndex)?,
        None => empty(),
    };
    let is_index = index.get("mediaType").is_none_or(|kind| kind == INDEX_TYPE);
    let Some(entries) = index
        .get_mut("manifests")
        .and_then(Value::as_array_mut)
        .filter(|_| is_index)
    else {
        return Err(NoIndex);
    };
    let mut is_changed = found.is_none();
    for artifact in artifacts {
        let artifact = serde_json::to_value(artifact).map_err(|_| NoIndex)?;
        let same = |entry: &&mut Value| entry.get("digest") == artifact.get("digest");
        match entries.iter_mut().find(same) {
            Some(entry) if *entry == artifact => {}
            Some(entry) => {
                *entry = artifact;
                is_changed = true;
            }
            None => {
                entries.push(artifact);
                is_changed = true;
            }
        }
    }
    let written = is_changed.then(|| serde_json::to_vec(&index)).transpose();
    Ok(written.map_err(|_| NoIndex)?.map(Bytes::from))
}

fn empty() -> Map<String, Value> {
    [
        ("schemaVersion", json!(SCHEMA_VERSION)),
        ("mediaType", json!(INDEX_TYPE)),
        ("manifests", json!([])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media_type::MANIFEST_TYPE;

    fn artifact(content: &str) -> Descriptor {
        Descriptor {
            artifact_type: Some("application/spdx+json"),
            ..Descriptor::of(MANIFEST_TYPE, content.as_bytes())
        }
    }

    fn entries(index: &[u8]) -> Vec<Value> {
        let index: Value = serde_json::from_slice(index).unwrap();
        index["manifests"].as_array().unwrap().clone()
    }

    #[test]
    fn the_tag_is_the_digest_with_a_dash() {
        let tag = tag(Digest::of(b""));
        assert_eq!(
            tag,
            "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        const TAG_LIMIT_BYTES: usize = 128;
        assert!(tag.len() <= TAG_LIMIT_BYTES);
    }

    #[test]
    fn a_list_is_made_where_there_is_none() {
        let made = with_artifacts(None, &[artifact("a"), artifact("b")]).unwrap().unwrap();
        insta::assert_snapshot!(String::from_utf8_lossy(&made));
    }

    #[test]
    fn what_is_no_index_is_left_alone() {
        let image = format!("{{\"mediaType\": \"{MANIFEST_TYPE}\", \"manifests\": []}}");
        for found in ["", "[]", "{}", "{\"manifests\": {}}", "not JSON", &image] {
            let found = Some(found.as_bytes());
            assert_eq!(with_artifacts(found, &[artifact("a")]), Err(NoIndex), "{found:?}");
        }
    }

    #[test]
    fn an_entry_of_ours_that_is_not_as_it_should_be_is_written_anew() {
        let bare = Descriptor {
            artifact_type: None,
            ..artifact("a")
        };
        let found = json!({"schemaVersion": 2, "manifests": [bare], "annotations": {"x": "y"}});
        let found = serde_json::to_vec(&found).unwrap();
        let mended = with_artifacts(Some(&found), &[artifact("a")]).unwrap().unwrap();
        assert_eq!(entries(&mended), [serde_json::to_value(artifact("a")).unwrap()]);
        let mended: Value = serde_json::from_slice(&mended).unwrap();
        assert_eq!(mended["annotations"]["x"], "y");
    }

    /// An entry that somebody else put there.
    fn foreign() -> impl Strategy<Value = Value> {
        ("[a-z]{0,6}", any::<u32>(), proptest::option::of("[a-z/+]{1,8}")).prop_map(|(content, size, kind)| {
            json!({"mediaType": MANIFEST_TYPE, "digest": Digest::of(format!("foreign {content}").as_bytes()), "size": size,
                   "artifactType": kind, "unknown": {"of": [content]}})
        })
    }

    proptest! {
        #[test]
        fn putting_in_twice_is_putting_in_once(
            foreign in prop::collection::vec(foreign(), 0..6),
            ours in prop::collection::vec("[a-c]", 0..4),
            is_there in any::<bool>(),
        ) {
            let ours: Vec<Descriptor> = ours.iter().map(|content| artifact(content)).collect();
            let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": foreign, "extra": 1});
            let index = serde_json::to_vec(&index).unwrap();
            let found = is_there.then_some(index.as_slice());
            let first = with_artifacts(found, &ours).unwrap();
            let merged = first.as_deref().or(found).unwrap();
            prop_assert_eq!(with_artifacts(Some(merged), &ours).unwrap(), None);
            let after = entries(merged);
            if is_there {
                prop_assert_eq!(&after[..foreign.len()], &foreign[..], "what others put there stays, in its order");
            }
            for artifact in &ours {
                let value = serde_json::to_value(artifact).unwrap();
                prop_assert_eq!(after.iter().filter(|entry| **entry == value).count(), 1);
            }
        }
    }
}
