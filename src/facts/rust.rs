//! What a file tells of the Rust in it: compiler, standard library, panics, allocator, crates.
//!
//! A stripped file tells less. What is not visible is none, never a guess.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::ZlibDecoder;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::comment::{self, ToolKind};
use super::elf::{Elf, Symbol, SymbolKind};

/// Constants are searched so far and no further, so that a program of any size is told about at once.
const SCAN_LIMIT_BYTES: usize = 24 << 20;
/// A file with two standard libraries has two commits; nothing has more than this.
const COMMIT_LIMIT_COUNT: usize = 8;
/// `.dep-v0` is not decompressed further.
const CRATES_LIMIT_BYTES: u64 = 4 << 20;

/// What is visible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rust {
    /// The compilers that `.comment` names; more than one if what is linked in came from another.
    pub compilers: Vec<Rustc>,
    /// The commits of the compiler, 40 digits, in paths of the standard library's sources.
    pub commits: Vec<String>,
    /// The releases in paths of a distribution's sources (`/usr/src/rustc-1.85.1`).
    pub source_releases: Vec<String>,
    /// The hash in `libstd-<hash>.so`, if the standard library is shared.
    pub shared_std: Option<String>,
    /// The hash of the standard library's crate that is linked in.
    pub linked_std: Option<String>,
    /// What a panic does.
    pub panic: Option<Panic>,
    /// Who allocates.
    pub allocator: Option<Allocator>,
    /// The crates that cargo-auditable recorded.
    pub crates: Option<Vec<Crate>>,
}

/// A compiler, as `.comment` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rustc {
    /// The release: `1.85.1`, `1.94.0-nightly`.
    pub version: String,
    /// The first digits of the commit.
    pub commit: Option<String>,
    /// The day of the commit.
    pub date: Option<String>,
    /// The whole line.
    pub text: String,
}

/// What a panic does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Panic {
    /// It unwinds the stack.
    Unwind,
    /// It ends the process.
    Abort,
}

/// Who allocates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allocator {
    /// The C library's `malloc`: Rust's default.
    System,
    /// jemalloc.
    Jemalloc,
    /// mimalloc.
    Mimalloc,
    /// Some `#[global_allocator]`.
    Custom,
}

/// A crate that cargo-auditable recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it came from, as recorded: a registry's name, `git`, `local`.
    #[serde(default)]
    pub source: String,
    /// Whether it is the crate that was built.
    #[serde(default)]
    pub root: bool,
}

/// What is visible of Rust in a file; none if nothing is.
#[must_use]
pub fn read(elf: &Elf) -> Option<Rust> {
    let linker = LinkerNames::read(elf);
    let constants = Constants::read(elf);
    let rust = Rust {
        compilers: compilers(elf),
        shared_std: elf.dynamic.as_ref().and_then(|dynamic| {
            dynamic
                .needed
                .iter()
                .find_map(|name| Some(name.strip_prefix("libstd-")?.strip_suffix(".so")?.to_owned()))
        }),
        linked_std: linker.as_ref().and_then(|names| names.std_hash.clone()),
        panic: panic(linker.as_ref(), &constants),
        allocator: linker.as_ref().and_then(LinkerNames::allocator),
        crates: elf.section(".dep-v0").and_then(crates),
        commits: constants.commits.into_iter().collect(),
        source_releases: constants.source_releases.into_iter().collect(),
    };
    let is_rust = rust != Rust::default() || elf.symbols().any(|(_, symbol)| is_rust_name(symbol.name));
    is_rust.then_some(rust)
}

/// Each rustc line of `.comment`.
fn compilers(elf: &Elf) -> Vec<Rustc> {
    let tools = comment::tools(elf)
        .into_iter()
        .filter(|tool| tool.kind == ToolKind::Rustc);
    tools.filter_map(|tool| Rustc::parse(tool.text)).collect()
}

impl Rustc {
    fn parse(text: String) -> Option<Self> {
        let rest = text.strip_prefix("rustc version ")?;
        let (version, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let inside = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (commit, date) = inside.and_then(|(inside, _)| inside.split_once(' ')).unzip();
        Some(Self {
            version: version.to_owned(),
            commit: commit.map(ToOwned::to_owned),
            date: date.map(ToOwned::to_owned),
            text,
        })
    }
}

/// The symbols of the linker tell which runtime is linked in, and a constant tells it when they are gone.
fn panic(linker: Option<&LinkerNames>, constants: &Constants) -> Option<Panic> {
    match linker.map(|names| (names.has_panic_unwind, names.has_panic_abort)) {
        Some((true, false)) => Some(Panic::Unwind),
        Some((false, true)) => Some(Panic::Abort),
        _ if !constants.has_panics => None,
        _ if constants.has_rethrow => Some(Panic::Unwind),
        _ if constants.is_cut => None,
        _ => Some(Panic::Abort),
    }
}

/// What `.symtab` has.
#[derive(Debug, Default)]
struct LinkerNames {
    std_hash: Option<String>,
    has_panic_unwind: bool,
    has_panic_abort: bool,
    has_rust_alloc: bool,
    has_rust_dealloc: bool,
    has_default_alloc: bool,
    has_jemalloc: bool,
    has_mimalloc: bool,
}

impl LinkerNames {
    fn read(elf: &Elf) -> Option<Self> {
        let mut names = Self::default();
        for symbol in elf.linker_symbols()? {
            names.add(&symbol);
        }
        Some(names)
    }

    fn add(&mut self, symbol: &Symbol<'_>) {
        if symbol.kind == SymbolKind::File {
            self.has_panic_unwind |= symbol.name.starts_with(b"panic_unwind.");
            self.has_panic_abort |= symbol.name.starts_with(b"panic_abort.");
            if let (None, Some(rest)) = (&self.std_hash, symbol.name.strip_prefix(b"std.")) {
                let hash = rest.split(|byte| *byte == b'-').next().unwrap_or_default();
                let is_hash = (8..=16).contains(&hash.len()) && hash.iter().all(u8::is_ascii_hexdigit);
                self.std_hash = is_hash.then(|| String::from_utf8_lossy(hash).into_owned());
            }
        } else if symbol.is_defined() {
            // The mangled form ends in the same words: `_RNvCsfLfy6EI15iL_7___rustc11___rdl_alloc`.
            let is_one_of = |names: [&[u8]; 4]| names.iter().any(|name| symbol.name.ends_with(name));
            self.has_rust_alloc |= is_one_of([
                b"__rust_alloc",
                b"__rust_realloc",
                b"__rust_alloc_zeroed",
                b"__rust_dealloc",
            ]);
            self.has_rust_dealloc |= symbol.name.ends_with(b"__rust_dealloc");
            self.has_default_alloc |= is_one_of([
                b"__rdl_alloc",
                b"__rdl_realloc",
                b"__rdl_alloc_zeroed",
                b"__rdl_dealloc",
            ]);
            self.has_jemalloc |=
                [&b"je_malloc"[..], b"_rjem_malloc", b"_rjem_je_malloc_default"].contains(&symbol.name);
            self.has_mimalloc |= [&b"mi_malloc"[..], b"_mi_malloc_generic"].contains(&symbol.name);
        }
    }

    /// Link-time optimisation may put the default allocator's functions into those that call it, but then the function that
    /// frees, which does nothing else, is gone first: a file that has it, and nothing of the default, has another allocator.
    fn allocator(&self) -> Option<Allocator> {
        match self {
            Self {
                has_default_alloc: true,
                ..
            } => Some(Allocator::System),
            Self {
                has_rust_alloc: true,
                has_jemalloc: true,
                ..
            } => Some(Allocator::Jemalloc),
            Self {
                has_rust_alloc: true,
                has_mimalloc: true,
                ..
            } => Some(Allocator::Mimalloc),
            Self {
                has_rust_dealloc: true, ..
            } => Some(Allocator::Custom),
            _ => None,
        }
    }
}

/// What the constants have, which stay when a file is stripped.
#[derive(Debug, Default)]
struct Constants {
    commits: BTreeSet<String>,
    source_releases: BTreeSet<String>,
    /// Whether the standard library's panics are linked in.
    has_panics: bool,
    /// Whether what unwinding alone needs is linked in too.
    has_rethrow: bool,
    /// Whether there was more than was searched.
    is_cut: bool,
}

impl Constants {
    fn read(elf: &Elf) -> Self {
        let mut found = Self::default();
        let mut left = SCAN_LIMIT_BYTES;
        for bytes in elf.constants() {
            found.is_cut |= bytes.len() > left;
            let bytes = bytes.get(..left).unwrap_or(bytes);
            left -= bytes.len();
            for start in memmem::find_iter(bytes, b"/rustc/") {
                let commit = bytes.get(start + 7..start + 47).unwrap_or_default();
                if commit.len() == 40 && commit.iter().all(u8::is_ascii_hexdigit) {
                    found.commits.insert(String::from_utf8_lossy(commit).into_owned());
                }
                if found.commits.len() == COMMIT_LIMIT_COUNT {
                    break;
                }
            }
            for start in memmem::find_iter(bytes, b"/usr/src/rustc-") {
                let rest = bytes.get(start + 15..).unwrap_or_default();
                let release: Vec<u8> = rest.iter().copied().take(24).take_while(|byte| *byte != b'/').collect();
                if release.first().is_some_and(u8::is_ascii_digit) && release.len() < 24 {
                    found
                        .source_releases
                        .insert(String::from_utf8_lossy(&release).into_owned());
                }
                if found.source_releases.len() == COMMIT_LIMIT_COUNT {
                    break;
                }
            }
            found.has_panics |= memmem::find(bytes, b"thread panicked while processing panic").is_some();
            found.has_rethrow |= memmem::find(bytes, b"Rust panics must be rethrown").is_some();
        }
        found
    }
}

/// Whether only rustc gives such a name: `_R…`, or `_ZN…17h<16 digits>E`.
fn is_rust_name(name: &[u8]) -> bool {
    if name == b"rust_eh_personality" || name.starts_with(b"_RNv") || name.starts_with(b"_RIN") {
        return true;
    }
    let hash = name.strip_prefix(b"_ZN").and_then(|rest| rest.strip_suffix(b"E"));
    hash.and_then(|rest| rest.split_at_checked(rest.len().checked_sub(19)?))
        .and_then(|(_, hash)| hash.strip_prefix(b"17h"))
        .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// cargo-auditable's record.
fn crates(section: &[u8]) -> Option<Vec<Crate>> {
    #[derive(Deserialize)]
    struct Record {
        packages: Vec<Crate>,
    }
    let record: Record = serde_json::from_reader(ZlibDecoder::new(section).take(CRATES_LIMIT_BYTES)).ok()?;
    Some(record.packages)
}
