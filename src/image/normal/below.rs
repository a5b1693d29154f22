//! What the layers below one have, as far as it decides what that one must say.

use std::collections::BTreeMap;
use std::io::Read;

use super::super::LayerError;
use super::super::entry::{Entry, EntryKind, compare_paths};
use super::super::read::read_tar;
use super::super::whiteout::{Whiteout, whiteout};

/// The order of paths in which a directory comes right before what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<u8>);

impl Ord for Path {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        compare_paths(&self.0, &other.0)
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// All paths; of directories, what they are.
#[derive(Debug, Default)]
pub(super) struct Below {
    paths: BTreeMap<Path, Option<Entry>>,
}

impl Below {
    /// Puts a layer on top.
    pub(super) fn apply(&mut self, layer: impl Read) -> Result<(), LayerError> {
        let mut gone = Vec::new();
        let mut added = Vec::new();
        read_tar(layer, &mut |entry, _| {
            match whiteout(&entry.path) {
                Some(Whiteout::Of(path)) => gone.push((path, true)),
                Some(Whiteout::Below(path)) => gone.push((path, false)),
                None => added.push(entry),
            }
            Ok(())
        })?;
        // A whiteout is about the layers below alone.
        for (path, itself) in gone {
            self.remove(&path, itself);
        }
        added.into_iter().for_each(|entry| self.put(entry));
        Ok(())
    }

    /// Puts one entry in place of what was there.
    pub(super) fn put(&mut self, entry: Entry) {
        let path = entry.path.clone();
        if entry.kind == EntryKind::Directory {
            self.paths.insert(Path(path), Some(entry));
        } else {
            self.remove(&path, true);
            self.paths.insert(Path(path), None);
        }
    }

    /// Removes what is below a path, and `itself`.
    pub(super) fn remove(&mut self, path: &[u8], itself: bool) {
        let gone: Vec<Vec<u8>> = self.inside(path).map(<[u8]>::to_vec).collect();
        for path in gone {
            self.paths.remove(&Path(path));
        }
        if itself {
            self.paths.remove(&Path(path.to_vec()));
        }
    }

    /// Whether anything is at a path.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.paths.contains_key(&Path(path.to_vec()))
    }

    /// The directory at a path; none for anything else.
    pub(super) fn directory(&self, path: &[u8]) -> Option<&Entry> {
        self.paths.get(&Path(path.to_vec()))?.as_ref()
    }

    /// All that is below a path, in order.
    pub(super) fn inside<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.paths
            .range(Path(path.to_vec())..)
            .map(|(found, _)| found.0.as_slice())
            .filter(move |found| *found != path)
            .take_while(move |found| is_below(found, path))
    }
}

/// Whether a path is below a directory; all are below the root.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.first() == Some(&b'/'))
}
