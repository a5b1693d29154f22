//! What glibc takes for a library (`open_verify`).

use std::sync::Arc;

use super::super::machine;
use super::super::process::Process;
use super::super::truncation;
use super::refusal::Refusal;
use crate::facts::elf::{Class, Elf, ObjectKind, Unreadable};
use crate::rootfs::{FileKind, Found};

/// Whether glibc takes a file for this process.
pub(super) fn verify(process: &Process<'_>, found: &Found) -> Result<Arc<Elf>, Refusal> {
    let layout = process.platform.layout;
    if found.kind == FileKind::Directory {
        return Err(Refusal::Directory);
    }
    if found.len < file_header_bytes(layout.class) {
        return Err(Refusal::TooShort);
    }
    let elf = match process.root.object(found).ok_or(Refusal::TooShort)? {
        Ok(elf) => elf,
        Err(Unreadable::TooShort { .. }) => return Err(Refusal::TooShort),
        Err(Unreadable::Magic { head }) => return Err(Refusal::Magic(head)),
        Err(Unreadable::Class { .. }) => return Err(Refusal::Class),
        Err(Unreadable::Data { .. }) => return Err(Refusal::Data),
    };
    let header = &elf.header;
    let ident = &header.ident;
    let (osabi, abi_version) = (ident[7], ident[8]);
    let refusal = if header.layout.class != layout.class {
        Some(Refusal::Class)
    } else if header.layout.data != layout.data {
        Some(Refusal::Data)
    } else if ident[6] != 1 {
        Some(Refusal::IdentVersion)
    } else if osabi != 0 && osabi != 3 {
        Some(Refusal::Osabi)
    } else if abi_version != 0 && !(osabi == 3 && abi_version < 4) {
        Some(Refusal::AbiVersion)
    } else if ident[9..].iter().any(|byte| *byte != 0) {
        Some(Refusal::Padding)
    } else if header.version != 1 {
        Some(Refusal::Version)
    } else if header.machine != process.platform.machine {
        Some(Refusal::Machine(machine::name(header.machine)))
    } else if !matches!(header.kind, ObjectKind::Shared | ObjectKind::Executable) {
        Some(Refusal::Kind)
    } else if header.program_header_size != program_header_bytes(layout.class) {
        Some(Refusal::ProgramHeaderSize)
    } else if truncation::cuts_program_headers(&elf) {
        Some(Refusal::ProgramHeadersCut)
    } else {
        None
    };
    match refusal {
        Some(refusal) => Err(refusal),
        None => Ok(elf),
    }
}

fn file_header_bytes(class: Class) -> u64 {
    match class {
        Class::Elf32 => 52,
        Class::Elf64 => 64,
    }
}

fn program_header_bytes(class: Class) -> u16 {
    match class {
        Class::Elf32 => 32,
        Class::Elf64 => 56,
    }
}
