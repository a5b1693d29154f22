//! glibc's loader: how it starts a program and opens a plugin.
//!
//! Source: `elf/rtld.c`, `elf/dl-open.c`, `elf/dl-load.c`, `elf/dl-deps.c`, `elf/dl-version.c`, `elf/dl-lookup.c`,
//! `elf/dl-reloc.c` of glibc 2.36 and 2.41; ld.so(8).

mod bind;
mod map;
mod order;
mod refusal;
mod search;
mod tokens;
mod verify;
mod versions;

use super::environment::{BindingTime, OpenMode, ScopeFlag};
use super::fault::Fault;
use super::object_id::ObjectId;
use super::process::Process;
use super::search::Wanted;

pub(super) use bind::find_for_dlsym;

/// The size and alignment of the area for restartable sequences (`rseq(2)`), on kernels of today.
const RSEQ_BYTES: u64 = 32;

/// Loads everything that the host needs at the start. The host and the interpreter are the first two objects already.
pub(super) fn start(process: &mut Process<'_>, faults: &mut Vec<Fault>) {
    let mut list = vec![0];
    faults.extend(search::variables_not_modelled(process));
    let preloads = super::search::preloads(process);
    let forbidden = preloads.forbidden.into_iter();
    faults.extend(forbidden.map(|library| super::search::preload_ignored(process, library)));
    for preloaded in preloads.wanted {
        match map::load(process, &Wanted::preload(&preloaded), Some(0), faults) {
            Some(id) if !list.contains(&id) => {
                process.objects[id].is_preloaded = true;
                list.push(id);
            }
            Some(_) => {}
            None => faults.push(super::search::preload_ignored(process, preloaded)),
        }
    }
    map::load_needed(process, &mut list, faults);
    process.start_with(list);
    versions::check(process, &process.global.clone(), faults);
    let startup: Vec<ObjectId> = (0..process.objects.len()).collect();
    let segments = startup
        .iter()
        .filter(|id| process.global.contains(id))
        .filter_map(|id| process.object(*id).elf.tls);
    // Since 2.41 the area that threads register for restartable sequences is behind the blocks of the start-up objects.
    let extra_bytes = if process.platform.is_since(2, 41) {
        RSEQ_BYTES
    } else {
        0
    };
    let below = super::machine::has_tls_below(process.platform.machine);
    let optional_bytes = search::tunable(process, search::OPTIONAL_STATIC_TLS);
    let optional_bytes = optional_bytes.unwrap_or(super::tls::OPTIONAL_BYTES);
    process.tls = super::tls::TlsBlock::of_startup(segments, below, extra_bytes, optional_bytes);
    for id in startup {
        process.objects[id].has_static_tls = true;
    }
    let now = search::binds_now(process);
    for id in order::sorted(process, &process.global.clone()).into_iter().rev() {
        bind::relocate(process, id, now, faults);
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
    let root = map::load(process, wanted, None, faults)?;
    if root < before && !process.object(root).scope.is_empty() {
        // It is there already: nothing is loaded, and only its scope may change.
        make_global(process, root, mode);
        return Some(root);
    }
    let mut list = vec![root];
    map::load_needed(process, &mut list, faults);
    process.objects[root].scope.clone_from(&list);
    versions::check(process, &list, faults);
    let now = mode.binding == BindingTime::Now || search::binds_now(process);
    for id in order::for_relocation(process, &list, before) {
        bind::relocate(process, id, now, faults);
    }
    make_global(process, root, mode);
    Some(root)
}

fn make_global(process: &mut Process<'_>, root: ObjectId, mode: OpenMode) {
    if mode.scope == ScopeFlag::Global {
        for id in process.object(root).scope.clone() {
            if !process.global.contains(&id) {
                process.global.push(id);
            }
        }
    }
}
