//! `.lockstep/`: what a run keeps beside the project while it goes on, and the lock that lets only one run at a time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use crate::regular_file::{self, Unfit};
use crate::temporary::{self, COLLECT_PREFIX, INIT_PREFIX, LOCK_PREFIX, SAVE_PREFIX};

/// The directory's name, in a project's directory.
pub const STATE_DIRECTORY: &str = ".lockstep";
/// What the names of staging directories start with; the run's ID follows.
pub(crate) const STAGING_PREFIX: &str = "staging-";
/// How long a run waits for another one of the same project when nothing else is said.
pub const PROJECT_LOCK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

const LOCK_FILE: &str = "lock";
const GITIGNORE: &str = "# lockstep keeps here what belongs to this machine alone.\n*\n";
/// Everybody who can read the project can see who holds it.
const LOCK_FILE_MODE: u32 = 0o644;
/// How often the lock is tried: the kernel cannot wait for it with a limit.
const LOCK_POLL_MILLISECONDS: u64 = 50;
/// How much of the lock file is read to say who holds it.
const HOLDER_LIMIT_BYTES: u64 = 256;
/// How many leftovers one sweep removes; the next run removes the rest.
const SWEEP_LIMIT_ENTRIES: usize = 1000;

/// Why the state directory or its lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another run goes on for too long.
    #[error(
        "another run of this project ({holder}) did not end within {} s", limit.as_secs()
    )]
    Busy {
        /// What the other run wrote about itself.
        holder: String,
        /// How long was waited.
        limit: Duration,
        /// The lock.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("failed to {action} {}: {cause}", path.display())]
    Io {
        /// In the infinitive.
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
}

impl StateError {
    /// What to do about it, where lockstep knows.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { path, .. } => Some(format!("wait for it, or end it; it holds {}", path.display())),
            Self::Io { .. } => None,
        }
    }
}

fn failed<'path>(action: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> StateError + 'path {
    move |cause| StateError::Io {
        action,
        path: path.to_owned(),
        cause,
    }
}

/// Makes the project's state directory where it is missing, hidden from version control, and returns its path.
///
/// # Errors
/// When it cannot be made.
pub fn state_directory(project: &Path) -> Result<PathBuf, StateError> {
    let directory = project.join(STATE_DIRECTORY);
    regular_file::make_directory(&directory).map_err(failed("make the directory", &directory))?;
    let gitignore = directory.join(".gitignore");
    match File::create_new(&gitignore).and_then(|mut file| file.write_all(GITIGNORE.as_bytes())) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("write", &gitignore)(error)),
        _ => Ok(directory),
    }
}

/// Holds off runs that would change a project; others may look at it at the same time.
#[derive(Debug)]
pub struct SharedLock {
    /// Holds the lock for as long as it is open.
    _file: File,
}

/// Opens the lock's file, or makes it: never through a link, which would be written to wherever it leads.
fn open_lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(LOCK_FILE_MODE);
    let check = |metadata: fs::Metadata| match regular_file::kind_of(metadata.file_type()) {
        None => Ok(()),
        Some(kind) => Err(io::Error::from(Unfit::Kind(kind))),
    };
    // Before, for words that say what it is; and behind, because it may have become something else.
    fs::symlink_metadata(path).map_or(Ok(()), check)?;
    let file = File::from(rustix::fs::open(path, flags, mode)?);
    check(file.metadata()?)?;
    Ok(file)
}

/// Tries a lock until it is had; when it is not at once, calls `on_wait` with who has it, and waits at most `limit`.
async fn wait_for(
    file: &File,
    operation: FlockOperation,
    path: &Path,
    on_wait: impl FnOnce(&str),
    limit: Duration,
) -> Result<(), StateError> {
    let started = Instant::now();
    let mut on_wait = Some(on_wait);
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(errno) => return Err(failed("lock", path)(errno.into())),
        }
        if let Some(on_wait) = on_wait.take() {
            on_wait(&read_holder(path));
        }
        if started.elapsed() >= limit {
            return Err(StateError::Busy {
                holder: read_holder(path),
                limit,
                path: path.to_owned(),
            });
        }
        sleep(Duration::from_millis(LOCK_POLL_MILLISECONDS)).await;
    }
}

/// The right to write into a project's `dist/` and state directory; the kernel takes it back when the process ends, by
/// whatever means.
#[derive(Debug)]
pub struct ProjectLock {
    directory: PathBuf,
    follows_a_death: bool,
    is_settled: AtomicBool,
    /// Holds the lock for as long as it is open.
    file: File,
}

impl Drop for ProjectLock {
    fn drop(&mut self) {
        // Whoever comes next takes a text for that of a run that was killed, which costs it a moment.
        if self.is_settled.load(Ordering::Relaxed) {
            let _ = self.file.set_len(0);
        }
    }
}

impl ProjectLock {
    /// Takes the lock; when another run has it, calls `on_wait` once with what that run wrote about itself and waits at
    /// most `limit`. `holder` is what others are told about this run.
    ///
    /// # Errors
    /// [`StateError::Busy`] after `limit`; [`StateError::Io`] when the directory cannot be written.
    pub async fn acquire(
        project: &Path,
        holder: &str,
        on_wait: impl FnOnce(&str),
        limit: Duration,
    ) -> Result<Self, StateError> {
        let directory = state_directory(project)?;
        let path = directory.join(LOCK_FILE);
        let mut file = open_lock(&path).map_err(failed("open", &path))?;
        wait_for(&file, FlockOperation::NonBlockingLockExclusive, &path, on_wait, limit).await?;
        // Who ends by itself leaves no text.
        let follows_a_death = file.metadata().is_ok_and(|metadata| metadata.len() > 0);
        // The text only informs; the lock is held whether it can be written or not.
        let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Self {
            directory,
            follows_a_death,
            is_settled: AtomicBool::new(true),
            file,
        })
    }

    /// Whether the run before this one was killed, or ended without an answer: the engine may still be at work for it.
    #[must_use]
    pub fn follows_a_death(&self) -> bool {
        self.follows_a_death
    }

    /// This run ends while the engine may still be at work for it.
    pub fn ends_unsettled(&self) {
        self.is_settled.store(false, Ordering::Relaxed);
    }

    /// Keeps other runs from changing the project while it is only looked at, where nothing can be written. None when no
    /// run was here yet: then there is nothing to take, and whoever can write there is not kept out.
    ///
    /// # Errors
    /// As [`ProjectLock::acquire`].
    pub async fn share(
        project: &Path,
        on_wait: impl FnOnce(&str),
        limit: Duration,
    ) -> Result<Option<SharedLock>, StateError> {
        let path = project.join(STATE_DIRECTORY).join(LOCK_FILE);
        let Ok(file) = regular_file::open_itself(&path) else {
            return Ok(None);
        };
        wait_for(&file, FlockOperation::NonBlockingLockShared, &path, on_wait, limit).await?;
        Ok(Some(SharedLock { _file: file }))
    }

    /// The state directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn project(&self) -> &Path {
        self.directory.parent().unwrap_or(&self.directory)
    }

    /// What runs that were killed have left behind. Whoever holds the lock is the only run, so all of it is dead.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>, StateError> {
        let mut leftovers = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed("list", &self.directory))? {
            let entry = entry.map_err(failed("list", &self.directory))?;
            if temporary::has_prefix(&entry.file_name(), &[STAGING_PREFIX, COLLECT_PREFIX]) {
                leftovers.push(entry.path());
            }
        }
        leftovers.sort();
        leftovers.truncate(SWEEP_LIMIT_ENTRIES);
        leftovers.extend(leftovers_beside(self.project()).map_err(failed("list", self.project()))?);
        Ok(leftovers)
    }

    /// Removes [`ProjectLock::leftovers`] and returns them.
    ///
    /// # Errors
    /// When one of them cannot be removed.
    pub fn sweep(&self) -> Result<Vec<PathBuf>, StateError> {
        let leftovers = self.leftovers()?;
        for path in &leftovers {
            temporary::remove(path).map_err(failed("remove", path))?;
        }
        Ok(leftovers)
    }
}

/// What dead processes have left in a project's own directory, beside its files.
///
/// # Errors
/// When the directory cannot be listed.
pub fn leftovers_beside(project: &Path) -> io::Result<Vec<PathBuf>> {
    temporary::leftovers(project, &[LOCK_PREFIX, INIT_PREFIX, SAVE_PREFIX])
}

/// What the run that holds a project's lock wrote about itself; none when no run goes on. Makes nothing.
///
/// # Errors
/// When the lock cannot be opened or tried.
pub fn holder(project: &Path) -> io::Result<Option<String>> {
    let path = project.join(STATE_DIRECTORY).join(LOCK_FILE);
    let file = match regular_file::open_itself(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => Ok(Some(read_holder(&path))),
        Err(errno) => Err(errno.into()),
    }
}

fn read_holder(path: &Path) -> String {
    let text = regular_file::read_start(path, HOLDER_LIMIT_BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match text.trim() {
        name if !name.is_empty() => name.escape_debug().to_string(),
        _ => "of unknown name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const SHORT: Duration = Duration::from_millis(120);

    #[tokio::test]
    async fn the_second_run_waits_and_is_told_for_whom() {
        let project = tempfile::tempdir().unwrap();
        let first = ProjectLock::acquire(project.path(), "run 1", |_| panic!("nobody holds it"), SHORT)
            .await
            .unwrap();
        let told = Mutex::new(Vec::new());
        let on_wait = |holder: &str| told.lock().unwrap().push(holder.to_owned());
        let error = ProjectLock::acquire(project.path(), "run 2", on_wait, SHORT)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, StateError::Busy { holder, .. } if holder == "run 1"),
            "{error}"
        );
        assert_eq!(*told.lock().unwrap(), ["run 1"]);

        let release = async {
            sleep(SHORT).await;
            drop(first);
        };
        let waiting = ProjectLock::acquire(project.path(), "run 3", |_| {}, Duration::from_secs(10));
        let (third, ()) = tokio::join!(waiting, release);
        assert!(third.is_ok());
        assert_eq!(read_holder(&project.path().join(".lockstep/lock")), "run 3");
        assert!(
            !third.unwrap().follows_a_death(),
            "the runs before it ended by themselves"
        );

        fs::write(project.path().join(".lockstep/lock"), "run 4").unwrap();
        for is_death in [true, false] {
            let lock = ProjectLock::acquire(project.path(), "run 5", |_| {}, SHORT)
                .await
                .unwrap();
            assert_eq!(lock.follows_a_death(), is_death);
        }
    }

    /// Version control can carry a link where the lock belongs; what it leads to must stay as it is.
    #[tokio::test]
    async fn nothing_is_written_through_a_link() {
        let project = tempfile::tempdir().unwrap();
        let precious = project.path().join("precious");
        fs::write(&precious, "kept").unwrap();
        fs::create_dir(project.path().join(".lockstep")).unwrap();
        std::os::unix::fs::symlink("../precious", project.path().join(".lockstep/lock")).unwrap();
        let error = ProjectLock::acquire(project.path(), "run", |_| {}, SHORT)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("but a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
        fs::remove_dir_all(project.path().join(".lockstep")).unwrap();
        fs::create_dir(project.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", project.path().join(".lockstep")).unwrap();
        let error = ProjectLock::acquire(project.path(), "run", |_| {}, SHORT)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("not a directory but a symbolic link"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn who_only_looks_waits_for_who_writes() {
        let project = tempfile::tempdir().unwrap();
        let none = ProjectLock::share(project.path(), |_| {}, SHORT).await.unwrap();
        assert!(none.is_none(), "no run was here yet");
        let writer = ProjectLock::acquire(project.path(), "writer", |_| {}, SHORT)
            .await
            .unwrap();
        let error = ProjectLock::share(project.path(), |_| {}, SHORT).await.unwrap_err();
        assert!(
            matches!(&error, StateError::Busy { holder, .. } if holder == "writer"),
            "{error}"
        );
        drop(writer);
        let first = ProjectLock::share(project.path(), |_| {}, SHORT).await.unwrap();
        let second = ProjectLock::share(project.path(), |_| {}, SHORT).await.unwrap();
        assert!(first.is_some() && second.is_some());
        assert!(
            ProjectLock::acquire(project.path(), "late", |_| {}, SHORT)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn the_state_directory_hides_itself_and_leftovers_are_swept() {
        let project = tempfile::tempdir().unwrap();
        let lock = ProjectLock::acquire(project.path(), "run", |_| {}, SHORT)
            .await
            .unwrap();
        assert!(
            fs::read_to_string(lock.directory().join(".gitignore"))
                .unwrap()
                .ends_with("*\n")
        );
        fs::create_dir_all(lock.directory().join("staging-dead/glibc")).unwrap();
        fs::write(lock.directory().join("staging-file"), "x").unwrap();
        fs::create_dir_all(lock.directory().join("collect-dead/x")).unwrap();
        fs::write(project.path().join(".lockstep-lock-dead"), "x").unwrap();
        fs::write(project.path().join(".lockstep-init-dead"), "x").unwrap();
        let init = temporary::file_in(project.path(), INIT_PREFIX).unwrap();
        fs::create_dir(lock.directory().join("logs")).unwrap();
        assert_eq!(lock.sweep().unwrap().len(), 5);
        assert!(init.path().is_file(), "an `init` that goes on keeps its file");
        assert_eq!(lock.leftovers().unwrap(), Vec::<PathBuf>::new());
        assert!(lock.directory().join("logs").is_dir());
    }
}
