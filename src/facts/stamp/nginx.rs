//! nginx: the version and the signature of what changes its structures, in each `ngx_module_t`.
//!
//! Source: `src/core/ngx_module.h` and `ngx_add_module` of nginx 1.26; so since dynamic modules came with 1.9.11.

use std::collections::BTreeMap;

use super::{MODULES_LIMIT_COUNT, Mark, Stamp, System, TEXT_LIMIT_BYTES, defined, plain};
use crate::facts::Elf;
use crate::facts::elf::{Relocation, RelocationClass, Symbol};
use crate::facts::words::Words;

pub(super) const SYSTEM: System = System {
    name: "nginx",
    symbol: "ngx_core_module",
    host,
    modules,
};

/// The modules of a file, up to a null pointer.
const MODULES: &str = "ngx_modules";
const WORD_LIMIT_BYTES: u64 = 8;
/// `version` and `signature`, in words from the start of a module: two indices, its name and two spare ones are before them.
const VERSION_WORD: u64 = 5;
const SIGNATURE_WORD: u64 = 6;

fn host(elf: &Elf) -> Option<Vec<Mark>> {
    // Every module of its own has the same.
    marks(&Words::new(elf), defined(elf, SYSTEM.symbol)?.value)
}

fn modules(elf: &Elf) -> Vec<Stamp> {
    let Some(list) = defined(elf, MODULES) else {
        return vec![];
    };
    let words = Words::new(elf);
    let filled = filled(elf, list.value);
    let places = (0..MODULES_LIMIT_COUNT as u64).filter_map(|index| list.value.checked_add(index * words.width()));
    let addresses = places.map_while(|place| filled.get(&place).copied().or_else(|| words.pointer(place)));
    let modules = addresses.take_while(|address| *address != 0);
    let stamps = modules.filter_map(|module| {
        Some(Stamp {
            module: None,
            marks: marks(&words, module)?,
        })
    });
    stamps.collect()
}

/// The words of a list that the loader fills with addresses of symbols: what is exported is referred to by its name.
fn filled(elf: &Elf, list: u64) -> BTreeMap<u64, u64> {
    let is_of_list = |relocation: &Relocation| {
        let distance = relocation.offset.checked_sub(list);
        relocation.class == RelocationClass::Absolute
            && distance.is_some_and(|distance| distance < WORD_LIMIT_BYTES * MODULES_LIMIT_COUNT as u64)
    };
    let relocations = elf.relocations().filter(is_of_list);
    let addresses = relocations.filter_map(|relocation| {
        let symbol = elf.symbol(relocation.symbol).filter(Symbol::is_defined)?;
        Some((relocation.offset, symbol.value.checked_add_signed(relocation.addend)?))
    });
    addresses.collect()
}

fn marks(words: &Words<'_>, module: u64) -> Option<Vec<Mark>> {
    let place = |index: u64| module.checked_add(index * words.width());
    let version = words.word(place(VERSION_WORD)?)?;
    let signature = words.c_string(place(SIGNATURE_WORD)?, TEXT_LIMIT_BYTES)?;
    Some(vec![
        Mark::new("nginx_version", version),
        Mark::new("NGX_MODULE_SIGNATURE", plain(signature)?),
    ])
}
