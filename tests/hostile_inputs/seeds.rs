//! The files that inputs are made of: small ones in every layout, and real ones of the machine.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use lockstep::facts::elf::{Class, Data, Elf, SegmentKind};

use crate::elf_builder::{BASE, Builder, Hashes, Symbol};

/// Real files that are larger make inputs slow, and have no other tables.
const REAL_LIMIT_BYTES: u64 = 40 * 1024;
const REAL_LIMIT_COUNT: usize = 12;

/// A file, and where in it what matters is.
pub(crate) struct Seed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_wide: bool,
    pub(crate) is_big: bool,
    /// Where the dynamic section is, and how many entries it has.
    pub(crate) dynamic: Option<(usize, usize)>,
    /// Where the tables begin that it points to.
    pub(crate) tables: Vec<usize>,
}

impl Seed {
    fn new(bytes: Vec<u8>) -> Self {
        let elf = Elf::read(Bytes::from(bytes.clone())).unwrap();
        let segment = elf.segments.iter().find(|segment| segment.kind == SegmentKind::Dynamic);
        let dynamic = segment.map(|segment| usize::try_from(segment.offset).unwrap());
        let entries = elf.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.entries);
        let offset_of = |address: u64| {
            let load = elf.segments.iter().find(|segment| {
                segment.kind == SegmentKind::Load
                    && (segment.address..segment.address + segment.file_size).contains(&address)
            })?;
            usize::try_from(address - load.address + load.offset).ok()
        };
        // Sizes and flags are no addresses, but what is there can be changed as well.
        let mut tables: Vec<usize> = entries.iter().filter_map(|(_, value)| offset_of(*value)).collect();
        let notes = [SegmentKind::Note, SegmentKind::Property, SegmentKind::Interpreter];
        let others = elf.segments.iter().filter(|segment| notes.contains(&segment.kind));
        tables.extend(others.map(|segment| usize::try_from(segment.offset).unwrap()));
        tables.extend(usize::try_from(elf.header.section_headers_offset).ok());
        tables.retain(|offset| *offset < bytes.len());
        Self {
            is_wide: elf.header.layout.class == Class::Elf64,
            is_big: elf.header.layout.data == Data::Big,
            dynamic: dynamic.map(|offset| (offset, entries.len() + 1)),
            tables,
            bytes,
        }
    }
}

pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = made();
    seeds.extend(real());
    seeds
}

pub(crate) fn made() -> Vec<Seed> {
    let mut seeds = Vec::new();
    // x86-64, i386, AArch64, ARM, RISC-V, and two that have something of their own.
    for (is_wide, is_big, machine) in [
        (true, false, 62),
        (false, false, 3),
        (true, false, 183),
        (false, false, 40),
        (true, false, 243),
        (true, true, 22),
        (false, true, 8),
        (true, false, 8),
    ] {
        for hashes in [Hashes::Gnu, Hashes::Sysv, Hashes::Both, Hashes::Neither] {
            let mut builder = Builder::full(is_wide, is_big, machine, hashes);
            builder.is_plt_within = hashes == Hashes::Both;
            // s390x has hash tables of its own, which are not made.
            if machine == 22 && hashes != Hashes::Gnu {
                continue;
            }
            seeds.push(Seed::new(builder.build()));
        }
    }
    seeds.extend([(true, false, 62), (false, true, 8)].map(go_plugin));
    seeds
}

/// What Go leaves in a plugin: hashes of packages, the record of the build, names that its runtime needs.
fn go_plugin((is_wide, is_big, machine): (bool, bool, u16)) -> Seed {
    let mut builder = Builder::full(is_wide, is_big, machine, Hashes::Gnu);
    let mut text = |text: &str| {
        builder.data.push(u8::try_from(text.len()).unwrap());
        builder.data.extend_from_slice(text.as_bytes());
    };
    // The flag says that the texts come right behind, each with its length in front of it.
    text("go1.24.4");
    text("path\tcommand-line\nmod\ta\tv1\nbuild\t-buildmode=plugin\nbuild\tCGO_ENABLED=1\n");
    let mut record = vec![0xff];
    record.extend_from_slice(b" Go buildinf:");
    record.extend([8, 2]);
    record.resize(32, 0);
    record.append(&mut builder.data);
    record.extend_from_slice(b"\0plugin.Open\0\0plugin.lastmoduleinit\0");
    builder.data = record;
    for name in [
        "go:link.pkghashbytes.fmt",
        "go:link.pkghashbytes.runtime/cgo",
        "go.link.pkghashbytes.a",
        "local.moduledata",
    ] {
        let mut symbol = Symbol::function(name, 5, 2);
        (symbol.value, symbol.size, symbol.info) = (BASE + 0x40, 8, 0x11);
        builder.symbols.push(symbol);
    }
    Seed::new(builder.build())
}

/// The smallest libraries of the machine.
fn real() -> Vec<Seed> {
    let directories = ["/usr/lib", "/lib", "/usr/lib64"].map(PathBuf::from).into_iter();
    let own = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let mut files: Vec<PathBuf> = directories
        .chain([own])
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten())
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|file| file.is_file() && file.len() <= REAL_LIMIT_BYTES)
        })
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(".so"))
        .collect();
    files.sort();
    let seeds = files.iter().map(|path| fs::read(path).unwrap());
    let seeds = seeds.filter(|bytes| bytes.starts_with(b"\x7fELF"));
    seeds.take(REAL_LIMIT_COUNT).map(Seed::new).collect()
}
