//! PHP: the number of its interface for modules, and whether it is made for threads and for debugging.
//!
//! Both are in the build ID, `API20240924,NTS`, which host and module have as a string; the module's entry, to which a function
//! leads, has the number once more.
//!
//! Source: `Zend/zend_modules.h`, `Zend/zend_build.h` and `php_load_extension` of PHP 8.4; so since 5.3.

use super::{Mark, System, of_one};
use crate::facts::Elf;

pub(super) const SYSTEM: System = System {
    name: "PHP",
    symbol: "zend_register_functions",
    host: marks,
    modules: |elf| of_one(elf, ENTRY, marks),
};

/// What a module is asked for its entry with.
const ENTRY: &str = "get_module";
const PREFIX: &[u8] = b"API";
/// The day on which the interface was changed.
const DAY_BYTES: usize = 8;
/// Longer than what comes behind it.
const KIND_LIMIT_BYTES: usize = 64;

fn marks(elf: &Elf) -> Option<Vec<Mark>> {
    let (number, id) = build_id(elf)?;
    Some(vec![
        Mark::new("ZEND_MODULE_API_NO", number),
        Mark::new("ZEND_MODULE_BUILD_ID", id),
    ])
}

/// The only build ID among the constants, with the number in it; none if there are different ones.
fn build_id(elf: &Elf) -> Option<(&str, &str)> {
    let found = elf.constants().flat_map(|constants| {
        let places = memchr::memmem::find_iter(constants, PREFIX);
        places.filter_map(|place| build_id_at(&constants[place..]))
    });
    let mut found = found.peekable();
    let first = *found.peek()?;
    found.all(|other| other == first).then_some(first)
}

fn build_id_at(bytes: &[u8]) -> Option<(&str, &str)> {
    let rest = bytes.get(PREFIX.len() + DAY_BYTES..)?;
    let rest = &rest[..rest.len().min(KIND_LIMIT_BYTES)];
    let kind = &rest[..memchr::memchr(0, rest)?];
    let is_kind = kind.starts_with(b",NTS") || kind.starts_with(b",TS");
    let id = std::str::from_utf8(&bytes[..PREFIX.len() + DAY_BYTES + kind.len()]).ok()?;
    let number = id.get(PREFIX.len()..PREFIX.len() + DAY_BYTES)?;
    (is_kind && number.bytes().all(|byte| byte.is_ascii_digit())).then_some((number, id))
}
