//! What a plugin hands to the host's runtime: its `moduledata`. No symbol leads there in a file that was stripped, but the
//! relocations of the table of packages do.

use std::collections::BTreeMap;

use super::exported_type::{self, ExportedType};
use super::package::{Hash, PackageHash};
use crate::facts::Elf;
use crate::facts::elf::RelocationClass;
use crate::facts::words::Words;

/// The prefixes of the symbols that the table's entries refer to, since Go 1.20 and before it.
const HASH_PREFIXES: [&[u8]; 2] = [b"go:link.pkghash.", b"go.link.pkghash."];
/// The end of the runtime's list of modules. A plugin appends itself there before anything else of it runs.
const LAST_MODULE: &[u8] = b"runtime.lastmoduledatap";
const HASH_LIMIT_BYTES: u64 = 64;
const PLUGIN_PATH_LIMIT_BYTES: u64 = 4096;

/// What the runtime learns of a plugin when it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleData {
    /// The packages whose hashes are compared, in the order in which they are. Empty for what is no plugin.
    pub checked: Vec<PackageHash>,
    /// The name by which the runtime knows the plugin; a second one with the same name is refused.
    pub plugin_path: Option<String>,
    /// The types of what it exports, by name; empty where they cannot be read.
    pub exported: BTreeMap<String, ExportedType>,
    /// Whether it appends itself to the list of the runtime that comes first, which is the host's. One whose own symbols
    /// come first has a list of its own, and the host's runtime sees nothing of it.
    pub is_handed_over: bool,
}

/// Reads what the relocations lead to.
pub(super) fn read(elf: &Elf, packages: &BTreeMap<String, Hash>) -> ModuleData {
    let is_symbolic = elf.dynamic.as_ref().is_some_and(|dynamic| dynamic.is_symbolic());
    let mut is_handed_over = false;
    let mut entries: Vec<(u64, String)> = Vec::new();
    for relocation in elf.relocations().filter(|relocation| relocation.symbol != 0) {
        let Some(symbol) = elf.symbol(relocation.symbol) else {
            continue;
        };
        if symbol.name == LAST_MODULE {
            is_handed_over = !is_symbolic;
        } else if relocation.class == RelocationClass::Absolute
            && let Some(package) = HASH_PREFIXES
                .iter()
                .find_map(|prefix| symbol.name.strip_prefix(*prefix))
        {
            entries.push((relocation.offset, String::from_utf8_lossy(package).into_owned()));
        }
    }
    entries.sort();
    entries.dedup();
    if entries.is_empty() {
        return ModuleData {
            is_handed_over,
            ..ModuleData::default()
        };
    }
    let words = Words::new(elf);
    // An entry is a name (address, length), the hash when it was linked (the same), and where the hash at run time is.
    let width = words.width();
    let linked_hash = |place: u64| {
        let bytes = words.string(place.checked_sub(2 * width)?, HASH_LIMIT_BYTES)?;
        Some(Hash(bytes.into()))
    };
    let table = entries.first().and_then(|(place, _)| place.checked_sub(4 * width));
    let count = entries.len() as u64;
    let slice = table.and_then(|table| packages_slice(&words, table, count));
    let plugin_path = slice.and_then(|slice| plugin_path(&words, slice));
    let exported = slice.map(|slice| exported_type::read(elf, &words, slice));
    let checked = entries
        .into_iter()
        .map(|(place, package)| PackageHash {
            hash: linked_hash(place).or_else(|| packages.get(&package).cloned()),
            package,
        })
        .collect();
    ModuleData {
        checked,
        plugin_path,
        exported: exported.unwrap_or_default(),
        is_handed_over,
    }
}

/// Where the slice of the table of packages is in the module's data: it has the table's address and twice its length.
fn packages_slice(words: &Words<'_>, table: u64, count: u64) -> Option<u64> {
    let width = words.width();
    let is_slice = |place: u64| {
        let number = |index: u64| words.word(place.checked_add(index * width)?);
        words.pointer(place) == Some(table) && number(1) == Some(count) && number(2) == Some(count)
    };
    words.relocated().find(|place| is_slice(*place))
}

/// The path is before the slice of packages.
fn plugin_path(words: &Words<'_>, slice: u64) -> Option<String> {
    let path = words.string(slice.checked_sub(2 * words.width())?, PLUGIN_PATH_LIMIT_BYTES)?;
    Some(String::from_utf8_lossy(path).into_owned())
}
