//! musl's loader: how it starts a program and opens a plugin.
//!
//! Source: `ldso/dynlink.c` of musl 1.2.5.

mod bind;
mod lfs64;
mod map;

use super::environment::{BindingTime, OpenMode, ScopeFlag};
use super::fault::{Fault, FaultKind};
use super::lookup::offered;
use super::machine;
use super::object_id::ObjectId;
use super::process::Process;
use super::search::Wanted;
use super::verdict::Phase;
use crate::facts::elf::{Name, SegmentKind};

pub(super) use bind::find_for_dlsym;

/// Loads everything that the host needs at the start. The host and the interpreter are the first two objects already.
///
/// It does not stop at the first library that is missing: all are told, then what is undefined.
pub(super) fn start(process: &mut Process<'_>, faults: &mut Vec<Fault>) {
    process.global = vec![0];
    let preloads = super::search::preloads(process);
    let forbidden = preloads.forbidden.into_iter();
    faults.extend(forbidden.map(|library| super::search::preload_ignored(process, library)));
    for preloaded in preloads.wanted {
        match map::load(process, &Wanted::preload(&preloaded), None, faults) {
            Some(id) => {
                process.objects[id].is_preloaded = true;
                process.objects[id].root = 0;
            }
            None => faults.push(super::search::preload_ignored(process, preloaded)),
        }
    }
    let mut next = 0;
    let mut order = load_order(process, 0);
    while let Some(id) = order.get(next).copied() {
        next += 1;
        map::load_needed(process, id, faults);
        order = load_order(process, 0);
    }
    process.start_with(order);
    for id in 0..process.objects.len() {
        process.objects[id].has_static_tls = true;
    }
    for id in process.global.clone() {
        bind::relocate(process, id, faults);
    }
}

/// Opens one plugin; what was loaded for it stays only if nothing stopped it.
pub(super) fn open(
    process: &mut Process<'_>,
    wanted: &Wanted<'_>,
    mode: OpenMode,
    faults: &mut Vec<Fault>,
) -> Option<ObjectId> {
    let before = process.objects.len();
    // The host counts as what needs a plugin.
    let root = map::load(process, wanted, Some(0), faults)?;
    let is_there = root < before;
    if !is_there {
        map::load_needed(process, root, faults);
        let mut next = before + 1;
        while next < process.objects.len() {
            map::load_needed(process, next, faults);
            next += 1;
        }
    }
    let list = process.with_needed(root);
    process.objects[root].scope.clone_from(&list);
    let global_before = process.global.clone();
    for id in &list {
        if !process.global.contains(id) {
            process.global.push(*id);
        }
    }
    let lazy = mode.binding == BindingTime::Lazy;
    for id in before..process.objects.len() {
        let binds_now = process
            .object(id)
            .elf
            .dynamic
            .as_ref()
            .is_some_and(|dynamic| dynamic.binds_now());
        process.objects[id].is_lazy = lazy && !binds_now && list.contains(&id);
    }
    for id in before..process.objects.len() {
        bind::relocate(process, id, faults);
    }
    if mode.scope == ScopeFlag::Local {
        process.global = global_before;
    }
    faults.extend(bound_too_late(process, before));
    Some(root)
}

/// What crashes when references are bound that were left unbound by an earlier `RTLD_LAZY` (`redo_lazy_relocs`): those outside of the
/// table of functions, where memory is read-only by now (`PT_GNU_RELRO`), once somebody has brought what they name.
fn bound_too_late(process: &Process<'_>, before: ObjectId) -> Option<Fault> {
    let is_defined = |symbol: &str| {
        let name = Name::new(symbol.as_bytes());
        let mut new = process.global.iter().filter(|id| **id >= before);
        new.any(|id| offered(&process.object(*id).elf, &name).is_some())
    };
    process.objects[..before].iter().find_map(|object| {
        let is_read_only = |offset: u64| {
            let page = |address: u64| address & !(machine::PAGE_BYTES - 1);
            let mut protected = object
                .elf
                .segments
                .iter()
                .filter(|segment| segment.kind == SegmentKind::Relro);
            protected.any(|segment| {
                let end = page(segment.address.saturating_add(segment.memory_size));
                (page(segment.address)..end).contains(&offset)
            })
        };
        let crashes = object.deferred.iter().any(|fault| match &fault.kind {
            FaultKind::SymbolMissing { symbol, offset, .. } => is_read_only(*offset) && is_defined(&symbol.name),
            _ => false,
        });
        crashes.then(|| Fault {
            kind: FaultKind::BoundTooLate,
            object: object.name.clone(),
            phase: Phase::Load,
            message: None,
            stops: true,
        })
    })
}

/// The start-up objects in the order in which they were loaded; the interpreter only once something needs it.
fn load_order(process: &Process<'_>, host: ObjectId) -> Vec<ObjectId> {
    let mut order = vec![host];
    let is_needed = |id: ObjectId| process.objects.iter().any(|object| object.needed.contains(&id));
    let mut rest: Vec<ObjectId> = (1..process.objects.len())
        .filter(|id| Some(*id) != process.interpreter || is_needed(*id))
        .collect();
    if let Some(interpreter) = process.interpreter
        && let Some(place) = process.interpreter_place
    {
        // It joins the list where it was needed first.
        rest.retain(|id| *id != interpreter);
        let at = rest.iter().position(|id| *id >= place).unwrap_or(rest.len());
        rest.insert(at, interpreter);
    }
    order.extend(rest);
    order
}
