//! The command line: arguments in, exit code out. One file a command.

mod build;
mod check;
mod clean;
mod code;
mod demo;
mod doctor;
mod explain;
mod format;
mod global;
mod image;
mod init;
mod inspect;
mod lock;
mod matrix;
mod plan;
mod project_run;
mod runtime;
mod schema;
mod shell;
mod smoke;
mod stop;
mod verify;
mod world;

use clap::Parser as _;

use crate::exit::Exit;
use crate::report::Printer;
pub use schema::{CommandLine, command};
pub use world::World;

/// Runs the program.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let arguments = match CommandLine::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // It quotes words of the command line, which may be names of files.
            let (printer, text) = (Printer::default(), error.render());
            if !error.use_stderr() {
                printer.data(&text.ansi().to_string());
                return Exit::Ok.into();
            }
            printer.line(text.ansi().to_string().trim_end());
            return Exit::Usage.into();
        }
    };
    let world = World::observe(&arguments.global);
    let exit = schema::dispatch(arguments, &world).unwrap_or_else(|stop| stop.report(&world.printer));
    // What nobody could read is no success: its disk is full, or what it was sent to is broken.
    let is_lost = exit == Exit::Ok && world.printer.has_failed();
    if is_lost { Exit::Usage } else { exit }.into()
}
