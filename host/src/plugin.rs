//! A plugin: the functions of `plugins/include/greeter.h`, made safe to use.

use std::ffi::{c_char, c_int, CStr};
use std::fmt;
use std::mem;
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

type Name = unsafe extern "C" fn() -> *const c_char;
type Greet = unsafe extern "C" fn(*const c_char) -> *mut c_char;
type Free = unsafe extern "C" fn(*mut c_char);

/// Every symbol is looked for when the plugin is opened, so that a missing one is an error here and not a crash later;
/// and no plugin sees another's symbols.
const FLAGS: c_int = RTLD_NOW | RTLD_LOCAL;

/// A loaded plugin. It stays loaded until the process ends.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    greet: Greet,
    free: Free,
}

impl Plugin {
    /// Loads a plugin and asks for its name.
    pub fn load(path: &Path) -> Result<Self, PluginError> {
        // SAFETY: opening runs the plugin's initialisers: whoever names the directory trusts what is in it.
        let library = unsafe { Library::open(Some(path), FLAGS) }.map_err(PluginError::Load)?;
        // SAFETY: the types are those of greeter.h, which is all that a loaded object can promise.
        let (name, greet, free) = unsafe {
            (
                symbol::<Name>(&library, "plugin_name")?,
                symbol::<Greet>(&library, "plugin_greet")?,
                symbol::<Free>(&library, "plugin_free")?,
            )
        };
        // SAFETY: by greeter.h it takes nothing and returns a string that lives as long as the plugin, which is copied.
        let name = unsafe { text("plugin_name", name()) }?;
        // Never unloaded: a thread or a thread-local destructor that the plugin left behind would run in memory that is
        // gone. That also is why the functions may be kept without the library.
        mem::forget(library);
        Ok(Self { name, greet, free })
    }

    /// What the plugin calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The plugin's greeting for `name`.
    pub fn greet(&self, name: &CStr) -> Result<String, PluginError> {
        // SAFETY: `name` ends with a NUL; what comes back is copied before it goes back, once, to where it came from.
        unsafe {
            let greeting = (self.greet)(name.as_ptr());
            let copy = text("plugin_greet", greeting);
            (self.free)(greeting);
            copy
        }
    }
}

/// The function behind a symbol.
///
/// # Safety
/// `T` is the type of a function, and the one that the symbol has. The function is called only while the library is loaded.
unsafe fn symbol<T: Copy>(library: &Library, name: &'static str) -> Result<T, PluginError> {
    // SAFETY: the caller promises the type, and uses the copy only while the library is loaded.
    let symbol = unsafe { library.get::<T>(name.as_bytes()) };
    symbol
        .map(|symbol| *symbol)
        .map_err(|error| PluginError::Symbol { name, error })
}

/// A copy of the text that `function` returned.
///
/// # Safety
/// `pointer` is null or points to a string that ends with a NUL.
unsafe fn text(function: &'static str, pointer: *const c_char) -> Result<String, PluginError> {
    if pointer.is_null() {
        return Err(PluginError::Null { function });
    }
    // SAFETY: not null, and the caller promises the rest.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map(str::to_owned)
        .map_err(|_| PluginError::NotText { function })
}

/// Why a plugin cannot be used.
#[derive(Debug)]
pub enum PluginError {
    /// The dynamic loader refused it; these are its words.
    Load(libloading::Error),
    /// It loaded, but lacks a function of greeter.h.
    Symbol {
        /// The function.
        name: &'static str,
        /// The loader's words.
        error: libloading::Error,
    },
    /// A function returned NULL in place of text.
    Null {
        /// The function.
        function: &'static str,
    },
    /// A function returned text that is not UTF-8.
    NotText {
        /// The function.
        function: &'static str,
    },
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => write!(f, "failed to load: {error}"),
            Self::Symbol { name, error } => write!(f, "failed to find `{name}`: {error}"),
            Self::Null { function } => write!(f, "`{function}` returned NULL"),
            Self::NotText { function } => write!(f, "`{function}` returned text that is not UTF-8"),
        }
    }
}

impl std::error::Error for PluginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Load(error) | Self::Symbol { error, .. } => Some(error),
            Self::Null { .. } | Self::NotText { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_loader_refuses_is_told_in_its_words() {
        let path = Path::new("/no/such/plugin.so");
        let words = match Plugin::load(path) {
            Err(error @ PluginError::Load(_)) => error.to_string(),
            other => format!("{other:?}"),
        };
        assert!(words.starts_with("failed to load: "), "{words}");
        assert!(words.contains("/no/such/plugin.so"), "{words}");
    }

    #[test]
    fn text_that_is_none_is_an_error() {
        let check = |pointer| {
            // SAFETY: null, or from a `CStr` that lives as long as the program.
            unsafe { text("plugin_greet", pointer) }.map_err(|error| error.to_string())
        };
        assert_eq!(check(c"Hello".as_ptr()), Ok("Hello".to_owned()));
        assert_eq!(check(std::ptr::null()), Err("`plugin_greet` returned NULL".to_owned()));
        assert_eq!(
            check(c"\xff".as_ptr()),
            Err("`plugin_greet` returned text that is not UTF-8".to_owned())
        );
    }
}
