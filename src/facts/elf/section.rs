//! Sections, for what no loader needs.

use std::marker::PhantomData;
use std::ops::Range;

use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, elf};

use super::image::{Image, Narrow, Wide};
use super::symbol::SymbolTable;

/// No file that is loaded has more sections; those behind are not looked at.
const SECTION_LIMIT_COUNT: u64 = 65_536;

/// One section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its number, by which symbols name it.
    pub index: u16,
    /// `sh_addr`.
    pub address: u64,
    /// `sh_size`, in bytes.
    pub size: u64,
    /// What the file has of it, compressed where it is so; none if it has no bytes in the file, or is out of bounds.
    pub bytes: Option<&'a [u8]>,
}

/// All sections, in their order, but for the empty first one.
pub(super) fn all(image: &Image) -> Vec<Section<'_>> {
    if image.layout.is_wide() {
        Sections::<Wide>::read(image).map(|sections| sections.described())
    } else {
        Sections::<Narrow>::read(image).map(|sections| sections.described())
    }
    .unwrap_or_default()
}

/// The bytes of the first section with a name; none if it is absent, out of bounds, compressed or has no bytes in the file.
pub(super) fn find<'a>(image: &'a Image, name: &str) -> Option<&'a [u8]> {
    let range = if image.layout.is_wide() {
        Sections::<Wide>::read(image)?.named(name)
    } else {
        Sections::<Narrow>::read(image)?.named(name)
    };
    image.bytes.get(range?)
}

/// The symbols of the static linker (`.symtab`), which are gone when a file is stripped.
pub(super) fn symbol_table(image: &Image) -> Option<SymbolTable> {
    if image.layout.is_wide() {
        Sections::<Wide>::read(image)?.symbol_table()
    } else {
        Sections::<Narrow>::read(image)?.symbol_table()
    }
}

/// The section headers.
struct Sections<'a, F> {
    image: &'a Image,
    first: u64,
    stride: u64,
    count: u64,
    names: u64,
    class: PhantomData<F>,
}

impl<'a, F: FileHeader<Endian = Endianness>> Sections<'a, F> {
    fn read(image: &'a Image) -> Option<Self> {
        let endian = image.layout.endian();
        let header = image.structure::<F>(0)?;
        let mut sections = Self {
            image,
            first: header.e_shoff(endian).into(),
            stride: header.e_shentsize(endian).into(),
            count: header.e_shnum(endian).into(),
            names: header.e_shstrndx(endian).0.into(),
            class: PhantomData,
        };
        if sections.first == 0 || sections.stride < size_of::<F::SectionHeader>() as u64 {
            return None;
        }
        // What does not fit into the file header is in the first section's header.
        if sections.count == 0 {
            sections.count = sections.header(0)?.sh_size(endian).into();
        }
        if sections.names == u64::from(elf::SHN_XINDEX.0) {
            sections.names = sections.header(0)?.sh_link(endian).into();
        }
        Some(sections)
    }

    fn header(&self, index: u64) -> Option<&'a F::SectionHeader> {
        let offset = index
            .checked_mul(self.stride)
            .and_then(|skip| self.first.checked_add(skip))?;
        self.image.structure(usize::try_from(offset).ok()?)
    }

    fn all(&self) -> impl Iterator<Item = &'a F::SectionHeader> {
        (1..self.count.min(SECTION_LIMIT_COUNT)).map_while(|index| self.header(index))
    }

    fn described(&self) -> Vec<Section<'a>> {
        let endian = self.image.layout.endian();
        let names = self.header(self.names).and_then(|section| self.range(section));
        let numbered = self.all().zip(1_u16..);
        numbered
            .map(|(section, index)| Section {
                name: names
                    .as_ref()
                    .and_then(|names| self.image.string(names, u64::from(section.sh_name(endian))))
                    .unwrap_or_default(),
                index,
                address: section.sh_addr(endian).into(),
                size: section.sh_size(endian).into(),
                bytes: self.stored(section).and_then(|range| self.image.bytes.get(range)),
            })
            .collect()
    }

    /// Where the bytes of a section are in the file; none if they are compressed.
    fn range(&self, section: &F::SectionHeader) -> Option<Range<usize>> {
        let is_compressed = section.sh_flags(self.image.layout.endian()).0 & elf::SHF_COMPRESSED.0 != 0;
        self.stored(section).filter(|_| !is_compressed)
    }

    fn stored(&self, section: &F::SectionHeader) -> Option<Range<usize>> {
        let endian = self.image.layout.endian();
        if section.sh_type(endian) == elf::SHT_NOBITS {
            return None;
        }
        let start = usize::try_from(section.sh_offset(endian).into()).ok()?;
        let end = start.checked_add(usize::try_from(section.sh_size(endian).into()).ok()?)?;
        (end <= self.image.bytes.len()).then_some(start..end)
    }

    fn named(&self, name: &str) -> Option<Range<usize>> {
        let endian = self.image.layout.endian();
        let names = self.range(self.header(self.names)?)?;
        let found = self.all().find(|section| {
            let offset = u64::from(section.sh_name(endian));
            self.image.string_equal(&names, offset, name.as_bytes()).is_some()
        })?;
        self.range(found)
    }

    fn symbol_table(&self) -> Option<SymbolTable> {
        let endian = self.image.layout.endian();
        let section = self.all().find(|section| section.sh_type(endian) == elf::SHT_SYMTAB)?;
        Some(SymbolTable {
            symbols: self.range(section)?,
            strings: self.range(self.header(section.sh_link(endian).into())?)?,
            versions: None,
        })
    }
}
