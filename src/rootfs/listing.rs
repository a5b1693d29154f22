//! Every entry below a directory of this machine, with all that is said of it. No link is followed, and what is mounted below it
//! is not looked into.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::DirectoryRoot;
use super::contents::{ENTRIES_LIMIT_COUNT, Place};
use crate::image::{Entry, EntryKind, Node, Tree};

/// The longest value of an extended attribute (`XATTR_SIZE_MAX`), and the longest list of their names.
const ATTRIBUTE_LIMIT_BYTES: usize = 64 * 1024;

impl DirectoryRoot {
    /// Lists all of it.
    pub(super) fn listing(&self) -> io::Result<Tree<Place>> {
        let mut tree = Tree::default();
        let mut pending: Vec<Vec<u8>> = vec![vec![]];
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = self.open_at_once(b"", flags)?;
        let device = rustix::fs::fstat(&root)?.st_dev;
        while let Some(directory) = pending.pop() {
            let at = |cause: io::Error| {
                io::Error::new(
                    cause.kind(),
                    format!("{cause}: {}", String::from_utf8_lossy(&directory)),
                )
            };
            let opened = self.open_at_once(&directory, flags).map_err(|cause| at(cause.into()))?;
            if rustix::fs::fstat(&opened)?.st_dev != device {
                continue;
            }
            for entry in Dir::read_from(&opened)? {
                let name = entry.map_err(|cause| at(cause.into()))?.file_name().to_bytes().to_vec();
                if name == b"." || name == b".." {
                    continue;
                }
                let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
                let path = [&directory[..], separator, &name].concat();
                let node = listed(&opened, &name, path.clone()).map_err(at)?;
                if let Some(node) = node {
                    pending.extend((node.entry.kind == EntryKind::Directory).then_some(path));
                    tree.insert(node);
                }
                if tree.len() as u64 > ENTRIES_LIMIT_COUNT {
                    return Err(io::Error::other(format!(
                        "it has more than {ENTRIES_LIMIT_COUNT} entries"
                    )));
                }
            }
        }
        Ok(tree)
    }
}

/// One entry of a directory; none for a socket, which no image can have, and for what is gone meanwhile.
fn listed(directory: &OwnedFd, name: &[u8], path: Vec<u8>) -> io::Result<Option<Node<Place>>> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
    let device = || (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File { size_bytes },
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            EntryKind::Symlink(target.into_bytes())
        }
        FileType::Fifo => EntryKind::Fifo,
        FileType::CharacterDevice => {
            let (major, minor) = device();
            EntryKind::Character { major, minor }
        }
        FileType::BlockDevice => {
            let (major, minor) = device();
            EntryKind::Block { major, minor }
        }
        _ => return Ok(None),
    };
    let attributes = match kind {
        EntryKind::File { .. } | EntryKind::Directory => attributes(directory, name)?,
        _ => BTreeMap::new(),
    };
    Ok(Some(Node {
        content: Place {
            layer: stat.st_dev,
            start: stat.st_ino,
            size_bytes: if matches!(kind, EntryKind::File { .. }) {
                size_bytes
            } else {
                0
            },
        },
        entry: entry(path, kind, &stat, attributes),
    }))
}

fn entry(path: Vec<u8>, kind: EntryKind, stat: &Stat, attributes: BTreeMap<String, Vec<u8>>) -> Entry {
    Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid.into(),
        gid: stat.st_gid.into(),
        mtime_seconds: u64::try_from(stat.st_mtime).unwrap_or(0),
        attributes,
    }
}

/// The extended attributes that matter in an image; none where the file system has none.
fn attributes(directory: &OwnedFd, name: &[u8]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    // There is no call that takes a directory and a name in it.
    let path = [format!("/proc/self/fd/{}/", directory.as_raw_fd()).as_bytes(), name].concat();
    let mut names = vec![0; ATTRIBUTE_LIMIT_BYTES];
    let length = match rustix::fs::llistxattr(&path[..], &mut names) {
        Err(Errno::NOTSUP | Errno::NOENT | Errno::ACCESS) => return Ok(BTreeMap::new()),
        length => length?,
    };
    let mut found = BTreeMap::new();
    for attribute in names[..length].split(|byte| *byte == 0) {
        let Some(attribute) = std::str::from_utf8(attribute)
            .ok()
            .filter(|name| Entry::has_attribute(name))
        else {
            continue;
        };
        let mut value = vec![0; ATTRIBUTE_LIMIT_BYTES];
        let length = match rustix::fs::lgetxattr(&path[..], attribute, &mut value) {
            Err(Errno::NODATA | Errno::NOENT) => continue,
            length => length?,
        };
        value.truncate(length);
        found.insert(attribute.to_owned(), value);
    }
    Ok(found)
}
