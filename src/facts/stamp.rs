//! What a host compares before it takes a module: numbers and words that both were compiled with, and that no loader looks at.
//!
//! One file and one line in the table for each host.

mod httpd;
mod nginx;
mod php;
mod postgres;

use super::Elf;
use super::elf::{Name, Symbol};

/// Longer than any word in a stamp, and than most names.
const TEXT_LIMIT_BYTES: usize = 256;
/// One file has one module, or a few.
const MODULES_LIMIT_COUNT: usize = 64;

/// A host that has stamps.
#[derive(Debug)]
pub struct System {
    /// What it is called.
    pub name: &'static str,
    /// A symbol that its program exports, and nothing else does.
    symbol: &'static str,
    /// What the host was compiled with.
    host: fn(&Elf) -> Option<Vec<Mark>>,
    /// What a module says, or each of those that are in one file.
    modules: fn(&Elf) -> Vec<Stamp>,
}

/// All of them.
pub const SYSTEMS: &[System] = &[httpd::SYSTEM, nginx::SYSTEM, php::SYSTEM, postgres::SYSTEM];

/// What one module says that it was compiled for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// What the module calls itself; none where it says no name.
    pub module: Option<String>,
    /// What is compared, in the host's order.
    pub marks: Vec<Mark>,
}

/// One thing that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What it is called in the host's sources.
    pub name: &'static str,
    /// A number or a word.
    pub value: String,
}

impl Mark {
    fn new(name: &'static str, value: impl ToString) -> Self {
        Self {
            name,
            value: value.to_string(),
        }
    }
}

impl System {
    /// The one whose program, or the library that is its core, this file is.
    #[must_use]
    pub fn of(elf: &Elf) -> Option<&'static Self> {
        SYSTEMS.iter().find(|system| defined(elf, system.symbol).is_some())
    }

    /// What the host was compiled with; none where its file does not tell.
    #[must_use]
    pub fn marks(&self, host: &Elf) -> Option<Vec<Mark>> {
        (self.host)(host)
    }

    /// What the modules in a file say; empty where it has none of this host's, or does not tell.
    #[must_use]
    pub fn modules(&self, elf: &Elf) -> Vec<Stamp> {
        (self.modules)(elf)
    }
}

/// What a file with one module says, which calls itself nothing: a module is known by `entry`, which its host asks it for.
fn of_one(elf: &Elf, entry: &str, marks: fn(&Elf) -> Option<Vec<Mark>>) -> Vec<Stamp> {
    let is_module = defined(elf, entry).is_some();
    let marks = is_module.then(|| marks(elf)).flatten();
    let stamp = marks.map(|marks| Stamp { module: None, marks });
    stamp.into_iter().collect()
}

/// The symbol of a name that a file defines.
fn defined<'a>(elf: &'a Elf, name: &str) -> Option<Symbol<'a>> {
    let mut found = elf.find(&Name::new(name.as_bytes())).map(|(_, symbol)| symbol);
    found.find(Symbol::is_defined)
}

/// A word as text, if it is plain.
fn plain(bytes: &[u8]) -> Option<String> {
    let is_plain = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    is_plain.then(|| String::from_utf8_lossy(bytes).into_owned())
}
