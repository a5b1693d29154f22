//! The bytes of a file with their layout: every access is bounded by the file, whatever a table says.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::pod::{Pod, from_bytes};

use super::{Data, Layout};

/// No name of a symbol, a version or a file is longer; what is, is cut here.
pub(super) const NAME_LIMIT_BYTES: usize = 64 * 1024;

/// The structures of 32 bits; the others are its associated types.
pub(super) type Narrow = FileHeader32<Endianness>;
/// The structures of 64 bits; the others are its associated types.
pub(super) type Wide = FileHeader64<Endianness>;

/// The bytes of a file, maybe mapped, and how to read them.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) bytes: Bytes,
    pub(super) layout: Layout,
}

impl Image {
    /// The structure at an offset.
    #[inline]
    pub(super) fn structure<T: Pod>(&self, offset: usize) -> Option<&T> {
        let (structure, _) = from_bytes(self.bytes.get(offset..)?).ok()?;
        Some(structure)
    }

    /// The structure at an offset that lies before `end` as a whole.
    #[inline]
    pub(super) fn structure_before<T: Pod>(&self, offset: usize, end: usize) -> Option<&T> {
        let (structure, _) = from_bytes(self.bytes.get(offset..end)?).ok()?;
        Some(structure)
    }

    #[inline]
    pub(super) fn u16_at(&self, offset: usize) -> Option<u16> {
        let bytes = *self.bytes.get(offset..)?.first_chunk()?;
        Some(match self.layout.data {
            Data::Little => u16::from_le_bytes(bytes),
            Data::Big => u16::from_be_bytes(bytes),
        })
    }

    #[inline]
    pub(super) fn u32_at(&self, offset: usize) -> Option<u32> {
        self.layout.u32_in(&self.bytes, offset)
    }

    #[inline]
    pub(super) fn u64_at(&self, offset: usize) -> Option<u64> {
        self.layout.u64_in(&self.bytes, offset)
    }

    /// A word of the size of an address.
    #[inline]
    pub(super) fn word_at(&self, offset: usize) -> Option<u64> {
        if self.layout.is_wide() {
            self.u64_at(offset)
        } else {
            self.u32_at(offset).map(u64::from)
        }
    }

    /// `len` bytes of the file from `offset`, if they are all there.
    pub(super) fn slice(&self, offset: u64, len: u64) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        self.bytes.get(start..end)
    }

    /// The string `offset` bytes into a table of strings, without its null. One that does not end is cut at the limit or
    /// at the end of the table.
    pub(super) fn string(&self, table: &Range<usize>, offset: u64) -> Option<&[u8]> {
        let start = table.start.checked_add(usize::try_from(offset).ok()?)?;
        let rest = self.bytes.get(start..table.end).filter(|rest| !rest.is_empty())?;
        let rest = rest.get(..NAME_LIMIT_BYTES).unwrap_or(rest);
        Some(memchr::memchr(0, rest).map_or(rest, |end| &rest[..end]))
    }

    /// The string `offset` bytes into a table if it is `name`; its end is looked for nowhere else.
    #[inline]
    pub(super) fn string_equal(&self, table: &Range<usize>, offset: u64, name: &[u8]) -> Option<&[u8]> {
        let start = table.start.checked_add(usize::try_from(offset).ok()?)?;
        let (found, rest) = self.bytes.get(start..table.end)?.split_at_checked(name.len())?;
        (rest.first() == Some(&0) && found == name).then_some(found)
    }
}

impl fmt::Debug for Image {
    /// A file's bytes say nothing to people.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Image")
            .field("len", &self.bytes.len())
            .field("layout", &self.layout)
            .finish()
    }
}
