//! The command line: arguments in, exit code out. One file a command.

mod build;
mod check;
mod check_project;
mod clean;
mod demo;
mod doctor;
mod explain;
mod init;
mod inspect;
mod lock;
mod matrix;
mod plan;
mod runtime;
mod schema;
mod shell;
mod smoke;
mod stop;
mod world;

use clap::Parser as _;

use crate::exit::Exit;
pub use schema::{CommandLine, command};
pub use world::World;

/// Runs the program.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let arguments = match CommandLine::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nobody listens when this fails, so there is nobody to tell.
            let _ = error.print();
            return exit.into();
        }
    };
    let world = World::observe(&arguments.global);
    let exit = schema::dispatch(arguments, &world).unwrap_or_else(|stop| stop.report(&world.printer));
    // What nobody could read is no success.
    let is_lost = exit == Exit::Ok && world.printer.has_failed();
    if is_lost { Exit::Internal } else { exit }.into()
}
