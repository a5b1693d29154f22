//! Reading a file.

use std::ffi::CStr;

use bytes::Bytes;

use object::elf;

use super::address::AddressMap;
use super::hash::HashTable;
use super::image::Image;
use super::note::Notes;
use super::relocation::RelocationTables;
use super::symbol::SymbolTable;
use super::text::Text;
use super::version::{VersionNames, Versions};
use super::{
    Class, Data, Definition, Dynamic, Header, Layout, Name, Need, Relocation, Segment, SegmentKind, Symbol,
    SymbolVersion, Tls, Unreadable, VersionIndex, section,
};

/// No path of an interpreter is longer (`PATH_MAX`).
const INTERPRETER_LIMIT_BYTES: u64 = 4096;

/// One ELF file.
#[derive(Debug, Clone)]
pub struct Elf {
    /// The file header.
    pub header: Header,
    /// The program headers, in order; those that are in the file.
    pub segments: Vec<Segment>,
    /// `PT_INTERP`, without its null.
    pub interpreter: Option<String>,
    /// `PT_DYNAMIC`; none for what is linked statically.
    pub dynamic: Option<Dynamic>,
    /// `PT_TLS`.
    pub tls: Option<Tls>,
    /// The flags of `PT_GNU_STACK`; none if it is absent.
    pub stack_flags: Option<u32>,
    /// `DT_VERNEED`.
    pub needs: Vec<Need>,
    /// `DT_VERDEF`.
    pub definitions: Vec<Definition>,
    /// What its notes say.
    pub notes: Notes,
    /// What is malformed, for people.
    pub problems: Vec<String>,
    image: Image,
    map: AddressMap,
    symbol_table: Option<SymbolTable>,
    symbol_count: u32,
    hash_table: HashTable,
    relocation_tables: RelocationTables,
    version_names: VersionNames,
}

impl Elf {
    /// Reads a file by its own identification.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: Bytes) -> Result<Self, Unreadable> {
        let len = bytes.len() as u64;
        let ident: [u8; 16] = *bytes.first_chunk().ok_or(Unreadable::TooShort { len })?;
        let [m0, m1, m2, m3, class, data, ..] = ident;
        if [m0, m1, m2, m3] != elf::ELFMAG {
            return Err(Unreadable::Magic { head: [m0, m1, m2, m3] });
        }
        let class = match elf::FileClass(class) {
            elf::ELFCLASS32 => Class::Elf32,
            elf::ELFCLASS64 => Class::Elf64,
            elf::FileClass(value) => return Err(Unreadable::Class { value }),
        };
        let data = match elf::DataEncoding(data) {
            elf::ELFDATA2LSB => Data::Little,
            elf::ELFDATA2MSB => Data::Big,
            elf::DataEncoding(value) => return Err(Unreadable::Data { value }),
        };
        Self::read_as(bytes, Layout { class, data })
    }

    /// Reads a file by the loader's layout, as musl does, which looks neither at the magic number nor at the class.
    ///
    /// # Errors
    /// [`Unreadable::TooShort`].
    pub fn read_as(bytes: Bytes, layout: Layout) -> Result<Self, Unreadable> {
        let image = Image { bytes, layout };
        let mut problems = Vec::new();
        let header = Header::read(&image)?;
        let segments = Segment::read_all(&image, &header, &mut problems);
        let map = AddressMap::new(&segments, image.bytes.len());
        let mut text = Text::new(image.bytes.len());
        let interpreter = read_interpreter(&image, &segments, &mut problems);
        let notes = Notes::read(&image, header.machine, &segments, &mut problems);
        let dynamic = Dynamic::read(&image, &map, &segments, &mut text, &mut problems);
        let mut this = Self {
            interpreter,
            tls: Tls::find(&segments),
            stack_flags: segments
                .iter()
                .rev()
                .find(|segment| segment.kind == SegmentKind::Stack)
                .map(|segment| segment.flags),
            needs: Vec::new(),
            definitions: Vec::new(),
            notes,
            problems: Vec::new(),
            symbol_table: None,
            symbol_count: 0,
            hash_table: HashTable::None,
            relocation_tables: RelocationTables::default(),
            version_names: VersionNames::default(),
            header,
            segments,
            dynamic: None,
            image,
            map,
        };
        if let Some(dynamic) = dynamic {
            this.read_tables(&dynamic, &mut text, &mut problems);
            this.dynamic = Some(dynamic);
        }
        if this.is_truncated() {
            problems.push("the file ends before its segments do".to_owned());
        }
        this.problems = problems;
        Ok(this)
    }

    fn read_tables(&mut self, dynamic: &Dynamic, text: &mut Text, problems: &mut Vec<String>) {
        let (image, map) = (&self.image, &self.map);
        let strings = dynamic.strings(map);
        let versions = Versions::read(image, map, dynamic, strings.as_ref(), text, problems);
        self.relocation_tables = RelocationTables::read(image, map, dynamic, problems);
        let (hash_table, hashed_count) = HashTable::read(image, map, dynamic, self.header.machine, problems);
        self.hash_table = hash_table;
        self.symbol_table = SymbolTable::read(image, map, dynamic, strings, problems);
        if let Some(table) = &self.symbol_table {
            self.symbol_count = table.count(image, map, dynamic, hashed_count, problems);
        }
        self.needs = versions.needs;
        self.definitions = versions.definitions;
        self.version_names = versions.names;
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.image.bytes
    }

    /// Whether the file ends before a segment that is loaded does: who touches what is missing dies of `SIGBUS`.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.loaded_end() > self.image.bytes.len() as u64
    }

    /// Where the last segment that is loaded ends in the file, in bytes; 0 if there is none.
    #[must_use]
    pub fn loaded_end(&self) -> u64 {
        let loads = self.segments.iter().filter(|segment| segment.kind == SegmentKind::Load);
        loads.map(Segment::file_end).max().unwrap_or(0)
    }

    /// The bytes of the file that are mapped at an address.
    #[must_use]
    pub fn at(&self, address: u64, len: u64) -> Option<&[u8]> {
        self.image.bytes.get(self.map.range(address, len)?)
    }

    /// The string that is mapped at an address, without its null; none if it has no end within `limit` bytes.
    #[must_use]
    pub fn string_at(&self, address: u64, limit: usize) -> Option<&[u8]> {
        let rest = self.image.bytes.get(self.map.from(address)?)?;
        let rest = rest.get(..limit).unwrap_or(rest);
        Some(&rest[..memchr::memchr(0, rest)?])
    }

    /// How many symbols the hash tables reach, or the table's end if there are none; at least one when there is a table.
    #[must_use]
    pub fn symbol_count(&self) -> u32 {
        self.symbol_count
    }

    /// The symbol with an index. Indices at and behind [`Self::symbol_count`] are read too, as loaders do when a relocation has one.
    #[must_use]
    #[inline]
    pub fn symbol(&self, index: u32) -> Option<Symbol<'_>> {
        self.symbol_table.as_ref()?.symbol(&self.image, index)
    }

    /// The symbol with an index, if it has that name; the name's end is not looked for.
    #[must_use]
    #[inline]
    pub fn symbol_called(&self, index: u32, name: &[u8]) -> Option<Symbol<'_>> {
        self.symbol_table.as_ref()?.symbol_named(&self.image, index, name)
    }

    /// All symbols with their indices, the empty first one left out.
    pub fn symbols(&self) -> impl Iterator<Item = (u32, Symbol<'_>)> {
        (1..self.symbol_count()).filter_map(|index| Some((index, self.symbol(index)?)))
    }

    /// The entry of `DT_VERSYM` for a symbol; none if there is no such table.
    #[must_use]
    #[inline]
    pub fn version_of(&self, symbol: u32) -> Option<VersionIndex> {
        self.symbol_table
            .as_ref()?
            .version(&self.image, symbol)
            .map(VersionIndex)
    }

    /// The symbols with a name, in the order in which loaders meet them: through `DT_GNU_HASH` if there is one, else through
    /// `DT_HASH`. Entries of other names in the chain are left out.
    #[inline]
    pub fn find<'a, 'n>(&'a self, name: &Name<'n>) -> impl Iterator<Item = (u32, Symbol<'a>)> + use<'a, 'n> {
        let name = *name;
        let chain = self.hash_table.chain(&self.image, &name);
        let table = self.symbol_table.as_ref();
        chain.filter_map(move |index| Some((index, table?.symbol_named(&self.image, index, name.bytes)?)))
    }

    /// Calls `visit` with the hash ([`Name::gnu`], but for its last bit) of every name that [`Self::find`] can come upon. False if
    /// the file has only `DT_HASH`, which keeps none, or too many.
    pub fn each_hash(&self, visit: impl FnMut(u32)) -> bool {
        self.hash_table.each_hash(&self.image, visit)
    }

    /// The relocations in the order in which glibc applies them: `DT_REL` or `DT_RELA`, then `DT_JMPREL`; musl takes
    /// `DT_JMPREL` first. `DT_RELR` has none with a symbol and is left out.
    pub fn relocations(&self) -> impl Iterator<Item = Relocation> {
        self.relocation_tables.iter(&self.image, self.header.machine, false)
    }

    /// The same without those at the start of a table that are counted as relative (`DT_RELCOUNT`, `DT_RELACOUNT`), if the count may be
    /// true: a large library has tens of thousands.
    pub fn relocations_to_bind(&self) -> impl Iterator<Item = Relocation> {
        self.relocation_tables.iter(&self.image, self.header.machine, true)
    }

    /// The version that an index stands for in this file; none for the indices 0 and 1 and those that no table has.
    #[must_use]
    #[inline]
    pub fn version(&self, index: u16) -> Option<SymbolVersion<'_>> {
        self.version_names.get(index, &self.needs, &self.definitions)
    }

    /// The symbols of the static linker (`.symtab`), local ones and names of sources included; none when the file is stripped.
    pub fn linker_symbols(&self) -> Option<impl Iterator<Item = Symbol<'_>>> {
        let table = section::symbol_table(&self.image)?;
        let count = u32::try_from(table.symbols.len() / SymbolTable::entry_bytes(&self.image)).unwrap_or(u32::MAX);
        Some((1..count).filter_map(move |index| table.symbol(&self.image, index)))
    }

    /// The bytes of the segments with constants: those that are loaded and neither written nor executed; where a linker made
    /// none of its own for them, those that are not written.
    pub fn constants(&self) -> impl Iterator<Item = &[u8]> {
        let has = |segment: &Segment, flag: u32| segment.flags & flag != 0;
        let is_constant = move |segment: &&Segment| segment.kind == SegmentKind::Load && !has(segment, 2);
        let has_own = self.segments.iter().filter(is_constant).any(|segment| !has(segment, 1));
        let segments = self
            .segments
            .iter()
            .filter(is_constant)
            .filter(move |segment| !has_own || !has(segment, 1));
        segments.filter_map(|segment| self.image.bytes.get(self.map.from(segment.address)?))
    }

    /// All sections, for what no loader needs; none if the file has no headers of them.
    #[must_use]
    pub fn sections(&self) -> Vec<section::Section<'_>> {
        section::all(&self.image)
    }

    /// The bytes of a section, for what no loader needs; none if it is absent, out of bounds or compressed.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        section::find(&self.image, name)
    }
}

/// `PT_INTERP`: the kernel takes the first one.
fn read_interpreter(image: &Image, segments: &[Segment], problems: &mut Vec<String>) -> Option<String> {
    let segment = segments
        .iter()
        .find(|segment| segment.kind == SegmentKind::Interpreter)?;
    let bytes = image.slice(segment.offset, segment.file_size.min(INTERPRETER_LIMIT_BYTES));
    let path = bytes.and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok());
    if path.is_none() {
        problems.push("the path of the interpreter is cut or has no end".to_owned());
    }
    Some(path?.to_string_lossy().into_owned())
}
