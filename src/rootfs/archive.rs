//! An image that was saved: a docker-archive (image specification 1.2: `manifest.json`) or an OCI image layout
//! (`index.json`), as a directory, as a tar in a map, or as a stream that is read once.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::index::Index;
use super::layer::{Layer, LayerReader};
use super::{FileKind, IndexedRoot, ProcessDefaults, RootFs, RootFsError};
use crate::image::{
    DOCUMENT_LIMIT_BYTES, Entry, EntryKind, Form, LayerError, SNIFFED_BYTES, SavedError, clean_path, image_parts,
    read_tar,
};

/// How large all documents of a stream may be together.
const DOCUMENTS_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How many parts a saved image may have: a few for each layer.
const PARTS_LIMIT_COUNT: usize = 4096;
/// How many links may lead from one to the next.
const LINK_DEPTH_LIMIT_COUNT: usize = 8;

/// Whether a path in a tar is one of those that saved images have, and no root has: the first one tells.
pub(super) fn is_part_of_an_image(path: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [b"blobs", b"oci-layout", b"repositories"];
    const SUFFIXES: [&[u8]; 4] = [b".json", b".tar", b".tar.gz", b".tgz"];
    let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    let is_digest = first.len() == 64 && first.iter().all(u8::is_ascii_hexdigit);
    is_digest
        || first.starts_with(b"sha256:")
        || NAMES.contains(&first)
        || SUFFIXES.iter().any(|suffix| first.ends_with(suffix))
}

/// Whether a root is in truth a saved image.
pub(super) fn is_saved_image(root: &dyn RootFs) -> bool {
    let is_there = |path: &str| root.look(path).is_ok_and(|found| found.kind == FileKind::File);
    // A root may have a file of this name, but then it has other things too.
    let is_docker_archive = || {
        is_there("/manifest.json")
            && root
                .list("/")
                .iter()
                .all(|path| is_part_of_an_image(&path.as_bytes()[1..]))
    };
    (is_there("/index.json") && is_there("/oci-layout")) || is_docker_archive()
}

/// The parts of a saved image, by name.
trait Parts {
    /// A document; none if it is not there or too large.
    fn document(&mut self, name: &str) -> Option<Bytes>;
    /// A layer; none if it is not there.
    fn layer(&mut self, name: &str) -> Option<Result<Arc<Layer>, LayerError>>;
}

/// The root file system of an image whose parts are the files of a root: an OCI layout's directory, or a tar in a map.
pub(super) fn read_saved(what: &str, files: &dyn RootFs) -> Result<IndexedRoot, RootFsError> {
    /// Parts that can be asked for in any order.
    struct Files<'a> {
        files: &'a dyn RootFs,
        reader: LayerReader,
    }

    impl Parts for Files<'_> {
        fn document(&mut self, name: &str) -> Option<Bytes> {
            self.files
                .bytes(&self.files.look(&format!("/{name}")).ok()?, DOCUMENT_LIMIT_BYTES)
        }

        fn layer(&mut self, name: &str) -> Option<Result<Arc<Layer>, LayerError>> {
            // However large, it is only mapped.
            let bytes = self
                .files
                .bytes(&self.files.look(&format!("/{name}")).ok()?, u64::MAX)?;
            let layer = match Form::of_bytes(&bytes) {
                form if form.is_compressed() => self.reader.stream(form.unpacked(&bytes[..])),
                _ => self.reader.in_place(&bytes),
            };
            Some(layer.map(Arc::new))
        }
    }

    let mut parts = Files {
        files,
        reader: LayerReader::of_layers(),
    };
    read_image(what, &mut parts)
}

/// The root file system of an image that comes as a stream, whose parts come in any order.
pub(super) fn read_streamed(what: &str, reader: impl Read) -> Result<IndexedRoot, RootFsError> {
    let mut parts = StreamedParts::default();
    let read = read_tar(reader, &mut |entry, content| parts.add(entry, content));
    read.map_err(|cause| match cause {
        LayerError::Read(cause) => RootFsError::Read {
            what: what.to_owned(),
            cause,
        },
        cause => RootFsError::NoTar {
            what: what.to_owned(),
            cause: Some(cause),
        },
    })?;
    read_image(what, &mut parts)
}

/// The parts of a stream, each read when it came by.
#[derive(Debug)]
pub(super) struct StreamedParts {
    reader: LayerReader,
    parts: BTreeMap<String, Part>,
    document_bytes: u64,
}

#[derive(Debug)]
enum Part {
    Document(Bytes),
    Layer(Result<Arc<Layer>, LayerError>),
    /// Engines save a layer that two images share once, and link to it.
    Link(String),
}

impl Default for StreamedParts {
    fn default() -> Self {
        Self {
            reader: LayerReader::of_layers(),
            parts: BTreeMap::new(),
            document_bytes: 0,
        }
    }
}

impl StreamedParts {
    /// Takes the next part.
    pub(super) fn add(&mut self, entry: Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        if self.parts.len() >= PARTS_LIMIT_COUNT {
            return Err(LayerError::TooMany {
                limit: PARTS_LIMIT_COUNT as u64,
            });
        }
        let size_bytes = entry.size_bytes();
        let Ok(path) = String::from_utf8(entry.path) else {
            return Ok(());
        };
        let part = match entry.kind {
            EntryKind::File { .. } => self.part(size_bytes, content)?,
            EntryKind::Symlink(target) => linked(&path, &target).map(Part::Link),
            EntryKind::Hardlink(target) => String::from_utf8(target).ok().map(Part::Link),
            _ => None,
        };
        if let Some(part) = part {
            self.parts.insert(path, part);
        }
        Ok(())
    }

    fn part(&mut self, size_bytes: u64, content: &mut dyn Read) -> Result<Option<Part>, LayerError> {
        let mut head = Vec::new();
        (&mut *content)
            .take(SNIFFED_BYTES)
            .read_to_end(&mut head)
            .map_err(LayerError::Read)?;
        let form = Form::of(&head);
        let mut whole = Cursor::new(head).chain(content);
        Ok(match form {
            Form::Tar | Form::Gzip | Form::Zstd => {
                let layer = self.reader.stream(form.unpacked(whole));
                Some(Part::Layer(layer.map(Arc::new)))
            }
            Form::Document if size_bytes <= DOCUMENT_LIMIT_BYTES => {
                self.document_bytes += size_bytes;
                if self.document_bytes > DOCUMENTS_LIMIT_BYTES {
                    return Err(LayerError::Read(io::ErrorKind::FileTooLarge.into()));
                }
                let mut document = Vec::new();
                whole.read_to_end(&mut document).map_err(LayerError::Read)?;
                Some(Part::Document(document.into()))
            }
            Form::Document | Form::Other => None,
        })
    }

    fn name(&self, name: &str) -> Option<String> {
        let mut name = String::from_utf8(clean_path(name.as_bytes())?).ok()?;
        for _ in 0..LINK_DEPTH_LIMIT_COUNT {
            match self.parts.get(&name)? {
                Part::Link(target) => name.clone_from(target),
                _ => return Some(name),
            }
        }
        None
    }

    /// The image that these are the parts of.
    pub(super) fn image(mut self, what: &str) -> Result<IndexedRoot, RootFsError> {
        read_image(what, &mut self)
    }
}

impl Parts for StreamedParts {
    fn document(&mut self, name: &str) -> Option<Bytes> {
        match self.parts.get(&self.name(name)?)? {
            Part::Document(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    fn layer(&mut self, name: &str) -> Option<Result<Arc<Layer>, LayerError>> {
        let name = self.name(name)?;
        match self.parts.get(&name)? {
            Part::Layer(Ok(layer)) => Some(Ok(Arc::clone(layer))),
            Part::Layer(Err(_)) => match self.parts.remove(&name) {
                Some(Part::Layer(failed)) => Some(failed),
                _ => None,
            },
            Part::Document(_) | Part::Link(_) => None,
        }
    }
}

/// Where a link in a saved image leads; none for outside of it.
fn linked(path: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[derive(Deserialize)]
struct Config {
    config: Option<Defaults>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Defaults {
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
}

fn read_image(what: &str, parts: &mut dyn Parts) -> Result<IndexedRoot, RootFsError> {
    let image = image_parts(&mut |name| parts.document(name)).map_err(RootFsError::saved(what))?;
    let config = parts.document(&image.config);
    let config = config.ok_or_else(|| missing(what, &image.config))?;
    let config: Config = serde_json::from_slice(&config).map_err(|cause| RootFsError::Malformed {
        what: what.to_owned(),
        part: image.config.clone(),
        cause: cause.to_string(),
    })?;
    let defaults = process_defaults(config.config.unwrap_or_default());
    let mut index = Index::default();
    for name in &image.layers {
        let failed = |cause: LayerError| RootFsError::Layer {
            what: what.to_owned(),
            layer: name.clone(),
            cause,
        };
        let layer = match parts.layer(name) {
            Some(Ok(layer)) => layer,
            Some(Err(cause)) => return Err(failed(cause)),
            None => return Err(missing(what, name)),
        };
        index.apply(&layer).map_err(failed)?;
    }
    Ok(IndexedRoot::new(index, defaults))
}

fn process_defaults(config: Defaults) -> ProcessDefaults {
    let variables = config.env.unwrap_or_default();
    let variables = variables.iter().filter_map(|line| line.split_once('='));
    ProcessDefaults {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        user: Some(config.user.unwrap_or_default()),
        directory: config.working_dir.filter(|directory| directory.starts_with('/')),
    }
}

fn missing(what: &str, part: &str) -> RootFsError {
    RootFsError::saved(what)(SavedError::Missing { part: part.to_owned() })
}
