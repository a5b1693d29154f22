//! A unit's files with their digests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::roots::UnitPaths;
use super::scan_error::ScanError;
use super::walk::{Found, walk};
use super::{SOURCE_LIMIT_BYTES, SourceError};
use crate::digest::{Digest, Hasher};
use crate::regular_file::{self, Unfit};

/// Names the way in which a tree becomes a digest; another way gets another name.
const DIGEST_SCHEME: &[u8] = b"lockstep source tree 1";
/// How many threads read files: enough to hide the latency of opening them, few enough for two processors.
const READING_THREADS: usize = 4;
/// Below this many files one thread is faster.
const FILES_PER_THREAD: usize = 64;
/// The buffer that files are hashed through.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// One file or link of a source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File {
        /// Of its content.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// Where it points: a relative path that stays in the tree.
        target: String,
    },
}

/// A unit's sources as they were when they were read: cheap to clone.
#[derive(Debug, Clone)]
pub struct SourceTree {
    project: Arc<Path>,
    entries: Arc<BTreeMap<String, Entry>>,
    /// The files that are in memory, and nowhere on the disk.
    texts: Arc<BTreeMap<String, &'static str>>,
    digest: Digest,
}

impl SourceTree {
    /// Reads and hashes what a unit is made of: `source` (a directory) and `inputs` (files or directories), all
    /// relative to the project's directory.
    ///
    /// # Errors
    /// [`SourceError`]: a path is missing, excluded or outside, something cannot be uploaded, a limit is passed, or a
    /// file cannot be read.
    pub fn scan(project: &Path, source: &str, inputs: &[String]) -> Result<Self, SourceError> {
        let trees = Self::scan_all(
            project,
            &[UnitPaths {
                source: Some(source),
                inputs,
            }],
        )
        .map_err(|error| error.cause)?;
        trees.into_iter().next().ok_or_else(|| SourceError::Missing {
            path: source.to_owned(),
            project: project.to_owned(),
        })
    }

    /// The same for many units, in their order, with one walk over the project: each directory is opened and each file is
    /// read once, however many units have it.
    ///
    /// # Errors
    /// The first [`SourceError`], and whose it is.
    pub fn scan_all(project: &Path, units: &[UnitPaths<'_>]) -> Result<Vec<Self>, ScanError> {
        let walked = walk(project, units)?;
        let owner = |index: usize| {
            walked
                .of_units
                .iter()
                .position(|files| files.binary_search(&index).is_ok())
        };
        let entries = read_all(project, &walked.found).map_err(|(index, cause)| ScanError {
            unit: owner(index).unwrap_or_default(),
            cause,
        })?;
        let tree = |(unit, files): (usize, &Vec<usize>)| {
            let own = files
                .iter()
                .map(|index| (walked.found[*index].0.clone(), entries[*index].clone()));
            let tree = Self::of_entries(project, units[unit].first(), own.collect());
            tree.map_err(|cause| ScanError { unit, cause })
        };
        walked.of_units.iter().enumerate().map(tree).collect()
    }

    fn of_entries(project: &Path, source: &str, entries: BTreeMap<String, Entry>) -> Result<Self, SourceError> {
        check_size(source, &entries)?;
        check_links(project, &entries)?;
        let digest = digest_of(&entries);
        Ok(Self {
            project: project.into(),
            entries: Arc::new(entries),
            texts: Arc::default(),
            digest,
        })
    }

    /// A tree of files that come with this program: nobody else can change them or add to them.
    #[must_use]
    pub fn of_texts(files: &[(&str, &'static str)]) -> Self {
        let texts: BTreeMap<String, &'static str> =
            files.iter().map(|(path, text)| ((*path).to_owned(), *text)).collect();
        let entry = |text: &str| Entry::File {
            digest: Digest::of(text.as_bytes()),
            size_bytes: text.len() as u64,
            executable: false,
        };
        let entries: BTreeMap<String, Entry> = texts.iter().map(|(path, text)| (path.clone(), entry(text))).collect();
        let digest = digest_of(&entries);
        Self {
            project: Path::new("").into(),
            entries: Arc::new(entries),
            texts: Arc::new(texts),
            digest,
        }
    }

    /// The digest of all paths, modes and contents.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// All files and links by their path relative to the project, sorted by its bytes.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The digests of the regular files with one of these names, wherever they are: what a language's dependencies
    /// depend on (`Cargo.lock`, `go.sum`).
    pub fn named<'tree>(&'tree self, names: &'tree [&str]) -> impl Iterator<Item = (&'tree str, Digest)> {
        self.entries().filter_map(|(path, entry)| match entry {
            Entry::File { digest, .. } => names.contains(&file_name(path)).then_some((path, *digest)),
            Entry::Link { .. } => None,
        })
    }

    /// How many bytes all files have.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.entries.values().map(Entry::size_bytes).sum()
    }

    /// The directories that lead to the entries, relative to the project, without the project's own.
    pub(super) fn directories(&self) -> BTreeSet<&str> {
        directories(&self.entries)
    }

    /// The content of a file that is in memory.
    pub(super) fn text(&self, path: &str) -> Option<&'static str> {
        self.texts.get(path).copied()
    }

    /// Where a path of the tree is on this machine.
    pub(super) fn location(&self, path: &str) -> PathBuf {
        self.project.join(path)
    }
}

impl Entry {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::File { size_bytes, .. } => *size_bytes,
            Self::Link { .. } => 0,
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn directories(entries: &BTreeMap<String, Entry>) -> BTreeSet<&str> {
    let mut directories = BTreeSet::new();
    for path in entries.keys() {
        let mut rest = path.as_str();
        while let Some((directory, _)) = rest.rsplit_once('/') {
            if !directories.insert(directory) {
                break;
            }
            rest = directory;
        }
    }
    directories
}

/// Reads all entries on a few threads; of several errors, the first in the order of paths is reported, with its place.
fn read_all(project: &Path, found: &[(String, Found)]) -> Result<Vec<Entry>, (usize, SourceError)> {
    let share = found.len().div_ceil(READING_THREADS).max(FILES_PER_THREAD);
    let read_share = |start: usize, share: &[(String, Found)]| -> Result<Vec<Entry>, (usize, SourceError)> {
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        let mut read = |(index, (path, kind)): (usize, &(String, Found))| {
            read_entry(project, path, *kind, &mut buffer).map_err(|cause| (start + index, cause))
        };
        share.iter().enumerate().map(&mut read).collect()
    };
    let shares: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = found
            .chunks(share)
            .enumerate()
            .map(|(number, files)| scope.spawn(move || read_share(number * share, files)))
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut entries = Vec::with_capacity(found.len());
    for share in shares {
        entries.extend(share.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    }
    Ok(entries)
}

fn read_entry(project: &Path, path: &str, kind: Found, buffer: &mut [u8]) -> Result<Entry, SourceError> {
    match kind {
        Found::File => read_file(&project.join(path), path, buffer),
        Found::Link => Ok(Entry::Link {
            target: read_link(&project.join(path), path)?,
        }),
    }
}

fn read_file(location: &Path, path: &str, buffer: &mut [u8]) -> Result<Entry, SourceError> {
    let failed = |action| {
        move |cause| SourceError::Io {
            action,
            path: location.to_owned(),
            cause,
        }
    };
    let mut file = open(location, path)?;
    let metadata = file.metadata().map_err(failed("look at"))?;
    if metadata.len() > SOURCE_LIMIT_BYTES {
        return Err(too_large(path, path));
    }
    let mut hasher = Hasher::new();
    let mut size_bytes = 0;
    loop {
        let count = file.read(buffer).map_err(failed("read"))?;
        hasher.update(&buffer[..count]);
        size_bytes += count as u64;
        // A local file gives less than was asked for only at its end, so that one read does for most files.
        if count == 0 || (count < buffer.len() && size_bytes >= metadata.len()) {
            break;
        }
        if size_bytes > metadata.len() {
            return Err(SourceError::Changed { path: path.to_owned() });
        }
    }
    if size_bytes != metadata.len() {
        return Err(SourceError::Changed { path: path.to_owned() });
    }
    let executable = is_executable(&metadata);
    Ok(Entry::File {
        digest: hasher.finish(),
        size_bytes,
        executable,
    })
}

/// Opens what was a regular file a moment ago, and may be something else now.
pub(super) fn open(location: &Path, path: &str) -> Result<File, SourceError> {
    regular_file::open_itself(location).map_err(|cause| {
        let is_no_file = cause.get_ref().is_some_and(|inner| inner.is::<Unfit>());
        if is_no_file || cause.kind() == std::io::ErrorKind::NotFound {
            return SourceError::Changed { path: path.to_owned() };
        }
        SourceError::Io {
            action: "open",
            path: location.to_owned(),
            cause,
        }
    })
}

pub(super) fn is_executable(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

pub(super) fn read_link(location: &Path, path: &str) -> Result<String, SourceError> {
    let failed = |cause| SourceError::Io {
        action: "read the symbolic link",
        path: location.to_owned(),
        cause,
    };
    let target = fs::read_link(location).map_err(failed)?;
    let target = target
        .to_str()
        .ok_or_else(|| SourceError::Name { path: path.to_owned() })?;
    Ok(target.to_owned())
}

fn too_large(source: &str, largest: &str) -> SourceError {
    SourceError::TooLarge {
        path: source.to_owned(),
        largest: largest.to_owned(),
        limit_bytes: SOURCE_LIMIT_BYTES,
    }
}

fn check_size(source: &str, entries: &BTreeMap<String, Entry>) -> Result<(), SourceError> {
    let total: u64 = entries.values().map(Entry::size_bytes).sum();
    match entries.iter().max_by_key(|(_, entry)| entry.size_bytes()) {
        Some((largest, _)) if total > SOURCE_LIMIT_BYTES => Err(too_large(source, largest)),
        _ => Ok(()),
    }
}

/// A link must mean in the container what it means here: it is relative, stays in the project, and what it points to is
/// uploaded too. A link to nothing points to nothing there as well.
fn check_links(project: &Path, entries: &BTreeMap<String, Entry>) -> Result<(), SourceError> {
    let directories = directories(entries);
    for (path, entry) in entries {
        let Entry::Link { target } = entry else { continue };
        let refuse = |why, hint| {
            let (path, target) = (path.clone(), target.clone());
            Err(SourceError::Link {
                path,
                target,
                why,
                hint,
            })
        };
        if target.starts_with('/') {
            return refuse(
                "an absolute path, which is another file in a container",
                "make it a relative link",
            );
        }
        let Some(resolved) = resolve(path, target) else {
            return refuse(
                "which is outside of the project",
                "copy what it points to into the project",
            );
        };
        let is_uploaded = resolved.is_empty()
            || entries.contains_key(&resolved)
            || directories.contains(resolved.as_str())
            || passes_through_link(&resolved, entries);
        if !is_uploaded && fs::symlink_metadata(project.join(&resolved)).is_ok() {
            return refuse("which is not uploaded with it", "add that path to the unit's `inputs`");
        }
    }
    Ok(())
}

/// Where a link at `path` leads, by its text alone; none when that is outside.
fn resolve(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Whether a directory on the way is a link itself, which is checked for itself.
fn passes_through_link(path: &str, entries: &BTreeMap<String, Entry>) -> bool {
    let mut rest = path;
    while let Some((directory, _)) = rest.rsplit_once('/') {
        if matches!(entries.get(directory), Some(Entry::Link { .. })) {
            return true;
        }
        rest = directory;
    }
    false
}

fn digest_of(entries: &BTreeMap<String, Entry>) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(DIGEST_SCHEME);
    for (path, entry) in entries {
        hasher.field(path.as_bytes());
        match entry {
            Entry::File { digest, executable, .. } => {
                hasher.field(if *executable { b"executable" } else { b"file" });
                hasher.field(digest.to_string().as_bytes());
            }
            Entry::Link { target } => {
                hasher.field(b"link");
                hasher.field(target.as_bytes());
            }
        }
    }
    hasher.finish()
}
