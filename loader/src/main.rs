//! Opens plugins and drives programs inside a runtime image, and reports what it saw as JSON lines.
//!
//! It observes; whoever reads the lines judges. The README is the reference for flags and events.

mod arguments;
mod capture;
mod channel;
mod child;
mod drive;
mod event;
mod http;
mod json;
mod open;
mod plugin;
mod scratch;
mod signal;
mod system;
mod testimony;
mod within;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::Invocation;
use child::{ChildError, Supervisor};
use drive::DriveError;
use event::{Event, Printer};
use open::OpenError;

/// The command line is not understood.
const STATUS_USAGE: u8 = 2;
/// The loader itself has failed.
const STATUS_INTERNAL: u8 = 70;
/// Added to the number of the signal that asked the loader to end.
const STATUS_SIGNAL_BASE: i32 = 128;

const HELP: &str = "\
Opens plugins and drives programs, and reports what it saw as JSON lines.

usage: lockstep-loader open [FLAG…] [--] PLUGIN…
       lockstep-loader drive [FLAG…] -- COMMAND [ARGUMENT…]
       lockstep-loader steps [NUMBER WORD…]…
       lockstep-loader version

both:   --timeout-ms N  --output-limit-bytes N  --env NAME=VALUE…  --user UID:GID

open:   --flags now|lazy  --scope local|global  --keep-open  --scratch DIRECTORY…  --symbol NAME…
        --call SYMBOL [--arg-string TEXT | --arg-integer N]… [--returns string|integer|int32|none]…
        --within PROGRAM --probe FILE  --after PLUGIN…

drive:  --ready-http URL | --ready-tcp PORT | --ready-stdout TEXT
        --ready-timeout-ms N  --request-timeout-ms N  --stop-signal NAME  --stop-timeout-ms N
        --request METHOD URL [--header 'NAME: VALUE']… [--body TEXT]…  --client NUMBER WORD…
        --directory DIRECTORY  --stdin TEXT  --status N
";

/// Why the loader itself has failed.
#[derive(Debug)]
enum LoaderError {
    Child(ChildError),
    Open(OpenError),
    Plugin(io::Error),
    Drive(DriveError),
    Print(io::Error),
}

impl fmt::Display for LoaderError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoaderError::Child(cause) => write!(formatter, "{cause}"),
            LoaderError::Open(cause) => write!(formatter, "{cause}"),
            LoaderError::Plugin(cause) => write!(formatter, "failed to take the channel to the parent: {cause}"),
            LoaderError::Drive(cause) => write!(formatter, "{cause}"),
            LoaderError::Print(cause) => write!(formatter, "failed to write to standard output: {cause}"),
        }
    }
}

fn main() -> ExitCode {
    let invocation = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(invocation) => invocation,
        Err(error) => {
            say(&format!("error[usage]: {error}\nhint: {}\n", error.hint()));
            return ExitCode::from(STATUS_USAGE);
        }
    };
    let mut printer = Printer::new(io::stdout());
    match run(&invocation, &mut printer) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(signal)) => ExitCode::from(u8::try_from(STATUS_SIGNAL_BASE + signal).unwrap_or(STATUS_INTERNAL)),
        Err(error) => {
            // Whoever reads events learns it there; when nobody can, standard error is all that is left.
            if printer.print(&Event::Error(error.to_string())).is_err() {
                say(&format!("error[loader]: {error}\n"));
            }
            ExitCode::from(STATUS_INTERNAL)
        }
    }
}

/// Does what was asked; gives the signal that ended it early, if one did.
fn run(invocation: &Invocation, printer: &mut Printer<impl Write>) -> Result<Option<signal::Signal>, LoaderError> {
    let (supervisor, remains) = match invocation {
        Invocation::Open(options, contract) => {
            let mut supervisor = Supervisor::start(options.user).map_err(LoaderError::Child)?;
            let remains = open::open(&mut supervisor, options, contract, printer).map_err(LoaderError::Open)?;
            (supervisor, remains)
        }
        Invocation::Drive(options) => {
            let mut supervisor = Supervisor::start(options.user).map_err(LoaderError::Child)?;
            drive::drive(&mut supervisor, options, printer).map_err(LoaderError::Drive)?;
            (supervisor, None)
        }
        Invocation::Steps(steps) => {
            let user = steps.iter().find_map(|step| step.user);
            let mut supervisor = Supervisor::start(user).map_err(LoaderError::Child)?;
            drive::drive_steps(&mut supervisor, steps, printer).map_err(LoaderError::Drive)?;
            (supervisor, None)
        }
        Invocation::Clear(directories) => {
            scratch::clear(directories);
            return Ok(None);
        }
        Invocation::OpenOne(contract, plugin) => {
            plugin::open_one(contract, plugin).map_err(LoaderError::Plugin)?;
            return Ok(None);
        }
        Invocation::Version => {
            printer.print(&Event::Version).map_err(LoaderError::Print)?;
            return Ok(None);
        }
        Invocation::Help => {
            io::stdout().write_all(HELP.as_bytes()).map_err(LoaderError::Print)?;
            return Ok(None);
        }
    };
    let last = match (supervisor.interrupt(), remains) {
        (Some(signal), _) => Event::Interrupted(signal),
        (None, Some(remains)) => Event::Unclean(remains),
        (None, None) => Event::End,
    };
    printer.print(&last).map_err(LoaderError::Print)?;
    Ok(supervisor.interrupt())
}

/// Tells people; that nobody listens is no reason to fail.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
