//! An image that was saved: a docker-archive (image specification 1.2: `manifest.json`) or an OCI image layout
//! (`index.json`), as a directory, as a tar in a map, or as a stream that is read once.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::index::Index;
use super::layer::{Layer, LayerReader};
use super::{FileKind, IndexedRoot, ProcessDefaults, RootFs, RootFsError};
use crate::image::{Entry, EntryKind, LayerError, clean_path, read_tar};
use crate::platform::architecture;

/// The largest manifest, index or config.
const DOCUMENT_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// How large all documents of a stream may be together.
const DOCUMENTS_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How many parts a saved image may have: a few for each layer.
const PARTS_LIMIT_COUNT: usize = 4096;
/// How many layers an image may have; engines allow 127.
const LAYERS_LIMIT_COUNT: usize = 1024;
/// How deep indexes may name indexes, and links lead to links.
const DEPTH_LIMIT_COUNT: usize = 8;
/// How much of a part tells what it is: the first block of a tar.
const SNIFFED_BYTES: u64 = 512;
/// Where a tar says so, and what (POSIX ustar; GNU's differs behind it).
const USTAR: (usize, &[u8]) = (257, b"ustar");
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What bytes are, by how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Gzip,
    Zstd,
    Tar,
    /// JSON, as far as can be seen.
    Document,
    Other,
}

impl Form {
    pub(super) fn of(head: &[u8]) -> Self {
        let is_tar = |head: &[u8]| head.get(USTAR.0..USTAR.0 + USTAR.1.len()) == Some(USTAR.1);
        // A tar without entries is nothing but zeros.
        let is_empty_tar = |head: &[u8]| head.len() as u64 == SNIFFED_BYTES && head.iter().all(|byte| *byte == 0);
        match head {
            head if head.starts_with(GZIP_MAGIC) => Self::Gzip,
            head if head.starts_with(ZSTD_MAGIC) => Self::Zstd,
            head if is_tar(head) || is_empty_tar(head) => Self::Tar,
            [b'{' | b'[', ..] => Self::Document,
            _ => Self::Other,
        }
    }

    /// Of a map.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let limit = usize::try_from(SNIFFED_BYTES).unwrap_or(usize::MAX);
        Self::of(&bytes[..bytes.len().min(limit)])
    }
}

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
    fn layer(&mut self, name: &str) -> Option<Result<Arc<Layer>, PartError>>;
}

/// Why a part is no layer.
#[derive(Debug)]
enum PartError {
    Compressed(&'static str),
    Layer(LayerError),
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

        fn layer(&mut self, name: &str) -> Option<Result<Arc<Layer>, PartError>> {
            // However large, it is only mapped.
            let bytes = self
                .files
                .bytes(&self.files.look(&format!("/{name}")).ok()?, u64::MAX)?;
            let layer = match Form::of_bytes(&bytes) {
                Form::Gzip => self.reader.stream(MultiGzDecoder::new(&bytes[..])),
                Form::Zstd => return Some(Err(PartError::Compressed("zstd"))),
                _ => self.reader.in_place(&bytes),
            };
            Some(layer.map(Arc::new).map_err(PartError::Layer))
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
    Layer(Result<Arc<Layer>, PartError>),
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
        let layer = |read: Result<Layer, LayerError>| Part::Layer(read.map(Arc::new).map_err(PartError::Layer));
        let mut whole = Cursor::new(head).chain(content);
        Ok(match form {
            Form::Tar => Some(layer(self.reader.stream(whole))),
            Form::Gzip => Some(layer(self.reader.stream(MultiGzDecoder::new(whole)))),
            Form::Zstd => Some(Part::Layer(Err(PartError::Compressed("zstd")))),
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
        for _ in 0..DEPTH_LIMIT_COUNT {
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

    fn layer(&mut self, name: &str) -> Option<Result<Arc<Layer>, PartError>> {
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

/// One image of a docker-archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What an OCI index or manifest says of another document or a layer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
    variant: Option<String>,
}

/// An OCI index, or a manifest: which one it is tells what it has.
#[derive(Deserialize)]
struct OciDocument {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
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
    let (config, layers) = if parts.document("manifest.json").is_some() {
        saved_image(what, parts)?
    } else {
        oci_image(what, parts, "index.json", 0)?
    };
    let defaults = document::<Config>(what, parts, &config)?.config;
    let defaults = process_defaults(defaults.unwrap_or_default());
    if layers.len() > LAYERS_LIMIT_COUNT {
        return Err(RootFsError::Malformed {
            what: what.to_owned(),
            part: "the manifest".to_owned(),
            cause: format!("more than {LAYERS_LIMIT_COUNT} layers"),
        });
    }
    let mut index = Index::default();
    for name in &layers {
        let failed = |cause: LayerError| RootFsError::Layer {
            what: what.to_owned(),
            layer: name.clone(),
            cause,
        };
        let layer = match parts.layer(name) {
            Some(Ok(layer)) => layer,
            Some(Err(PartError::Layer(cause))) => return Err(failed(cause)),
            Some(Err(PartError::Compressed(how))) => {
                return Err(RootFsError::Compressed {
                    what: format!("the layer {name} of {what}"),
                    how,
                });
            }
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

/// The config and the layers of the one image of a docker-archive.
fn saved_image(what: &str, parts: &mut dyn Parts) -> Result<(String, Vec<String>), RootFsError> {
    let mut images: Vec<SavedImage> = document(what, parts, "manifest.json")?;
    match (images.pop(), images.is_empty()) {
        (None, _) => Err(missing(what, "any image")),
        (Some(image), true) => Ok((image.config, image.layers)),
        (Some(last), false) => {
            images.push(last);
            let names = images.into_iter().map(|image| match image.repo_tags {
                Some(tags) if !tags.is_empty() => tags.join(" "),
                _ => image.config,
            });
            Err(RootFsError::Several {
                what: what.to_owned(),
                names: names.collect(),
            })
        }
    }
}

/// The config and the layers of an OCI layout's image, for this machine where there are several.
fn oci_image(
    what: &str,
    parts: &mut dyn Parts,
    name: &str,
    depth: usize,
) -> Result<(String, Vec<String>), RootFsError> {
    let found: OciDocument = document(what, parts, name)?;
    if let (Some(config), Some(layers)) = (&found.config, &found.layers) {
        let layers = layers.iter().map(|layer| blob(what, layer)).collect::<Result<_, _>>()?;
        return Ok((blob(what, config)?, layers));
    }
    let malformed = |cause: &str| RootFsError::Malformed {
        what: what.to_owned(),
        part: name.to_owned(),
        cause: cause.to_owned(),
    };
    if depth == DEPTH_LIMIT_COUNT {
        return Err(malformed("indexes lead to indexes without end"));
    }
    let manifests = found
        .manifests
        .ok_or_else(|| malformed("it is neither an index nor a manifest"))?;
    // Builders put statements about an image beside it, for no platform.
    let mut images: Vec<&Descriptor> = manifests
        .iter()
        .filter(|image| image.platform.as_ref().is_none_or(|platform| platform.os != "unknown"))
        .collect();
    if images.len() > 1 {
        let of_this_machine: Vec<&Descriptor> = images
            .iter()
            .filter(|image| is_of_this_machine(image))
            .copied()
            .collect();
        if of_this_machine.len() == 1 {
            images = of_this_machine;
        }
    }
    match images[..] {
        [] => Err(missing(what, "any image")),
        [image] => oci_image(what, parts, &blob(what, image)?, depth + 1),
        _ => Err(RootFsError::Several {
            what: what.to_owned(),
            names: images.into_iter().map(shown).collect(),
        }),
    }
}

fn is_of_this_machine(image: &Descriptor) -> bool {
    let platform = image.platform.as_ref();
    platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture())
}

fn shown(image: &Descriptor) -> String {
    match &image.platform {
        Some(Platform {
            architecture,
            os,
            variant: Some(variant),
        }) => format!("{os}/{architecture}/{variant}"),
        Some(Platform {
            architecture,
            os,
            variant: None,
        }) => format!("{os}/{architecture}"),
        None => image.digest.clone(),
    }
}

/// Where a layout has what a digest names.
fn blob(what: &str, descriptor: &Descriptor) -> Result<String, RootFsError> {
    let digest = descriptor.digest.split_once(':');
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match digest {
        Some((kind, value)) if is_plain(kind) && is_plain(value) => Ok(format!("blobs/{kind}/{value}")),
        _ => Err(RootFsError::Malformed {
            what: what.to_owned(),
            part: "a digest".to_owned(),
            cause: format!("`{}` is none", descriptor.digest),
        }),
    }
}

fn document<T: DeserializeOwned>(what: &str, parts: &mut dyn Parts, name: &str) -> Result<T, RootFsError> {
    let bytes = parts.document(name).ok_or_else(|| missing(what, name))?;
    serde_json::from_slice(&bytes).map_err(|cause| RootFsError::Malformed {
        what: what.to_owned(),
        part: name.to_owned(),
        cause: cause.to_string(),
    })
}

fn missing(what: &str, part: &str) -> RootFsError {
    RootFsError::Missing {
        what: what.to_owned(),
        part: part.to_owned(),
    }
}
