//! Directories for work in progress: gone when the work is done, or when the next one starts after a crash.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio_util::sync::CancellationToken;

use crate::regular_file;
use crate::temporary::{self, TemporaryDirectory};

/// How often a lock that somebody else holds is tried.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// What the names of directories of work start with.
pub(super) const WORK_PREFIX: &str = "work-";
/// How many leftovers one start removes; the next one removes the rest.
const SWEEP_LIMIT_ENTRIES: usize = 100;

/// A directory of this process alone.
#[derive(Debug)]
pub(super) struct WorkDirectory {
    directory: TemporaryDirectory,
}

impl WorkDirectory {
    /// Makes one below `parent`, and removes those whose process has died.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        // What cannot be removed now is tried again at the next start.
        let _ = temporary::sweep(parent, &[WORK_PREFIX]);
        let directory = TemporaryDirectory::new_in(parent, WORK_PREFIX)?;
        // Programs that the bootstrap runs as other users have to get through.
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(directory.path(), mode)?;
        Ok(Self { directory })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// The right to make one image; the kernel takes it back when the process ends.
#[derive(Debug)]
pub(super) struct KeyLock(#[expect(dead_code, reason = "holds the lock for as long as it is open")] File);

impl KeyLock {
    /// Waits for it until `cancel`; none then.
    pub(super) fn acquire(path: &Path, cancel: &CancellationToken) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self(file))),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if cancel.is_cancelled() {
                return Ok(None);
            }
            std::thread::sleep(LOCK_POLL);
        }
    }
}

/// The promise that this process writes new files: nobody sweeps them as long as it lives.
#[derive(Debug)]
pub(super) struct Writing(#[expect(dead_code, reason = "holds the lock for as long as it is open")] File);

impl Writing {
    /// Removes what dead processes have left in `directory`, when no living one writes there, and then keeps others
    /// from doing that.
    pub(super) fn begin(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.with_extension("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(path)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            for entry in fs::read_dir(directory)?.flatten().take(SWEEP_LIMIT_ENTRIES) {
                let _ = fs::remove_file(entry.path());
            }
        }
        // Waits for another process's sweep at most.
        flock(&lock, FlockOperation::LockShared)?;
        Ok(Self(lock))
    }
}

/// Gives a file a second name, or copies it where the file system cannot.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => regular_file::copy_itself(from, to),
    }
}

/// Moves a finished file to its place, where it may be already.
pub(super) fn publish(file: tempfile::NamedTempFile, to: &Path) -> io::Result<PathBuf> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(to).map_err(|error| error.error)?;
    Ok(to.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_work_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("work-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("tree.tar"), "").unwrap();
        let first = WorkDirectory::new(parent.path()).unwrap();
        let second = WorkDirectory::new(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(first.path().is_dir() && second.path().is_dir());
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn only_files_of_the_dead_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let new = parent.path().join("new");
        fs::create_dir(&new).unwrap();
        fs::write(new.join("dead"), "").unwrap();
        let first = Writing::begin(&new).unwrap();
        assert!(!new.join("dead").exists());
        fs::write(new.join("living"), "").unwrap();
        let second = Writing::begin(&new).unwrap();
        drop(first);
        let third = Writing::begin(&new).unwrap();
        assert!(new.join("living").exists());
        drop((second, third));
        let _fourth = Writing::begin(&new).unwrap();
        assert!(!new.join("living").exists());
    }

    #[test]
    fn waiting_for_another_run_can_be_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.lock");
        let cancel = CancellationToken::new();
        let held = KeyLock::acquire(&path, &cancel).unwrap();
        assert!(held.is_some());
        cancel.cancel();
        assert!(KeyLock::acquire(&path, &cancel).unwrap().is_none());
        drop(held);
        assert!(KeyLock::acquire(&path, &cancel).unwrap().is_some());
    }
}
