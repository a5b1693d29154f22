//! The command line.

use std::ffi::{CString, OsString};
use std::fmt;
use std::path::PathBuf;

/// What `--help` prints, and what follows every error.
pub const USAGE: &str = "\
usage: greeter --plugins DIR NAME...
  --plugins DIR  greet through every *.so of DIR, in the order of their names
  NAME           who is greeted; several words make one name
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// The usage.
    Help,
    /// Greetings.
    Greet(Arguments),
}

/// Who is greeted, and by whom.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The directory that holds the plugins.
    pub plugins: PathBuf,
    /// The name: UTF-8, as the plugins expect it.
    pub name: CString,
}

/// Why a command line was not understood.
#[derive(Debug, PartialEq, Eq)]
pub enum ArgumentError {
    /// An option that there is not.
    UnknownOption(String),
    /// `--plugins` without a directory, or not given.
    NoPlugins,
    /// No name.
    NoName,
    /// A name that is not UTF-8. (It cannot hold a NUL: arguments end there.)
    NotText,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOption(option) => write!(f, "unknown option `{option}`"),
            Self::NoPlugins => write!(f, "--plugins needs a directory"),
            Self::NoName => write!(f, "nobody to greet: a NAME is missing"),
            Self::NotText => write!(f, "the name is not UTF-8"),
        }
    }
}

impl std::error::Error for ArgumentError {}

/// Reads the arguments that follow the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, ArgumentError> {
    let mut arguments = arguments.into_iter();
    let mut plugins = None;
    let mut words = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.to_str().ok_or(ArgumentError::NotText)? {
            "--help" | "-h" => return Ok(Request::Help),
            "--plugins" => plugins = Some(arguments.next().ok_or(ArgumentError::NoPlugins)?),
            option if option.starts_with('-') => return Err(ArgumentError::UnknownOption(option.to_owned())),
            word => words.push(word.to_owned()),
        }
    }
    let plugins = PathBuf::from(plugins.ok_or(ArgumentError::NoPlugins)?);
    if words.is_empty() {
        return Err(ArgumentError::NoName);
    }
    let name = CString::new(words.join(" ")).map_err(|_| ArgumentError::NotText)?;
    Ok(Request::Greet(Arguments { plugins, name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expect: Result<Request, ArgumentError>) {
        assert_eq!(parse(arguments.iter().map(OsString::from)), expect);
    }

    fn greet(plugins: &str, name: &str) -> Result<Request, ArgumentError> {
        let name = CString::new(name).map_err(|_| ArgumentError::NotText)?;
        Ok(Request::Greet(Arguments {
            plugins: plugins.into(),
            name,
        }))
    }

    #[test]
    fn words_make_one_name() {
        check(&["--plugins", "p", "World"], greet("p", "World"));
        check(&["--plugins", "p", "Ada Lovelace"], greet("p", "Ada Lovelace"));
        check(&["Ada", "--plugins", "p", "Lovelace"], greet("p", "Ada Lovelace"));
    }

    #[test]
    fn help_comes_first() {
        check(&["--help"], Ok(Request::Help));
        check(&["World", "-h"], Ok(Request::Help));
    }

    #[test]
    fn what_is_missing_is_named() {
        check(&[], Err(ArgumentError::NoPlugins));
        check(&["World"], Err(ArgumentError::NoPlugins));
        check(&["--plugins"], Err(ArgumentError::NoPlugins));
        check(&["--plugins", "p"], Err(ArgumentError::NoName));
        check(
            &["--plugin", "p", "World"],
            Err(ArgumentError::UnknownOption("--plugin".to_owned())),
        );
    }
}
