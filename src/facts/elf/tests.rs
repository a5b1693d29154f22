//! Reading real files of this machine, and made ones in every layout.

use bytes::Bytes;

use super::{
    Binding, Class, Data, Elf, Layout, Machine, Name, ObjectKind, Properties, Relocation, RelocationClass, SegmentKind,
    SymbolKind, Table, Unreadable, Visibility,
};

#[path = "../../../tests/elf_builder/mod.rs"]
mod elf_builder;

use elf_builder::{BASE, Builder, Hashes, Symbol};

const X86_64: u16 = 62;
const EVERY_LAYOUT: [(bool, bool); 4] = [(true, false), (true, true), (false, false), (false, true)];
const EVERY_HASH: [Hashes; 4] = [Hashes::Gnu, Hashes::Sysv, Hashes::Both, Hashes::Neither];

fn read(bytes: Vec<u8>) -> Elf {
    Elf::read(Bytes::from(bytes)).unwrap()
}

#[test]
fn a_made_file_is_read_in_every_layout() {
    for (is_wide, is_big) in EVERY_LAYOUT {
        for hashes in EVERY_HASH {
            let builder = Builder::full(is_wide, is_big, X86_64, hashes);
            let elf = read(builder.build());
            assert_eq!(elf.problems, [""; 0], "{is_wide} {is_big} {hashes:?}");
            assert_eq!(
                elf.header.layout,
                Layout {
                    class: if is_wide { Class::Elf64 } else { Class::Elf32 },
                    data: if is_big { Data::Big } else { Data::Little },
                }
            );
            assert_eq!(
                (elf.header.kind, elf.header.machine),
                (ObjectKind::Shared, Machine::X86_64)
            );
            assert_eq!(elf.interpreter.as_deref(), Some("/lib/ld-test.so.1"));
            assert_eq!(elf.stack_flags, Some(6));
            assert_eq!(elf.tls.unwrap().memory_size, 64);
            assert_eq!(elf.segments[0].kind, SegmentKind::Load);
            assert!(!elf.is_truncated());
            let dynamic = elf.dynamic.as_ref().unwrap();
            assert_eq!(dynamic.needed, ["libfirst.so.1", "libsecond.so"]);
            assert_eq!(dynamic.soname.as_deref(), Some("libmade.so.7"));
            assert_eq!(dynamic.rpath.as_deref(), Some("/old/path"));
            assert_eq!(dynamic.runpath.as_deref(), Some("$ORIGIN/../lib"));
            assert_eq!(dynamic.has_gnu_hash, matches!(hashes, Hashes::Gnu | Hashes::Both));
            assert_eq!(dynamic.has_sysv_hash, matches!(hashes, Hashes::Sysv | Hashes::Both));
            assert!(dynamic.has_versions && dynamic.has_version_definitions);
            check_symbols(&builder, &elf);
            check_versions(&elf);
            check_relocations(&builder, &elf);
            assert_eq!(elf.section(".comment"), Some(&b"maker 1.0\0other maker 2.0\0"[..]));
            assert_eq!(elf.section(".text"), None);
            assert_eq!(elf.notes.build_id.as_deref(), Some(&[0xab; 20][..]));
            assert_eq!(elf.notes.go_build_id.as_deref(), Some("go/build/id"));
            assert_eq!(
                elf.notes.properties,
                Some(Properties {
                    isa_needed: Some(3),
                    ..Properties::default()
                })
            );
            assert_eq!(elf.at(BASE, 4), Some(&b"\x7fELF"[..]));
            assert_eq!(elf.at(BASE - 1, 1), None);
            assert_eq!(elf.at(BASE, elf.bytes().len() as u64 + 1), None);
        }
    }
}

fn check_symbols(builder: &Builder, elf: &Elf) {
    assert_eq!(elf.symbol_count() as usize, builder.symbols.len() + 1);
    for (place, made) in builder.symbols.iter().enumerate() {
        let index = builder.index_of(place);
        let symbol = elf.symbol(index).unwrap();
        assert_eq!(symbol.text(), made.name);
        assert_eq!(
            (symbol.value, symbol.size, symbol.section),
            (made.value, made.size, made.section)
        );
        assert_eq!(elf.version_of(index).unwrap().0, made.version);
        let found: Vec<u32> = elf
            .find(&Name::new(made.name.as_bytes()))
            .map(|(index, _)| index)
            .collect();
        let is_hashed = match builder.hashes {
            Hashes::Gnu | Hashes::Both => made.section != 0,
            Hashes::Sysv => true,
            Hashes::Neither => false,
        };
        assert_eq!(found.contains(&index), is_hashed, "{} in {found:?}", made.name);
        assert!(
            found
                .iter()
                .all(|index| elf.symbol(*index).unwrap().text() == made.name)
        );
    }
    assert_eq!(elf.find(&Name::new(b"absent")).count(), 0);
    assert_eq!(elf.find(&Name::new(b"")).count(), 0);
    let weak = elf.symbol(builder.index_of(5)).unwrap();
    assert_eq!(
        (weak.kind, weak.binding, weak.visibility),
        (SymbolKind::Object, Binding::Weak, Visibility::Protected)
    );
    assert_eq!(elf.symbol(builder.index_of(6)).unwrap().kind, SymbolKind::Tls);
    assert_eq!(elf.symbols().count(), builder.symbols.len());
    assert!(elf.symbol(u32::MAX).is_none() && elf.version_of(u32::MAX).is_none());
}

fn check_versions(elf: &Elf) {
    let needs: Vec<_> = elf
        .needs
        .iter()
        .map(|need| (need.file.as_str(), need.versions.len()))
        .collect();
    assert_eq!(needs, [("libfirst.so.1", 2), ("libsecond.so", 1)]);
    assert!(elf.needs[0].versions[1].is_weak() && !elf.needs[0].versions[0].is_weak());
    let definitions: Vec<_> = elf
        .definitions
        .iter()
        .map(|one| (one.name.as_str(), one.flags, one.index))
        .collect();
    assert_eq!(
        definitions,
        [("libmade.so.7", 1, 1), ("MADE_1", 0, 2), ("MADE_2", 0, 3)]
    );
    let names: Vec<_> = (0..9)
        .map(|index| elf.version(index).map(|version| version.name))
        .collect();
    let expected = [
        None,
        None,
        Some("MADE_1"),
        Some("MADE_2"),
        Some("FIRST_1.0"),
        Some("FIRST_1.1"),
        Some("SECOND"),
    ];
    assert_eq!(names[..7], expected);
    assert_eq!(names[7..], [None, None]);
    assert_eq!(elf.version(4).unwrap().hash, Name::new(b"FIRST_1.0").sysv());
    assert_eq!(elf.version(6).unwrap().file, Some("libsecond.so"));
    assert_eq!(elf.version(2).unwrap().file, None);
}

fn check_relocations(builder: &Builder, elf: &Elf) {
    let cut = |addend: i64| if builder.has_addends { addend } else { 0 };
    let expected = [
        Relocation {
            table: Table::Main,
            offset: BASE + 0x100,
            symbol: 0,
            kind: 8,
            class: RelocationClass::Relative,
            addend: cut(0x123),
        },
        Relocation {
            table: Table::Main,
            offset: BASE + 0x108,
            symbol: builder.index_of(5),
            kind: 6,
            class: RelocationClass::GlobalData,
            addend: cut(-1),
        },
        Relocation {
            table: Table::Plt,
            offset: BASE + 0x110,
            symbol: builder.index_of(0),
            kind: 7,
            class: RelocationClass::JumpSlot,
            addend: 0,
        },
    ];
    assert_eq!(elf.relocations().collect::<Vec<_>>(), expected);
}

#[test]
fn relocations_of_both_tables_are_listed_once() {
    for (is_wide, is_big) in EVERY_LAYOUT {
        for has_addends in [true, false] {
            let mut builder = Builder::full(is_wide, is_big, X86_64, Hashes::Gnu);
            builder.is_plt_within = true;
            builder.has_addends = has_addends;
            check_relocations(&builder, &read(builder.build()));
        }
    }
}

#[test]
fn names_of_one_hash_are_told_apart() {
    let (left, right) = (Name::new(b"xbA"), Name::new(b"xab"));
    assert_eq!(left.gnu, right.gnu);
    for hashes in [Hashes::Gnu, Hashes::Sysv] {
        let mut builder = Builder::new(true, false, X86_64);
        builder.hashes = hashes;
        builder.bucket_count = 1;
        builder.symbols = ["xbA", "xab", "xb", "xabc"]
            .iter()
            .map(|name| Symbol::function(name, 1, 1))
            .collect();
        let elf = read(builder.build());
        for (place, made) in builder.symbols.iter().enumerate() {
            let found: Vec<u32> = elf
                .find(&Name::new(made.name.as_bytes()))
                .map(|(index, _)| index)
                .collect();
            assert_eq!(found, [builder.index_of(place)], "{}", made.name);
        }
    }
}

#[test]
fn a_chain_that_goes_in_a_circle_ends() {
    let mut builder = Builder::new(true, false, X86_64);
    builder.hashes = Hashes::Sysv;
    builder.bucket_count = 1;
    builder.symbols = vec![Symbol::function("one", 1, 1), Symbol::function("two", 1, 1)];
    let mut bytes = builder.build();
    let elf = read(bytes.clone());
    let (_, address) = *elf
        .dynamic
        .as_ref()
        .unwrap()
        .entries
        .iter()
        .find(|(tag, _)| *tag == 4)
        .unwrap();
    // One bucket, three chains: the last symbol's chain goes on to itself.
    let chain = usize::try_from(address - BASE).unwrap() + 8 + 4 + 4;
    bytes[chain..chain + 4].copy_from_slice(&2_u32.to_le_bytes());
    let elf = read(bytes);
    assert_eq!(elf.find(&Name::new(b"absent")).count(), 0);
    assert!(elf.find(&Name::new(b"one")).count() <= 3);
}

#[test]
fn a_file_may_end_anywhere() {
    for (is_wide, is_big) in EVERY_LAYOUT {
        let bytes = Builder::full(is_wide, is_big, X86_64, Hashes::Both).build();
        let whole = read(bytes.clone());
        let loaded_end = usize::try_from(whole.loaded_end()).unwrap();
        for len in 0..bytes.len() {
            match Elf::read(Bytes::copy_from_slice(&bytes[..len])) {
                Ok(elf) => {
                    assert_eq!(elf.is_truncated(), len < loaded_end && !elf.segments.is_empty());
                    assert_eq!(elf.problems.is_empty(), len >= loaded_end, "{len}: {:?}", elf.problems);
                    assert!(elf.symbols().count() <= whole.symbols().count());
                    assert!(elf.relocations().count() <= whole.relocations().count());
                }
                Err(error) => {
                    assert_eq!(error, Unreadable::TooShort { len: len as u64 });
                    assert!(len < if is_wide { 64 } else { 52 });
                }
            }
        }
    }
}

#[test]
fn what_is_no_elf_file_is_told() {
    let bytes = Builder::new(true, false, X86_64).build();
    for (offset, value, expected) in [
        (0, b'#', Unreadable::Magic { head: *b"#ELF" }),
        (4, 0, Unreadable::Class { value: 0 }),
        (4, 3, Unreadable::Class { value: 3 }),
        (5, 9, Unreadable::Data { value: 9 }),
    ] {
        let mut bytes = bytes.clone();
        bytes[offset] = value;
        assert_eq!(Elf::read(Bytes::from(bytes.clone())).unwrap_err(), expected);
        let layout = Layout {
            class: Class::Elf64,
            data: Data::Little,
        };
        let elf = Elf::read_as(Bytes::from(bytes), layout).unwrap();
        assert_eq!(elf.header.ident[offset], value);
        assert!(elf.dynamic.is_some() && elf.problems.is_empty());
    }
    assert_eq!(Elf::read(Bytes::new()).unwrap_err(), Unreadable::TooShort { len: 0 });
    assert_eq!(
        Elf::read(Bytes::from_static(b"\x7fELF\x02\x01\x01 and no more")).unwrap_err(),
        Unreadable::TooShort { len: 19 }
    );
    assert_eq!(
        Elf::read(Bytes::from_static(b"/* GNU ld script */ GROUP ( libc.so.6 )")).unwrap_err(),
        Unreadable::Magic { head: *b"/* G" }
    );
}

#[test]
fn flags_are_folded() {
    for (entries, flags) in [
        (vec![(30, 0x10)], 0x10),
        (vec![(30, 8), (16, 0)], 8 | 2),
        (vec![(22, 0), (24, 0)], 4 | 8),
    ] {
        let mut builder = Builder::new(true, false, X86_64);
        builder.entries = entries;
        assert_eq!(read(builder.build()).dynamic.unwrap().flags, flags);
    }
    let mut builder = Builder::new(false, true, 8);
    builder.entries = vec![
        (0x6fff_fffb, 0x0800_0001),
        (36, BASE),
        (27, 8),
        (0x7fff_ffff, 0),
        (0x7fff_fffd, 0),
    ];
    let elf = read(builder.build());
    let dynamic = elf.dynamic.unwrap();
    assert_eq!(dynamic.flags_1, 0x0800_0001);
    assert!(dynamic.has_relative_table && dynamic.has_initialiser_array && dynamic.binds_now());
    assert_eq!((dynamic.filters.len(), dynamic.auxiliaries.len()), (1, 1));
    assert_eq!(elf.header.machine, Machine::Other(8));
}

#[test]
fn the_stack_may_have_no_flags() {
    let mut builder = Builder::new(true, false, X86_64);
    builder.stack_flags = None;
    assert_eq!(read(builder.build()).stack_flags, None);
    builder.stack_flags = Some(7);
    assert_eq!(read(builder.build()).stack_flags, Some(7));
}

/// Numbers as the processor supplements have them.
#[test]
fn relocations_have_the_class_of_their_machine() {
    use RelocationClass as C;
    for (machine, numbers) in [
        (
            Machine::X86_64,
            vec![
                (0, C::None),
                (1, C::Absolute),
                (5, C::Copy),
                (6, C::GlobalData),
                (7, C::JumpSlot),
                (8, C::Relative),
                (16, C::TlsModule),
                (17, C::TlsOffset),
                (18, C::TlsStatic),
                (36, C::TlsDescriptor),
                (37, C::IndirectRelative),
                (33, C::Size),
                (2, C::PcRelative),
                (9, C::Unsupported),
                (1026, C::Unsupported),
            ],
        ),
        (
            Machine::X86,
            vec![
                (1, C::Absolute),
                (2, C::PcRelative),
                (5, C::Copy),
                (6, C::GlobalData),
                (7, C::JumpSlot),
                (8, C::Relative),
                (14, C::TlsStatic),
                (35, C::TlsModule),
                (36, C::TlsOffset),
                (37, C::TlsStatic),
                (38, C::Size),
                (41, C::TlsDescriptor),
                (42, C::IndirectRelative),
                (3, C::Unsupported),
            ],
        ),
        (
            Machine::Aarch64,
            vec![
                (257, C::Absolute),
                (1024, C::Copy),
                (1025, C::GlobalData),
                (1026, C::JumpSlot),
                (1027, C::Relative),
                (1028, C::TlsModule),
                (1029, C::TlsOffset),
                (1030, C::TlsStatic),
                (1031, C::TlsDescriptor),
                (1032, C::IndirectRelative),
                (7, C::Unsupported),
            ],
        ),
        (
            Machine::Arm,
            vec![
                (2, C::Absolute),
                (13, C::TlsDescriptor),
                (17, C::TlsModule),
                (18, C::TlsOffset),
                (19, C::TlsStatic),
                (20, C::Copy),
                (21, C::GlobalData),
                (22, C::JumpSlot),
                (23, C::Relative),
                (160, C::IndirectRelative),
                (7, C::Unsupported),
            ],
        ),
        (
            Machine::RiscV,
            vec![
                (2, C::Absolute),
                (3, C::Relative),
                (4, C::Copy),
                (5, C::JumpSlot),
                (7, C::TlsModule),
                (9, C::TlsOffset),
                (11, C::TlsStatic),
                (12, C::TlsDescriptor),
                (58, C::IndirectRelative),
                (23, C::Unsupported),
            ],
        ),
        (Machine::Other(8), vec![(0, C::Unsupported), (3, C::Unsupported)]),
    ] {
        for (number, class) in numbers {
            assert_eq!(C::of(machine, number), class, "{machine:?} {number}");
        }
    }
}

#[test]
fn notes_of_two_alignments_share_a_segment() {
    let mut notes = elf_builder::Out::new(true, false);
    notes.note(b"GNU\0", 3, &[1; 20], 4);
    notes.note(b"GNU\0", 1, &[0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0], 4);
    let mut builder = Builder::new(true, false, X86_64);
    builder.properties = notes.bytes;
    let elf = read(builder.build());
    assert_eq!(elf.problems, [""; 0]);
    assert_eq!(elf.notes.build_id.as_deref(), Some(&[1; 20][..]));
    assert_eq!(elf.notes.abi_tag.unwrap().version, [3, 2, 1]);
}

#[test]
fn of_segments_that_overlap_the_last_one_counts() {
    let mut builder = Builder::new(true, false, X86_64);
    builder.interpreter = Some("x".to_owned());
    let mut bytes = builder.build();
    let patch = (64 + 56..64 + 2 * 56).step_by(8).collect::<Vec<_>>();
    // The segment of the interpreter becomes one that maps the file's second byte over its first.
    bytes[patch[0]..patch[0] + 8].copy_from_slice(&[1, 0, 0, 0, 4, 0, 0, 0]);
    for (field, value) in [(1, 1), (2, BASE), (4, 1_u64), (5, 1)] {
        bytes[patch[field]..patch[field] + 8].copy_from_slice(&value.to_le_bytes());
    }
    let elf = read(bytes);
    assert_eq!(elf.at(BASE, 1), Some(&b"E"[..]));
    assert_eq!(elf.at(BASE + 1, 3), Some(&b"ELF"[..]));
    assert_eq!(elf.at(BASE, 2), None);
}

/// Found by a generator of hostile files.
#[test]
fn program_headers_without_a_stride_are_not_repeated() {
    let mut bytes = Builder::full(true, false, X86_64, Hashes::Gnu).build();
    // `e_phentsize` and `e_phnum`.
    bytes[54..58].copy_from_slice(&[0, 0, 0xff, 0xff]);
    let elf = read(bytes);
    assert!(elf.segments.len() <= elf.bytes().len() / 56);
    assert!(!elf.problems.is_empty());
}

/// Found by a generator of hostile files.
#[test]
fn a_problem_is_told_once() {
    let mut bytes = Builder::full(true, false, X86_64, Hashes::Gnu).build();
    // So many segments that say that they are notes outside of the file.
    bytes.resize(64 * 1024, 0);
    let headers = 32 * 1024..64 * 1024;
    bytes[32..40].copy_from_slice(&(headers.start as u64).to_le_bytes());
    bytes[56..58].copy_from_slice(&500_u16.to_le_bytes());
    for header in bytes[headers].chunks_exact_mut(56) {
        header[..4].copy_from_slice(&4_u32.to_le_bytes());
        header[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    }
    let elf = read(bytes);
    assert_eq!((elf.segments.len(), elf.problems.len()), (500, 1));
}

#[test]
fn copies_of_text_are_never_longer_than_the_file() {
    let mut builder = Builder::new(true, false, X86_64);
    builder.soname = Some("s".repeat(10_000));
    builder.needed = vec!["n".to_owned()];
    // The name at 1 is a part of the name of this file, so each of these has nearly 10,000 bytes.
    builder.entries = (0..1000).map(|skip| (1, 4 + skip)).collect();
    let bytes = builder.build();
    let len = bytes.len();
    let elf = read(bytes);
    let kept: usize = elf.dynamic.unwrap().needed.iter().map(String::len).sum();
    assert!(kept > 0 && kept <= len + 4096, "{kept} of {len}");
    assert!(!elf.problems.is_empty());
}

#[test]
fn a_file_that_is_read_can_be_shared() {
    fn is_shared<T: Send + Sync + Clone>() {}
    is_shared::<Elf>();
}

fn own_program() -> Elf {
    let path = std::env::current_exe().unwrap();
    Elf::read(Bytes::from(std::fs::read(path).unwrap())).unwrap()
}

/// The libc that this test runs on.
fn own_libc() -> Elf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.lines().find_map(|line| {
        line.split_whitespace()
            .nth(5)
            .filter(|path| path.ends_with("/libc.so.6"))
    });
    Elf::read(Bytes::from(std::fs::read(path.unwrap()).unwrap())).unwrap()
}

#[test]
fn the_own_program_is_read() {
    let elf = own_program();
    assert_eq!(elf.problems, [""; 0]);
    let dynamic = elf.dynamic.as_ref().unwrap();
    assert!(elf.interpreter.as_ref().unwrap().contains("ld-"));
    assert!(dynamic.needed.contains(&"libc.so.6".to_owned()), "{:?}", dynamic.needed);
    assert!(elf.tls.is_some());
    assert_eq!(elf.stack_flags, Some(6));
    let (index, write) = elf.symbols().find(|(_, symbol)| symbol.name == b"write").unwrap();
    assert!(!write.is_defined());
    let version = elf.version(elf.version_of(index).unwrap().index()).unwrap();
    assert!(
        version.name.starts_with("GLIBC_2.") && !version.is_hidden,
        "{version:?}"
    );
    assert_eq!(version.file, Some("libc.so.6"));
    assert!(elf.relocations().any(|relocation| relocation.symbol == index));
    assert!(
        elf.relocations()
            .any(|relocation| relocation.class == RelocationClass::Relative)
    );
    assert!(
        elf.relocations()
            .all(|relocation| relocation.class != RelocationClass::Unsupported)
    );
}

#[test]
fn a_libc_is_read() {
    let elf = own_libc();
    assert_eq!(elf.problems, [""; 0]);
    let dynamic = elf.dynamic.as_ref().unwrap();
    assert_eq!(dynamic.soname.as_deref(), Some("libc.so.6"));
    assert!(
        elf.definitions
            .iter()
            .any(|definition| definition.name == "GLIBC_2.2.5" || definition.name == "GLIBC_2.17")
    );
    assert!(elf.notes.build_id.is_some() && elf.notes.abi_tag.is_some());
    let found: Vec<_> = elf.find(&Name::new(b"memcpy")).collect();
    assert!(
        found
            .iter()
            .all(|(_, symbol)| symbol.name == b"memcpy" && symbol.is_defined())
    );
    if elf.header.machine == Machine::X86_64 {
        let versions: Vec<_> = found
            .iter()
            .map(|(index, _)| elf.version_of(*index).unwrap())
            .map(|version| (elf.version(version.index()).unwrap().name, version.is_hidden()))
            .collect();
        assert_eq!(versions.len(), 2);
        assert!(versions.contains(&("GLIBC_2.14", false)) && versions.contains(&("GLIBC_2.2.5", true)));
        assert!(found.iter().any(|(_, symbol)| symbol.kind == SymbolKind::Ifunc));
        assert!(found.iter().all(|(_, symbol)| symbol.binding == Binding::Global));
    }
    assert_eq!(elf.find(&Name::new(b"no_such_function")).count(), 0);
    assert!(elf.symbol_count() > 2000);
    assert!(elf.relocations().any(|relocation| relocation.table == Table::Plt));
    assert!(elf.section(".dynsym").is_some() && elf.section(".nothing").is_none());
}
