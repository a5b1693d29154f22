//! Files, one by one: who has them, and what is said of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};

use serde::Serialize;

use super::object::{self, PartDifference};
use super::packages::Files;
use super::{CompareError, Side, shown};
use crate::image::{EntryKind, Node, timestamp};
use crate::rootfs::{Contents, Place};

/// How many files are told one by one.
const FILES_LIMIT_COUNT: usize = 100_000;
/// The largest ELF file of which is told in which section it differs: it is held in memory.
const ELF_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How much of two files is compared at once.
const BUFFER_BYTES: usize = 256 * 1024;
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// The attribute in which a file's capabilities are.
const CAPABILITY: &str = "security.capability";

/// A path at which the two differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileDifference {
    /// Absolute.
    pub path: String,
    /// In what.
    pub differences: Vec<Difference>,
}

/// One thing in which two entries differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What.
    pub what: Aspect,
    /// The attribute's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the one has; none if it has nothing.
    pub a: Option<String>,
    /// What the other one has.
    pub b: Option<String>,
    /// Of a content: the first byte that differs, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Of an ELF file's content: where in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartDifference>,
}

/// In what two entries can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Only one has it.
    Presence,
    /// What it is.
    Kind,
    /// The bytes of a file.
    Content,
    /// Where a link leads.
    Target,
    /// Which file it is another name of.
    Name,
    /// A device's numbers.
    Device,
    /// Permissions.
    Mode,
    /// User and group.
    Owner,
    /// An extended attribute.
    Attribute,
    /// When it was changed.
    Time,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<FileDifference>,
    pub(super) of_packages: usize,
    pub(super) left_out: usize,
    pub(super) compared: usize,
}

/// Compares all paths.
pub(super) fn differences(a: Side<'_>, b: Side<'_>, of_packages: &Files) -> Result<Found, CompareError> {
    let (first_a, first_b) = (first_names(a.contents), first_names(b.contents));
    let mut found = Found::default();
    let (mut left, mut right) = (a.contents.iter().peekable(), b.contents.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let one = order.is_le().then(|| left.next()).flatten();
        let other = order.is_ge().then(|| right.next()).flatten();
        let Some((path, _)) = one.or(other) else { break };
        found.compared += 1;
        let differences = match (one, other) {
            (Some((_, one)), Some((_, other))) => {
                let names = (another_name(&first_a, path, one), another_name(&first_b, path, other));
                compared((a, one), (b, other), names)?
            }
            (one, other) => vec![Difference::new(
                Aspect::Presence,
                one.map(|(_, node)| described(node)),
                other.map(|(_, node)| described(node)),
            )],
        };
        if differences.is_empty() {
            continue;
        }
        if of_packages.contains(path) {
            found.of_packages += 1;
        } else if found.files.len() == FILES_LIMIT_COUNT {
            found.left_out += 1;
        } else {
            found.files.push(FileDifference {
                path: shown(path),
                differences,
            });
        }
    }
    Ok(found)
}

impl Difference {
    pub(super) fn new(what: Aspect, a: Option<String>, b: Option<String>) -> Self {
        Self {
            what,
            name: None,
            a,
            b,
            offset: None,
            parts: vec![],
        }
    }

    fn between(what: Aspect, a: impl Into<Option<String>>, b: impl Into<Option<String>>) -> Option<Self> {
        let (a, b) = (a.into(), b.into());
        (a != b).then(|| Self::new(what, a, b))
    }
}

/// Of files that have several names, the first.
fn first_names(contents: &Contents) -> BTreeMap<Place, &[u8]> {
    let mut first: BTreeMap<Place, (&[u8], bool)> = BTreeMap::new();
    for (path, node) in contents.iter().filter(|(_, node)| is_file(node)) {
        let known = first.entry(node.content).or_insert((path, false));
        known.1 |= known.0 != path;
    }
    first.retain(|_, (_, has_others)| *has_others);
    first.into_iter().map(|(place, (path, _))| (place, path)).collect()
}

/// The first name of a file that has several, for all others.
fn another_name(first: &BTreeMap<Place, &[u8]>, path: &[u8], node: &Node<Place>) -> Option<String> {
    let first = first.get(&node.content).filter(|_| is_file(node))?;
    (*first != path).then(|| shown(first))
}

fn is_file(node: &Node<Place>) -> bool {
    matches!(node.entry.kind, EntryKind::File { .. } | EntryKind::Hardlink(_))
}

fn kind(node: &Node<Place>) -> &'static str {
    match node.entry.kind {
        EntryKind::File { .. } | EntryKind::Hardlink(_) => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink(_) => "link",
        EntryKind::Fifo => "pipe",
        EntryKind::Character { .. } => "character device",
        EntryKind::Block { .. } => "block device",
    }
}

fn bytes(count: u64) -> String {
    match count {
        1 => "1 byte".to_owned(),
        count => format!("{count} bytes"),
    }
}

/// What is there, in few words.
fn described(node: &Node<Place>) -> String {
    match &node.entry.kind {
        EntryKind::Symlink(target) => format!("link to {}", String::from_utf8_lossy(target)),
        _ if is_file(node) => format!("file, {}", bytes(node.content.size_bytes)),
        _ => kind(node).to_owned(),
    }
}

/// In what two entries of one path differ.
fn compared(
    (a, one): (Side<'_>, &Node<Place>),
    (b, other): (Side<'_>, &Node<Place>),
    names: (Option<String>, Option<String>),
) -> Result<Vec<Difference>, CompareError> {
    if kind(one) != kind(other) {
        let kinds = Difference::new(Aspect::Kind, Some(described(one)), Some(described(other)));
        return Ok(vec![kinds]);
    }
    let mut differences = Vec::new();
    match (&one.entry.kind, &other.entry.kind) {
        (EntryKind::Symlink(one), EntryKind::Symlink(other)) => {
            let text = |target: &Vec<u8>| String::from_utf8_lossy(target).into_owned();
            // Two targets may look the same and be none.
            let target = (one != other).then(|| Difference::new(Aspect::Target, Some(text(one)), Some(text(other))));
            differences.extend(target);
        }
        (
            EntryKind::Character { major, minor } | EntryKind::Block { major, minor },
            EntryKind::Character {
                major: other_major,
                minor: other_minor,
            }
            | EntryKind::Block {
                major: other_major,
                minor: other_minor,
            },
        ) => differences.extend(Difference::between(
            Aspect::Device,
            format!("{major}:{minor}"),
            format!("{other_major}:{other_minor}"),
        )),
        _ if is_file(one) => {
            differences.extend(content((a, one), (b, other))?);
            differences.extend(Difference::between(Aspect::Name, names.0, names.1));
        }
        _ => {}
    }
    let (one, other) = (&one.entry, &other.entry);
    // A link has no permissions.
    if !matches!(one.kind, EntryKind::Symlink(_)) {
        let mode = |mode: u32| format!("{mode:04o}");
        differences.extend(Difference::between(Aspect::Mode, mode(one.mode), mode(other.mode)));
    }
    differences.extend(Difference::between(
        Aspect::Owner,
        format!("{}:{}", one.uid, one.gid),
        format!("{}:{}", other.uid, other.gid),
    ));
    let mut attributes: Vec<&String> = one.attributes.keys().chain(other.attributes.keys()).collect();
    attributes.sort();
    attributes.dedup();
    for name in attributes {
        let (one, other) = (one.attributes.get(name), other.attributes.get(name));
        if one != other {
            let value = |value: Option<&Vec<u8>>| value.map(|value| attribute(name, value));
            differences.push(Difference {
                name: Some(name.clone()),
                ..Difference::new(Aspect::Attribute, value(one), value(other))
            });
        }
    }
    differences.extend(Difference::between(
        Aspect::Time,
        timestamp(one.mtime_seconds),
        timestamp(other.mtime_seconds),
    ));
    Ok(differences)
}

/// An attribute's value: capabilities by their bits (`linux/capability.h`, `vfs_cap_data`), a text as it is, else its bytes.
fn attribute(name: &str, value: &[u8]) -> String {
    let word = |at: usize| {
        value
            .get(at..at + 4)
            .and_then(|word| Some(u32::from_le_bytes(word.try_into().ok()?)))
    };
    if name == CAPABILITY
        && let (Some(flags), Some(low), Some(inheritable)) = (word(0), word(4), word(8))
    {
        let (high, inheritable_high) = (word(12).unwrap_or(0), word(16).unwrap_or(0));
        let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let effective = if flags & 1 == 1 { ", effective" } else { "" };
        return format!(
            "permitted {:#x}, inheritable {:#x}{effective}",
            wide(low, high),
            wide(inheritable, inheritable_high)
        );
    }
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().fold(String::from("0x"), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    }
}

/// In what the contents of two files differ.
fn content(
    (a, one): (Side<'_>, &Node<Place>),
    (b, other): (Side<'_>, &Node<Place>),
) -> Result<Option<Difference>, CompareError> {
    if a.contents.is_same_place(one.content, b.contents, other.content) {
        return Ok(None);
    }
    let path = &one.entry.path;
    let mut left = a.contents.open(path).map_err(a.failed(path))?;
    let mut right = b.contents.open(path).map_err(b.failed(path))?;
    let (mut one_piece, mut other_piece) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let (mut offset, mut is_elf) = (0, false);
    loop {
        let read = fill(&mut *left, &mut one_piece).map_err(a.failed(path))?;
        let other_read = fill(&mut *right, &mut other_piece).map_err(b.failed(path))?;
        let (left_piece, right_piece) = (&one_piece[..read], &other_piece[..other_read]);
        if offset == 0 {
            is_elf = left_piece.starts_with(ELF_MAGIC) && right_piece.starts_with(ELF_MAGIC);
        }
        if left_piece != right_piece {
            let same = left_piece
                .iter()
                .zip(right_piece)
                .take_while(|(one, other)| one == other);
            offset += same.count() as u64;
            break;
        }
        if read == 0 {
            return Ok(None);
        }
        offset += read as u64;
    }
    let (size, other_size) = (one.content.size_bytes, other.content.size_bytes);
    let parts = match is_elf && size.max(other_size) <= ELF_LIMIT_BYTES {
        true => object::differences(
            a.contents.read(path, ELF_LIMIT_BYTES).map_err(a.failed(path))?,
            b.contents.read(path, ELF_LIMIT_BYTES).map_err(b.failed(path))?,
        ),
        false => vec![],
    };
    Ok(Some(Difference {
        offset: Some(offset),
        parts,
        ..Difference::new(Aspect::Content, Some(bytes(size)), Some(bytes(other_size)))
    }))
}

/// Reads until the buffer is full or there is no more.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
