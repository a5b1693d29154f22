//! ELF files that have been tampered with.

use bytes::Bytes;
use lockstep::facts::elf::{Class, Data, Elf, Layout, Name, Unreadable};
use lockstep::facts::{Go, comment, cxx, libc, rust, stamp};

use super::random::Random;
use super::seeds::Seed;
use crate::elf_builder::BASE;

const EVERY_LAYOUT: [Layout; 4] = [
    layout(Class::Elf64, Data::Little),
    layout(Class::Elf64, Data::Big),
    layout(Class::Elf32, Data::Little),
    layout(Class::Elf32, Data::Big),
];

/// How many names are looked up, and how many places looked at, for one input.
const LOOKUP_COUNT: usize = 8;

const fn layout(class: Class, data: Data) -> Layout {
    Layout { class, data }
}

/// A seed with some changes.
pub(crate) fn mutate(seeds: &[Seed], random: &mut Random) -> Vec<u8> {
    let seed = random.pick(seeds);
    let mut bytes = seed.bytes.clone();
    for _ in 0..=random.below(6) {
        change(seeds, seed, &mut bytes, random);
    }
    bytes
}

fn change(seeds: &[Seed], seed: &Seed, bytes: &mut Vec<u8>, random: &mut Random) {
    let len = bytes.len();
    let (header_bytes, program_header_bytes, entry_bytes) = if seed.is_wide { (64, 56, 16) } else { (52, 32, 8) };
    let word_bytes = entry_bytes / 2;
    match random.below(16) {
        0 => {
            for _ in 0..=random.below(8) {
                let bit = random.below(len * 8);
                if let Some(byte) = bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        1 => {
            let offset = random.below(header_bytes / 2) * 2;
            put(seed, bytes, offset, 2, random);
        }
        2 | 3 => {
            let offset = header_bytes + random.below(8 * program_header_bytes / 4) * 4;
            put(seed, bytes, offset, word_bytes, random);
        }
        4..=6 => {
            if let Some((start, count)) = seed.dynamic {
                let offset = start + random.below(count * 2) * word_bytes;
                put(seed, bytes, offset, word_bytes, random);
            }
        }
        7..=10 => {
            if !seed.tables.is_empty() {
                let offset = random.pick(&seed.tables) + random.below(32) * 4;
                let width = *random.pick(&[2, 4, 4, word_bytes]);
                put(seed, bytes, offset, width, random);
            }
        }
        // Two tables at one place, or nearly.
        11 => {
            if let Some((start, count)) = seed.dynamic {
                let from = start + random.below(count) * entry_bytes + word_bytes;
                let to = start + random.below(count) * entry_bytes + word_bytes;
                copy_within(bytes, from, to, word_bytes);
                if random.below(2) == 0 {
                    let skew = random.below(64) as u8;
                    let low = if seed.is_big { to + word_bytes - 1 } else { to };
                    if let Some(byte) = bytes.get_mut(low) {
                        *byte = byte.wrapping_add(skew);
                    }
                }
            }
        }
        12 => bytes.truncate(random.below(len + 1)),
        13 => {
            let filler = random.next() as u8;
            bytes.resize(len + random.below(512), filler);
        }
        14 => {
            let (from, to) = (random.below(len), random.below(len));
            copy_within(bytes, from, to, random.below(256));
        }
        _ => {
            let other = &random.pick(seeds).bytes;
            let from = random.below(other.len());
            let part = &other[from..(from + random.below(512)).min(other.len())];
            let to = random.below(len);
            for (byte, part) in bytes.iter_mut().skip(to).zip(part) {
                *byte = *part;
            }
        }
    }
}

fn copy_within(bytes: &mut [u8], from: usize, to: usize, len: usize) {
    let part: Vec<u8> = bytes.iter().skip(from).take(len).copied().collect();
    for (byte, part) in bytes.iter_mut().skip(to).zip(part) {
        *byte = part;
    }
}

/// Puts a number that is likely to be wrong.
fn put(seed: &Seed, bytes: &mut [u8], offset: usize, width: usize, random: &mut Random) {
    let len = bytes.len() as u64;
    let value = match random.below(12) {
        0 => 0,
        1 => 1,
        2 => u64::MAX >> random.below(64),
        3 => 1 << random.below(64),
        4 => (1 << random.below(64)) - 1,
        5 => len.wrapping_add(random.next() % 17).wrapping_sub(8),
        6 => BASE + random.next() % (len + 64),
        7 => random.next() % (len + 64),
        8 => u64::MAX - random.next() % 64,
        9 => random.next() % 64,
        10 => 0x6fff_ff00 + random.next() % 256,
        _ => random.next(),
    };
    let value = if seed.is_big { value << (64 - 8 * width) } else { value };
    let value = if seed.is_big {
        value.to_be_bytes()
    } else {
        value.to_le_bytes()
    };
    for (byte, value) in bytes.iter_mut().skip(offset).zip(&value[..width]) {
        *byte = *value;
    }
}

/// Reads the input in every way and uses all of what was read. What comes out is bounded by what went in.
pub(crate) fn exercise(input: &Bytes, random: &mut Random) {
    let len = input.len();
    match Elf::read(input.clone()) {
        Ok(elf) => use_all(&elf, len, random),
        Err(Unreadable::TooShort { len: told }) => assert_eq!(told, len as u64),
        Err(_) => assert!(len >= 16),
    }
    if random.below(4) == 0
        && let Ok(elf) = Elf::read_as(input.clone(), *random.pick(&EVERY_LAYOUT))
    {
        use_all(&elf, len, random);
    }
}

fn use_all(elf: &Elf, len: usize, random: &mut Random) {
    assert!(elf.segments.len() <= 4096);
    assert!(elf.problems.len() <= 32, "{:?}", elf.problems.len());
    assert_eq!(elf.is_truncated(), elf.loaded_end() > len as u64);
    let versions: usize = elf.needs.iter().map(|need| 1 + need.versions.len()).sum();
    assert!(versions + elf.definitions.len() <= len / 16);
    let names = elf
        .needs
        .iter()
        .flat_map(|need| need.versions.iter().map(|version| &version.name));
    let names = names.chain(elf.needs.iter().map(|need| &need.file));
    let names = names.chain(elf.definitions.iter().map(|definition| &definition.name));
    let mut kept: usize = names.map(String::len).sum();
    if let Some(dynamic) = &elf.dynamic {
        assert!(dynamic.entries.len() <= len / 8);
        let lists = [&dynamic.needed, &dynamic.filters, &dynamic.auxiliaries];
        kept += lists
            .iter()
            .flat_map(|list| list.iter().map(String::len))
            .sum::<usize>();
    }
    // Bytes that are no text become three bytes each.
    assert!(kept <= 3 * (len + 4096), "{kept} bytes of text out of {len}");

    let mut count = 0;
    let mut sample = Vec::new();
    for (index, symbol) in elf.symbols() {
        count += 1;
        assert!(symbol.name.len() <= 64 * 1024 && symbol.name.len() <= len);
        if let Some(version) = elf.version_of(index)
            && let Some(named) = elf.version(version.index())
        {
            assert!(version.index() > 1);
            assert!(
                named
                    .file
                    .is_none_or(|file| elf.needs.iter().any(|need| need.file == file))
            );
        }
        if sample.len() < LOOKUP_COUNT && random.below(4) == 0 {
            sample.push(symbol);
        }
    }
    assert!(count <= len / 16, "{count} symbols in {len} bytes");
    for symbol in &sample {
        let found = elf
            .find(&Name::new(symbol.name))
            .map(|(_, found)| assert_eq!(found.name, symbol.name))
            .count();
        assert!(found <= len / 4, "{found} symbols in a chain of {len} bytes");
    }
    assert!(elf.find(&Name::new(b"twice")).count() <= len / 4);
    assert!(elf.find(&Name::new(b"")).count() <= len / 4);

    let mut count = 0;
    for relocation in elf.relocations() {
        count += 1;
        if count % 16 == 1 {
            let _ = elf.symbol(relocation.symbol);
        }
    }
    assert!(count <= 3 * len / 8, "{count} relocations in {len} bytes");

    for _ in 0..LOOKUP_COUNT {
        let address = match random.below(3) {
            0 => random.next(),
            1 => BASE + random.next() % (len as u64 + 8),
            _ => elf
                .segments
                .get(random.below(elf.segments.len()))
                .map_or(0, |segment| segment.address),
        };
        let wanted = random.next() >> random.below(64);
        if let Some(found) = elf.at(address, wanted) {
            assert_eq!(found.len() as u64, wanted);
        }
        let index = random.next() as u32 >> random.below(32);
        let _ = (elf.symbol(index), elf.version_of(index), elf.version(index as u16));
    }
    if let Some(symbols) = elf.linker_symbols() {
        let count = symbols.map(|symbol| assert!(symbol.name.len() <= len)).count();
        assert!(count <= len / 16, "{count} symbols of the linker in {len} bytes");
    }
    assert!(elf.constants().all(|bytes| bytes.len() <= len));
    // These search whole files, which takes much longer than everything else.
    if random.below(16) == 0 {
        let _ = (comment::tools(elf), cxx::read(elf), rust::read(elf), Go::read(elf));
        let _ = (libc::family_of(elf), libc::version_of(elf));
        for system in stamp::SYSTEMS {
            let _ = (system.marks(elf), system.modules(elf));
        }
    }
    for name in [".comment", ".text", ""] {
        assert!(elf.section(name).is_none_or(|section| section.len() <= len));
    }
}
