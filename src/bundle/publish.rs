//! Publication to `dist/<environment>/`: all of a bundle or nothing, at every moment and after a loss of power.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, rename, renameat_with};
use rustix::io::Errno;

use super::difference::Difference;
use super::manifest::MANIFEST_LIMIT_BYTES;
use super::metadata::METADATA_SUFFIX;
use super::{ArtifactRecord, BUNDLE_DIRECTORY, MANIFEST_FILE, Manifest, ManifestError};
use crate::name::EnvironmentName;
use crate::place::directories_above;
use crate::regular_file;
use crate::state::{STAGING_PREFIX, StateError, state_directory};

/// How many files a bundle's directory may hold when it is compared with its manifest.
const DIRECTORY_LIMIT_ENTRIES: usize = 10_000;

/// Why a bundle was not published, or cannot be compared with its manifest.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The project's state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The manifest cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Manifest {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        cause: ManifestError,
    },
    /// Nothing was published yet.
    #[error("there is no bundle in {}", directory.display())]
    Absent {
        /// Where it would be.
        directory: PathBuf,
    },
    /// There is something else where the bundle belongs.
    #[error("{} is not a directory that lockstep made", path.display())]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// Both directories must be on one file system.
    #[error(
        "{} and {} are on different file systems, so that a bundle cannot appear there all at once", from.display(), to.display()
    )]
    OtherFileSystem {
        /// Where the bundle was made.
        from: PathBuf,
        /// Where it belongs.
        to: PathBuf,
    },
    /// The operating system refused.
    #[error("failed to {action} {}: {cause}", path.display())]
    Io {
        /// In the infinitive.
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
}

impl PublishError {
    /// What to do about it, where lockstep knows.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => error.hint(),
            Self::Manifest { .. } => Some("make it again: lockstep build".to_owned()),
            Self::Absent { .. } => Some("lockstep build".to_owned()),
            Self::InTheWay { .. } => Some("move it away".to_owned()),
            Self::OtherFileSystem { .. } => Some(format!(
                "make `{BUNDLE_DIRECTORY}` an ordinary directory of the project"
            )),
            Self::Io { .. } => None,
        }
    }
}

fn failed<'path>(action: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> PublishError + 'path {
    move |cause| PublishError::Io {
        action,
        path: path.to_owned(),
        cause,
    }
}

/// A bundle in the making, on the file system where it will be published. Removed when dropped.
#[derive(Debug)]
pub struct Staging {
    project: PathBuf,
    directory: PathBuf,
    /// What it will be called where it is published.
    name: String,
}

impl Staging {
    /// Makes an empty directory for this run's bundle of this environment.
    ///
    /// # Errors
    /// When it cannot be made, or is there already: a run's ID is used once.
    pub fn create(project: &Path, run_id: &str, environment: &EnvironmentName) -> Result<Self, PublishError> {
        Self::of(project, run_id, environment.to_string())
    }

    /// The same for what is said of the bundle, beside it.
    ///
    /// # Errors
    /// As [`Staging::create`].
    pub fn create_metadata(project: &Path, run_id: &str, environment: &EnvironmentName) -> Result<Self, PublishError> {
        Self::of(project, run_id, format!("{environment}{METADATA_SUFFIX}"))
    }

    fn of(project: &Path, run_id: &str, name: String) -> Result<Self, PublishError> {
        let directory = state_directory(project)?.join(format!("{STAGING_PREFIX}{run_id}-{name}"));
        fs::create_dir(&directory).map_err(failed("make the directory", &directory))?;
        let staging = Self {
            project: project.to_owned(),
            directory,
            name,
        };
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&staging.directory, mode).map_err(failed("set the mode of", &staging.directory))?;
        Ok(staging)
    }

    /// Where the artifacts are collected.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Makes the directories of a bundle.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn make_directories(&self, manifest: &Manifest) -> Result<(), PublishError> {
        for directory in manifest.directories() {
            let directory = self.directory.join(directory);
            fs::create_dir(&directory).map_err(failed("make the directory", &directory))?;
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&directory, mode).map_err(failed("set the mode of", &directory))?;
        }
        Ok(())
    }

    /// Adds the manifest, which completes the bundle.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), PublishError> {
        let path = self.directory.join(MANIFEST_FILE);
        let json = manifest.to_json().map_err(|cause| PublishError::Manifest {
            path: path.clone(),
            cause,
        })?;
        write_new(&path, &json)
    }

    /// Adds a file of what is said of a bundle.
    ///
    /// # Errors
    /// When it cannot be written, or is there already.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), PublishError> {
        write_new(&self.directory.join(name), content)
    }

    /// Puts the bundle in the place of the one that is there. It stays only when [`Publication::keep`] is called:
    /// until then the previous bundle is at hand, and comes back when the publication is dropped.
    ///
    /// # Errors
    /// When something else is there, or a file cannot be synchronised or renamed; the previous bundle is then as it was.
    pub fn publish(self) -> Result<Publication, PublishError> {
        self.synchronise()?;
        let parent = self.project.join(BUNDLE_DIRECTORY);
        regular_file::make_directory(&parent).map_err(failed("make the directory", &parent))?;
        let target = parent.join(&self.name);
        let replaces = match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_dir() => true,
            Ok(_) => return Err(PublishError::InTheWay { path: target }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(cause) => {
                return Err(PublishError::Io {
                    action: "look at",
                    path: target,
                    cause,
                });
            }
        };
        let swapped = if replaces {
            swap(&self.directory, &target)
        } else {
            rename(&self.directory, &target)
        };
        swapped.map_err(|errno| match errno {
            Errno::XDEV => PublishError::OtherFileSystem {
                from: self.directory.clone(),
                to: target.clone(),
            },
            errno => failed("publish", &target)(errno.into()),
        })?;
        let publication = Publication {
            staging: Some(self),
            target,
            replaces,
        };
        synchronise(&parent)?;
        Ok(publication)
    }

    /// Brings all files to the disk before they get the name under which they are used.
    fn synchronise(&self) -> Result<(), PublishError> {
        synchronise_all(&self.directory)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Writes a file that everybody can read.
fn write_new(path: &Path, content: &[u8]) -> Result<(), PublishError> {
    let mut file = File::create_new(path).map_err(failed("write", path))?;
    file.write_all(content).map_err(failed("write", path))?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(failed("set the mode of", path))
}

/// Exchanges two directories at once; where the file system cannot (FUSE, NFS), with three renames, which leave `right`
/// without a directory for a moment.
fn swap(left: &Path, right: &Path) -> Result<(), Errno> {
    match renameat_with(CWD, left, CWD, right, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => swap_by_renames(left, right),
        done => done,
    }
}

/// What a bundle is called while it is moved aside for the next one; the staging directory's name comes before it.
const ASIDE_SUFFIX: &str = ".previous";

/// Puts a bundle back that a run which was killed had moved aside: only file systems without an exchange need it, and
/// only between two renames.
///
/// # Errors
/// When it cannot be moved.
pub fn restore(project: &Path, leftovers: &[PathBuf]) -> Result<(), PublishError> {
    for aside in leftovers {
        let name = aside.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let environment = name
            .strip_prefix(STAGING_PREFIX)
            .and_then(|name| name.strip_suffix(ASIDE_SUFFIX))
            .and_then(|name| name.split_once('-'))
            .and_then(|(_, environment)| EnvironmentName::new(environment).ok());
        let Some(environment) = environment else { continue };
        let target = project.join(BUNDLE_DIRECTORY).join(environment.as_str());
        if aside.join(MANIFEST_FILE).is_file() && fs::symlink_metadata(&target).is_err() {
            rename(aside, &target).map_err(|errno| failed("put back", &target)(errno.into()))?;
        }
    }
    Ok(())
}

fn swap_by_renames(left: &Path, right: &Path) -> Result<(), Errno> {
    let mut aside = left.as_os_str().to_owned();
    aside.push(ASIDE_SUFFIX);
    let aside = PathBuf::from(aside);
    rename(right, &aside)?;
    if let Err(errno) = rename(left, right) {
        // The first rename worked, so its reverse works unless the file system itself is failing.
        rename(&aside, right)?;
        return Err(errno);
    }
    rename(&aside, left)
}

/// Brings a directory to the disk, and all that lies in it. No deeper than places are.
fn synchronise_all(directory: &Path) -> Result<(), PublishError> {
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        let path = entry.path();
        if entry.file_type().map_err(failed("look at", &path))?.is_dir() {
            synchronise_all(&path)?;
        } else {
            regular_file::open_itself(&path)
                .and_then(|file| file.sync_all())
                .map_err(failed("bring to the disk", &path))?;
        }
    }
    synchronise(directory)
}

/// Brings the names in a directory to the disk.
fn synchronise(directory: &Path) -> Result<(), PublishError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
        .and_then(rustix::fs::fsync)
        .map_err(|errno| failed("bring to the disk", directory)(errno.into()))
}

/// A bundle that is in its place, while it may still be taken back.
#[derive(Debug)]
#[must_use = "dropping a publication takes it back"]
pub struct Publication {
    /// Holds the previous bundle, when there was one; removes it when dropped.
    staging: Option<Staging>,
    target: PathBuf,
    replaces: bool,
}

impl Publication {
    /// The bundle stays, and the previous one is removed.
    pub fn keep(mut self) -> PathBuf {
        self.staging = None;
        self.target.clone()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let Some(staging) = &self.staging else { return };
        // When this fails too, the new bundle stays: it is complete, and there is nobody left to tell.
        let _ = if self.replaces {
            swap(&staging.directory, &self.target)
        } else {
            rename(&self.target, &staging.directory)
        };
    }
}

/// Compares a published bundle with its manifest; no differences mean that every byte is as it was when it was sealed.
///
/// # Errors
/// When there is no manifest, it is not one, or the directory cannot be read.
pub fn verify(bundle: &Path) -> Result<(Manifest, Vec<Difference>), PublishError> {
    let path = bundle.join(MANIFEST_FILE);
    let json = match regular_file::read_itself(&path, MANIFEST_LIMIT_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PublishError::Absent {
                directory: bundle.to_owned(),
            });
        }
        read => read.map_err(failed("read", &path))?,
    };
    let manifest = Manifest::from_json(&json).map_err(|cause| PublishError::Manifest { path, cause })?;
    let mut listing = Listing {
        files: manifest.artifacts().map(|artifact| artifact.name.as_str()).collect(),
        directories: manifest.directories(),
        entries_left: DIRECTORY_LIMIT_ENTRIES,
        differences: vec![],
    };
    listing.files.insert(MANIFEST_FILE);
    listing.look_into(bundle, "")?;
    let mut unlisted = listing.differences;
    unlisted.sort_by(|left, right| left.name().cmp(right.name()));
    let is_behind_another_kind =
        |name: &str| directories_above(name).any(|above| unlisted.iter().any(|other| other.name() == above));
    let mut differences = Vec::new();
    for artifact in manifest.artifacts() {
        // What a link in place of a directory leads to is nobody's business.
        if is_behind_another_kind(&artifact.name) {
            let name = artifact.name.clone();
            differences.push(Difference::Missing { name });
        } else {
            differences.extend(compare(bundle, artifact)?);
        }
    }
    differences.extend(unlisted);
    Ok((manifest, differences))
}

/// What lies in a bundle, beside what its manifest says.
struct Listing<'a> {
    files: BTreeSet<&'a str>,
    directories: BTreeSet<&'a str>,
    entries_left: usize,
    differences: Vec<Difference>,
}

impl Listing<'_> {
    /// Looks at all that lies in a directory, which is called `prefix` in the bundle, with a slash at its end.
    fn look_into(&mut self, directory: &Path, prefix: &str) -> Result<(), PublishError> {
        for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
            let Some(left) = self.entries_left.checked_sub(1) else {
                break;
            };
            self.entries_left = left;
            let entry = entry.map_err(failed("list", directory))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if self.directories.contains(name.as_str()) {
                if is_directory {
                    self.look_into(&entry.path(), &format!("{name}/"))?;
                } else {
                    self.differences.push(Difference::Changed { name, what: "kind" });
                }
            } else if !self.files.contains(name.as_str()) {
                self.differences.push(Difference::Unknown { name });
            }
        }
        Ok(())
    }
}

fn compare(bundle: &Path, artifact: &ArtifactRecord) -> Result<Option<Difference>, PublishError> {
    let path = bundle.join(&artifact.name);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = artifact.name.clone();
            return Ok(Some(Difference::Missing { name }));
        }
        Err(cause) => {
            return Err(PublishError::Io {
                action: "look at",
                path,
                cause,
            });
        }
    };
    if !metadata.is_file() {
        return Ok(Some(artifact.changed("kind")));
    }
    artifact
        .difference(metadata.len(), metadata.permissions().mode(), || {
            regular_file::open_itself(&path)
        })
        .map_err(failed("read", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::manifest::tests::{artifact, manifest_of};

    struct Bench {
        project: tempfile::TempDir,
        environment: EnvironmentName,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                project: tempfile::tempdir().unwrap(),
                environment: EnvironmentName::new("glibc").unwrap(),
            }
        }

        fn staged(&self, run: &str, content: &[u8]) -> Staging {
            let staging = Staging::create(self.project.path(), run, &self.environment).unwrap();
            fs::write(staging.path().join("greeter"), content).unwrap();
            staging
                .write_manifest(&manifest_of(&[artifact("greeter", content)]))
                .unwrap();
            staging
        }

        fn bundle(&self) -> PathBuf {
            self.project.path().join("dist/glibc")
        }

        fn published(&self) -> Option<Vec<u8>> {
            fs::read(self.bundle().join("greeter")).ok()
        }

        fn state(&self) -> Vec<String> {
            let entries = fs::read_dir(self.project.path().join(".lockstep")).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        }
    }

    #[test]
    fn a_bundle_replaces_the_previous_one_and_leaves_nothing_beside_it() {
        let bench = Bench::new();
        for content in [&b"first"[..], b"second", b"third"] {
            let path = bench.staged("run", content).publish().unwrap().keep();
            assert_eq!(path, bench.bundle());
            assert_eq!(bench.published().unwrap(), content);
            assert_eq!(verify(&path).unwrap().1, []);
            assert_eq!(bench.state(), [".gitignore"]);
        }
    }

    #[test]
    fn what_is_not_kept_is_taken_back() {
        let bench = Bench::new();
        drop(bench.staged("run", b"first").publish().unwrap());
        assert_eq!(bench.published(), None);
        bench.staged("run", b"second").publish().unwrap().keep();
        let publication = bench.staged("run", b"third").publish().unwrap();
        assert_eq!(bench.published().unwrap(), b"third");
        drop(publication);
        assert_eq!(bench.published().unwrap(), b"second");
        drop(bench.staged("run", b"never published"));
        assert_eq!(bench.published().unwrap(), b"second");
        assert_eq!(bench.state(), [".gitignore"]);
    }

    #[test]
    fn a_file_system_without_exchange_gets_renames() {
        let directory = tempfile::tempdir().unwrap();
        let (left, right) = (directory.path().join("left"), directory.path().join("right"));
        fs::create_dir(&left).unwrap();
        fs::create_dir(&right).unwrap();
        fs::write(left.join("new"), "").unwrap();
        swap_by_renames(&left, &right).unwrap();
        assert!(right.join("new").is_file() && left.is_dir() && !left.join("new").exists());

        fs::remove_dir(&left).unwrap();
        assert_eq!(swap_by_renames(&left, &right), Err(Errno::NOENT));
        assert!(right.join("new").is_file(), "the bundle is back where it was");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_bundle_that_was_moved_aside_is_put_back_unless_there_is_another() {
        let bench = Bench::new();
        bench.staged("run", b"first").publish().unwrap().keep();
        let aside = bench.project.path().join(".lockstep/staging-0123abcd-glibc.previous");
        fs::rename(bench.bundle(), &aside).unwrap();
        restore(bench.project.path(), std::slice::from_ref(&aside)).unwrap();
        assert_eq!(bench.published().unwrap(), b"first");
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join(MANIFEST_FILE), "").unwrap();
        restore(bench.project.path(), std::slice::from_ref(&aside)).unwrap();
        assert!(aside.is_dir());
        assert_eq!(bench.published().unwrap(), b"first");
    }

    #[test]
    fn what_is_in_the_way_stays() {
        let bench = Bench::new();
        fs::create_dir(bench.project.path().join("dist")).unwrap();
        std::os::unix::fs::symlink("/", bench.bundle()).unwrap();
        let error = bench.staged("run", b"new").publish().unwrap_err();
        assert!(matches!(error, PublishError::InTheWay { .. }), "{error}");
        assert!(bench.bundle().is_symlink());
    }

    #[test]
    fn every_difference_is_seen() {
        let bench = Bench::new();
        let path = bench.staged("run", b"first").publish().unwrap().keep();
        let file = path.join("greeter");
        let changed = |what| {
            vec![Difference::Changed {
                name: "greeter".to_owned(),
                what,
            }]
        };
        fs::write(&file, "fIrst").unwrap();
        assert_eq!(verify(&path).unwrap().1, changed("content"));
        fs::write(&file, "first!").unwrap();
        assert_eq!(verify(&path).unwrap().1, changed("size"));
        fs::write(&file, "first").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(verify(&path).unwrap().1, changed("mode"));
        fs::remove_file(&file).unwrap();
        fs::write(path.join("extra"), "").unwrap();
        let missing = Difference::Missing {
            name: "greeter".to_owned(),
        };
        assert_eq!(
            verify(&path).unwrap().1,
            [
                missing,
                Difference::Unknown {
                    name: "extra".to_owned()
                }
            ]
        );
        std::os::unix::fs::symlink("manifest.json", &file).unwrap();
        assert_eq!(verify(&path).unwrap().1[..1], changed("kind"));
        fs::remove_file(path.join("manifest.json")).unwrap();
        assert!(verify(&path).is_err());
    }

    #[test]
    fn directories_are_looked_into_and_links_are_not_followed() {
        let bench = Bench::new();
        let staging = Staging::create(bench.project.path(), "run", &bench.environment).unwrap();
        let manifest = manifest_of(&[artifact("greeter", b"host"), artifact("handlers/v1/ip.so", b"plugin")]);
        staging.make_directories(&manifest).unwrap();
        fs::write(staging.path().join("greeter"), "host").unwrap();
        fs::write(staging.path().join("handlers/v1/ip.so"), "plugin").unwrap();
        staging.write_manifest(&manifest).unwrap();
        let path = staging.publish().unwrap().keep();
        let told = || -> Vec<String> { verify(&path).unwrap().1.iter().map(ToString::to_string).collect() };
        assert_eq!(told(), Vec::<String>::new());
        fs::create_dir(path.join("empty")).unwrap();
        fs::write(path.join("handlers/more"), "").unwrap();
        fs::write(path.join("handlers/v1/ip.so"), "plugIn").unwrap();
        assert_eq!(
            told(),
            [
                "handlers/v1/ip.so has another content",
                "empty is not in the manifest",
                "handlers/more is not in the manifest",
            ]
        );
        // What the link leads to has the right bits, and is not the bundle's.
        fs::write(path.join("handlers/v1/ip.so"), "plugin").unwrap();
        fs::rename(path.join("handlers/v1"), bench.project.path().join("aside")).unwrap();
        std::os::unix::fs::symlink(bench.project.path().join("aside"), path.join("handlers/v1")).unwrap();
        assert_eq!(
            told()[..2],
            ["handlers/v1/ip.so is missing", "empty is not in the manifest"]
        );
        assert!(told().contains(&"handlers/v1 has another kind".to_owned()));
    }
}
