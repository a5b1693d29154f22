//! The command line: arguments in, exit code out. One file a command.

mod schema;
mod world;

use clap::Parser as _;

use crate::exit::Exit;
pub use schema::{CommandLine, command};
pub use world::World;

/// Runs the program.
#[must_use]
pub fn main() -> std::process::ExitCode {
    // A closed pipe (`lockstep plan | head`) is not worth a word.
    let arguments = match CommandLine::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit.into();
        }
    };
    let world = World::observe(&arguments.global);
    let exit = match schema::dispatch(arguments, &world) {
        Ok(exit) => exit,
        Err(failure) => {
            world.printer.failure(&failure);
            failure.exit
        }
    };
    exit.into()
}
