//! A saved image on its way through: its documents in memory, its layers in files.
//!
//! Engines save images in three forms: a docker-archive, an OCI image layout with a docker-archive's manifest in it, and the
//! layout alone, whose layers may be compressed. In a stream the parts come in any order, so a layer is known by the digest
//! of its tar, by which the config names it, whatever it is called.

mod documents;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::LayerError;
use super::cache::ImageCache;
use super::entry::{EntryKind, clean_path};
use super::error::ImageError;
use super::form::{Form, SNIFFED_BYTES};
use super::read::read_tar;
use crate::digest::{Digest, Hasher};
use crate::regular_file;

pub use documents::{DOCUMENT_LIMIT_BYTES, Documents, ImageParts, image_parts};

/// How large all documents of one image may be together.
const DOCUMENTS_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How many parts a saved image may have: a few for each layer.
const PARTS_LIMIT_COUNT: usize = 4096;
/// How large a layer may be, unpacked.
const LAYER_LIMIT_BYTES: u64 = 256 * 1024 * 1024 * 1024;
/// How much of a layer is read and written at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Why what was saved has no image that can be taken.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It cannot be read, or its layers cannot be kept.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// It names something that is not in it.
    #[error("it lacks {part}")]
    Missing {
        /// What.
        part: String,
    },
    /// A description in it is not what it should be.
    #[error("failed to understand {part}: {cause}")]
    Malformed {
        /// Its name.
        part: String,
        /// Why.
        cause: String,
    },
    /// Several images, and no word which is meant.
    #[error("it has {} images: {}", names.len(), names.join(", "))]
    Several {
        /// Tags, platforms or digests.
        names: Vec<String>,
    },
}

impl From<SavedError> for LayerError {
    fn from(error: SavedError) -> Self {
        match error {
            SavedError::Layer(error) => error,
            error => Self::Read(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the saved image is damaged: {error}"),
            )),
        }
    }
}

/// A layer's tar in a file.
enum LayerFile {
    /// Removed in the end.
    Passing(NamedTempFile),
    /// Somewhere else, where it stays.
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
pub struct SavedImage {
    /// The config's text.
    pub config: Vec<u8>,
    /// By the digests of their tars, by which the config names them.
    layers: BTreeMap<Digest, LayerFile>,
}

/// Makes the file for a layer.
pub type NewFile<'a> = dyn Fn() -> Result<NamedTempFile, LayerError> + 'a;

impl SavedImage {
    /// Reads what an engine saves.
    ///
    /// # Errors
    /// [`SavedError`].
    pub fn spool(reader: &mut dyn Read, new_file: &NewFile<'_>) -> Result<Self, SavedError> {
        Parts::read(reader, Some(new_file))?.image()
    }

    /// The config alone of what an engine saves, whose layers go by.
    ///
    /// # Errors
    /// [`SavedError`].
    pub fn config(reader: &mut dyn Read) -> Result<Vec<u8>, SavedError> {
        Ok(Parts::read(reader, None)?.image()?.config)
    }

    /// Reads an image whose parts can be asked for in any order.
    ///
    /// # Errors
    /// [`SavedError`].
    pub fn gather(
        documents: &mut Documents<'_>,
        layer: &dyn Fn(&str) -> io::Result<File>,
        new_file: &NewFile<'_>,
    ) -> Result<Self, SavedError> {
        let parts = image_parts(documents)?;
        let config = documents(&parts.config).ok_or_else(|| documents::missing(&parts.config))?;
        let mut layers = BTreeMap::new();
        for name in parts.layers {
            let mut file = layer(&name).map_err(|_| documents::missing(&name))?;
            if let Part::Layer(digest, file) = Part::read(&mut file, Some(new_file))? {
                layers.insert(digest, LayerFile::Passing(file));
            }
        }
        Ok(Self {
            config: config.to_vec(),
            layers,
        })
    }

    /// An image whose layers are on this machine, and stay there.
    pub fn kept(config: Vec<u8>, layers: impl IntoIterator<Item = (Digest, PathBuf)>) -> Self {
        let layers = layers.into_iter();
        Self {
            config,
            layers: layers.map(|(digest, path)| (digest, LayerFile::Kept(path))).collect(),
        }
    }

    /// The digests of the tars of its layers, lowest first, as the config has them.
    ///
    /// # Errors
    /// When the config is none.
    pub fn diff_ids(&self) -> Result<Vec<Digest>, SavedError> {
        diff_ids_of(&self.config).map_err(|cause| SavedError::Malformed {
            part: "the config".to_owned(),
            cause: cause.to_string(),
        })
    }

    /// Where the layers' tars are, by their digests, for as long as this is not dropped.
    #[must_use]
    pub fn layer_paths(&self) -> BTreeMap<Digest, PathBuf> {
        let layers = self.layers.iter();
        layers
            .map(|(digest, layer)| (*digest, layer.path().to_owned()))
            .collect()
    }

    /// A layer's tar.
    ///
    /// # Errors
    /// [`SavedError::Missing`] for one that is not there.
    pub fn open(&self, diff_id: Digest) -> Result<File, SavedError> {
        let layer = self.layers.get(&diff_id);
        let layer = layer.ok_or_else(|| documents::missing(&format!("the layer {diff_id}")))?;
        Ok(regular_file::open_itself(layer.path()).map_err(LayerError::Read)?)
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

/// The parts of a stream, each taken when it came by. Engines save a layer that stands twice once, and link to it: by its digest
/// it is found all the same.
#[derive(Default)]
struct Parts {
    documents: BTreeMap<String, Bytes>,
    document_bytes: u64,
    layers: BTreeMap<Digest, LayerFile>,
    count: usize,
}

impl Parts {
    fn read(reader: &mut dyn Read, new_file: Option<&NewFile<'_>>) -> Result<Self, LayerError> {
        let mut parts = Self::default();
        read_tar(reader, &mut |entry, content| {
            parts.count += 1;
            if parts.count > PARTS_LIMIT_COUNT {
                return Err(LayerError::TooMany {
                    limit: PARTS_LIMIT_COUNT as u64,
                });
            }
            if let (EntryKind::File { .. }, Ok(path)) = (entry.kind, String::from_utf8(entry.path)) {
                parts.add(path, Part::read(content, new_file)?)?;
            }
            Ok(())
        })?;
        Ok(parts)
    }

    fn add(&mut self, path: String, part: Part) -> Result<(), LayerError> {
        match part {
            Part::Document(document) => {
                self.document_bytes += document.len() as u64;
                if self.document_bytes > DOCUMENTS_LIMIT_BYTES {
                    return Err(LayerError::Read(io::ErrorKind::FileTooLarge.into()));
                }
                self.documents.insert(path, document);
            }
            Part::Layer(digest, file) => _ = self.layers.insert(digest, LayerFile::Passing(file)),
            Part::Other => {}
        }
        Ok(())
    }

    fn image(self) -> Result<SavedImage, SavedError> {
        let document = |name: &str| {
            let name = String::from_utf8(clean_path(name.as_bytes())?).ok()?;
            self.documents.get(&name).cloned()
        };
        let parts = image_parts(&mut |name| document(name))?;
        let config = document(&parts.config).ok_or_else(|| documents::missing(&parts.config))?;
        Ok(SavedImage {
            config: config.to_vec(),
            layers: self.layers,
        })
    }
}

/// One part of what was saved.
enum Part {
    Document(Bytes),
    /// A layer's tar, by its digest.
    Layer(Digest, NamedTempFile),
    /// Engines leave notes (`VERSION`); and layers, where there is no file for them.
    Other,
}

impl Part {
    fn read(content: &mut dyn Read, new_file: Option<&NewFile<'_>>) -> Result<Self, LayerError> {
        let mut head = Vec::new();
        let mut start = (&mut *content).take(SNIFFED_BYTES);
        start.read_to_end(&mut head).map_err(LayerError::Read)?;
        let form = Form::of(&head);
        let whole = Cursor::new(head).chain(content);
        match (form, new_file) {
            (Form::Document, _) => {
                let mut document = Vec::new();
                let mut limited = whole.take(DOCUMENT_LIMIT_BYTES + 1);
                limited.read_to_end(&mut document).map_err(LayerError::Read)?;
                let is_small = document.len() as u64 <= DOCUMENT_LIMIT_BYTES;
                Ok(if is_small {
                    Self::Document(document.into())
                } else {
                    Self::Other
                })
            }
            (Form::Tar | Form::Gzip | Form::Zstd, Some(new_file)) => {
                let (digest, file) = spool(&mut *form.unpacked(whole), new_file()?)?;
                Ok(Self::Layer(digest, file))
            }
            _ => Ok(Self::Other),
        }
    }
}

/// The digests of the tars of an image's layers, lowest first, as its config has them (image-spec, config.md, `rootfs`).
pub(super) fn diff_ids_of(config: &[u8]) -> serde_json::Result<Vec<Digest>> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFilesystem,
    }
    #[derive(Deserialize)]
    struct RootFilesystem {
        diff_ids: Vec<Digest>,
    }
    let config: Config = serde_json::from_slice(config)?;
    Ok(config.rootfs.diff_ids)
}

/// Something unpacked in a file, and its digest.
///
/// # Errors
/// [`LayerError`]: it cannot be read or written, or is larger than a layer may be.
pub fn spool(plain: &mut dyn Read, file: NamedTempFile) -> Result<(Digest, NamedTempFile), LayerError> {
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

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use serde_json::json;

    use super::super::{Entry, LayerWriter};
    use super::*;

    fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut writer = LayerWriter::new(Vec::new());
        for (path, content) in files {
            let entry = Entry::file(path, content.len() as u64, 0o644, 0);
            writer.append(&entry, &mut &content[..]).unwrap();
        }
        writer.finish().unwrap().2
    }

    fn layers() -> [Vec<u8>; 2] {
        [
            tar(&[("a".to_owned(), b"1".to_vec())]),
            tar(&[("b".to_owned(), vec![2; 5000])]),
        ]
    }

    fn config() -> Vec<u8> {
        let digests = layers().map(|layer| Digest::of(&layer));
        json!({"rootfs": {"type": "layers", "diff_ids": digests}})
            .to_string()
            .into_bytes()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    /// A layout whose index names an index that names the image and a statement about it, as engines save one.
    fn layout(layers: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
        let blob = |content: &[u8]| format!("blobs/sha256/{}", Digest::of(content).hex());
        let named = |content: &[u8]| json!({"digest": Digest::of(content).to_string()});
        let layers_named: Vec<_> = layers.iter().map(|layer| named(layer)).collect();
        let manifest = json!({"config": named(&config()), "layers": layers_named}).to_string();
        let mut statement = named(b"{}");
        statement["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        let index = json!({"manifests": [named(manifest.as_bytes()), statement]}).to_string();
        let top = json!({"manifests": [named(index.as_bytes())]}).to_string();
        let mut files: Vec<(String, Vec<u8>)> = layers.iter().map(|layer| (blob(layer), layer.clone())).collect();
        files.extend([
            (blob(&config()), config()),
            (blob(manifest.as_bytes()), manifest.into_bytes()),
            (blob(index.as_bytes()), index.into_bytes()),
            ("index.json".to_owned(), top.into_bytes()),
            ("oci-layout".to_owned(), b"{}".to_vec()),
        ]);
        files
    }

    fn docker_archive() -> Vec<(String, Vec<u8>)> {
        let [one, other] = layers();
        let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["1/layer.tar", "2/layer.tar"]}]);
        vec![
            ("1/VERSION".to_owned(), b"1.0".to_vec()),
            ("1/layer.tar".to_owned(), one),
            ("2/layer.tar".to_owned(), other),
            ("c.json".to_owned(), config()),
            ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
        ]
    }

    fn spooled(archive: &[u8]) -> Result<SavedImage, SavedError> {
        let new_file = || NamedTempFile::new().map_err(LayerError::Write);
        SavedImage::spool(&mut &archive[..], &new_file)
    }

    /// Whatever engines save, in whatever order it comes.
    #[test]
    fn all_forms_have_the_same_image() {
        let [one, other] = layers();
        let mut turned = layout(&[zstd(&one), zstd(&other)]);
        turned.reverse();
        let mut both = layout(&[one.clone(), other.clone()]);
        both.extend(docker_archive());
        for (form, files) in [
            ("docker-archive", docker_archive()),
            ("layout with a docker-archive's manifest", both),
            ("layout", layout(&[one.clone(), other.clone()])),
            ("gzip", layout(&[gzip(&one), gzip(&other)])),
            ("zstd", turned),
        ] {
            let archive = tar(&files);
            let image = spooled(&archive).unwrap();
            assert_eq!(image.config, config(), "{form}");
            assert_eq!(
                image.diff_ids().unwrap(),
                layers().map(|layer| Digest::of(&layer)),
                "{form}"
            );
            for layer in layers() {
                let mut content = Vec::new();
                let mut file = image.open(Digest::of(&layer)).unwrap();
                file.read_to_end(&mut content).unwrap();
                assert_eq!(content, layer, "{form}");
            }
            assert_eq!(SavedImage::config(&mut &archive[..]).unwrap(), config(), "{form}");
        }
    }

    #[test]
    fn what_is_missing_or_damaged_is_told() {
        let without = |ends: &str| {
            let mut files = docker_archive();
            files.retain(|(path, _)| !path.ends_with(ends));
            tar(&files)
        };
        for (archive, words) in [
            (without("manifest.json"), "it lacks index.json"),
            (without("c.json"), "it lacks c.json"),
            (
                tar(&[("manifest.json".to_owned(), b"[]".to_vec())]),
                "it lacks any image",
            ),
            (
                tar(&[("manifest.json".to_owned(), b"{".to_vec())]),
                "failed to understand manifest.json",
            ),
        ] {
            let error = spooled(&archive).err().unwrap();
            assert!(error.to_string().contains(words), "{error}");
        }
        let image = spooled(&without("2/layer.tar")).unwrap();
        let error = image.open(Digest::of(&layers()[1])).unwrap_err();
        assert!(error.to_string().starts_with("it lacks the layer sha256:"), "{error}");
        let whole = tar(&docker_archive());
        assert!(spooled(&whole[..whole.len() / 2]).is_err());
    }
}
