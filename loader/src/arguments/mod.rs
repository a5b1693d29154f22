//! The command line: flags in, typed options out. The README lists the grammar.

mod drive;
mod open;
mod usage;
mod words;

use std::ffi::OsString;

pub use drive::{DriveOptions, Question, Ready, ServerOptions};
pub use open::{Argument, Call, Contract, OpenOptions, Returns};
pub use usage::UsageError;

/// What the loader was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Open plugins, each in a process of its own.
    Open(OpenOptions, Contract),
    /// Be the process that opens one.
    OpenOne(Contract, OsString),
    /// Be the process that empties directories.
    Clear(Vec<OsString>),
    /// Run a command, or start a server and send it requests.
    Drive(DriveOptions),
    /// Do so several times, one after the other.
    Steps(Vec<DriveOptions>),
    /// Say what this loader is.
    Version,
    /// Say how it is used.
    Help,
}

/// Reads the words after the program's name.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut words = words.into_iter();
    let command = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    match command.to_str() {
        Some("open") => open::parse_open(words).map(|(options, contract)| Invocation::Open(options, contract)),
        Some("open-one") => {
            let (mut options, contract) = open::parse_open(words)?;
            let plugin = options.plugins.pop().ok_or(UsageError::NoPlugin)?;
            Ok(Invocation::OpenOne(contract, plugin))
        }
        Some("clear") => Ok(Invocation::Clear(words)),
        Some("drive") => drive::parse_drive(words).map(Invocation::Drive),
        Some("steps") => drive::parse_steps(words).map(Invocation::Steps),
        Some("version" | "--version") => Ok(Invocation::Version),
        Some("help" | "--help" | "-h") => Ok(Invocation::Help),
        _ => Err(UsageError::UnknownCommand(words::lossy(&command))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line.
    pub fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = include_str!("../../tests/shared/usage.txt")
            .lines()
            .filter(|line| !line.starts_with('#'));
        for case in cases {
            let (line, expect) = case.split_once('\t').unwrap();
            match parse(words(line)) {
                Ok(invocation) => panic!("{line}: understood as {invocation:?}"),
                Err(error) => {
                    assert_eq!(error.to_string(), expect, "{line}");
                    assert!(!error.hint().is_empty());
                }
            }
        }
    }
}
