//! What is in a volume: which release is current, and whether a release is what its manifest says, to the last byte.
//!
//! Where the engine's own files can be read, which root on the engine's machine can, that takes a moment; elsewhere they
//! come through the engine. Nothing in a volume is trusted: links are not followed, and everything has a limit.

use std::collections::BTreeSet;
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
    artifacts: Vec<ArtifactRecord>,
}

/// What was seen in a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What `current` leads to; none when it is no link.
    pub current: Option<String>,
    /// Which checkout published what is current, if that is known.
    pub publisher: Option<String>,
    /// In what the release is not as it should be.
    pub release: Vec<Difference>,
}

impl Expected {
    /// The release of a manifest.
    ///
    /// # Errors
    /// When the manifest has no JSON form, which none of ours lacks.
    pub fn of(manifest: &Manifest) -> Result<Self, ManifestError> {
        Ok(Self {
            release: manifest.digest()?.hex()[..RELEASE_NAME_DIGITS].to_owned(),
            manifest: manifest.to_json()?,
            artifacts: manifest.artifacts().cloned().collect(),
        })
    }

    /// What `current` has to lead to.
    #[must_use]
    pub fn path(&self) -> String {
        format!("releases/{}", self.release)
    }

    /// The differences that are not about single files: of these and of the manifest.
    fn compare<'a>(&'a self, name: &str) -> Option<Wanted<'a>> {
        if name == MANIFEST_FILE {
            return Some(Wanted {
                size_bytes: self.manifest.len() as u64,
                digest: Digest::of(&self.manifest),
                executable: false,
                name: MANIFEST_FILE,
            });
        }
        let artifact = self.artifacts.iter().find(|artifact| artifact.name == name)?;
        Some(Wanted {
            size_bytes: artifact.size_bytes,
            digest: artifact.digest,
            executable: artifact.executable,
            name: &artifact.name,
        })
    }

    /// What is to be in the release and was not seen.
    fn missing(&self, seen: &BTreeSet<String>) -> Vec<Difference> {
        let names = self.artifacts.iter().map(|artifact| artifact.name.as_str());
        names
            .chain([MANIFEST_FILE])
            .filter(|name| !seen.contains(*name))
            .map(|name| Difference::Missing { name: name.to_owned() })
            .collect()
    }
}

impl View {
    /// Whether the release is as it should be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.release.is_empty()
    }

    /// In what the volume is not as `expected` was published: no difference when it is.
    #[must_use]
    pub fn differences(&self, expected: &Expected) -> Vec<Difference> {
        let current = match &self.current {
            None => Some(Difference::Missing {
                name: "current".to_owned(),
            }),
            Some(target) if *target == expected.path() => None,
            Some(_) => Some(Difference::Changed {
                name: "current".to_owned(),
                what: "target",
            }),
        };
        current.into_iter().chain(self.release.iter().cloned()).collect()
    }
}

/// One file of a release as it should be.
struct Wanted<'a> {
    name: &'a str,
    size_bytes: u64,
    digest: Digest,
    executable: bool,
}

impl Wanted<'_> {
    /// In what a file is not this one.
    fn difference(&self, size_bytes: u64, executable: bool, content: impl Read) -> io::Result<Option<Difference>> {
        let what = if size_bytes != self.size_bytes {
            "size"
        } else if executable != self.executable {
            "mode"
        } else if Digest::of_reader(content.take(self.size_bytes))? == self.digest {
            return Ok(None);
        } else {
            "content"
        };
        Ok(Some(self.changed(what)))
    }

    fn changed(&self, what: &'static str) -> Difference {
        Difference::Changed {
            name: self.name.to_owned(),
            what,
        }
    }
}

/// Looks at a volume in which `container` has it, started or not.
///
/// # Errors
/// What the engine fails with.
pub(super) async fn look(
    engine: &dyn Engine,
    volume: &VolumeFacts,
    container: &ContainerId,
    expected: &Expected,
) -> Result<View, EngineError> {
    if let Some(view) = look_directly(volume, Some(expected)) {
        return Ok(view);
    }
    Ok(View {
        release: download_release(engine, container, expected).await?,
        ..look_at_notes(engine, container).await?
    })
}

/// What a volume says of itself, without a look at any release.
///
/// # Errors
/// What the engine fails with.
pub(super) async fn look_at_notes(engine: &dyn Engine, container: &ContainerId) -> Result<View, EngineError> {
    let current = match download(engine, container, "current").await? {
        Some(Note::Link(target)) => Some(target),
        _ => None,
    };
    let publishers = match download(engine, container, "publishers").await? {
        Some(Note::Text(text)) => text,
        _ => String::new(),
    };
    Ok(View {
        publisher: publisher_of(current.as_deref(), &publishers),
        current,
        release: vec![],
    })
}

/// What is seen where the engine keeps its volumes; none where that cannot be read, or is another engine's.
#[must_use]
pub(super) fn look_directly(volume: &VolumeFacts, expected: Option<&Expected>) -> Option<View> {
    let mark = volume.labels.get(INSTANCE_LABEL)?;
    let root = open_directory(Path::new(volume.mountpoint.as_deref()?)).ok()?;
    // The path is one on the engine's machine. This one may have another volume there; it has another mark.
    if read_note(&root, "instance").ok()?.trim() != mark {
        return None;
    }
    let current = readlinkat(&root, "current", Vec::new())
        .ok()
        .and_then(|target| target.into_string().ok());
    let publishers = read_note(&root, "publishers").unwrap_or_default();
    let release = match expected {
        Some(expected) => compare_directory(&root, expected).ok()?,
        None => vec![],
    };
    Some(View {
        publisher: publisher_of(current.as_deref(), &publishers),
        current,
        release,
    })
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
    let opened = open_below(root, "releases", OFlags::DIRECTORY)
        .and_then(|releases| open_below(&releases, &expected.release, OFlags::DIRECTORY));
    let Ok(directory) = opened else {
        return Ok(expected.missing(&BTreeSet::new()));
    };
    let mut seen = BTreeSet::new();
    let mut differences = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)?.take(ENTRIES_LIMIT) {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let Some(wanted) = expected.compare(&name) else {
            differences.push(Difference::Unknown { name });
            continue;
        };
        let file = open_below(&directory, &name, OFlags::RDONLY).map(File::from);
        let metadata = file.as_ref().ok().and_then(|file| file.metadata().ok());
        differences.extend(match (file, metadata) {
            (Ok(file), Some(metadata)) if metadata.is_file() => {
                let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
                wanted.difference(metadata.len(), mode & 0o100 != 0, file)?
            }
            _ => Some(wanted.changed("kind")),
        });
        seen.insert(name);
    }
    differences.extend(expected.missing(&seen));
    Ok(differences)
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
        Err(EngineError::NotFound { .. }) => return Ok(expected.missing(&BTreeSet::new())),
        Err(error) => return Err(error),
    };
    let limit_bytes = expected
        .artifacts
        .iter()
        .map(|artifact| artifact.size_bytes)
        .sum::<u64>()
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
    let mut seen = BTreeSet::new();
    let mut differences = Vec::new();
    for entry in archive.entries()?.take(ENTRIES_LIMIT) {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path
            .trim_end_matches('/')
            .split_once('/')
            .map_or("", |(_, name)| name)
            .to_owned();
        let kind = entry.header().entry_type();
        if name.is_empty() && kind == EntryType::Directory {
            continue;
        }
        let Some(wanted) = expected.compare(&name) else {
            differences.push(Difference::Unknown { name });
            continue;
        };
        differences.extend(if kind == EntryType::Regular {
            let (size_bytes, mode) = (entry.size(), entry.header().mode()?);
            wanted.difference(size_bytes, mode & 0o100 != 0, entry)?
        } else {
            Some(wanted.changed("kind"))
        });
        seen.insert(name);
    }
    differences.extend(expected.missing(&seen));
    Ok(differences)
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
            let expected = Expected::of(&manifest_of(&[artifact("greeter", b"host")])).unwrap();
            let release = directory.path().join(expected.path());
            fs::create_dir_all(&release).unwrap();
            fs::write(release.join("greeter"), "host").unwrap();
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

        fn differences(&self) -> Vec<String> {
            let view = look_directly(&self.facts, Some(&self.expected)).unwrap();
            view.differences(&self.expected)
                .iter()
                .map(ToString::to_string)
                .collect()
        }
    }

    #[test]
    fn what_was_published_is_seen_as_such() {
        let ground = Ground::new();
        let view = look_directly(&ground.facts, Some(&ground.expected)).unwrap();
        assert_eq!(view.differences(&ground.expected), []);
        assert_eq!(view.publisher.as_deref(), Some("mine"));
    }

    #[test]
    fn every_change_is_seen_and_no_link_is_followed() {
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
            let told = ground.differences();
            assert!(told.iter().any(|line| line == expected), "{expected}: {told:?}");
        }
    }

    #[test]
    fn another_volume_at_the_same_path_is_not_looked_at() {
        let ground = Ground::new();
        fs::write(ground.path("instance"), "another\n").unwrap();
        assert_eq!(look_directly(&ground.facts, Some(&ground.expected)), None);
        fs::remove_file(ground.path("instance")).unwrap();
        assert_eq!(look_directly(&ground.facts, None), None);
    }
}
