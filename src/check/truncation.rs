//! Files that are shorter than their headers say: pages behind the end of a mapped file raise `SIGBUS` when they are touched
//! (mmap(2)).

use super::fault::{Fault, FaultKind};
use super::machine;
use super::verdict::Phase;
use crate::facts::elf::{Elf, SegmentKind};

/// `PF_W`.
const WRITABLE: u32 = 2;

/// Whether the file ends inside its program headers.
#[must_use]
pub(super) fn cuts_program_headers(elf: &Elf) -> bool {
    let header = &elf.header;
    let size = u64::from(header.program_header_size) * u64::from(header.program_header_count);
    header
        .program_headers_offset
        .checked_add(size)
        .is_none_or(|end| end > elf.bytes().len() as u64)
}

/// The fault of a file that ends inside a segment. The loader touches what it reads itself (the dynamic section and its tables)
/// and what it writes: the last page of a writable segment, whose end it fills with zeros.
#[must_use]
pub(super) fn fault(elf: &Elf, path: &str, phase: Phase) -> Option<Fault> {
    let len = elf.bytes().len() as u64;
    let covered = len.div_ceil(machine::PAGE_BYTES) * machine::PAGE_BYTES;
    let cut = elf
        .segments
        .iter()
        .filter(|segment| segment.kind == SegmentKind::Load && segment.file_size > 0)
        .filter(|segment| segment.offset.saturating_add(segment.file_size) > covered);
    let ends: Vec<_> = cut
        .map(|segment| {
            (
                segment.offset.saturating_add(segment.file_size),
                segment.flags & WRITABLE != 0,
            )
        })
        .collect();
    let (end, _) = ends.iter().copied().max()?;
    let touched = ends.iter().any(|(_, writable)| *writable) || elf.is_truncated();
    Some(Fault {
        kind: FaultKind::Truncated { end, len },
        object: path.to_owned(),
        phase: if touched { phase } else { Phase::Call },
        message: None,
        stops: touched,
    })
}
