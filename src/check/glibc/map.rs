//! What glibc takes for a library, and loading one with all that it needs (`open_verify`, `_dl_map_object_from_fd`,
//! `_dl_map_object_deps`).

use std::cell::OnceCell;

use super::super::fault::{Fault, FaultKind, Rejection};
use super::super::machine;
use super::super::object_id::ObjectId;
use super::super::process::{Loaded, Process};
use super::super::search::{Wanted, absolute, denied, may_be_denied, why_rejected};
use super::super::shadow::shadowed;
use super::super::truncation;
use super::super::verdict::Phase;
use super::refusal::Refusal;
use super::search::{Search, has_own_paths, search};
use super::tokens::{expand_tokens, has_token};
use super::verify::verify;
use crate::facts::elf::{Dynamic, Elf, Machine, ObjectKind, SegmentKind};
use crate::rootfs::LookError;

/// More objects than any process loads.
pub(super) const OBJECTS_LIMIT_COUNT: usize = 65_536;

/// Another file than what is loaded as `id`, which a search would have found.
fn passed_over(
    process: &mut Process<'_>,
    wanted: &Wanted<'_>,
    parent: Option<ObjectId>,
    id: ObjectId,
) -> Option<Fault> {
    let is_for_everybody = !has_own_paths(process, parent);
    if is_for_everybody && process.unshadowed.get(wanted.name) == Some(&id) {
        return None;
    }
    let Search::Found(path, found) = search(process, wanted, parent, &mut vec![]) else {
        return None;
    };
    let fault = shadowed(process, wanted, parent, id, (&path, &found));
    if is_for_everybody && fault.is_none() {
        process.unshadowed.insert(wanted.name.to_owned(), id);
    }
    fault
}

/// Loads one object, or finds that it is there; what it needs is not loaded yet.
pub(super) fn load(
    process: &mut Process<'_>,
    wanted: &Wanted<'_>,
    parent: Option<ObjectId>,
    faults: &mut Vec<Fault>,
) -> Option<ObjectId> {
    if let Some(id) = loaded_under(process, wanted.key()) {
        if wanted.plugin.is_some() && !wanted.is_path() {
            faults.extend(passed_over(process, wanted, parent, id));
        }
        return Some(id);
    }
    let mut fail = |kind: FaultKind, message: String| {
        if !wanted.is_optional {
            faults.push(stop(process, parent, wanted, kind, message));
        }
    };
    let (path, found) = if wanted.is_path() {
        let expanded = parent.map_or_else(
            || Some(wanted.name.to_owned()),
            |parent| expand_tokens(process, wanted.name, parent, |_| ()),
        );
        let path = expanded.unwrap_or_default();
        let at = wanted.at.map_or_else(|| absolute(process, &path), str::to_owned);
        let looked = process.root.look(&at);
        if let Ok(found) = &looked
            && let Some(kind) = denied(process, found)
        {
            let message = format!("{path}: cannot open shared object file: Permission denied");
            fail(kind, message);
            return None;
        }
        match looked {
            Ok(found) => match verify(process, &found) {
                Ok(_) => (path, found),
                Err(refusal) => {
                    let words = refusal.words(process.platform.layout.class);
                    let why = why_rejected(process, &found, refusal.rejection());
                    let kind = FaultKind::NotLoadable { why };
                    fail(kind, format!("{path}: {words}"));
                    return None;
                }
            },
            Err(error) => {
                let message = format!("{path}: cannot open shared object file: {}", errno(error));
                let kind = if wanted.is_opened {
                    FaultKind::CannotOpen
                } else {
                    missing(wanted, vec![], vec![])
                };
                fail(kind, message);
                return None;
            }
        }
    } else {
        let mut noted = vec![];
        let end = search(process, wanted, parent, &mut noted);
        match end {
            Search::Found(path, found) => {
                faults.append(&mut noted);
                (path, found)
            }
            Search::NotFound {
                searched,
                skipped,
                other_class,
                is_denied,
            } => {
                let words = if other_class {
                    Refusal::Class.words(process.platform.layout.class)
                } else if has_no_defaults(process, parent) && searched.iter().all(|it| is_known_absent(process, it)) {
                    "cannot open shared object file"
                } else if is_denied {
                    "cannot open shared object file: Permission denied"
                } else {
                    "cannot open shared object file: No such file or directory"
                };
                fail(missing(wanted, searched, skipped), format!("{}: {words}", wanted.name));
                return None;
            }
            Search::Stopped(..) if wanted.is_optional => return None,
            Search::Stopped(path, found, refusal) => {
                let words = refusal.words(process.platform.layout.class);
                let kind = FaultKind::NotLoadable {
                    why: why_rejected(process, &found, refusal.rejection()),
                };
                let mut fault = stop(process, parent, wanted, kind, format!("{path}: {words}"));
                fault.object = path;
                faults.push(fault);
                return None;
            }
        }
    };
    if let Some(id) = process.loaded_from(found.id) {
        process.also_known_as(id, wanted.key());
        return Some(id);
    }
    let elf = verify(process, &found).ok()?;
    if process.objects.len() >= OBJECTS_LIMIT_COUNT {
        return None;
    }
    let mut met = vec![];
    map_checks(process, &elf, &path, wanted, parent, &mut met);
    // What is told is passed over; a signal is not.
    let is_told = |fault: &Fault| fault.stops && fault.message.is_some();
    if wanted.is_optional && met.iter().any(is_told) {
        return None;
    }
    faults.append(&mut met);
    faults.extend(may_be_denied(process, &path, &found));
    let id = process.objects.len();
    let mut names = vec![];
    remember(&mut names, wanted.key());
    if wanted.at.is_none() {
        remember(&mut names, &path);
    }
    if let Some(soname) = elf.dynamic.as_ref().and_then(|dynamic| dynamic.soname.as_deref()) {
        remember(&mut names, soname);
    }
    let root = match parent {
        Some(parent) => process.object(parent).root,
        None => id,
    };
    let at = wanted.at.map_or_else(|| absolute(process, &path), str::to_owned);
    Some(process.add(Loaded {
        name: path,
        path: at,
        file: found.id,
        elf,
        names,
        parent,
        needed: vec![],
        root,
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

/// Loads what the objects of a list need, breadth first, and appends it to the list.
pub(super) fn load_needed(process: &mut Process<'_>, list: &mut Vec<ObjectId>, faults: &mut Vec<Fault>) {
    let mut next = 0;
    while let Some(id) = list.get(next).copied() {
        next += 1;
        let object = process.object(id);
        let brought_by = list.first().and_then(|first| process.object(*first).brought_by);
        let Some(dynamic) = object.elf.dynamic.clone() else {
            continue;
        };
        let filtered = dynamic.filters.iter().map(|name| (name, false));
        let auxiliary = dynamic.auxiliaries.iter().map(|name| (name, true));
        let needed = dynamic.needed.iter().map(|name| (name, false));
        for (name, is_optional) in filtered.chain(auxiliary).chain(needed) {
            let mut wanted = Wanted::needed(name, brought_by);
            wanted.is_optional = is_optional;
            if process.is_secure() && has_token(name) {
                let library = name.clone();
                let message = format!("{name}: DST not allowed in SUID/SGID programs");
                let kind = FaultKind::TokenForbidden { library };
                faults.push(stop(process, Some(id), &wanted, kind, message));
                continue;
            }
            if let Some(library) = load(process, &wanted, Some(id), faults) {
                if !process.objects[id].needed.contains(&library) {
                    process.objects[id].needed.push(library);
                }
                if !list.contains(&library) {
                    list.push(library);
                }
            }
        }
    }
}

/// The object that answers to a name (`_dl_name_match_p`, then the `DT_SONAME`).
pub(super) fn loaded_under(process: &Process<'_>, name: &str) -> Option<ObjectId> {
    process.known_as(name)
}

/// What is refused once the file is being mapped, in the loader's order.
fn map_checks(
    process: &Process<'_>,
    elf: &Elf,
    path: &str,
    wanted: &Wanted<'_>,
    parent: Option<ObjectId>,
    faults: &mut Vec<Fault>,
) {
    let push = |faults: &mut Vec<Fault>, kind: FaultKind, words: &str| {
        let mut fault = stop(process, parent, wanted, kind, format!("{}: {words}", wanted.name));
        fault.object = path.to_owned();
        faults.push(fault);
    };
    if let Some(fault) = truncation::fault(elf, path, phase_of(wanted)) {
        let is_deadly = fault.stops;
        faults.push(fault);
        if is_deadly {
            return;
        }
    }
    let no = |why: Rejection| FaultKind::NotLoadable { why };
    let flags_1 = elf.dynamic.as_ref().map_or(0, |dynamic| dynamic.flags_1);
    let loads: Vec<_> = elf
        .segments
        .iter()
        .filter(|segment| segment.kind == SegmentKind::Load)
        .collect();
    for segment in &loads {
        let own = segment.align.max(1);
        if !process.platform.is_since(2, 36) && segment.align & (machine::PAGE_BYTES - 1) != 0 {
            push(
                faults,
                no(Rejection::Alignment),
                "ELF load command alignment not page-aligned",
            );
        } else if own.is_power_of_two() && segment.address.wrapping_sub(segment.offset) & (own - 1) != 0 {
            push(
                faults,
                no(Rejection::Alignment),
                "ELF load command address/offset not properly aligned",
            );
        } else if segment.address.wrapping_sub(segment.offset) & (machine::PAGE_BYTES - 1) != 0 {
            push(
                faults,
                no(Rejection::Alignment),
                "ELF load command address/offset not page-aligned",
            );
        }
    }
    if loads.is_empty() {
        push(
            faults,
            no(Rejection::NoSegments),
            "object file has no loadable segments",
        );
    } else if elf.header.kind == ObjectKind::Executable {
        push(faults, no(Rejection::Program), "cannot dynamically load executable");
    } else if elf.dynamic.is_none() {
        push(
            faults,
            no(Rejection::NoDynamicSection),
            "object file has no dynamic section",
        );
    }
    if flags_1 & Dynamic::PIE_1 != 0 {
        push(
            faults,
            no(Rejection::Program),
            "cannot dynamically load position-independent executable",
        );
    } else if flags_1 & Dynamic::NOOPEN_1 != 0 && wanted.plugin.is_some() {
        push(faults, no(Rejection::NoOpen), "shared object cannot be dlopen()ed");
    }
    let needed = elf
        .notes
        .properties
        .and_then(|properties| properties.isa_needed)
        .unwrap_or(0);
    let host = process
        .objects
        .first()
        .and_then(|host| host.elf.notes.properties?.isa_needed)
        .unwrap_or(0);
    if process.platform.machine == Machine::X86_64 && needed & !1 > host | 1 && wanted.plugin.is_some() {
        let level = (u32::BITS - needed.leading_zeros()).min(u32::from(u8::MAX));
        let exists = level <= 4;
        let kind = FaultKind::ProcessorLevel {
            level: u8::try_from(level).unwrap_or(u8::MAX),
        };
        let words = "CPU ISA level is lower than required";
        let mut fault = stop(process, parent, wanted, kind, format!("{}: {words}", wanted.name));
        fault.object = path.to_owned();
        fault.stops = !exists;
        faults.push(fault);
    }
    let is_executable = |flags: Option<u32>| flags.is_none_or(|flags| flags & 1 != 0);
    let host = process.objects.first().map(|host| host.elf.stack_flags);
    if is_executable(elf.stack_flags) && host.is_some_and(|host| !is_executable(host)) && wanted.plugin.is_some() {
        let stops = process.platform.is_since(2, 41);
        let kind = FaultKind::ExecutableStack {
            by_absence: elf.stack_flags.is_none(),
        };
        let words = "cannot enable executable stack as shared object requires: Invalid argument";
        let mut fault = stop(process, parent, wanted, kind, format!("{}: {words}", wanted.name));
        fault.object = path.to_owned();
        if !stops {
            fault.stops = false;
            fault.message = None;
            fault.phase = Phase::None;
        }
        faults.push(fault);
    }
}

/// Whether the loader knows since the host started that a directory is not there: what it does not ask again gives no reason.
fn is_known_absent(process: &Process<'_>, directory: &str) -> bool {
    let path = process.trusted_variable("LD_LIBRARY_PATH").unwrap_or_default();
    let is_of_start = path.split([':', ';']).any(|element| element == directory);
    is_of_start && process.root.look(&absolute(process, directory)).is_err()
}

fn has_no_defaults(process: &Process<'_>, parent: Option<ObjectId>) -> bool {
    parent.is_some_and(|parent| {
        let dynamic = process.object(parent).elf.dynamic.as_ref();
        dynamic.is_some_and(|dynamic| dynamic.flags_1 & Dynamic::NODEFLIB_1 != 0)
    })
}

fn missing(wanted: &Wanted<'_>, searched: Vec<String>, skipped: Vec<super::super::fault::Skipped>) -> FaultKind {
    FaultKind::LibraryMissing {
        library: wanted.name.to_owned(),
        searched,
        skipped,
    }
}

/// A fault that ends the load. At the start of a program, the loader says so in a sentence of its own.
fn stop(
    process: &Process<'_>,
    parent: Option<ObjectId>,
    wanted: &Wanted<'_>,
    kind: FaultKind,
    message: String,
) -> Fault {
    let object = parent.map_or_else(|| wanted.name.to_owned(), |parent| process.object(parent).name.clone());
    let message = match wanted.plugin {
        Some(_) => message,
        None => {
            let host = process.objects.first().map_or("", |host| host.name.as_str());
            format!("{host}: error while loading shared libraries: {message}")
        }
    };
    let message = kind.has_fixed_words().then_some(message);
    Fault {
        kind,
        object,
        phase: phase_of(wanted),
        message,
        stops: true,
    }
}

fn phase_of(wanted: &Wanted<'_>) -> Phase {
    if wanted.plugin.is_some() {
        Phase::Load
    } else {
        Phase::Exec
    }
}

fn remember(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// `strerror(3)` of what a path came to.
pub(super) fn errno(error: LookError) -> &'static str {
    match error {
        LookError::NotFound => "No such file or directory",
        LookError::NotADirectory => "Not a directory",
        LookError::Denied => "Permission denied",
        LookError::Loop => "Too many levels of symbolic links",
        LookError::NameTooLong => "File name too long",
    }
}
