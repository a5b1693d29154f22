//! What the host and its plugins know of each other.

use std::ffi::{c_char, c_int};

/// Of what is below; a plugin for another one is not called.
pub const VERSION: c_int = 1;

/// `hello_version` of a plugin.
pub type Version = extern "C" fn() -> c_int;

/// `hello_greet` of a plugin.
pub type Greet = extern "C" fn() -> *const c_char;
