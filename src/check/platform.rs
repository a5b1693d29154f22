//! The loader whose rules apply, and the machine that it loads for.

use crate::facts::elf::{Layout, Machine};
pub use crate::facts::libc::Family;
use crate::facts::libc::Release;

/// The loader and the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Platform {
    /// The family of the C library.
    pub family: Family,
    /// The release of the C library (glibc 2.41 is `(2, 41, 0)`, musl 1.2.5 `(1, 2, 5)`); none where its bytes do not tell.
    pub release: Option<Release>,
    /// The machine of the host.
    pub machine: Machine,
    /// The layout of the host.
    pub layout: Layout,
    /// The path of the interpreter as the host names it.
    pub interpreter: String,
}

impl Platform {
    /// Whether the C library is of this release or a later one; true where it is not known, since most systems are newer than
    /// any change that is asked for.
    #[must_use]
    pub(super) fn is_since(&self, major: u32, minor: u32) -> bool {
        self.release.is_none_or(|release| release >= (major, minor, 0))
    }

    /// Whether the loader applies packed relative relocations (`DT_RELR`); older ones do not know the tag, and pass over it.
    #[must_use]
    pub(super) fn applies_relative_table(&self) -> bool {
        let first = match self.family {
            Family::Glibc => (2, 36, 0),
            Family::Musl => (1, 2, 4),
        };
        self.release.is_none_or(|release| release >= first)
    }
}
