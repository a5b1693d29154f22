//! The dynamic section, without the tables that it points to.

use std::ops::Range;

use object::read::elf::{Dyn, FileHeader};
use object::{Endianness, elf};

use super::address::AddressMap;
use super::image::{Image, Narrow, Wide};
use super::text::Text;
use super::{Segment, SegmentKind};

/// No dynamic section has more entries; those behind are not read.
const ENTRY_LIMIT_COUNT: usize = 65_536;

/// What `PT_DYNAMIC` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_RPATH`.
    pub rpath: Option<String>,
    /// `DT_RUNPATH`.
    pub runpath: Option<String>,
    /// `DT_FILTER`, in order.
    pub filters: Vec<String>,
    /// `DT_AUXILIARY`, in order.
    pub auxiliaries: Vec<String>,
    /// `DT_FLAGS`, with the bits that `DT_SYMBOLIC`, `DT_TEXTREL` and `DT_BIND_NOW` stand for (`DF_*`).
    pub flags: u64,
    /// `DT_FLAGS_1` (`DF_1_*`).
    pub flags_1: u64,
    /// Whether there is a `DT_HASH`.
    pub has_sysv_hash: bool,
    /// Whether there is a `DT_GNU_HASH`.
    pub has_gnu_hash: bool,
    /// Whether there is a `DT_VERSYM`.
    pub has_versions: bool,
    /// Whether there is a `DT_VERDEF`.
    pub has_version_definitions: bool,
    /// Whether there is a `DT_RELR`.
    pub has_relative_table: bool,
    /// Whether there is a `DT_INIT_ARRAY` that is not empty: functions that are called when it is loaded, by pointers in it.
    pub has_initialiser_array: bool,
    /// Every entry, in order: tag and value.
    pub entries: Vec<(i64, u64)>,
}

impl Dynamic {
    /// `DF_ORIGIN`.
    pub const ORIGIN: u64 = 1;
    /// `DF_SYMBOLIC`: own definitions come first.
    pub const SYMBOLIC: u64 = 2;
    /// `DF_TEXTREL`: relocations write into segments that are not writable.
    pub const TEXTREL: u64 = 4;
    /// `DF_BIND_NOW`: nothing is bound lazily.
    pub const BIND_NOW: u64 = 8;
    /// `DF_STATIC_TLS`: thread-local storage is accessed at a fixed offset.
    pub const STATIC_TLS: u64 = 0x10;
    /// `DF_1_NOW`.
    pub const NOW_1: u64 = 1;
    /// `DF_1_NODELETE`.
    pub const NODELETE_1: u64 = 8;
    /// `DF_1_NOOPEN`: it cannot be opened with `dlopen`.
    pub const NOOPEN_1: u64 = 0x40;
    /// `DF_1_NODEFLIB`: the default directories are not searched.
    pub const NODEFLIB_1: u64 = 0x800;
    /// `DF_1_PIE`: a program.
    pub const PIE_1: u64 = 0x0800_0000;

    /// Whether it says that it is of a program, and not of a library.
    #[must_use]
    pub fn is_program(&self) -> bool {
        self.flags_1 & Self::PIE_1 != 0
    }

    /// Whether nothing is bound lazily, whatever the caller of `dlopen` says.
    #[must_use]
    pub fn binds_now(&self) -> bool {
        self.flags & Self::BIND_NOW != 0 || self.flags_1 & Self::NOW_1 != 0
    }

    /// Whether own definitions come first.
    #[must_use]
    pub fn is_symbolic(&self) -> bool {
        self.flags & Self::SYMBOLIC != 0
    }
}

impl Dynamic {
    /// Reads the dynamic section where the last `PT_DYNAMIC` says that it is, up to its end mark, as loaders do.
    pub(super) fn read(
        image: &Image,
        map: &AddressMap,
        segments: &[Segment],
        text: &mut Text,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        let segment = segments
            .iter()
            .rev()
            .find(|segment| segment.kind == SegmentKind::Dynamic)?;
        let Some(range) = map.from(segment.address) else {
            problems.push("the dynamic section is not in the part of the file that is loaded".to_owned());
            return None;
        };
        let entries = if image.layout.is_wide() {
            read_entries::<Wide>(image, range, problems)
        } else {
            read_entries::<Narrow>(image, range, problems)
        };
        let mut dynamic = Self {
            entries,
            ..Self::default()
        };
        dynamic.interpret(image, map, text, problems);
        Some(dynamic)
    }

    /// The value of a tag; of several the last one counts, in both loaders.
    pub(super) fn value(&self, tag: elf::DynamicTag) -> Option<u64> {
        let entry = self.entries.iter().rev().find(|(number, _)| *number == tag.0)?;
        Some(entry.1)
    }

    /// Where the strings are: from `DT_STRTAB` to the end of its segment, since no loader looks at `DT_STRSZ`.
    pub(super) fn strings(&self, map: &AddressMap) -> Option<Range<usize>> {
        map.from(self.value(elf::DT_STRTAB)?)
    }

    fn interpret(&mut self, image: &Image, map: &AddressMap, text: &mut Text, problems: &mut Vec<String>) {
        let strings = self.strings(map);
        if self.value(elf::DT_STRTAB).is_some() && strings.is_none() {
            problems.push("the table of strings is not in the part of the file that is loaded".to_owned());
        }
        let mut first_unreadable = None;
        let mut string = |offset: u64| {
            let found = strings
                .as_ref()
                .and_then(|strings| image.string(strings, offset))
                .and_then(|bytes| text.keep(bytes));
            if found.is_none() {
                first_unreadable.get_or_insert(offset);
            }
            found
        };
        for (tag, value) in &self.entries {
            match elf::DynamicTag(*tag) {
                elf::DT_NEEDED => self.needed.extend(string(*value)),
                elf::DT_SONAME => self.soname = string(*value),
                elf::DT_RPATH => self.rpath = string(*value),
                elf::DT_RUNPATH => self.runpath = string(*value),
                elf::DT_FILTER => self.filters.extend(string(*value)),
                elf::DT_AUXILIARY => self.auxiliaries.extend(string(*value)),
                elf::DT_FLAGS => self.flags |= *value,
                elf::DT_FLAGS_1 => self.flags_1 = *value,
                elf::DT_SYMBOLIC => self.flags |= Self::SYMBOLIC,
                elf::DT_TEXTREL => self.flags |= Self::TEXTREL,
                elf::DT_BIND_NOW => self.flags |= Self::BIND_NOW,
                elf::DT_HASH => self.has_sysv_hash = true,
                elf::DT_GNU_HASH => self.has_gnu_hash = true,
                elf::DT_VERSYM => self.has_versions = true,
                elf::DT_VERDEF => self.has_version_definitions = true,
                elf::DT_RELR => self.has_relative_table = true,
                elf::DT_INIT_ARRAYSZ => self.has_initialiser_array = *value > 0,
                _ => {}
            }
        }
        if let Some(offset) = first_unreadable {
            problems.push(format!(
                "a name in the dynamic section, {offset} bytes into the strings, cannot be read"
            ));
        }
    }
}

fn read_entries<F: FileHeader<Endian = Endianness>>(
    image: &Image,
    range: Range<usize>,
    problems: &mut Vec<String>,
) -> Vec<(i64, u64)> {
    let endian = image.layout.endian();
    let mut entries = Vec::new();
    for offset in range.clone().step_by(size_of::<F::Dyn>()) {
        let Some(entry) = image.structure_before::<F::Dyn>(offset, range.end) else {
            break;
        };
        let tag = entry.d_tag(endian);
        if tag == elf::DT_NULL {
            return entries;
        }
        if entries.len() == ENTRY_LIMIT_COUNT {
            problems.push(format!("the dynamic section has more than {ENTRY_LIMIT_COUNT} entries"));
            return entries;
        }
        entries.push((tag.0, entry.d_val(endian).into()));
    }
    problems.push("the dynamic section has no end".to_owned());
    entries
}
