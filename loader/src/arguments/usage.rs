//! What can be wrong with a command line.

use std::fmt;

use super::open::CALL_ARGUMENTS_LIMIT_COUNT;
use crate::http::UrlError;

/// Why a command line is not understood.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError {
    /// Nothing, or something unknown, was asked for.
    UnknownCommand(String),
    /// A flag that the command does not have.
    UnknownFlag(String),
    /// A flag without its value.
    MissingValue(&'static str),
    /// A flag that may stand once stands twice.
    GivenTwice(&'static str),
    /// A value that the flag does not take.
    BadValue {
        /// The flag.
        flag: &'static str,
        /// What it was given.
        value: String,
        /// What it takes.
        takes: String,
    },
    /// A URL that is not understood.
    BadUrl {
        /// The flag.
        flag: &'static str,
        /// What it was given.
        value: String,
        /// Why.
        cause: UrlError,
    },
    /// A flag that means nothing without another one.
    Without(&'static str, &'static str),
    /// More than one way to tell that the server is ready.
    ReadyTwice,
    /// A flag behind the first plugin.
    LateFlag(String),
    /// A flag that belongs behind another one.
    OutOfPlace {
        /// The flag.
        flag: &'static str,
        /// What it must follow.
        after: &'static str,
    },
    /// A call with more arguments than can be passed.
    TooManyArguments(String),
    /// `open` without a plugin.
    NoPlugin,
    /// `drive` without a command.
    NoCommand,
    /// A client that is a server itself.
    ClientServes,
    /// A flag that only means something for a server.
    NeedsReady(&'static str),
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::UnknownCommand(word) if word.is_empty() => write!(formatter, "no command given"),
            UsageError::UnknownCommand(word) => write!(formatter, "unknown command `{word}`"),
            UsageError::UnknownFlag(flag) => write!(formatter, "unknown flag `{flag}`"),
            UsageError::MissingValue(flag) => write!(formatter, "`{flag}` lacks its value"),
            UsageError::GivenTwice(flag) => write!(formatter, "`{flag}` is given twice"),
            UsageError::BadValue { flag, value, takes } => {
                write!(formatter, "`{flag}` takes {takes}, not `{value}`")
            }
            UsageError::BadUrl { flag, value, cause } => {
                write!(formatter, "`{flag}` cannot use `{value}`: {cause}")
            }
            UsageError::Without(flag, other) => write!(formatter, "`{flag}` is given without `{other}`"),
            UsageError::ReadyTwice => write!(formatter, "more than one `--ready-…` flag is given"),
            UsageError::LateFlag(flag) => write!(formatter, "`{flag}` stands after a plugin"),
            UsageError::OutOfPlace { flag, after } => write!(formatter, "`{flag}` must follow a `{after}`"),
            UsageError::TooManyArguments(symbol) => write!(
                formatter,
                "the call of `{symbol}` has more than {CALL_ARGUMENTS_LIMIT_COUNT} arguments"
            ),
            UsageError::NoPlugin => write!(formatter, "no plugin given"),
            UsageError::NoCommand => write!(formatter, "no command to run given"),
            UsageError::ClientServes => {
                write!(formatter, "`--client` takes a command that ends, and is given a server")
            }
            UsageError::NeedsReady(flag) => {
                write!(
                    formatter,
                    "`{flag}` is for a server, and nothing says when the server is ready"
                )
            }
        }
    }
}

impl UsageError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            UsageError::Without(..) => "give both or neither: the probe makes the host open the plugins",
            UsageError::ReadyTwice => "keep the one that says most about the server",
            UsageError::LateFlag(_) => "put flags before the plugins, or `--` before plugins that look like flags",
            UsageError::NoPlugin => "name the plugins' files after the flags",
            UsageError::NoCommand => "name the program and its arguments after `--`",
            UsageError::NeedsReady(_) => "add `--ready-http URL`, `--ready-tcp PORT` or `--ready-stdout TEXT`",
            _ => "`lockstep-loader help` lists commands and flags",
        }
    }
}
