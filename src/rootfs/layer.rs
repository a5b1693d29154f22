//! A tar's entries as a root sees them: names and links, and of files what is there of their content.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;

use super::content::{Content, Keeper};
use super::walk::PATH_LIMIT_BYTES;
use crate::facts::file_capabilities::{CAPABILITY_ATTRIBUTE, CAPABILITY_LIMIT_BYTES};
use crate::image::{
    Entry, EntryKind, LayerError, OPAQUE_WHITEOUT, WHITEOUT_PREFIX, read_root_tar, read_root_tar_in_place, read_tar,
    read_tar_in_place, split_path,
};
use crate::owner::Owner;

/// How much a compressed tar may unpack to.
const UNPACKED_LIMIT_BYTES: u64 = 256 * 1024 * 1024 * 1024;
/// How many entries a root may be made of, all layers together.
const ENTRIES_LIMIT_COUNT: u64 = 2_000_000;
/// How long the paths and targets of all entries may be together.
const PATHS_LIMIT_BYTES: u64 = 512 * 1024 * 1024;

/// A tar's entries, in its order.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) entries: Vec<LayerEntry>,
}

/// One entry; paths are relative to the root, `/` between their parts.
#[derive(Debug)]
pub(super) struct LayerEntry {
    pub(super) path: Box<str>,
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) what: What,
}

/// What an entry puts at its path.
#[derive(Debug)]
pub(super) enum What {
    Directory,
    File {
        len: u64,
        content: Content,
        /// The attribute, as it is written.
        capabilities: Option<Arc<[u8]>>,
    },
    Link(Box<str>),
    /// One more name of the file at this path.
    Name(Box<str>),
    Other,
    /// What lower layers have at the path is gone.
    Gone,
    /// What lower layers have in the directory is gone.
    Emptied,
}

/// Reads tars of one root: limits count for all of them together.
#[derive(Debug, Default)]
pub(super) struct LayerReader {
    /// Whether names can say that something is gone. In a tar that is no layer, they are names.
    has_whiteouts: bool,
    keeper: Keeper,
    entries: u64,
    path_bytes: u64,
}

impl LayerReader {
    /// For the layers of an image; [`LayerReader::default`] is for a whole root.
    pub(super) fn of_layers() -> Self {
        Self {
            has_whiteouts: true,
            ..Self::default()
        }
    }

    /// A tar in a map: contents stay there.
    pub(super) fn in_place(&mut self, map: &Bytes) -> Result<Layer, LayerError> {
        let mut layer = Layer::default();
        let has_whiteouts = self.has_whiteouts;
        let mut visit = |entry: Entry, start: u64, _: &mut dyn Read| {
            let end = start.checked_add(entry.size_bytes());
            let range = usize::try_from(start)
                .ok()
                .zip(end.and_then(|end| usize::try_from(end).ok()));
            let Some((start, end)) = range.filter(|(_, end)| *end <= map.len()) else {
                return Err(LayerError::Read(io::ErrorKind::UnexpectedEof.into()));
            };
            self.add(&mut layer, entry, |_| Ok(Content::Plain(map.slice(start..end))))
        };
        match has_whiteouts {
            true => read_tar_in_place(Cursor::new(map), &mut visit)?,
            false => read_root_tar_in_place(Cursor::new(map), &mut visit)?,
        }
        Ok(layer)
    }

    /// A tar that is read once: of contents is kept what can matter.
    pub(super) fn stream(&mut self, reader: impl Read) -> Result<Layer, LayerError> {
        let mut layer = Layer::default();
        let reader = reader.take(UNPACKED_LIMIT_BYTES);
        let has_whiteouts = self.has_whiteouts;
        let mut visit = |entry: Entry, content: &mut dyn Read| self.add_streamed(&mut layer, entry, content);
        match has_whiteouts {
            true => read_tar(reader, &mut visit)?,
            false => read_root_tar(reader, &mut visit)?,
        }
        Ok(layer)
    }

    /// One entry of a tar that is read once.
    pub(super) fn add_streamed(
        &mut self,
        layer: &mut Layer,
        entry: Entry,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let (path, size_bytes) = (entry.path.clone(), entry.size_bytes());
        self.add(layer, entry, |keeper| {
            keeper.keep(&path, size_bytes, content).map_err(LayerError::Read)
        })
    }

    fn add(
        &mut self,
        layer: &mut Layer,
        entry: Entry,
        content: impl FnOnce(&mut Keeper) -> Result<Content, LayerError>,
    ) -> Result<(), LayerError> {
        let size_bytes = entry.size_bytes();
        // A larger value is none that the kernel takes.
        let capabilities = entry.attributes.get(CAPABILITY_ATTRIBUTE);
        let capabilities = capabilities
            .filter(|value| value.len() <= CAPABILITY_LIMIT_BYTES)
            .map(|value| value.as_slice().into());
        // No text that anybody could ask for: it is as if it were not there.
        let Ok(path) = String::from_utf8(entry.path) else {
            return Ok(());
        };
        if path.len() >= PATH_LIMIT_BYTES {
            return Ok(());
        }
        let (directory, name) = split_path(path.as_bytes());
        let gone = name.strip_prefix(WHITEOUT_PREFIX).filter(|_| self.has_whiteouts);
        let (path, what) = if gone.is_some() && name == OPAQUE_WHITEOUT {
            (text(directory), What::Emptied)
        } else if let Some(gone) = gone {
            // Other names with this beginning are the business of those who write layers (`.wh..wh.plnk`).
            if matches!(gone, b"" | b"." | b"..") || gone.starts_with(WHITEOUT_PREFIX) {
                return Ok(());
            }
            let separator = if directory.is_empty() { "" } else { "/" };
            let path = format!("{}{separator}{}", text(directory), text(gone));
            (path.into(), What::Gone)
        } else {
            let what = match entry.kind {
                EntryKind::Directory => What::Directory,
                EntryKind::File { .. } => What::File {
                    len: size_bytes,
                    content: content(&mut self.keeper)?,
                    capabilities,
                },
                EntryKind::Symlink(target) => match String::from_utf8(target) {
                    Ok(target) => What::Link(target.into()),
                    Err(_) => What::Other,
                },
                EntryKind::Hardlink(target) => match String::from_utf8(target) {
                    Ok(target) => What::Name(target.into()),
                    Err(_) => What::Other,
                },
                EntryKind::Fifo | EntryKind::Character { .. } | EntryKind::Block { .. } => What::Other,
            };
            (path.into(), what)
        };
        let target_bytes = match &what {
            What::Link(target) | What::Name(target) => target.len(),
            _ => 0,
        };
        self.entries += 1;
        self.path_bytes += (path.len() + target_bytes) as u64;
        if self.entries > ENTRIES_LIMIT_COUNT || self.path_bytes > PATHS_LIMIT_BYTES {
            return Err(LayerError::TooMany {
                limit: ENTRIES_LIMIT_COUNT,
            });
        }
        layer.entries.push(LayerEntry {
            path,
            mode: entry.mode,
            owner: Owner {
                uid: number(entry.uid),
                gid: number(entry.gid),
            },
            what,
        });
        Ok(())
    }
}

/// A user's or group's number. The kernel has none above; who would be such a user is nobody that a process could be.
fn number(wide: u64) -> u32 {
    u32::try_from(wide).unwrap_or(u32::MAX)
}

/// A part of what was text already, cut at a slash or behind ASCII.
fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}
