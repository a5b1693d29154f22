//! The static block of thread-local storage that glibc keeps for objects with a fixed offset from the thread pointer.
//!
//! Source: `csu/libc-tls.c`, `elf/dl-tls.c` and `elf/dl-reloc.c` of glibc. On machines whose thread pointer is above the block
//! (x86), objects are placed downwards from it; elsewhere upwards. The sizes are the same up to alignment.

use crate::facts::elf::Tls;

/// What `rtld.nns = 4` and `rtld.optional_static_tls = 512`, the defaults, keep free for objects that are loaded later:
/// 3 namespaces' C libraries, 4 namespaces' other libraries, beside the optional part.
const SURPLUS_BYTES: u64 = 3 * 192 + 4 * 144;
/// What objects may take that would work without it (`TLSDESC`), where no tunable says else.
pub(super) const OPTIONAL_BYTES: u64 = 512;
/// The alignment of the thread control block.
const TCB_ALIGN_BYTES: u64 = 64;

/// The block: how large it is, and how much is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TlsBlock {
    size: u64,
    used: u64,
    align: u64,
    optional: u64,
}

impl Default for TlsBlock {
    fn default() -> Self {
        Self::of_startup(std::iter::empty(), true, 0, OPTIONAL_BYTES)
    }
}

impl TlsBlock {
    /// The block of a process whose start-up objects, in load order, have these segments, and behind them `extra_bytes` of the C
    /// library's own; `optional_bytes` are kept for what would do without.
    #[must_use]
    pub(super) fn of_startup(
        segments: impl Iterator<Item = Tls>,
        below: bool,
        extra_bytes: u64,
        optional_bytes: u64,
    ) -> Self {
        let mut used = 0_u64;
        let mut align = TCB_ALIGN_BYTES;
        for segment in segments {
            let own = segment.align.max(1);
            align = align.max(own);
            used = if below {
                place_below(used, &segment)
            } else {
                round_up(used, own).saturating_add(segment.memory_size)
            };
        }
        if extra_bytes > 0 {
            used = round_up(used, extra_bytes).saturating_add(extra_bytes);
        }
        Self {
            size: round_up(used.saturating_add(SURPLUS_BYTES).saturating_add(optional_bytes), align),
            used,
            align,
            optional: optional_bytes,
        }
    }

    /// What is left, in bytes.
    #[must_use]
    pub(super) fn free(&self) -> u64 {
        self.size.saturating_sub(self.used)
    }

    /// Takes room for a segment; false if there is none, and nothing is taken.
    pub(super) fn take(&mut self, segment: &Tls) -> bool {
        self.place(segment).is_some_and(|used| {
            self.used = used;
            true
        })
    }

    /// Takes room for a segment that would do without, out of the part that is kept for such.
    pub(super) fn take_optional(&mut self, segment: &Tls) -> bool {
        let Some(used) = self.place(segment) else { return false };
        let taken = used - self.used;
        if taken > self.optional {
            return false;
        }
        self.optional -= taken;
        self.used = used;
        true
    }

    /// Where the block would end with this segment.
    fn place(&self, segment: &Tls) -> Option<u64> {
        if segment.align > self.align {
            return None;
        }
        let first = first_byte(segment);
        let free = self.free();
        let block = segment.memory_size.checked_add(first)?;
        if free < block {
            return None;
        }
        let align = segment.align.max(1);
        let rest = (free - block) / align;
        Some(self.used + free - rest * align - first)
    }
}

/// How far the segment's first byte is from where its alignment would have it.
fn first_byte(segment: &Tls) -> u64 {
    let align = segment.align.max(1);
    segment.address.wrapping_neg() % align
}

fn place_below(used: u64, segment: &Tls) -> u64 {
    let align = segment.align.max(1);
    let first = first_byte(segment);
    round_up(used.saturating_add(segment.memory_size).saturating_add(first), align).saturating_sub(first)
}

fn round_up(value: u64, align: u64) -> u64 {
    value.div_ceil(align.max(1)).saturating_mul(align.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(size: u64, align: u64) -> Tls {
        Tls {
            address: 0,
            file_size: 0,
            memory_size: size,
            align,
        }
    }

    #[test]
    fn small_segments_fit_until_the_surplus_is_used_up() {
        let mut block = TlsBlock::of_startup([segment(0x90, 8)].into_iter(), true, 0, OPTIONAL_BYTES);
        assert!(block.take(&segment(1600, 8)));
        assert!(!block.take(&segment(200, 8)), "only {} bytes were left", block.free());
        assert!(block.take(&segment(8, 8)));
    }

    #[test]
    fn an_alignment_above_the_blocks_own_is_refused() {
        let mut block = TlsBlock::default();
        assert!(!block.take(&segment(8, 128)));
    }

    #[test]
    fn the_optional_part_is_small() {
        let mut block = TlsBlock::default();
        assert!(block.take_optional(&segment(400, 8)));
        assert!(!block.take_optional(&segment(400, 8)));
        assert!(block.take(&segment(400, 8)));
    }
}
