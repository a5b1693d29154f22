//! What is in a volume: which release is current, and whether a release is what its manifest says, to the last byte.
//!
//! Where the engine's own files can be read, which root on the engine's machine can, that takes a moment; elsewhere they
//! come through the engine. Nothing in a volume is trusted: links are not followed, and everything has a limit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat, readlinkat};
use tar::EntryType;

use super::{INSTANCE_LABEL, RELEASE_NAME_DIGITS, VOLUME_PATH};
use crate::bundle::{ArtifactRecord, Difference, MANIFEST_FILE, MANIFEST_LIMIT_BYTES, Manifest, ManifestError};
use crate::digest::Digest;
use crate::engine::{ContainerId, Engine, EngineError, VolumeFacts};
use crate::stream;

/// How many entries a release's directory may have that are looked at.
const ENTRIES_LIMIT: usize = 10_000;
/// How much is read of the files that say something about the volume itself.
const NOTE_LIMIT_BYTES: u64 = 4096;

/// A release as it should be.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its name.
    pub(super) release: String,
    /// Its manifest's bytes.
    pub(super) manifest: Vec<u8>,
    /// All that is in it, the manifest too.
    files: Vec<ArtifactRecord>,
    /// The directories of these.
    directories: BTreeSet<String>,
}

impl Expected {
    /// The release of a manifest.
    ///
    /// # Errors
    /// When the manifest has no JSON form, which none of ours lacks.
    pub fn of(manifest: &Manifest) -> Result<Self, ManifestError> {
        let json = manifest.to_json()?;
        let of_itself = ArtifactRecord {
            name: MANIFEST_FILE.to_owned(),
            digest: Digest::of(&json),
            size_bytes: json.len() as u64,
            executable: false,
        };
        Ok(Self {
            release: manifest.digest()?.hex()[..RELEASE_NAME_DIGITS].to_owned(),
            files: manifest.artifacts().cloned().chain([of_itself]).collect(),
            directories: manifest.directories().into_iter().map(str::to_owned).collect(),
            manifest: json,
        })
    }

    /// Where it is in the volume, and what `current` has to lead to.
    #[must_use]
    pub fn path(&self) -> String {
        format!("releases/{}", self.release)
    }

    /// In what a link that leads to `current` does not lead here.
    pub(super) fn difference_of_current(&self, current: Option<&str>) -> Option<Difference> {
        let name = "current".to_owned();
        match current {
            None => Some(Difference::Missing { name }),
            Some(target) if target == self.path() => None,
            Some(_) => Some(Difference::Changed { name, what: "target" }),
        }
    }
}

/// A release on its way to being compared, entry by entry.
struct Comparison<'a> {
    files: BTreeMap<&'a str, &'a ArtifactRecord>,
    directories: &'a BTreeSet<String>,
    seen: BTreeSet<&'a str>,
    differences: Vec<Difference>,
}

impl<'a> Comparison<'a> {
    fn with(expected: &'a Expected) -> Self {
        Self {
            files: expected.files.iter().map(|file| (file.name.as_str(), file)).collect(),
            directories: &expected.directories,
            seen: BTreeSet::new(),
            differences: vec![],
        }
    }

    /// There is something of this name; `compare` says in what it is not the file that it should be.
    fn see(
        &mut self,
        name: &str,
        compare: impl FnOnce(&ArtifactRecord) -> io::Result<Option<Difference>>,
    ) -> io::Result<()> {
        if let Some(file) = self.files.get(name).copied() {
            self.differences.extend(compare(file)?);
            self.seen.insert(&file.name);
        } else {
            let name = name.to_owned();
            self.differences.push(Difference::Unknown { name });
        }
        Ok(())
    }

    /// All that differs, with what was not seen.
    fn finish(mut self) -> Vec<Difference> {
        let missing = self.files.keys().filter(|name| !self.seen.contains(**name));
        self.differences.extend(missing.map(|name| Difference::Missing {
            name: (*name).to_owned(),
        }));
        self.differences
    }
}

/// What a volume says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signs {
    /// What `current` leads to; none when it is no link.
    pub(super) current: Option<String>,
    /// Which checkout published what is current, if that is known.
    pub(super) publisher: Option<String>,
}

/// A way to see into a volume.
pub(super) enum Sight {
    /// Where the engine keeps it.
    Direct(OwnedFd),
    /// Through a container that has it, started or not.
    Through(ContainerId),
}

impl Sight {
    /// Into a volume whose files can be read where the engine keeps them; none where they cannot, or are another engine's.
    pub(super) fn direct(volume: &VolumeFacts) -> Option<Self> {
        let mark = volume.labels.get(INSTANCE_LABEL)?;
        let root = open_directory(Path::new(volume.mountpoint.as_deref()?)).ok()?;
        // The path is one on the engine's machine. This one may have another volume there; it has another mark.
        (read_note(&root, "instance").ok()?.trim() == mark).then_some(Self::Direct(root))
    }

    /// What `current` leads to; none when it is no link.
    pub(super) async fn current(&self, engine: &dyn Engine) -> Result<Option<String>, EngineError> {
        match self {
            Self::Direct(root) => Ok(readlinkat(root, "current", Vec::new())
                .ok()
                .and_then(|target| target.into_string().ok())),
            Self::Through(container) => Ok(match download(engine, container, "current").await? {
                Some(Note::Link(target)) => Some(target),
                _ => None,
            }),
        }
    }

    /// What the volume says of itself.
    pub(super) async fn signs(&self, engine: &dyn Engine) -> Result<Signs, EngineError> {
        let current = self.current(engine).await?;
        let publishers = match self {
            Self::Direct(root) => read_note(root, "publishers").unwrap_or_default(),
            Self::Through(container) => match download(engine, container, "publishers").await? {
                Some(Note::Text(text)) => text,
                _ => String::new(),
            },
        };
        Ok(Signs {
            publisher: publisher_of(current.as_deref(), &publishers),
            current,
        })
    }

    /// In what a release is not as it should be.
    pub(super) async fn release(
        &self,
        engine: &dyn Engine,
        expected: &Expected,
    ) -> Result<Vec<Difference>, EngineError> {
        match self {
            Self::Direct(root) => compare_directory(root, expected).map_err(|error| unreadable(&error)),
            Self::Through(container) => download_release(engine, container, expected).await,
        }
    }
}

/// `publishers` has the lines `<release> <checkout>`; the first of what is current counts.
fn publisher_of(current: Option<&str>, publishers: &str) -> Option<String> {
    let release = current?.strip_prefix("releases/")?;
    let line = publishers.lines().find_map(|line| line.strip_prefix(release))?;
    line.strip_prefix(' ').map(|publisher| publisher.trim().to_owned())
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(
        path,
        OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens what is below a directory without following a link, and without waiting for whoever may be at its other end.
fn open_below(directory: &impl AsFd, name: &str, kind: OFlags) -> io::Result<OwnedFd> {
    let flags = kind | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?)
}

fn read_note(root: &impl AsFd, name: &str) -> io::Result<String> {
    let file = File::from(open_below(root, name, OFlags::RDONLY)?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = String::new();
    file.take(NOTE_LIMIT_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn compare_directory(root: &impl AsFd, expected: &Expected) -> io::Result<Vec<Difference>> {
    let mut comparison = Comparison::with(expected);
    let opened = open_below(root, "releases", OFlags::DIRECTORY)
        .and_then(|releases| open_below(&releases, &expected.release, OFlags::DIRECTORY));
    let Ok(directory) = opened else {
        return Ok(comparison.finish());
    };
    let mut entries_left = ENTRIES_LIMIT;
    compare_below(&directory, "", &mut comparison, &mut entries_left)?;
    Ok(comparison.finish())
}

/// Compares what is in a directory of a release, which is called `prefix` there, with a slash at its end.
fn compare_below(
    directory: &impl AsFd,
    prefix: &str,
    comparison: &mut Comparison<'_>,
    entries_left: &mut usize,
) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let file_name = entry?.file_name().to_string_lossy().into_owned();
        if file_name == "." || file_name == ".." {
            continue;
        }
        let Some(left) = entries_left.checked_sub(1) else {
            break;
        };
        *entries_left = left;
        let name = format!("{prefix}{file_name}");
        if comparison.directories.contains(&name) {
            match open_below(directory, &file_name, OFlags::DIRECTORY) {
                Ok(inner) => compare_below(&inner, &format!("{name}/"), comparison, entries_left)?,
                Err(_) => comparison.differences.push(Difference::Changed { name, what: "kind" }),
            }
            continue;
        }
        comparison.see(&name, |wanted| {
            let file = open_below(directory, &file_name, OFlags::RDONLY).map(File::from);
            let metadata = file.as_ref().ok().and_then(|file| file.metadata().ok());
            match (file, metadata) {
                (Ok(file), Some(metadata)) if metadata.is_file() => {
                    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
                    wanted.difference(metadata.len(), mode, || Ok(file))
                }
                _ => Ok(Some(wanted.changed("kind"))),
            }
        })?;
    }
    Ok(())
}

/// A file of a volume that says something about it.
enum Note {
    Link(String),
    Text(String),
}

async fn download(engine: &dyn Engine, container: &ContainerId, name: &str) -> Result<Option<Note>, EngineError> {
    let stream = match engine.download(container, &format!("{VOLUME_PATH}/{name}")).await {
        Ok(stream) => stream,
        Err(EngineError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let read = stream::read_by(stream, |reader| -> io::Result<Option<Note>> {
        let mut archive = tar::Archive::new(reader);
        let Some(entry) = archive.entries()?.next() else {
            return Ok(None);
        };
        let entry = entry?;
        match entry.header().entry_type() {
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default();
                Ok(Some(Note::Link(String::from_utf8_lossy(&target).into_owned())))
            }
            EntryType::Regular => {
                let mut text = Vec::new();
                entry.take(NOTE_LIMIT_BYTES).read_to_end(&mut text)?;
                Ok(Some(Note::Text(String::from_utf8_lossy(&text).into_owned())))
            }
            _ => Ok(None),
        }
    });
    read.await.and_then(|note| note).map_err(|error| unreadable(&error))
}

/// Compares a release as the engine gives it.
async fn download_release(
    engine: &dyn Engine,
    container: &ContainerId,
    expected: &Expected,
) -> Result<Vec<Difference>, EngineError> {
    let path = format!("{VOLUME_PATH}/{}", expected.path());
    let stream = match engine.download(container, &path).await {
        Ok(stream) => stream,
        Err(EngineError::NotFound { .. }) => return Ok(Comparison::with(expected).finish()),
        Err(error) => return Err(error),
    };
    let limit_bytes = expected.files.iter().map(|file| file.size_bytes).sum::<u64>()
        + MANIFEST_LIMIT_BYTES
        + ENTRIES_LIMIT as u64 * NOTE_LIMIT_BYTES;
    let expected = expected.clone();
    let read = stream::read_by(stream, move |reader| compare_archive(reader, limit_bytes, &expected));
    read.await
        .and_then(|differences| differences)
        .map_err(|error| unreadable(&error))
}

/// Of an archive that is larger than the release can be, or broken, what was seen so far is compared.
fn compare_archive(reader: &mut dyn Read, limit_bytes: u64, expected: &Expected) -> io::Result<Vec<Difference>> {
    let mut archive = tar::Archive::new(reader.take(limit_bytes));
    let mut comparison = Comparison::with(expected);
    for entry in archive.entries()?.take(ENTRIES_LIMIT) {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.trim_end_matches('/').split_once('/').map_or("", |(_, name)| name);
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory && (name.is_empty() || comparison.directories.contains(name)) {
            continue;
        }
        comparison.see(name, |wanted| {
            if kind != EntryType::Regular {
                return Ok(Some(wanted.changed("kind")));
            }
            let (size_bytes, mode) = (entry.size(), entry.header().mode()?);
            wanted.difference(size_bytes, mode, || Ok(entry))
        })?;
    }
    Ok(comparison.finish())
}

fn unreadable(error: &io::Error) -> EngineError {
    EngineError::Failed {
        action: "show what is in the volume".to_owned(),
        cause: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::manifest::tests::{artifact, manifest_of};
    use crate::engine::Labels;
    use crate::engine::fake::FakeEngine;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const RELEASE: &str = "releases";

    /// A volume in which a release of one file is current, as root on the engine's machine sees it.
    struct Ground {
        directory: tempfile::TempDir,
        expected: Expected,
        facts: VolumeFacts,
    }

    impl Ground {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let expected = Expected::of(&manifest_of(&[
                artifact("greeter", b"host"),
                artifact("handlers/ip.so", b"plugin"),
            ]))
            .unwrap();
            let release = directory.path().join(expected.path());
            fs::create_dir_all(release.join("handlers")).unwrap();
            fs::write(release.join("greeter"), "host").unwrap();
            fs::write(release.join("handlers/ip.so"), "plugin").unwrap();
            fs::write(release.join(MANIFEST_FILE), &expected.manifest).unwrap();
            symlink(expected.path(), directory.path().join("current")).unwrap();
            fs::write(directory.path().join("instance"), "mark\n").unwrap();
            let publishers = format!("{} mine\n0123456789abcdef other\n", expected.release);
            fs::write(directory.path().join("publishers"), publishers).unwrap();
            let facts = VolumeFacts {
                name: "volume".to_owned(),
                labels: Labels::from([(INSTANCE_LABEL.to_owned(), "mark".to_owned())]),
                mountpoint: Some(directory.path().display().to_string()),
            };
            Self {
                directory,
                expected,
                facts,
            }
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.directory.path().join(name)
        }

        fn file(&self, name: &str) -> std::path::PathBuf {
            self.path(RELEASE).join(&self.expected.release).join(name)
        }

        async fn differences(&self) -> Vec<String> {
            let (sight, engine) = (Sight::direct(&self.facts).unwrap(), FakeEngine::new());
            let current = sight.current(&engine).await.unwrap();
            let release = sight.release(&engine, &self.expected).await.unwrap();
            let differences = self.expected.difference_of_current(current.as_deref()).into_iter();
            differences
                .chain(release)
                .map(|difference| difference.to_string())
                .collect()
        }
    }

    #[tokio::test]
    async fn what_was_published_is_seen_as_such() {
        let ground = Ground::new();
        assert_eq!(ground.differences().await, Vec::<String>::new());
        let signs = Sight::direct(&ground.facts).unwrap().signs(&FakeEngine::new()).await;
        assert_eq!(signs.unwrap().publisher.as_deref(), Some("mine"));
    }

    #[tokio::test]
    async fn every_change_is_seen_and_no_link_is_followed() {
        type Change = fn(&Ground);
        let changes: &[(Change, &str)] = &[
            (
                |ground| fs::write(ground.file("greeter"), "hoST").unwrap(),
                "greeter has another content",
            ),
            (
                |ground| fs::write(ground.file("greeter"), "hosts").unwrap(),
                "greeter has another size",
            ),
            (
                |ground| fs::set_permissions(ground.file("greeter"), fs::Permissions::from_mode(0o755)).unwrap(),
                "greeter has another mode",
            ),
            (
                |ground| fs::remove_file(ground.file("greeter")).unwrap(),
                "greeter is missing",
            ),
            (
                |ground| fs::write(ground.file("more"), "").unwrap(),
                "more is not in the manifest",
            ),
            (
                |ground| {
                    fs::rename(ground.file("greeter"), ground.path("elsewhere")).unwrap();
                    symlink(ground.path("elsewhere"), ground.file("greeter")).unwrap();
                },
                "greeter has another kind",
            ),
            (
                |ground| fs::write(ground.file("handlers/ip.so"), "plugIn").unwrap(),
                "handlers/ip.so has another content",
            ),
            (
                |ground| fs::write(ground.file("handlers/more"), "").unwrap(),
                "handlers/more is not in the manifest",
            ),
            (
                |ground| fs::create_dir(ground.file("empty")).unwrap(),
                "empty is not in the manifest",
            ),
            (
                |ground| {
                    fs::rename(ground.file("handlers"), ground.path("elsewhere")).unwrap();
                    symlink(ground.path("elsewhere"), ground.file("handlers")).unwrap();
                },
                "handlers has another kind",
            ),
            (
                |ground| fs::remove_file(ground.path("current")).unwrap(),
                "current is missing",
            ),
            (
                |ground| {
                    fs::remove_file(ground.path("current")).unwrap();
                    fs::create_dir(ground.path("current")).unwrap();
                },
                "current is missing",
            ),
            (
                |ground| {
                    fs::remove_file(ground.path("current")).unwrap();
                    symlink("releases/0000000000000000", ground.path("current")).unwrap();
                },
                "current has another target",
            ),
            (
                |ground| fs::write(ground.file(MANIFEST_FILE), "{}").unwrap(),
                "manifest.json has another size",
            ),
            (
                |ground| {
                    fs::rename(ground.path(RELEASE), ground.path("aside")).unwrap();
                    symlink("aside", ground.path(RELEASE)).unwrap();
                },
                "greeter is missing",
            ),
        ];
        for (change, expected) in changes {
            let ground = Ground::new();
            change(&ground);
            let told = ground.differences().await;
            assert!(told.iter().any(|line| line == expected), "{expected}: {told:?}");
        }
    }

    #[test]
    fn another_volume_at_the_same_path_is_not_looked_at() {
        let ground = Ground::new();
        fs::write(ground.path("instance"), "another\n").unwrap();
        assert!(Sight::direct(&ground.facts).is_none());
        fs::remove_file(ground.path("instance")).unwrap();
        assert!(Sight::direct(&ground.facts).is_none());
    }
}
