//! One layer, written anew: the same for the same files, whatever storage it comes from.
//!
//! Storage drivers say the same in different ways: which directories above a change are in the layer, whether a directory that
//! was made anew hides what was below it or names each path that is gone, in which order entries come, and which of a file's
//! names has its content. Here there is one way for each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::super::LayerError;
use super::super::entry::{Entry, EntryKind, split_path};
use super::super::read::read_tar_in_place;
use super::super::whiteout::{Whiteout, whiteout, whiteout_of};
use super::super::write::LayerWriter;
use super::below::{Below, Path, is_below};
use super::day::{DayRules, PYC_HEADER_BYTES, SHADOW, may_be_python_cache, names_later_time};

/// How many names of names are followed to the one that has the content.
const LINK_DEPTH_LIMIT_COUNT: usize = 8;

/// A path and where in the tar its content is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed {
    entry: Entry,
    start: u64,
}

/// What a layer's tar has.
#[derive(Debug, Default)]
pub(super) struct Layer {
    nodes: BTreeMap<Path, Placed>,
    gone: BTreeSet<Path>,
    emptied: BTreeSet<Path>,
}

impl Layer {
    /// Reads a tar, without what `rules` leave out.
    pub(super) fn read(tar: impl Read + Seek, rules: &DayRules) -> Result<Self, LayerError> {
        let mut layer = Self::default();
        // Files that are left out, for other names that they have.
        let mut left_out: BTreeMap<Vec<u8>, Placed> = BTreeMap::new();
        read_tar_in_place(tar, &mut |mut entry, start, content| {
            match whiteout(&entry.path) {
                Some(Whiteout::Of(path)) => layer.gone.insert(Path(path)),
                Some(Whiteout::Below(path)) => layer.emptied.insert(Path(path)),
                None => {
                    entry.mtime_seconds = entry.mtime_seconds.min(rules.epoch_seconds);
                    let is_directory = entry.kind == EntryKind::Directory;
                    let is_left_out =
                        rules.removes(&entry.path, is_directory) || is_of_the_day(&entry, content, rules)?;
                    let path = entry.path.clone();
                    let placed = Placed { entry, start };
                    if is_left_out {
                        left_out.insert(path, placed).is_some()
                    } else {
                        layer.nodes.insert(Path(path), placed).is_some()
                    }
                }
            };
            Ok(())
        })?;
        layer.settle_names(&left_out)?;
        Ok(layer)
    }

    /// Of a file's names, the first has the content and the others lead to it.
    fn settle_names(&mut self, left_out: &BTreeMap<Vec<u8>, Placed>) -> Result<(), LayerError> {
        let mut names: BTreeMap<Vec<u8>, BTreeSet<Path>> = BTreeMap::new();
        for (path, placed) in &self.nodes {
            if let EntryKind::Hardlink(target) = &placed.entry.kind {
                names
                    .entry(self.content_of(target, left_out)?)
                    .or_default()
                    .insert(path.clone());
            }
        }
        for (target, mut others) in names {
            let content = match self.nodes.get(&Path(target.clone())) {
                Some(found) => {
                    others.insert(Path(target.clone()));
                    found.clone()
                }
                None => match left_out.get(&target) {
                    Some(found) => found.clone(),
                    // It leads to what a lower layer has.
                    None => continue,
                },
            };
            let Some(first) = others.first().cloned() else {
                continue;
            };
            for path in others {
                let kind = match path == first {
                    true => content.entry.kind.clone(),
                    false => EntryKind::Hardlink(first.0.clone()),
                };
                let entry = Entry {
                    path: path.0.clone(),
                    kind,
                    ..content.entry.clone()
                };
                let start = content.start;
                self.nodes.insert(path, Placed { entry, start });
            }
        }
        Ok(())
    }

    /// The path that a name leads to in the end.
    fn content_of(&self, target: &[u8], left_out: &BTreeMap<Vec<u8>, Placed>) -> Result<Vec<u8>, LayerError> {
        let mut target = target.to_vec();
        for _ in 0..LINK_DEPTH_LIMIT_COUNT {
            let found = self.nodes.get(&Path(target.clone())).or_else(|| left_out.get(&target));
            match found.map(|found| &found.entry.kind) {
                Some(EntryKind::Hardlink(next)) => target.clone_from(next),
                _ => return Ok(target),
            }
        }
        Err(LayerError::Read(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the links at {} lead nowhere", String::from_utf8_lossy(&target)),
        )))
    }

    /// Writes the layer and puts it on top of what is below; `tar` is what it was read from.
    pub(super) fn write<W: Write>(
        mut self,
        below: &mut Below,
        mut tar: impl Read + Seek,
        rules: &DayRules,
        writer: &mut LayerWriter<W>,
    ) -> Result<(), LayerError> {
        let gone = self.paths_gone(below, rules);
        self.settle_directories(below, &gone, rules);
        for path in &gone {
            below.remove(&path.0, true);
        }
        let whiteouts = gone.into_iter().map(|path| Placed {
            entry: whiteout_of(&path.0, rules.epoch_seconds),
            start: 0,
        });
        let mut entries: BTreeMap<Path, Placed> = whiteouts
            .map(|placed| (Path(placed.entry.path.clone()), placed))
            .collect();
        for (path, placed) in self.nodes {
            below.put(placed.entry.clone());
            entries.insert(path, placed);
        }
        for Placed { mut entry, start } in entries.into_values() {
            let size_bytes = entry.size_bytes();
            if size_bytes > 0 {
                tar.seek(SeekFrom::Start(start)).map_err(LayerError::Read)?;
            }
            let mut content = (&mut tar).take(size_bytes);
            if entry.path == SHADOW && matches!(entry.kind, EntryKind::File { .. }) {
                let text = rules.shadow(&mut content)?;
                entry.kind = EntryKind::File {
                    size_bytes: text.len() as u64,
                };
                writer.append(&entry, &mut &text[..])?;
            } else {
                writer.append(&entry, &mut content)?;
            }
        }
        Ok(())
    }

    /// What of the layers below is gone, each path once, and none below another.
    fn paths_gone(&mut self, below: &Below, rules: &DayRules) -> BTreeSet<Path> {
        let mut paths = BTreeSet::new();
        for path in std::mem::take(&mut self.gone) {
            if !below.has(&path.0) {
                continue;
            }
            match self.nodes.get(&path) {
                None => _ = paths.insert(path),
                // Something new is there: what was in it before is gone.
                Some(node) if node.entry.kind == EntryKind::Directory => _ = self.emptied.insert(path),
                Some(_) => {}
            }
        }
        for emptied in &self.emptied {
            let mut covered: Option<Vec<u8>> = None;
            for path in below.inside(&emptied.0) {
                if covered.as_ref().is_some_and(|covered| is_below(path, covered)) {
                    continue;
                }
                let is_directory =
                    |found: Option<&Entry>| found.is_some_and(|entry| entry.kind == EntryKind::Directory);
                match self.nodes.get(&Path(path.to_vec())) {
                    Some(node) if is_directory(Some(&node.entry)) && below.directory(path).is_some() => {}
                    Some(_) => covered = Some(path.to_vec()),
                    None if rules.removes(path, below.directory(path).is_some()) => covered = Some(path.to_vec()),
                    None => {
                        paths.insert(Path(path.to_vec()));
                        covered = Some(path.to_vec());
                    }
                }
            }
        }
        let all = paths.clone();
        paths.retain(|path| !above(&path.0).any(|parent| all.contains(&Path(parent.to_vec()))));
        paths
    }

    /// Leaves out directories of which nothing is said that is not known below, and brings those above every change: who unpacks
    /// a layer changes their times.
    fn settle_directories(&mut self, below: &Below, gone: &BTreeSet<Path>, rules: &DayRules) {
        let is_known = |entry: &Entry| {
            let same = |known: &Entry| {
                (known.mode, known.uid, known.gid, &known.attributes)
                    == (entry.mode, entry.uid, entry.gid, &entry.attributes)
            };
            entry.kind == EntryKind::Directory && below.directory(&entry.path).is_some_and(same)
        };
        let changed = self.nodes.iter().filter(|(_, node)| !is_known(&node.entry));
        let mut needed = BTreeSet::new();
        for path in changed.map(|(path, _)| path).chain(gone) {
            for parent in above(&path.0) {
                if !needed.insert(Path(parent.to_vec())) {
                    break;
                }
            }
        }
        self.nodes
            .retain(|path, node| needed.contains(path) || !is_known(&node.entry));
        for path in needed {
            if let (None, Some(known)) = (self.nodes.get(&path), below.directory(&path.0)) {
                let mut entry = known.clone();
                entry.mtime_seconds = entry.mtime_seconds.min(rules.epoch_seconds);
                self.nodes.insert(path, Placed { entry, start: 0 });
            }
        }
    }
}

/// The directories that a path is in, lowest first, without the root.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(split_path(path).0), |path| Some(split_path(path).0)).take_while(|path| !path.is_empty())
}

/// Whether a file's content says that it is of the day.
fn is_of_the_day(entry: &Entry, content: &mut dyn Read, rules: &DayRules) -> Result<bool, LayerError> {
    if !matches!(entry.kind, EntryKind::File { .. }) || !may_be_python_cache(&entry.path) {
        return Ok(false);
    }
    let mut header = Vec::new();
    let mut limited = content.take(PYC_HEADER_BYTES);
    limited.read_to_end(&mut header).map_err(LayerError::Read)?;
    Ok(names_later_time(&header, rules.epoch_seconds))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::super::super::tree::Tree;
    use super::*;

    const EPOCH_SECONDS: u64 = 1_000_000;

    /// `d/` a directory, `-d` a whiteout, `d/*` an opaque one, `a=b` another name of b, `a>b` a symbolic link, else a file whose
    /// content is its path.
    fn tar(paths: &[&str]) -> Vec<u8> {
        let mut writer = LayerWriter::new(Vec::new());
        for (number, path) in paths.iter().enumerate() {
            let late = EPOCH_SECONDS + number as u64;
            let file = |path: &str, size_bytes: usize| Entry::file(path, size_bytes as u64, 0o644, late);
            if let Some(path) = path.strip_suffix("/*") {
                writer
                    .append(&file(&format!("{path}/.wh..wh..opq"), 0), &mut io::empty())
                    .unwrap();
            } else if let Some(path) = path.strip_prefix('-') {
                writer
                    .append(&whiteout_of(path.as_bytes(), late), &mut io::empty())
                    .unwrap();
            } else if let Some(path) = path.strip_suffix('/') {
                writer.append(&Entry::directory(path, late), &mut io::empty()).unwrap();
            } else if let Some((path, target)) = path.split_once('=') {
                let mut entry = file(path, 0);
                entry.kind = EntryKind::Hardlink(target.as_bytes().to_vec());
                writer.append(&entry, &mut io::empty()).unwrap();
            } else if let Some((path, target)) = path.split_once('>') {
                writer
                    .append(&Entry::symlink(path, target, late), &mut io::empty())
                    .unwrap();
            } else {
                writer.append(&file(path, path.len()), &mut path.as_bytes()).unwrap();
            }
        }
        writer.finish().unwrap().2
    }

    fn normal(layers: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let rules = DayRules::new(&[], EPOCH_SECONDS).unwrap();
        let mut below = Below::default();
        let one = |tar: &Vec<u8>| {
            let mut writer = LayerWriter::new(Vec::new());
            let layer = Layer::read(Cursor::new(tar), &rules).unwrap();
            layer.write(&mut below, Cursor::new(tar), &rules, &mut writer).unwrap();
            writer.finish().unwrap().2
        };
        layers.iter().map(one).collect()
    }

    /// What a stack of layers amounts to, but for times.
    fn tree(layers: &[Vec<u8>]) -> Vec<(Vec<u8>, EntryKind, crate::digest::Digest)> {
        let mut tree = Tree::default();
        for layer in layers {
            tree.apply(&layer[..]).unwrap();
        }
        let node = |(path, node): (&[u8], &super::super::super::tree::Node)| {
            (path.to_vec(), node.entry.kind.clone(), node.content)
        };
        tree.iter().map(node).collect()
    }

    fn paths(layer: &[u8]) -> String {
        let mut paths = Vec::new();
        super::super::super::read::read_tar(layer, &mut |entry, _| {
            assert!(entry.mtime_seconds <= EPOCH_SECONDS);
            let path = String::from_utf8(entry.path).unwrap();
            paths.push(match entry.kind {
                EntryKind::Directory => format!("{path}/"),
                EntryKind::Hardlink(target) => format!("{path}={}", String::from_utf8(target).unwrap()),
                _ => path,
            });
            Ok(())
        })
        .unwrap();
        paths.join(" ")
    }

    /// What drivers say in different ways comes out in one.
    #[test]
    fn the_same_files_are_the_same_layer() {
        let lower = ["a/", "a/b/", "a/b/c", "a/d", "a/e/", "a/e/f", "g"];
        let cases: [(&[&[&str]], &str); 8] = [
            // The order of entries, and which directories are there.
            (&[&["a/n"], &["a/", "a/n"], &["a/e/", "a/n", "a/"]], "a/ a/n"),
            (&[&["-a/b"], &["a/", "-a/b", "-a/b/c"]], "a/ a/.wh.b"),
            // A directory made anew.
            (
                &[
                    &["a/", "a/*", "a/d"],
                    &["a/", "-a/b", "-a/e", "a/d"],
                    &["-a", "a/", "a/d"],
                ],
                "a/ a/.wh.b a/.wh.e a/d",
            ),
            (
                &[
                    &["a/", "a/*", "a/e/", "a/e/n"],
                    &["a/", "-a/b", "-a/d", "a/e/", "-a/e/f", "a/e/n"],
                ],
                "a/ a/.wh.b a/.wh.d a/e/ a/e/.wh.f a/e/n",
            ),
            (&[&["a"], &["-a", "a"]], "a"),
            // What was never there is not gone.
            (&[&["-x", "n"], &["n"]], "n"),
            // Which name has the content.
            (&[&["m", "n=m", "o=n"], &["o", "m=o", "n=m"]], "m n=m o=m"),
            // Nothing but a look.
            (&[&["a/", "a/b/"], &[]], ""),
        ];
        for (uppers, expected) in cases {
            for upper in uppers {
                let layers = [tar(&lower), tar(upper)];
                let normal = normal(&layers);
                assert_eq!(paths(&normal[1]), expected, "{upper:?}");
                let meant = tree(&layers);
                let found = tree(&normal);
                let without_names = |tree: &[(Vec<u8>, EntryKind, crate::digest::Digest)]| {
                    tree.iter().map(|(path, ..)| path.clone()).collect::<Vec<_>>()
                };
                assert_eq!(without_names(&found), without_names(&meant), "{upper:?}");
            }
        }
    }

    /// The bits are the same, too, but for a file's content that went with the name.
    #[test]
    fn times_and_order_do_not_matter() {
        let once = normal(&[tar(&["a/", "a/b", "c"])]);
        let again = normal(&[tar(&["c", "a/b", "a/"])]);
        assert_eq!(once, again);
    }

    #[test]
    fn other_names_of_what_is_left_out_keep_its_content() {
        let normal = normal(&[tar(&["var/log/x", "y=var/log/x", "z=y"])]);
        assert_eq!(paths(&normal[0]), "y z=y");
        assert_eq!(tree(&normal)[0].1, EntryKind::File { size_bytes: 9 });
    }

    #[test]
    fn links_that_lead_nowhere_are_told() {
        let rules = DayRules::new(&[], EPOCH_SECONDS).unwrap();
        let error = Layer::read(Cursor::new(tar(&["a=b", "b=a"])), &rules).unwrap_err();
        assert!(error.to_string().contains("lead nowhere"), "{error}");
    }

    fn layers() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let path = "[ab](/[ab]){0,2}";
        let one = prop_oneof![
            4 => path.prop_map(|path| path),
            3 => path.prop_map(|path| format!("{path}/")),
            1 => path.prop_map(|path| format!("-{path}")),
            1 => path.prop_map(|path| format!("{path}/*")),
            1 => path.prop_map(|path| format!("{path}>x")),
        ];
        let layer = proptest::collection::vec(one, 0..7).prop_map(|paths| {
            // A path once, and nothing in what is no directory: engines save nothing else.
            let mut seen: BTreeMap<String, String> = BTreeMap::new();
            for path in paths {
                let bare = path
                    .trim_start_matches('-')
                    .trim_end_matches("/*")
                    .trim_end_matches('/');
                let bare = bare.split('>').next().unwrap_or_default().to_owned();
                for (at, _) in bare.match_indices('/') {
                    seen.insert(bare[..at].to_owned(), format!("{}/", &bare[..at]));
                }
                let is_above = seen.keys().any(|other| other.starts_with(&format!("{bare}/")));
                if path.ends_with("/*") {
                    seen.insert(bare.clone(), format!("{bare}/"));
                    seen.insert(format!("{bare}/*"), path);
                } else if !is_above && !seen.contains_key(&bare) {
                    seen.insert(bare, path);
                }
            }
            let paths: Vec<&str> = seen.values().map(String::as_str).collect();
            tar(&paths)
        });
        proptest::collection::vec(layer, 1..4)
    }

    proptest! {
        #[test]
        fn what_it_amounts_to_stays_and_twice_is_once(layers in layers()) {
            let once = normal(&layers);
            prop_assert_eq!(tree(&once), tree(&layers));
            prop_assert_eq!(normal(&once), once);
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, blocks in 0_usize..4) {
            bytes.resize(blocks * 512, 0);
            let rules = DayRules::new(&[], 0).unwrap();
            let _ = Layer::read(Cursor::new(bytes), &rules);
        }
    }
}
