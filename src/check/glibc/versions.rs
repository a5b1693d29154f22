//! The versions that objects need of each other (`_dl_check_map_versions` in `elf/dl-version.c`): looked at once for each pair
//! of objects, before any symbol.

use super::super::fault::{Fault, FaultKind};
use super::super::object_id::ObjectId;
use super::super::process::{Loaded, Process};
use super::super::verdict::Phase;
use super::map::loaded_under;

/// Checks the version needs of objects, in load order.
pub(super) fn check(process: &Process<'_>, objects: &[ObjectId], faults: &mut Vec<Fault>) {
    for id in objects {
        check_object(process, *id, faults);
    }
}

fn check_object(process: &Process<'_>, id: ObjectId, faults: &mut Vec<Fault>) {
    let object = process.object(id);
    let host = &process.object(0).name;
    let phase = if object.is_startup() { Phase::Exec } else { Phase::Load };
    let in_words = |message: String| {
        if object.is_startup() {
            format!("{host}: {message}")
        } else {
            message
        }
    };
    if is_unmarked(process, object) {
        let words = format!("{}: DT_RELR without GLIBC_ABI_DT_RELR dependency", object.name);
        faults.push(Fault {
            kind: FaultKind::RelativeRelocationsUnmarked,
            object: object.name.clone(),
            phase,
            message: Some(in_words(words)),
            stops: true,
        });
    }
    for need in &object.elf.needs {
        // What is missing altogether has been told already.
        let Some(provider) = loaded_under(process, &need.file) else {
            continue;
        };
        let provider = process.object(provider);
        // A library without any versions is taken to be an older build of the same, and passes.
        if provider.elf.definitions.is_empty() {
            continue;
        }
        for version in &need.versions {
            let defined = provider
                .elf
                .definitions
                .iter()
                .any(|definition| definition.hash == version.hash && definition.name == version.name);
            if defined || version.is_weak() {
                continue;
            }
            let words = format!("version `{}' not found (required by {})", version.name, object.name);
            let message = in_words(format!("{}: {words}", provider.name));
            faults.push(Fault {
                kind: FaultKind::VersionMissing {
                    version: version.name.clone(),
                    provider: provider.name.clone(),
                },
                object: object.name.clone(),
                phase,
                message: Some(message),
                stops: true,
            });
        }
    }
}

/// Whether an object has packed relative relocations, needs the C library and versions, and not the version that says so.
fn is_unmarked(process: &Process<'_>, object: &Loaded) -> bool {
    const MARK: &str = "GLIBC_ABI_DT_RELR";
    let Some(dynamic) = &object.elf.dynamic else {
        return false;
    };
    let needs_libc = dynamic.needed.iter().any(|name| name.starts_with("libc.so."));
    let mut versions = object.elf.needs.iter().flat_map(|need| &need.versions);
    dynamic.has_relative_table
        && needs_libc
        && !object.elf.needs.is_empty()
        && process.platform.is_since(2, 36)
        && !versions.any(|version| version.name == MARK)
}
