//! Where two ELF files differ: in which section, and which symbols lie there.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::facts::comment;
use crate::facts::elf::{Elf, Section, Symbol};

/// How many parts of one file are told.
const PARTS_LIMIT_COUNT: usize = 64;
/// How many symbols of one section are named.
const NAMES_LIMIT_COUNT: usize = 8;
/// How many symbols of one file are looked at.
const SYMBOLS_LIMIT_COUNT: usize = 500_000;
/// How much of a text around the first byte that differs is told.
const EXCERPT_LIMIT_BYTES: usize = 48;
/// A shorter text may be one by chance.
const EXCERPT_LEAST_BYTES: usize = 6;

/// A part of an ELF file that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PartDifference {
    /// A section, or what else it is: `build ID`, `headers`, `outside of sections`.
    pub part: String,
    /// What the one has of it: its text where the two differ, else its size where that differs; none if there is nothing to say.
    pub a: Option<String>,
    /// What the other one has.
    pub b: Option<String>,
    /// Symbols in it that are not the same: the first of them by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// How many more.
    pub more_symbols: usize,
}

/// The sections of a file by name; of several with one name, by their number among them.
type Sections<'a> = BTreeMap<(&'a [u8], usize), Section<'a>>;

/// The parts in which two files differ; none if one of them cannot be read.
pub(super) fn differences(a: Vec<u8>, b: Vec<u8>) -> Vec<PartDifference> {
    let (Ok(a), Ok(b)) = (Elf::read(Bytes::from(a)), Elf::read(Bytes::from(b))) else {
        return vec![];
    };
    let (one, other) = (by_name(&a), by_name(&b));
    let mut all: Vec<(&[u8], usize)> = one.keys().chain(other.keys()).copied().collect();
    // In the order of the file, with what only the other one has at the end.
    all.sort_by_key(|key| (one.get(key).map_or(u16::MAX, |section| section.index), *key));
    all.dedup();
    let different = all
        .iter()
        .filter_map(|key| part((&a, one.get(key)), (&b, other.get(key)), key.0));
    let mut parts: Vec<PartDifference> = different.take(PARTS_LIMIT_COUNT).collect();
    if parts.is_empty() {
        let is_same = a.header == b.header && a.segments == b.segments;
        parts.push(PartDifference {
            part: if is_same { "outside of sections" } else { "headers" }.to_owned(),
            ..PartDifference::default()
        });
    }
    parts
}

fn by_name(elf: &Elf) -> Sections<'_> {
    let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
    let numbered = elf.sections().into_iter().map(|section| {
        let count = counts.entry(section.name).or_default();
        *count += 1;
        ((section.name, *count), section)
    });
    numbered.collect()
}

/// In what a section differs, if it does.
fn part(
    (a, one): (&Elf, Option<&Section<'_>>),
    (b, other): (&Elf, Option<&Section<'_>>),
    name: &[u8],
) -> Option<PartDifference> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let size = |section: Option<&Section<'_>>| section.map(|section| format!("{} bytes", section.size));
    let (Some(one), Some(other)) = (one, other) else {
        return Some(PartDifference {
            part: shown,
            a: size(one),
            b: size(other),
            ..PartDifference::default()
        });
    };
    if one.size == other.size && one.bytes == other.bytes {
        return None;
    }
    let hex = |id: &Vec<u8>| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (part, texts) = match name {
        b".comment" => {
            let tools = |elf: &Elf| {
                let lines = comment::tools(elf).into_iter().map(|tool| tool.text);
                lines.collect::<Vec<_>>().join(", ")
            };
            (shown, Some((tools(a), tools(b))))
        }
        b".note.gnu.build-id" => {
            let ids = a.notes.build_id.as_ref().zip(b.notes.build_id.as_ref());
            ("build ID".to_owned(), ids.map(|(a, b)| (hex(a), hex(b))))
        }
        b".note.go.buildid" => {
            let ids = a.notes.go_build_id.clone().zip(b.notes.go_build_id.clone());
            ("Go build ID".to_owned(), ids)
        }
        _ => (
            shown,
            excerpts(one.bytes.unwrap_or_default(), other.bytes.unwrap_or_default()),
        ),
    };
    let (a_text, b_text) = match texts.filter(|(a, b)| a != b) {
        Some((a, b)) => (Some(a), Some(b)),
        None if one.size != other.size => (size(Some(one)), size(Some(other))),
        None => (None, None),
    };
    let mut symbols = symbols((a, one), (b, other));
    let more_symbols = symbols.len().saturating_sub(NAMES_LIMIT_COUNT);
    symbols.truncate(NAMES_LIMIT_COUNT);
    Some(PartDifference {
        part,
        a: a_text,
        b: b_text,
        symbols,
        more_symbols,
    })
}

/// Where two contents differ of which nothing else is known.
pub(super) fn difference_of_bytes(a: &[u8], b: &[u8]) -> PartDifference {
    let at = a.iter().zip(b).position(|(one, other)| one != other);
    let size = |bytes: &[u8]| format!("{} bytes", bytes.len());
    let (one, other) = match excerpts(a, b) {
        Some((one, other)) => (Some(one), Some(other)),
        None if a.len() != b.len() => (Some(size(a)), Some(size(b))),
        None => (None, None),
    };
    PartDifference {
        part: format!("content from byte {}", at.unwrap_or(a.len().min(b.len()))),
        a: one,
        b: other,
        ..PartDifference::default()
    }
}

/// The texts around the first byte that differs, where both are texts.
fn excerpts(one: &[u8], other: &[u8]) -> Option<(String, String)> {
    let at = one.iter().zip(other).position(|(one, other)| one != other)?;
    let excerpt = |bytes: &[u8]| {
        let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let before = bytes[..at]
            .iter()
            .rev()
            .take(EXCERPT_LIMIT_BYTES / 2)
            .take_while(|byte| is_text(byte));
        let start = at - before.count();
        let length = bytes[start..]
            .iter()
            .take(EXCERPT_LIMIT_BYTES)
            .take_while(|byte| is_text(byte))
            .count();
        let is_enough = length >= EXCERPT_LEAST_BYTES && start + length > at;
        is_enough.then(|| String::from_utf8_lossy(&bytes[start..start + length]).into_owned())
    };
    excerpt(one).zip(excerpt(other))
}

/// The symbols in a section that are not the same in both, by name.
fn symbols((a, one): (&Elf, &Section<'_>), (b, other): (&Elf, &Section<'_>)) -> Vec<String> {
    let (one, other) = (symbols_in(a, one), symbols_in(b, other));
    let mut names: Vec<&[u8]> = one.keys().chain(other.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let different = names.into_iter().filter(|name| one.get(name) != other.get(name));
    different
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// The functions and variables in a section with their bytes; several may have one name.
fn symbols_in<'a>(elf: &'a Elf, section: &Section<'a>) -> BTreeMap<&'a [u8], Vec<&'a [u8]>> {
    let bytes_of = |symbol: Symbol<'a>| {
        let start = usize::try_from(symbol.value.checked_sub(section.address)?).ok()?;
        let end = start.checked_add(usize::try_from(symbol.size).ok()?)?;
        section.bytes?.get(start..end)
    };
    let of_linker = elf.linker_symbols().into_iter().flatten();
    // What is left of a file that was stripped.
    let of_loader = elf.symbols().map(|(_, symbol)| symbol);
    let mut found: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    let mut add = |symbol: Symbol<'a>| {
        if symbol.section == section.index
            && symbol.size > 0
            && let Some(bytes) = bytes_of(symbol)
        {
            found.entry(symbol.name).or_default().push(bytes);
        }
    };
    let mut is_stripped = true;
    for symbol in of_linker.take(SYMBOLS_LIMIT_COUNT) {
        is_stripped = false;
        add(symbol);
    }
    if is_stripped {
        of_loader.take(SYMBOLS_LIMIT_COUNT).for_each(add);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_around_the_byte_that_differs() {
        for (one, other, expected) in [
            (
                "\0built on Monday\0",
                "\0built on Sunday\0",
                Some(("built on Monday", "built on Sunday")),
            ),
            ("\0a\0", "\0b\0", None),
            ("same\0x", "same\0y", None),
            (
                "/src/one/file.c",
                "/src/other/file.c",
                Some(("/src/one/file.c", "/src/other/file.c")),
            ),
        ] {
            let expected = expected.map(|(one, other)| (one.to_owned(), other.to_owned()));
            assert_eq!(excerpts(one.as_bytes(), other.as_bytes()), expected, "{one}");
        }
    }
}
