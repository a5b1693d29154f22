//! What decoders of one project share: what lies around its file, and what was decoded before.

use std::collections::BTreeMap;
use std::path::Path;

use crate::yaml::{Decoded, Value};

use super::known_build::KnownBuild;
use super::language_name::LanguageName;
use super::paths::Found;
use super::placed::Placed;
use super::unit_role::UnitRole;

/// What lies around a `lockstep.yaml`.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The file; absolute.
    pub file: &'a Path,
    /// The project's directory; absolute.
    pub directory: &'a Path,
    /// How the file is called in problems.
    pub shown: &'a str,
    /// The names of the recipes that come with lockstep.
    pub builtin: &'a [&'a str],
    /// The machine that artifacts are for, as images spell it: `amd64`, `arm64`, …
    pub architecture: &'static str,
    /// What a path relative to the project's directory turns out to be.
    pub find: &'a dyn Fn(&str) -> Found,
}

/// A unit's language, for the comparison with the contract.
pub(super) struct Spoken<'v> {
    pub(super) place: Value<'v>,
    pub(super) language: LanguageName,
    pub(super) role: UnitRole,
    /// The name of the contract that it is held to.
    pub(super) contract: Option<&'v str>,
    /// Whether the unit brings its own compile command.
    pub(super) has_command: bool,
}

/// Which contract a plugin names, and where; where it is, if it names none.
pub(super) struct Contracted<'v> {
    pub(super) value: Value<'v>,
    /// The name; an error if what is there is none, which was reported.
    pub(super) name: Decoded<Option<&'v str>>,
}

/// What is known so far. It is filled also by what has problems elsewhere, so that these do not hide others.
pub(super) struct Scope<'v, 's> {
    pub(super) surroundings: &'s Surroundings<'s>,
    /// `builds:`.
    pub(super) builds: Vec<KnownBuild<'v>>,
    /// Whether a unit takes from a build that there is not.
    pub(super) has_unknown_build: bool,
    /// The lines of the units' names.
    pub(super) names: BTreeMap<String, usize>,
    /// What is to lie in the bundle.
    pub(super) placed: Vec<Placed<'v>>,
    /// The names of the host's files, once all are known.
    pub(super) host_files: Option<Vec<String>>,
    pub(super) languages: Vec<Spoken<'v>>,
    /// The plugins' contracts.
    pub(super) contracted: Vec<Contracted<'v>>,
}

/// What a path must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Directory,
    File,
    FileOrDirectory,
}

impl Expected {
    fn words(self) -> &'static str {
        match self {
            Self::Directory => "expected a directory",
            Self::File => "expected a file",
            Self::FileOrDirectory => "expected a file or a directory",
        }
    }
}

impl<'s> Scope<'_, 's> {
    pub(super) fn new(surroundings: &'s Surroundings<'s>) -> Self {
        Self {
            surroundings,
            builds: Vec::new(),
            has_unknown_build: false,
            names: BTreeMap::new(),
            placed: Vec::new(),
            host_files: None,
            languages: Vec::new(),
            contracted: Vec::new(),
        }
    }

    /// Whether there is a build of this name.
    pub(super) fn has_build(&self, name: &str) -> bool {
        self.builds.iter().any(|known| known.is_called(name))
    }

    /// A path of the project that is there.
    pub(super) fn path(&self, value: Value<'_>, expected: Expected) -> Decoded<String> {
        let path = value.relative_path("the project")?;
        self.existing(
            value,
            path,
            expected,
            "check the spelling; paths start at the directory of `lockstep.yaml`",
        )
    }

    /// The same for a path that has been read; `hint` is for one that is not there and resembles none that is.
    pub(super) fn existing(&self, value: Value<'_>, path: String, expected: Expected, hint: &str) -> Decoded<String> {
        match (self.surroundings.find)(&path) {
            Found::Directory if expected != Expected::File => Ok(path),
            Found::File if expected != Expected::Directory => Ok(path),
            Found::Directory => Err(value.report(format!("`{path}` is a directory"), expected.words())),
            Found::File => Err(value.report(format!("`{path}` is a file"), expected.words())),
            Found::Other => Err(value.report(format!("`{path}` is no plain file"), expected.words())),
            Found::Nothing { similar } => {
                let label = similar.map_or(hint.to_owned(), |similar| format!("did you mean `{similar}`?"));
                Err(value.report(format!("`{path}` does not exist"), label))
            }
            Found::Outside { target } => {
                let message = format!("the path `{path}` leaves the project: it leads to {}", target.display());
                Err(value.report(message, "replace the link by what it leads to"))
            }
            Found::Unknown { cause } => Err(value.report(
                format!("failed to look at `{path}`: {cause}"),
                "check its permissions and links",
            )),
        }
    }
}

/// Takes `name` as the only one of its kind, told apart by the line where it was first taken.
pub(super) fn claim(taken: &mut BTreeMap<String, usize>, kind: &str, name: &str, place: Value<'_>) -> Decoded<()> {
    match taken.get(name) {
        Some(line) => {
            let message = format!("the {kind} `{name}` is given twice");
            Err(place.report(
                message,
                format!("it is on line {line} already; each must be there once"),
            ))
        }
        None => {
            taken.insert(name.to_owned(), place.line());
            Ok(())
        }
    }
}
