//! The process of one plugin: opens it, looks up symbols, calls functions, and tells what it does.
#![expect(
    unsafe_code,
    reason = "foreign code is what is tested here; a process of its own holds what it may do"
)]

use std::ffi::{c_char, c_int, c_void, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

use libloading::os::unix::{Library, Symbol, RTLD_GLOBAL, RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};

use crate::arguments::{Argument, Call, Contract, Returns};
use crate::channel::{Channel, Phase, Record, Returned, Value};
use crate::system;

/// A string that goes on for longer is not read further.
const STRING_LIMIT_BYTES: usize = 64 * 1024;
/// The status of a process that could not tell its parent anything any more.
pub const CHANNEL_LOST_STATUS: i32 = 117;

/// Opens the plugin as the contract says. The caller ends the process afterwards, whatever this gives: what the plugin
/// did is told already, and an error means that it could not be.
pub fn open_one(contract: &Contract, plugin: &OsStr) -> io::Result<()> {
    system::restore_default_signals();
    let mut session = Session {
        channel: Channel::new(File::from(system::take_standard_input()?)),
    };
    session.run(contract, plugin);
    session.tell(&Record::Done);
    session.tell(&Record::Phase(Phase::Exit, None));
    Ok(())
}

struct Session {
    channel: Channel,
}

impl Session {
    fn run(&mut self, contract: &Contract, plugin: &OsStr) {
        for earlier in &contract.before {
            let path = earlier.to_string_lossy().into_owned();
            self.tell(&Record::Phase(Phase::Before, Some(path)));
            match open_library(contract, earlier) {
                // It stays: what is opened now may use it.
                Ok(library) => std::mem::forget(library),
                Err(error) => return self.tell(&Record::NotLoadable(error.to_string())),
            }
        }
        self.tell(&Record::Phase(Phase::Open, None));
        let library = match open_library(contract, plugin) {
            Ok(library) => library,
            Err(error) => return self.tell(&Record::NotLoadable(error.to_string())),
        };
        if self.look_up(contract, &library) {
            for call in &contract.calls {
                self.call(call, &library);
            }
        }
        if contract.keep_open {
            std::mem::forget(library);
        } else {
            self.tell(&Record::Phase(Phase::Close, None));
            if let Err(error) = library.close() {
                self.tell(&Record::NotClosed(error.to_string()));
            }
        }
    }

    /// Looks up every symbol, those of calls too, and says whether all are there.
    fn look_up(&mut self, contract: &Contract, library: &Library) -> bool {
        let mut all_there = true;
        for symbol in contract.distinct_symbols() {
            let name = symbol.to_string_lossy().into_owned();
            self.tell(&Record::Phase(Phase::Symbol, Some(name.clone())));
            if let Err(message) = address_of(library, symbol) {
                self.tell(&Record::Missing(name, message));
                all_there = false;
            }
        }
        all_there
    }

    fn call(&mut self, call: &Call, library: &Library) {
        let symbol = call.symbol.to_string_lossy().into_owned();
        self.tell(&Record::Phase(Phase::Call, Some(symbol.clone())));
        let (value, problem) = match invoke(call, library) {
            Ok(value) => (value, None),
            Err((value, problem)) => (value, Some(problem)),
        };
        self.tell(&Record::Returned(Returned {
            symbol,
            returns: call.returns,
            value,
            problem,
        }));
    }

    /// Tells a record, or ends the process: as a copy of the loader that the plugin forked, or because the plugin has
    /// closed the channel, after which nothing more could be told.
    fn tell(&mut self, record: &Record) {
        if !self.channel.is_mine() {
            system::end_now(0);
        }
        if self.channel.tell(record).is_err() {
            system::end_now(CHANNEL_LOST_STATUS);
        }
    }
}

fn open_library(contract: &Contract, plugin: &OsStr) -> Result<Library, libloading::Error> {
    let binding = if contract.lazy { RTLD_LAZY } else { RTLD_NOW };
    let scope = if contract.global { RTLD_GLOBAL } else { RTLD_LOCAL };
    // SAFETY: the plugin's constructors may do anything; this process exists to find out, and shares nothing.
    unsafe { Library::open(Some(as_path(plugin)), binding | scope) }
}

/// A name without a slash would be searched for in the library path; a plugin is a file.
pub fn as_path(plugin: &OsStr) -> OsString {
    if plugin.as_bytes().contains(&b'/') {
        return plugin.to_owned();
    }
    let mut path = OsString::from("./");
    path.push(plugin);
    path
}

/// The address of a symbol, or the loader's words.
fn address_of(library: &Library, symbol: &OsStr) -> Result<*mut c_void, String> {
    // SAFETY: the type is that of an address, which fits every symbol; nothing is read or called through it here.
    let found: Result<Symbol<*mut c_void>, _> = unsafe { library.get(symbol.as_bytes()) };
    match found.map(Symbol::into_raw) {
        Ok(address) if address.is_null() => Err("the symbol is there, but its address is null".to_owned()),
        Ok(address) => Ok(address),
        Err(error) => Err(error.to_string()),
    }
}

/// Calls a function, and gives what it returned; with a problem, as much of it as there is.
fn invoke(call: &Call, library: &Library) -> Result<Option<Value>, (Option<Value>, String)> {
    let address = address_of(library, &call.symbol).map_err(|message| (None, message))?;
    let mut strings = Vec::new();
    let mut words = Vec::new();
    for argument in &call.arguments {
        words.push(match argument {
            Argument::Integer(number) => *number as usize,
            Argument::String(text) => {
                let string = CString::new(text.as_bytes()).map_err(|error| (None, error.to_string()))?;
                let word = string.as_ptr() as usize;
                strings.push(string);
                word
            }
        });
    }
    // SAFETY (all four): that a function is there and takes and returns this is the contract; if it is not so, this
    // process may end, which is what is to be found out. `strings` outlives the call.
    match call.returns {
        Returns::None => {
            // SAFETY: as above.
            unsafe { call_with::<()>(address, &words) };
            Ok(None)
        }
        // SAFETY: as above.
        Returns::Integer => Ok(Some(Value::Integer(unsafe { call_with::<i64>(address, &words) }))),
        // SAFETY: as above.
        Returns::Int32 => Ok(Some(Value::Integer(
            unsafe { call_with::<c_int>(address, &words) }.into(),
        ))),
        // SAFETY: as above.
        Returns::String => read_string(unsafe { call_with::<*const c_char>(address, &words) }),
    }
}

/// Calls a C function with words as arguments.
///
/// # Safety
///
/// At the address is a function that takes this many words and returns `R`. It may unwind: an exception then ends the
/// process in a defined way.
unsafe fn call_with<R>(address: *mut c_void, words: &[usize]) -> R {
    type Word = usize;
    // SAFETY: the caller vouches for the function's type; addresses of data and of functions have one size on every
    // system with `dlsym`.
    unsafe {
        match *words {
            [] => std::mem::transmute::<*mut c_void, extern "C-unwind" fn() -> R>(address)(),
            [a] => std::mem::transmute::<*mut c_void, extern "C-unwind" fn(Word) -> R>(address)(a),
            [a, b] => std::mem::transmute::<*mut c_void, extern "C-unwind" fn(Word, Word) -> R>(address)(a, b),
            [a, b, c] => {
                std::mem::transmute::<*mut c_void, extern "C-unwind" fn(Word, Word, Word) -> R>(address)(a, b, c)
            }
            // The command line takes no more than four.
            [a, b, c, d, ..] => {
                type Four<R> = extern "C-unwind" fn(Word, Word, Word, Word) -> R;
                std::mem::transmute::<*mut c_void, Four<R>>(address)(a, b, c, d)
            }
        }
    }
}

fn read_string(start: *const c_char) -> Result<Option<Value>, (Option<Value>, String)> {
    if start.is_null() {
        return Err((None, "returned a null pointer".to_owned()));
    }
    let mut bytes = Vec::new();
    while bytes.len() < STRING_LIMIT_BYTES {
        // SAFETY: the function says that this is a string, so every byte up to its NUL can be read; if that is not so,
        // this process may end, which is what is to be found out.
        match unsafe { start.add(bytes.len()).read() } {
            0 => {
                let is_text = std::str::from_utf8(&bytes).is_ok();
                let value = Some(Value::String(bytes));
                return if is_text {
                    Ok(value)
                } else {
                    Err((value, "returned text that is not UTF-8".to_owned()))
                };
            }
            byte => bytes.push(byte as u8),
        }
    }
    Err((
        None,
        format!("returned a string without a NUL in its first {STRING_LIMIT_BYTES} bytes"),
    ))
}
