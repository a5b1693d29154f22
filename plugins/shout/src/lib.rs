//! shout: the name in capitals. `World` becomes `HELLO, WORLD`.
//!
//! The functions are those of `plugins/include/greeter.h`. What crosses the border is C only: no Rust type, no allocator
//! and no panic (a panic that reaches the end of an `extern "C"` function aborts).

use std::ffi::{c_char, CStr, CString};
use std::ptr;

/// The plugin's name.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_name() -> *const c_char {
    c"shout".as_ptr()
}

/// A greeting for `name`, to be given back with [`plugin_free`]; null when `name` is null or not UTF-8.
///
/// # Safety
/// `name` is null or points to a string that ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plugin_greet(name: *const c_char) -> *mut c_char {
    if name.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: not null, and the caller promises a string that ends with a NUL.
    let name = unsafe { CStr::from_ptr(name) };
    match name.to_str() {
        Ok(name) => CString::new(shout(name)).map_or(ptr::null_mut(), CString::into_raw),
        Err(_) => ptr::null_mut(),
    }
}

/// Takes back what [`plugin_greet`] returned.
///
/// # Safety
/// `greeting` is null or came from this plugin's [`plugin_greet`], and is given back once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plugin_free(greeting: *mut c_char) {
    if !greeting.is_null() {
        // SAFETY: the caller promises that it came from `CString::into_raw` above and is not used again.
        drop(unsafe { CString::from_raw(greeting) });
    }
}

fn shout(name: &str) -> String {
    format!("HELLO, {}", name.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greet(name: &CStr) -> Option<String> {
        // SAFETY: a `CStr` ends with a NUL; what comes back is read before it is given back, once.
        unsafe {
            let greeting = plugin_greet(name.as_ptr());
            let text = (!greeting.is_null()).then(|| CStr::from_ptr(greeting).to_string_lossy().into_owned());
            plugin_free(greeting);
            text
        }
    }

    #[test]
    fn names_are_put_in_capitals() {
        assert_eq!(greet(c"World").as_deref(), Some("HELLO, WORLD"));
        assert_eq!(greet(c"Zo\xc3\xab").as_deref(), Some("HELLO, ZOË"));
        assert_eq!(greet(c"").as_deref(), Some("HELLO, "));
    }

    #[test]
    fn what_is_not_a_name_gets_no_greeting() {
        assert_eq!(greet(c"\xff"), None);
        // SAFETY: null is allowed by both.
        unsafe {
            assert!(plugin_greet(ptr::null()).is_null());
            plugin_free(ptr::null_mut());
        }
    }
}
