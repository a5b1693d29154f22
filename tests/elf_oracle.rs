//! Every library and program of the machine is read by a second reader too, and both must have seen the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use goblin::elf::{Elf as Other, sym};
use lockstep::facts::elf::{Binding, Elf, Name, Symbol, SymbolKind, SymbolVersion, Table, Visibility};

/// More files than a machine has; a link in a circle would end here.
const FILE_LIMIT_COUNT: usize = 20_000;
/// Fewer ELF files than any machine has on which this project can be compiled.
const FEWEST_FILES: usize = 200;
/// Larger files say nothing that others do not, and a second reader copies much of them.
const FILE_LIMIT_BYTES: u64 = 64 << 20;

#[test]
fn a_second_reader_sees_the_same() {
    let files = files();
    let next = AtomicUsize::new(0);
    let compared = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bytes = Bytes::from(fs::read(path).unwrap());
                    if bytes.starts_with(b"\x7fELF") {
                        compare(path, &bytes);
                        compared.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let compared = compared.into_inner();
    assert!(compared >= FEWEST_FILES, "only {compared} files were compared");
}

fn compare(path: &Path, bytes: &Bytes) {
    let elf = Elf::read(bytes.clone()).unwrap();
    let other = Other::parse(bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let place = path.display();
    assert_eq!(elf.problems, [""; 0], "{place}");
    assert_eq!(elf.header.machine.number(), other.header.e_machine, "{place}");
    assert_eq!(elf.segments.len(), other.program_headers.len(), "{place}");
    assert_eq!(elf.interpreter.as_deref(), other.interpreter, "{place}");
    let Some(dynamic) = &elf.dynamic else {
        assert!(other.dynamic.is_none(), "{place}");
        return;
    };
    assert_eq!(dynamic.needed, other.libraries, "{place}");
    assert_eq!(dynamic.soname.as_deref(), other.soname, "{place}");
    assert_eq!(dynamic.rpath.iter().collect::<Vec<_>>(), other.rpaths, "{place}");
    assert_eq!(dynamic.runpath.iter().collect::<Vec<_>>(), other.runpaths, "{place}");
    let info = &other.dynamic.as_ref().unwrap().info;
    assert_eq!(dynamic.flags & info.flags, info.flags, "{place}");
    assert_eq!(dynamic.flags_1, info.flags_1, "{place}");
    compare_symbols(&place.to_string(), &elf, &other);
    compare_versions(&place.to_string(), &elf, &other);
    compare_relocations(&place.to_string(), &elf, &other);
}

fn compare_symbols(place: &str, elf: &Elf, other: &Other<'_>) {
    // Where no symbol is defined there is no count to be read, and each reader has its own way to find one.
    let is_defining = elf
        .symbols()
        .any(|(_, symbol)| symbol.is_defined() && symbol.binding != Binding::Local);
    if is_defining {
        assert_eq!(elf.symbol_count() as usize, other.dynsyms.len(), "{place}");
    } else {
        assert!(elf.symbol_count() as usize >= other.dynsyms.len(), "{place}");
    }
    for (index, theirs) in other.dynsyms.iter().enumerate().skip(1) {
        let index = u32::try_from(index).unwrap();
        let ours = elf.symbol(index).unwrap();
        let name = other.dynstrtab.get_at(theirs.st_name).unwrap();
        assert_eq!(ours.name, name.as_bytes(), "{place} {index}");
        assert_eq!(
            (ours.value, ours.size),
            (theirs.st_value, theirs.st_size),
            "{place} {name}"
        );
        assert_eq!(usize::from(ours.section), theirs.st_shndx, "{place} {name}");
        assert_eq!(
            numbers(&ours),
            (theirs.st_type(), theirs.st_bind(), theirs.st_visibility()),
            "{place} {name}"
        );
        let version = other.versym.as_ref().and_then(|table| table.get_at(index as usize));
        assert_eq!(
            elf.version_of(index).map(|version| version.0),
            version.map(|version| version.vs_val),
            "{place} {name}"
        );
        if ours.is_defined() && ours.binding != Binding::Local {
            assert!(
                elf.find(&Name::new(ours.name))
                    .any(|(found, symbol)| found == index && symbol == ours),
                "{place}: {name} is not found"
            );
        }
    }
    assert_eq!(elf.find(&Name::new(b"a name that no file has")).count(), 0, "{place}");
}

fn compare_versions(place: &str, elf: &Elf, other: &Other<'_>) {
    let name = |offset: usize| other.dynstrtab.get_at(offset).unwrap().to_owned();
    let theirs: Vec<_> = other
        .verneed
        .iter()
        .flat_map(|table| table.iter())
        .flat_map(|need| {
            let file = name(need.vn_file);
            let versions: Vec<_> = need
                .iter()
                .map(|version| {
                    (
                        name(version.vna_name),
                        version.vna_hash,
                        version.vna_flags,
                        version.vna_other,
                    )
                })
                .collect();
            versions.into_iter().map(move |version| (file.clone(), version))
        })
        .collect();
    let ours: Vec<_> = elf
        .needs
        .iter()
        .flat_map(|need| {
            need.versions.iter().map(|version| {
                let numbers = (version.name.clone(), version.hash, version.flags, version.index.0);
                (need.file.clone(), numbers)
            })
        })
        .collect();
    assert_eq!(ours, theirs, "{place}");
    for (file, (name, hash, _, index)) in &theirs {
        let expected = SymbolVersion {
            name,
            hash: *hash,
            is_hidden: false,
            file: Some(file),
        };
        assert_eq!(elf.version(*index), Some(expected), "{place}");
        assert_eq!(Name::new(name.as_bytes()).sysv(), *hash, "{place}");
    }
    let theirs: Vec<_> = other
        .verdef
        .iter()
        .flat_map(|table| table.iter())
        .map(|version| {
            let first = version.iter().next().unwrap();
            (name(first.vda_name), version.vd_hash, version.vd_flags, version.vd_ndx)
        })
        .collect();
    let ours: Vec<_> = elf
        .definitions
        .iter()
        .map(|version| (version.name.clone(), version.hash, version.flags, version.index))
        .collect();
    assert_eq!(ours, theirs, "{place}");
}

fn compare_relocations(place: &str, elf: &Elf, other: &Other<'_>) {
    let main = other
        .dynrels
        .iter()
        .chain(other.dynrelas.iter())
        .map(|relocation| (Table::Main, relocation));
    let plt: Vec<_> = other
        .pltrelocs
        .iter()
        .map(|relocation| (Table::Plt, relocation))
        .collect();
    let mut theirs: Vec<_> = main
        .filter(|(_, relocation)| !plt.iter().any(|(_, other)| other.r_offset == relocation.r_offset))
        .collect();
    theirs.extend(plt);
    let mut ours = elf.relocations();
    for (table, theirs) in theirs {
        let ours = ours.next().unwrap_or_else(|| panic!("{place} has fewer relocations"));
        assert_eq!(
            (ours.table, ours.offset, ours.symbol as usize, ours.kind, ours.addend),
            (
                table,
                theirs.r_offset,
                theirs.r_sym,
                theirs.r_type,
                theirs.r_addend.unwrap_or(0)
            ),
            "{place}"
        );
    }
    assert!(ours.next().is_none(), "{place} has more relocations");
}

/// Type, binding and visibility, as numbers.
fn numbers(symbol: &Symbol<'_>) -> (u8, u8, u8) {
    let kind = match symbol.kind {
        SymbolKind::None => sym::STT_NOTYPE,
        SymbolKind::Object => sym::STT_OBJECT,
        SymbolKind::Function => sym::STT_FUNC,
        SymbolKind::Section => sym::STT_SECTION,
        SymbolKind::File => sym::STT_FILE,
        SymbolKind::Common => sym::STT_COMMON,
        SymbolKind::Tls => sym::STT_TLS,
        SymbolKind::Ifunc => sym::STT_GNU_IFUNC,
        SymbolKind::Other(number) => number,
    };
    let binding = match symbol.binding {
        Binding::Local => sym::STB_LOCAL,
        Binding::Global => sym::STB_GLOBAL,
        Binding::Weak => sym::STB_WEAK,
        Binding::Unique => sym::STB_GNU_UNIQUE,
        Binding::Other(number) => number,
    };
    let visibility = match symbol.visibility {
        Visibility::Default => sym::STV_DEFAULT,
        Visibility::Internal => sym::STV_INTERNAL,
        Visibility::Hidden => sym::STV_HIDDEN,
        Visibility::Protected => sym::STV_PROTECTED,
    };
    (kind, binding, visibility)
}

/// The libraries and programs of the distribution.
fn files() -> Vec<PathBuf> {
    let mut pending = vec![PathBuf::from("/usr/lib"), PathBuf::from("/usr/bin")];
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        assert!(files.len() < FILE_LIMIT_COUNT, "too many files");
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        } else if metadata.is_file() && metadata.len() <= FILE_LIMIT_BYTES && may_be_elf(&path) {
            files.push(path);
        }
    }
    files
}

fn may_be_elf(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    path.starts_with("/usr/bin") || name.ends_with(".so") || name.contains(".so.")
}
