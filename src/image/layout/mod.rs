//! Images and files in one OCI image layout, as a tar (image-spec, image-layout.md): what a machine without a network is given.
//!
//! Layers are kept as their tars, so that a blob's digest is the layer's own, and each blob is there once.

mod read;
mod write;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

pub use read::{FoundItem, FoundLayout, LayoutError, read_layout};
pub use write::write_layout;

const LAYOUT_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
const LAYOUT_VERSION: &str = "1.0.0";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// The annotation by which something in a layout is called (image-spec, annotations.md).
const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// Something that goes into a layout.
#[derive(Debug, Clone)]
pub struct LayoutItem {
    /// What it is called there.
    pub name: String,
    /// What it is.
    pub content: LayoutContent,
}

/// What there is in a layout.
#[derive(Debug, Clone)]
pub enum LayoutContent {
    /// An image.
    Image {
        /// Its config's text.
        config: Vec<u8>,
        /// Its layers, lowest first: the digests of their tars, and where these are.
        layers: Vec<(Digest, PathBuf)>,
    },
    /// A file of another kind.
    File {
        /// Its kind, as a media type.
        media_type: &'static str,
        /// Where it is.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutMark {
    image_layout_version: String,
}

/// `index.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// Where a blob is.
fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::LayerError;
    use super::*;

    fn new_file() -> Result<tempfile::NamedTempFile, LayerError> {
        tempfile::NamedTempFile::new().map_err(LayerError::Write)
    }

    /// A layout with an image of two layers, one of which stands twice, and a file.
    fn layout(directory: &std::path::Path) -> Vec<u8> {
        let file = |name: &str| {
            let path = directory.join(name);
            std::fs::write(&path, name).unwrap();
            (Digest::of(name.as_bytes()), path)
        };
        let (one, other) = (file("one"), file("other"));
        let config = serde_json::json!({"rootfs": {"diff_ids": [one.0, other.0, one.0]}}).to_string();
        let items = [
            LayoutItem {
                name: "glibc/build".to_owned(),
                content: LayoutContent::Image {
                    config: config.into_bytes(),
                    layers: vec![one.clone(), other.clone(), one],
                },
            },
            LayoutItem {
                name: "fetched/00".to_owned(),
                content: LayoutContent::File {
                    media_type: "application/vnd.lockstep.fetched.v1.tar",
                    path: other.1,
                },
            },
        ];
        let mut bytes = Vec::new();
        write_layout(&items, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = layout(directory.path());
        assert_eq!(bytes, layout(directory.path()), "the same things make the same bytes");
        let found = read_layout(&mut &bytes[..], &new_file).unwrap();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let [
            FoundItem::Image { name, layers, config },
            FoundItem::File { name: file, digest, .. },
        ] = &found.items[..]
        else {
            panic!("{:?}", found.items);
        };
        assert_eq!((name.as_str(), file.as_str()), ("glibc/build", "fetched/00"));
        assert_eq!((&layers[..], *digest), (&[one, other, one][..], other));
        assert!(config.starts_with(b"{\"rootfs\""));
        assert_eq!(found.files.keys().copied().collect::<Vec<_>>(), {
            let mut all = vec![one, other];
            all.sort();
            all
        });
        assert_eq!(std::fs::read(found.files[&one].path()).unwrap(), b"one");
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let whole = layout(directory.path());
        let told = |bytes: &[u8]| {
            read_layout(&mut &bytes[..], &new_file)
                .err()
                .map(|error| error.to_string())
        };
        let changed = |from: &[u8], to: &[u8]| {
            let at = whole.windows(from.len()).rposition(|window| window == from).unwrap();
            let mut bytes = whole.clone();
            bytes[at..at + to.len()].copy_from_slice(to);
            bytes
        };
        assert!(
            told(&changed(b"other", b"Other"))
                .unwrap()
                .contains("is not what its name says")
        );
        assert!(
            told(&changed(b"oci-layout", b"oci-LAYOUT"))
                .unwrap()
                .contains("no OCI image layout")
        );
        assert!(told(&whole[..whole.len() / 2]).is_some());
        assert!(told(b"").unwrap().contains("no OCI image layout"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0_usize..8192, byte: u8) {
            let directory = tempfile::tempdir().unwrap();
            let mut bytes = layout(directory.path());
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read_layout(&mut &bytes[..], &new_file);
        }
    }
}
