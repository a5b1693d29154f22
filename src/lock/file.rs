//! The wire format of `lockstep.lock`, and the only place that touches the file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Package;
use crate::digest::Digest;
use crate::name::{EnvironmentName, UnitName};

/// The version of the format that this program reads and writes.
pub const SCHEMA_VERSION: u32 = 1;
/// The largest lock that is read; one of a few hundred packages has some 50 KB.
pub const LOCK_SIZE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// What the file begins with.
const HEADER: &str = "# Written by lockstep; belongs in version control. Refresh it with: lockstep lock --update\n";

/// All of `lockstep.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The environments that have been built or locked.
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            environments: BTreeMap::new(),
        }
    }
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Where everything is compiled.
    pub build: Image,
    /// Where everything runs.
    pub runtime: Image,
    /// Toolchains and C library by name, as the images themselves tell.
    pub toolchains: BTreeMap<String, String>,
    /// The units that have been compiled.
    pub units: BTreeMap<UnitName, Unit>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The digest of its recipe: of the files, or of the reference.
    pub recipe: Digest,
    /// The image's ID in the engine that made it (the digest of its config in the classic image store).
    pub id: String,
    /// The digests of its layers, lowest first: the same in every engine.
    pub layers: Vec<Digest>,
    /// The name and digest under which a registry has it, for images from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// What is installed in it.
    pub packages: Vec<Package>,
}

/// One unit's inputs and what came out of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// The digest of its sources.
    pub source: Digest,
    /// The digest of all that its compile depends on: image, command, variables, sources, dependencies.
    pub action: Digest,
    /// Its artifacts by file name.
    pub artifacts: BTreeMap<String, Digest>,
}

/// What can be wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is there, but cannot be read.
    #[error("failed to read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is far larger than a lock can be.
    #[error("{} is larger than {LOCK_SIZE_LIMIT_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not a lock that this program understands.
    #[error("failed to understand {}: {cause}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: String,
    },
    /// A newer program wrote it.
    #[error("{} has schema version {found}, this lockstep reads version {SCHEMA_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It cannot be written.
    #[error("failed to write {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// Where the lock of a configuration file is: beside it, with the extension `lock`.
#[must_use]
pub fn lock_path(configuration: &Path) -> PathBuf {
    configuration.with_extension("lock")
}

/// Reads a lock; none when there is no such file.
///
/// # Errors
/// See [`LockError`].
pub fn read(path: &Path) -> Result<Option<Lock>, LockError> {
    let failed = |cause| LockError::Read {
        path: path.to_owned(),
        cause,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.len() > LOCK_SIZE_LIMIT_BYTES => {
            return Err(LockError::TooLarge { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    parse(&std::fs::read_to_string(path).map_err(failed)?, path).map(Some)
}

/// Takes `text` as a lock; `path` is for messages alone.
///
/// # Errors
/// [`LockError::Parse`] and [`LockError::Version`].
pub fn parse(text: &str, path: &Path) -> Result<Lock, LockError> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let failed = |cause: serde_yaml::Error| LockError::Parse {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let Version { schema_version } = serde_yaml::from_str(text).map_err(failed)?;
    if schema_version != SCHEMA_VERSION {
        return Err(LockError::Version {
            path: path.to_owned(),
            found: schema_version,
        });
    }
    serde_yaml::from_str(text).map_err(failed)
}

/// The text of a lock: the same for the same lock.
///
/// # Errors
/// [`LockError::Parse`] when it has no YAML form, which no lock of ours lacks.
pub fn render(lock: &Lock) -> Result<String, LockError> {
    serde_yaml::to_string(lock)
        .map(|text| format!("{HEADER}{text}"))
        .map_err(|error| LockError::Parse {
            path: PathBuf::new(),
            cause: error.to_string(),
        })
}

/// Writes a lock in place of what was there, whole or not at all.
///
/// # Errors
/// [`LockError::Write`].
pub fn write(path: &Path, lock: &Lock) -> Result<(), LockError> {
    let text = render(lock)?;
    let failed = |cause| LockError::Write {
        path: path.to_owned(),
        cause,
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".lockstep-lock-")
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    // Everybody who can read the project's other files can read the lock: temporary files start private.
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
pub(in crate::lock) mod tests {
    use super::*;

    pub(in crate::lock) fn example() -> Lock {
        let image = |text: &str| Image {
            recipe: Digest::of(text.as_bytes()),
            id: Digest::of(b"id").to_string(),
            layers: vec![Digest::of(b"layer")],
            registry: None,
            packages: vec!["libc6 2.41-12 amd64 sha256:00".parse().unwrap()],
        };
        let unit = Unit {
            source: Digest::of(b"source"),
            action: Digest::of(b"action"),
            artifacts: BTreeMap::from([("greeter".to_owned(), Digest::of(b"greeter"))]),
        };
        let environment = Environment {
            build: image("build"),
            runtime: image("runtime"),
            toolchains: BTreeMap::from([("rustc".to_owned(), "1.85.0".to_owned())]),
            units: BTreeMap::from([(UnitName::new("greeter").unwrap(), unit)]),
        };
        Lock {
            environments: BTreeMap::from([(EnvironmentName::new("glibc").unwrap(), environment)]),
            ..Lock::default()
        }
    }

    #[test]
    fn a_lock_is_read_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lockstep.lock");
        assert!(read(&path).unwrap().is_none());
        write(&path, &example()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(example()));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_lock_is_refused_with_its_place() {
        for (text, expected) in [
            ("schema_version: 2\nx: 1\n", "schema version 2"),
            (
                "schema_version: 1\nenvironments: {}\nextra: 1\n",
                "unknown field `extra`",
            ),
            ("schema_version: 1\n", "missing field `environments`"),
            ("{", "failed to understand lockstep.lock"),
            ("", "failed to understand lockstep.lock"),
        ] {
            let error = parse(text, Path::new("lockstep.lock")).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
