//! Reads a root filesystem's tar: ustar, pax and GNU's long names.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use super::LayerError;
use super::entry::{Entry, EntryKind, clean_path};

/// How many entries a tar may have; a Debian image with four compilers has some 25,000.
pub(super) const ENTRY_LIMIT_COUNT: u64 = 4_000_000;
/// The largest extended header; it holds a path, a link's target and capabilities.
const EXTENDED_HEADER_LIMIT_BYTES: u64 = 1024 * 1024;
/// The largest file: what a size field of octal digits can say.
const FILE_LIMIT_BYTES: u64 = 8 * 1024 * 1024 * 1024 - 1;
/// How pax names extended attributes.
pub(super) const ATTRIBUTE_PREFIX: &str = "SCHILY.xattr.";
/// How libarchive (bsdtar) names them as well, with values in base64. Engines do not read that, and GNU's tar does not.
const LIBARCHIVE_PREFIX: &str = "LIBARCHIVE.xattr.";

/// Takes each entry with its content.
pub(super) type Visit<'a> = dyn FnMut(Entry, &mut dyn Read) -> Result<(), LayerError> + 'a;
/// Takes each entry with the place of its content, in bytes from the beginning of the tar, and the content.
type VisitAt<'a> = dyn FnMut(Entry, u64, &mut dyn Read) -> Result<(), LayerError> + 'a;

/// Calls `visit` with every entry but the root itself, in the tar's order.
///
/// # Errors
/// [`LayerError`] for what is no tar or leads outside the root, and what `visit` fails with.
pub fn read_tar(reader: impl Read, visit: &mut Visit<'_>) -> Result<(), LayerError> {
    let mut archive = tar::Archive::new(reader);
    let entries = archive.entries().map_err(LayerError::Read)?;
    read_entries(entries, Reader::Engine, &mut |entry, _, content| visit(entry, content))
}

/// The same for what is no layer: any tool may unpack it.
///
/// # Errors
/// As [`read_tar`].
pub fn read_root_tar(reader: impl Read, visit: &mut Visit<'_>) -> Result<(), LayerError> {
    let mut archive = tar::Archive::new(reader);
    let entries = archive.entries().map_err(LayerError::Read)?;
    read_entries(entries, Reader::AnyTool, &mut |entry, _, content| visit(entry, content))
}

/// The same for a tar that need not be read through: what `visit` does not read of a content is passed over, and may be
/// missing.
///
/// # Errors
/// As [`read_tar`].
pub fn read_tar_in_place(reader: impl Read + Seek, visit: &mut VisitAt<'_>) -> Result<(), LayerError> {
    let mut archive = tar::Archive::new(reader);
    let entries = archive.entries_with_seek().map_err(LayerError::Read)?;
    read_entries(entries, Reader::Engine, visit)
}

/// The same for what is no layer: any tool may unpack it.
///
/// # Errors
/// As [`read_tar`].
pub fn read_root_tar_in_place(reader: impl Read + Seek, visit: &mut VisitAt<'_>) -> Result<(), LayerError> {
    let mut archive = tar::Archive::new(reader);
    let entries = archive.entries_with_seek().map_err(LayerError::Read)?;
    read_entries(entries, Reader::AnyTool, visit)
}

/// Who is to unpack a tar: tools do not agree on how extended attributes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// An engine.
    Engine,
    /// One of the tools that there are.
    AnyTool,
}

fn read_entries<R: Read>(entries: tar::Entries<'_, R>, by: Reader, visit: &mut VisitAt<'_>) -> Result<(), LayerError> {
    let mut extended = Extended::default();
    let mut count = 0;
    // Raw, because the library takes a line end in an attribute's value for the end of the attribute.
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(LayerError::Read)?;
        count += 1;
        if count > ENTRY_LIMIT_COUNT {
            return Err(LayerError::TooMany {
                limit: ENTRY_LIMIT_COUNT,
            });
        }
        match entry.header().entry_type() {
            tar::EntryType::XHeader => extended.pax(&read_limited(&mut entry)?)?,
            tar::EntryType::GNULongName => extended.path = Some(without_nul(read_limited(&mut entry)?)),
            tar::EntryType::GNULongLink => extended.link = Some(without_nul(read_limited(&mut entry)?)),
            tar::EntryType::XGlobalHeader => {}
            _ => {
                let header = entry.header().clone();
                let mut all = std::mem::take(&mut extended);
                if by == Reader::AnyTool {
                    for (name, value) in std::mem::take(&mut all.of_libarchive) {
                        all.attributes.entry(name).or_insert(value);
                    }
                }
                if let Some(found) = all.entry(&header)? {
                    visit(found, entry.raw_file_position(), &mut entry)?;
                }
            }
        }
    }
    Ok(())
}

fn read_limited(entry: &mut impl Read) -> Result<Vec<u8>, LayerError> {
    let mut bytes = Vec::new();
    let mut limited = entry.take(EXTENDED_HEADER_LIMIT_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(LayerError::Read)?;
    if bytes.len() as u64 > EXTENDED_HEADER_LIMIT_BYTES {
        return Err(malformed("an extended header is too large"));
    }
    Ok(bytes)
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

fn malformed(cause: &str) -> LayerError {
    LayerError::Read(io::Error::new(io::ErrorKind::InvalidData, cause.to_owned()))
}

/// What extended headers say about the entry that follows them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime_seconds: Option<u64>,
    attributes: BTreeMap<String, Vec<u8>>,
    /// Those that are written as only libarchive reads them.
    of_libarchive: BTreeMap<String, Vec<u8>>,
}

impl Extended {
    /// Takes pax records: `<length> <key>=<value>\n`, where the length counts itself and all else (POSIX, pax).
    fn pax(&mut self, mut records: &[u8]) -> Result<(), LayerError> {
        while !records.is_empty() {
            let bad = || malformed("a pax record is malformed");
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
            let length: usize = number(&records[..space]).ok_or_else(bad)?;
            if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(bad());
            }
            let record = &records[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.uid = Some(number(value).ok_or_else(bad)?),
                b"gid" => self.gid = Some(number(value).ok_or_else(bad)?),
                b"mtime" => {
                    let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                    // A time before the epoch has a sign, and becomes the epoch.
                    self.mtime_seconds = Some(number(whole).unwrap_or(0));
                }
                b"size" => {
                    return Err(LayerError::FileTooLarge {
                        limit: FILE_LIMIT_BYTES,
                    });
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(malformed("sparse files are not supported")),
                key => {
                    let named = |prefix: &str| {
                        let name = key.strip_prefix(prefix.as_bytes()).map(String::from_utf8_lossy);
                        name.filter(|name| Entry::has_attribute(name))
                    };
                    if let Some(name) = named(ATTRIBUTE_PREFIX) {
                        self.attributes.insert(name.into_owned(), value.to_vec());
                    } else if let Some(name) = named(LIBARCHIVE_PREFIX) {
                        self.of_libarchive.insert(name.into_owned(), base64(value));
                    }
                }
            }
            records = &records[length..];
        }
        Ok(())
    }

    /// The entry; none for the root itself.
    fn entry(self, header: &tar::Header) -> Result<Option<Entry>, LayerError> {
        let given = self.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let outside = |path: &[u8]| LayerError::Outside {
            path: String::from_utf8_lossy(path).into_owned(),
        };
        let path = clean_path(&given).ok_or_else(|| outside(&given))?;
        if path.is_empty() {
            return Ok(None);
        }
        let link = self
            .link
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        let device = || -> io::Result<(u32, u32)> {
            let major = header.device_major()?.unwrap_or(0);
            Ok((major, header.device_minor()?.unwrap_or(0)))
        };
        let kind = match header.entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                // Old tars mark directories by a slash alone.
                if given.ends_with(b"/") {
                    EntryKind::Directory
                } else {
                    let size_bytes = header.size().map_err(LayerError::Read)?;
                    if size_bytes > FILE_LIMIT_BYTES {
                        return Err(LayerError::FileTooLarge {
                            limit: FILE_LIMIT_BYTES,
                        });
                    }
                    EntryKind::File { size_bytes }
                }
            }
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Symlink => EntryKind::Symlink(link),
            tar::EntryType::Link => EntryKind::Hardlink(clean_path(&link).ok_or_else(|| outside(&link))?),
            tar::EntryType::Fifo => EntryKind::Fifo,
            tar::EntryType::Char => {
                let (major, minor) = device().map_err(LayerError::Read)?;
                EntryKind::Character { major, minor }
            }
            tar::EntryType::Block => {
                let (major, minor) = device().map_err(LayerError::Read)?;
                EntryKind::Block { major, minor }
            }
            other => {
                return Err(malformed(&format!(
                    "{} is of the unknown kind {other:?}",
                    String::from_utf8_lossy(&path)
                )));
            }
        };
        let or_header = |value: Option<u64>, of_header: io::Result<u64>| match value {
            Some(value) => Ok(value),
            None => of_header.map_err(LayerError::Read),
        };
        Ok(Some(Entry {
            path,
            kind,
            mode: header.mode().map_err(LayerError::Read)? & 0o7777,
            uid: or_header(self.uid, header.uid())?,
            gid: or_header(self.gid, header.gid())?,
            mtime_seconds: or_header(self.mtime_seconds, header.mtime())?,
            attributes: self.attributes,
        }))
    }
}

/// The bytes of a text in base64 (RFC 4648), padded or not; what is no digit is passed over, as libarchive does.
fn base64(text: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const DIGIT_BITS: u32 = 6;
    let mut bytes = Vec::with_capacity(text.len());
    let (mut pending, mut pending_bits) = (0_u32, 0);
    let digits = text
        .iter()
        .filter_map(|byte| DIGITS.iter().position(|digit| digit == byte));
    for digit in digits {
        pending = pending << DIGIT_BITS | digit as u32;
        pending_bits += DIGIT_BITS;
        if pending_bits >= u8::BITS {
            pending_bits -= u8::BITS;
            bytes.push((pending >> pending_bits & 0xff) as u8);
            pending &= (1 << pending_bits) - 1;
        }
    }
    bytes
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, blocks in 0_usize..4) {
            bytes.resize(blocks * 512, 0);
            let _ = read_tar(&bytes[..], &mut |_, _| Ok(()));
            let _ = Extended::default().pax(&bytes);
        }
    }

    #[test]
    fn attributes_of_libarchive_count_where_no_engine_unpacks() {
        let mut builder = tar::Builder::new(Vec::new());
        let extensions = [
            ("LIBARCHIVE.xattr.user.a", &b"AQACIA"[..]),
            ("LIBARCHIVE.xattr.user.b", b"Zm8="),
            ("SCHILY.xattr.user.b", b"b"),
        ];
        builder.append_pax_extensions(extensions).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        builder.append_data(&mut header, "file", &[][..]).unwrap();
        let tar = builder.into_inner().unwrap();
        let mut seen = Vec::new();
        let mut visit = |entry: Entry, _: &mut dyn Read| {
            seen.push(entry.attributes);
            Ok(())
        };
        read_tar(&tar[..], &mut visit).unwrap();
        read_root_tar(&tar[..], &mut visit).unwrap();
        let attribute = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        assert_eq!(seen[0], BTreeMap::from([attribute("user.b", b"b")]));
        let both = [attribute("user.a", b"\x01\0\x02\x20"), attribute("user.b", b"b")];
        assert_eq!(seen[1], BTreeMap::from(both));
        assert_eq!(base64(b"Zm9vYmE="), b"fooba");
    }

    #[test]
    fn pax_records_may_hold_line_ends() {
        let mut extended = Extended::default();
        let record = b"31 SCHILY.xattr.user.x=a\nb\nc=d\n";
        assert_eq!(record.len(), 31);
        extended.pax(record).unwrap();
        assert_eq!(extended.attributes["user.x"], b"a\nb\nc=d");
        for bad in [&b"5 a=b\n"[..], b"x a=b\n", b"99 a=b\n", b"6 a=bc", b"6 abc\n"] {
            assert!(
                Extended::default().pax(bad).is_err(),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    #[test]
    fn an_entry_outside_the_root_is_refused() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..6].copy_from_slice(b"a/../b");
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, &[][..]).unwrap();
        let error = read_tar(&builder.into_inner().unwrap()[..], &mut |_, _| Ok(())).unwrap_err();
        assert!(matches!(error, LayerError::Outside { .. }), "{error}");
    }
}
