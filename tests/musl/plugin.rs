//! Catches a panic of its own.

use std::ffi::c_int;
use std::panic::catch_unwind;

#[unsafe(no_mangle)]
pub extern "C" fn run(argument: c_int) -> c_int {
    let result = catch_unwind(|| {
        assert!(argument == 0, "a panic on purpose");
        10
    });
    result.unwrap_or(42)
}
