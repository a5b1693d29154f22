//! An ELF file as a loader sees it: by its program headers and its dynamic section alone. Section headers are only looked
//! at for what no loader needs (`.comment`), since a library without them can be loaded.
//!
//! Source: System V ABI, chapters 4 and 5; the GNU extensions as `elf.h` of glibc names them.

mod address;
mod dynamic;
mod hash;
mod header;
mod image;
mod layout;
mod note;
mod read;
mod relocation;
mod section;
mod symbol;
mod text;
mod unreadable;
mod version;

pub use dynamic::Dynamic;
pub use header::{Header, Machine, ObjectKind, Segment, SegmentKind, Tls};
pub use layout::{Class, Data, Layout};
pub use note::{AbiTag, Notes, Properties};
pub use read::Elf;
pub use relocation::{Relocation, RelocationClass, Table};
pub use section::Section;
pub use symbol::{Binding, Name, Symbol, SymbolKind, Visibility};
pub use unreadable::Unreadable;
pub use version::{Definition, Need, NeededVersion, SymbolVersion, VersionIndex};

#[cfg(test)]
mod tests;
