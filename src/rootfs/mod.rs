//! A root file system as a loader in it would see it, whatever it is kept in: a directory, a tar, a saved image, an image
//! in an engine. Symbolic links lead inside it. Nothing in it is ever run.

mod archive;
mod content;
mod contents;
mod directory;
mod error;
mod index;
mod indexed;
mod layer;
mod listing;
mod map;
mod objects;
mod open;
mod overlay;
mod spare;
mod walk;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::facts::elf::{Elf, Unreadable};
use crate::owner::Owner;

pub use contents::{Contents, Place, open_contents, open_layer_contents, read_image_contents};
pub use directory::DirectoryRoot;
pub use error::RootFsError;
pub use indexed::IndexedRoot;
pub use open::{open_file, open_layers, open_root, read_image_stream};
pub use overlay::{FILES_DIRECTORY, OverlayRoot};

/// What a path leads to, when every symbolic link has been followed inside the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The same for two paths that lead to the same file, hard links included; different for different files.
    pub id: (u64, u64),
    /// The absolute path without links in it.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes.
    pub len: u64,
    /// The permission bits.
    pub mode: u32,
    /// Whose it is.
    pub owner: Owner,
}

/// What a process has that is started from an image, unless it is told otherwise: `config` of OCI's image specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessDefaults {
    /// `Env`.
    pub variables: Vec<(String, String)>,
    /// `User`, as it is written; empty means root.
    pub user: Option<String>,
    /// `WorkingDir`, an absolute path.
    pub directory: Option<String>,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A device, a pipe, a socket.
    Other,
}

/// Why a path leads nowhere, in the words of `errno(3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookError {
    /// `ENOENT`.
    NotFound,
    /// `ENOTDIR`.
    NotADirectory,
    /// `ELOOP`.
    Loop,
    /// `ENAMETOOLONG`.
    NameTooLong,
    /// What is there is not known: this machine does not let it be seen, or it has a name that is no text.
    Denied,
}

/// A root that many look at.
impl RootFs for Arc<dyn RootFs> {
    fn look(&self, path: &str) -> Result<Found, LookError> {
        (**self).look(path)
    }

    fn object(&self, found: &Found) -> Option<Result<Arc<Elf>, Unreadable>> {
        (**self).object(found)
    }

    fn bytes(&self, found: &Found, limit: u64) -> Option<Bytes> {
        (**self).bytes(found, limit)
    }

    fn capabilities(&self, found: &Found) -> Option<Vec<u8>> {
        (**self).capabilities(found)
    }

    fn list(&self, directory: &str) -> Vec<String> {
        (**self).list(directory)
    }

    fn defaults(&self) -> &ProcessDefaults {
        (**self).defaults()
    }

    fn seen_at(&self, file: &Path) -> Option<String> {
        (**self).seen_at(file)
    }
}

/// A root file system.
pub trait RootFs: Send + Sync {
    /// What is at an absolute path. The last part is followed as well if it is a link.
    ///
    /// # Errors
    /// [`LookError`].
    fn look(&self, path: &str) -> Result<Found, LookError>;

    /// The file as an ELF object, read once; what is malformed in it is in the answer. None if it cannot be read at all.
    fn object(&self, found: &Found) -> Option<Result<Arc<Elf>, Unreadable>>;

    /// The bytes of a file of at most `limit` bytes; none if it is larger, cannot be read, or was not kept.
    fn bytes(&self, found: &Found, limit: u64) -> Option<Bytes>;

    /// The extended attribute of a file that has its capabilities (`security.capability`); none if it has none.
    fn capabilities(&self, found: &Found) -> Option<Vec<u8>>;

    /// The paths of the entries of a directory, sorted; empty if it is none.
    fn list(&self, directory: &str) -> Vec<String>;

    /// What a process has that is started from the image; nothing where the form knows of none.
    fn defaults(&self) -> &ProcessDefaults {
        const NONE: &ProcessDefaults = &ProcessDefaults {
            variables: vec![],
            user: None,
            directory: None,
        };
        NONE
    }

    /// Where a file of this machine is seen in the root; none if it is not in it.
    fn seen_at(&self, file: &Path) -> Option<String> {
        let _ = file;
        None
    }
}
