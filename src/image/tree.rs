//! What a stack of layers amounts to: every path with what is there, and the digest of its content.

use std::collections::BTreeMap;
use std::io::Read;

use super::LayerError;
use super::entry::{Entry, EntryKind};
use super::read::read_tar;
use super::whiteout::{Whiteout, whiteout};
use crate::digest::Digest;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The entry.
    pub entry: Entry,
    /// The digest of its content; for what is no file, of nothing.
    pub content: Digest,
}

/// A root filesystem without its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
}

impl Tree {
    /// Puts a layer on top.
    ///
    /// # Errors
    /// See [`read_tar`].
    pub fn apply(&mut self, layer: impl Read) -> Result<(), LayerError> {
        let lower = self.clone();
        read_tar(layer, &mut |entry, content| {
            match whiteout(&entry.path) {
                Some(Whiteout::Below(directory)) => {
                    let gone: Vec<_> = lower.below(&directory).cloned().collect();
                    gone.iter().for_each(|path| self.remove(path));
                }
                Some(Whiteout::Of(path)) => self.remove(&path),
                None => {
                    if entry.kind != EntryKind::Directory {
                        self.remove(&entry.path);
                    }
                    let content = Digest::of_reader(content).map_err(LayerError::Read)?;
                    self.insert(Node { entry, content });
                }
            }
            Ok(())
        })
    }

    /// Puts one entry in place of what was at its path.
    pub fn insert(&mut self, node: Node) {
        self.nodes.insert(node.entry.path.clone(), node);
    }

    /// What is at a path.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// All paths with what is there.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
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

    fn remove(&mut self, path: &[u8]) {
        let gone: Vec<_> = self.below(path).cloned().collect();
        for path in gone {
            self.nodes.remove(&path);
        }
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
            let entry = match path.strip_suffix('/') {
                Some(path) => Entry::directory(path, 0),
                None => Entry::file(path, 0, 0o644, 0),
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
        ] {
            let mut tree = Tree::default();
            tree.apply(&layer(&["a/", "a/b/", "a/b/c", "a/d", "ab"])[..]).unwrap();
            tree.apply(&layer(upper)[..]).unwrap();
            let paths: Vec<_> = tree.iter().map(|(path, _)| String::from_utf8_lossy(path)).collect();
            assert_eq!(paths.join(" "), expected, "{upper:?}");
        }
    }
}
