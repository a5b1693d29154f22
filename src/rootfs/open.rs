//! Looks at what was given, and takes it as what it is.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::archive::{StreamedParts, is_part_of_an_image, is_saved_image, read_saved, read_streamed};
use super::index::Index;
use super::layer::{Layer, LayerReader};
use super::map::map_file;
use super::{DirectoryRoot, IndexedRoot, ProcessDefaults, RootFs, RootFsError};
use crate::image::{Form, LayerError, read_root_tar};
use crate::regular_file;

/// Opens a directory, a tar or a saved image. `what` is what messages call it.
///
/// # Errors
/// [`RootFsError`].
pub fn open_root(path: &Path, what: &str) -> Result<Box<dyn RootFs>, RootFsError> {
    let failed = |cause: io::Error| RootFsError::Read {
        what: what.to_owned(),
        cause,
    };
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        let directory = DirectoryRoot::open(path).map_err(failed)?;
        return Ok(if is_saved_image(&directory) {
            Box::new(read_saved(what, &directory)?)
        } else {
            Box::new(directory)
        });
    }
    let file = regular_file::open(path).map_err(failed)?;
    let map = map_file(&file).map_err(failed)?;
    let root = match Form::of_bytes(&map) {
        // What is read from its beginning to its end need not stay in memory, as the pages of a map would.
        form if form.is_compressed() => open_compressed(form.unpacked(file), what),
        _ => open_file(&map, what),
    };
    root.map(|root| Box::new(root) as Box<dyn RootFs>)
}

/// Takes the bytes of a tar or a saved image.
///
/// # Errors
/// [`RootFsError`].
pub fn open_file(map: &Bytes, what: &str) -> Result<IndexedRoot, RootFsError> {
    let no_tar = |cause: LayerError| RootFsError::NoTar {
        what: what.to_owned(),
        cause: matches!(Form::of_bytes(map), Form::Gzip | Form::Zstd | Form::Tar).then_some(cause),
    };
    if map.is_empty() {
        return Err(no_tar(LayerError::Read(io::ErrorKind::UnexpectedEof.into())));
    }
    match Form::of_bytes(map) {
        form if form.is_compressed() => open_compressed(form.unpacked(&map[..]), what),
        _ => {
            let root = LayerReader::default()
                .in_place(map)
                .and_then(|layer| indexed(&layer))
                .map_err(no_tar)?;
            if is_saved_image(&root) {
                read_saved(what, &root)
            } else {
                Ok(root)
            }
        }
    }
}

/// Opens an image by its layers, lowest first: tars on this machine, which stay there.
///
/// # Errors
/// [`RootFsError`].
pub fn open_layers(layers: &[PathBuf], what: &str) -> Result<IndexedRoot, RootFsError> {
    let no_tar = |cause: LayerError| RootFsError::NoTar {
        what: what.to_owned(),
        cause: Some(cause),
    };
    let mut reader = LayerReader::of_layers();
    let mut index = Index::default();
    for path in layers {
        let map = regular_file::open_itself(path).and_then(|file| map_file(&file));
        let map = map.map_err(|cause| RootFsError::Read {
            what: path.display().to_string(),
            cause,
        })?;
        let layer = reader.in_place(&map).map_err(no_tar)?;
        index.apply(&layer).map_err(no_tar)?;
    }
    Ok(IndexedRoot::new(index, ProcessDefaults::default()))
}

/// An image as an engine streams it. It is read once, to its end, and nothing of it is put on a disk.
///
/// # Errors
/// [`RootFsError`].
pub fn read_image_stream(reader: &mut dyn Read, what: &str) -> Result<IndexedRoot, RootFsError> {
    read_streamed(what, reader)
}

/// A tar that can be read only once, of a root or an image: the first path in it tells.
fn open_compressed(reader: impl Read, what: &str) -> Result<IndexedRoot, RootFsError> {
    enum Reading {
        Nothing,
        Root(LayerReader, Layer),
        Image(StreamedParts),
    }
    let mut reading = Reading::Nothing;
    let read = read_root_tar(reader, &mut |entry, content| {
        if matches!(reading, Reading::Nothing) {
            reading = if is_part_of_an_image(&entry.path) {
                Reading::Image(StreamedParts::default())
            } else {
                Reading::Root(LayerReader::default(), Layer::default())
            };
        }
        match &mut reading {
            Reading::Root(reader, layer) => reader.add_streamed(layer, entry, content),
            Reading::Image(parts) => parts.add(entry, content),
            Reading::Nothing => Ok(()),
        }
    });
    let no_tar = |cause: LayerError| RootFsError::NoTar {
        what: what.to_owned(),
        cause: Some(cause),
    };
    read.map_err(no_tar)?;
    match reading {
        Reading::Nothing => Err(no_tar(LayerError::Read(io::ErrorKind::UnexpectedEof.into()))),
        Reading::Root(_, layer) => indexed(&layer).map_err(no_tar),
        Reading::Image(parts) => parts.image(what),
    }
}

pub(super) fn indexed(layer: &Layer) -> Result<IndexedRoot, LayerError> {
    let mut index = Index::default();
    index.apply(layer)?;
    Ok(IndexedRoot::new(index, ProcessDefaults::default()))
}
