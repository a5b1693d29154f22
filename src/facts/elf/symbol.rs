//! Dynamic symbols, and names that are hashed once for many tables.

use std::ops::Range;

use object::read::elf::{FileHeader, Sym};
use object::{Endianness, elf};

use super::Dynamic;
use super::address::AddressMap;
use super::image::{Image, Narrow, Wide};

/// A name with the hash by which loaders look it up in most files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// The bytes, without the null.
    pub bytes: &'a [u8],
    /// The hash of `DT_GNU_HASH`.
    pub gnu: u32,
}

impl<'a> Name<'a> {
    /// Hashes a name.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let gnu = bytes.iter().fold(5381_u32, |hash, byte| {
            hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
        });
        Self { bytes, gnu }
    }

    /// The hash of `DT_HASH`, and of versions.
    #[must_use]
    pub fn sysv(&self) -> u32 {
        self.bytes.iter().fold(0_u32, |hash, byte| {
            let hash = (hash << 4).wrapping_add(u32::from(*byte));
            let high = hash & 0xf000_0000;
            (hash ^ (high >> 24)) & !high
        })
    }

    /// The name as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes).into_owned()
    }
}

/// What a symbol stands for (`STT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SymbolKind {
    /// `STT_NOTYPE`.
    None,
    /// `STT_OBJECT`.
    Object,
    /// `STT_FUNC`.
    Function,
    /// `STT_SECTION`.
    Section,
    /// `STT_FILE`.
    File,
    /// `STT_COMMON`.
    Common,
    /// `STT_TLS`.
    Tls,
    /// `STT_GNU_IFUNC`: a function that says which function it is.
    Ifunc,
    /// Any other.
    Other(u8),
}

/// How a symbol is bound (`STB_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// `STB_LOCAL`.
    Local,
    /// `STB_GLOBAL`.
    Global,
    /// `STB_WEAK`.
    Weak,
    /// `STB_GNU_UNIQUE`: one in a process, whatever the scopes.
    Unique,
    /// Any other.
    Other(u8),
}

/// Who sees a symbol (`STV_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// `STV_DEFAULT`.
    Default,
    /// `STV_INTERNAL`.
    Internal,
    /// `STV_HIDDEN`.
    Hidden,
    /// `STV_PROTECTED`.
    Protected,
}

/// One entry of the dynamic symbol table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// `st_name`.
    pub name: &'a [u8],
    /// `st_value`.
    pub value: u64,
    /// `st_size`, in bytes.
    pub size: u64,
    /// The type.
    pub kind: SymbolKind,
    /// The binding.
    pub binding: Binding,
    /// The visibility.
    pub visibility: Visibility,
    /// `st_shndx`: 0 is undefined, 0xfff1 absolute.
    pub section: u16,
}

impl Symbol<'_> {
    /// `SHN_ABS`.
    pub const ABSOLUTE: u16 = 0xfff1;

    /// Whether this file defines it.
    #[must_use]
    pub fn is_defined(&self) -> bool {
        self.section != 0
    }

    /// The name as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.name).into_owned()
    }
}

/// What linkers put behind the symbols.
const TABLES: [elf::DynamicTag; 9] = [
    elf::DT_STRTAB,
    elf::DT_HASH,
    elf::DT_GNU_HASH,
    elf::DT_VERSYM,
    elf::DT_VERNEED,
    elf::DT_VERDEF,
    elf::DT_REL,
    elf::DT_RELA,
    elf::DT_JMPREL,
];

/// Where the symbols, their names and their versions are in the file.
#[derive(Debug, Clone)]
pub(super) struct SymbolTable {
    /// From `DT_SYMTAB` to the end of its segment: the table has no length of its own.
    pub(super) symbols: Range<usize>,
    /// From `DT_STRTAB` to the end of its segment.
    pub(super) strings: Range<usize>,
    /// From `DT_VERSYM` to the end of its segment.
    pub(super) versions: Option<Range<usize>>,
}

impl SymbolTable {
    pub(super) fn read(
        image: &Image,
        map: &AddressMap,
        dynamic: &Dynamic,
        strings: Option<Range<usize>>,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        let symbols = map.from(dynamic.value(elf::DT_SYMTAB)?);
        if symbols.is_none() {
            problems.push("the table of symbols is not in the part of the file that is loaded".to_owned());
        }
        let entry_bytes = Self::entry_bytes(image) as u64;
        if dynamic.value(elf::DT_SYMENT).is_some_and(|bytes| bytes != entry_bytes) {
            problems.push("DT_SYMENT is not the size of a symbol".to_owned());
        }
        let versions = dynamic.value(elf::DT_VERSYM).map(|address| map.from(address));
        if versions == Some(None) {
            problems.push("DT_VERSYM is not in the part of the file that is loaded".to_owned());
        }
        Some(Self {
            symbols: symbols?,
            strings: strings?,
            versions: versions.flatten(),
        })
    }

    /// How many symbols there are: what the hash tables reach, else what fits in front of the next table.
    pub(super) fn count(
        &self,
        image: &Image,
        map: &AddressMap,
        dynamic: &Dynamic,
        hashed_count: u32,
        problems: &mut Vec<String>,
    ) -> u32 {
        let entry_bytes = Self::entry_bytes(image);
        let fitting = u32::try_from(self.symbols.len() / entry_bytes).unwrap_or(u32::MAX);
        let count = if hashed_count > 0 {
            hashed_count
        } else {
            let tables = TABLES.iter().filter_map(|tag| map.from(dynamic.value(*tag)?));
            let starts = tables
                .map(|table| table.start)
                .filter(|start| *start > self.symbols.start);
            let next = starts.min().filter(|start| *start < self.symbols.end);
            next.map_or(0, |next| {
                u32::try_from((next - self.symbols.start) / entry_bytes).unwrap_or(u32::MAX)
            })
        };
        if count > fitting {
            problems.push("the table of symbols is cut".to_owned());
        }
        count.min(fitting).max(fitting.min(1))
    }

    /// The size of an entry, in bytes; loaders do not look at `DT_SYMENT`.
    pub(super) fn entry_bytes(image: &Image) -> usize {
        if image.layout.is_wide() {
            size_of::<<Wide as FileHeader>::Sym>()
        } else {
            size_of::<<Narrow as FileHeader>::Sym>()
        }
    }

    /// The symbol with an index.
    #[inline]
    pub(super) fn symbol<'a>(&self, image: &'a Image, index: u32) -> Option<Symbol<'a>> {
        if image.layout.is_wide() {
            self.symbol_by::<Wide>(image, index, None)
        } else {
            self.symbol_by::<Narrow>(image, index, None)
        }
    }

    /// The symbol with an index, if that is its name.
    #[inline]
    pub(super) fn symbol_named<'a>(&self, image: &'a Image, index: u32, name: &[u8]) -> Option<Symbol<'a>> {
        if image.layout.is_wide() {
            self.symbol_by::<Wide>(image, index, Some(name))
        } else {
            self.symbol_by::<Narrow>(image, index, Some(name))
        }
    }

    #[inline]
    fn symbol_by<'a, F: FileHeader<Endian = Endianness>>(
        &self,
        image: &'a Image,
        index: u32,
        name: Option<&[u8]>,
    ) -> Option<Symbol<'a>> {
        let endian = image.layout.endian();
        let skip = (index as usize).checked_mul(size_of::<F::Sym>())?;
        let offset = self.symbols.start.checked_add(skip)?;
        let raw = image.structure_before::<F::Sym>(offset, self.symbols.end)?;
        let name_offset = u64::from(raw.st_name(endian));
        let name = match name {
            Some(name) => image.string_equal(&self.strings, name_offset, name)?,
            // Bytes that are not there are no name.
            None => image.string(&self.strings, name_offset).unwrap_or_default(),
        };
        Some(Symbol {
            name,
            value: raw.st_value(endian).into(),
            size: raw.st_size(endian).into(),
            kind: SymbolKind::from_number(raw.st_type().0),
            binding: Binding::from_number(raw.st_bind().0),
            visibility: Visibility::from_number(raw.st_visibility().0),
            section: raw.st_shndx(endian).0,
        })
    }

    /// The entry of `DT_VERSYM` for a symbol.
    #[inline]
    pub(super) fn version(&self, image: &Image, index: u32) -> Option<u16> {
        let versions = self.versions.as_ref()?;
        let offset = versions.start.checked_add((index as usize).checked_mul(2)?)?;
        if offset.checked_add(2)? <= versions.end {
            image.u16_at(offset)
        } else {
            None
        }
    }
}

impl SymbolKind {
    fn from_number(number: u8) -> Self {
        match elf::SymbolType(number) {
            elf::STT_NOTYPE => Self::None,
            elf::STT_OBJECT => Self::Object,
            elf::STT_FUNC => Self::Function,
            elf::STT_SECTION => Self::Section,
            elf::STT_FILE => Self::File,
            elf::STT_COMMON => Self::Common,
            elf::STT_TLS => Self::Tls,
            elf::STT_GNU_IFUNC => Self::Ifunc,
            elf::SymbolType(other) => Self::Other(other),
        }
    }
}

impl Binding {
    fn from_number(number: u8) -> Self {
        match elf::SymbolBind(number) {
            elf::STB_LOCAL => Self::Local,
            elf::STB_GLOBAL => Self::Global,
            elf::STB_WEAK => Self::Weak,
            elf::STB_GNU_UNIQUE => Self::Unique,
            elf::SymbolBind(other) => Self::Other(other),
        }
    }
}

impl Visibility {
    fn from_number(number: u8) -> Self {
        match elf::SymbolVisibility(number & 3) {
            elf::STV_INTERNAL => Self::Internal,
            elf::STV_HIDDEN => Self::Hidden,
            elf::STV_PROTECTED => Self::Protected,
            _ => Self::Default,
        }
    }
}
