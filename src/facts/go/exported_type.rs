//! The types of what a plugin exports: the table that the host's runtime reads when a plugin is opened, and the descriptions of
//! types to which it leads. Nothing is run for them, and they are there when the file was stripped.
//!
//! Source: `runtime/plugin.go`, `runtime/symtab.go` (`moduledata`) and `internal/abi/type.go` of Go; the descriptions have had this
//! form since Go 1.17.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Elf;
use crate::facts::elf::RelocationClass;
use crate::facts::words::Words;

/// Where the address of all types is, in words before the table of exported symbols: Go 1.17 and since 1.27; 1.18 to 1.25; 1.26.
const TYPES_BEFORE_TABLE_WORDS: [u64; 3] = [11, 13, 14];
/// The table is so many words before the slice of packages: the slice of it has three, and the plugin's path two.
const TABLE_BEFORE_PACKAGES_WORDS: u64 = 5;
/// A name and a type, as offsets of 32 bits.
const ENTRY_BYTES: u64 = 8;
/// Longer than a name, a type or a path that anyone writes.
const TEXT_LIMIT_BYTES: u64 = 64 * 1024;
/// How many descriptions are looked at for one exported symbol.
const DESCRIPTIONS_LIMIT_COUNT: usize = 1000;
/// What is counted for each entry beside its text, so that all that is kept is in proportion to the file.
const ENTRY_COST_BYTES: usize = 256;

/// The type of what `plugin.Lookup` yields: a function's, or that of a pointer to a variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExportedType {
    /// As `reflect.Type.String()` has it.
    pub text: String,
    /// The named types in it, with the import path of their package: two packages can have one name.
    pub named: BTreeSet<NamedType>,
}

/// A type with a name and a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedType {
    /// With the name of its package before it: `http.Request`.
    pub text: String,
    /// The import path of its package.
    pub package: String,
}

/// What a type is, in the order of `reflect.Kind`.
mod kind {
    pub(super) const ARRAY: u8 = 17;
    pub(super) const CHAN: u8 = 18;
    pub(super) const FUNC: u8 = 19;
    pub(super) const INTERFACE: u8 = 20;
    pub(super) const MAP: u8 = 21;
    pub(super) const POINTER: u8 = 22;
    pub(super) const SLICE: u8 = 23;
    pub(super) const STRUCT: u8 = 25;
    pub(super) const LAST: u8 = 26;
    /// The bits above were flags once.
    pub(super) const MASK: u8 = 31;
}

/// The flags of a type.
mod flag {
    /// More of it is behind its own fields.
    pub(super) const UNCOMMON: u8 = 1 << 0;
    /// Its text is that of the pointer to it.
    pub(super) const EXTRA_STAR: u8 = 1 << 1;
    pub(super) const NAMED: u8 = 1 << 2;
}

/// Reads the table of a module whose slice of packages is at `packages`. Empty if it exports nothing, and where the file is of another
/// form.
pub(super) fn read(elf: &Elf, words: &Words<'_>, packages: u64) -> BTreeMap<String, ExportedType> {
    let table = packages.checked_sub(TABLE_BEFORE_PACKAGES_WORDS * words.width());
    let found = table.and_then(|place| {
        let address = words.pointer(place)?;
        let count = words.word(place.checked_add(words.width())?)?;
        // The entries are there, so that no more are read than the file has.
        let entries = elf.at(address, count.checked_mul(ENTRY_BYTES)?)?;
        if entries.is_empty() {
            return None;
        }
        let bases = TYPES_BEFORE_TABLE_WORDS.iter().filter_map(|distance| {
            let types = words.pointer(place.checked_sub(distance * words.width())?)?;
            (types != 0).then_some(types)
        });
        let mut reader = Types::new(elf, words);
        bases.into_iter().find_map(|types| reader.exports(types, entries))
    });
    found.unwrap_or_default()
}

/// A reader of descriptions of types.
struct Types<'a, 'w> {
    elf: &'a Elf,
    words: &'w Words<'a>,
    /// The words that hold a symbol's address: where, the symbol, the addend; sorted.
    symbolic: Vec<(u64, u32, i64)>,
    /// The address that offsets are counted from.
    base: u64,
    /// How many bytes may still be kept.
    budget: usize,
}

impl<'a, 'w> Types<'a, 'w> {
    fn new(elf: &'a Elf, words: &'w Words<'a>) -> Self {
        let symbolic = elf
            .relocations()
            .filter(|relocation| relocation.class == RelocationClass::Absolute && relocation.symbol != 0);
        let mut symbolic: Vec<(u64, u32, i64)> = symbolic
            .map(|relocation| (relocation.offset, relocation.symbol, relocation.addend))
            .collect();
        symbolic.sort_unstable();
        Self {
            elf,
            words,
            symbolic,
            base: 0,
            budget: 0,
        }
    }

    /// What the entries say if offsets are counted from `base`; none if one of them leads to no name or to no type.
    fn exports(&mut self, base: u64, entries: &[u8]) -> Option<BTreeMap<String, ExportedType>> {
        self.base = base;
        self.budget = self.elf.bytes().len();
        let mut exports = BTreeMap::new();
        let (entries, _) = entries.as_chunks::<{ ENTRY_BYTES as usize }>();
        for entry in entries {
            let (name, described) = entry.split_at(entry.len() / 2);
            let name = self.name(self.offset(self.words.number(name))?)?;
            if !super::identifier::is_exported(name) {
                return None;
            }
            self.spend(name.len() + ENTRY_COST_BYTES)?;
            let found = self.exported(self.offset(self.words.number(described))?)?;
            exports.insert(name.to_owned(), found);
        }
        Some(exports)
    }

    fn exported(&mut self, address: u64) -> Option<ExportedType> {
        let text = self.describe(address)?.text;
        self.spend(text.len())?;
        let text = text.to_owned();
        Some(ExportedType {
            text,
            named: self.named(address),
        })
    }

    /// The named types in a type; as many as can be read.
    fn named(&mut self, address: u64) -> BTreeSet<NamedType> {
        let mut named = BTreeSet::new();
        let mut seen = BTreeSet::from([address]);
        let mut pending = vec![address];
        while let Some(address) = pending.pop() {
            let Some(described) = self.describe(address) else {
                continue;
            };
            if described.has(flag::NAMED) {
                if let Some(package) = self.package(&described)
                    && !package.is_empty()
                    && self
                        .spend(package.len() + described.text.len() + ENTRY_COST_BYTES)
                        .is_some()
                {
                    named.insert(NamedType {
                        text: described.text.to_owned(),
                        package: package.to_owned(),
                    });
                }
                continue;
            }
            for part in self.parts(&described) {
                if seen.len() < DESCRIPTIONS_LIMIT_COUNT && seen.insert(part) {
                    pending.push(part);
                }
            }
        }
        named
    }

    /// The types that an unnamed type is made of; of very many only the first.
    fn parts(&self, described: &Description<'a>) -> Vec<u64> {
        let width = self.words.width();
        let own = described.own;
        let at = |place: Option<u64>| place.and_then(|place| self.pointer(place));
        let list = |start: Option<u64>, count: u64, step: u64| -> Vec<u64> {
            let places =
                (0..count.min(DESCRIPTIONS_LIMIT_COUNT as u64)).map_while(|index| start?.checked_add(index * step));
            places.filter_map(|place| self.pointer(place)).collect()
        };
        // A slice of structures is its address and its length, behind the package's path.
        let slice = || {
            let place = own.checked_add(width)?;
            let count = self.words.word(place.checked_add(width)?)?;
            Some((self.pointer(place)?, count))
        };
        match described.kind {
            kind::POINTER | kind::SLICE | kind::CHAN | kind::ARRAY => at(Some(own)).into_iter().collect(),
            kind::MAP => list(Some(own), 2, width),
            kind::FUNC => {
                let Some(counts) = self.elf.at(own, 4) else {
                    return vec![];
                };
                let (takes, gives) = counts.split_at(2);
                // The topmost bit of the results says that the last parameter is variadic.
                let count = self.words.number(takes) + (self.words.number(gives) & 0x7fff);
                let behind = if described.has(flag::UNCOMMON) {
                    UNCOMMON_BYTES
                } else {
                    0
                };
                list(own.checked_add(width + behind), count, width)
            }
            kind::STRUCT => {
                let Some((fields, count)) = slice() else { return vec![] };
                // A name, a type and an offset each.
                list(fields.checked_add(width), count, 3 * width)
            }
            kind::INTERFACE => {
                let Some((methods, count)) = slice() else {
                    return vec![];
                };
                let places = (0..count.min(DESCRIPTIONS_LIMIT_COUNT as u64))
                    .map_while(|index| methods.checked_add(index * ENTRY_BYTES + ENTRY_BYTES / 2));
                let offsets = places.filter_map(|place| Some(self.words.number(self.elf.at(place, 4)?)));
                offsets.filter_map(|offset| self.offset(offset)).collect()
            }
            _ => vec![],
        }
    }

    /// The import path of a named type's package; empty for what Go itself names.
    fn package(&self, described: &Description<'a>) -> Option<&'a str> {
        if !described.has(flag::UNCOMMON) {
            return None;
        }
        let width = self.words.width();
        let own_bytes: &[u64] = match described.kind {
            kind::POINTER | kind::SLICE | kind::FUNC => &[width],
            kind::CHAN => &[2 * width],
            kind::ARRAY => &[3 * width],
            kind::STRUCT | kind::INTERFACE => &[4 * width],
            // Since Go 1.24 maps are others; where they are not, something else is there.
            kind::MAP => &[8 * width, 4 * width + 8],
            _ => &[0],
        };
        own_bytes.iter().find_map(|bytes| {
            let offset = self.elf.at(described.own.checked_add(*bytes)?, 4)?;
            let package = self.name(self.offset(self.words.number(offset))?)?;
            let is_path = package.chars().all(|letter| !letter.is_control() && letter != ' ');
            (is_path && (described.kind != kind::MAP || described.may_be_of(package))).then_some(package)
        })
    }

    fn describe(&self, address: u64) -> Option<Description<'a>> {
        let width = self.words.width();
        let header = self.elf.at(address, 4 * width + 16)?;
        // Its size, how much of it has pointers, a hash; then flags, alignments and kind.
        let small = 2 * usize::try_from(width).ok()? + 4;
        let (flags, kind) = (*header.get(small)?, *header.get(small + 3)? & kind::MASK);
        if kind == 0 || kind > kind::LAST {
            return None;
        }
        // How it is compared, where its pointers are; then its text, and the pointer to it.
        let text = header.get(header.len() - 8..header.len() - 4)?;
        let text = self.name(self.offset(self.words.number(text))?)?;
        let text = match flags & flag::EXTRA_STAR {
            0 => text,
            _ => text.strip_prefix('*')?,
        };
        (!text.is_empty()).then_some(Description {
            text,
            flags,
            kind,
            own: address.checked_add(4 * width + 16)?,
        })
    }

    /// A name: flags, a length of seven bits a byte, and the text.
    fn name(&self, address: u64) -> Option<&'a str> {
        const LENGTH_LIMIT_BYTES: u64 = 3;
        let mut len = 0;
        for index in 0..LENGTH_LIMIT_BYTES {
            let place = address.checked_add(1 + index)?;
            let byte = *self.elf.at(place, 1)?.first()?;
            len |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if len > TEXT_LIMIT_BYTES {
                    return None;
                }
                return std::str::from_utf8(self.elf.at(place.checked_add(1)?, len)?).ok();
            }
        }
        None
    }

    /// The address of an offset.
    fn offset(&self, offset: u64) -> Option<u64> {
        self.base.checked_add(offset)
    }

    /// The address in a word; types that other files can have, too, are referred to by their symbols.
    fn pointer(&self, place: u64) -> Option<u64> {
        let found = self.symbolic.binary_search_by_key(&place, |(place, ..)| *place);
        let Some((_, symbol, addend)) = found.ok().and_then(|index| self.symbolic.get(index)) else {
            return self.words.pointer(place);
        };
        let symbol = self.elf.symbol(*symbol)?;
        symbol.is_defined().then_some(symbol.value)?.checked_add_signed(*addend)
    }

    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(bytes)?;
        Some(())
    }
}

/// What is behind the fields of types with methods or a package.
const UNCOMMON_BYTES: u64 = 16;

/// What all types say of themselves.
struct Description<'a> {
    text: &'a str,
    flags: u8,
    kind: u8,
    /// Where its kind's own fields are.
    own: u64,
}

impl Description<'_> {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the name of the package is in the path, as it is for all but main packages and odd ones.
    fn may_be_of(&self, path: &str) -> bool {
        let short = self.text.split('.').next().unwrap_or_default();
        !path.is_empty() && (short == "main" || path.contains(short))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::go::build_info::tests::file;

    /// Where what is built is mapped.
    const START: u64 = 0x1040;
    /// Where the slice of packages is.
    const PACKAGES: u64 = START + 0x100;

    /// The memory of a plugin, as bytes.
    struct Memory {
        is_big: bool,
        is_wide: bool,
        bytes: Vec<u8>,
    }

    impl Memory {
        /// What is kept is in proportion to the file, so that it must not be too small.
        fn new(is_big: bool, is_wide: bool) -> Self {
            Self {
                is_big,
                is_wide,
                bytes: vec![0; 0x1000],
            }
        }

        fn width(&self) -> u64 {
            if self.is_wide { 8 } else { 4 }
        }

        fn end(&self) -> u64 {
            START + self.bytes.len() as u64
        }

        fn put(&mut self, place: u64, value: u64, len: u64) {
            let (place, len) = ((place - START) as usize, len as usize);
            let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
            let bytes = if self.is_big { &big[8 - len..] } else { &little[..len] };
            let end = self.bytes.len().max(place + len);
            self.bytes.resize(end, 0);
            self.bytes[place..place + len].copy_from_slice(bytes);
        }

        fn words(&mut self, values: &[u64]) {
            for value in values {
                self.put(self.end(), *value, self.width());
            }
        }

        fn name(&mut self, text: &str) -> u64 {
            let place = self.end();
            self.bytes
                .extend([0, (text.len() & 0x7f | 0x80) as u8, (text.len() >> 7) as u8]);
            self.bytes.extend_from_slice(text.as_bytes());
            place
        }

        /// A type's own fields, and, if it has a name, the path of its package behind them.
        fn described(&mut self, text: &str, kind: u8, flags: u8, own: &[u64], package: Option<&str>) -> u64 {
            let text = self.name(text);
            let package = package.map(|package| self.name(package));
            let place = self.end();
            self.words(&[8, 8]);
            self.put(self.end(), 0, 4);
            self.bytes.extend([flags, 8, 8, kind | 1 << 5]);
            self.words(&[0, 0]);
            self.put(self.end(), text - START, 4);
            self.put(self.end(), 0, 4);
            self.words(own);
            if let Some(package) = package {
                self.put(self.end(), package - START, 4);
                self.bytes.extend([0; 12]);
            }
            place
        }

        /// The table, with a distance between the address of all types and its slice.
        fn table(&mut self, entries: &[(&str, u64)], distance: u64) {
            let names: Vec<u64> = entries.iter().map(|(name, _)| self.name(name)).collect();
            let table = self.end();
            for (name, (_, described)) in names.into_iter().zip(entries) {
                self.put(self.end(), name - START, 4);
                self.put(self.end(), described - START, 4);
            }
            let slice = PACKAGES - 5 * self.width();
            self.put(slice, table, self.width());
            self.put(slice + self.width(), entries.len() as u64, self.width());
            self.put(slice - distance * self.width(), START, self.width());
        }

        fn read(&self) -> BTreeMap<String, ExportedType> {
            let elf = file(self.is_big, self.is_wide, &self.bytes);
            read(&elf, &Words::new(&elf), PACKAGES)
        }
    }

    /// A plugin with a variable of a named type, and a function.
    fn plugin(is_big: bool, is_wide: bool, distance: u64) -> Memory {
        let mut memory = Memory::new(is_big, is_wide);
        let own = [0, 0, 0, 0];
        let flags = flag::NAMED | flag::UNCOMMON | flag::EXTRA_STAR;
        let request = memory.described("*api.Request", kind::STRUCT, flags, &own, Some("example.com/api"));
        let headers_own = vec![0; if is_wide { 8 } else { 6 }];
        let headers = memory.described(
            "*api.Headers",
            kind::MAP,
            flags,
            &headers_own,
            Some("example.com/b/api"),
        );
        let text = memory.described("*string", 24, flag::NAMED | flag::EXTRA_STAR, &[], None);
        let table = memory.described("map[string]api.Request", kind::MAP, 0, &[text, request], None);
        let variable = memory.described("*map[string]api.Request", kind::POINTER, 0, &[table], None);
        // Two parameters and a result; the topmost bit of the results says that it is variadic.
        let list = memory.described("[]api.Headers", kind::SLICE, 0, &[headers], None);
        let function = memory.described(
            "*func(*map[string]api.Request, ...api.Headers) string",
            kind::FUNC,
            2,
            &[],
            None,
        );
        memory.put(memory.end(), 2, 2);
        memory.put(memory.end(), 0x8001, 2);
        memory.bytes.resize(memory.bytes.len() + memory.width() as usize - 4, 0);
        memory.words(&[variable, list, text]);
        memory.table(&[("Table", variable), ("Serve", function)], distance);
        memory
    }

    #[test]
    fn a_type_is_read_with_the_packages_of_what_is_in_it_in_every_form() {
        for (is_big, is_wide) in [(false, true), (false, false), (true, true), (true, false)] {
            for distance in TYPES_BEFORE_TABLE_WORDS {
                let read = plugin(is_big, is_wide, distance).read();
                let shown = |name: &str| {
                    let found: &ExportedType = &read[name];
                    let named = found
                        .named
                        .iter()
                        .map(|named| format!("{} of {}", named.text, named.package));
                    format!("{}: {}", found.text, named.collect::<Vec<_>>().join(", "))
                };
                assert_eq!(read.len(), 2, "{is_big} {is_wide} {distance}");
                assert_eq!(
                    shown("Table"),
                    "*map[string]api.Request: api.Request of example.com/api"
                );
                assert_eq!(
                    shown("Serve"),
                    "func(*map[string]api.Request, ...api.Headers) string: api.Headers of example.com/b/api, \
                     api.Request of example.com/api"
                );
            }
        }
    }

    #[test]
    fn a_table_of_another_form_says_nothing() {
        assert!(plugin(false, true, 12).read().is_empty());
        let mut memory = Memory::new(false, true);
        memory.table(&[], 13);
        assert!(memory.read().is_empty());
        let text = memory.described("*string", 24, flag::NAMED, &[], None);
        for (name, described) in [("hidden", text), ("Shown", PACKAGES), ("Shown", START + 0xffff_0000)] {
            memory.table(&[("Good", text), (name, described)], 13);
            assert!(memory.read().is_empty(), "{name}");
        }
    }

    #[test]
    fn types_that_are_made_of_themselves_end() {
        let mut memory = Memory::new(false, true);
        let place = memory.described("**p", kind::POINTER, flag::EXTRA_STAR, &[0], None);
        memory.put(place + 48, place, 8);
        memory.table(&[("P", place)], 13);
        assert_eq!(memory.read()["P"].text, "*p");
    }

    proptest! {
        #[test]
        fn any_damage_gets_an_answer(changes in proptest::collection::vec((any::<u16>(), any::<u64>(), 1_u64..=8), 1..8)) {
            let mut memory = plugin(false, true, 13);
            // The slices are at the start, and all to which they lead is at the end.
            let len = memory.bytes.len() as u64 - 8;
            for (place, value, width) in changes {
                let place = u64::from(place) % (0x140 + len - 0x1000);
                let place = if place < 0x140 { place } else { place - 0x140 + 0x1000 };
                memory.put(START + place, value, width);
            }
            let kept: usize = memory.read().values().map(|found| found.text.len()).sum();
            prop_assert!(kept <= memory.bytes.len() + 0x1000);
        }
    }
}
