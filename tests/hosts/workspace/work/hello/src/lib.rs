use std::ffi::{c_char, c_int};

#[no_mangle]
pub extern "C" fn hello_version() -> c_int {
    api::VERSION
}

#[no_mangle]
pub extern "C" fn hello_greet() -> *const c_char {
    c"Hello, World!".as_ptr()
}
