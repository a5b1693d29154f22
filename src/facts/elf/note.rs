//! Notes (`PT_NOTE`, `PT_GNU_PROPERTY`): what a linker tells loaders and people about a file.
//!
//! Source: System V ABI, chapter 5; the Linux extensions to it (`NT_GNU_PROPERTY_TYPE_0`); `elf.h` of glibc.

use object::elf;

use super::image::Image;
use super::{Layout, Machine, Segment, SegmentKind};

/// No file has more notes; those behind are not read.
const NOTE_LIMIT_COUNT: usize = 1024;
/// No build ID is longer; one that is, is left out.
const BUILD_ID_LIMIT_BYTES: usize = 256;
/// No property note has more properties; those behind are not read.
const PROPERTY_LIMIT_COUNT: usize = 256;

const ABI_TAG: u32 = elf::NT_GNU_ABI_TAG.0;
const BUILD_ID: u32 = elf::NT_GNU_BUILD_ID.0;
const PROPERTIES: u32 = elf::NT_GNU_PROPERTY_TYPE_0.0;
/// Go's own build ID (`NT_GO_BUILD_ID` of the name `Go`).
const GO_BUILD_ID: u32 = 4;

/// What the notes of a file say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// `NT_GNU_BUILD_ID`.
    pub build_id: Option<Vec<u8>>,
    /// Go's build ID.
    pub go_build_id: Option<String>,
    /// `NT_GNU_ABI_TAG`: the oldest kernel that it runs on.
    pub abi_tag: Option<AbiTag>,
    /// `NT_GNU_PROPERTY_TYPE_0`; none if there is no such note.
    pub properties: Option<Properties>,
}

/// The oldest kernel that a file runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbiTag {
    /// The system; 0 is Linux.
    pub system: u32,
    /// Major, minor and patch.
    pub version: [u32; 3],
}

/// What a file needs of a processor, or is able to live with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties {
    /// `GNU_PROPERTY_X86_ISA_1_NEEDED`: bit 0 is the baseline, bits 1 to 3 are x86-64-v2 to x86-64-v4.
    pub isa_needed: Option<u32>,
    /// `GNU_PROPERTY_X86_ISA_1_USED`.
    pub isa_used: Option<u32>,
    /// `GNU_PROPERTY_X86_FEATURE_1_AND` (bit 0 is IBT, bit 1 SHSTK) or `GNU_PROPERTY_AARCH64_FEATURE_1_AND` (bit 0 is BTI,
    /// bit 1 PAC).
    pub feature_1_and: Option<u32>,
    /// `GNU_PROPERTY_1_NEEDED`: bit 0 says that there is no copy relocation against its protected data.
    pub needed_1: Option<u32>,
    /// `GNU_PROPERTY_STACK_SIZE`, in bytes.
    pub stack_size: Option<u64>,
    /// `GNU_PROPERTY_NO_COPY_ON_PROTECTED`.
    pub no_copy_on_protected: bool,
}

impl Notes {
    pub(super) fn read(image: &Image, machine: Machine, segments: &[Segment], problems: &mut Vec<String>) -> Self {
        let mut notes = Self::default();
        // Where there is a segment for the properties, loaders look for them nowhere else.
        let properties_in = if segments.iter().any(|segment| segment.kind == SegmentKind::Property) {
            SegmentKind::Property
        } else {
            SegmentKind::Note
        };
        let mut left = NOTE_LIMIT_COUNT;
        let mut is_cut = false;
        let kinds = [SegmentKind::Note, SegmentKind::Property];
        for segment in segments.iter().filter(|segment| kinds.contains(&segment.kind)) {
            let Some(bytes) = image.slice(segment.offset, segment.file_size) else {
                is_cut = true;
                continue;
            };
            let align = if segment.align == 8 { 8 } else { 4 };
            let mut walk = NoteWalk {
                layout: image.layout,
                bytes,
                align,
            };
            for note in walk.by_ref().take(left) {
                left -= 1;
                notes.add(image.layout, machine, &note, segment.kind == properties_in);
            }
            if left == 0 {
                problems.push(format!("of the notes only {NOTE_LIMIT_COUNT} are read"));
                break;
            }
            is_cut |= !walk.bytes.is_empty();
        }
        if is_cut {
            problems.push("a note is cut".to_owned());
        }
        notes
    }

    /// Of several notes of a kind the first one counts.
    fn add(&mut self, layout: Layout, machine: Machine, note: &Note<'_>, has_properties: bool) {
        match (note.name, note.kind) {
            (b"GNU", BUILD_ID) if self.build_id.is_none() && note.content.len() <= BUILD_ID_LIMIT_BYTES => {
                self.build_id = Some(note.content.to_vec());
            }
            (b"GNU", ABI_TAG) => {
                let word = |index: usize| layout.u32_in(note.content, index * 4);
                if let (None, Some(system), Some(major), Some(minor), Some(patch)) =
                    (self.abi_tag, word(0), word(1), word(2), word(3))
                {
                    self.abi_tag = Some(AbiTag {
                        system,
                        version: [major, minor, patch],
                    });
                }
            }
            (b"GNU", PROPERTIES) if self.properties.is_none() && has_properties => {
                self.properties = Some(Properties::read(layout, machine, note.content));
            }
            (b"Go", GO_BUILD_ID) if self.go_build_id.is_none() && note.content.len() <= BUILD_ID_LIMIT_BYTES => {
                self.go_build_id = Some(String::from_utf8_lossy(note.content).into_owned());
            }
            _ => {}
        }
    }
}

impl Properties {
    fn read(layout: Layout, machine: Machine, content: &[u8]) -> Self {
        let mut properties = Self::default();
        let align = layout.word_bytes();
        let mut rest = content;
        for _ in 0..PROPERTY_LIMIT_COUNT {
            let (Some(kind), Some(len)) = (layout.u32_in(rest, 0), layout.u32_in(rest, 4)) else {
                break;
            };
            let len = len as usize;
            let Some(data) = rest.get(8..).and_then(|rest| rest.get(..len)) else {
                break;
            };
            properties.add(layout, machine, kind, data);
            rest = rest.get(8 + len.next_multiple_of(align)..).unwrap_or_default();
        }
        properties
    }

    fn add(&mut self, layout: Layout, machine: Machine, kind: u32, data: &[u8]) {
        let is_x86 = matches!(machine, Machine::X86_64 | Machine::X86);
        let word = layout.u32_in(data, 0);
        match elf::GnuPropertyType(kind) {
            elf::GNU_PROPERTY_STACK_SIZE => {
                self.stack_size = match data.len() {
                    8 => layout.u64_in(data, 0),
                    _ => word.map(u64::from),
                }
            }
            elf::GNU_PROPERTY_NO_COPY_ON_PROTECTED => self.no_copy_on_protected = true,
            elf::GNU_PROPERTY_1_NEEDED => self.needed_1 = word,
            elf::GNU_PROPERTY_X86_ISA_1_NEEDED if is_x86 => self.isa_needed = word,
            elf::GNU_PROPERTY_X86_ISA_1_USED if is_x86 => self.isa_used = word,
            elf::GNU_PROPERTY_X86_FEATURE_1_AND if is_x86 => self.feature_1_and = word,
            elf::GNU_PROPERTY_AARCH64_FEATURE_1_AND if machine == Machine::Aarch64 => self.feature_1_and = word,
            _ => {}
        }
    }
}

struct Note<'a> {
    name: &'a [u8],
    kind: u32,
    content: &'a [u8],
}

/// The notes of a segment; `bytes` is what is left, and stays when a note is cut.
struct NoteWalk<'a> {
    layout: Layout,
    bytes: &'a [u8],
    align: usize,
}

impl<'a> Iterator for NoteWalk<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let name_len = self.layout.u32_in(self.bytes, 0)? as usize;
        let content_len = self.layout.u32_in(self.bytes, 4)? as usize;
        let kind = self.layout.u32_in(self.bytes, 8)?;
        let name = self.bytes.get(12..)?.get(..name_len)?;
        let content_start = 12_usize.checked_add(name_len)?.checked_next_multiple_of(self.align)?;
        let content = self.bytes.get(content_start..)?.get(..content_len)?;
        let end = content_start.checked_add(content_len)?.checked_next_multiple_of(4)?;
        // Some linkers put notes of both alignments into one segment, one right behind the other: what is aligned further
        // begins with nulls, which no note does.
        let is_filled = end % self.align != 0 && self.layout.u32_in(self.bytes, end) == Some(0);
        let end = if is_filled { end + 4 } else { end };
        self.bytes = self.bytes.get(end..).unwrap_or_default();
        Some(Note {
            name: name.strip_suffix(b"\0").map_or(name, trim_nulls),
            kind,
            content,
        })
    }
}

/// Some writers fill a name with nulls up to the alignment.
fn trim_nulls(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    name.get(..end).unwrap_or_default()
}
