//! The tar in which sources go up to the engine.

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use super::SourceError;
use super::tree::{Entry, SourceTree, is_executable, open, read_link};
use crate::digest::{Digest, Hasher};
use crate::engine::ByteStream;
use crate::owner::Owner;
use crate::stream;

/// The longest name and link target that a ustar header holds without tricks (POSIX pax, "ustar Header Block").
const USTAR_NAME_LIMIT_BYTES: usize = 100;

impl SourceTree {
    /// The tree as a tar whose entries start with `root/`: the same bytes for the same tree, owner and time. It is read
    /// from the disk while it is sent; a file that is not what was hashed ends the stream with
    /// [`SourceError::Changed`]'s words.
    #[must_use]
    pub fn archive(&self, root: &str, owner: Owner, times: impl Into<EntryTimes>) -> ByteStream {
        let (tree, root, times) = (self.clone(), root.to_owned(), times.into());
        stream::written_by(move |writer| tree.write_archive(writer, &root, owner, times))
    }

    /// Writes what [`SourceTree::archive`] streams.
    ///
    /// # Errors
    /// [`SourceError`] inside an [`io::Error`] when a file cannot be read or has changed; what `writer` fails with.
    pub fn write_archive(
        &self,
        writer: impl Write,
        root: &str,
        owner: Owner,
        times: impl Into<EntryTimes>,
    ) -> io::Result<()> {
        let mut archive = DeterministicTar::new(writer, owner, times);
        archive.directory(root)?;
        let mut directories = self.directories().into_iter().peekable();
        for (path, entry) in self.entries() {
            while let Some(directory) = directories.next_if(|directory| *directory < path) {
                archive.directory(&format!("{root}/{directory}"))?;
            }
            self.append(&mut archive, root, path, entry)?;
        }
        archive.finish()
    }

    fn append(
        &self,
        archive: &mut DeterministicTar<impl Write>,
        root: &str,
        path: &str,
        entry: &Entry,
    ) -> io::Result<()> {
        let location = self.location(path);
        let name = format!("{root}/{path}");
        let changed = || io::Error::other(SourceError::Changed { path: path.to_owned() });
        let failed = |action| {
            let path = location.clone();
            move |cause| io::Error::other(SourceError::Io { action, path, cause })
        };
        match entry {
            Entry::Link { target } => {
                let now = read_link(&location, path).map_err(io::Error::other)?;
                if now == *target {
                    archive.link(&name, target)
                } else {
                    Err(changed())
                }
            }
            Entry::File {
                digest,
                size_bytes,
                executable,
            } => {
                if let Some(text) = self.text(path) {
                    return archive.file(&name, *size_bytes, *executable, text.as_bytes());
                }
                let file = open(&location, path).map_err(io::Error::other)?;
                let metadata = file.metadata().map_err(failed("look at"))?;
                if metadata.len() != *size_bytes || is_executable(&metadata) != *executable {
                    return Err(changed());
                }
                let is_unchanged = archive.checked_file(&name, *size_bytes, *executable, *digest, file)?;
                if is_unchanged { Ok(()) } else { Err(changed()) }
            }
        }
    }
}

/// Reads as many bytes as were announced, zeros where the file has become shorter (the digest will tell), and hashes
/// what it hands out.
struct Exact<R> {
    inner: R,
    hasher: Hasher,
    left_bytes: u64,
}

impl<R: Read> Exact<R> {
    /// Whether exactly the announced content was read, and the file has no more.
    fn ends_with(mut self, expected: Digest) -> io::Result<bool> {
        let has_more = self.inner.read(&mut [0])? != 0;
        Ok(!has_more && self.left_bytes == 0 && self.hasher.finish() == expected)
    }
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(buffer.len());
        let mut count = self.inner.read(&mut buffer[..wanted])?;
        if count == 0 {
            buffer[..wanted].fill(0);
            count = wanted;
        }
        self.hasher.update(&buffer[..count]);
        self.left_bytes -= count as u64;
        Ok(count)
    }
}

/// A tar with nothing in it but names, contents and one bit of mode: ustar, with pax records for long names.
pub(crate) struct DeterministicTar<W: Write> {
    builder: Builder<W>,
    owner: Owner,
    times: EntryTimes,
}

/// When the entries of a tar were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryTimes {
    /// The first one.
    pub first_seconds: u64,
    /// How much later each is than the one before it.
    pub step_seconds: u64,
}

impl From<u64> for EntryTimes {
    /// All at once.
    fn from(mtime_seconds: u64) -> Self {
        Self {
            first_seconds: mtime_seconds,
            step_seconds: 0,
        }
    }
}

impl<W: Write> DeterministicTar<W> {
    pub(crate) fn new(writer: W, owner: Owner, times: impl Into<EntryTimes>) -> Self {
        Self {
            builder: Builder::new(writer),
            owner,
            times: times.into(),
        }
    }

    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.append(&format!("{name}/"), None, EntryType::Directory, 0o755, 0, io::empty())
    }

    pub(crate) fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.append(name, Some(target), EntryType::Symlink, 0o777, 0, io::empty())
    }

    pub(crate) fn file(&mut self, name: &str, size_bytes: u64, executable: bool, data: impl Read) -> io::Result<()> {
        let mode = if executable { 0o755 } else { 0o644 };
        self.append(name, None, EntryType::Regular, mode, size_bytes, data)
    }

    /// Adds a file that must still be what it was when it was hashed; false when it is not, and the archive, whose
    /// structure stays whole, must not be used.
    pub(crate) fn checked_file(
        &mut self,
        name: &str,
        size_bytes: u64,
        executable: bool,
        digest: Digest,
        data: impl Read,
    ) -> io::Result<bool> {
        let mut exact = Exact {
            inner: data,
            hasher: Hasher::new(),
            left_bytes: size_bytes,
        };
        self.file(name, size_bytes, executable, &mut exact)?;
        exact.ends_with(digest)
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.builder.into_inner()?.flush()
    }

    fn append(
        &mut self,
        name: &str,
        target: Option<&str>,
        kind: EntryType,
        mode: u32,
        size_bytes: u64,
        data: impl Read,
    ) -> io::Result<()> {
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        if !set_name(&mut header, name) {
            records.push(("path", name.as_bytes()));
        }
        if let Some(target) = target {
            let short = target.len() <= USTAR_NAME_LIMIT_BYTES;
            if !short {
                records.push(("linkpath", target.as_bytes()));
            }
            header.set_link_name_literal(if short { target } else { "" })?;
        }
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(self.owner.uid.into());
        header.set_gid(self.owner.gid.into());
        header.set_mtime(self.times.first_seconds);
        self.times.first_seconds = self.times.first_seconds.saturating_add(self.times.step_seconds);
        header.set_size(size_bytes);
        header.set_cksum();
        self.builder.append_pax_extensions(records)?;
        self.builder.append(&header, data)
    }
}

/// Puts a name into the header's own field; false when it is too long, and a pax record must say it.
fn set_name(header: &mut Header, name: &str) -> bool {
    let field = &mut header.as_old_mut().name;
    let fits = name.len() <= field.len();
    let start = &name.as_bytes()[..name.len().min(field.len())];
    field[..start.len()].copy_from_slice(start);
    fits
}
