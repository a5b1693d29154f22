//! All that is in a root file system or an image, with what is said of each entry: what is compared with another one.
//!
//! Of files their place alone is known, and content is read when it is asked for. What can be read only once is put into
//! files of this machine before, as tars; nothing is unpacked.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::archive::is_saved_image;
use super::layer::LayerReader;
use super::map::map_file;
use super::open::indexed;
use super::{DirectoryRoot, RootFs, RootFsError};
use crate::digest::Digest;
use crate::image::{
    Change, DOCUMENT_LIMIT_BYTES, Entry, EntryKind, Form, LayerError, NewFile, Node, SNIFFED_BYTES, SavedError,
    SavedImage, Tree, read_tar_in_place, split_path, spool,
};
use crate::regular_file;

/// How many entries a root may be made of, all layers together.
pub(super) const ENTRIES_LIMIT_COUNT: u64 = 2_000_000;

/// Where a file's content is; the same for all names of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which layer has it; in a directory, the device's number.
    pub(super) layer: u64,
    /// Where it begins in the layer; in a directory, the file's number.
    pub(super) start: u64,
    /// Its length.
    pub size_bytes: u64,
}

/// A root file system or an image.
#[derive(Debug)]
pub struct Contents {
    /// An image's config, as text.
    pub config: Option<Vec<u8>>,
    tree: Tree<Place>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Directory(Box<DirectoryRoot>),
    /// Tars, lowest first, each with its digest where that is known.
    Layers(Vec<(File, Option<Digest>)>),
}

/// Opens a directory, a tar or a saved image. `what` is what messages call it, `new_file` makes files for what is compressed or
/// saved.
///
/// # Errors
/// [`RootFsError`].
pub fn open_contents(path: &Path, what: &str, new_file: &NewFile<'_>) -> Result<Contents, RootFsError> {
    let failed = |cause: io::Error| RootFsError::Read {
        what: what.to_owned(),
        cause,
    };
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        let directory = DirectoryRoot::open(path).map_err(failed)?;
        if is_saved_image(&directory) {
            return gathered(&directory, new_file).map_err(RootFsError::saved(what));
        }
        return Contents::of_directory(directory).map_err(failed);
    }
    let mut file = regular_file::open(path).map_err(failed)?;
    let mut head = Vec::new();
    let start = regular_file::open(path).map_err(failed)?;
    start.take(SNIFFED_BYTES).read_to_end(&mut head).map_err(failed)?;
    let form = Form::of(&head);
    let no_tar = |cause: LayerError| RootFsError::NoTar {
        what: what.to_owned(),
        cause: (form == Form::Tar || form.is_compressed()).then_some(cause),
    };
    if form.is_compressed() {
        let unpacked = new_file().and_then(|to| spool(&mut *form.unpacked(file), to));
        let (_, unpacked) = unpacked.map_err(no_tar)?;
        file = regular_file::open_itself(unpacked.path()).map_err(failed)?;
    }
    let map = map_file(&file).map_err(failed)?;
    if map.is_empty() {
        return Err(no_tar(LayerError::Read(io::ErrorKind::UnexpectedEof.into())));
    }
    let layer = LayerReader::default().in_place(&map);
    let root = layer.and_then(|layer| indexed(&layer)).map_err(no_tar)?;
    if is_saved_image(&root) {
        let saved = SavedImage::spool(&mut BufReader::new(file), new_file);
        return saved.and_then(Contents::of_image).map_err(RootFsError::saved(what));
    }
    let mut contents = Contents::empty(None);
    contents
        .stack(file, None, Change::of_root())
        .map(|()| contents.with_all_directories())
        .map_err(no_tar)
}

/// An image as an engine streams it.
///
/// # Errors
/// [`RootFsError`].
pub fn read_image_contents(reader: &mut dyn Read, what: &str, new_file: &NewFile<'_>) -> Result<Contents, RootFsError> {
    let saved = SavedImage::spool(reader, new_file);
    saved.and_then(Contents::of_image).map_err(RootFsError::saved(what))
}

/// An image by its layers, lowest first: tars on this machine. Of its config nothing is known.
///
/// # Errors
/// [`RootFsError`].
pub fn open_layer_contents(layers: &[(Digest, PathBuf)], what: &str) -> Result<Contents, RootFsError> {
    let mut contents = Contents::empty(None);
    for (digest, path) in layers {
        let opened = regular_file::open_itself(path).map_err(LayerError::Read);
        let stacked = opened.and_then(|file| contents.stack(file, Some(*digest), Change::default()));
        stacked.map_err(|cause| RootFsError::saved(what)(cause.into()))?;
    }
    Ok(contents.with_all_directories())
}

/// An image whose parts are files in a directory.
fn gathered(directory: &DirectoryRoot, new_file: &NewFile<'_>) -> Result<Contents, SavedError> {
    let mut documents = |name: &str| {
        let found = directory.look(&format!("/{name}")).ok()?;
        directory.bytes(&found, DOCUMENT_LIMIT_BYTES)
    };
    let layer = |name: &str| {
        let found = directory.look(&format!("/{name}"));
        let found = found.map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        open_file(directory, found.path.as_bytes())
    };
    SavedImage::gather(&mut documents, &layer, new_file).and_then(Contents::of_image)
}

impl Contents {
    fn empty(config: Option<Vec<u8>>) -> Self {
        Self {
            config,
            tree: Tree::default(),
            source: Source::Layers(Vec::new()),
        }
    }

    /// An image whose layers are in files, which need not stay.
    ///
    /// # Errors
    /// [`SavedError`].
    pub fn of_image(saved: SavedImage) -> Result<Self, SavedError> {
        let diff_ids = saved.diff_ids()?;
        let mut contents = Self::empty(None);
        for diff_id in diff_ids {
            contents.stack(saved.open(diff_id)?, Some(diff_id), Change::default())?;
        }
        contents.config = Some(saved.config);
        Ok(contents.with_all_directories())
    }

    fn of_directory(directory: DirectoryRoot) -> io::Result<Self> {
        Ok(Self {
            config: None,
            tree: directory.listing()?,
            source: Source::Directory(Box::new(directory)),
        })
    }

    /// Puts a tar on top.
    fn stack(&mut self, file: File, digest: Option<Digest>, mut change: Change<Place>) -> Result<(), LayerError> {
        let Source::Layers(layers) = &mut self.source else {
            return Ok(());
        };
        let (layer, mut count) = (layers.len() as u64, self.tree.len() as u64);
        read_tar_in_place(BufReader::new(&file), &mut |entry, start, _| {
            count += 1;
            if count > ENTRIES_LIMIT_COUNT {
                return Err(LayerError::TooMany {
                    limit: ENTRIES_LIMIT_COUNT,
                });
            }
            let size_bytes = entry.size_bytes();
            let place = Place {
                layer,
                start,
                size_bytes,
            };
            change.add(entry, place);
            Ok(())
        })?;
        self.tree.change(change, |_, target| *target);
        layers.push((file, digest));
        Ok(())
    }

    /// The same with the directories that no entry names: whoever unpacks makes them.
    fn with_all_directories(mut self) -> Self {
        let mut missing: Vec<Vec<u8>> = Vec::new();
        for (path, _) in self.tree.iter() {
            let mut directory = split_path(path).0;
            while !directory.is_empty()
                && self.tree.get(directory).is_none()
                && missing.last().map(Vec::as_slice) != Some(directory)
            {
                missing.push(directory.to_vec());
                directory = split_path(directory).0;
            }
        }
        for path in missing {
            self.tree.insert(Node {
                entry: Entry {
                    path,
                    ..Entry::directory("", 0)
                },
                content: Place::default(),
            });
        }
        self
    }

    /// All paths with what is there, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node<Place>)> {
        self.tree.iter()
    }

    /// What is at a path, which leads through no link.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Node<Place>> {
        self.tree.get(path)
    }

    /// The path with no link before its last part.
    #[must_use]
    pub fn placed(&self, path: &[u8]) -> Vec<u8> {
        self.tree.placed(path)
    }

    /// The content of what is at a path; of what is no file, nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(&self, path: &[u8]) -> io::Result<Box<dyn Read + '_>> {
        let node = self.tree.get(path);
        let is_file = |node: &&Node<Place>| matches!(node.entry.kind, EntryKind::File { .. } | EntryKind::Hardlink(_));
        let Some(place) = node.filter(is_file).map(|node| node.content) else {
            return Ok(Box::new(io::empty()));
        };
        match &self.source {
            Source::Directory(directory) => Ok(Box::new(open_file(directory, path)?)),
            Source::Layers(layers) => {
                let layer = usize::try_from(place.layer).ok().and_then(|layer| layers.get(layer));
                Ok(Box::new(Part {
                    file: &layer.ok_or(io::ErrorKind::NotFound)?.0,
                    at: place.start,
                    left: place.size_bytes,
                }))
            }
        }
    }

    /// Whether a file is known to have the same content as one of another root, because it is in the same layer.
    #[must_use]
    pub fn is_same_place(&self, place: Place, other: &Self, other_place: Place) -> bool {
        let layer = self.layer_digest(place);
        layer.is_some() && layer == other.layer_digest(other_place) && place.start == other_place.start
    }

    fn layer_digest(&self, place: Place) -> Option<Digest> {
        match &self.source {
            Source::Directory(_) => None,
            Source::Layers(layers) => layers.get(usize::try_from(place.layer).ok()?)?.1,
        }
    }

    /// The content of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it is larger, or cannot be read.
    pub fn read(&self, path: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }
}

fn open_file(directory: &DirectoryRoot, path: &[u8]) -> io::Result<File> {
    // Opening a pipe that somebody has put there would wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(directory.open_at_once(path, flags)?.into())
}

/// A part of a file.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
