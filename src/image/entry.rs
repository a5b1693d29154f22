//! One entry of a root filesystem, as it stands in a layer.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file of this many bytes.
    File {
        /// Its size.
        size_bytes: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// Another name of the entry at this path.
    Hardlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device.
    Character {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

/// An entry without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, without `.`, `..` and empty parts.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// When it was changed, in seconds since the epoch.
    pub mtime_seconds: u64,
    /// Extended attributes that matter in an image: capabilities and `user.*`.
    pub attributes: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    /// A directory of root's.
    #[must_use]
    pub fn directory(path: &str, mtime_seconds: u64) -> Self {
        Self::own(path, EntryKind::Directory, 0o755, mtime_seconds)
    }

    /// A file of root's.
    #[must_use]
    pub fn file(path: &str, size_bytes: u64, mode: u32, mtime_seconds: u64) -> Self {
        Self::own(path, EntryKind::File { size_bytes }, mode, mtime_seconds)
    }

    /// A symbolic link of root's.
    #[must_use]
    pub fn symlink(path: &str, target: &str, mtime_seconds: u64) -> Self {
        Self::own(
            path,
            EntryKind::Symlink(target.as_bytes().to_vec()),
            0o777,
            mtime_seconds,
        )
    }

    fn own(path: &str, kind: EntryKind, mode: u32, mtime_seconds: u64) -> Self {
        Self {
            path: path.as_bytes().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime_seconds,
            attributes: BTreeMap::new(),
        }
    }

    /// Whether an extended attribute of this name matters in an image. Others say how a machine's file system was set up
    /// (`security.selinux`, `trusted.overlay.*`).
    #[must_use]
    pub fn has_attribute(name: &str) -> bool {
        name == "security.capability" || name.starts_with("user.")
    }

    /// How many bytes of content it has.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self.kind {
            EntryKind::File { size_bytes } => size_bytes,
            _ => 0,
        }
    }
}

/// The order of entries in a layer: part by part, so that a directory comes right before what is in it. It is the
/// order of `tar --sort=name`.
#[must_use]
pub fn compare_paths(left: &[u8], right: &[u8]) -> Ordering {
    left.split(|byte| *byte == b'/').cmp(right.split(|byte| *byte == b'/'))
}

/// A relative path without `.` and empty parts, and empty for the root itself; none when it leads outside.
#[must_use]
pub fn clean_path(path: &[u8]) -> Option<Vec<u8>> {
    let mut clean = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Some(clean)
}

/// The directory that a path is in, and the last part.
#[must_use]
pub fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_directory_comes_before_what_is_in_it_and_nothing_comes_between(
            directory in "[a-c.!]{1,3}(/[a-c.!]{1,3}){0,2}",
            below in "[a-c.!]{1,3}",
            other in "[a-c.!]{1,3}(/[a-c.!]{1,3}){0,3}",
        ) {
            let (directory, other) = (directory.as_bytes(), other.as_bytes());
            let inside = [directory, b"/", below.as_bytes()].concat();
            prop_assert_eq!(compare_paths(directory, &inside), Ordering::Less);
            let is_between =
                compare_paths(directory, other) == Ordering::Less && compare_paths(other, &inside) == Ordering::Less;
            let prefix = [directory, b"/"].concat();
            prop_assert!(!is_between || other.starts_with(&prefix));
        }

        #[test]
        fn a_clean_path_never_leads_outside(path: Vec<u8>) {
            if let Some(clean) = clean_path(&path) {
                prop_assert!(clean.is_empty() || clean.split(|byte| *byte == b'/').all(
                    |part| !matches!(part, b"" | b"." | b"..")
                ));
                prop_assert_eq!(clean_path(&clean), Some(clean));
            } else {
                prop_assert!(path.windows(2).any(|pair| pair == b".."));
            }
        }
    }
}
