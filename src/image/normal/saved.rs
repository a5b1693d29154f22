//! A saved image on its way through: its documents in memory, its layers in files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::super::LayerError;
use super::super::cache::ImageCache;
use super::super::entry::{EntryKind, clean_path};
use super::super::error::ImageError;
use super::super::read::read_tar;
use super::BUFFER_BYTES;
use crate::digest::{Digest, Hasher};
use crate::regular_file;

/// The largest manifest or config.
const DOCUMENT_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// How many parts a saved image may have: a few for each layer.
const PARTS_LIMIT_COUNT: usize = 4096;
/// How large a layer may be, unpacked.
const LAYER_LIMIT_BYTES: u64 = 256 * 1024 * 1024 * 1024;
/// No layer is shorter, not even compressed; engines leave notes (`VERSION`).
const SHORTEST_LAYER_BYTES: u64 = 20;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const MANIFEST: &str = "manifest.json";

/// A layer's tar in a file.
enum LayerFile {
    /// Removed in the end.
    Passing(NamedTempFile),
    /// In the cache.
    Kept(PathBuf),
}

impl LayerFile {
    fn path(&self) -> &Path {
        match self {
            Self::Passing(file) => file.path(),
            Self::Kept(path) => path,
        }
    }
}

/// What was saved.
pub(super) struct SavedImage {
    /// The config's text.
    pub(super) config: Vec<u8>,
    /// By the digests of their tars, by which the config names them.
    layers: BTreeMap<Digest, LayerFile>,
}

/// The one image of a docker-archive, as every engine saves one (image specification 1.2).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: String,
}

#[derive(Default)]
struct Parts {
    documents: BTreeMap<String, Vec<u8>>,
    layers: BTreeMap<Digest, LayerFile>,
}

impl SavedImage {
    /// Reads what an engine saves; `new_file` makes the file for a layer.
    pub(super) fn spool(
        reader: &mut dyn Read,
        new_file: &dyn Fn() -> Result<NamedTempFile, LayerError>,
    ) -> Result<Self, LayerError> {
        let mut parts = Parts::default();
        read_tar(reader, &mut |entry, content| {
            if parts.documents.len() + parts.layers.len() >= PARTS_LIMIT_COUNT {
                return Err(LayerError::TooMany {
                    limit: PARTS_LIMIT_COUNT as u64,
                });
            }
            // Engines save a layer that stands twice once, and link to it.
            if let (EntryKind::File { size_bytes }, Ok(path)) = (entry.kind, String::from_utf8(entry.path)) {
                parts.add(path, size_bytes, content, new_file)?;
            }
            Ok(())
        })?;
        parts.image()
    }

    /// A layer's tar.
    pub(super) fn open(&self, diff_id: Digest) -> Result<BufReader<File>, LayerError> {
        let layer = self.layers.get(&diff_id);
        let layer = layer.ok_or_else(|| malformed(&format!("the layer {diff_id} is missing")))?;
        let file = regular_file::open_itself(layer.path()).map_err(LayerError::Read)?;
        Ok(BufReader::with_capacity(BUFFER_BYTES, file))
    }

    /// Keeps a layer as it is in the cache, from where it may be opened again; its path there. None that is not there.
    pub(super) fn keep(&mut self, diff_id: Digest, cache: &ImageCache) -> Result<PathBuf, ImageError> {
        let path = match self.layers.remove(&diff_id) {
            Some(LayerFile::Passing(file)) => cache.insert_layer(file, diff_id)?,
            Some(LayerFile::Kept(path)) => path,
            None => {
                return Err(ImageError::Config {
                    cause: format!("it names the layer {diff_id}, which is not there"),
                });
            }
        };
        self.layers.insert(diff_id, LayerFile::Kept(path.clone()));
        Ok(path)
    }
}

impl Parts {
    fn add(
        &mut self,
        path: String,
        size_bytes: u64,
        content: &mut dyn Read,
        new_file: &dyn Fn() -> Result<NamedTempFile, LayerError>,
    ) -> Result<(), LayerError> {
        let mut head = Vec::new();
        let mut limited = (&mut *content).take(1);
        limited.read_to_end(&mut head).map_err(LayerError::Read)?;
        let is_document = matches!(head.first(), Some(b'{' | b'['));
        let mut whole = Cursor::new(head).chain(content);
        if is_document && size_bytes <= DOCUMENT_LIMIT_BYTES {
            let mut document = Vec::new();
            whole.read_to_end(&mut document).map_err(LayerError::Read)?;
            self.documents.insert(path, document);
            return Ok(());
        }
        if size_bytes < SHORTEST_LAYER_BYTES {
            return Ok(());
        }
        let (digest, file) = spooled(&mut whole, new_file()?)?;
        self.layers.insert(digest, LayerFile::Passing(file));
        Ok(())
    }

    fn image(mut self) -> Result<SavedImage, LayerError> {
        let manifest = self
            .documents
            .get(MANIFEST)
            .ok_or_else(|| malformed(&format!("it has no {MANIFEST}")))?;
        let images: Vec<Manifest> =
            serde_json::from_slice(manifest).map_err(|cause| malformed(&format!("{MANIFEST}: {cause}")))?;
        let [Manifest { config }] = &images[..] else {
            return Err(malformed(&format!("{MANIFEST} names {} images", images.len())));
        };
        let config = clean_path(config.as_bytes())
            .and_then(|path| self.documents.remove(&*String::from_utf8_lossy(&path)))
            .ok_or_else(|| malformed("its config is missing"))?;
        Ok(SavedImage {
            config,
            layers: self.layers,
        })
    }
}

/// A layer's tar in a file, unpacked if it is compressed, and its digest.
fn spooled(content: &mut dyn Read, file: NamedTempFile) -> Result<(Digest, NamedTempFile), LayerError> {
    let mut content = BufReader::with_capacity(BUFFER_BYTES, content);
    let is_compressed = io::BufRead::fill_buf(&mut content)
        .map_err(LayerError::Read)?
        .starts_with(GZIP_MAGIC);
    let mut plain: Box<dyn Read + '_> = match is_compressed {
        true => Box::new(MultiGzDecoder::new(content)),
        false => Box::new(content),
    };
    let (mut hasher, mut size_bytes) = (Hasher::new(), 0);
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = plain.read(&mut buffer).map_err(LayerError::Read)?;
        if count == 0 {
            break;
        }
        size_bytes += count as u64;
        if size_bytes > LAYER_LIMIT_BYTES {
            return Err(LayerError::Read(io::ErrorKind::FileTooLarge.into()));
        }
        hasher.update(&buffer[..count]);
        writer.write_all(&buffer[..count]).map_err(LayerError::Write)?;
    }
    let file = writer
        .into_inner()
        .map_err(|error| LayerError::Write(error.into_error()))?;
    Ok((hasher.finish(), file))
}

fn malformed(cause: &str) -> LayerError {
    LayerError::Read(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the saved image is damaged: {cause}"),
    ))
}
