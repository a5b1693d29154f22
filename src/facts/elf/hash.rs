//! The hash tables of a file (`DT_GNU_HASH`, `DT_HASH`), walked as loaders walk them.
//!
//! Source: System V ABI, chapter 5; `_dl_setup_hash` and `do_lookup_x` of glibc, `gnu_lookup` and `sysv_lookup` of musl.

use std::ops::Range;

use object::elf;

use super::address::AddressMap;
use super::image::Image;
use super::{Dynamic, Machine, Name};

/// No chain is followed further. The chains of honest files have a few entries.
const CHAIN_LIMIT_COUNT: u32 = 1 << 20;

/// The table through which a file's symbols are found.
#[derive(Debug, Clone)]
pub(super) enum HashTable {
    Gnu(GnuHash),
    Sysv(SysvHash),
    None,
}

impl HashTable {
    /// The table that loaders take, and the number of symbols that both tables reach; 0 if neither reaches any.
    pub(super) fn read(
        image: &Image,
        map: &AddressMap,
        dynamic: &Dynamic,
        machine: Machine,
        problems: &mut Vec<String>,
    ) -> (Self, u32) {
        let mut locate = |tag, name| {
            let table = map.from(dynamic.value(tag)?);
            if table.is_none() {
                problems.push(format!("{name} is not in the part of the file that is loaded"));
            }
            table
        };
        let gnu = locate(elf::DT_GNU_HASH, "DT_GNU_HASH").map(|table| GnuHash::read(image, table));
        let sysv = locate(elf::DT_HASH, "DT_HASH").map(|table| SysvHash::read(image, table, machine));
        if gnu == Some(None) {
            problems.push("DT_GNU_HASH is cut".to_owned());
        }
        if sysv == Some(None) {
            problems.push("DT_HASH is cut".to_owned());
        }
        let (gnu, sysv) = (gnu.flatten(), sysv.flatten());
        let mut count = 0;
        if let Some(gnu) = &gnu {
            count = gnu.symbol_count(image, problems);
        }
        if let Some(sysv) = &sysv {
            count = count.max(sysv.chain_count);
        }
        let table = match (gnu, sysv) {
            (Some(gnu), _) => Self::Gnu(gnu),
            (None, Some(sysv)) => Self::Sysv(sysv),
            (None, None) => Self::None,
        };
        (table, count)
    }

    /// Calls `visit` with the hash of every entry that a walk can come upon, its last bit undefined. False if the table keeps no
    /// hashes, or too many.
    pub(super) fn each_hash(&self, image: &Image, visit: impl FnMut(u32)) -> bool {
        match self {
            Self::Gnu(table) => table.each_hash(image, visit),
            Self::Sysv(_) => false,
            Self::None => true,
        }
    }

    /// The indices of the symbols in a name's chain; of `DT_GNU_HASH` those alone whose hash is the name's.
    pub(super) fn chain<'a>(&'a self, image: &'a Image, name: &Name<'_>) -> Chain<'a> {
        match self {
            Self::Gnu(table) => Chain {
                image,
                walk: table.start(image, name.gnu).map(|index| Walk::Gnu {
                    table,
                    index,
                    hash: name.gnu,
                }),
                left: CHAIN_LIMIT_COUNT,
            },
            Self::Sysv(table) => Chain {
                image,
                walk: table.start(image, name.sysv()).map(|index| Walk::Sysv { table, index }),
                // A chain that is longer than the table goes in a circle.
                left: table.chain_count.min(CHAIN_LIMIT_COUNT),
            },
            Self::None => Chain {
                image,
                walk: None,
                left: 0,
            },
        }
    }
}

/// A walk along a chain.
pub(super) struct Chain<'a> {
    image: &'a Image,
    walk: Option<Walk<'a>>,
    left: u32,
}

enum Walk<'a> {
    Gnu { table: &'a GnuHash, index: u32, hash: u32 },
    Sysv { table: &'a SysvHash, index: u32 },
}

impl Iterator for Chain<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        loop {
            self.left = self.left.checked_sub(1)?;
            match self.walk.as_mut()? {
                Walk::Gnu { table, index, hash } => {
                    let here = *index;
                    let entry = table.chain_entry(self.image, here)?;
                    let is_match = (entry ^ *hash) >> 1 == 0;
                    match here.checked_add(1) {
                        Some(next) if entry & 1 == 0 => *index = next,
                        _ => self.walk = None,
                    }
                    if is_match {
                        return Some(here);
                    }
                }
                Walk::Sysv { table, index } => {
                    let here = *index;
                    match table.next(self.image, here) {
                        Some(next) if next != 0 => *index = next,
                        _ => self.walk = None,
                    }
                    return Some(here);
                }
            }
        }
    }
}

/// `DT_GNU_HASH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GnuHash {
    bucket_count: u32,
    /// The index of the first symbol that has an entry in the chains.
    first: u32,
    bloom_count: u32,
    bloom_shift: u32,
    bloom: usize,
    buckets: usize,
    chains: usize,
    /// The table, to the end of its segment: chains have no length of their own.
    table: Range<usize>,
}

impl GnuHash {
    fn read(image: &Image, table: Range<usize>) -> Option<Self> {
        let endian = image.layout.endian();
        let header = image.structure_before::<elf::GnuHashHeader<object::Endianness>>(table.start, table.end)?;
        let bucket_count = header.bucket_count.get(endian);
        let bloom_count = header.bloom_count.get(endian);
        let bloom = table.start + size_of_val(header);
        let bloom_bytes = usize::try_from(bloom_count)
            .ok()?
            .checked_mul(image.layout.word_bytes())?;
        let buckets = bloom.checked_add(bloom_bytes)?;
        let chains = buckets.checked_add(usize::try_from(bucket_count).ok()?.checked_mul(4)?)?;
        (chains <= table.end).then_some(Self {
            bucket_count,
            first: header.symbol_base.get(endian),
            bloom_count,
            bloom_shift: header.bloom_shift.get(endian),
            bloom,
            buckets,
            chains,
            table,
        })
    }

    /// The first index of a hash's chain, if the filter does not exclude it.
    #[inline]
    fn start(&self, image: &Image, hash: u32) -> Option<u32> {
        let word_bytes = image.layout.word_bytes();
        let word_bits = word_bytes as u32 * 8;
        if self.bloom_count > 0 {
            // Loaders take the remainder by a mask, whether or not the count is a power of two.
            let word_index = (hash / word_bits) & (self.bloom_count - 1);
            let word = image.word_at(self.bloom + word_index as usize * word_bytes)?;
            let second = hash.checked_shr(self.bloom_shift).unwrap_or(0);
            if (word >> (hash % word_bits)) & (word >> (second % word_bits)) & 1 == 0 {
                return None;
            }
        }
        let bucket = hash.checked_rem(self.bucket_count)?;
        image
            .u32_at(self.buckets + bucket as usize * 4)
            .filter(|index| *index != 0)
    }

    fn each_hash(&self, image: &Image, mut visit: impl FnMut(u32)) -> bool {
        let mut left = CHAIN_LIMIT_COUNT;
        for bucket in 0..self.bucket_count {
            let Some(first) = image
                .u32_at(self.buckets + bucket as usize * 4)
                .filter(|first| *first != 0)
            else {
                continue;
            };
            for index in first..=u32::MAX {
                // A file can let chains overlap.
                let Some(rest) = left.checked_sub(1) else { return false };
                left = rest;
                let Some(entry) = self.chain_entry(image, index) else {
                    break;
                };
                visit(entry);
                if entry & 1 != 0 {
                    break;
                }
            }
        }
        true
    }

    /// The entry of a symbol in the chains: its hash, whose last bit says whether the chain ends.
    #[inline]
    fn chain_entry(&self, image: &Image, index: u32) -> Option<u32> {
        // An index below the first one points in front of the chains, and loaders go there.
        let skip = (i64::from(index) - i64::from(self.first)) * 4;
        let offset = i64::try_from(self.chains).ok()?.checked_add(skip)?;
        let offset = usize::try_from(offset).ok()?;
        let is_inside = offset >= self.table.start && offset.checked_add(4)? <= self.table.end;
        if is_inside { image.u32_at(offset) } else { None }
    }

    /// One more than the highest index: the chain of the highest bucket is the last one. 0 if no symbol is defined; linkers
    /// then write anything as the first index.
    fn symbol_count(&self, image: &Image, problems: &mut Vec<String>) -> u32 {
        let highest = (0..self.bucket_count)
            .filter_map(|bucket| image.u32_at(self.buckets + bucket as usize * 4))
            .max()
            .unwrap_or(0);
        if highest == 0 {
            return 0;
        }
        let mut last = highest;
        while let Some(entry) = self.chain_entry(image, last) {
            match last.checked_add(1) {
                Some(next) if entry & 1 != 0 => return next,
                Some(next) => last = next,
                None => break,
            }
        }
        problems.push("the last chain of DT_GNU_HASH has no end".to_owned());
        last
    }
}

/// `DT_HASH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SysvHash {
    bucket_count: u32,
    chain_count: u32,
    buckets: usize,
    chains: usize,
    entry_bytes: usize,
    end: usize,
}

impl SysvHash {
    fn read(image: &Image, table: Range<usize>, machine: Machine) -> Option<Self> {
        // The ABIs of these two machines have entries of 64 bits.
        let is_wide = match machine {
            Machine::Other(number) => image.layout.is_wide() && [elf::EM_S390.0, elf::EM_ALPHA.0].contains(&number),
            _ => false,
        };
        let entry_bytes = if is_wide { 8 } else { 4 };
        let mut hash = Self {
            bucket_count: 0,
            chain_count: 0,
            buckets: table.start.checked_add(2 * entry_bytes)?,
            chains: 0,
            entry_bytes,
            end: table.end,
        };
        hash.bucket_count = hash.entry(image, table.start)?;
        hash.chain_count = hash.entry(image, table.start + entry_bytes)?;
        let bytes = |count: u32| usize::try_from(count).ok()?.checked_mul(entry_bytes);
        hash.chains = hash.buckets.checked_add(bytes(hash.bucket_count)?)?;
        let end = hash.chains.checked_add(bytes(hash.chain_count)?)?;
        (end <= table.end).then_some(hash)
    }

    #[inline]
    fn entry(&self, image: &Image, offset: usize) -> Option<u32> {
        if offset.checked_add(self.entry_bytes)? > self.end {
            None
        } else if self.entry_bytes == 8 {
            u32::try_from(image.u64_at(offset)?).ok()
        } else {
            image.u32_at(offset)
        }
    }

    #[inline]
    fn start(&self, image: &Image, hash: u32) -> Option<u32> {
        let bucket = hash.checked_rem(self.bucket_count)?;
        self.entry(image, self.buckets + bucket as usize * self.entry_bytes)
            .filter(|index| *index != 0)
    }

    #[inline]
    fn next(&self, image: &Image, index: u32) -> Option<u32> {
        self.entry(
            image,
            self.chains
                .checked_add((index as usize).checked_mul(self.entry_bytes)?)?,
        )
    }
}
