//! greeter: greets people through plugins.
//!
//! Every `*.so` of a directory is loaded in the order of the file names, and greets. What fails is reported on standard
//! error and makes the exit status 1; the other plugins are used all the same.

mod arguments;
mod plugin;

use std::ffi::{CStr, OsStr};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::{Arguments, Request, USAGE};
use plugin::{Plugin, PluginError};

/// Something could not be loaded, or did not greet.
const STATUS_FAILURE: u8 = 1;
/// The command line was not understood.
const STATUS_USAGE: u8 = 2;

fn main() -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let status = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => write!(out, "{USAGE}").map(|()| 0),
        Ok(Request::Greet(arguments)) => greet_all(&arguments, &mut out, &mut err),
        Err(error) => writeln!(err, "error: {error}\n{USAGE}").map(|()| STATUS_USAGE),
    };
    // An output that is closed early (`greeter … | head -1`) is a failure, and there is nobody left to tell.
    ExitCode::from(status.unwrap_or(STATUS_FAILURE))
}

/// One line for each plugin; the exit status, or that the output is closed.
fn greet_all(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let paths = match plugin_files(&arguments.plugins) {
        Ok(paths) if paths.is_empty() => {
            writeln!(err, "error: no plugins (*.so) in {}", arguments.plugins.display())?;
            return Ok(STATUS_FAILURE);
        }
        Ok(paths) => paths,
        Err(error) => {
            writeln!(err, "error: failed to read {}: {error}", arguments.plugins.display())?;
            return Ok(STATUS_FAILURE);
        }
    };

    let mut status = 0;
    for path in paths {
        match greet(&path, &arguments.name) {
            Ok(line) => writeln!(out, "{line}")?,
            Err(error) => {
                writeln!(err, "error: {}: {error}", path.display())?;
                status = STATUS_FAILURE;
            }
        }
    }
    Ok(status)
}

fn greet(path: &Path, name: &CStr) -> Result<String, PluginError> {
    let plugin = Plugin::load(path)?;
    let greeting = plugin.greet(name)?;
    Ok(format!("{}: {greeting}", plugin.name()))
}

/// The `*.so` files of a directory in the order of their names.
fn plugin_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension() == Some(OsStr::new("so")));
    paths.sort();
    Ok(paths)
}
