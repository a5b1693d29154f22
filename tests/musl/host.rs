//! Loads each argument and calls its `run` with 1 and with 0; panics on the way, and catches that.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::catch_unwind;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

const RTLD_NOW: c_int = 2;

fn main() {
    let caught = catch_unwind(|| std::env::args().nth(1000).expect("a panic on purpose"));
    println!("host caught: {}", caught.is_err());
    for path in std::env::args().skip(1) {
        let name = CString::new(path.as_str()).unwrap();
        // SAFETY: the paths are those of this test's own plugins, whose `run` has this type.
        unsafe {
            let library = dlopen(name.as_ptr(), RTLD_NOW);
            assert!(!library.is_null(), "{:?}", CStr::from_ptr(dlerror()));
            let symbol = dlsym(library, c"run".as_ptr());
            assert!(!symbol.is_null(), "{:?}", CStr::from_ptr(dlerror()));
            let run: extern "C" fn(c_int) -> c_int = std::mem::transmute(symbol);
            println!("{path}: {} {}", run(1), run(0));
        }
    }
}
