//! Files and directories in the making, which no death of this process leaves behind for ever.
//!
//! Each has a name with a prefix that says whose it is, and a lock that the kernel takes back when the process ends, by
//! whatever means. Whoever sweeps a directory removes what has the prefix and nobody's lock: a run that lives keeps its
//! own, also in a directory that all projects share.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use tempfile::{NamedTempFile, TempDir};

use crate::regular_file;

/// What the names of artifacts that are being collected start with.
pub(crate) const COLLECT_PREFIX: &str = "collect-";
/// What the names of saved environments that are being written start with, beside where they will be.
pub(crate) const SAVE_PREFIX: &str = ".lockstep-save-";
/// What the names of locks that are being written start with, beside the lock.
pub(crate) const LOCK_PREFIX: &str = ".lockstep-lock-";
/// What the names of project files that `init` is writing start with.
pub(crate) const INIT_PREFIX: &str = ".lockstep-init-";

/// How many leftovers one sweep removes; the next one removes the rest.
const SWEEP_LIMIT_ENTRIES: usize = 1000;
/// How many entries of a directory are looked at for leftovers.
const LIST_LIMIT_ENTRIES: usize = 100_000;
/// How often something is made anew because a sweep took it before it was locked.
const MAKING_LIMIT_COUNT: usize = 100;

/// A directory of this process alone. Removed when dropped.
#[derive(Debug)]
pub struct TemporaryDirectory {
    directory: TempDir,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl TemporaryDirectory {
    /// Makes one in `parent`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn new_in(parent: &Path, prefix: &str) -> io::Result<Self> {
        for _ in 0..MAKING_LIMIT_COUNT {
            let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
            let Ok(lock) = open_directory(directory.path()) else {
                continue;
            };
            if is_locked(&lock, directory.path()) {
                return Ok(Self { directory, _lock: lock });
            }
        }
        Err(swept(parent))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Makes a file of this process alone, to be moved to its place when it is whole; removed when dropped.
///
/// # Errors
/// When the file system refuses.
pub fn file_in(parent: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    for _ in 0..MAKING_LIMIT_COUNT {
        let file = tempfile::Builder::new().prefix(prefix).tempfile_in(parent)?;
        if is_locked(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
    Err(swept(parent))
}

/// What in `directory` has one of these prefixes and belongs to no process that lives; nothing when there is no such
/// directory.
///
/// # Errors
/// When the directory cannot be listed.
pub fn leftovers(directory: &Path, prefixes: &[&str]) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries.take(LIST_LIMIT_ENTRIES) {
        let entry = entry?;
        if has_prefix(&entry.file_name(), prefixes) && matches!(claim(&entry.path()), Claim::Dead(_)) {
            found.push(entry.path());
        }
    }
    found.sort();
    found.truncate(SWEEP_LIMIT_ENTRIES);
    Ok(found)
}

/// Whether something of this name was made with one of these prefixes.
pub(crate) fn has_prefix(name: &OsStr, prefixes: &[&str]) -> bool {
    let starts = |prefix: &&str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    prefixes.iter().any(starts)
}

/// Removes [`leftovers`] and returns them.
///
/// # Errors
/// When one of them cannot be removed.
pub fn sweep(directory: &Path, prefixes: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut removed = leftovers(directory, prefixes)?;
    let mut failure = None;
    removed.retain(|path| {
        let is_removed = remove_dead(path);
        is_removed.unwrap_or_else(|error| {
            failure.get_or_insert(error);
            false
        })
    });
    failure.map_or(Ok(removed), Err)
}

/// Removes one of [`leftovers`], unless somebody has come to own it since; whether it was removed.
///
/// # Errors
/// When the file system refuses.
pub fn remove_dead(path: &Path) -> io::Result<bool> {
    // The lock is held until nothing is there any more: whoever was about to take it finds that out.
    match claim(path) {
        Claim::Living => Ok(false),
        Claim::Dead(_lock) => remove(path).map(|()| true),
    }
}

/// Removes a file, a link or a directory with all in it; well when there is nothing.
///
/// # Errors
/// When the file system refuses.
pub fn remove(path: &Path) -> io::Result<()> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the lock of what was made at `path` is had, and it is still there: a sweep may have come in between.
fn is_locked(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    // A sweep has it for a moment at most. On a file system without locks nobody can sweep.
    if flock(file, FlockOperation::LockExclusive).is_err() {
        return true;
    }
    let there = fs::symlink_metadata(path).ok();
    there.as_ref().map(id) == file.metadata().ok().as_ref().map(id)
}

/// What became of the try to take over what is at a path.
enum Claim {
    /// Somebody has it, or it cannot be told.
    Living,
    /// Nobody had it, and now this process has. What is neither a file nor a directory was never made here, and has no
    /// lock.
    Dead(Option<File>),
}

fn claim(path: &Path) -> Claim {
    let opened = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => open_directory(path),
        Ok(metadata) if metadata.is_file() => regular_file::open_itself(path),
        Ok(_) => return Claim::Dead(None),
        Err(_) => return Claim::Living,
    };
    match opened {
        Ok(file) if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() => Claim::Dead(Some(file)),
        _ => Claim::Living,
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn swept(parent: &Path) -> io::Error {
    let parent = parent.display();
    io::Error::other(format!("what is made in {parent} is removed by somebody else at once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_living_make_stays_and_what_the_dead_left_goes() {
        let parent = tempfile::tempdir().unwrap();
        let living = TemporaryDirectory::new_in(parent.path(), "collect-").unwrap();
        let file = file_in(parent.path(), "collect-").unwrap();
        let (dead, link) = (parent.path().join("collect-dead"), parent.path().join("collect-link"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("greeter"), "x").unwrap();
        std::os::unix::fs::symlink("/", &link).unwrap();
        fs::write(parent.path().join("kept"), "x").unwrap();
        assert_eq!(
            sweep(parent.path(), &["collect-"]).unwrap(),
            [dead.clone(), link.clone()]
        );
        assert!(living.path().is_dir() && file.path().is_file());
        assert!(!dead.exists() && !link.is_symlink() && parent.path().join("kept").is_file());
        let path = living.path().to_owned();
        drop((living, file));
        assert!(!path.exists());
        assert_eq!(
            sweep(&parent.path().join("gone"), &["collect-"]).unwrap(),
            Vec::<PathBuf>::new()
        );
    }

    /// Sweeping and making at the same time: nothing is taken from under the feet of who made it.
    #[test]
    fn a_sweep_takes_nothing_that_was_made() {
        const ROUNDS: usize = 300;
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS * 10 {
                    let _ = sweep(parent.path(), &["x-"]);
                }
            });
            for _ in 0..ROUNDS {
                let directory = TemporaryDirectory::new_in(parent.path(), "x-").unwrap();
                let file = file_in(parent.path(), "x-").unwrap();
                std::thread::yield_now();
                assert!(directory.path().is_dir() && file.path().is_file());
            }
        });
        assert_eq!(leftovers(parent.path(), &["x-"]).unwrap(), Vec::<PathBuf>::new());
    }
}
