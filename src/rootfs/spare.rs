//! Which parts of an ELF file no loader and no check reads: instructions, and what is for debuggers and unwinding.
//!
//! This decides only what is kept of a stream, so it is careful in one direction: when in doubt, a part is kept.

use std::ops::Range;

/// How many headers are looked at.
const HEADERS_LIMIT_COUNT: u64 = 4096;
/// What is kept around the section headers, and of what follows the last segment: short sections without an address
/// (`.comment`) stand there.
const MARGIN_BYTES: u64 = 256 * 1024;
/// How many entries of a dynamic table are looked at.
const DYNAMIC_LIMIT_COUNT: u64 = 4096;
/// How much behind the last segment is held until the section headers say what it is.
const TAIL_LIMIT_BYTES: u64 = 32 * 1024 * 1024;
/// Every table of section names has its own name in it.
const NAME_OF_NAMES: &[u8] = b"\0.shstrtab\0";
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PF_X: u64 = 1;
const SHT_PROGBITS: u64 = 1;
const SHT_SYMTAB: u64 = 2;
const SHT_STRTAB: u64 = 3;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;
/// The entries of a dynamic table that say where a table is.
const TABLE_TAGS: [u64; 11] = [
    4,           // DT_HASH
    5,           // DT_STRTAB
    6,           // DT_SYMTAB
    7,           // DT_RELA
    17,          // DT_REL
    23,          // DT_JMPREL
    36,          // DT_RELR
    0x6fff_fef5, // DT_GNU_HASH
    0x6fff_fff0, // DT_VERSYM
    0x6fff_fffc, // DT_VERDEF
    0x6fff_fffe, // DT_VERNEED
];
/// Sections in segments without instructions that are only for unwinding and debugging.
const UNWINDING: [&[u8]; 3] = [b".eh_frame", b".gcc_except_table", b".gopclntab"];

/// The segments of which a file's beginning says that they have nothing but instructions, and what is behind all segments.
/// `read` is how much of `bytes` is there.
pub(super) fn spare_segments(bytes: &[u8], read: u64) -> Vec<Range<u64>> {
    let len = bytes.len() as u64;
    let Some(file) = Layout::of(bytes) else {
        return Vec::new();
    };
    let Some(segments) = file
        .segments()
        .filter(|_| file.segments_end().is_some_and(|end| end <= read))
    else {
        return Vec::new();
    };
    let needed: Vec<Range<u64>> = segments
        .iter()
        .filter(|segment| segment.kind != PT_LOAD || segment.flags & PF_X == 0)
        .map(|segment| segment.file.clone())
        .chain(file.segments_end().map(|end| 0..end))
        .chain(
            file.section_headers()
                .map(|headers| headers.start.saturating_sub(MARGIN_BYTES)..headers.end.saturating_add(MARGIN_BYTES)),
        )
        .collect();
    let mut spare: Vec<Range<u64>> = segments
        .iter()
        // The first segment has the tables too, where linkers do not set instructions apart.
        .filter(|segment| segment.kind == PT_LOAD && segment.flags & PF_X != 0 && segment.file.start > 0)
        .map(|segment| segment.file.clone())
        .collect();
    let end = segments.iter().map(|segment| segment.file.end).max().unwrap_or(len);
    let end = end.saturating_add(MARGIN_BYTES);
    let tail = end..file
        .section_headers()
        .map_or(end, |headers| headers.start.saturating_sub(MARGIN_BYTES));
    if tail.end.saturating_sub(tail.start) > TAIL_LIMIT_BYTES {
        spare.push(tail);
    }
    spare.retain(|range| {
        range.start < range.end
            && range.start >= read
            && range.end <= len
            && !needed.iter().any(|other| overlap(range, other))
    });
    spare
}

/// Whether a part of a file, behind another, looks like a table of section names: it may stand anywhere behind the segments, and
/// where is said only at the end.
pub(super) fn has_section_names(before: &[u8], part: &[u8]) -> bool {
    let edge = NAME_OF_NAMES.len() - 1;
    let overlap = [
        &before[before.len().saturating_sub(edge)..],
        &part[..part.len().min(edge)],
    ]
    .concat();
    [part, &overlap]
        .iter()
        .any(|bytes| memchr::memmem::find(bytes, NAME_OF_NAMES).is_some())
}

/// Whether all tables that the dynamic table names are outside of what was left out.
pub(super) fn tables_are_kept(bytes: &[u8], spare: &[Range<u64>]) -> bool {
    let tables = Layout::of(bytes).map(|file| file.tables()).unwrap_or_default();
    !tables
        .iter()
        .any(|table| spare.iter().any(|range| range.contains(table)))
}

/// The sections that can be left out, when section headers say where they are.
pub(super) fn spare_sections(bytes: &[u8]) -> Vec<Range<u64>> {
    let Some(file) = Layout::of(bytes) else {
        return Vec::new();
    };
    let (Some(segments), Some(sections)) = (file.segments(), file.sections()) else {
        return Vec::new();
    };
    let tables = file.tables();
    let needed: Vec<Range<u64>> = segments
        .iter()
        .filter(|segment| segment.kind != PT_LOAD)
        .map(|segment| segment.file.clone())
        .filter(|range| range.start < range.end)
        .chain(file.segments_end().map(|end| 0..end))
        .chain(file.section_headers())
        .collect();
    let names = file.name_section(&sections);
    let is_spare = |section: &Section| {
        let is_in = |segment: &Segment| {
            segment.kind == PT_LOAD && segment.file.start <= section.file.start && section.file.end <= segment.file.end
        };
        let segment = segments.iter().find(|segment| is_in(segment));
        let name = names
            .as_ref()
            .and_then(|names| file.name(names, section.name))
            .unwrap_or_default();
        if section.flags & SHF_ALLOC == 0 {
            let is_table = matches!(section.kind, SHT_SYMTAB | SHT_STRTAB) && Some(&section.file) != names.as_ref();
            segment.is_none() && (is_table || name.starts_with(b".debug") || name.starts_with(b".zdebug"))
        } else if section.kind == SHT_PROGBITS && section.flags & SHF_EXECINSTR != 0 {
            segment.is_some_and(|segment| segment.flags & PF_X != 0)
        } else {
            section.kind == SHT_PROGBITS && UNWINDING.contains(&name)
        }
    };
    let spare = sections
        .iter()
        .filter(|section| is_spare(section))
        .map(|section| section.file.clone());
    spare
        .filter(|range| range.start < range.end && range.end <= bytes.len() as u64)
        .filter(|range| !tables.iter().any(|table| range.contains(table)))
        // The unwinder's index stands in a segment of its own, which tells nobody but itself.
        .filter(|range| !needed.iter().any(|other| overlap(range, other)))
        .collect()
}

fn overlap(left: &Range<u64>, right: &Range<u64>) -> bool {
    left.start < right.end && right.start < left.end
}

/// A program header.
struct Segment {
    kind: u64,
    flags: u64,
    file: Range<u64>,
    address: u64,
}

/// A section header.
struct Section {
    name: u64,
    kind: u64,
    flags: u64,
    file: Range<u64>,
}

/// How a file's structures are laid out.
struct Layout<'a> {
    bytes: &'a [u8],
    is_64: bool,
    is_big: bool,
}

impl<'a> Layout<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (class, data) = (*bytes.get(4)?, *bytes.get(5)?);
        (bytes.starts_with(b"\x7fELF") && matches!(class, 1 | 2) && matches!(data, 1 | 2)).then_some(Self {
            bytes,
            is_64: class == 2,
            is_big: data == 2,
        })
    }

    /// A number of so many bytes.
    fn number(&self, at: u64, size: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.is_big {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        })
    }

    /// A number that stands at `narrow` with 4 bytes in 32-bit files, and at `wide` with 8 bytes in others.
    fn word(&self, base: u64, narrow: u64, wide: u64) -> Option<u64> {
        if self.is_64 {
            self.number(base.checked_add(wide)?, 8)
        } else {
            self.number(base.checked_add(narrow)?, 4)
        }
    }

    /// Where the program headers end.
    fn segments_end(&self) -> Option<u64> {
        let size = if self.is_64 { 56 } else { 32 };
        let count = self.number(if self.is_64 { 56 } else { 44 }, 2)?;
        (count <= HEADERS_LIMIT_COUNT).then_some(())?;
        self.word(0, 28, 32)?.checked_add(count * size)
    }

    fn segments(&self) -> Option<Vec<Segment>> {
        let (entry, size_at, count_at) = if self.is_64 { (56, 54, 56) } else { (32, 42, 44) };
        let (size, count) = (self.number(size_at, 2)?, self.number(count_at, 2)?);
        if size != entry || count > HEADERS_LIMIT_COUNT {
            return None;
        }
        let start = self.word(0, 28, 32)?;
        (0..count)
            .map(|index| {
                let base = start.checked_add(index * size)?;
                let offset = self.word(base, 4, 8)?;
                Some(Segment {
                    kind: self.number(base, 4)?,
                    flags: self.number(base + if self.is_64 { 4 } else { 24 }, 4)?,
                    address: self.word(base, 8, 16)?,
                    file: offset..offset.checked_add(self.word(base, 16, 32)?)?,
                })
            })
            .collect()
    }

    /// Where the section headers are.
    fn section_headers(&self) -> Option<Range<u64>> {
        let (entry, size_at, count_at) = if self.is_64 { (64, 58, 60) } else { (40, 46, 48) };
        let (start, count) = (self.word(0, 32, 40)?, self.number(count_at, 2)?);
        let is_usual = start > 0 && count > 0 && count <= HEADERS_LIMIT_COUNT && self.number(size_at, 2)? == entry;
        let end = start.checked_add(count * entry)?;
        (is_usual && end <= self.bytes.len() as u64).then_some(start..end)
    }

    fn sections(&self) -> Option<Vec<Section>> {
        let headers = self.section_headers()?;
        let entry = if self.is_64 { 64 } else { 40 };
        let count = (headers.end - headers.start) / entry;
        (0..count)
            .map(|index| {
                let base = headers.start + index * entry;
                let offset = self.word(base, 16, 24)?;
                Some(Section {
                    name: self.number(base, 4)?,
                    kind: self.number(base + 4, 4)?,
                    flags: self.word(base, 8, 8)?,
                    file: offset..offset.checked_add(self.word(base, 20, 32)?)?,
                })
            })
            .collect()
    }

    /// Where the names of sections are.
    fn name_section(&self, sections: &[Section]) -> Option<Range<u64>> {
        let index = self.number(if self.is_64 { 62 } else { 50 }, 2)?;
        sections
            .get(usize::try_from(index).ok()?)
            .map(|section| section.file.clone())
    }

    fn name(&self, names: &Range<u64>, offset: u64) -> Option<&'a [u8]> {
        /// Those that matter are shorter.
        const NAME_LIMIT_BYTES: usize = 32;
        let start = usize::try_from(names.start.checked_add(offset)?).ok()?;
        let bytes = self.bytes.get(start..)?;
        let bytes = &bytes[..bytes.len().min(NAME_LIMIT_BYTES)];
        bytes.split(|byte| *byte == 0).next()
    }

    /// Where in the file the tables are that the dynamic table names.
    fn tables(&self) -> Vec<u64> {
        let segments = self.segments().unwrap_or_default();
        let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
            return Vec::new();
        };
        let size = if self.is_64 { 16 } else { 8 };
        let count = ((dynamic.file.end - dynamic.file.start) / size).min(DYNAMIC_LIMIT_COUNT);
        let entry = |index: u64| {
            let base = dynamic.file.start.checked_add(index * size)?;
            Some((self.word(base, 0, 0)?, self.word(base, 4, 8)?))
        };
        (0..count)
            .map_while(entry)
            .filter(|(tag, _)| TABLE_TAGS.contains(tag))
            .filter_map(|(_, address)| {
                let mut loads = segments.iter().filter(|segment| segment.kind == PT_LOAD);
                let load = loads
                    .find(|load| address >= load.address && address - load.address < load.file.end - load.file.start)?;
                Some(load.file.start + (address - load.address))
            })
            .collect()
    }
}
