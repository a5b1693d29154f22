//! Words in a file as they are once it is loaded: numbers, and pointers to what else is in it.

use super::Elf;
use super::elf::{Class, Data, RelocationClass};

/// Words of a file as they are once it is loaded at address 0.
pub(super) struct Words<'a> {
    elf: &'a Elf,
    /// The words that are relocated by the load address: where, and the addend; sorted.
    relative: Vec<(u64, i64)>,
}

impl<'a> Words<'a> {
    pub(super) fn new(elf: &'a Elf) -> Self {
        let relative = elf
            .relocations()
            .filter(|relocation| relocation.class == RelocationClass::Relative);
        let mut relative: Vec<(u64, i64)> = relative
            .map(|relocation| (relocation.offset, relocation.addend))
            .collect();
        relative.sort_unstable();
        Self { elf, relative }
    }

    /// Where words are that are relocated by the load address, sorted.
    pub(super) fn relocated(&self) -> impl Iterator<Item = u64> {
        self.relative.iter().map(|(place, _)| *place)
    }

    /// The size of a word, in bytes.
    pub(super) fn width(&self) -> u64 {
        match self.elf.header.layout.class {
            Class::Elf32 => 4,
            Class::Elf64 => 8,
        }
    }

    /// The word in the file.
    pub(super) fn word(&self, place: u64) -> Option<u64> {
        Some(self.number(self.elf.at(place, self.width())?))
    }

    /// The number that at most eight bytes are.
    pub(super) fn number(&self, bytes: &[u8]) -> u64 {
        let is_big = self.elf.header.layout.data == Data::Big;
        let ordered = bytes.iter().enumerate().map(|(index, byte)| {
            let shift = if is_big { bytes.len() - 1 - index } else { index };
            u64::from(*byte) << (8 * shift)
        });
        ordered.fold(0, |word, part| word | part)
    }

    /// The address in a word. The addend is in the place itself where the relocation has none.
    pub(super) fn pointer(&self, place: u64) -> Option<u64> {
        let found = self.relative.binary_search_by_key(&place, |(place, _)| *place);
        match found.map(|index| self.relative[index].1) {
            Ok(addend) if addend != 0 => u64::try_from(addend).ok(),
            _ => self.word(place),
        }
    }

    /// A string of C to which a word points, without its null; none if it has no end within `limit` bytes.
    pub(super) fn c_string(&self, place: u64, limit: usize) -> Option<&'a [u8]> {
        self.elf.string_at(self.pointer(place)?, limit)
    }

    /// A string of Go: an address and a length.
    pub(super) fn string(&self, place: u64, limit: u64) -> Option<&'a [u8]> {
        let address = self.pointer(place)?;
        let len = self.word(place.checked_add(self.width())?)?;
        (len <= limit).then(|| self.elf.at(address, len)).flatten()
    }
}
