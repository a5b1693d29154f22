//! The content of a file in a tar: where it lies in a map, or what of it was kept of a stream that is read only once.
//!
//! Of a stream, ELF files are kept without their instructions and what only debuggers read, and the files that
//! loaders and `ldconfig` read are kept whole, all of it compressed: of a gigabyte some tens of megabytes stay. What was
//! left out of an ELF file reads as zeros.

use std::io::{self, Read, Write as _};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use memmap2::MmapMut;

use super::spare::{has_section_names, spare_sections, spare_segments, tables_are_kept};

/// What is kept of every file: enough to say what it is not.
const HEAD_BYTES: u64 = 64;
/// How much of an ELF file is looked at for its program headers.
const ELF_HEAD_BYTES: u64 = 64 * 1024;
/// The largest ELF file of which something is kept.
const ELF_LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// How much of one ELF file is held before it is compressed.
const ELF_HELD_LIMIT_BYTES: u64 = 256 * 1024 * 1024;
/// The largest other file that is kept.
const WHOLE_LIMIT_BYTES: u64 = 1024 * 1024;
/// A content of at most this many bytes is not compressed.
const PLAIN_LIMIT_BYTES: u64 = 512;
/// How much is kept of one root, compressed.
const KEPT_LIMIT_BYTES: u64 = 512 * 1024 * 1024;
/// The piece in which content is read.
const PIECE_BYTES: usize = 64 * 1024;
/// How many tables of section names are looked for in what is passed over of one file. Debug information may mention them.
const NAME_TABLES_LIMIT_COUNT: usize = 64;
/// How an ELF file begins.
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// What is there of a file's content.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// All of it.
    Plain(Bytes),
    /// Parts of it, compressed.
    Packed(Arc<Packed>),
    /// The beginning alone.
    Head(Bytes),
}

/// Content that is unpacked when it is asked for.
#[derive(Debug)]
pub(super) struct Packed {
    len: u64,
    /// The parts that are kept, in order.
    kept: Vec<Range<u64>>,
    deflated: Vec<u8>,
}

impl Content {
    /// The content for those who read an ELF file; none if it is one and was not kept.
    pub(super) fn object(&self) -> Option<Bytes> {
        match self {
            Self::Plain(bytes) => Some(bytes.clone()),
            Self::Packed(packed) => packed.unpack().ok(),
            // It says as well as the whole that it is none.
            Self::Head(head) => (!head.starts_with(ELF_MAGIC)).then(|| head.clone()),
        }
    }

    /// All of the content; none if some was left out or it is larger than `limit`.
    pub(super) fn whole(&self, limit: u64) -> Option<Bytes> {
        match self {
            Self::Plain(bytes) => (bytes.len() as u64 <= limit).then(|| bytes.clone()),
            Self::Packed(packed) if packed.len <= limit && packed.is_whole() => packed.unpack().ok(),
            Self::Packed(_) | Self::Head(_) => None,
        }
    }
}

impl Packed {
    /// Only for content that has one byte at least, since nothing can be mapped.
    fn pack(content: &[u8], kept: Vec<Range<u64>>) -> io::Result<Self> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        for range in &kept {
            encoder.write_all(part(content, range)?)?;
        }
        let mut deflated = encoder.finish()?;
        deflated.shrink_to_fit();
        Ok(Self {
            len: content.len() as u64,
            kept,
            deflated,
        })
    }

    fn is_whole(&self) -> bool {
        self.kept.len() == 1 && self.kept[0] == (0..self.len)
    }

    /// In memory of which only what was kept takes any.
    fn unpack(&self) -> io::Result<Bytes> {
        let mut map = MmapMut::map_anon(length(self.len)?)?;
        let mut decoder = DeflateDecoder::new(&self.deflated[..]);
        for range in &self.kept {
            decoder.read_exact(part_mut(&mut map, range)?)?;
        }
        Ok(Bytes::from_owner(map.make_read_only()?))
    }
}

/// Decides what is kept of a stream, and counts it.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    kept_bytes: u64,
}

impl Keeper {
    /// Takes what is kept of a file. `path` is relative to the root.
    pub(super) fn keep(&mut self, path: &[u8], len: u64, content: &mut dyn Read) -> io::Result<Content> {
        let mut head = Vec::new();
        content.take(HEAD_BYTES.min(len)).read_to_end(&mut head)?;
        if head.len() as u64 == len {
            return Ok(Content::Plain(head.into()));
        }
        let content = &mut content.take(len - head.len() as u64);
        let packed = if self.kept_bytes >= KEPT_LIMIT_BYTES {
            None
        } else if head.starts_with(ELF_MAGIC) {
            pack_elf(&head, len, content)?
        } else if is_read_by_loaders(path) && len <= WHOLE_LIMIT_BYTES {
            let mut whole = head.clone();
            content.read_to_end(&mut whole)?;
            check_end(whole.len() as u64, len)?;
            if len <= PLAIN_LIMIT_BYTES {
                self.kept_bytes += len;
                return Ok(Content::Plain(whole.into()));
            }
            Some(Packed::pack(&whole, without(len, &[]))?)
        } else {
            None
        };
        Ok(match packed {
            Some(packed) => {
                self.kept_bytes += packed.deflated.len() as u64;
                Content::Packed(Arc::new(packed))
            }
            None => {
                self.kept_bytes += head.len() as u64;
                Content::Head(head.into())
            }
        })
    }
}

/// Whether a file that is no ELF file can matter: configuration, what stands in a library's place, the lists of packages' files,
/// and what a bundle says of itself.
fn is_read_by_loaders(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    path.starts_with(b"etc/")
        || path.starts_with(b"var/lib/dpkg/info/") && name.ends_with(b".list")
        || path.ends_with(b"lib/apk/db/installed")
        || name == b"os-release"
        || name == b"manifest.json"
        || name.windows(3).any(|part| part == b".so")
}

/// Keeps of an ELF file what loaders read; none if it has too much of that.
fn pack_elf(head: &[u8], len: u64, content: &mut dyn Read) -> io::Result<Option<Packed>> {
    if len > ELF_LIMIT_BYTES {
        return Ok(None);
    }
    // Pages that are never written to take no memory.
    let mut held = MmapMut::map_anon(length(len)?)?;
    held[..head.len()].copy_from_slice(head);
    let mut at = head.len() as u64;
    let first = len.min(ELF_HEAD_BYTES);
    content.read_exact(&mut held[length(at)?..length(first)?])?;
    at = first;
    let mut spare = spare_segments(&held, first);
    let held_bytes: u64 = len - spare.iter().map(|range| range.end - range.start).sum::<u64>();
    if held_bytes > ELF_HELD_LIMIT_BYTES {
        return Ok(None);
    }
    let (mut piece, mut last) = (vec![0; PIECE_BYTES], at..at);
    let mut last_piece = vec![0; PIECE_BYTES];
    let mut name_tables_count = 0;
    while at < len {
        // A piece never lies on both sides of a border.
        let borders = spare.iter().flat_map(|range| [range.start, range.end]);
        let border = borders.filter(|border| *border > at).min().unwrap_or(len);
        let this = at..at + (border.min(len) - at).min(PIECE_BYTES as u64);
        let size = length(this.end - this.start)?;
        content.read_exact(&mut piece[..size])?;
        if !spare.iter().any(|range| range.contains(&at)) {
            part_mut(&mut held, &this)?.copy_from_slice(&piece[..size]);
        } else if name_tables_count < NAME_TABLES_LIMIT_COUNT {
            let before = &last_piece[..length(last.end - last.start)?];
            if has_section_names(before, &piece[..size]) {
                name_tables_count += 1;
                part_mut(&mut held, &last)?.copy_from_slice(before);
                part_mut(&mut held, &this)?.copy_from_slice(&piece[..size]);
                spare = cut(spare, &(last.start..this.end.saturating_add(PIECE_BYTES as u64)));
            }
        }
        at = this.end;
        last = this;
        std::mem::swap(&mut piece, &mut last_piece);
    }
    if !tables_are_kept(&held, &spare) {
        return Ok(None);
    }
    let spare = joined(spare.into_iter().chain(spare_sections(&held)).collect());
    Packed::pack(&held, without(len, &spare)).map(Some)
}

/// Sorted, and without overlaps.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// What of `len` bytes is in none of the ranges, which are [`joined`].
fn without(len: u64, spare: &[Range<u64>]) -> Vec<Range<u64>> {
    let starts = std::iter::once(0).chain(spare.iter().map(|range| range.end));
    let ends = spare.iter().map(|range| range.start).chain([len]);
    let between = starts.zip(ends).map(|(start, end)| start..end.min(len));
    between.filter(|range| range.start < range.end).collect()
}

/// The ranges without what is in `kept`.
fn cut(ranges: Vec<Range<u64>>, kept: &Range<u64>) -> Vec<Range<u64>> {
    let sides = |range: Range<u64>| {
        [
            range.start..range.end.min(kept.start),
            range.start.max(kept.end)..range.end,
        ]
    };
    let parts = ranges.into_iter().flat_map(sides);
    parts.filter(|range| range.start < range.end).collect()
}

fn part<'a>(content: &'a [u8], range: &Range<u64>) -> io::Result<&'a [u8]> {
    let part = content.get(length(range.start)?..length(range.end)?);
    part.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn part_mut<'a>(content: &'a mut [u8], range: &Range<u64>) -> io::Result<&'a mut [u8]> {
    let part = content.get_mut(length(range.start)?..length(range.end)?);
    part.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn length(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

fn check_end(read: u64, expected: u64) -> io::Result<()> {
    if read == expected {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Elf;
    use proptest::prelude::*;
    use std::path::{Path, PathBuf};

    fn keep(path: &str, bytes: &[u8]) -> Content {
        Keeper::default()
            .keep(path.as_bytes(), bytes.len() as u64, &mut &bytes[..])
            .unwrap()
    }

    /// ELF files of this machine: libraries, plugins, programs; static, stripped and not.
    fn samples() -> Vec<PathBuf> {
        const COUNT: usize = 150;
        const LIMIT_BYTES: u64 = 8 << 20;
        let mut found = Vec::new();
        for directory in [
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/usr/bin",
            "/usr/lib/debug/.dwz",
        ] {
            let Ok(entries) = std::fs::read_dir(directory) else {
                continue;
            };
            let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let mut files: Vec<PathBuf> = files
                .filter(|path| {
                    path.metadata()
                        .is_ok_and(|file| file.is_file() && file.len() < LIMIT_BYTES)
                })
                .collect();
            files.sort();
            let step = files.len().div_ceil(COUNT).max(1);
            found.extend(files.into_iter().step_by(step));
        }
        found.push(std::env::current_exe().unwrap());
        found
    }

    /// All that is asked of a file that a loader maps.
    fn facts(elf: &Elf) -> String {
        let symbols: Vec<_> = elf
            .symbols()
            .map(|(index, symbol)| (index, symbol, elf.version_of(index)))
            .collect();
        let relocations: Vec<_> = elf.relocations().collect();
        let sections: Vec<_> = [
            ".comment",
            ".dep-v0",
            ".go.buildinfo",
            ".note.gnu.build-id",
            ".rodata",
            ".data",
        ]
        .map(|name| elf.section(name))
        .into();
        let versions: Vec<_> = (0..64).map(|index| elf.version(index)).collect();
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {symbols:?} {relocations:?} {sections:?} {versions:?}",
            elf.header,
            elf.segments,
            elf.interpreter,
            elf.dynamic,
            elf.tls,
            elf.stack_flags,
            elf.needs,
            elf.definitions,
            elf.notes,
            elf.problems,
        )
    }

    fn check_packed(path: &Path) -> (u64, u64) {
        check_packed_bytes(std::fs::read(path).unwrap(), path)
    }

    fn check_packed_bytes(bytes: Vec<u8>, path: &Path) -> (u64, u64) {
        let content = keep("x", &bytes);
        let Content::Packed(packed) = &content else {
            assert!(!bytes.starts_with(ELF_MAGIC), "{}", path.display());
            return (0, 0);
        };
        let unpacked = content.object().unwrap();
        assert_eq!(unpacked.len(), bytes.len());
        for range in &packed.kept {
            assert_eq!(
                part(&unpacked, range).unwrap(),
                part(&bytes, range).unwrap(),
                "{}",
                path.display()
            );
        }
        let (expected, found) = (Elf::read(bytes.into()).unwrap(), Elf::read(unpacked).unwrap());
        assert!(facts(&expected) == facts(&found), "{} differs", path.display());
        (packed.len, packed.deflated.len() as u64)
    }

    #[test]
    fn what_was_kept_of_an_elf_file_answers_as_the_whole() {
        let (mut count, mut whole, mut kept) = (0, 0, 0);
        for path in samples() {
            let (len, packed) = check_packed(&path);
            count += u64::from(len > 0);
            whole += len;
            kept += packed;
        }
        assert!(count > 50, "only {count} ELF files");
        assert!(kept * 3 < whole, "{kept} of {whole} bytes were kept");
    }

    /// LLD puts the names of sections before the names of symbols, which can be more than is held.
    #[test]
    fn names_of_sections_are_kept_wherever_they_are() {
        const SECTION_BYTES: usize = 64;
        let original = std::fs::read("/bin/true").unwrap();
        let number = |at: usize, size: usize| {
            let bytes = original[at..at + size].iter().rev();
            bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        let (headers, count, names) = (number(40, 8), number(60, 2), number(62, 2));
        let header = headers + names * SECTION_BYTES;
        let table = &original[number(header + 24, 8)..][..number(header + 32, 8)];
        let mut bytes = original[..headers].to_vec();
        bytes.resize(original.len() + (20 << 20), 1);
        let names_start = bytes.len();
        bytes.extend_from_slice(table);
        bytes.resize(bytes.len() + (40 << 20), 1);
        let headers_start = bytes.len();
        bytes.extend_from_slice(&original[headers..headers + count * SECTION_BYTES]);
        bytes[40..48].copy_from_slice(&headers_start.to_le_bytes());
        let at = headers_start + names * SECTION_BYTES + 24;
        bytes[at..at + 8].copy_from_slice(&names_start.to_le_bytes());
        let elf = Elf::read(bytes.clone().into()).unwrap();
        assert!(elf.section(".note.gnu.build-id").is_some());
        let (_, kept) = check_packed_bytes(bytes, Path::new("/bin/true, larger"));
        assert!(kept < original.len() as u64, "{kept} bytes were kept");
    }

    #[test]
    fn names_of_sections_are_seen_across_pieces() {
        let table = b"xx\0.symtab\0.shstrtab\0.strtab\0";
        let end = table.len() - b".strtab\0".len();
        for at in 0..end {
            assert!(has_section_names(&table[..at], &table[at..]), "{at}");
            assert!(!has_section_names(&table[..at], &table[at..end - 1]), "{at}");
        }
        // What the part before has was seen there.
        assert!(!has_section_names(&table[..end], &table[end..]));
    }

    #[test]
    fn what_no_loader_reads_is_not_kept() {
        let text = vec![b'x'; 1000];
        for (path, len, is_kept) in [
            ("etc/ld.so.conf", 1000, true),
            ("usr/lib/libc.so", 1000, true),
            ("usr/lib/os-release", 1000, true),
            ("usr/share/doc/x", 1000, false),
            ("usr/share/doc/x", 64, true),
            ("usr/share/doc/x", 0, true),
        ] {
            let content = keep(path, &text[..len]);
            assert_eq!(
                content.whole(u64::MAX).map(|bytes| bytes.len()),
                is_kept.then_some(len),
                "{path}"
            );
            assert_eq!(content.whole(len as u64).is_some(), is_kept, "{path}");
            assert!(len == 0 || content.whole(len as u64 - 1).is_none(), "{path}");
            // That it is no ELF file is known all the same.
            assert!(Elf::read(content.object().unwrap()).is_err(), "{path}");
        }
    }

    #[test]
    fn content_that_is_cut_off_is_an_error() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for (path, bytes) in [("etc/x", vec![b'x'; 9999]), ("x", own)] {
            let len = bytes.len() as u64;
            let kept = Keeper::default().keep(path.as_bytes(), len, &mut &bytes[..bytes.len() / 2]);
            assert_eq!(kept.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    proptest! {
        #[test]
        fn changed_headers_make_no_panic_and_no_lie(
            changes in proptest::collection::vec((0_usize..1000, any::<u8>()), 1..20),
            late in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        ) {
            let mut bytes = std::fs::read("/bin/true").unwrap();
            for (offset, byte) in changes {
                // The magic number stays.
                let len = bytes.len();
                bytes[4 + offset % (len - 4)] = byte;
            }
            for (index, byte) in late {
                let at = index.index(bytes.len() - 4);
                bytes[4 + at] = byte;
            }
            let content = keep("x", &bytes);
            if let Content::Packed(packed) = &content {
                let unpacked = content.object().unwrap();
                for range in &packed.kept {
                    prop_assert_eq!(part(&unpacked, range).unwrap(), part(&bytes, range).unwrap());
                }
            }
        }

        #[test]
        fn ranges_and_gaps_are_all(ranges in proptest::collection::vec((0_u64..100, 0_u64..30), 0..12)) {
            let ranges: Vec<Range<u64>> = ranges.into_iter().map(|(start, len)| start..(start + len).min(100)).collect();
            let spare = joined(ranges.clone());
            let kept = without(100, &spare);
            for at in 0..100 {
                let is_spare = ranges.iter().any(|range| range.contains(&at));
                prop_assert_eq!(kept.iter().any(|range| range.contains(&at)), !is_spare);
            }
        }
    }
}
