//! PostgreSQL: the magic block, which a module hands to the server, and of which the server has one of its own.
//!
//! Neither is exported, so the block is known by its last field, the name of who made the server, and by what is before it.
//!
//! Source: `src/include/fmgr.h` and `src/backend/utils/fmgr/dfmgr.c` of PostgreSQL 17; the name is there since 15.

use super::{Mark, System, of_one};
use crate::facts::Elf;
use crate::facts::elf::Data;

pub(super) const SYSTEM: System = System {
    name: "PostgreSQL",
    symbol: "PostgresMain",
    host: marks,
    modules: |elf| of_one(elf, BLOCK, marks),
};

/// What a module is asked for its block with.
const BLOCK: &str = "Pg_magic_func";
/// `abi_extra` of a server that is nobody's fork; behind it nulls up to 32 bytes.
const MAKER: &[u8; 11] = b"PostgreSQL\0";
const MAKER_BYTES: usize = 32;
/// What is before it, in numbers of 32 bits: first the block's length in bytes.
const FIELDS: [&str; 5] = [
    "PG_VERSION_NUM / 100",
    "FUNC_MAX_ARGS",
    "INDEX_MAX_KEYS",
    "NAMEDATALEN",
    "FLOAT8PASSBYVAL",
];
const NUMBERS_COUNT: usize = 1 + FIELDS.len();
/// A block of 15 to 17, and one of 18, which ends with two pointers.
const LENGTHS_BYTES: [u32; 3] = [56, 64, 72];

/// The only block of the file; none if there are different ones.
fn marks(elf: &Elf) -> Option<Vec<Mark>> {
    let bytes: &[u8] = elf.bytes();
    let blocks = memchr::memmem::find_iter(bytes, MAKER).filter_map(|place| block_before(elf, bytes, place));
    let mut blocks = blocks.peekable();
    let first = *blocks.peek()?;
    if !blocks.all(|other| other == first) {
        return None;
    }
    let fields = FIELDS.into_iter().zip(first);
    Some(fields.map(|(name, value)| Mark::new(name, value)).collect())
}

/// The fields of the block whose last one is at `place`.
fn block_before(elf: &Elf, bytes: &[u8], place: usize) -> Option<[u32; FIELDS.len()]> {
    let maker = bytes.get(place..place.checked_add(MAKER_BYTES)?)?;
    let is_filled = maker[MAKER.len()..].iter().all(|byte| *byte == 0);
    let start = place.checked_sub(NUMBERS_COUNT * size_of::<u32>())?;
    let (numbers, _) = bytes[start..place].as_chunks();
    let mut numbers = numbers.iter().map(|number| match elf.header.layout.data {
        Data::Little => u32::from_le_bytes(*number),
        Data::Big => u32::from_be_bytes(*number),
    });
    let len = numbers.next()?;
    let mut fields = [0; FIELDS.len()];
    fields
        .iter_mut()
        .for_each(|field| *field = numbers.next().unwrap_or_default());
    (is_filled && LENGTHS_BYTES.contains(&len)).then_some(fields)
}
