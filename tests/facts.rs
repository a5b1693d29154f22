//! What was built with what: files are compiled here, in ways that are known, and read back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use lockstep::facts::Elf;
use lockstep::facts::comment::{self, ToolKind};
use lockstep::facts::libc::Family;
use lockstep::facts::rust::{Allocator, Panic};
use lockstep::facts::{cxx, libc, rust};
use tempfile::TempDir;

#[test]
fn a_rust_library_tells_its_compiler_its_panics_and_its_allocator() {
    let directory = TempDir::new().unwrap();
    let source = r#"
        #[unsafe(no_mangle)] pub extern "C" fn greet(number: i32) -> i32 {
            if number > 3 { panic!("{number}") } else { println!("{number}"); number }
        }"#;
    let own_allocator = include_str!("facts/allocator.rs");
    let (version, commit) = own_rustc();
    for (source, flags, panic, allocator) in [
        (source, &[][..], Panic::Unwind, Some(Allocator::System)),
        (source, &["-Cpanic=abort"][..], Panic::Abort, Some(Allocator::System)),
        (own_allocator, &[][..], Panic::Unwind, Some(Allocator::Custom)),
        // Both look alike then.
        (source, &["-Clto=fat"][..], Panic::Unwind, None),
        (own_allocator, &["-Clto=fat"][..], Panic::Unwind, None),
    ] {
        let path = directory.path().join("lib.so");
        fs::write(directory.path().join("lib.rs"), source).unwrap();
        let arguments = ["--edition=2024", "--crate-type=cdylib", "-O", "-olib.so", "lib.rs"];
        run(directory.path(), "rustc", &[&arguments[..], flags].concat());
        let elf = read(&path);
        let whole = rust::read(&elf).unwrap();
        assert!(whole.compilers[0].text.contains(&version), "{:?}", whole.compilers);
        assert_eq!(whole.panic, Some(panic));
        assert_eq!(whole.allocator, allocator, "{flags:?}");
        assert_eq!(whole.linked_std.is_some(), allocator.is_some(), "{flags:?}");
        assert!(whole.shared_std.is_none());
        if let Some(short) = &whole.compilers[0].commit {
            assert!(commit.starts_with(short.as_str()));
        }
        assert!(comment::tools(&elf).iter().any(|tool| tool.kind == ToolKind::Rustc));
        assert!(elf.linker_symbols().is_some());

        run(directory.path(), "strip", &["-s", "lib.so"]);
        let elf = read(&path);
        assert!(elf.linker_symbols().is_none());
        let stripped = rust::read(&elf).unwrap();
        assert_eq!(stripped.panic, Some(panic), "{flags:?}");
        assert_eq!((stripped.allocator, stripped.linked_std), (None, None));
        assert_eq!(stripped.commits, whole.commits);
        // A distribution's own compiler may have other paths, but the project's own releases have this one.
        if stripped.source_releases.is_empty() {
            assert_eq!(stripped.commits, [commit.as_str()]);
        }
    }
}

#[test]
fn a_rust_library_may_share_its_standard_library() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("lib.rs"), "pub fn greet() { println!(\"x\") }").unwrap();
    let arguments = ["--crate-type=dylib", "-Cprefer-dynamic", "-olib.so", "lib.rs"];
    run(directory.path(), "rustc", &arguments);
    let elf = read(&directory.path().join("lib.so"));
    let needed = elf.dynamic.as_ref().unwrap().needed[0].clone();
    let rust = rust::read(&elf).unwrap();
    assert_eq!(needed, format!("libstd-{}.so", rust.shared_std.unwrap()));
    assert_eq!((rust.panic, rust.linked_std), (None, None));
}

#[test]
fn a_cxx_library_tells_its_strings_and_its_classes() {
    let directory = TempDir::new().unwrap();
    let source = r"
        #include <string>
        struct Base { virtual ~Base(); virtual int one(); virtual int two(); };
        Base::~Base() {}
        int Base::one() { return 1; }
        int Base::two() { return 2; }
        int needed(const std::string &);
        int given(const std::string &text) { return needed(text); }";
    fs::write(directory.path().join("lib.cpp"), source).unwrap();
    for (is_old, flag) in [
        (false, "-D_GLIBCXX_USE_CXX11_ABI=1"),
        (true, "-D_GLIBCXX_USE_CXX11_ABI=0"),
    ] {
        run(
            directory.path(),
            "g++",
            &["-shared", "-fPIC", "-O2", flag, "-olib.so", "lib.cpp"],
        );
        let elf = read(&directory.path().join("lib.so"));
        let cxx = cxx::read(&elf).unwrap();
        assert!(cxx.uses_libstdcxx && !cxx.uses_libcxx);
        for strings in [cxx.imported_strings, cxx.exported_strings] {
            assert_eq!((strings.old, strings.new), (is_old, !is_old), "{flag}");
        }
        // Two destructors, two functions, the type and the offset: six words.
        assert_eq!(
            cxx.virtual_tables,
            [("_ZTV4Base".to_owned(), 6 * size_of::<usize>() as u64)]
        );
        assert_eq!(cxx.type_count, 1);
        assert!(cxx.needs_cxxabi.unwrap().starts_with("CXXABI_1.3"));
        assert!(rust::read(&elf).is_none());
        assert!(
            comment::tools(&elf)
                .iter()
                .any(|tool| tool.kind == ToolKind::Gcc && tool.version.is_some())
        );
    }
}

#[test]
fn a_c_library_is_neither() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("lib.c"), "int one(void) { return 1; }").unwrap();
    run(directory.path(), "gcc", &["-shared", "-fPIC", "-olib.so", "lib.c"]);
    let elf = read(&directory.path().join("lib.so"));
    assert_eq!((rust::read(&elf), cxx::read(&elf)), (None, None));
}

#[test]
fn a_c_library_tells_its_family_and_its_version() {
    let own = read(&std::env::current_exe().unwrap());
    let (family, witnesses) = libc::family_of(&own).unwrap();
    assert_eq!(family, Family::Glibc);
    assert!(witnesses[0].starts_with("starts with /lib"), "{witnesses:?}");
    assert!(witnesses.iter().any(|witness| witness.contains("libc.so.6")));

    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let path = paths.find(|path| path.ends_with("/libc.so.6")).unwrap();
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let version = libc::version_of(&read(Path::new(path))).unwrap();
    assert_eq!(said.trim(), format!("glibc {version}"));

    let directory = TempDir::new().unwrap();
    let source = r"
        extern int __strcpy_chk(char *, const char *, unsigned long);
        int checked(char *to, const char *from) { return __strcpy_chk(to, from, 8); }";
    fs::write(directory.path().join("lib.c"), source).unwrap();
    for (arguments, expected) in [
        (&["-DNOTHING"][..], Some("needs libc.so.6")),
        (&["-nostdlib"][..], Some("calls __strcpy_chk")),
        (&["-nostdlib", "-D__strcpy_chk=other"][..], None),
    ] {
        let fixed = ["-shared", "-fPIC", "-fno-builtin", "-w", "-olib.so", "lib.c"];
        run(directory.path(), "gcc", &[&fixed[..], arguments].concat());
        let found = libc::family_of(&read(&directory.path().join("lib.so")));
        let witness = found.map(|(_, witnesses)| witnesses[0].clone());
        assert_eq!(witness.is_some(), expected.is_some(), "{arguments:?}: {witness:?}");
        assert!(
            witness.unwrap_or_default().starts_with(expected.unwrap_or_default()),
            "{arguments:?}"
        );
    }
}

/// What the compiler says of itself: its line in `.comment` begins so, and its commit.
fn own_rustc() -> (String, String) {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let release = text.lines().find_map(|line| line.strip_prefix("release: ")).unwrap();
    let commit = text
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .unwrap();
    (format!("rustc version {release}"), commit.to_owned())
}

fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn read(path: &Path) -> Elf {
    Elf::read(Bytes::from(fs::read(path).unwrap())).unwrap()
}
