//! What a stack of layers amounts to: every path with what is there, and the digest of its content.

use std::collections::BTreeMap;
use std::io::Read;

use super::LayerError;
use super::entry::{Entry, EntryKind, split_path};
use super::read::read_tar;
use super::whiteout::{Whiteout, whiteout};
use crate::digest::Digest;

/// How many links are followed to find where a path leads, as the kernel does.
const LINKS_LIMIT_COUNT: usize = 40;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<C = Digest> {
    /// The entry.
    pub entry: Entry,
    /// What is known of its content: by default its digest, and for what is no file the digest of nothing.
    pub content: C,
}

/// A root filesystem without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree<C = Digest> {
    nodes: BTreeMap<Vec<u8>, Node<C>>,
}

/// What a layer does to what is below it.
#[derive(Debug)]
pub struct Change<C> {
    /// Whether names can say that something is gone. In a tar that is no layer, they are names.
    has_whiteouts: bool,
    gone: Vec<Whiteout>,
    added: Vec<Node<C>>,
}

impl<C> Default for Tree<C> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new() }
    }
}

impl<C> Default for Change<C> {
    fn default() -> Self {
        Self {
            has_whiteouts: true,
            gone: Vec::new(),
            added: Vec::new(),
        }
    }
}

impl<C> Change<C> {
    /// For a whole root, which is no layer.
    #[must_use]
    pub fn of_root() -> Self {
        Self {
            has_whiteouts: false,
            ..Self::default()
        }
    }

    /// Takes the next entry of the layer.
    pub fn add(&mut self, entry: Entry, content: C) {
        match whiteout(&entry.path).filter(|_| self.has_whiteouts) {
            Some(gone) => self.gone.push(gone),
            None => self.added.push(Node { entry, content }),
        }
    }
}

impl Tree {
    /// Puts a layer on top.
    ///
    /// # Errors
    /// See [`read_tar`].
    pub fn apply(&mut self, layer: impl Read) -> Result<(), LayerError> {
        let mut change = Change::default();
        read_tar(layer, &mut |entry, content| {
            let content = Digest::of_reader(content).map_err(LayerError::Read)?;
            change.add(entry, content);
            Ok(())
        })?;
        self.change(change, |own, _| own);
        Ok(())
    }
}

impl<C> Tree<C> {
    /// Puts a layer on top. `linked` is told what is known of one more name of a file, and of the file.
    pub fn change(&mut self, change: Change<C>, linked: impl Fn(C, &C) -> C) {
        // A whiteout is about the layers below alone.
        for gone in change.gone {
            match gone {
                Whiteout::Of(path) => self.remove(&self.placed(&path)),
                Whiteout::Below(path) => self.remove_below(&self.resolved(&path)),
            }
        }
        for mut node in change.added {
            node.entry.path = self.placed(&node.entry.path);
            if let EntryKind::Hardlink(target) = &node.entry.kind
                && let Some(target) = self.nodes.get(&self.placed(target))
            {
                node.content = linked(node.content, &target.content);
            }
            if node.entry.kind != EntryKind::Directory {
                self.remove(&node.entry.path);
            }
            self.insert(node);
        }
    }

    /// Puts one entry in place of what was at its path.
    pub fn insert(&mut self, node: Node<C>) {
        self.nodes.insert(node.entry.path.clone(), node);
    }

    /// What is at a path.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Node<C>> {
        self.nodes.get(path)
    }

    /// All paths with what is there.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node<C>)> {
        self.nodes.iter().map(|(path, node)| (path.as_slice(), node))
    }

    /// How many paths there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The path with no link before its last part: where whoever unpacks an entry puts it.
    #[must_use]
    pub fn placed(&self, path: &[u8]) -> Vec<u8> {
        let (directory, name) = split_path(path);
        let directory = self.resolved(directory);
        let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        [&directory, separator, name].concat()
    }

    /// The path with no link in it. One that leads in a circle stays as it is.
    fn resolved(&self, path: &[u8]) -> Vec<u8> {
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            let parts = path.split(|byte| *byte == b'/').rev();
            parts.filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
        };
        let (mut here, mut pending, mut links) = (Vec::new(), parts(path), 0);
        while let Some(part) = pending.pop() {
            match &part[..] {
                b"." => {}
                b".." => here.truncate(split_path(&here).0.len()),
                part => {
                    let above = here.len();
                    if above > 0 {
                        here.push(b'/');
                    }
                    here.extend_from_slice(part);
                    let Some(EntryKind::Symlink(target)) = self.nodes.get(&here).map(|node| &node.entry.kind) else {
                        continue;
                    };
                    links += 1;
                    if links > LINKS_LIMIT_COUNT {
                        return path.to_vec();
                    }
                    here.truncate(if target.starts_with(b"/") { 0 } else { above });
                    pending.extend(parts(target));
                }
            }
        }
        here
    }

    fn below(&self, directory: &[u8]) -> impl Iterator<Item = &Vec<u8>> {
        let mut prefix = directory.to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        self.nodes
            .range(prefix.clone()..)
            .map(|(path, _)| path)
            .take_while(move |path| path.starts_with(&prefix))
    }

    fn remove_below(&mut self, path: &[u8]) {
        let gone: Vec<_> = self.below(path).cloned().collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }

    fn remove(&mut self, path: &[u8]) {
        self.remove_below(path);
        self.nodes.remove(path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::write::LayerWriter;
    use super::*;

    fn layer(paths: &[&str]) -> Vec<u8> {
        let mut writer = LayerWriter::new(Vec::new());
        for path in paths {
            let entry = match (path.split_once(" -> "), path.strip_suffix('/')) {
                (Some((path, target)), _) => Entry::symlink(path, target, 0),
                (None, Some(path)) => Entry::directory(path, 0),
                (None, None) => Entry::file(path, 0, 0o644, 0),
            };
            writer.append(&entry, &mut &[][..]).unwrap();
        }
        writer.finish().unwrap().2
    }

    #[test]
    fn layers_stand_on_each_other() {
        for (upper, expected) in [
            (&["a/x"][..], "a a/b a/b/c a/d a/x ab"),
            (&["a/.wh.b"], "a a/d ab"),
            (&["a/.wh.d"], "a a/b a/b/c ab"),
            (&[".wh.a"], "ab"),
            (&["a/.wh..wh..opq", "a/n"], "a a/n ab"),
            (&["a/n", "a/.wh..wh..opq"], "a a/n ab"),
            (&[".wh..wh..opq"], ""),
            (&["a/b"], "a a/b a/d ab"),
            (&["a/"], "a a/b a/b/c a/d ab"),
            (&["l/n"], "a a/b a/b/c a/d a/n ab l"),
            (&["l/.wh.b"], "a a/d ab l"),
            (&["l/.wh..wh..opq"], "a ab l"),
            (&["l/"], "a a/b a/b/c a/d ab l"),
        ] {
            let mut tree = Tree::default();
            let is_linked = upper.iter().any(|path| path.starts_with('l'));
            let mut lower = vec!["a/", "a/b/", "a/b/c", "a/d", "ab"];
            lower.extend(is_linked.then_some("l -> a"));
            tree.apply(&layer(&lower)[..]).unwrap();
            tree.apply(&layer(upper)[..]).unwrap();
            let paths: Vec<_> = tree.iter().map(|(path, _)| String::from_utf8_lossy(path)).collect();
            assert_eq!(paths.join(" "), expected, "{upper:?}");
        }
    }
}
