//! What layers amount to, put on each other: every path with what is there.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::content::Content;
use super::layer::{Layer, LayerEntry, What};
use super::walk::{Node, Nodes, PATH_LIMIT_BYTES, There, Walker};
use super::{FileKind, LookError};
use crate::image::LayerError;
use crate::owner::Owner;

/// How many paths there may be, with directories that no entry names.
const PATHS_LIMIT_COUNT: usize = 4_000_000;
/// How long all of them may be together.
const PATHS_LIMIT_BYTES: usize = 1024 * 1024 * 1024;
/// How many names may be looked up to follow links in entries' paths, and passed over to remove what is below others.
/// Where entries are written as they lie, it takes none.
const STEPS_LIMIT_COUNT: u64 = 20_000_000;
/// The mode of directories that no entry names.
const DIRECTORY_MODE: u32 = 0o755;

/// A tree of names. No path in it leads through a link.
#[derive(Debug)]
pub(super) struct Index {
    /// By absolute path; the root is empty.
    inodes: BTreeMap<Box<str>, Placed>,
    path_bytes: usize,
    next_id: u64,
    /// Counts the layers that were put on.
    layer: u32,
    steps: u64,
}

/// What is at a path, and which layer has put it there.
#[derive(Debug, Clone)]
struct Placed {
    inode: Inode,
    layer: u32,
}

/// What is at one or more paths.
#[derive(Debug, Clone)]
struct Inode {
    id: u64,
    mode: u32,
    owner: Owner,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Directory,
    File {
        len: u64,
        content: Content,
        /// The attribute, as it is written.
        capabilities: Option<Arc<[u8]>>,
    },
    Link(Arc<str>),
    Other,
}

impl Default for Index {
    fn default() -> Self {
        let mut index = Self {
            inodes: BTreeMap::new(),
            path_bytes: 0,
            next_id: 0,
            layer: 0,
            steps: 0,
        };
        let root = index.inode((DIRECTORY_MODE, Owner::default()), Body::Directory);
        index.inodes.insert("".into(), Placed { inode: root, layer: 0 });
        index
    }
}

impl Index {
    /// Puts a layer on top.
    ///
    /// # Errors
    /// [`LayerError::TooMany`].
    pub(super) fn apply(&mut self, layer: &Layer) -> Result<(), LayerError> {
        self.layer += 1;
        for entry in &layer.entries {
            self.apply_entry(entry)?;
            if self.steps > STEPS_LIMIT_COUNT {
                return Err(LayerError::TooMany {
                    limit: STEPS_LIMIT_COUNT,
                });
            }
        }
        Ok(())
    }

    fn apply_entry(&mut self, entry: &LayerEntry) -> Result<(), LayerError> {
        let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let body = match &entry.what {
            What::Emptied => {
                let path = self.existing(directory).map(|directory| match name {
                    "" => directory,
                    name => format!("{directory}/{name}"),
                });
                // Where a link leads nothing is taken away.
                if let Some(path) = path.filter(|path| self.is_directory(path)) {
                    self.remove_below(&path, true);
                }
                return Ok(());
            }
            What::Gone => {
                if let Some(directory) = self.existing(directory) {
                    let path = format!("{directory}/{name}");
                    if self.inodes.get(&*path).is_some_and(|placed| placed.layer < self.layer) {
                        self.inodes.remove(&*path);
                    }
                    self.remove_below(&path, true);
                }
                return Ok(());
            }
            What::Name(target) => {
                // A name of nothing cannot be unpacked either.
                if let Some(inode) = self.named(target) {
                    let directory = self.made(directory)?;
                    self.put(&directory, name, inode)?;
                }
                return Ok(());
            }
            What::Directory => Body::Directory,
            What::File {
                len,
                content,
                capabilities,
            } => Body::File {
                len: *len,
                content: content.clone(),
                capabilities: capabilities.clone(),
            },
            What::Link(target) => Body::Link(target.as_ref().into()),
            What::Other => Body::Other,
        };
        let directory = self.made(directory)?;
        let path = format!("{directory}/{name}");
        let layer = self.layer;
        match self.inodes.get_mut(&*path) {
            // What is in it stays; the directory itself is of this layer now.
            Some(placed) if matches!((&body, &placed.inode.body), (Body::Directory, Body::Directory)) => {
                placed.inode.mode = entry.mode & 0o7777;
                placed.inode.owner = entry.owner;
                placed.layer = layer;
                Ok(())
            }
            _ => {
                let inode = self.inode((entry.mode, entry.owner), body);
                self.put(&directory, name, inode)
            }
        }
    }

    /// What is at a relative path, which may have links before its last part.
    fn named(&mut self, path: &str) -> Option<Inode> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.existing(directory)?;
        let inode = &self.inodes.get(&*format!("{directory}/{name}"))?.inode;
        (!matches!(inode.body, Body::Directory)).then(|| inode.clone())
    }

    fn inode(&mut self, (mode, owner): (u32, Owner), body: Body) -> Inode {
        self.next_id += 1;
        Inode {
            id: self.next_id,
            mode: mode & 0o7777,
            owner,
            body,
        }
    }

    /// Puts something in a directory in place of what was there.
    fn put(&mut self, directory: &str, name: &str, inode: Inode) -> Result<(), LayerError> {
        let path: Box<str> = format!("{directory}/{name}").into();
        self.remove_below(&path, false);
        self.path_bytes += path.len();
        if path.len() >= PATH_LIMIT_BYTES {
            // Nobody could ask for it.
            return Ok(());
        }
        if self.inodes.len() >= PATHS_LIMIT_COUNT || self.path_bytes > PATHS_LIMIT_BYTES {
            return Err(LayerError::TooMany {
                limit: PATHS_LIMIT_COUNT as u64,
            });
        }
        let layer = self.layer;
        self.inodes.insert(path, Placed { inode, layer });
        Ok(())
    }

    /// Removes what is below a path: all of it, or what lower layers have there.
    fn remove_below(&mut self, path: &str, only_lower: bool) {
        let layer = self.layer;
        let mut steps = 0;
        let gone: Vec<Box<str>> = self
            .below(path)
            .inspect(|_| steps += 1)
            .filter(|(_, placed)| !only_lower || placed.layer < layer)
            .map(|(path, _)| path.clone())
            .collect();
        self.steps += steps;
        for path in gone {
            self.inodes.remove(&path);
        }
    }

    fn below(&self, path: &str) -> impl Iterator<Item = (&Box<str>, &Placed)> {
        let prefix = format!("{path}/");
        let start = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        self.inodes
            .range::<str, _>(start)
            .take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// The path without links of a directory that is there, for a relative path.
    fn existing(&mut self, directory: &str) -> Option<String> {
        if directory.is_empty() {
            return Some(String::new());
        }
        let path = format!("/{directory}");
        if self.is_directory(&path) {
            return Some(path);
        }
        let counted = Counted {
            index: self,
            steps: Cell::new(0),
        };
        let found = Walker::default().look(&counted, &path).ok();
        self.steps += counted.steps.get();
        let found = found.filter(|found| found.kind == FileKind::Directory)?;
        Some(found.path.trim_end_matches('/').to_owned())
    }

    fn is_directory(&self, path: &str) -> bool {
        self.inodes
            .get(path)
            .is_some_and(|placed| matches!(placed.inode.body, Body::Directory))
    }

    /// The same for a directory that is made where it is not there. Links are followed, as unpacking would.
    fn made(&mut self, directory: &str) -> Result<String, LayerError> {
        let path = format!("/{directory}");
        if self.is_directory(&path) {
            return Ok(path);
        }
        let mut here = String::new();
        for name in directory.split('/').filter(|name| !name.is_empty()) {
            let path = format!("{here}/{name}");
            let existing = match self.inodes.get(&*path).map(|placed| &placed.inode.body) {
                Some(Body::Directory) => Some(path.clone()),
                Some(Body::Link(_)) => self.existing(&path[1..]),
                _ => None,
            };
            here = match existing {
                Some(existing) => existing,
                None => {
                    let inode = self.inode((DIRECTORY_MODE, Owner::default()), Body::Directory);
                    self.put(&here, name, inode)?;
                    path
                }
            };
        }
        Ok(here)
    }

    /// The content of what has no links in its path.
    pub(super) fn content(&self, path: &str) -> Option<&Content> {
        match &self.inodes.get(path)?.inode.body {
            Body::File { content, .. } => Some(content),
            _ => None,
        }
    }

    /// The capabilities of a file that has no links in its path.
    pub(super) fn capabilities(&self, path: &str) -> Option<&[u8]> {
        match &self.inodes.get(path)?.inode.body {
            Body::File { capabilities, .. } => capabilities.as_deref(),
            _ => None,
        }
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let prefix = format!("{}/", directory.trim_end_matches('/'));
        let mut names = Vec::new();
        let mut start = prefix.clone();
        while let Some((path, _)) = self
            .inodes
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
            .next()
            .filter(|(path, _)| path.starts_with(&prefix))
        {
            let rest = &path[prefix.len()..];
            let name = rest.split('/').next().unwrap_or_default();
            if name.len() == rest.len() {
                names.push(name.to_owned());
                // The least path behind it.
                start = format!("{path}\0");
            } else {
                // A digit follows the slash in ASCII: all that is below the name is passed over.
                start = format!("{prefix}{name}0");
            }
        }
        names
    }
}

impl Nodes for Index {
    fn node(&self, path: &str) -> Result<Node, LookError> {
        let path = if path == "/" { "" } else { path };
        let inode = &self.inodes.get(path).ok_or(LookError::NotFound)?.inode;
        let (kind, len) = match &inode.body {
            Body::Link(target) => return Ok(Node::Link(target.clone())),
            Body::Directory => (FileKind::Directory, 0),
            Body::File { len, .. } => (FileKind::File, *len),
            Body::Other => (FileKind::Other, 0),
        };
        Ok(Node::There(There {
            id: (0, inode.id),
            kind,
            len,
            mode: inode.mode,
            owner: inode.owner,
        }))
    }
}

/// Counts what is looked up.
struct Counted<'a> {
    index: &'a Index,
    steps: Cell<u64>,
}

impl Nodes for Counted<'_> {
    fn node(&self, path: &str) -> Result<Node, LookError> {
        self.steps.set(self.steps.get() + 1);
        self.index.node(path)
    }
}
