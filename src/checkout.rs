//! Which checkout of a project this is: what it makes on an engine is told apart by that from what others make there.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::digest::{Digest, Hasher};

/// Identifies the checkout at `directory` of the machine `machine_id`.
///
/// A path is not enough: jobs of a CI system often have the same one, in containers whose images bring the same machine ID,
/// and share an engine. So it also counts which directory is there: its number, and when it was made, where the file system
/// tells.
#[must_use]
pub fn owner(machine_id: &str, directory: &Path) -> Digest {
    let metadata = std::fs::metadata(directory).ok();
    let number = metadata.as_ref().map_or(0, MetadataExt::ino);
    let made = metadata.and_then(|metadata| metadata.created().ok()?.duration_since(UNIX_EPOCH).ok());
    let mut hasher = Hasher::new();
    hasher.field(machine_id.as_bytes());
    hasher.field(directory.as_os_str().as_encoded_bytes());
    hasher.field(&number.to_le_bytes());
    hasher.field(&made.map_or(0, |made| made.as_nanos()).to_le_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_stays_what_it_is_and_another_at_its_place_is_another() {
        let parent = tempfile::tempdir().unwrap();
        let (directory, aside) = (parent.path().join("project"), parent.path().join("aside"));
        std::fs::create_dir(&directory).unwrap();
        let first = owner("machine", &directory);
        std::fs::create_dir(directory.join(".lockstep")).unwrap();
        std::fs::write(directory.join("file"), "").unwrap();
        std::fs::remove_dir(directory.join(".lockstep")).unwrap();
        assert_eq!(owner("machine", &directory), first);
        assert_ne!(owner("another machine", &directory), first);

        std::fs::rename(&directory, &aside).unwrap();
        std::fs::create_dir(&directory).unwrap();
        assert_ne!(owner("machine", &directory), first);
        assert_ne!(owner("machine", &aside), first);
    }
}
