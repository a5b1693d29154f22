//! What musl takes for a library, where it looks for one, and loading what an object needs (`load_library`, `map_library`,
//! `path_open`, `fixup_rpath`).

use std::cell::OnceCell;
use std::sync::Arc;

use super::super::fault::{Fault, FaultKind, Rejection, Skipped};
use super::super::machine;
use super::super::object_id::ObjectId;
use super::super::process::{Loaded, Process};
use super::super::search::{Wanted, absolute, denied, denied_in_search, may_be_denied, why_rejected};
use super::super::shadow::shadowed;
use super::super::truncation;
use super::super::verdict::Phase;
use crate::facts::elf::{Class, Data, Dynamic, Elf, Layout, Machine, Name, ObjectKind, SegmentKind, Unreadable};
use crate::rootfs::{FileKind, Found, LookError};

/// Names that musl takes for itself when they follow `lib`; each ends at its dot.
const RESERVED: [&str; 7] = ["c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];
/// More objects than any process loads.
const OBJECTS_LIMIT_COUNT: usize = 65_536;
/// How long a chain of needing objects is followed.
const CHAIN_LIMIT_COUNT: usize = 1024;
/// `NAME_MAX`.
const NAME_LIMIT_BYTES: usize = 255;

/// Whether musl takes a library's name for its own.
#[must_use]
pub(super) fn is_reserved(name: &str) -> bool {
    name.strip_prefix("lib")
        .is_some_and(|rest| RESERVED.iter().any(|reserved| rest.starts_with(reserved)))
}

/// Loads one object, or finds that it is there; what it needs is not loaded yet.
pub(super) fn load(
    process: &mut Process<'_>,
    wanted: &Wanted<'_>,
    parent: Option<ObjectId>,
    faults: &mut Vec<Fault>,
) -> Option<ObjectId> {
    let name = wanted.name;
    if (is_reserved(name) && wanted.at.is_none()) || name == process.platform.interpreter {
        return own(process);
    }
    let (path, at, found) = if wanted.is_path() {
        let at = wanted.at.map_or_else(|| absolute(process, name), str::to_owned);
        let looked = process.root.look(&at);
        if let Ok(found) = &looked
            && let Some(kind) = denied(process, found)
        {
            let fault = fault_of(process, wanted, parent, kind, "Permission denied");
            faults.extend((!wanted.is_optional).then_some(fault));
            return None;
        }
        match looked {
            Ok(found) => (name.to_owned(), at, found),
            Err(error) => {
                faults.extend(not_found(process, wanted, parent, errno(error), Missed::default()));
                return None;
            }
        }
    } else {
        if let Some(id) = process.known_as(name) {
            if wanted.plugin.is_some()
                && let Some((path, found)) = search(process, name, parent, &mut Missed::default())
            {
                faults.extend(shadowed(process, wanted, parent, id, (&path, &found)));
            }
            return Some(id);
        }
        if name.len() > NAME_LIMIT_BYTES {
            faults.extend(not_found(
                process,
                wanted,
                parent,
                "File name too long",
                Missed::default(),
            ));
            return None;
        }
        let mut missed = Missed::default();
        if process.paths.is_denied {
            missed.errno = errno(LookError::Denied);
        }
        let Some((path, found)) = search(process, name, parent, &mut missed) else {
            faults.extend(not_found(process, wanted, parent, missed.errno, missed));
            return None;
        };
        let at = absolute(process, &path);
        (path, at, found)
    };
    let was_searched = !wanted.is_path();
    if let Some(id) = process.loaded_from(found.id) {
        let object = process.object(id);
        if was_searched && object.names.is_empty() {
            let short = object.short().to_owned();
            process.also_known_as(id, &short);
        }
        return Some(id);
    }
    let elf = match take(process, &found) {
        Ok(elf) => elf,
        Err((why, errno)) => {
            let why = why_rejected(process, &found, why);
            let mut fault = refused(process, wanted, parent, why, errno);
            if was_searched {
                fault.object = path;
            }
            faults.extend((!wanted.is_optional).then_some(fault));
            return None;
        }
    };
    if is_libc(&elf) {
        // A second C library is never mapped beside the first: it is taken for the first.
        return own(process);
    }
    if process.objects.len() >= OBJECTS_LIMIT_COUNT {
        return None;
    }
    note(process, &elf, &path, wanted, faults);
    faults.extend(may_be_denied(process, &path, &found));
    let id = process.objects.len();
    let short = path.rsplit('/').next().unwrap_or(&path).to_owned();
    Some(process.add(Loaded {
        name: path,
        path: at,
        file: found.id,
        elf,
        names: if was_searched { vec![short] } else { vec![] },
        parent,
        needed: vec![],
        root: match parent {
            Some(parent) if !wanted.is_opened => process.object(parent).root,
            _ => id,
        },
        scope: vec![],
        has_static_tls: false,
        is_preloaded: false,
        is_in_startup_scope: false,
        brought_by: wanted.plugin,
        is_lazy: false,
        deferred: vec![],
        linked: OnceCell::new(),
    }))
}

/// Loads what one object needs.
pub(super) fn load_needed(process: &mut Process<'_>, id: ObjectId, faults: &mut Vec<Fault>) {
    let object = process.object(id);
    let brought_by = object.brought_by;
    let Some(dynamic) = &object.elf.dynamic else { return };
    // The loader needs nothing, whatever its file says.
    if Some(id) == process.interpreter {
        return;
    }
    for name in dynamic.needed.clone() {
        let library = load(process, &Wanted::needed(&name, brought_by), Some(id), faults);
        if let Some(library) = library
            && !process.objects[id].needed.contains(&library)
        {
            process.objects[id].needed.push(library);
        }
    }
}

/// The loader itself, which is also the C library.
fn own(process: &mut Process<'_>) -> Option<ObjectId> {
    if process.interpreter_place.is_none() {
        process.interpreter_place = Some(process.objects.len());
    }
    process.interpreter
}

/// Where a library was looked for in vain.
struct Missed {
    searched: Vec<String>,
    skipped: Vec<Skipped>,
    /// What the last attempt came to.
    errno: &'static str,
}

impl Default for Missed {
    fn default() -> Self {
        Self {
            searched: vec![],
            skipped: vec![],
            errno: errno(LookError::NotFound),
        }
    }
}

/// The library path of the environment, then what the chain of needing objects says, then the loader's own directories.
fn search(process: &Process<'_>, name: &str, parent: Option<ObjectId>, missed: &mut Missed) -> Option<(String, Found)> {
    let mut open = |path: &str| open_in(process, path, name, missed);
    if let Some(path) = process.trusted_variable("LD_LIBRARY_PATH")
        && let Some(found) = open(path)
    {
        return Some(found);
    }
    let mut chain = parent;
    for _ in 0..CHAIN_LIMIT_COUNT {
        let Some(id) = chain else { break };
        if let Some(path) = run_path(process, id)
            && let Some(found) = open(&path)
        {
            return Some(found);
        }
        chain = process.object(id).parent;
    }
    open(&process.paths.defaults.join(":"))
}

/// The first file of a name in the directories of a path; colons and line ends separate, and empty elements mean nothing.
fn open_in(process: &Process<'_>, path: &str, name: &str, missed: &mut Missed) -> Option<(String, Found)> {
    path.split([':', '\n'])
        .filter(|directory| !directory.is_empty())
        .find_map(|directory| {
            let candidate = format!("{directory}/{name}");
            let error = match process.root.look(&absolute(process, &candidate)) {
                Ok(found) => match denied_in_search(process, &candidate, &found) {
                    None => return Some((candidate, found)),
                    Some(skipped) => {
                        missed.skipped.push(skipped);
                        LookError::Denied
                    }
                },
                Err(error) => error,
            };
            missed.searched.push(directory.to_owned());
            missed.errno = errno(error);
            None
        })
}

/// `DT_RUNPATH`, or else `DT_RPATH`, with `$ORIGIN` replaced; any other token makes all of it void, and in secure-execution mode
/// `$ORIGIN` does in the program, whose place whoever starts it may have chosen, and in what was found by a relative path.
fn run_path(process: &Process<'_>, id: ObjectId) -> Option<String> {
    let object = process.object(id);
    let dynamic = object.elf.dynamic.as_ref()?;
    let path = dynamic.runpath.as_ref().or(dynamic.rpath.as_ref())?;
    let mut expanded = String::new();
    let mut rest = path.as_str();
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        let token = ["$ORIGIN", "${ORIGIN}"]
            .into_iter()
            .find(|token| rest.starts_with(token))?;
        if process.is_secure() && (id == 0 || !object.name.starts_with('/')) {
            return None;
        }
        expanded.push_str(object.origin());
        rest = &rest[token.len()..];
    }
    expanded.push_str(rest);
    Some(expanded)
}

/// Whether musl maps a file; if not, why, and the `errno` of it.
fn take(process: &Process<'_>, found: &Found) -> Result<Arc<Elf>, (Rejection, &'static str)> {
    const NOEXEC: &str = "Exec format error";
    if found.kind == FileKind::Directory {
        return Err((Rejection::Directory, "Is a directory"));
    }
    let layout = process.platform.layout;
    let read = match process.root.object(found) {
        Some(Ok(elf)) if elf.header.layout == layout => Ok(elf),
        // Neither the magic number nor the class is looked at: the bytes are taken as the loader's own layout has them.
        _ => match process.root.bytes(found, u64::MAX) {
            Some(bytes) => Elf::read_as(bytes, layout).map(Arc::new),
            None => Err(Unreadable::TooShort { len: 0 }),
        },
    };
    let Ok(elf) = read else {
        return Err((Rejection::TooShort, NOEXEC));
    };
    if !matches!(elf.header.kind, ObjectKind::Shared | ObjectKind::Executable) {
        return Err((Rejection::Kind, NOEXEC));
    }
    if truncation::cuts_program_headers(&elf) {
        return Err((Rejection::ProgramHeaders, NOEXEC));
    }
    if !elf.segments.iter().any(|segment| segment.kind == SegmentKind::Dynamic) {
        return Err((Rejection::NoDynamicSection, NOEXEC));
    }
    if !elf.segments.iter().any(|segment| segment.kind == SegmentKind::Load) {
        return Err((Rejection::NoSegments, "Out of memory"));
    }
    if elf.header.kind == ObjectKind::Executable && process.objects.iter().any(|object| overlaps(&object.elf, &elf)) {
        return Err((Rejection::AddressesTaken, "Resource busy"));
    }
    Ok(elf)
}

/// Whether two programs with fixed addresses want the same ones.
fn overlaps(one: &Elf, other: &Elf) -> bool {
    let range = |elf: &Elf| {
        let loads = elf.segments.iter().filter(|segment| segment.kind == SegmentKind::Load);
        let start = loads.clone().map(|segment| segment.address).min()?;
        let end = loads
            .map(|segment| segment.address.saturating_add(segment.memory_size))
            .max()?;
        Some((start, end))
    };
    if one.header.kind != ObjectKind::Executable {
        return false;
    }
    matches!((range(one), range(other)), (Some((a, b)), Some((c, d))) if a < d && c < b)
}

/// Whether a file is a C library, by the two symbols that musl tells one by.
fn is_libc(elf: &Elf) -> bool {
    ["__libc_start_main", "stdin"].iter().all(|name| {
        elf.find(&Name::new(name.as_bytes()))
            .any(|(_, symbol)| symbol.is_defined())
    })
}

/// What musl maps without a word, though something is wrong with it.
fn note(process: &Process<'_>, elf: &Elf, path: &str, wanted: &Wanted<'_>, faults: &mut Vec<Fault>) {
    let phase = if wanted.plugin.is_some() {
        Phase::Load
    } else {
        Phase::Exec
    };
    let push = |faults: &mut Vec<Fault>, kind: FaultKind, phase: Phase, stops: bool| {
        faults.push(Fault {
            kind,
            object: path.to_owned(),
            phase,
            message: None,
            stops,
        });
    };
    if let Some(fault) = truncation::fault(elf, path, phase) {
        faults.push(fault);
        return;
    }
    if elf.header.machine != process.platform.machine {
        let kind = FaultKind::OtherMachine {
            machine: machine::name(elf.header.machine),
        };
        push(faults, kind, Phase::Call, false);
    } else if let Some(what) = ignored(process, elf) {
        push(
            faults,
            FaultKind::HeaderIgnored { what: what.to_owned() },
            Phase::Call,
            false,
        );
    }
    let mut loads = elf.segments.iter().filter(|segment| segment.kind == SegmentKind::Load);
    if loads.any(|segment| segment.address.wrapping_sub(segment.offset) & (machine::PAGE_BYTES - 1) != 0) {
        let why = "a segment's address and its place in the file differ in their place in a page, and musl maps other bytes there";
        push(faults, FaultKind::LoaderCrash { why: why.to_owned() }, phase, true);
    }
    let Some(dynamic) = &elf.dynamic else { return };
    if !dynamic.has_gnu_hash && !dynamic.has_sysv_hash {
        let why = "it has neither DT_HASH nor DT_GNU_HASH, and musl follows the pointer all the same";
        push(faults, FaultKind::LoaderCrash { why: why.to_owned() }, phase, true);
    }
    let is_program = elf.header.kind == ObjectKind::Executable || dynamic.is_program();
    if is_program {
        push(faults, FaultKind::ProgramAsLibrary, Phase::Call, false);
    }
    if wanted.plugin.is_none() {
        return;
    }
    if dynamic.flags_1 & Dynamic::NOOPEN_1 != 0 {
        push(faults, FaultKind::NoOpenIgnored, Phase::Call, false);
    }
    let is_executable = |flags: Option<u32>| flags.is_none_or(|flags| flags & 1 != 0);
    if is_executable(elf.stack_flags) && !is_executable(process.object(0).elf.stack_flags) {
        let kind = FaultKind::ExecutableStack {
            by_absence: elf.stack_flags.is_none(),
        };
        push(faults, kind, Phase::Call, false);
    }
    let needed = elf
        .notes
        .properties
        .and_then(|properties| properties.isa_needed)
        .unwrap_or(0);
    if process.platform.machine == Machine::X86_64 && needed & !1 != 0 {
        let level = u8::try_from(u32::BITS - needed.leading_zeros()).unwrap_or(u8::MAX);
        push(faults, FaultKind::ProcessorLevel { level }, Phase::Call, false);
    }
}

/// What the identification says that musl does not look at.
fn ignored(process: &Process<'_>, elf: &Elf) -> Option<&'static str> {
    let ident = &elf.header.ident;
    let Layout { class, data } = process.platform.layout;
    let class = if class == Class::Elf64 { 2 } else { 1 };
    let data = if data == Data::Little { 1 } else { 2 };
    if ident[4] != class {
        Some("marked as of another class (32 or 64 bits)")
    } else if ident[5] != data {
        Some("marked as of another order of bytes")
    } else if ident[7] != 0 && ident[7] != 3 {
        Some("marked as for another system (EI_OSABI)")
    } else {
        None
    }
}

fn not_found(
    process: &Process<'_>,
    wanted: &Wanted<'_>,
    parent: Option<ObjectId>,
    errno: &str,
    missed: Missed,
) -> Option<Fault> {
    if wanted.is_optional {
        return None;
    }
    let kind = if wanted.is_opened {
        FaultKind::CannotOpen
    } else {
        FaultKind::LibraryMissing {
            library: wanted.name.to_owned(),
            searched: missed.searched,
            skipped: missed.skipped,
        }
    };
    Some(fault_of(process, wanted, parent, kind, errno))
}

fn refused(process: &Process<'_>, wanted: &Wanted<'_>, parent: Option<ObjectId>, why: Rejection, errno: &str) -> Fault {
    fault_of(process, wanted, parent, FaultKind::NotLoadable { why }, errno)
}

fn fault_of(
    process: &Process<'_>,
    wanted: &Wanted<'_>,
    parent: Option<ObjectId>,
    kind: FaultKind,
    errno: &str,
) -> Fault {
    let needed_by = parent
        .filter(|_| !wanted.is_opened)
        .map(|parent| process.object(parent).name.clone());
    let message = match &needed_by {
        Some(parent) => format!(
            "Error loading shared library {}: {errno} (needed by {parent})",
            wanted.name
        ),
        None => format!("Error loading shared library {}: {errno}", wanted.name),
    };
    let message = kind.has_fixed_words().then_some(message);
    Fault {
        kind,
        object: needed_by.unwrap_or_else(|| wanted.name.to_owned()),
        phase: if wanted.plugin.is_some() {
            Phase::Load
        } else {
            Phase::Exec
        },
        message,
        stops: true,
    }
}

/// `strerror(3)` of musl for what a path came to.
fn errno(error: LookError) -> &'static str {
    match error {
        LookError::NotFound => "No such file or directory",
        LookError::NotADirectory => "Not a directory",
        LookError::Denied => "Permission denied",
        LookError::Loop => "Symbolic link loop",
        LookError::NameTooLong => "Filename too long",
    }
}
