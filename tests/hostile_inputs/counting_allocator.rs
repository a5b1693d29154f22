//! An allocator that knows how much a thread holds.

#![expect(unsafe_code, reason = "an allocator is an unsafe trait to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

pub(crate) struct CountingAllocator;

thread_local! {
    // Neither needs memory to begin with, nor does anything at a thread's end, so that the allocator can use them.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

impl CountingAllocator {
    /// Counts from here.
    pub(crate) fn start() {
        HELD.set(0);
        PEAK.set(0);
    }

    /// The most that this thread held at once since then, in bytes.
    pub(crate) fn peak_bytes() -> usize {
        usize::try_from(PEAK.get()).unwrap_or(0)
    }

    fn add(bytes: isize) {
        let held = HELD.get() + bytes;
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
    }
}

// SAFETY: every call goes on to the system's allocator with the same arguments; counting touches no memory of callers.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::add(-layout.size().cast_signed());
        // SAFETY: the pointer came from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it is copied, both are there.
        Self::add(size.cast_signed());
        Self::add(-layout.size().cast_signed());
        // SAFETY: the pointer came from the system's allocator, with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
