//! Which byte of the file is at which address.

use std::ops::Range;

use super::{Segment, SegmentKind};

/// The bytes of the file that `PT_LOAD` segments map, cut where the file ends.
#[derive(Debug, Clone)]
pub(super) struct AddressMap {
    loads: Vec<Load>,
}

#[derive(Debug, Clone, Copy)]
struct Load {
    address: u64,
    len: u64,
    offset: usize,
}

impl AddressMap {
    pub(super) fn new(segments: &[Segment], file_len: usize) -> Self {
        let loads = segments
            .iter()
            .filter(|segment| segment.kind == SegmentKind::Load)
            .filter_map(|segment| {
                let offset = usize::try_from(segment.offset).ok()?;
                let in_file = u64::try_from(file_len.checked_sub(offset)?).ok()?;
                let len = segment.file_size.min(in_file).min(u64::MAX - segment.address);
                (len > 0).then_some(Load {
                    address: segment.address,
                    len,
                    offset,
                })
            })
            .collect();
        Self { loads }
    }

    /// Where in the file the bytes from an address to the end of its segment are. Of segments that overlap the last one
    /// counts: loaders map one over the other.
    pub(super) fn from(&self, address: u64) -> Option<Range<usize>> {
        self.loads.iter().rev().find_map(|load| {
            let skip = address.checked_sub(load.address).filter(|skip| *skip < load.len)?;
            let start = load.offset + usize::try_from(skip).ok()?;
            Some(start..start + usize::try_from(load.len - skip).ok()?)
        })
    }

    /// Where in the file `len` bytes at an address are, if they are all in one segment.
    pub(super) fn range(&self, address: u64, len: u64) -> Option<Range<usize>> {
        let rest = self.from(address)?;
        let end = rest.start.checked_add(usize::try_from(len).ok()?)?;
        (end <= rest.end).then_some(rest.start..end)
    }
}
