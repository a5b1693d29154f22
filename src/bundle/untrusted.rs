//! Reads the tar of a container's output, which nobody trusts: a compile command can put anything there.
//!
//! Nothing is ever made on the disk but regular files with names that the project's file declares, in one directory that
//! is fresh. What else is in the archive is counted or refused, never written, so no link can be written through.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use crate::digest::{Digest, Hasher};
use crate::engine::ByteStream;
use crate::nearest::nearest;
use crate::stream;

const BLOCK_BYTES: usize = 512;
/// How many entries an archive may have.
pub const ARCHIVE_ENTRIES_LIMIT: usize = 10_000;
/// How large everything that nobody declared may be together.
pub const IGNORED_LIMIT_BYTES: u64 = 256 << 20;
/// How large one extended header (pax records, a long name) may be.
pub const EXTENSION_LIMIT_BYTES: u64 = 64 << 10;
/// How many extended headers may stand before one entry; tools write at most two.
const EXTENSIONS_PER_ENTRY_LIMIT: usize = 4;
/// How many ignored names are kept for the warning.
const IGNORED_NAMES_LIMIT: usize = 20;
/// The longest name that is quoted in a message.
const QUOTED_NAME_LIMIT_CHARACTERS: usize = 120;
const COPY_BUFFER_BYTES: usize = 128 * 1024;

/// What may come out of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The directory that was downloaded: the first part of every name in the archive (`out`).
    pub root: String,
    /// The file names that the unit yields.
    pub artifacts: BTreeSet<String>,
    /// How large each may be.
    pub artifact_limit_bytes: u64,
}

/// A file that came out, as it is on the disk now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name, which is also its path in the bundle.
    pub name: String,
    /// Of its content.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it may be executed.
    pub executable: bool,
}

/// What was in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// All that was declared, by name.
    pub artifacts: Vec<Artifact>,
    /// What else was there, fit for printing: the first few names.
    pub ignored: Vec<String>,
    /// How much else was there.
    pub ignored_count: usize,
}

/// Why a container's output is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Declared artifacts are not there.
    #[error("the command ended well but left no {}{}", list(missing), there_is(found))]
    Missing {
        /// The names declared and not found.
        missing: Vec<String>,
        /// What is there instead.
        found: Vec<String>,
    },
    /// A declared artifact is something else than a file.
    #[error("the artifact `{name}` is a {kind}, not a file")]
    NotAFile {
        /// Its name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A declared artifact is larger than the limit.
    #[error("the artifact `{name}` is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Its name.
        name: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A declared artifact comes twice.
    #[error("the artifact `{name}` is there twice: another unit yields a file of that name, or the archive was forged")]
    Twice {
        /// Its name.
        name: String,
    },
    /// The archive has more of something than any sensible output.
    #[error("the output directory has {what}: more than the limit of {limit}")]
    Limit {
        /// For example `too many entries`.
        what: &'static str,
        /// The limit, in entries or bytes.
        limit: u64,
    },
    /// The archive holds what no compile command has a reason to leave there.
    #[error("the output directory's archive is refused: {why}")]
    Hostile {
        /// What it holds.
        why: String,
    },
    /// The archive is damaged.
    #[error("the output directory's archive is damaged: {why}")]
    Damaged {
        /// How.
        why: &'static str,
    },
    /// The stream from the engine broke off.
    #[error("failed to read the output directory from the engine: {cause}")]
    Stream {
        /// Why.
        cause: io::Error,
    },
    /// The artifact cannot be written.
    #[error("failed to write {}: {cause}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn there_is(found: &[String]) -> String {
    if found.is_empty() {
        "; it left nothing at all".to_owned()
    } else {
        format!("; it left {}", list(found))
    }
}

impl CollectError {
    /// What to do about it, where lockstep knows.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { missing, found } => {
                let similar = |name: &String| Some((name.clone(), nearest(name, found.iter().map(String::as_str))?));
                if let Some((name, near)) = missing.iter().find_map(similar) {
                    return Some(format!("did you mean `{near}` where `artifacts` says `{name}`?"));
                }
                "every name under `artifacts` must be a file in $LOCKSTEP_OUT when the command ends"
            }
            Self::NotAFile { .. } => "copy the file itself to $LOCKSTEP_OUT, for example with `cp -L`",
            Self::TooLarge { .. } => "strip it, or raise `artifact` under `limits`",
            Self::Limit { .. } => "leave only the artifacts in $LOCKSTEP_OUT",
            Self::Twice { .. } => "give each artifact of an environment a name of its own",
            Self::Hostile { .. } | Self::Damaged { .. } | Self::Stream { .. } | Self::Write { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Takes the declared artifacts out of an archive as the engine sends it and writes them into `directory`, which exists.
/// When this fails, files may be left in `directory`; nothing is ever written elsewhere.
///
/// # Errors
/// [`CollectError`].
pub async fn collect(archive: ByteStream, declared: Declared, directory: &Path) -> Result<Collected, CollectError> {
    let directory = directory.to_owned();
    let collecting = stream::read_by(archive, move |reader| collect_blocking(reader, &declared, &directory));
    collecting.await.map_err(|cause| CollectError::Stream { cause })?
}

/// [`collect`] for what blocks.
pub(super) fn collect_blocking(
    archive: impl Read,
    declared: &Declared,
    directory: &Path,
) -> Result<Collected, CollectError> {
    let mut entries = Entries {
        archive,
        extensions: Extensions::default(),
    };
    let mut collection = Collection {
        declared,
        directory,
        taken: BTreeMap::new(),
        left: Collected::default(),
        ignored_bytes: 0,
    };
    for count in 0.. {
        if count >= ARCHIVE_ENTRIES_LIMIT {
            return Err(CollectError::Limit {
                what: "too many entries",
                limit: ARCHIVE_ENTRIES_LIMIT as u64,
            });
        }
        let Some(entry) = entries.next_entry()? else { break };
        collection.take(&entry, &mut entries)?;
    }
    collection.finish()
}

/// What was taken so far.
struct Collection<'run> {
    declared: &'run Declared,
    directory: &'run Path,
    taken: BTreeMap<String, Artifact>,
    left: Collected,
    ignored_bytes: u64,
}

impl Collection<'_> {
    fn take<R: Read>(&mut self, entry: &RawEntry, entries: &mut Entries<R>) -> Result<(), CollectError> {
        let parts = safe_parts(&entry.name)?;
        if entry.kind.is_character_special() || entry.kind.is_block_special() {
            return Err(hostile(&entry.name, "is a device"));
        }
        let Some((root, inside)) = parts.split_first() else {
            return Err(hostile(&entry.name, "has no name"));
        };
        if *root != self.declared.root.as_bytes() {
            return Err(hostile(&entry.name, "is not in the directory that was asked for"));
        }
        let name = match inside {
            [] if entry.kind.is_dir() => return entries.skip(entry.size_bytes),
            [] => {
                return Err(hostile(
                    &entry.name,
                    "stands in place of the directory that was asked for",
                ));
            }
            [name] => std::str::from_utf8(name)
                .ok()
                .filter(|name| self.declared.artifacts.contains(*name)),
            _ => None,
        };
        let Some(name) = name else {
            return self.ignore(entry, inside, entries);
        };
        if self.taken.contains_key(name) {
            return Err(CollectError::Twice { name: name.to_owned() });
        }
        if let Some(kind) = kind_that_is_no_file(entry) {
            return Err(CollectError::NotAFile {
                name: name.to_owned(),
                kind,
            });
        }
        if entry.size_bytes > self.declared.artifact_limit_bytes {
            let limit_bytes = self.declared.artifact_limit_bytes;
            return Err(CollectError::TooLarge {
                name: name.to_owned(),
                limit_bytes,
            });
        }
        let artifact = entries.write_artifact(entry, name, self.directory)?;
        self.taken.insert(artifact.name.clone(), artifact);
        Ok(())
    }

    fn ignore<R: Read>(
        &mut self,
        entry: &RawEntry,
        inside: &[&[u8]],
        entries: &mut Entries<R>,
    ) -> Result<(), CollectError> {
        self.ignored_bytes = self.ignored_bytes.saturating_add(entry.size_bytes);
        if self.ignored_bytes > IGNORED_LIMIT_BYTES {
            return Err(CollectError::Limit {
                what: "too much that is no artifact (in bytes)",
                limit: IGNORED_LIMIT_BYTES,
            });
        }
        self.left.ignored_count += 1;
        if self.left.ignored.len() < IGNORED_NAMES_LIMIT {
            self.left.ignored.push(printable(&inside.join(&b'/')));
        }
        entries.skip(entry.size_bytes)
    }

    fn finish(mut self) -> Result<Collected, CollectError> {
        let is_missing = |name: &&String| !self.taken.contains_key(*name);
        let missing: Vec<String> = self.declared.artifacts.iter().filter(is_missing).cloned().collect();
        if !missing.is_empty() {
            let found = self.taken.into_keys().chain(self.left.ignored).collect();
            return Err(CollectError::Missing { missing, found });
        }
        self.left.artifacts = self.taken.into_values().collect();
        Ok(self.left)
    }
}

fn kind_that_is_no_file(entry: &RawEntry) -> Option<&'static str> {
    match entry.kind {
        EntryType::Regular if entry.name.ends_with(b"/") => Some("directory"),
        EntryType::Regular => None,
        EntryType::Directory => Some("directory"),
        EntryType::Symlink => Some("symbolic link"),
        EntryType::Link => Some("hard link to another file"),
        EntryType::Fifo => Some("named pipe"),
        EntryType::GNUSparse => Some("sparse file"),
        _ => Some("special file"),
    }
}

fn hostile(name: &[u8], why: &str) -> CollectError {
    CollectError::Hostile {
        why: format!("`{}` {why}", printable(name)),
    }
}

/// A name as it can be shown on a terminal: nothing in it moves the cursor or hides text.
fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .chars()
        .take(QUOTED_NAME_LIMIT_CHARACTERS)
        .flat_map(char::escape_debug)
        .collect()
}

/// The parts of a name, none of which leads upwards.
fn safe_parts(name: &[u8]) -> Result<Vec<&[u8]>, CollectError> {
    if name.starts_with(b"/") {
        return Err(hostile(name, "is an absolute path"));
    }
    if name.contains(&0) {
        return Err(hostile(name, "has a NUL in its name"));
    }
    let parts: Vec<&[u8]> = name
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    if parts.contains(&&b".."[..]) {
        return Err(hostile(name, "leads upwards"));
    }
    Ok(parts)
}

/// An entry's header, with what its extended headers say.
struct RawEntry {
    name: Vec<u8>,
    kind: EntryType,
    size_bytes: u64,
    executable: bool,
}

/// What extended headers say about the next entry.
#[derive(Default)]
struct Extensions {
    count: usize,
    name: Option<Vec<u8>>,
    size_bytes: Option<u64>,
}

/// Reads an archive's headers one by one (POSIX pax, "ustar Interchange Format" and "pax Header Block"). The `tar` crate
/// reads extended headers of any size into memory; here everything has a limit.
struct Entries<R> {
    archive: R,
    extensions: Extensions,
}

impl<R: Read> Entries<R> {
    /// The next entry that is not an extension; none at the archive's end. Its content must be read before the next one.
    fn next_entry(&mut self) -> Result<Option<RawEntry>, CollectError> {
        loop {
            let mut header = Header::new_old();
            self.read_block(header.as_mut_bytes())?;
            if header.as_bytes().iter().all(|byte| *byte == 0) {
                // One zero block is the end for every reader in use; what comes behind it is nobody's business.
                return Ok(None);
            }
            if header.cksum().ok() != Some(checksum(header.as_bytes())) {
                return Err(CollectError::Damaged {
                    why: "a header's checksum is wrong",
                });
            }
            let size_bytes = header.entry_size().map_err(|_| CollectError::Damaged {
                why: "a size is no number",
            })?;
            match header.entry_type() {
                EntryType::XHeader => self.read_pax(size_bytes)?,
                EntryType::GNULongName => {
                    let mut name = self.read_extension(size_bytes)?;
                    if name.last() == Some(&0) {
                        name.pop();
                    }
                    self.extensions.name = Some(name);
                }
                // The entry that follows is a link, and its target is never looked at.
                EntryType::GNULongLink => drop(self.read_extension(size_bytes)?),
                EntryType::XGlobalHeader => {
                    return Err(CollectError::Hostile {
                        why: "it has a header that changes all other entries".to_owned(),
                    });
                }
                kind => return self.entry(&header, kind, size_bytes).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, kind: EntryType, size_bytes: u64) -> Result<RawEntry, CollectError> {
        let extensions = std::mem::take(&mut self.extensions);
        let mode = header.mode().map_err(|_| CollectError::Damaged {
            why: "a mode is no number",
        })?;
        let size_bytes = extensions.size_bytes.unwrap_or(size_bytes);
        // Links and directories have no content, whatever their size field says; with one, readers disagree on where
        // the next entry starts.
        let has_content = matches!(kind, EntryType::Regular | EntryType::Continuous);
        let name = extensions.name.unwrap_or_else(|| header.path_bytes().into_owned());
        if !has_content && size_bytes != 0 {
            return Err(hostile(&name, "is no file and yet has a size"));
        }
        Ok(RawEntry {
            name,
            kind,
            size_bytes,
            executable: mode & 0o100 != 0,
        })
    }

    fn read_pax(&mut self, size_bytes: u64) -> Result<(), CollectError> {
        let records = self.read_extension(size_bytes)?;
        let mut rest = &records[..];
        while !rest.is_empty() {
            let (key, value, after) = pax_record(rest).ok_or(CollectError::Damaged {
                why: "a pax record has the wrong length",
            })?;
            match key {
                b"path" => self.extensions.name = Some(value.to_owned()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.extensions.size_bytes = Some(size.ok_or(CollectError::Damaged {
                        why: "a size is no number",
                    })?);
                }
                key if key.starts_with(b"GNU.sparse") => {
                    return Err(CollectError::Hostile {
                        why: "it has a sparse file".to_owned(),
                    });
                }
                // Times, owners, extended attributes: nothing that is kept.
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }

    fn read_extension(&mut self, size_bytes: u64) -> Result<Vec<u8>, CollectError> {
        self.extensions.count += 1;
        if self.extensions.count > EXTENSIONS_PER_ENTRY_LIMIT {
            return Err(CollectError::Limit {
                what: "too many headers before one entry",
                limit: EXTENSIONS_PER_ENTRY_LIMIT as u64,
            });
        }
        if size_bytes > EXTENSION_LIMIT_BYTES {
            return Err(CollectError::Limit {
                what: "a header that is too long",
                limit: EXTENSION_LIMIT_BYTES,
            });
        }
        let mut content = Vec::new();
        self.copy(size_bytes, |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(content)
    }

    fn skip(&mut self, size_bytes: u64) -> Result<(), CollectError> {
        self.copy(size_bytes, |_| Ok(()))
    }

    fn write_artifact(&mut self, entry: &RawEntry, name: &str, directory: &Path) -> Result<Artifact, CollectError> {
        let path = directory.join(name);
        let mode = if entry.executable { 0o755 } else { 0o644 };
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(|cause| match cause.kind() {
                io::ErrorKind::AlreadyExists => CollectError::Twice { name: name.to_owned() },
                _ => CollectError::Write {
                    path: path.clone(),
                    cause,
                },
            })?;
        let mut hasher = Hasher::new();
        self.copy(entry.size_bytes, |bytes| {
            hasher.update(bytes);
            file.write_all(bytes).map_err(|cause| CollectError::Write {
                path: path.clone(),
                cause,
            })
        })?;
        // The mode at creation is subject to the user's mask.
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(|cause| CollectError::Write {
                path: path.clone(),
                cause,
            })?;
        let (digest, size_bytes) = (hasher.finish(), entry.size_bytes);
        Ok(Artifact {
            name: name.to_owned(),
            digest,
            size_bytes,
            executable: entry.executable,
        })
    }

    /// Hands an entry's content over piece by piece and reads the padding behind it.
    fn copy(
        &mut self,
        size_bytes: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), CollectError>,
    ) -> Result<(), CollectError> {
        let mut buffer = vec![0; COPY_BUFFER_BYTES.min(usize::try_from(size_bytes).unwrap_or(usize::MAX))];
        let mut left = size_bytes;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match self.archive.read(&mut buffer[..wanted]) {
                Ok(0) => {
                    return Err(CollectError::Damaged {
                        why: "it ends in the middle of a file",
                    });
                }
                Ok(count) => {
                    take(&buffer[..count])?;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(CollectError::Stream { cause }),
            }
        }
        let padding = size_bytes.next_multiple_of(BLOCK_BYTES as u64) - size_bytes;
        let padding = usize::try_from(padding).unwrap_or(0);
        self.read_block(&mut [0; BLOCK_BYTES][..padding])
    }

    fn read_block(&mut self, block: &mut [u8]) -> Result<(), CollectError> {
        self.archive.read_exact(block).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => CollectError::Damaged {
                why: "it ends before its end mark",
            },
            _ => CollectError::Stream { cause },
        })
    }
}

/// The sum of a header's bytes, its checksum field taken as blanks.
fn checksum(header: &[u8; BLOCK_BYTES]) -> u32 {
    const FIELD: std::ops::Range<usize> = 148..156;
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&header[..FIELD.start]) + sum(&header[FIELD.end..]) + u32::from(b' ') * FIELD.len() as u32
}

/// Splits `<length> <key>=<value>\n` off; none when the length lies.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

#[cfg(test)]
mod tests;
