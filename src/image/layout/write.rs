//! Writing a layout: descriptions first, so that who reads it as a stream knows what comes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::super::LayerError;
use super::super::entry::Entry;
use super::super::write::LayerWriter;
use super::{
    CONFIG_TYPE, Descriptor, INDEX_FILE, Index, LAYER_TYPE, LAYOUT_FILE, LAYOUT_VERSION, LayoutContent, LayoutItem,
    LayoutMark, Manifest, NAME_ANNOTATION, blob_path,
};
use crate::digest::Digest;
use crate::media_type::{EMPTY, EMPTY_TYPE, INDEX_TYPE, MANIFEST_TYPE, SCHEMA_VERSION};
use crate::regular_file;

/// What a blob is.
enum Blob<'a> {
    Document(Vec<u8>),
    File(&'a Path),
}

/// Writes things as one layout; the same things in the same order are the same bytes.
///
/// # Errors
/// [`LayerError`]: a file cannot be read or is too large, or the layout cannot be written.
pub fn write_layout(items: &[LayoutItem], output: impl Write) -> Result<(), LayerError> {
    let (mut documents, mut files) = (BTreeMap::new(), BTreeMap::new());
    let mut manifests = Vec::new();
    for item in items {
        let manifest = match &item.content {
            LayoutContent::Image { config, layers } => Manifest {
                schema_version: SCHEMA_VERSION,
                media_type: MANIFEST_TYPE.to_owned(),
                artifact_type: None,
                config: document(CONFIG_TYPE, config.clone(), &mut documents),
                layers: layers
                    .iter()
                    .map(|(digest, path)| file(LAYER_TYPE, *digest, path, &mut files))
                    .collect::<Result<_, _>>()?,
            },
            LayoutContent::File { media_type, path } => {
                let content = regular_file::open_itself(path).map_err(LayerError::Read)?;
                let digest = Digest::of_reader(content).map_err(LayerError::Read)?;
                Manifest {
                    schema_version: SCHEMA_VERSION,
                    media_type: MANIFEST_TYPE.to_owned(),
                    artifact_type: Some((*media_type).to_owned()),
                    config: document(EMPTY_TYPE, EMPTY.to_vec(), &mut documents),
                    layers: vec![file(media_type, digest, path, &mut files)?],
                }
            }
        };
        let descriptor = document(MANIFEST_TYPE, json(&manifest)?, &mut documents);
        manifests.push(Descriptor {
            annotations: Some(BTreeMap::from([(NAME_ANNOTATION.to_owned(), item.name.clone())])),
            ..descriptor
        });
    }
    let index = json(&Index {
        schema_version: SCHEMA_VERSION,
        media_type: INDEX_TYPE.to_owned(),
        manifests,
    })?;
    let mark = json(&LayoutMark {
        image_layout_version: LAYOUT_VERSION.to_owned(),
    })?;
    let mut tar = LayerWriter::new(output);
    let entry = |path: &str, size_bytes: u64| Entry::file(path, size_bytes, 0o644, 0);
    for (path, content) in [(LAYOUT_FILE, &mark), (INDEX_FILE, &index)] {
        tar.append(&entry(path, content.len() as u64), &mut &content[..])?;
    }
    let blobs = documents
        .into_iter()
        .map(|(digest, text)| (digest, Blob::Document(text)));
    let blobs = blobs.chain(files.into_iter().map(|(digest, path)| (digest, Blob::File(path))));
    for (digest, blob) in blobs {
        let path = blob_path(digest);
        match blob {
            Blob::Document(text) => tar.append(&entry(&path, text.len() as u64), &mut &text[..])?,
            Blob::File(file) => {
                let mut content = regular_file::open_itself(file).map_err(LayerError::Read)?;
                let size_bytes = content.metadata().map_err(LayerError::Read)?.len();
                tar.append(&entry(&path, size_bytes), &mut content)?;
            }
        }
    }
    tar.finish().map(|_| ())
}

/// A document as a blob.
fn document(media_type: &str, text: Vec<u8>, documents: &mut BTreeMap<Digest, Vec<u8>>) -> Descriptor {
    let descriptor = Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(&text),
        size: text.len() as u64,
        annotations: None,
    };
    documents.insert(descriptor.digest, text);
    descriptor
}

/// A file as a blob.
fn file<'a>(
    media_type: &str,
    digest: Digest,
    path: &'a Path,
    files: &mut BTreeMap<Digest, &'a Path>,
) -> Result<Descriptor, LayerError> {
    files.insert(digest, path);
    Ok(Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: path.metadata().map_err(LayerError::Read)?.len(),
        annotations: None,
    })
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, LayerError> {
    serde_json::to_vec(value).map_err(|error| LayerError::Write(error.into()))
}
