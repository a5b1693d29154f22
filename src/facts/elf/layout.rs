//! How the structures of a file are laid out.

use object::Endianness;

/// 32 or 64 bits (`EI_CLASS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// `ELFCLASS32`.
    Elf32,
    /// `ELFCLASS64`.
    Elf64,
}

/// The order of bytes (`EI_DATA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Data {
    /// `ELFDATA2LSB`.
    Little,
    /// `ELFDATA2MSB`.
    Big,
}

/// How the structures of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The size of addresses.
    pub class: Class,
    /// The order of bytes.
    pub data: Data,
}

impl Layout {
    /// The order of bytes, as the structures take it.
    pub(super) fn endian(self) -> Endianness {
        match self.data {
            Data::Little => Endianness::Little,
            Data::Big => Endianness::Big,
        }
    }

    /// Whether addresses have 64 bits.
    pub(super) fn is_wide(self) -> bool {
        self.class == Class::Elf64
    }

    /// The size of an address, in bytes.
    pub(super) fn word_bytes(self) -> usize {
        if self.is_wide() { 8 } else { 4 }
    }

    #[inline]
    pub(super) fn u32_in(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let bytes = *bytes.get(offset..)?.first_chunk()?;
        Some(match self.data {
            Data::Little => u32::from_le_bytes(bytes),
            Data::Big => u32::from_be_bytes(bytes),
        })
    }

    #[inline]
    pub(super) fn u64_in(self, bytes: &[u8], offset: usize) -> Option<u64> {
        let bytes = *bytes.get(offset..)?.first_chunk()?;
        Some(match self.data {
            Data::Little => u64::from_le_bytes(bytes),
            Data::Big => u64::from_be_bytes(bytes),
        })
    }
}
