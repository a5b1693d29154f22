//! Versions of symbols (`DT_VERSYM`, `DT_VERNEED`, `DT_VERDEF`).
//!
//! Source: the symbol versioning chapter of the Linux Standard Base; `_dl_check_map_versions` of glibc.

use std::ops::Range;

use object::{Endianness, elf};

use super::Dynamic;
use super::address::AddressMap;
use super::image::Image;
use super::text::Text;

/// An index of a version has 15 bits, so no file has more; entries behind are not read.
const VERSION_LIMIT_COUNT: usize = 0x8000;
/// The base definition: the file's own name, no version (`VER_FLG_BASE`).
const BASE: u16 = 1;

/// An entry of `DT_VERSYM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionIndex(pub u16);

impl VersionIndex {
    /// The index without the mark.
    #[must_use]
    pub fn index(self) -> u16 {
        self.0 & 0x7fff
    }

    /// Whether it is hidden: `name@VERSION`, not `name@@VERSION`.
    #[must_use]
    pub fn is_hidden(self) -> bool {
        self.0 & 0x8000 != 0
    }
}

/// What is needed of one file (`Verneed`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// `vn_file`.
    pub file: String,
    /// The versions, in order.
    pub versions: Vec<NeededVersion>,
}

/// One version that is needed (`Vernaux`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededVersion {
    /// `vna_name`.
    pub name: String,
    /// `vna_hash`.
    pub hash: u32,
    /// `vna_flags`; `VER_FLG_WEAK` is 2.
    pub flags: u16,
    /// `vna_other`.
    pub index: VersionIndex,
}

impl NeededVersion {
    /// Whether it may be missing (`VER_FLG_WEAK`).
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.flags & 2 != 0
    }
}

/// One version that is defined (`Verdef`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The name (the first `Verdaux`).
    pub name: String,
    /// `vd_hash`.
    pub hash: u32,
    /// `vd_flags`; `VER_FLG_BASE` is 1.
    pub flags: u16,
    /// `vd_ndx`.
    pub index: u16,
}

/// What an entry of `DT_VERSYM` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolVersion<'a> {
    /// The version's name.
    pub name: &'a str,
    /// `vna_hash` or `vd_hash`.
    pub hash: u32,
    /// Whether a reference means it though it is no default (`vna_other` with the mark).
    pub is_hidden: bool,
    /// The file of which it is needed (`vn_file`); none for what the file defines itself.
    pub file: Option<&'a str>,
}

/// What `DT_VERNEED` and `DT_VERDEF` say, and which version an index stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    pub(super) needs: Vec<Need>,
    pub(super) definitions: Vec<Definition>,
    pub(super) names: VersionNames,
}

/// Which version an index stands for, sorted by index.
#[derive(Debug, Clone, Default)]
pub(super) struct VersionNames(Vec<(u16, Place)>);

/// Where a version is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Need { file: u16, version: u16 },
    Definition(u16),
}

impl Versions {
    pub(super) fn read(
        image: &Image,
        map: &AddressMap,
        dynamic: &Dynamic,
        strings: Option<&Range<usize>>,
        text: &mut Text,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut reader = Reader {
            image,
            strings,
            text,
            left: VERSION_LIMIT_COUNT.min(image.bytes.len() / size_of::<elf::Vernaux<Endianness>>()),
        };
        let mut needs = Vec::new();
        if let Some(address) = dynamic.value(elf::DT_VERNEED)
            && reader.needs(map.from(address), &mut needs).is_none()
        {
            problems.push("DT_VERNEED is cut, has no end or names what cannot be read".to_owned());
        }
        let mut definitions = Vec::new();
        if let Some(address) = dynamic.value(elf::DT_VERDEF)
            && reader.definitions(map.from(address), &mut definitions).is_none()
        {
            problems.push("DT_VERDEF is cut, has no end or names what cannot be read".to_owned());
        }
        let names = VersionNames::new(&needs, &definitions);
        Self {
            needs,
            definitions,
            names,
        }
    }
}

impl VersionNames {
    /// Of several versions with one index the last one counts, and definitions come after needs, as in glibc.
    fn new(needs: &[Need], definitions: &[Definition]) -> Self {
        let needed = (0..).zip(needs).flat_map(|(file, need)| {
            (0..)
                .zip(&need.versions)
                .map(move |(version, needed)| (needed.index.index(), Place::Need { file, version }))
        });
        let defined = (0..)
            .zip(definitions)
            .filter(|(_, definition)| definition.flags & BASE == 0)
            .map(|(place, definition)| (VersionIndex(definition.index).index(), Place::Definition(place)));
        let mut names: Vec<(u16, Place)> = needed.chain(defined).filter(|(index, _)| *index > 1).collect();
        names.reverse();
        names.sort_by_key(|(index, _)| *index);
        names.dedup_by_key(|(index, _)| *index);
        Self(names)
    }

    /// The version that an index stands for.
    #[inline]
    pub(super) fn get<'a>(
        &self,
        index: u16,
        needs: &'a [Need],
        definitions: &'a [Definition],
    ) -> Option<SymbolVersion<'a>> {
        let found = self.0.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        match self.0.get(found)?.1 {
            Place::Need { file, version } => {
                let need = needs.get(usize::from(file))?;
                let version = need.versions.get(usize::from(version))?;
                Some(SymbolVersion {
                    name: &version.name,
                    hash: version.hash,
                    is_hidden: version.index.is_hidden(),
                    file: Some(&need.file),
                })
            }
            Place::Definition(place) => {
                let definition = definitions.get(usize::from(place))?;
                Some(SymbolVersion {
                    name: &definition.name,
                    hash: definition.hash,
                    is_hidden: false,
                    file: None,
                })
            }
        }
    }
}

/// Walks the linked lists, whose links can point anywhere ahead.
struct Reader<'a> {
    image: &'a Image,
    strings: Option<&'a Range<usize>>,
    text: &'a mut Text,
    /// How many more entries may come; so many as fit in the file, so that lists that overlap end.
    left: usize,
}

impl Reader<'_> {
    /// None if the list is malformed; what was read until then stays.
    fn needs(&mut self, table: Option<Range<usize>>, needs: &mut Vec<Need>) -> Option<()> {
        let endian = self.image.layout.endian();
        let table = table?;
        let mut offset = table.start;
        loop {
            self.left = self.left.checked_sub(1)?;
            let raw = self
                .image
                .structure_before::<elf::Verneed<Endianness>>(offset, table.end)?;
            let mut need = Need {
                file: self.name(raw.vn_file.get(endian))?,
                versions: Vec::new(),
            };
            let first = offset.checked_add(raw.vn_aux.get(endian) as usize)?;
            let next = raw.vn_next.get(endian) as usize;
            let is_whole = self.needed_versions(first, table.end, &mut need.versions);
            needs.push(need);
            is_whole?;
            if next == 0 {
                return Some(());
            }
            offset = offset.checked_add(next)?;
        }
    }

    fn needed_versions(&mut self, first: usize, end: usize, versions: &mut Vec<NeededVersion>) -> Option<()> {
        let endian = self.image.layout.endian();
        let mut offset = first;
        loop {
            self.left = self.left.checked_sub(1)?;
            let raw = self.image.structure_before::<elf::Vernaux<Endianness>>(offset, end)?;
            versions.push(NeededVersion {
                name: self.name(raw.vna_name.get(endian))?,
                hash: raw.vna_hash.get(endian),
                flags: raw.vna_flags.get(endian).0,
                index: VersionIndex(raw.vna_other.get(endian).0),
            });
            match raw.vna_next.get(endian) as usize {
                0 => return Some(()),
                next => offset = offset.checked_add(next)?,
            }
        }
    }

    fn definitions(&mut self, table: Option<Range<usize>>, definitions: &mut Vec<Definition>) -> Option<()> {
        let endian = self.image.layout.endian();
        let table = table?;
        let mut offset = table.start;
        loop {
            self.left = self.left.checked_sub(1)?;
            let raw = self
                .image
                .structure_before::<elf::Verdef<Endianness>>(offset, table.end)?;
            let first = offset.checked_add(raw.vd_aux.get(endian) as usize)?;
            let name = self
                .image
                .structure_before::<elf::Verdaux<Endianness>>(first, table.end)?;
            definitions.push(Definition {
                name: self.name(name.vda_name.get(endian))?,
                hash: raw.vd_hash.get(endian),
                flags: raw.vd_flags.get(endian).0,
                index: raw.vd_ndx.get(endian).0,
            });
            match raw.vd_next.get(endian) as usize {
                0 => return Some(()),
                next => offset = offset.checked_add(next)?,
            }
        }
    }

    fn name(&mut self, offset: u32) -> Option<String> {
        self.text.keep(self.image.string(self.strings?, offset.into())?)
    }
}
