//! From a root filesystem's tar to a layer: what depends on the machine or the moment is left out or set, and on top
//! of a base only the difference stays.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::LayerError;
use super::entry::{Entry, EntryKind, compare_paths, split_path};
use super::hashed_read::HashedRead;
use super::path_patterns::PathPatterns;
use super::read::read_tar;
use super::tree::{Node, Tree};
use super::whiteout::whiteout_of;
use super::write::LayerWriter;
use crate::digest::Digest;

/// Where a bootstrap leaves what lockstep wants to know and the image must not have.
pub(super) const NOTES_DIRECTORY: &str = "tmp/lockstep";
/// Where apt keeps the packages that it installed.
pub(super) const ARCHIVES_DIRECTORY: &str = "var/cache/apt/archives";
/// The largest note.
const NOTE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// Files up to this size are compared in memory.
const SPOOL_MEMORY_BYTES: usize = 32 * 1024 * 1024;

/// What differs from one bootstrap of the same packages to the next, or comes from the machine: left out of every
/// image. A pattern also covers all below what it matches.
const ALWAYS_REMOVED: &[&str] = &[
    // The engine mounts its own.
    "dev/*",
    "proc/*",
    "run/*",
    "sys/*",
    "tmp/*",
    "var/tmp/*",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "etc/fstab",
    // Which mirror was used, and how.
    "etc/apt/apt.conf.d/*mmdebstrap",
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/*",
    "etc/dpkg/dpkg.cfg.d/*mmdebstrap",
    "var/lib/apt/extended_states",
    "var/lib/apt/lists/*",
    "var/lib/apt/periodic",
    "var/cache/apt/*",
    // When it was made.
    "var/log/**",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
    "etc/.pwd.lock",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "etc/*-",
    "root/.cache",
    "root/.cargo",
    "root/.config",
];

/// What is left out, and how late a time may be.
pub(super) struct Rules {
    removed: PathPatterns,
    epoch_seconds: u64,
}

impl Rules {
    /// What every image leaves out, and `removed`; times after `epoch_seconds` become that.
    pub(super) fn new(removed: &[String], epoch_seconds: u64) -> Result<Self, LayerError> {
        let patterns = ALWAYS_REMOVED.iter().copied();
        let removed = PathPatterns::new(patterns.chain(removed.iter().map(String::as_str)))?;
        Ok(Self { removed, epoch_seconds })
    }
}

/// Takes what is not for the image: notes and packages, by path.
pub(super) type Captured<'a> = dyn FnMut(&str, &mut dyn Read) -> Result<(), LayerError> + 'a;

/// Writes what `tar` has on top of `base`.
///
/// # Errors
/// [`LayerError`]; [`LayerError::Order`] when the tar is not sorted as [`compare_paths`] says, for then the layer
/// would depend on the order in which a file system lists its directories.
pub(super) fn assemble<W: Write>(
    tar: impl Read,
    base: &Tree,
    rules: &Rules,
    layer: &mut LayerWriter<W>,
    captured: &mut Captured<'_>,
) -> Result<(), LayerError> {
    let mut found = Tree::default();
    let mut written = std::collections::BTreeSet::new();
    let mut last: Vec<u8> = Vec::new();
    read_tar(tar, &mut |mut entry, content| {
        if compare_paths(&last, &entry.path) != std::cmp::Ordering::Less && !last.is_empty() {
            return Err(LayerError::Order {
                path: String::from_utf8_lossy(&entry.path).into_owned(),
            });
        }
        last.clone_from(&entry.path);
        if let Some(path) = captured_path(&entry) {
            return captured(&path, content);
        }
        if rules.removed.cover(&entry.path) {
            return Ok(());
        }
        entry.mtime_seconds = entry.mtime_seconds.min(rules.epoch_seconds);
        if let EntryKind::Hardlink(target) = &entry.kind
            && found.get(target).is_none()
        {
            return Err(LayerError::LinkTarget {
                path: String::from_utf8_lossy(&entry.path).into_owned(),
                target: String::from_utf8_lossy(target).into_owned(),
            });
        }
        let below = base.get(&entry.path);
        // Only a file that a lower layer has with the same size must be read before it is known whether it is written.
        let digest = if below.is_some_and(|below| below.entry == entry) && entry.size_bytes() > 0 {
            let mut spool = Spool::new();
            let digest = spool.fill(content)?;
            if below.is_some_and(|below| below.content == digest) {
                found.insert(Node { entry, content: digest });
                return Ok(());
            }
            layer.append(&entry, spool.rewound()?)?;
            digest
        } else {
            let link_changed = matches!(&entry.kind, EntryKind::Hardlink(target) if written.contains(target));
            if below.is_some_and(|below| below.entry == entry) && !link_changed {
                found.insert(Node {
                    entry,
                    content: Digest::of(b""),
                });
                return Ok(());
            }
            let mut hashed = HashedRead::new(content);
            layer.append(&entry, &mut hashed)?;
            hashed.finish()
        };
        written.insert(entry.path.clone());
        found.insert(Node { entry, content: digest });
        Ok(())
    })?;
    append_whiteouts(base, &found, rules.epoch_seconds, layer)
}

/// A whiteout for every path of the base that is no longer there, but for those below one that is gone itself or has
/// become something else.
fn append_whiteouts<W: Write>(
    base: &Tree,
    found: &Tree,
    epoch_seconds: u64,
    layer: &mut LayerWriter<W>,
) -> Result<(), LayerError> {
    let mut gone: Vec<&[u8]> = base
        .iter()
        .map(|(path, _)| path)
        .filter(|path| found.get(path).is_none())
        .collect();
    gone.sort_by(|left, right| compare_paths(left, right));
    for path in gone {
        let (directory, _) = split_path(path);
        let is_in_directory = directory.is_empty()
            || found
                .get(directory)
                .is_some_and(|node| node.entry.kind == EntryKind::Directory);
        if is_in_directory {
            layer.append(&whiteout_of(path, epoch_seconds), &mut io::empty())?;
        }
    }
    Ok(())
}

/// The path of what is captured rather than written.
fn captured_path(entry: &Entry) -> Option<String> {
    let path = std::str::from_utf8(&entry.path).ok()?;
    let is_file = matches!(entry.kind, EntryKind::File { .. });
    let is_package = split_path(&entry.path).0 == ARCHIVES_DIRECTORY.as_bytes() && path.ends_with(".deb");
    let is_note = path
        .strip_prefix(NOTES_DIRECTORY)
        .is_some_and(|rest| rest.starts_with('/'));
    (is_file && (is_package || is_note)).then(|| path.to_owned())
}

/// A note as text.
pub(super) fn read_note(content: &mut dyn Read) -> Result<String, LayerError> {
    let mut text = String::new();
    content
        .take(NOTE_LIMIT_BYTES)
        .read_to_string(&mut text)
        .map_err(LayerError::Read)?;
    Ok(text)
}

struct Spool(tempfile::SpooledTempFile);

impl Spool {
    fn new() -> Self {
        Self(tempfile::SpooledTempFile::new(SPOOL_MEMORY_BYTES))
    }

    fn fill(&mut self, content: &mut dyn Read) -> Result<Digest, LayerError> {
        let mut hashed = HashedRead::new(content);
        io::copy(&mut hashed, &mut self.0).map_err(LayerError::Read)?;
        Ok(hashed.finish())
    }

    fn rewound(&mut self) -> Result<&mut dyn Read, LayerError> {
        self.0.seek(SeekFrom::Start(0)).map_err(LayerError::Read)?;
        Ok(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A root filesystem as text: a path for a file, with `/` at its end for a directory; its content.
    type Files = BTreeMap<String, String>;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(path, content)| ((*path).to_owned(), (*content).to_owned()))
            .collect()
    }

    fn tar(files: &Files) -> Vec<u8> {
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort_by(|left, right| {
            compare_paths(
                left.0.trim_end_matches('/').as_bytes(),
                right.0.trim_end_matches('/').as_bytes(),
            )
        });
        let mut writer = LayerWriter::new(Vec::new());
        for (path, content) in sorted {
            let entry = match (path.strip_suffix('/'), content.strip_prefix("-> ")) {
                (Some(path), _) => Entry::directory(path, 7),
                (None, Some(target)) => Entry::symlink(path, target, 7),
                (None, None) => match content.strip_prefix("= ") {
                    Some(target) => Entry {
                        kind: EntryKind::Hardlink(target.as_bytes().to_vec()),
                        ..Entry::file(path, 0, 0o644, 7)
                    },
                    None => Entry::file(path, content.len() as u64, 0o644, 7),
                },
            };
            let content = if entry.size_bytes() > 0 {
                content.as_bytes()
            } else {
                b""
            };
            writer.append(&entry, &mut &content[..]).unwrap();
        }
        writer.finish().unwrap().2
    }

    fn tree(layers: &[&[u8]]) -> Tree {
        let mut tree = Tree::default();
        for layer in layers {
            tree.apply(*layer).unwrap();
        }
        tree
    }

    fn layer(files: &Files, base: &Tree, removed: &[&str]) -> Result<Vec<u8>, LayerError> {
        let removed: Vec<String> = removed.iter().map(|pattern| (*pattern).to_owned()).collect();
        let mut writer = LayerWriter::new(Vec::new());
        let rules = Rules::new(&removed, 1_000)?;
        assemble(&tar(files)[..], base, &rules, &mut writer, &mut |_, _| Ok(()))?;
        Ok(writer.finish()?.2)
    }

    fn paths(layer: &[u8]) -> Vec<String> {
        let mut paths = Vec::new();
        read_tar(layer, &mut |entry, _| {
            paths.push(String::from_utf8_lossy(&entry.path).into_owned());
            Ok(())
        })
        .unwrap();
        paths
    }

    #[test]
    fn only_the_difference_is_written() {
        let base_files = files(&[
            ("a/", ""),
            ("a/same", "1"),
            ("a/other", "1"),
            ("a/gone", "1"),
            ("d/", ""),
            ("d/x/", ""),
            ("d/x/y", "1"),
            ("f", "-> a"),
            ("h1", "1"),
            ("h2", "= h1"),
        ]);
        let base_layer = layer(&base_files, &Tree::default(), &[]).unwrap();
        let base = tree(&[&base_layer]);
        for (change, gone, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[("a/other", "2")], &[], &["a/other"]),
            (&[("a/new", "2")], &[], &["a/new"]),
            (&[], &["a/gone"], &["a/.wh.gone"]),
            (&[], &["d/", "d/x/", "d/x/y"], &[".wh.d"]),
            (&[("d", "2")], &["d/", "d/x/", "d/x/y"], &["d"]),
            (&[("f", "-> b")], &[], &["f"]),
            // The second name must follow when the first one's file is a new one.
            (&[("h1", "2")], &[], &["h1", "h2"]),
        ] {
            let mut next = base_files.clone();
            gone.iter().for_each(|path: &&str| {
                next.remove(*path);
            });
            next.extend(files(change));
            let difference = layer(&next, &base, &[]).unwrap();
            assert_eq!(paths(&difference), expected, "{change:?} {gone:?}");
            assert_eq!(
                tree(&[&base_layer, &difference]),
                tree(&[&tar(&next)]),
                "{change:?} {gone:?}"
            );
        }
    }

    #[test]
    fn what_is_of_the_machine_is_left_out() {
        let next = files(&[
            ("etc/", ""),
            ("etc/hostname", "me"),
            ("etc/passwd", "root"),
            ("etc/passwd-", "root"),
            ("usr/", ""),
            ("usr/share/", ""),
            ("usr/share/doc/", ""),
            ("usr/share/doc/x/", ""),
            ("usr/share/doc/x/y", "1"),
            ("usr/share/document", "1"),
            ("var/", ""),
            ("var/log/", ""),
            ("var/log/apt/", ""),
            ("var/log/apt/term.log", "now"),
        ]);
        let found = paths(&layer(&next, &Tree::default(), &["usr/share/doc"]).unwrap());
        assert_eq!(
            found,
            [
                "etc",
                "etc/passwd",
                "usr",
                "usr/share",
                "usr/share/document",
                "var",
                "var/log"
            ]
        );
    }

    #[test]
    fn late_times_are_cut_and_early_ones_kept() {
        let mut writer = LayerWriter::new(Vec::new());
        for (path, time) in [("a", 5), ("b", 5_000)] {
            writer
                .append(&Entry::file(path, 0, 0o644, time), &mut io::empty())
                .unwrap();
        }
        let input = writer.finish().unwrap().2;
        let mut writer = LayerWriter::new(Vec::new());
        let rules = Rules::new(&[], 1_000).unwrap();
        assemble(&input[..], &Tree::default(), &rules, &mut writer, &mut |_, _| Ok(())).unwrap();
        let times: Vec<u64> = tree(&[&writer.finish().unwrap().2])
            .iter()
            .map(|(_, node)| node.entry.mtime_seconds)
            .collect();
        assert_eq!(times, [5, 1_000]);
    }

    #[test]
    fn notes_and_packages_are_captured() {
        let next = files(&[
            ("tmp/lockstep/packages", "x"),
            ("var/cache/apt/archives/x_1_amd64.deb", "y"),
            ("var/cache/apt/archives/lock", ""),
            ("var/cache/apt/archives/partial/z.deb", "z"),
            ("x", "1"),
        ]);
        let mut captured = Vec::new();
        let mut writer = LayerWriter::new(Vec::new());
        let rules = Rules::new(&[], 0).unwrap();
        assemble(
            &tar(&next)[..],
            &Tree::default(),
            &rules,
            &mut writer,
            &mut |path, content| {
                captured.push((path.to_owned(), read_note(content)?));
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(paths(&writer.finish().unwrap().2), ["x"]);
        let expected = [
            ("tmp/lockstep/packages", "x"),
            ("var/cache/apt/archives/x_1_amd64.deb", "y"),
        ];
        assert_eq!(
            captured,
            expected.map(|(path, text)| (path.to_owned(), text.to_owned()))
        );
    }

    #[test]
    fn what_is_not_sorted_or_not_whole_is_refused() {
        let mut writer = LayerWriter::new(Vec::new());
        for path in ["b", "a"] {
            writer
                .append(&Entry::file(path, 0, 0o644, 0), &mut io::empty())
                .unwrap();
        }
        let input = writer.finish().unwrap().2;
        let rules = Rules::new(&[], 0).unwrap();
        let mut writer = LayerWriter::new(Vec::new());
        let result = assemble(&input[..], &Tree::default(), &rules, &mut writer, &mut |_, _| Ok(()));
        assert!(matches!(result, Err(LayerError::Order { .. })));
        let linked = files(&[("a", "1"), ("b", "= a")]);
        let result = layer(&linked, &Tree::default(), &["a"]);
        assert!(matches!(result, Err(LayerError::LinkTarget { .. })));
    }

    fn tree_of_files() -> impl Strategy<Value = Files> {
        let content = prop_oneof!["[ab]{0,2}", Just("-> x".to_owned())];
        proptest::collection::btree_map("[ab](/[ab]){0,2}", content, 0..8).prop_map(|files| {
            let mut whole = Files::new();
            for (path, content) in files {
                // Parents that are files themselves cannot hold anything.
                let above: Vec<String> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
                if above.iter().any(|path| whole.contains_key(path)) {
                    continue;
                }
                whole.extend(above.iter().map(|path| (format!("{path}/"), String::new())));
                if !whole.contains_key(&format!("{path}/")) {
                    whole.insert(path, content);
                }
            }
            whole
        })
    }

    proptest! {
        #[test]
        fn base_and_difference_make_the_whole(before in tree_of_files(), after in tree_of_files()) {
            let base_layer = layer(&before, &Tree::default(), &[]).unwrap();
            let base = tree(&[&base_layer]);
            let difference = layer(&after, &base, &[]).unwrap();
            prop_assert_eq!(&difference, &layer(&after, &base, &[]).unwrap());
            prop_assert_eq!(tree(&[&base_layer, &difference]), tree(&[&tar(&after)]));
        }
    }
}
