//! What a loader meets when it loads an object, in the order in which it meets it. No judgement yet: rules make findings of it.

use super::secure::{Gain, NoStart};
use super::user::Obstacle;
use super::verdict::Phase;
use crate::facts::elf::SymbolKind;

/// One thing that a loader stops at, or passes over in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// What it is.
    pub kind: FaultKind,
    /// How messages call the object that it is in.
    pub object: String,
    /// When it happens.
    pub phase: Phase,
    /// The loader's words; none where it says nothing.
    pub message: Option<String>,
    /// Whether the loader stops there.
    pub stops: bool,
}

impl Fault {
    /// Whether it is about one reference, which matters to those who call what refers.
    pub(super) fn is_of_a_call(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::SymbolMissing { .. }
                | FaultKind::BoundToOld { .. }
                | FaultKind::Interposed { .. }
                | FaultKind::KindChanged { .. }
                | FaultKind::SymbolVersionIgnored { .. }
                | FaultKind::VersionIgnored { .. }
                | FaultKind::WeakTlsUndefined { .. }
        )
    }

    /// What concerns no symbol and stops nothing.
    pub(super) fn aside(kind: FaultKind, object: &str) -> Self {
        Self {
            phase: Phase::None,
            ..Self::silent(kind, object)
        }
    }

    /// What a loader passes over in silence, and what may show when something is called.
    pub(super) fn silent(kind: FaultKind, object: &str) -> Self {
        Self {
            kind,
            object: object.to_owned(),
            phase: Phase::Call,
            message: None,
            stops: false,
        }
    }
}

/// Why a symbol that is bound to another object's definition may be as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excuse {
    /// The other object has, as far as can be told, a copy of what its own is made of.
    Copy,
    /// The host, the plugin and the library that asks are all of the distribution's packages.
    Packaged,
}

/// A symbol as a message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SymbolName {
    /// The name in the file.
    pub name: String,
    /// The version that is asked for.
    pub version: Option<String>,
}

/// A file that a search came upon and did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skipped {
    /// Its path.
    pub path: String,
    /// Why; none where only the loader's cache knows of it, and nothing is there.
    pub why: Option<String>,
}

/// Kinds of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The program's interpreter is not in the image.
    InterpreterMissing {
        /// Its path.
        interpreter: String,
        /// Whether something is there, but no program.
        is_there: bool,
    },
    /// The host is not what the kernel starts.
    NotStartable {
        /// Why, for people.
        why: Rejection,
    },
    /// The host, or its interpreter, may not be executed.
    NotExecutable {
        /// Which file.
        file: String,
        /// By whom; none if nobody may.
        user: Option<String>,
        /// The file or the directory that keeps it from that.
        obstacle: Obstacle,
    },
    /// The interpreter that is where the host names it is of another machine.
    OtherLoader {
        /// The host's machine.
        machine: String,
        /// The interpreter's.
        loader: String,
    },
    /// The file that was to be opened is not there, or no file.
    CannotOpen,
    /// The file that was to be opened may not be read.
    Denied {
        /// By whom.
        user: String,
        /// The file or the directory that keeps it from that.
        obstacle: Obstacle,
    },
    /// What is opened or executed may not be read or executed by everybody, and nobody said who the host runs as.
    MayBeDenied {
        /// The file or the directory that keeps others from that.
        obstacle: Obstacle,
    },
    /// The file is not what the loader loads.
    NotLoadable {
        /// Why, for people.
        why: Rejection,
    },
    /// The file is shorter than its segments say.
    Truncated {
        /// Where its last segment should end, in bytes.
        end: u64,
        /// The length of the file in bytes.
        len: u64,
    },
    /// A library that is needed is not found.
    LibraryMissing {
        /// Its name as `DT_NEEDED` has it.
        library: String,
        /// The directories that were searched.
        searched: Vec<String>,
        /// What was found there and not taken.
        skipped: Vec<Skipped>,
    },
    /// A version that is needed of a library is not defined by it.
    VersionMissing {
        /// The version.
        version: String,
        /// The library's path.
        provider: String,
    },
    /// A version that is needed is not defined by the library, and the loader does not look.
    VersionIgnored {
        /// The version.
        version: String,
        /// The library's path.
        provider: String,
    },
    /// A symbol is defined nowhere.
    SymbolMissing {
        /// The symbol.
        symbol: SymbolName,
        /// What it is, as far as the reference tells.
        kind: SymbolKind,
        /// A definition that was passed over, and why.
        passed_over: Option<String>,
        /// Where in the object the reference is (`r_offset`).
        offset: u64,
    },
    /// A symbol is bound to a definition that is not the one that the object was linked against.
    BoundToOld {
        /// The symbol.
        symbol: SymbolName,
        /// The version that it is bound to.
        bound: String,
        /// The version that is the default.
        default: String,
        /// The library.
        provider: String,
    },
    /// A symbol that the object defines itself, or that a library of its own defines, is bound to what an earlier plugin brought.
    Interposed {
        /// The symbol.
        symbol: String,
        /// What it is.
        kind: SymbolKind,
        /// The object that it is bound to.
        provider: String,
        /// The object whose definition it would have been.
        own: String,
        /// What the object that it is bound to is to the host.
        by: Interposer,
        /// Why it may be as it should.
        excuse: Option<Excuse>,
    },
    /// A symbol is bound to something of another kind: a function to data, data to thread-local storage.
    KindChanged {
        /// The symbol.
        symbol: String,
        /// What the reference expects.
        expected: SymbolKind,
        /// What is there.
        found: SymbolKind,
        /// The object that defines it.
        provider: String,
    },
    /// There is no room for an object's thread-local storage in the static block (glibc).
    StaticTlsFull {
        /// The size of the segment in bytes.
        size: u64,
        /// What is left in bytes.
        free: u64,
    },
    /// Thread-local storage with a fixed offset belongs to an object that was opened (musl).
    StaticTlsOpened {
        /// The symbol; none if the access has none.
        symbol: Option<String>,
        /// The object that defines it.
        provider: String,
    },
    /// A kind of relocation that the loader does not know.
    RelocationUnsupported {
        /// The machine's number.
        kind: u32,
        /// Where in the object it is (`r_offset`).
        offset: u64,
    },
    /// The object asks for an executable stack, and the process has none.
    ExecutableStack {
        /// Whether it asks by having no `PT_GNU_STACK`.
        by_absence: bool,
    },
    /// The object needs a processor of a higher level (`x86-64-v2` is 2).
    ProcessorLevel {
        /// The level that the note asks for.
        level: u8,
    },
    /// The loader itself crashes.
    LoaderCrash {
        /// Why, for people.
        why: String,
    },
    /// The object says that it must not be opened, and the loader does not look (musl).
    NoOpenIgnored,
    /// A program was opened as a library, and its thread-local storage is the host's (musl).
    ProgramAsLibrary,
    /// The file is of another machine, and the loader does not look.
    OtherMachine {
        /// What it is of.
        machine: String,
    },
    /// Which file is loaded depends on the processor.
    ProcessorDependent {
        /// The library.
        library: String,
        /// Where it is.
        path: String,
    },
    /// A weak thread-local variable that nobody defines (glibc).
    WeakTlsUndefined {
        /// The symbol.
        symbol: String,
    },
    /// A symbol is bound to another version than the one that is asked for, by a loader that does not look (musl).
    SymbolVersionIgnored {
        /// The symbol.
        symbol: String,
        /// The version that is asked for.
        asked: String,
        /// The version that it is bound to.
        bound: String,
        /// The library.
        provider: String,
    },
    /// A copy relocation of data that has become larger.
    CopiedDataGrew {
        /// The symbol.
        symbol: String,
        /// The size of the copy in bytes.
        own: u64,
        /// The library.
        provider: String,
        /// The size in the library in bytes.
        size: u64,
    },
    /// A library is taken from what is loaded, though the search would have found another file.
    LibraryShadowed {
        /// Its name as `DT_NEEDED` has it.
        library: String,
        /// What is loaded.
        loaded: String,
        /// What the search finds.
        own: String,
    },
    /// Bytes of the file header that say that it is not for this loader, which does not look (musl).
    HeaderIgnored {
        /// What they say, for people.
        what: String,
    },
    /// Packed relative relocations without the mark that glibc asks for.
    RelativeRelocationsUnmarked,
    /// Packed relative relocations that the loader does not know and does not apply.
    RelativeRelocationsIgnored {
        /// The C library with its release.
        by: String,
    },
    /// A reference that was left unbound is bound now, in memory that is read-only by now: musl's loader crashes.
    BoundTooLate,
    /// A library that was to be preloaded, and is not.
    PreloadIgnored {
        /// Its name or path, as it was given.
        library: String,
        /// What the host is given, if that is why.
        gain: Option<Gain>,
    },
    /// The kernel does not start the host, because of what the file is to be given.
    RightsRefused {
        /// Why.
        why: NoStart,
    },
    /// A name in `DT_NEEDED` has a token, which the loader does not replace in secure-execution mode (glibc).
    TokenForbidden {
        /// The name.
        library: String,
    },
    /// A feature that is not modelled: the answer is not known.
    NotModelled {
        /// What.
        what: String,
    },
}

impl FaultKind {
    /// Whether it is known what the loader says: who opens a pipe waits, and a device may have bytes or not.
    pub(super) fn has_fixed_words(&self) -> bool {
        !matches!(
            self,
            Self::NotLoadable {
                why: Rejection::Special
            }
        )
    }
}

/// Whose definition comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interposer {
    /// The host's.
    Host,
    /// That of a library that the host started with.
    HostLibrary,
    /// That of another plugin, or of a library that one brought.
    Plugin,
    /// Whoever came first: there is one in a process (`STB_GNU_UNIQUE`).
    Unique,
}

/// Why a loader does not take a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rejection {
    /// Fewer bytes than a file header.
    TooShort,
    /// A directory.
    Directory,
    /// A pipe, a device or a socket.
    Special,
    /// No magic number.
    Magic([u8; 4]),
    /// The other class.
    Class,
    /// The other order of bytes.
    Data,
    /// `EI_VERSION` or `e_version`.
    Version,
    /// `EI_OSABI` or the ABI version, or padding that is not null.
    Osabi,
    /// Another machine.
    Machine(String),
    /// Neither a shared object nor a program.
    Kind,
    /// A library where a program is started.
    Library,
    /// A program.
    Program,
    /// `DF_1_NOOPEN`.
    NoOpen,
    /// Program headers of another size.
    ProgramHeaders,
    /// No `PT_DYNAMIC`.
    NoDynamicSection,
    /// No `PT_LOAD`.
    NoSegments,
    /// Segments that no loader can map.
    Alignment,
    /// Its addresses are taken.
    AddressesTaken,
}
