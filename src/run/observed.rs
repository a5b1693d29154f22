//! What images told of themselves, kept in the user's cache by their IDs. An ID is the digest of all that an image is, so
//! what was once seen of it stays true, and no image needs to be asked twice. Nothing of this comes from a lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::engine::ImageId;
use crate::regular_file;
use crate::temporary::{self, COLLECT_PREFIX};

/// Part of every name: to be changed when the same question is asked in another way.
const KEY_VERSION: &[u8] = b"lockstep observed 1";
/// The largest answer that is read: a list of packages.
const ANSWER_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// The part of the user's cache in which answers are.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    directory: PathBuf,
}

/// An answer, with what was asked: a file of this name that answers something else is not believed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<T> {
    image: String,
    question: String,
    answer: T,
}

impl Observed {
    /// The answers below the user's cache directory for lockstep.
    pub(super) fn below(cache_directory: &Path) -> Self {
        Self {
            directory: cache_directory.join("observed"),
        }
    }

    /// What processes that died have left of answers in the making.
    pub(super) fn leftovers(&self) -> io::Result<Vec<PathBuf>> {
        temporary::leftovers(&self.directory, &[COLLECT_PREFIX])
    }

    /// What an image answered; none when it was not asked, or the answer cannot be read.
    pub(super) fn answer<T: DeserializeOwned>(&self, image: &ImageId, question: &str) -> Option<T> {
        let bytes = regular_file::read(&self.path(image, question), ANSWER_LIMIT_BYTES).ok()?;
        let kept: Kept<T> = serde_json::from_slice(&bytes).ok()?;
        (kept.image == image.0 && kept.question == question).then_some(kept.answer)
    }

    /// Keeps an answer. That it cannot be kept costs the next run a moment, and is no error.
    pub(super) fn keep<T: Serialize>(&self, image: &ImageId, question: &str, answer: T) -> T {
        let kept = Kept {
            image: image.0.clone(),
            question: question.to_owned(),
            answer,
        };
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let file = temporary::file_in(&self.directory, COLLECT_PREFIX)?;
            serde_json::to_writer(&file, &kept)?;
            file.persist(self.path(image, question)).map_err(|error| error.error)?;
            Ok(())
        };
        let _ = write();
        kept.answer
    }

    fn path(&self, image: &ImageId, question: &str) -> PathBuf {
        let mut hasher = Hasher::new();
        hasher.field(KEY_VERSION);
        hasher.field(image.0.as_bytes());
        hasher.field(question.as_bytes());
        self.directory.join(format!("{}.json", Digest::hex(&hasher.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_that_of_its_image_and_its_question() {
        let directory = tempfile::tempdir().unwrap();
        let observed = Observed::below(directory.path());
        let (image, other) = (ImageId("sha256:01".to_owned()), ImageId("sha256:02".to_owned()));
        assert_eq!(observed.answer::<Vec<String>>(&image, "which"), None);
        observed.keep(&image, "which", vec!["this".to_owned()]);
        assert_eq!(observed.answer(&image, "which"), Some(vec!["this".to_owned()]));
        assert_eq!(observed.answer::<Vec<String>>(&other, "which"), None);
        assert_eq!(observed.answer::<Vec<String>>(&image, "who"), None);
        // Taken from elsewhere, or cut.
        fs::copy(observed.path(&image, "which"), observed.path(&other, "which")).unwrap();
        assert_eq!(observed.answer::<Vec<String>>(&other, "which"), None);
        fs::write(observed.path(&image, "which"), "{\"image\":").unwrap();
        assert_eq!(observed.answer::<Vec<String>>(&image, "which"), None);
    }
}
