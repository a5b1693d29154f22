//! Reading that tells afterwards what was read.

use std::io::{self, Read};

use crate::digest::{Digest, Hasher};

/// A reader that hashes what passes.
pub(super) struct HashedRead<'a> {
    inner: &'a mut dyn Read,
    hasher: Hasher,
}

impl<'a> HashedRead<'a> {
    pub(super) fn new(inner: &'a mut dyn Read) -> Self {
        Self {
            inner,
            hasher: Hasher::new(),
        }
    }

    /// The digest of all that was read.
    pub(super) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl Read for HashedRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
