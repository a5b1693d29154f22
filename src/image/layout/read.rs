//! Reading a layout as a stream: nothing in it is believed that its digest does not prove.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use super::super::LayerError;
use super::super::entry::EntryKind;
use super::super::read::read_tar;
use super::super::saved::{DOCUMENT_LIMIT_BYTES, NewFile, diff_ids_of, spool};
use super::{INDEX_FILE, Index, LAYOUT_FILE, LAYOUT_VERSION, LayoutMark, Manifest, NAME_ANNOTATION, blob_path};
use crate::digest::Digest;

/// How many blobs a layout may have.
const BLOBS_LIMIT_COUNT: usize = 16_384;
/// How large all documents may be together.
const DOCUMENTS_LIMIT_BYTES: u64 = 256 * 1024 * 1024;
/// What every document begins with, and no tar.
const DOCUMENT_START: u8 = b'{';

/// Why something is no layout that can be read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// It cannot be read, or what is in it cannot be kept.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// It is something else.
    #[error("it is no OCI image layout")]
    NoLayout,
    /// A blob is another one.
    #[error("{name} is not what its name says")]
    Damaged {
        /// Its name.
        name: String,
    },
    /// It names a blob that is not there.
    #[error("it lacks {name}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A description is not what it should be.
    #[error("failed to understand {name}: {cause}")]
    Malformed {
        /// Its name.
        name: String,
        /// Why.
        cause: String,
    },
    /// There is more in it than a layout needs.
    #[error("it has more than {limit} {what}")]
    TooMuch {
        /// The limit.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
}

/// What is in a layout.
#[derive(Debug)]
pub struct FoundLayout {
    /// What it names, in its order.
    pub items: Vec<FoundItem>,
    /// Layers and other files, by their digests.
    pub files: BTreeMap<Digest, NamedTempFile>,
}

/// Something in a layout.
#[derive(Debug)]
pub enum FoundItem {
    /// An image, whose layers are among the files.
    Image {
        /// What it is called there.
        name: String,
        /// Its config's text.
        config: Vec<u8>,
        /// The digests of its layers' tars, lowest first.
        layers: Vec<Digest>,
    },
    /// A file of another kind.
    File {
        /// What it is called there.
        name: String,
        /// Its kind, as a media type.
        media_type: String,
        /// Its digest.
        digest: Digest,
    },
}

/// Reads a layout; its files go into new ones.
///
/// # Errors
/// [`LayoutError`].
pub fn read_layout(reader: &mut dyn Read, new_file: &NewFile<'_>) -> Result<FoundLayout, LayoutError> {
    let mut blobs = Blobs::default();
    let mut failure = None;
    let read = read_tar(reader, &mut |entry, content| {
        if let (EntryKind::File { .. }, Ok(path)) = (entry.kind, String::from_utf8(entry.path))
            && let Err(error) = blobs.take(&path, content, new_file)
        {
            failure = Some(error);
            return Err(LayerError::Read(io::ErrorKind::InvalidData.into()));
        }
        Ok(())
    });
    if let Some(error) = failure {
        return Err(error);
    }
    if let Err(error) = read {
        // What is no tar at all is no layout.
        return Err(match blobs.documents.is_empty() && blobs.files.is_empty() {
            true => LayoutError::NoLayout,
            false => error.into(),
        });
    }
    let items = blobs.items()?;
    Ok(FoundLayout {
        items,
        files: blobs.files,
    })
}

#[derive(Default)]
struct Blobs {
    documents: BTreeMap<String, Vec<u8>>,
    documents_bytes: u64,
    files: BTreeMap<Digest, NamedTempFile>,
}

impl Blobs {
    fn take(&mut self, path: &str, content: &mut dyn Read, new_file: &NewFile<'_>) -> Result<(), LayoutError> {
        let mut head = [0; 1];
        let count = content.read(&mut head).map_err(LayerError::Read)?;
        let whole = Cursor::new(head[..count].to_vec()).chain(content);
        if head[0] == DOCUMENT_START {
            return self.take_document(path, whole);
        }
        if self.files.len() == BLOBS_LIMIT_COUNT {
            return Err(too_much(BLOBS_LIMIT_COUNT as u64, "blobs"));
        }
        let mut whole = whole;
        let (digest, file) = spool(&mut whole, new_file()?)?;
        if path != blob_path(digest) {
            return Err(LayoutError::Damaged { name: path.to_owned() });
        }
        self.files.insert(digest, file);
        Ok(())
    }

    fn take_document(&mut self, path: &str, content: impl Read) -> Result<(), LayoutError> {
        let mut text = Vec::new();
        let mut limited = content.take(DOCUMENT_LIMIT_BYTES + 1);
        limited.read_to_end(&mut text).map_err(LayerError::Read)?;
        self.documents_bytes += text.len() as u64;
        if text.len() as u64 > DOCUMENT_LIMIT_BYTES {
            return Err(too_much(DOCUMENT_LIMIT_BYTES, "bytes in a document"));
        }
        if self.documents_bytes > DOCUMENTS_LIMIT_BYTES {
            return Err(too_much(DOCUMENTS_LIMIT_BYTES, "bytes of documents"));
        }
        let is_named_by_digest = ![LAYOUT_FILE, INDEX_FILE].contains(&path);
        if is_named_by_digest && path != blob_path(Digest::of(&text)) {
            return Err(LayoutError::Damaged { name: path.to_owned() });
        }
        self.documents.insert(path.to_owned(), text);
        Ok(())
    }

    fn document(&self, path: &str) -> Result<&[u8], LayoutError> {
        let text = self.documents.get(path).map(Vec::as_slice);
        text.ok_or_else(|| LayoutError::Missing { name: path.to_owned() })
    }

    fn parsed<T: DeserializeOwned>(&self, path: &str) -> Result<T, LayoutError> {
        serde_json::from_slice(self.document(path)?).map_err(|error| malformed(path, &error))
    }

    fn items(&self) -> Result<Vec<FoundItem>, LayoutError> {
        let mark: LayoutMark = self.parsed(LAYOUT_FILE).map_err(|_| LayoutError::NoLayout)?;
        if mark.image_layout_version != LAYOUT_VERSION {
            return Err(LayoutError::NoLayout);
        }
        let index: Index = self.parsed(INDEX_FILE)?;
        if index.manifests.len() > BLOBS_LIMIT_COUNT {
            return Err(too_much(BLOBS_LIMIT_COUNT as u64, "manifests"));
        }
        let items = index.manifests.into_iter().map(|descriptor| {
            let annotations = descriptor.annotations.unwrap_or_default();
            let name = annotations.get(NAME_ANNOTATION).cloned().unwrap_or_default();
            self.item(name, descriptor.digest)
        });
        items.collect()
    }

    fn item(&self, name: String, digest: Digest) -> Result<FoundItem, LayoutError> {
        let manifest: Manifest = self.parsed(&blob_path(digest))?;
        let layers: Vec<Digest> = manifest.layers.iter().map(|layer| layer.digest).collect();
        if let Some(missing) = layers.iter().find(|digest| !self.files.contains_key(digest)) {
            return Err(LayoutError::Missing {
                name: blob_path(*missing),
            });
        }
        if let Some(media_type) = manifest.artifact_type {
            return match layers[..] {
                [digest] => Ok(FoundItem::File {
                    name,
                    media_type,
                    digest,
                }),
                _ => Err(too_much(1, "files in an artifact")),
            };
        }
        let path = blob_path(manifest.config.digest);
        let config = self.document(&path)?;
        let diff_ids = diff_ids_of(config).map_err(|error| malformed(&path, &error))?;
        if diff_ids != layers {
            return Err(LayoutError::Malformed {
                name: path,
                cause: "its layers are not those of the manifest, which are to be plain tars".to_owned(),
            });
        }
        Ok(FoundItem::Image {
            name,
            config: config.to_vec(),
            layers,
        })
    }
}

fn malformed(path: &str, error: &serde_json::Error) -> LayoutError {
    LayoutError::Malformed {
        name: path.to_owned(),
        cause: error.to_string(),
    }
}

fn too_much(limit: u64, what: &'static str) -> LayoutError {
    LayoutError::TooMuch { limit, what }
}
