//! Why bytes are no ELF file.

/// Why bytes are no ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Fewer bytes than a file header has.
    TooShort {
        /// How many there are.
        len: u64,
    },
    /// It does not begin with the magic number.
    Magic {
        /// What it begins with.
        head: [u8; 4],
    },
    /// A class that is none.
    Class {
        /// `EI_CLASS`.
        value: u8,
    },
    /// An order of bytes that is none.
    Data {
        /// `EI_DATA`.
        value: u8,
    },
}
