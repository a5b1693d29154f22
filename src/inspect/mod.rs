//! What was this built with? Everything that a file or a root file system says of itself, without a judgement.
//!
//! Pure: bytes and a root in, a record out, which is printed as it is (`report`) or as JSON.

mod bundle;
mod file;
mod object;
mod root;
mod version;

use serde::Serialize;

pub use bundle::BundleFacts;
pub use file::{FileFacts, HEAD_BYTES, inspect_file};
pub use object::{
    BindingFacts, Export, GoFacts, GoModule, LibcFacts, Linkage, NeededLibrary, ObjectFacts, ProcessorFacts, Role,
    SymbolFacts, TlsFacts, inspect_object,
};
pub use root::{CacheFacts, LibraryFacts, LoaderFacts, RootFacts, Variable, inspect_root};

/// The version of the form for scripts.
pub const INSPECTION_SCHEMA_VERSION: u32 = 1;

/// What is known of one file or root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// [`INSPECTION_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// As it was given.
    pub name: String,
    /// What it says.
    pub facts: Facts,
}

/// What something says of itself, by what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Facts {
    /// An ELF file.
    Elf(Box<ObjectFacts>),
    /// A root file system: a directory, a tar, an image.
    Root(Box<RootFacts>),
    /// Any other file.
    File(FileFacts),
}

impl Inspection {
    /// A record of the current version.
    #[must_use]
    pub fn new(name: impl Into<String>, facts: Facts) -> Self {
        Self {
            schema_version: INSPECTION_SCHEMA_VERSION,
            name: name.into(),
            facts,
        }
    }
}
