//! Libraries that are taken from what is loaded, though the search would have found another file.

use super::fault::{Fault, FaultKind};
use super::object_id::ObjectId;
use super::process::Process;
use super::search::Wanted;
use crate::rootfs::Found;

/// Notes that a plugin gets the library that is loaded as `id`, and not the one at `own`, if they are not the same bytes.
pub(super) fn shadowed(
    process: &Process<'_>,
    wanted: &Wanted<'_>,
    parent: Option<ObjectId>,
    id: ObjectId,
    (path, own): (&str, &Found),
) -> Option<Fault> {
    let loaded = process.object(id);
    if loaded.file == own.id || Some(id) == process.interpreter {
        return None;
    }
    let other = process.root.object(own)?.ok()?;
    // Two copies of one file are no difference, and a file of another machine is none that would be taken.
    if other.header.machine != loaded.elf.header.machine || other.bytes() == loaded.elf.bytes() {
        return None;
    }
    let asking = parent.map_or_else(|| wanted.name.to_owned(), |parent| process.object(parent).name.clone());
    let kind = FaultKind::LibraryShadowed {
        library: wanted.name.to_owned(),
        loaded: loaded.name.clone(),
        own: path.to_owned(),
    };
    Some(Fault::silent(kind, &asking))
}
