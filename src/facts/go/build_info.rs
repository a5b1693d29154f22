//! The record of how a file was built, which `go version -m` prints.

use std::collections::BTreeMap;

use crate::facts::Elf;
use crate::facts::elf::{Data, Segment, SegmentKind};
use crate::facts::words::Words;

/// What the record begins with; it is at an address that 16 divides, in a segment that can be written.
const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
const ALIGN_BYTES: usize = 16;
/// The part of the record that has a fixed size.
const HEADER_BYTES: usize = 32;
/// More places that look like a record than any file has.
const PLACES_LIMIT_COUNT: usize = 64;
/// Longer than the list of modules of any program.
const TEXT_LIMIT_BYTES: u64 = 16 << 20;
const VERSION_LIMIT_BYTES: u64 = 4096;
/// More modules and settings than any program has.
const LINES_LIMIT_COUNT: usize = 100_000;

/// How a file was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version of Go, with experiments after `X:` if there were any.
    pub version: String,
    /// The path of the main package; `command-line-arguments` if it was given by its files.
    pub path: Option<String>,
    /// The main module.
    pub main: Option<Module>,
    /// The modules whose packages are in the file, in order.
    pub dependencies: Vec<Module>,
    /// The settings by name, recorded since Go 1.18. Linker flags and variables of cgo are left out with `-trimpath`.
    pub settings: BTreeMap<String, String>,
}

/// A module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Module {
    /// Its path.
    pub path: String,
    /// Its version; `(devel)` if it has none.
    pub version: String,
    /// The hash of its files (`h1:…`); empty for what is in a directory and for what is vendored.
    pub sum: String,
    /// What took its place (`replace` in `go.mod`).
    pub replacement: Option<Box<Module>>,
}

impl Module {
    /// The module that was compiled.
    #[must_use]
    pub fn effective(&self) -> &Self {
        self.replacement.as_deref().unwrap_or(self)
    }

    /// Whether it was compiled from a directory of which nothing is recorded but its path.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        let path = &self.effective().path;
        self.replacement.is_some() && (path.starts_with('.') || path.starts_with('/'))
    }
}

/// Finds and reads the record.
pub(super) fn read(elf: &Elf) -> Option<BuildInfo> {
    let is_writable = |segment: &&Segment| segment.flags & 2 != 0;
    let loads = || super::segments(elf, SegmentKind::Load);
    let segments = loads()
        .filter(is_writable)
        .chain(loads().filter(|segment| !is_writable(segment)));
    let mut words = None;
    segments
        .flat_map(|segment| places(elf, segment))
        .take(PLACES_LIMIT_COUNT)
        .find_map(|address| read_at(elf, address, &mut words))
}

/// The addresses in a segment at which a record may be.
fn places<'a>(elf: &'a Elf, segment: &Segment) -> impl Iterator<Item = u64> + 'a {
    let bytes = super::contents(elf, segment).unwrap_or_default();
    let address = segment.address;
    // The first address in the segment that is aligned.
    let skip = address.wrapping_neg() & (ALIGN_BYTES as u64 - 1);
    (skip as usize..bytes.len())
        .step_by(ALIGN_BYTES)
        .filter(move |start| bytes[*start..].starts_with(MAGIC))
        .filter_map(move |start| address.checked_add(start as u64))
}

fn read_at<'a>(elf: &'a Elf, address: u64, words: &mut Option<Words<'a>>) -> Option<BuildInfo> {
    let header = elf.at(address, HEADER_BYTES as u64)?;
    let (pointer_size, flags) = (header[14], header[15]);
    let (version, text) = if flags & 2 != 0 {
        // Since Go 1.18: lengths and texts, one after the other.
        let (version, next) = counted(elf, address.checked_add(HEADER_BYTES as u64)?, VERSION_LIMIT_BYTES)?;
        let text = counted(elf, next, TEXT_LIMIT_BYTES).map_or(&[][..], |(text, _)| text);
        (version, text)
    } else {
        // Before: the addresses of two strings of Go, each an address and a length.
        let words = words.get_or_insert_with(|| Words::new(elf));
        let data = if flags & 1 != 0 { Data::Big } else { Data::Little };
        let width = match pointer_size {
            4 => 4,
            8 => 8,
            _ => return None,
        };
        if (width, data) != (words.width(), elf.header.layout.data) {
            return None;
        }
        let string = |slot: u64, limit| {
            let place = address.checked_add(16 + slot * width)?;
            words.string(words.pointer(place)?, limit)
        };
        let version = string(0, VERSION_LIMIT_BYTES)?;
        (version, string(1, TEXT_LIMIT_BYTES).unwrap_or_default())
    };
    let version = std::str::from_utf8(version).ok()?;
    if version.is_empty() {
        return None;
    }
    let mut build = parse(&String::from_utf8_lossy(unwrapped(text)));
    build.version = version.to_owned();
    Some(build)
}

/// A length of seven bits a byte, and as many bytes; with the address after them.
fn counted(elf: &Elf, address: u64, limit: u64) -> Option<(&[u8], u64)> {
    let (mut len, mut next) = (0_u64, address);
    for shift in (0..35).step_by(7) {
        let byte = *elf.at(next, 1)?.first()?;
        next = next.checked_add(1)?;
        len |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let bytes = (len <= limit).then(|| elf.at(next, len)).flatten()?;
            return Some((bytes, next.checked_add(len)?));
        }
    }
    None
}

/// The linker puts 16 bytes before and behind the text, by which it can be found in memory.
fn unwrapped(text: &[u8]) -> &[u8] {
    match text.len() {
        33.. if text[text.len() - 17] == b'\n' => &text[16..text.len() - 16],
        _ => &[],
    }
}

/// Lines of fields between tabs; what is not known is left out.
fn parse(text: &str) -> BuildInfo {
    let mut build = BuildInfo::default();
    let mut last_is_main = false;
    for line in text.lines().take(LINES_LIMIT_COUNT) {
        let (kind, rest) = line.split_once('\t').unwrap_or((line, ""));
        match kind {
            "path" => build.path = Some(rest.to_owned()),
            "mod" => {
                build.main = Some(module(rest));
                last_is_main = true;
            }
            "dep" => {
                build.dependencies.push(module(rest));
                last_is_main = false;
            }
            "=>" => {
                let replaced = if last_is_main {
                    build.main.as_mut()
                } else {
                    build.dependencies.last_mut()
                };
                if let Some(replaced) = replaced {
                    replaced.replacement = Some(Box::new(module(rest)));
                }
            }
            "build" => {
                if let Some((key, value)) = setting(rest) {
                    build.settings.insert(key, value);
                }
            }
            _ => {}
        }
    }
    build
}

fn module(fields: &str) -> Module {
    let mut fields = fields.split('\t').map(ToOwned::to_owned);
    Module {
        path: fields.next().unwrap_or_default(),
        version: fields.next().unwrap_or_default(),
        sum: fields.next().unwrap_or_default(),
        replacement: None,
    }
}

/// `KEY=VALUE`, each of them in quotes if it has a space or a quote in it.
fn setting(text: &str) -> Option<(String, String)> {
    let (key, rest) = if text.starts_with('"') || text.starts_with('`') {
        let (key, rest) = unquoted(text);
        (key, rest.strip_prefix('=')?)
    } else {
        let (key, rest) = text.split_once('=')?;
        (key.to_owned(), rest)
    };
    let value = if rest.starts_with('"') || rest.starts_with('`') {
        unquoted(rest).0
    } else {
        rest.to_owned()
    };
    Some((key, value))
}

/// What is between the quotes, and what comes after them. Of the escapes, those that flags have are undone.
fn unquoted(text: &str) -> (String, &str) {
    let mut characters = text.char_indices();
    let quote = characters.next().map_or('"', |(_, quote)| quote);
    let mut inner = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return (inner, &text[at + character.len_utf8()..]),
            '\\' if quote == '"' => match characters.next() {
                Some((_, 'n')) => inner.push('\n'),
                Some((_, 't')) => inner.push('\t'),
                Some((_, escaped)) => inner.push(escaped),
                None => break,
            },
            _ => inner.push(character),
        }
    }
    (inner, "")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn lines_become_modules_and_settings() {
        let build = parse(
            "path\texample.com/app/plug\nmod\texample.com/app\t(devel)\t\ndep\texample.com/dep\tv1.0.0\n\
             =>\t../dep\t(devel)\t\ndep\texample.com/other\tv2.0.0\th1:abc=\nbuild\t-gcflags=\"all=-N -l\"\n\
             build\tGOAMD64=v3\nbuild\tCGO_CFLAGS=\nnews\tx\n",
        );
        assert_eq!(build.path.as_deref(), Some("example.com/app/plug"));
        assert_eq!(build.main.unwrap().version, "(devel)");
        assert!(build.dependencies[0].is_directory());
        assert_eq!(build.dependencies[0].effective().path, "../dep");
        assert_eq!(build.dependencies[1].sum, "h1:abc=");
        assert_eq!(build.settings["-gcflags"], "all=-N -l");
        assert_eq!(build.settings["GOAMD64"], "v3");
        assert_eq!(build.settings["CGO_CFLAGS"], "");
    }

    /// A file with one segment, which can be written and is mapped at 0x1000, and in which these bytes begin at 0x40.
    pub(in crate::facts::go) fn file(is_big: bool, is_wide: bool, content: &[u8]) -> Elf {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.extend([if is_wide { 2 } else { 1 }, if is_big { 2 } else { 1 }, 1]);
        bytes.resize(16, 0);
        let mut put = |value: u64, len: usize| {
            let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
            bytes.extend_from_slice(if is_big { &big[8 - len..] } else { &little[..len] });
        };
        let word = if is_wide { 8 } else { 4 };
        let (header, entry) = if is_wide { (64, 56) } else { (52, 32) };
        let len = 0x40 + content.len() as u64;
        // Type, machine, version; entry, program headers (behind the content), section headers; flags and sizes.
        for (value, len) in [(3, 2), (62, 2), (1, 4), (0, word), (len, word), (0, word), (0, 4)] {
            put(value, len);
        }
        for value in [header, entry, 1, 0, 0, 0] {
            put(value, 2);
        }
        bytes.resize(0x40, 0);
        bytes.extend_from_slice(content);
        let mut put = |value: u64, len: usize| {
            let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
            bytes.extend_from_slice(if is_big { &big[8 - len..] } else { &little[..len] });
        };
        put(1, 4);
        if is_wide {
            put(6, 4);
        }
        for value in [0, 0x1000, 0x1000, len, len] {
            put(value, word);
        }
        if !is_wide {
            put(6, 4);
        }
        put(0x1000, word);
        Elf::read(bytes.into()).unwrap()
    }

    /// The text as the linker wraps it.
    fn wrapped() -> Vec<u8> {
        let mut text = vec![b'<'; 16];
        text.extend_from_slice(b"path\texample.com/app\nbuild\tGOARCH=any\n");
        text.extend([b'>'; 16]);
        text
    }

    #[test]
    fn the_layout_with_lengths_is_read() {
        let mut content = MAGIC.to_vec();
        content.extend([8, 2]);
        content.resize(32, 0);
        content.push(8);
        content.extend_from_slice(b"go1.24.4");
        let text = wrapped();
        content.push(text.len() as u8);
        content.extend_from_slice(&text);
        let build = read(&file(false, true, &content)).unwrap();
        assert_eq!(build.version, "go1.24.4");
        assert_eq!(build.path.as_deref(), Some("example.com/app"));
        assert_eq!(build.settings["GOARCH"], "any");
        for len in 32..content.len() {
            // Cut off anywhere, it is either read as far as it goes, or not there.
            let _ = read(&file(false, true, &content[..len]));
        }
    }

    #[test]
    fn the_layout_with_addresses_is_read_in_every_width_and_order() {
        for (is_big, is_wide) in [(false, false), (false, true), (true, false), (true, true)] {
            let width = if is_wide { 8 } else { 4 };
            let text = wrapped();
            let mut content = MAGIC.to_vec();
            content.extend([width as u8, u8::from(is_big)]);
            let mut put = |value: u64| {
                let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
                content.extend_from_slice(if is_big { &big[8 - width..] } else { &little[..width] });
            };
            // Two addresses of strings, and from 0x1080 on the strings: address and length.
            put(0x1080);
            put(0x10a0);
            content.resize(0x40, 0);
            for (address, len) in [(0x10c0_u64, 6_u64), (0x10d0, text.len() as u64)] {
                let start = content.len();
                for value in [address, len] {
                    let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
                    content.extend_from_slice(if is_big { &big[8 - width..] } else { &little[..width] });
                }
                content.resize(start + 0x20, 0);
            }
            content.extend_from_slice(b"go1.16");
            content.resize(0x90, 0);
            content.extend_from_slice(&text);
            let build = read(&file(is_big, is_wide, &content)).unwrap();
            assert_eq!(build.version, "go1.16", "{is_big} {is_wide}");
            assert_eq!(build.path.as_deref(), Some("example.com/app"), "{is_big} {is_wide}");
        }
    }

    #[test]
    fn quoted_settings_keep_what_is_in_them() {
        assert_eq!(
            setting(r#""a key"="-X \"main.x=1 2\"""#),
            Some(("a key".to_owned(), "-X \"main.x=1 2\"".to_owned()))
        );
        assert_eq!(setting("-tags=`a \\b`"), Some(("-tags".to_owned(), "a \\b".to_owned())));
        assert_eq!(setting("nothing"), None);
        assert_eq!(setting("\"open").map(|(key, _)| key), None);
    }

    #[test]
    fn the_text_is_between_two_marks_of_16_bytes() {
        let mut text = vec![1; 16];
        text.extend_from_slice(b"path\tx\n");
        text.extend([2; 16]);
        assert_eq!(unwrapped(&text), b"path\tx\n");
        assert_eq!(unwrapped(b"short"), b"");
        assert_eq!(unwrapped(&[0; 40]), b"");
    }
}
