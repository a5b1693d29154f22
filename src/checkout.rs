//! Which checkout of a project this is: what it makes on an engine is told apart by that from what others make there.
//!
//! A path is not enough. Jobs of a CI system often have the same path, in containers whose images bring the same machine
//! ID, and share an engine. So a checkout has a mark, a file in its state directory with a random word; a copy of that file,
//! restored from a cache for instance, is told from the original by when and where it was made.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::digest::{Digest, Hasher};
use crate::state::STATE_DIRECTORY;

/// The mark's name in the state directory.
const MARK_FILE: &str = "checkout";
/// How much of a mark counts.
const MARK_LIMIT_BYTES: u64 = 256;

/// Identifies the checkout at `directory` of the machine `machine_id`; `mark` is [`make_mark`]'s.
#[must_use]
pub fn owner(machine_id: &str, directory: &Path, mark: Option<&Digest>) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(machine_id.as_bytes());
    hasher.field(directory.as_os_str().as_encoded_bytes());
    hasher.field(mark.map(Digest::hex).unwrap_or_default().as_bytes());
    hasher.finish()
}

/// The same for who only looks: of a checkout in which nothing was run yet, nothing is known to any engine.
#[must_use]
pub fn known(machine_id: &str, directory: &Path) -> Digest {
    let mark = read(&directory.join(STATE_DIRECTORY).join(MARK_FILE)).ok();
    owner(machine_id, directory, mark.as_ref())
}

/// The mark of a state directory, which is made if it is not there; `word` is one that no other checkout uses.
///
/// # Errors
/// When it can be neither read nor written.
pub fn make_mark(state_directory: &Path, word: &str) -> io::Result<Digest> {
    let path = state_directory.join(MARK_FILE);
    match File::create_new(&path) {
        Ok(mut file) => file.write_all(word.as_bytes())?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    read(&path)
}

fn read(path: &Path) -> io::Result<Digest> {
    let link = std::fs::symlink_metadata(path)?;
    if !link.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is not a regular file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // Where the file system does not tell when a file was made, its number has to do.
    let made = metadata
        .created()
        .ok()
        .and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let mut word = Vec::new();
    file.take(MARK_LIMIT_BYTES).read_to_end(&mut word)?;
    let mut hasher = Hasher::new();
    hasher.field(&word);
    hasher.field(&metadata.ino().to_le_bytes());
    hasher.field(&made.map_or(0, |made| made.as_nanos()).to_le_bytes());
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_and_a_copy_of_it_is_another() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = make_mark(first.path(), "word").unwrap();
        assert_eq!(make_mark(first.path(), "another word").unwrap(), made);
        std::fs::copy(first.path().join(MARK_FILE), second.path().join(MARK_FILE)).unwrap();
        let copied = make_mark(second.path(), "word").unwrap();
        assert_ne!(copied, made, "a cache of CI restores the same state in two places");

        let directory = Path::new("/builds/project");
        let owners = [None, Some(&made), Some(&copied)].map(|mark| owner("machine", directory, mark));
        assert!(owners[0] != owners[1] && owners[1] != owners[2]);
    }

    #[test]
    fn who_only_looks_makes_no_mark() {
        let project = tempfile::tempdir().unwrap();
        let unmarked = known("machine", project.path());
        assert_eq!(unmarked, owner("machine", project.path(), None));
        let state = project.path().join(STATE_DIRECTORY);
        std::fs::create_dir(&state).unwrap();
        let mark = make_mark(&state, "word").unwrap();
        assert_eq!(
            known("machine", project.path()),
            owner("machine", project.path(), Some(&mark))
        );
    }

    #[test]
    fn a_mark_that_is_no_file_is_none() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", directory.path().join(MARK_FILE)).unwrap();
        assert!(make_mark(directory.path(), "word").is_err());
    }
}
