//! The wire format of `lockstep.lock`, and the only place that touches the file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::content::{LOCK_SIZE_LIMIT_BYTES, Lock};
use super::decode::{LOCK_LIMITS, decode};
use crate::name::EnvironmentName;
use crate::problem::Problem;
use crate::temporary::{self, LOCK_PREFIX};
use crate::{regular_file, yaml};

/// What the file begins with.
const HEADER: &str = "# Written by lockstep; belongs in version control. Refresh it with: lockstep lock --update\n";

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
    /// It is not a lock that this program understands.
    #[error("{}", first_message(problems))]
    Form {
        /// Everything that is wrong with it, in the order of the places.
        problems: Vec<Problem>,
    },
    /// It has no text.
    #[error("failed to write the lock as text: {cause}")]
    Render {
        /// Why.
        cause: serde_yaml::Error,
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

fn first_message(problems: &[Problem]) -> String {
    problems
        .first()
        .map_or_else(String::new, |problem| problem.message.clone())
}

/// What a file is called in messages.
fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The lock as it lies in a project: what it says, and the text that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// What it says; nothing when there is no such file.
    pub lock: Lock,
    text: Option<String>,
}

/// A line that is not as lockstep writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misformed {
    /// Counted from 1.
    pub line: usize,
    /// What is there.
    pub found: String,
    /// What lockstep would have written for the same lock.
    pub expected: String,
}

impl LockFile {
    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> String {
        shown(&self.path)
    }

    /// Whether there is such a file.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// Where something of an environment is said, or where it would be: the line, counted from 1. None without a file,
    /// and for an environment that it does not have.
    #[must_use]
    pub fn line(&self, environment: &EnvironmentName, path: &[String]) -> Option<usize> {
        let text = self.text.as_deref()?;
        self.lock.environments.get(environment)?;
        let start = ["environments".to_owned(), environment.to_string()];
        let path: Vec<&String> = start.iter().chain(path).collect();
        Some(yaml::line_of(text, &path, LOCK_LIMITS))
    }

    /// The first line that is not as lockstep writes the same lock: a comment, another order, other quotes. None of them
    /// says anything, so there is no telling whether it should. Line ends are git's business and may be CRLF.
    ///
    /// # Errors
    /// As [`render`].
    pub fn misformed(&self) -> Result<Option<Misformed>, LockError> {
        let Some(text) = &self.text else { return Ok(None) };
        let expected = render(&self.lock)?;
        let text = text.trim_start_matches('\u{feff}');
        if text == expected {
            return Ok(None);
        }
        let found = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let mut found = found.map(Some).chain(std::iter::repeat(None));
        let mut expected = expected.split('\n').map(Some).chain(std::iter::repeat(None));
        // Each has an end, behind which both are none.
        for line in 1.. {
            match (found.next().flatten(), expected.next().flatten()) {
                (None, None) => break,
                (found, expected) if found == expected => {}
                (found, expected) => {
                    return Ok(Some(Misformed {
                        line,
                        found: found.unwrap_or_default().to_owned(),
                        expected: expected.unwrap_or_default().to_owned(),
                    }));
                }
            }
        }
        Ok(None)
    }
}

/// Reads a lock; none when there is no such file.
///
/// # Errors
/// See [`LockError`].
pub fn read(path: &Path) -> Result<Option<Lock>, LockError> {
    let file = read_file(path)?;
    Ok(file.exists().then_some(file.lock))
}

/// Reads a lock with its text.
///
/// # Errors
/// See [`LockError`].
pub fn read_file(path: &Path) -> Result<LockFile, LockError> {
    let bytes = match regular_file::read(path, LOCK_SIZE_LIMIT_BYTES as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(LockFile {
                path: path.to_owned(),
                lock: Lock::default(),
                text: None,
            });
        }
        Err(cause) => {
            return Err(LockError::Read {
                path: path.to_owned(),
                cause,
            });
        }
    };
    Ok(LockFile {
        path: path.to_owned(),
        lock: parse(&bytes, path)?,
        // What is not UTF-8 is no lock.
        text: String::from_utf8(bytes).ok(),
    })
}

/// Takes `bytes` as a lock; `path` is for messages alone.
///
/// # Errors
/// [`LockError::Form`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<Lock, LockError> {
    let (lock, problems) = decode(&shown(path), bytes);
    lock.ok_or(LockError::Form { problems })
}

/// The text of a lock: the same for the same lock.
///
/// # Errors
/// [`LockError::Render`] when it has no YAML form, which no lock of ours lacks.
pub fn render(lock: &Lock) -> Result<String, LockError> {
    serde_yaml::to_string(lock)
        .map(|text| format!("{HEADER}{text}"))
        .map_err(|cause| LockError::Render { cause })
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
    let mut file = temporary::file_in(directory, LOCK_PREFIX).map_err(failed)?;
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
    use std::collections::BTreeMap;

    use super::super::content::{Environment, Image, Unit};
    use super::super::pushed::{Pushed, Role};
    use crate::digest::Digest;
    use crate::name::UnitName;

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
            fetch: None,
            dependencies: None,
            action: Digest::of(b"action"),
            artifacts: BTreeMap::from([("greeter".to_owned(), Digest::of(b"greeter"))]),
            files: BTreeMap::new(),
        };
        let environment = Environment {
            build: image("build"),
            runtime: image("runtime"),
            toolchains: BTreeMap::from([("rustc".to_owned(), "1.85.0".to_owned())]),
            host: None,
            pushed: Pushed::from([(Role::Matched, Digest::of(b"manifest"))]),
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

    /// What is told about a text that is no lock: the problems' places and messages.
    fn told(text: &str) -> Vec<String> {
        match parse(text.as_bytes(), Path::new("lockstep.lock")) {
            Ok(_) => vec![],
            Err(LockError::Form { problems }) => problems
                .iter()
                .map(|problem| format!("{:?} {}", problem.position(), problem.message))
                .collect(),
            Err(other) => vec![other.to_string()],
        }
    }

    #[test]
    fn what_is_no_lock_is_refused_with_its_place() {
        let good = render(&example()).unwrap();
        let with = |from: &str, to: &str| {
            assert!(good.contains(from), "{from}");
            good.replacen(from, to, 1)
        };
        let digest = Digest::of(b"layer");
        for (text, expected) in [
            (
                "schema_version: 2\nx: 1\n".to_owned(),
                "(1, 17) the lock has schema version 2, this lockstep reads version 1",
            ),
            (
                "schema_version: 1\nenvironments: {}\nextra: 1\n".to_owned(),
                "(3, 1) unknown key `extra`",
            ),
            (
                "schema_version: 1\n".to_owned(),
                "(1, 1) the key `environments` is missing: a lock needs it",
            ),
            (
                "{".to_owned(),
                "(1, 2) failed to parse the file as YAML: while parsing a node, did not find expected node content",
            ),
            (String::new(), "(1, 1) the file is empty"),
            (
                with("schema_version: 1", "schema_version: '1'"),
                "(2, 17) `schema_version` must be a whole number, found text",
            ),
            (with("units:", "unitz:"), "(23, 5) unknown key `unitz`"),
            (with("matched: ", "merged: "), "(22, 7) this is not a name"),
            (with("  glibc:", "  Glibc:"), "(4, 3) this is not a name"),
            (
                with("- libc6 ", "- libc6  "),
                "(11, 9) `libc6  2.41-12 amd64 sha256:00` is not a package: expected `<name> <version> <architecture> <hash>`",
            ),
            (
                with(
                    "- libc6 2.41-12 amd64 sha256:00",
                    "- libc6 2.41-12 amd64 sha256:00\n      - libc6 2.41-12 amd64 sha256:11",
                ),
                "(12, 9) the package `libc6` is given twice",
            ),
            (
                with("    toolchains:", "    toolchains:\n    toolchains:"),
                "(20, 5) the key `toolchains` is given twice",
            ),
            (
                format!("{good}  glibc: {{}}\n"),
                "(29, 3) the key `glibc` is given twice",
            ),
            (
                format!("<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> other\n"),
                "(1, 1) a merge left a conflict here",
            ),
            (
                with(&format!("      - {digest}\n"), ""),
                "(8, 7) `layers` must be a list, found nothing",
            ),
            (
                with(&digest.to_string(), "sha256:00"),
                "(9, 9) `sha256:00` is not a digest: expected `sha256:` and 64 hexadecimal digits in lower case",
            ),
        ] {
            let told = told(&text);
            assert_eq!(told.first().map(String::as_str), Some(expected), "{text}{told:#?}");
        }
    }

    #[test]
    fn a_place_is_that_of_the_line_or_of_what_it_belongs_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lockstep.lock");
        write(&path, &example()).unwrap();
        let file = read_file(&path).unwrap();
        let environment = EnvironmentName::new("glibc").unwrap();
        for (path, expected) in [
            (&[][..], 4),
            (&["build", "id"], 7),
            (&["build", "packages", "0"], 11),
            (&["build", "packages", "1"], 10),
            (&["units", "greeter", "artifacts", "greeter"], 28),
            (&["units", "gone"], 23),
        ] {
            let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
            assert_eq!(file.line(&environment, &path), Some(expected), "{path:?}");
        }
        assert_eq!(file.line(&EnvironmentName::new("musl").unwrap(), &[]), None);
    }

    #[test]
    fn what_lockstep_does_not_write_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lockstep.lock");
        let good = render(&example()).unwrap();
        let line = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_file(&path).unwrap().misformed().unwrap().map(|found| found.line)
        };
        assert_eq!(line(&good), None);
        assert_eq!(line(&good.replace('\n', "\r\n")), None, "git may write line ends so");
        assert_eq!(line(&format!("\u{feff}{good}")), None);
        assert_eq!(line(&good.replace("rustc: 1.85.0", "rustc: '1.85.0'")), Some(20));
        assert_eq!(line(&good.replace("    build:", "    # mine\n    build:")), Some(5));
        assert_eq!(line(&format!("{good}\n")), Some(30));
        assert_eq!(line(good.trim_end()), Some(29));
        assert_eq!(line(good.split_once('\n').unwrap().1), Some(1));
    }
}
