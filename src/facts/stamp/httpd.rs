//! Apache httpd: the major magic number of its interface, in each `module`.
//!
//! Source: `include/http_config.h` and `ap_add_module` of httpd 2.4.

use super::{MODULES_LIMIT_COUNT, Mark, Stamp, System, TEXT_LIMIT_BYTES, defined, plain};
use crate::facts::Elf;
use crate::facts::elf::{Symbol, SymbolKind};
use crate::facts::words::Words;

pub(super) const SYSTEM: System = System {
    name: "Apache httpd",
    symbol: "ap_add_module",
    host,
    modules,
};

/// The module that every httpd has in itself.
const CORE: &str = "core_module";
/// How a module's structure is called.
const SUFFIX: &[u8] = b"_module";
/// `MODULE_MAGIC_COOKIE`, but for the last digit, which is that of the release ("AP24").
const COOKIE: u64 = 0x4150_3200;
const COOKIE_MASK: u64 = !0xff;
/// Where the name and the cookie are, in words behind three numbers of 32 bits, which take two words.
const NUMBERS_BYTES: u64 = 12;

fn host(elf: &Elf) -> Option<Vec<Mark>> {
    Some(stamp(&Words::new(elf), elf, defined(elf, CORE)?.value)?.marks)
}

fn modules(elf: &Elf) -> Vec<Stamp> {
    let is_module =
        |symbol: &Symbol<'_>| symbol.is_defined() && symbol.kind == SymbolKind::Object && symbol.name.ends_with(SUFFIX);
    let mut modules = elf.symbols().map(|(_, symbol)| symbol).filter(is_module).peekable();
    if modules.peek().is_none() {
        return vec![];
    }
    let words = Words::new(elf);
    let stamps = modules.filter_map(|module| stamp(&words, elf, module.value));
    stamps.take(MODULES_LIMIT_COUNT).collect()
}

/// What the structure at an address says, if it is one of a module.
fn stamp(words: &Words<'_>, elf: &Elf, module: u64) -> Option<Stamp> {
    let width = words.width();
    let name = module.checked_add(NUMBERS_BYTES.next_multiple_of(width))?;
    // Its name, its handle and the next module, which are set later.
    let cookie = words.word(name.checked_add(3 * width)?)?;
    if cookie & COOKIE_MASK != COOKIE {
        return None;
    }
    let name = words.c_string(name, TEXT_LIMIT_BYTES).and_then(plain);
    Some(Stamp {
        module: name,
        marks: vec![
            Mark::new("MODULE_MAGIC_COOKIE", format_args!("{cookie:08x}")),
            Mark::new("MODULE_MAGIC_NUMBER_MAJOR", words.number(elf.at(module, 4)?)),
        ],
    })
}
