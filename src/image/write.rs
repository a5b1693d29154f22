//! Writes a layer: a tar in which nothing depends on the machine that wrote it.

use std::io::{self, Read, Write};

use super::LayerError;
use super::entry::{Entry, EntryKind};
use super::read::ATTRIBUTE_PREFIX;
use crate::digest::{Digest, Hasher};

/// The largest number that fits an owner's field in octal digits.
const OWNER_FIELD_LIMIT: u64 = 0o777_7777;
/// The unit in which a tar is written; it ends with two of them that are empty.
const BLOCK_BYTES: usize = 512;

/// Writes entries, hashing on the way. Numeric owners alone, times in whole seconds, extended headers only where the
/// plain one (POSIX ustar) cannot say it.
pub struct LayerWriter<W: Write> {
    output: W,
    hasher: Hasher,
    size_bytes: u64,
}

impl<W: Write> LayerWriter<W> {
    /// Starts with no entry.
    pub fn new(output: W) -> Self {
        Self {
            output,
            hasher: Hasher::new(),
            size_bytes: 0,
        }
    }

    /// Adds an entry with its content, which must have as many bytes as the entry says.
    ///
    /// # Errors
    /// [`LayerError::Write`], [`LayerError::Read`] for the content, and [`LayerError::Outside`] for an entry that has
    /// no path.
    pub fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        let mut records: Vec<(String, &[u8])> = Vec::new();
        let mut header = tar::Header::new_ustar();
        let mut path = entry.path.clone();
        if path.is_empty() {
            return Err(LayerError::Outside { path: String::new() });
        }
        if entry.kind == EntryKind::Directory {
            path.push(b'/');
        }
        if !set_path(&mut header, &path) {
            records.push(("path".to_owned(), &path));
        }
        let (kind, link) = match &entry.kind {
            EntryKind::File { .. } => (tar::EntryType::Regular, None),
            EntryKind::Directory => (tar::EntryType::Directory, None),
            EntryKind::Symlink(target) => (tar::EntryType::Symlink, Some(target)),
            EntryKind::Hardlink(target) => (tar::EntryType::Link, Some(target)),
            EntryKind::Fifo => (tar::EntryType::Fifo, None),
            EntryKind::Character { .. } => (tar::EntryType::Char, None),
            EntryKind::Block { .. } => (tar::EntryType::Block, None),
        };
        header.set_entry_type(kind);
        if let Some(target) = link {
            let field = &mut header.as_old_mut().linkname;
            if target.len() <= field.len() {
                field[..target.len()].copy_from_slice(target);
            } else {
                records.push(("linkpath".to_owned(), target));
            }
        }
        if let EntryKind::Character { major, minor } | EntryKind::Block { major, minor } = entry.kind {
            header.set_device_major(major).map_err(LayerError::Write)?;
            header.set_device_minor(minor).map_err(LayerError::Write)?;
        }
        header.set_mode(entry.mode);
        header.set_mtime(entry.mtime_seconds);
        header.set_size(entry.size_bytes());
        let (uid, gid) = (entry.uid.to_string(), entry.gid.to_string());
        header.set_uid(entry.uid.min(OWNER_FIELD_LIMIT));
        header.set_gid(entry.gid.min(OWNER_FIELD_LIMIT));
        if entry.uid > OWNER_FIELD_LIMIT {
            records.push(("uid".to_owned(), uid.as_bytes()));
        }
        if entry.gid > OWNER_FIELD_LIMIT {
            records.push(("gid".to_owned(), gid.as_bytes()));
        }
        for (name, value) in &entry.attributes {
            records.push((format!("{ATTRIBUTE_PREFIX}{name}"), value));
        }
        header.set_cksum();
        self.append_extended(&records)?;
        self.write(header.as_bytes())?;
        self.copy(content, entry.size_bytes())
    }

    /// Ends the tar: its digest, its size, and what it was written to.
    ///
    /// # Errors
    /// [`LayerError::Write`].
    pub fn finish(mut self) -> Result<(Digest, u64, W), LayerError> {
        self.write(&[0; 2 * BLOCK_BYTES])?;
        self.output.flush().map_err(LayerError::Write)?;
        Ok((self.hasher.finish(), self.size_bytes, self.output))
    }

    fn append_extended(&mut self, records: &[(String, &[u8])]) -> Result<(), LayerError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut data = Vec::new();
        for (key, value) in records {
            append_record(&mut data, key.as_bytes(), value);
        }
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..3].copy_from_slice(b"pax");
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.copy(&mut &data[..], data.len() as u64)
    }

    fn copy(&mut self, content: &mut dyn Read, size_bytes: u64) -> Result<(), LayerError> {
        const BUFFER_BYTES: usize = 128 * 1024;
        let mut buffer = vec![0; BUFFER_BYTES.min(usize::try_from(size_bytes).unwrap_or(BUFFER_BYTES))];
        let mut left = size_bytes;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(buffer.len()));
            let count = content.read(&mut buffer[..wanted]).map_err(LayerError::Read)?;
            if count == 0 {
                return Err(LayerError::Read(io::ErrorKind::UnexpectedEof.into()));
            }
            self.write(&buffer[..count])?;
            left -= count as u64;
        }
        let partial = usize::try_from(size_bytes % BLOCK_BYTES as u64).unwrap_or(0);
        if partial > 0 {
            self.write(&[0; BLOCK_BYTES][partial..])?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.output.write_all(bytes).map_err(LayerError::Write)
    }
}

/// Puts a path into the two fields that ustar has for it (100 bytes, and 155 for the directories before); false when
/// it does not fit.
fn set_path(header: &mut tar::Header, path: &[u8]) -> bool {
    let Some(ustar) = header.as_ustar_mut() else {
        return false;
    };
    if path.len() <= ustar.name.len() {
        ustar.name[..path.len()].copy_from_slice(path);
        return true;
    }
    // The last slash that leaves a prefix which fits; the slash itself is not stored. A directory's own last slash
    // does not part anything.
    let limit = ustar.prefix.len().min(path.len().saturating_sub(2));
    let slash = path[..=limit].iter().rposition(|byte| *byte == b'/');
    match slash {
        Some(slash) if slash > 0 && path.len() - slash - 1 <= ustar.name.len() => {
            ustar.prefix[..slash].copy_from_slice(&path[..slash]);
            let name = &path[slash + 1..];
            ustar.name[..name.len()].copy_from_slice(name);
            true
        }
        _ => {
            // Readers that know no extended headers see the beginning.
            let shown = ustar.name.len();
            ustar.name.copy_from_slice(&path[..shown]);
            false
        }
    }
}

/// `<length> <key>=<value>\n`, where the length counts its own digits too.
fn append_record(data: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() > length {
        length += 1;
    }
    data.extend_from_slice(length.to_string().as_bytes());
    data.push(b' ');
    data.extend_from_slice(key);
    data.push(b'=');
    data.extend_from_slice(value);
    data.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::entry::clean_path;
    use super::super::read::read_tar;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entries() -> impl Strategy<Value = Vec<(Entry, Vec<u8>)>> {
        let path = proptest::collection::vec("[a-z.\\-]{1,70}", 1..6).prop_map(|parts| parts.join("/"));
        let path = path.prop_filter_map("no path", |path| {
            clean_path(path.as_bytes()).filter(|path| !path.is_empty())
        });
        let bytes = || proptest::collection::vec(any::<u8>(), 0..700);
        let kind = prop_oneof![
            bytes().prop_map(|content| (
                EntryKind::File {
                    size_bytes: content.len() as u64
                },
                content
            )),
            Just((EntryKind::Directory, vec![])),
            "[a-z/.]{1,150}".prop_map(|target| (EntryKind::Symlink(target.into_bytes()), vec![])),
            Just((EntryKind::Hardlink(b"a/b".to_vec()), vec![])),
            Just((EntryKind::Fifo, vec![])),
            (0_u32..300, 0_u32..300).prop_map(|(major, minor)| (EntryKind::Block { major, minor }, vec![])),
        ];
        let attributes = proptest::collection::btree_map("user\\.[a-z]{1,9}", bytes(), 0..3);
        let owner = || prop_oneof![0_u64..70_000, Just(4_000_000_000_u64)];
        let entry = (path, kind, 0_u32..0o10000, owner(), owner(), 0_u64..1 << 32, attributes).prop_map(
            |(path, (kind, content), mode, uid, gid, mtime_seconds, attributes): (_, _, _, _, _, _, BTreeMap<_, _>)| {
                let entry = Entry {
                    path,
                    kind,
                    mode,
                    uid,
                    gid,
                    mtime_seconds,
                    attributes,
                };
                (entry, content)
            },
        );
        proptest::collection::vec(entry, 0..8)
    }

    fn write(entries: &[(Entry, Vec<u8>)]) -> (Digest, Vec<u8>) {
        let mut writer = LayerWriter::new(Vec::new());
        for (entry, content) in entries {
            writer.append(entry, &mut &content[..]).unwrap();
        }
        let (digest, size_bytes, bytes) = writer.finish().unwrap();
        assert_eq!(size_bytes, bytes.len() as u64);
        (digest, bytes)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(entries in entries()) {
            let (digest, bytes) = write(&entries);
            prop_assert_eq!(Digest::of(&bytes), digest);
            let mut found = Vec::new();
            read_tar(&bytes[..], &mut |entry, content| {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(LayerError::Read)?;
                found.push((entry, bytes));
                Ok(())
            }).unwrap();
            prop_assert_eq!(&found, &entries);
            prop_assert_eq!(write(&found).0, digest);
        }

        #[test]
        fn another_reader_sees_the_same_paths(mut entries in entries()) {
            // The library splits attributes at line ends, see `read`.
            entries.iter_mut().for_each(|(entry, _)| entry.attributes.clear());
            let (_, bytes) = write(&entries);
            let mut archive = tar::Archive::new(&bytes[..]);
            let paths: Vec<Vec<u8>> = archive
                .entries()
                .unwrap()
                .map(|entry| clean_path(&entry.unwrap().path_bytes()).unwrap())
                .collect();
            let expected: Vec<Vec<u8>> = entries.iter().map(|(entry, _)| entry.path.clone()).collect();
            prop_assert_eq!(paths, expected);
        }
    }

    #[test]
    fn content_that_is_too_short_is_an_error() {
        let entry = Entry::file("x", 10, 0o644, 0);
        let error = LayerWriter::new(Vec::new())
            .append(&entry, &mut &b"123"[..])
            .unwrap_err();
        assert!(matches!(error, LayerError::Read(_)), "{error}");
    }
}
