//! Opens the plugin that it is given, and says what that says.

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::process::ExitCode;

extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// dlfcn.h: RTLD_NOW.
const NOW: c_int = 2;

fn main() -> ExitCode {
    let path = std::env::args().nth(1).and_then(|path| CString::new(path).ok());
    match path.and_then(|path| greeting(&path)) {
        Some(greeting) => {
            println!("{greeting}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no plugin for version {}", api::VERSION);
            ExitCode::FAILURE
        }
    }
}

fn greeting(path: &CStr) -> Option<String> {
    // SAFETY: a plugin of this workspace has both functions, of the types that `api` has for them.
    unsafe {
        let library = dlopen(path.as_ptr(), NOW);
        if library.is_null() {
            return None;
        }
        let version = dlsym(library, c"hello_version".as_ptr());
        let greet = dlsym(library, c"hello_greet".as_ptr());
        if version.is_null() || greet.is_null() {
            return None;
        }
        let version: api::Version = std::mem::transmute(version);
        let greet: api::Greet = std::mem::transmute(greet);
        let text = (version() == api::VERSION).then(|| CStr::from_ptr(greet()))?;
        Some(text.to_string_lossy().into_owned())
    }
}
