//! A library with an allocator of its own; it is compiled by `tests/facts.rs`.

use std::alloc::{GlobalAlloc, Layout, System};

struct Own;

// SAFETY: every call goes on to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Own {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static OWN: Own = Own;

#[unsafe(no_mangle)]
pub extern "C" fn greet(number: i32) -> i32 {
    if number > 3 {
        panic!("{number}")
    }
    println!("{number}");
    number
}
