//! A root file system in a directory of this machine. Nothing is read before it is asked for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::map::map_file;
use super::objects::{Object, Objects};
use super::walk::{Node, Nodes, There, Walker};
use super::{FileKind, Found, LookError, RootFs};
use crate::facts::file_capabilities::{CAPABILITY_ATTRIBUTE, CAPABILITY_LIMIT_BYTES};
use crate::owner::Owner;

/// How many paths are remembered, those with nothing at them included.
const NODES_LIMIT_COUNT: usize = 1_000_000;
/// Larger files are mapped, smaller ones read: their bytes stay as they are.
const READ_LIMIT_BYTES: u64 = 1024 * 1024;
/// How many entries of a directory are listed.
const LIST_LIMIT_COUNT: usize = 1_000_000;

/// A root in a directory.
///
/// What is at a path is looked at once: a root that changes meanwhile is seen partly as it was.
#[derive(Debug)]
pub struct DirectoryRoot {
    root: OwnedFd,
    /// Device and number of the directory itself.
    root_id: (u64, u64),
    walker: Walker,
    nodes: Mutex<HashMap<String, Result<Node, LookError>>>,
    /// The part of a directory's path that leads to the root, of directories of this machine; none for those outside.
    above: Mutex<HashMap<PathBuf, Option<PathBuf>>>,
    objects: Objects,
}

impl DirectoryRoot {
    /// Takes a directory as a root.
    ///
    /// # Errors
    /// When it is none or may not be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        let root_id = id(&rustix::fs::fstat(&root)?);
        Ok(Self {
            root,
            root_id,
            walker: Walker::default(),
            nodes: Mutex::default(),
            above: Mutex::default(),
            objects: Objects::default(),
        })
    }

    /// Looks at one path, whose directories are known to be no links.
    fn stat(&self, path: &str) -> Result<Node, LookError> {
        let relative = match path.trim_start_matches('/') {
            "" => ".",
            relative => relative,
        };
        let stat = rustix::fs::statat(&self.root, relative, AtFlags::SYMLINK_NOFOLLOW).map_err(look_error)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&self.root, relative, Vec::new()).map_err(look_error)?;
                return match target.into_string() {
                    Ok(target) => Ok(Node::Link(target.into())),
                    Err(_) => Err(LookError::Denied),
                };
            }
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            _ => FileKind::Other,
        };
        Ok(Node::There(There {
            id: id(&stat),
            kind,
            len: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode & 0o7777,
            owner: Owner {
                uid: stat.st_uid,
                gid: stat.st_gid,
            },
        }))
    }

    /// Opens what was found without following a link, so that nobody can have led the path outside since.
    fn open_found(&self, found: &Found, kind: OFlags) -> Option<OwnedFd> {
        // Opening a pipe would wait for somebody who writes to it.
        let flags = kind | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = self.open_at_once(found.path.as_bytes(), flags).ok()?;
        (id(&rustix::fs::fstat(&file).ok()?) == found.id).then_some(file)
    }

    /// Opens what is at a path that leads through no link.
    pub(super) fn open_at_once(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let start = path.iter().position(|byte| *byte != b'/');
        let relative = start.map_or(&b"."[..], |start| &path[start..]);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&self.root, relative, flags, Mode::empty(), resolve) {
            // Kernels before 5.6 do not know it, and some sandboxes forbid it.
            Err(Errno::NOSYS | Errno::PERM) => self.open_by_parts(relative, flags),
            opened => opened,
        }
    }

    fn open_by_parts(&self, relative: &[u8], last: OFlags) -> rustix::io::Result<OwnedFd> {
        let parts = relative.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let mut parts: Vec<&[u8]> = parts.collect();
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = parts.pop().unwrap_or(b".");
        let mut directory: Option<OwnedFd> = None;
        for part in parts {
            let base = directory.as_ref().unwrap_or(&self.root);
            directory = Some(rustix::fs::openat(base, part, through, Mode::empty())?);
        }
        let base = directory.as_ref().unwrap_or(&self.root);
        rustix::fs::openat(base, name, last, Mode::empty())
    }

    /// The part of a directory's path that leads to the root.
    fn above(&self, directory: &Path) -> Option<PathBuf> {
        let mut known = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(above) = known.get(directory) {
            return above.clone();
        }
        let directories: Vec<&Path> = directory.ancestors().collect();
        let is_root = |directory: &&Path| rustix::fs::stat(*directory).is_ok_and(|stat| id(&stat) == self.root_id);
        let above = directories.into_iter().rev().find(is_root).map(Path::to_owned);
        if known.len() < NODES_LIMIT_COUNT {
            known.insert(directory.to_owned(), above.clone());
        }
        above
    }

    fn file(&self, found: &Found) -> Option<File> {
        if found.kind != FileKind::File {
            return None;
        }
        self.open_found(found, OFlags::empty()).map(File::from)
    }
}

impl Nodes for DirectoryRoot {
    fn node(&self, path: &str) -> Result<Node, LookError> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = nodes.get(path) {
            return known.clone();
        }
        let node = self.stat(path);
        if nodes.len() < NODES_LIMIT_COUNT {
            nodes.insert(path.to_owned(), node.clone());
        }
        node
    }
}

impl RootFs for DirectoryRoot {
    fn look(&self, path: &str) -> Result<Found, LookError> {
        self.walker.look(self, path)
    }

    fn object(&self, found: &Found) -> Option<Object> {
        self.objects.get(found.id, || map_file(&self.file(found)?).ok())
    }

    fn bytes(&self, found: &Found, limit: u64) -> Option<Bytes> {
        if found.len > limit {
            return None;
        }
        let file = self.file(found)?;
        if found.len > READ_LIMIT_BYTES {
            return map_file(&file).ok().filter(|bytes| bytes.len() as u64 <= limit);
        }
        let mut bytes = Vec::new();
        // It may have grown since.
        let mut limited = file.take(limit.min(READ_LIMIT_BYTES).saturating_add(1));
        limited.read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= limit.min(READ_LIMIT_BYTES)).then(|| bytes.into())
    }

    fn capabilities(&self, found: &Found) -> Option<Vec<u8>> {
        if found.kind != FileKind::File {
            return None;
        }
        // Whoever may not read a file may read what it is given all the same, but only by a path.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.open_at_once(found.path.as_bytes(), flags).ok()?;
        if id(&rustix::fs::fstat(&file).ok()?) != found.id {
            return None;
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // A larger value is none that the kernel takes.
        let mut value = vec![0; CAPABILITY_LIMIT_BYTES];
        let len = rustix::fs::getxattr(path, CAPABILITY_ATTRIBUTE, &mut value).ok()?;
        value.truncate(len);
        Some(value)
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let Ok(found) = self.look(directory) else {
            return Vec::new();
        };
        let Some(opened) = self.open_found(&found, OFlags::DIRECTORY) else {
            return Vec::new();
        };
        let Ok(entries) = Dir::new(opened) else {
            return Vec::new();
        };
        let base = directory.trim_end_matches('/');
        let mut paths: Vec<String> = entries
            .take(LIST_LIMIT_COUNT)
            .filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(ToOwned::to_owned))
            .filter(|name| name != "." && name != "..")
            .map(|name| format!("{base}/{name}"))
            .collect();
        paths.sort();
        paths
    }

    fn seen_at(&self, file: &Path) -> Option<String> {
        // The part of the path that leads to the root may lead through links; what follows is seen as it is written, unless it leads
        // out again: where to is for this machine to say.
        self.written(file).or_else(|| {
            let real = file.parent()?.canonicalize().ok()?;
            self.written(&real.join(file.file_name()?))
        })
    }
}

impl DirectoryRoot {
    /// What follows in a path on the part that leads to the root; none if nothing leads there, or if it leads out again.
    fn written(&self, file: &Path) -> Option<String> {
        let root = self.above(file.parent()?)?;
        let mut place = String::new();
        let mut depth = 0_usize;
        for part in file.strip_prefix(root).ok()?.components() {
            match part {
                Component::Normal(name) => {
                    depth += 1;
                    place.push('/');
                    place.push_str(name.to_str()?);
                }
                Component::ParentDir => {
                    depth = depth.checked_sub(1)?;
                    place.push_str("/..");
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Some(place)
    }
}

fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn look_error(error: Errno) -> LookError {
    match error {
        Errno::NOENT => LookError::NotFound,
        Errno::NOTDIR => LookError::NotADirectory,
        Errno::LOOP => LookError::Loop,
        Errno::NAMETOOLONG => LookError::NameTooLong,
        _ => LookError::Denied,
    }
}
