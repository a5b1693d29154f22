//! Small changes to an ELF file's bytes, as words of a case.
//!
//! | change | |
//! | --- | --- |
//! | `truncate N` | the first N bytes; `truncate headers` in the middle of the program headers, `truncate load+N` N bytes behind the start of the last PT_LOAD's content, `truncate end-N`, `truncate loaded` right behind the last PT_LOAD's content |
//! | `byte OFFSET VALUE`, `half …`, `word …`, `long …` | numbers at an offset |
//! | `segment TYPE NUMBER` | the first program header of that type becomes another |
//! | `segment-field TYPE FIELD VALUE` | `flags`, `offset`, `vaddr`, `filesz`, `memsz`, `align` |
//! | `dynamic TAG TAG` | the first entry with that tag gets another |
//! | `dynamic-value TAG VALUE` | … another value |
//! | `relocation TYPE TYPE` | the first entry of DT_RELA of one type gets another |
//! | `no-sections` | section headers are gone |

const SEGMENT_BYTES: usize = 56;
const DYNAMIC_ENTRY_BYTES: usize = 16;
const RELOCATION_BYTES: usize = 24;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;

/// Applies one change.
pub(crate) fn patch(bytes: &mut Vec<u8>, change: &str) {
    let words: Vec<&str> = change.split_whitespace().collect();
    match words[..] {
        ["truncate", to] => {
            let length = truncated_length(bytes, to);
            bytes.truncate(length);
        }
        ["byte", offset, value] => set(bytes, number(offset), number(value), 1),
        ["half", offset, value] => set(bytes, number(offset), number(value), 2),
        ["word", offset, value] => set(bytes, number(offset), number(value), 4),
        ["long", offset, value] => set(bytes, number(offset), number(value), 8),
        ["segment", kind, other] => {
            let at = segment(bytes, number(kind) as u32);
            set(bytes, at, number(other), 4);
        }
        ["segment-field", kind, field, value] => {
            let at = segment(bytes, number(kind) as u32);
            let (offset, size) = match field {
                "flags" => (4, 4),
                "offset" => (8, 8),
                "vaddr" => (16, 8),
                "filesz" => (32, 8),
                "memsz" => (40, 8),
                "align" => (48, 8),
                _ => panic!("no such field: {change}"),
            };
            set(bytes, at + offset, number(value), size);
        }
        ["dynamic", tag, other] => {
            let at = dynamic(bytes, number(tag) as u64);
            set(bytes, at, number(other), 8);
        }
        ["dynamic-value", tag, value] => {
            let at = dynamic(bytes, number(tag) as u64);
            set(bytes, at + 8, number(value), 8);
        }
        ["relocation", kind, other] => {
            let value = |tag| get(bytes, dynamic(bytes, tag) + 8, 8) as usize;
            let (table, size) = (value(DT_RELA), value(DT_RELASZ));
            let mut entries = (table..table + size).step_by(RELOCATION_BYTES);
            let found = entries.find(|entry| get(bytes, entry + 8, 4) == number(kind) as u64);
            let at = found.unwrap_or_else(|| panic!("no such relocation: {change}")) + 8;
            set(bytes, at, number(other), 4);
        }
        ["no-sections"] => {
            set(bytes, 0x28, 0, 8);
            set(bytes, 0x3c, 0, 4);
        }
        _ => panic!("no such change: {change}"),
    }
}

fn number(text: &str) -> usize {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn get(bytes: &[u8], offset: usize, size: usize) -> u64 {
    bytes[offset..offset + size]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn set(bytes: &mut [u8], offset: usize, value: usize, size: usize) {
    bytes[offset..offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
}

fn segments(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let (table, count) = (get(bytes, 0x20, 8) as usize, get(bytes, 0x38, 2) as usize);
    (0..count).map(move |index| table + index * SEGMENT_BYTES)
}

fn segment(bytes: &[u8], kind: u32) -> usize {
    let found = segments(bytes).find(|at| get(bytes, *at, 4) == u64::from(kind));
    found.unwrap_or_else(|| panic!("no segment of type {kind:#x}"))
}

fn dynamic(bytes: &[u8], tag: u64) -> usize {
    let at = segment(bytes, PT_DYNAMIC);
    let (offset, size) = (get(bytes, at + 8, 8) as usize, get(bytes, at + 32, 8) as usize);
    let mut entries = (offset..offset + size).step_by(DYNAMIC_ENTRY_BYTES);
    entries
        .find(|entry| get(bytes, *entry, 8) == tag)
        .unwrap_or_else(|| panic!("no dynamic entry {tag:#x}"))
}

fn truncated_length(bytes: &[u8], to: &str) -> usize {
    let loads = || segments(bytes).filter(|at| get(bytes, *at, 4) == u64::from(PT_LOAD));
    let start = |at: usize| get(bytes, at + 8, 8) as usize;
    let end = |at: usize| start(at) + get(bytes, at + 32, 8) as usize;
    match to {
        "headers" => get(bytes, 0x20, 8) as usize + SEGMENT_BYTES + SEGMENT_BYTES / 2,
        "loaded" => loads().map(end).max().unwrap(),
        _ => match (to.strip_prefix("load+"), to.strip_prefix("end-")) {
            (Some(more), _) => loads().map(start).max().unwrap() + number(more),
            (_, Some(less)) => bytes.len() - number(less),
            _ => number(to),
        },
    }
}
