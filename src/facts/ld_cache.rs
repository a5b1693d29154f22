//! `/etc/ld.so.cache`: what `ldconfig` found, in the form in which glibc's loader reads it.
//!
//! Both forms are read: the one that is written since glibc 2.32, and the old one, in which the new may follow. A loader
//! uses a cache only if all of its bounds are right, so what this refuses, the loader ignores.

use bytes::Bytes;

use super::elf::{Class, Data, Header, Machine};

/// The largest cache that is read; one with 10,000 libraries has about a megabyte.
pub const LD_CACHE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// The longest string that is taken from a cache (`PATH_MAX`).
const STRING_LIMIT_BYTES: usize = 4096;
/// Why the old form is the old one.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
/// The beginning of the old form: magic, a byte of padding, the count.
const OLD_HEADER_BYTES: usize = 16;
/// An entry of the old form: flags, key, value.
const OLD_ENTRY_BYTES: usize = 12;
/// Name and version of the new form.
const NEW_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// The beginning of the new form: magic, count, length of the strings, order of bytes, offset of the extensions, unused.
const NEW_HEADER_BYTES: usize = 48;
/// An entry of the new form: flags, key, value, version of the operating system, capabilities.
const NEW_ENTRY_BYTES: usize = 24;
/// To what the new form is aligned behind the old one.
const NEW_ALIGN_BYTES: usize = 8;
/// How the extensions begin.
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
/// An extension: tag, flags, offset, size.
const EXTENSION_BYTES: usize = 16;
/// The extension that says which `ldconfig` wrote the cache.
const EXTENSION_GENERATOR: u32 = 0;
/// The extension with the names of subdirectories of `glibc-hwcaps`.
const EXTENSION_HWCAPS: u32 = 1;
/// The mark of an entry from a subdirectory of `glibc-hwcaps`, in the upper half of its capabilities.
const HWCAP_NAMED: u32 = 1 << 30;
/// Where such an entry has the level of instructions that it needs, in the upper half of its capabilities.
const HWCAP_LEVEL_MASK: u32 = (1 << 10) - 1;
/// `FLAG_ELF_LIBC6`: a library for glibc, on machines with one kind of libraries.
const FLAG_LIBC6: i32 = 0x0003;

/// Why a loader would not use a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LdCacheError {
    /// It begins like no cache, or is too short for its own tables.
    #[error("it is no cache, or cut off")]
    NoCache,
    /// It was written for the other order of bytes.
    #[error("it was written for another order of bytes")]
    Order,
    /// Its extensions lie outside of it.
    #[error("its extensions are malformed")]
    Extensions,
    /// It is larger than [`LD_CACHE_LIMIT_BYTES`].
    #[error("it is larger than {LD_CACHE_LIMIT_BYTES} bytes")]
    TooLarge,
}

/// A cache. Strings stay where they are in its bytes.
#[derive(Debug, Clone)]
pub struct LdCache {
    bytes: Bytes,
    data: Data,
    /// Where the entries begin.
    entries: usize,
    count: usize,
    /// Whether entries have capabilities.
    is_new: bool,
    /// To what keys and values are relative.
    strings: usize,
    generator: Option<(usize, usize)>,
    /// Where the offsets of the names of subdirectories are, and how many there are.
    hwcaps: (usize, usize),
}

/// A library in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LdCacheEntry<'a> {
    /// The name by which it is found; `ldconfig` takes the library's soname.
    pub key: &'a str,
    /// Where it is.
    pub path: &'a str,
    /// For which kind of program; see [`ld_cache_flags`].
    pub flags: i32,
    /// The oldest kernel that it works with (`0xMMmmpp`); ignored since glibc 2.37.
    pub os_version: u32,
    /// For which processors.
    pub capability: Capability<'a>,
}

/// For which processors an entry of a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability<'a> {
    /// For all.
    Any,
    /// It is in a subdirectory of `glibc-hwcaps` (since glibc 2.33).
    Named {
        /// The subdirectory; none if the cache has no name with this index, and then no loader uses the entry.
        directory: Option<&'a str>,
        /// The level of instructions, as the bit's number in `GNU_PROPERTY_X86_ISA_1_NEEDED`.
        level: u32,
    },
    /// Bits of `AT_HWCAP` and of the platform (until glibc 2.36).
    Legacy(u64),
}

/// What a loader searches on a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// The subdirectories of `glibc-hwcaps`, the best first.
    pub directories: Vec<String>,
    /// The levels of instructions that it has, as `GNU_PROPERTY_X86_ISA_1_NEEDED` numbers them; all on other machines.
    pub levels: u32,
    /// The bits by which loaders until glibc 2.36 chose; 0 since then.
    pub legacy: u64,
}

impl Processor {
    /// One of which nothing but its machine is known: no subdirectory is searched.
    #[must_use]
    pub const fn baseline() -> Self {
        Self {
            directories: Vec::new(),
            levels: u32::MAX,
            legacy: 0,
        }
    }

    /// An x86-64 of a level from 1 to 4 (x86-64 psABI, "Micro-Architecture Levels").
    #[must_use]
    pub fn x86_64(level: u32) -> Self {
        let level = level.clamp(1, 4);
        Self {
            directories: (2..=level).rev().map(|level| format!("x86-64-v{level}")).collect(),
            levels: (1 << level) - 1,
            legacy: 0,
        }
    }
}

/// The flags of entries that the loader of a program uses (`ldconfig.h`, `dl-cache.h` of glibc); empty for a machine
/// that is not known here.
#[must_use]
pub const fn ld_cache_flags(header: &Header) -> &'static [i32] {
    /// `EF_ARM_ABI_FLOAT_HARD`.
    const ARM_HARD_FLOAT: u32 = 0x400;
    /// `EF_RISCV_FLOAT_ABI`, of which 4 is `double`.
    const RISCV_FLOAT: u32 = 0x6;
    const RISCV_DOUBLE: u32 = 0x4;
    match (header.machine, header.layout.class) {
        (Machine::X86_64, Class::Elf64) => &[0x0303],
        (Machine::X86_64, Class::Elf32) => &[0x0803],
        (Machine::X86, Class::Elf32) => &[FLAG_LIBC6],
        (Machine::Aarch64, Class::Elf64) => &[0x0a03],
        (Machine::Arm, Class::Elf32) if header.flags & ARM_HARD_FLOAT != 0 => &[0x0903, FLAG_LIBC6],
        (Machine::Arm, Class::Elf32) => &[0x0b03, FLAG_LIBC6],
        (Machine::RiscV, Class::Elf64) if header.flags & RISCV_FLOAT == RISCV_DOUBLE => &[0x1003],
        (Machine::RiscV, Class::Elf64) if header.flags & RISCV_FLOAT == 0 => &[0x0f03],
        _ => &[],
    }
}

impl LdCache {
    /// Reads a cache as a loader with this order of bytes does.
    ///
    /// # Errors
    /// [`LdCacheError`]; a loader goes on without a cache then.
    pub fn read(bytes: Bytes, data: Data) -> Result<Self, LdCacheError> {
        if bytes.len() as u64 > LD_CACHE_LIMIT_BYTES {
            return Err(LdCacheError::TooLarge);
        }
        if bytes.starts_with(NEW_MAGIC) {
            return Self::read_new(bytes, data, 0);
        }
        if !bytes.starts_with(OLD_MAGIC) || bytes.len() <= OLD_HEADER_BYTES {
            return Err(LdCacheError::NoCache);
        }
        let count = u32_at(&bytes, data, OLD_HEADER_BYTES - 4).ok_or(LdCacheError::NoCache)? as usize;
        if count > (bytes.len() - OLD_HEADER_BYTES) / OLD_ENTRY_BYTES {
            return Err(LdCacheError::NoCache);
        }
        let end = OLD_HEADER_BYTES + count * OLD_ENTRY_BYTES;
        let new = end.next_multiple_of(NEW_ALIGN_BYTES);
        if bytes.len() >= new + NEW_HEADER_BYTES && bytes[new..].starts_with(NEW_MAGIC) {
            return Self::read_new(bytes, data, new);
        }
        Ok(Self {
            bytes,
            data,
            entries: OLD_HEADER_BYTES,
            count,
            is_new: false,
            strings: end,
            generator: None,
            hwcaps: (0, 0),
        })
    }

    fn read_new(bytes: Bytes, data: Data, start: usize) -> Result<Self, LdCacheError> {
        /// Offsets in the header.
        const COUNT: usize = 20;
        const ORDER: usize = 28;
        const EXTENSIONS: usize = 32;
        let len = bytes.len();
        if len <= start + NEW_HEADER_BYTES {
            return Err(LdCacheError::NoCache);
        }
        let order = bytes[start + ORDER] & 0x3;
        let expected = match data {
            Data::Little => 2,
            Data::Big => 3,
        };
        // Zero was written before glibc 2.33, which says nothing.
        if order != 0 && order != expected {
            return Err(LdCacheError::Order);
        }
        let number = |at: usize| u32_at(&bytes, data, at).map(|number| number as usize);
        let count = number(start + COUNT).ok_or(LdCacheError::NoCache)?;
        if count > (len - start - NEW_HEADER_BYTES) / NEW_ENTRY_BYTES {
            return Err(LdCacheError::NoCache);
        }
        let (generator, hwcaps) = match number(start + EXTENSIONS) {
            None | Some(0) => (None, (0, 0)),
            Some(offset) => extensions(&bytes, data, offset).ok_or(LdCacheError::Extensions)?,
        };
        Ok(Self {
            data,
            entries: start + NEW_HEADER_BYTES,
            count,
            is_new: true,
            strings: start,
            generator,
            hwcaps,
            bytes,
        })
    }

    /// Which `ldconfig` wrote it, for example `ldconfig (Debian GLIBC 2.41-12) stable release version 2.41`.
    #[must_use]
    pub fn generator(&self) -> Option<&str> {
        let (offset, size) = self.generator?;
        let text = std::str::from_utf8(self.bytes.get(offset..offset + size)?).ok()?;
        Some(text.trim_end_matches('\0'))
    }

    /// The subdirectories of `glibc-hwcaps` that libraries were found in.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        (0..self.hwcaps.1).filter_map(|index| self.directory(index))
    }

    fn directory(&self, index: usize) -> Option<&str> {
        if index >= self.hwcaps.1 {
            return None;
        }
        let offset = u32_at(&self.bytes, self.data, self.hwcaps.0 + index * 4)? as usize;
        // These are relative to the file, unlike those of entries.
        string_at(&self.bytes, offset)
    }

    /// All entries, in the cache's order, which is that of the search. Those with strings outside of the cache or in
    /// another encoding than UTF-8 are left out.
    pub fn entries(&self) -> impl Iterator<Item = LdCacheEntry<'_>> {
        (0..self.count).filter_map(|index| self.entry(index))
    }

    fn entry(&self, index: usize) -> Option<LdCacheEntry<'_>> {
        let at = self.entry_at(index);
        let number = |offset: usize| u32_at(&self.bytes, self.data, at + offset);
        let (os_version, capability) = if self.is_new {
            let (lower, upper) = match self.data {
                Data::Little => (number(16)?, number(20)?),
                Data::Big => (number(20)?, number(16)?),
            };
            (number(12)?, self.capability(lower, upper))
        } else {
            (0, Capability::Any)
        };
        Some(LdCacheEntry {
            key: string_at(&self.bytes, self.strings.checked_add(number(4)? as usize)?)?,
            path: string_at(&self.bytes, self.strings.checked_add(number(8)? as usize)?)?,
            flags: number(0)?.cast_signed(),
            os_version,
            capability,
        })
    }

    fn entry_at(&self, index: usize) -> usize {
        let size = if self.is_new { NEW_ENTRY_BYTES } else { OLD_ENTRY_BYTES };
        self.entries + index * size
    }

    fn capability(&self, lower: u32, upper: u32) -> Capability<'_> {
        if upper & !HWCAP_LEVEL_MASK == HWCAP_NAMED {
            Capability::Named {
                directory: self.directory(lower as usize),
                level: upper & HWCAP_LEVEL_MASK,
            }
        } else if (lower, upper) == (0, 0) {
            Capability::Any
        } else {
            Capability::Legacy(u64::from(upper) << 32 | u64::from(lower))
        }
    }

    /// The entries of a name in the order in which a loader meets them.
    ///
    /// The loader's search is repeated, not replaced by a comparison of all names, because it finds nothing in parts of a
    /// cache that are not sorted, and takes `liba.so.01` for `liba.so.1`.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = LdCacheEntry<'a>> {
        let run = self.run(name.as_bytes()).unwrap_or(0..0);
        run.filter_map(|index| self.entry(index))
    }

    /// Where entries of a name are; none also when the search meets a string that lies outside.
    fn run(&self, name: &[u8]) -> Option<std::ops::Range<usize>> {
        let (mut left, mut right) = (0, self.count);
        while left < right {
            // As in the loader, whose `right` is the last one, not the one behind it.
            let middle = usize::midpoint(left, right - 1);
            match compare(name, self.key(middle)?) {
                // The last name comes first.
                std::cmp::Ordering::Less => left = middle + 1,
                std::cmp::Ordering::Greater => right = middle,
                std::cmp::Ordering::Equal => {
                    let is_same = |index: &usize| {
                        self.key(*index)
                            .is_some_and(|key| compare(name, key) == std::cmp::Ordering::Equal)
                    };
                    let before = (0..middle).rev().take_while(is_same).count();
                    let behind = (middle + 1..right).take_while(is_same).count();
                    return Some(middle - before..middle + 1 + behind);
                }
            }
        }
        None
    }

    fn key(&self, index: usize) -> Option<&[u8]> {
        let offset = u32_at(&self.bytes, self.data, self.entry_at(index) + 4)? as usize;
        self.bytes
            .get(self.strings.checked_add(offset)?..)
            .filter(|key| !key.is_empty())
    }

    /// Where a loader finds a name: the first entry for every processor, unless one from a subdirectory that the
    /// processor has comes before it; of those, the one of the best subdirectory.
    ///
    /// `flags` are those of [`ld_cache_flags`].
    #[must_use]
    pub fn look_up(&self, name: &str, flags: &[i32], processor: &Processor) -> Option<&str> {
        let mut best: Option<(usize, &str)> = None;
        for entry in self.named(name).filter(|entry| flags.contains(&entry.flags)) {
            match entry.capability {
                Capability::Named { directory, level } => {
                    let is_level = 1_u32.checked_shl(level).is_some_and(|bit| processor.levels & bit != 0);
                    let priority = processor
                        .directories
                        .iter()
                        .position(|known| is_level && Some(known.as_str()) == directory);
                    if let Some(priority) = priority
                        && best.is_none_or(|(found, _)| priority < found)
                    {
                        best = Some((priority, entry.path));
                    }
                }
                Capability::Any | Capability::Legacy(_) if best.is_some() => break,
                Capability::Legacy(bits) if bits & !processor.legacy != 0 => {}
                Capability::Any | Capability::Legacy(_) => return Some(entry.path),
            }
        }
        best.map(|(_, path)| path)
    }
}

/// The places of the two known extensions: generator, and names of subdirectories; none if any extension is out of bounds.
#[expect(clippy::type_complexity, reason = "two places, each an offset with a size or count")]
fn extensions(bytes: &[u8], data: Data, offset: usize) -> Option<(Option<(usize, usize)>, (usize, usize))> {
    let number = |at: usize| u32_at(bytes, data, at);
    if !offset.is_multiple_of(4) || number(offset)? != EXTENSION_MAGIC {
        return None;
    }
    let count = number(offset + 4)? as usize;
    let table = offset + 8;
    if count > (bytes.len() - table) / EXTENSION_BYTES {
        return None;
    }
    let (mut generator, mut hwcaps) = (None, (0, 0));
    for at in (0..count).map(|index| table + index * EXTENSION_BYTES) {
        let (start, size) = (number(at + 8)? as usize, number(at + 12)? as usize);
        if start.checked_add(size)? > bytes.len() {
            return None;
        }
        match number(at)? {
            EXTENSION_GENERATOR => generator = Some((start, size)),
            // A loader drops this one alone when it is not made of whole numbers.
            EXTENSION_HWCAPS if start.is_multiple_of(4) && size.is_multiple_of(4) => hwcaps = (start, size / 4),
            EXTENSION_HWCAPS => hwcaps = (0, 0),
            _ => {}
        }
    }
    Some((generator, hwcaps))
}

/// The order of names in a cache, as glibc has it: runs of digits are numbers, and a number comes behind all else.
/// `key` goes on to the end of the cache and is ended by a null.
fn compare(name: &[u8], key: &[u8]) -> std::cmp::Ordering {
    let (mut name, mut key) = (name, key);
    loop {
        let (left, right) = (name.first().copied().unwrap_or(0), key.first().copied().unwrap_or(0));
        match (left.is_ascii_digit(), right.is_ascii_digit()) {
            _ if left == 0 => return left.cmp(&right),
            (true, true) => {
                let (left, right) = (take_number(&mut name), take_number(&mut key));
                if left != right {
                    // The loader takes the sign of the difference.
                    return left.wrapping_sub(right).cmp(&0);
                }
            }
            (true, false) => return std::cmp::Ordering::Greater,
            (false, true) => return std::cmp::Ordering::Less,
            // A character has a sign on x86, which counts in names that are no ASCII.
            (false, false) if left != right => return left.cast_signed().cmp(&right.cast_signed()),
            (false, false) => (name, key) = (&name[1..], &key[1..]),
        }
    }
}

/// Takes a run of digits; numbers that are too large go around, as they do in the loader.
fn take_number(text: &mut &[u8]) -> i32 {
    let limit = text.len().min(STRING_LIMIT_BYTES);
    let digits = text[..limit].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = text[..digits].iter().fold(0_i32, |number, digit| {
        number.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'))
    });
    *text = &text[digits..];
    number
}

fn u32_at(bytes: &[u8], data: Data, offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk::<4>()?;
    Some(match data {
        Data::Little => u32::from_le_bytes(*bytes),
        Data::Big => u32::from_be_bytes(*bytes),
    })
}

fn string_at(bytes: &[u8], offset: usize) -> Option<&str> {
    let bytes = bytes.get(offset..)?;
    let limited = &bytes[..bytes.len().min(STRING_LIMIT_BYTES)];
    let end = limited.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&limited[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const X86_64: &[i32] = &[0x0303];

    /// Key, path, flags, capabilities.
    type Line<'a> = (&'a str, &'a str, i32, u64);

    /// A cache of the new form with these entries, in this order, and these names of subdirectories.
    fn cache(data: Data, lines: &[Line<'_>], directories: &[&str]) -> Vec<u8> {
        let number = |number: u32| match data {
            Data::Little => number.to_le_bytes(),
            Data::Big => number.to_be_bytes(),
        };
        let mut strings = Vec::new();
        let start = NEW_HEADER_BYTES + lines.len() * NEW_ENTRY_BYTES;
        let mut add = |text: &str| {
            let offset = start + strings.len();
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            number(offset as u32)
        };
        let mut entries = Vec::new();
        for (key, path, flags, capabilities) in lines {
            entries.extend(number(flags.cast_unsigned()));
            entries.extend(add(key));
            entries.extend(add(path));
            entries.extend(number(0));
            entries.extend(match data {
                Data::Little => capabilities.to_le_bytes(),
                Data::Big => capabilities.to_be_bytes(),
            });
        }
        let names: Vec<u8> = directories.iter().flat_map(|name| add(name)).collect();
        let end = (start + strings.len()).next_multiple_of(4);
        let mut bytes = NEW_MAGIC.to_vec();
        bytes.extend(number(lines.len() as u32));
        bytes.extend(number(strings.len() as u32));
        bytes.extend([if data == Data::Little { 2 } else { 3 }, 0, 0, 0]);
        bytes.extend(number(end as u32));
        bytes.resize(NEW_HEADER_BYTES, 0);
        bytes.extend(entries);
        bytes.extend(strings);
        bytes.resize(end, 0);
        let generator = b"ldconfig of a test";
        let behind = end + 8 + 2 * EXTENSION_BYTES;
        for word in [
            EXTENSION_MAGIC,
            2,
            EXTENSION_HWCAPS,
            0,
            behind as u32,
            names.len() as u32,
        ] {
            bytes.extend(number(word));
        }
        for word in [
            EXTENSION_GENERATOR,
            0,
            (behind + names.len()) as u32,
            generator.len() as u32,
        ] {
            bytes.extend(number(word));
        }
        bytes.extend(names);
        bytes.extend(generator);
        bytes
    }

    fn named(index: u64, level: u64) -> u64 {
        u64::from(HWCAP_NAMED) << 32 | level << 32 | index
    }

    fn read(bytes: Vec<u8>) -> LdCache {
        LdCache::read(bytes.into(), Data::Little).unwrap()
    }

    #[test]
    fn a_processor_gets_the_best_that_it_can_run() {
        let found = read(cache(
            Data::Little,
            &[
                ("libz.so.2", "/v3/libz.so.2", 0x0303, named(1, 2)),
                ("libz.so.2", "/v4/libz.so.2", 0x0303, named(2, 3)),
                ("libz.so.2", "/v2/libz.so.2", 0x0303, named(0, 1)),
                ("libz.so.2", "/unnamed/libz.so.2", 0x0303, named(9, 0)),
                ("libz.so.2", "/tls/libz.so.2", 0x0303, 1 << 63),
                ("libz.so.2", "/32/libz.so.2", 0x0003, 0),
                ("libz.so.2", "/plain/libz.so.2", 0x0303, 0),
                ("libz.so.2", "/second/libz.so.2", 0x0303, 0),
                ("libonly.so", "/v3/libonly.so", 0x0303, named(1, 0)),
            ],
            &["x86-64-v2", "x86-64-v3", "x86-64-v4"],
        ));
        assert_eq!(found.generator(), Some("ldconfig of a test"));
        assert_eq!(
            found.directories().collect::<Vec<_>>(),
            ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
        );
        for (level, expected, only) in [
            (1, "/plain/libz.so.2", None),
            (2, "/v2/libz.so.2", None),
            (3, "/v3/libz.so.2", Some("/v3/libonly.so")),
            (4, "/v4/libz.so.2", Some("/v3/libonly.so")),
        ] {
            let processor = Processor::x86_64(level);
            assert_eq!(
                found.look_up("libz.so.2", X86_64, &processor),
                Some(expected),
                "{level}"
            );
            assert_eq!(found.look_up("libonly.so", X86_64, &processor), only, "{level}");
        }
        let old = Processor {
            legacy: 1 << 63,
            ..Processor::baseline()
        };
        assert_eq!(found.look_up("libz.so.2", X86_64, &old), Some("/tls/libz.so.2"));
        assert_eq!(
            found.look_up("libz.so.2", &[FLAG_LIBC6], &Processor::x86_64(4)),
            Some("/32/libz.so.2")
        );
        assert_eq!(found.look_up("libz.so.2", &[], &Processor::x86_64(4)), None);
    }

    #[test]
    fn names_are_ordered_as_glibc_orders_them() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            ("liba.so.1", "liba.so.1", Equal),
            ("liba.so.01", "liba.so.1", Equal),
            ("liba.so.9", "liba.so.10", Less),
            ("liba1.so", "liba.so", Greater),
            ("liba", "liba.so", Less),
            ("liba.so", "liba", Greater),
            ("", "a", Less),
            ("", "", Equal),
            ("1", "", Greater),
            ("libb", "liba", Greater),
            ("lib4294967297", "lib1", Equal),
        ] {
            let key = [right.as_bytes(), b"\0more"].concat();
            assert_eq!(compare(left.as_bytes(), &key), expected, "{left} {right}");
        }
    }

    #[test]
    fn the_old_form_is_read_alone_and_with_the_new_one_behind_it() {
        let old = |count: u32| {
            let mut bytes = OLD_MAGIC.to_vec();
            bytes.push(0);
            bytes.extend(count.to_le_bytes());
            for _ in 0..count {
                bytes.extend([3_u32, 0, 8].map(u32::to_le_bytes).concat());
            }
            bytes
        };
        let mut alone = old(1);
        alone.extend(b"liba.so\0/lib/liba.so\0");
        let alone = read(alone);
        assert_eq!(
            alone.look_up("liba.so", &[3], &Processor::baseline()),
            Some("/lib/liba.so")
        );
        let mut both = old(1);
        both.resize(both.len().next_multiple_of(NEW_ALIGN_BYTES), 0);
        let start = both.len();
        let mut new = cache(Data::Little, &[("libb.so", "/lib/libb.so", 0x0303, 0)], &[]);
        // The extensions are relative to the file.
        new[32..36].copy_from_slice(&0_u32.to_le_bytes());
        both.extend(new);
        assert_eq!(start % NEW_ALIGN_BYTES, 0);
        let both = read(both);
        assert_eq!(both.look_up("liba.so", &[3], &Processor::baseline()), None);
        assert_eq!(
            both.look_up("libb.so", X86_64, &Processor::baseline()),
            Some("/lib/libb.so")
        );
    }

    #[test]
    fn what_a_loader_ignores_is_refused() {
        let good = cache(Data::Little, &[("a", "/a", 0x0303, 0)], &["x"]);
        let with = |offset: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[offset..offset + bytes.len()].copy_from_slice(bytes);
            bad
        };
        for (what, bytes, expected) in [
            ("empty", Vec::new(), LdCacheError::NoCache),
            ("magic", with(3, b"x"), LdCacheError::NoCache),
            ("header alone", good[..NEW_HEADER_BYTES].to_vec(), LdCacheError::NoCache),
            ("too many", with(20, &[255; 4]), LdCacheError::NoCache),
            ("order", with(28, &[3]), LdCacheError::Order),
            ("extension's place", with(32, &[255; 4]), LdCacheError::Extensions),
            ("misaligned", with(32, &[1]), LdCacheError::Extensions),
            (
                "too large",
                vec![0; LD_CACHE_LIMIT_BYTES as usize + 1],
                LdCacheError::TooLarge,
            ),
        ] {
            assert_eq!(
                LdCache::read(bytes.into(), Data::Little).unwrap_err(),
                expected,
                "{what}"
            );
        }
        assert_eq!(
            LdCache::read(good.clone().into(), Data::Big).unwrap_err(),
            LdCacheError::Order
        );
        let big = LdCache::read(cache(Data::Big, &[("a", "/a", 0x0303, 0)], &[]).into(), Data::Big).unwrap();
        assert_eq!(big.look_up("a", X86_64, &Processor::baseline()), Some("/a"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, is_new: bool, name in "[a-z0-9.]{0,9}") {
            let magic = if is_new { NEW_MAGIC } else { OLD_MAGIC };
            let bytes = [magic, &bytes].concat();
            for data in [Data::Little, Data::Big] {
                if let Ok(cache) = LdCache::read(bytes.clone().into(), data) {
                    let _ = cache.entries().count() + cache.directories().count();
                    let _ = (cache.generator(), cache.look_up(&name, X86_64, &Processor::x86_64(4)));
                }
            }
        }

        #[test]
        fn changed_bytes_make_no_panic(changes in proptest::collection::vec((0_usize..600, any::<u8>()), 1..8)) {
            let keys = ["libz.so.1", "libc.so.6", "liba.so"].map(|key| (key, "/lib/x", 0x0303, named(0, 1)));
            let mut bytes = cache(Data::Little, &keys, &["x86-64-v2"]);
            for (offset, byte) in changes {
                let len = bytes.len();
                bytes[offset % len] = byte;
            }
            if let Ok(cache) = LdCache::read(bytes.into(), Data::Little) {
                let _ = cache.entries().count();
                for (key, ..) in keys {
                    let _ = cache.look_up(key, X86_64, &Processor::x86_64(2));
                }
            }
        }

        #[test]
        fn every_name_of_a_sorted_cache_is_found(mut names in proptest::collection::vec("lib[a-c]{1,2}[0-9]{0,2}\\.so", 1..40)) {
            let end = |name: &str| [name.as_bytes(), b"\0"].concat();
            // `ldconfig` writes them downwards.
            names.sort_by(|left, right| compare(right.as_bytes(), &end(left)));
            let paths: Vec<String> = (0..names.len()).map(|index| format!("/{index}")).collect();
            let lines: Vec<Line<'_>> = names.iter().zip(&paths).map(|(name, path)| (&**name, &**path, 0x0303, 0)).collect();
            let cache = read(cache(Data::Little, &lines, &[]));
            for name in &names {
                let first = names.iter().position(|other| compare(name.as_bytes(), &end(other)).is_eq()).unwrap();
                prop_assert_eq!(cache.look_up(name, X86_64, &Processor::baseline()), Some(&*paths[first]));
            }
        }
    }
}
