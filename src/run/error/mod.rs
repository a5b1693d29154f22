//! What ends a run, and the one match that turns it into an exit code.

mod accounts;
mod brought;
mod install;
mod load;
mod make;
mod opener;
mod present;
mod published;
mod rootfs;
mod shipped;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::engine_failure::{from_engine, hinted};
use super::isolation::NotIsolated;
use super::registry::RegistryError;
use crate::bundle::{CollectError, Difference, PublishError, VolumeError};
use crate::config::Limits;
use crate::digest::Digest;
use crate::engine::error::DISK_FULL_HINT;
use crate::engine::job::{Ending, Outcome, says_disk_is_full};
use crate::engine::{ContainerExit, EngineError};
use crate::exit::Exit;
use crate::language::{ROOT, RequiredToolchain};
use crate::lock::{self, Change, LockError, LockFile, Misformed};
use crate::name::{EnvironmentName, UnitName};
use crate::oci_registry::ExchangeError;
use crate::plan::PlanError;
use crate::problem::{Problem, one_line};
use crate::report::{Failure, of_machine};
use crate::smoke::SmokeFailure;
use crate::source::SourceError;
use crate::state::StateError;

pub(super) use accounts::AccountsError;
pub(super) use brought::BroughtHostError;
pub(super) use install::InstallError;
pub use load::LoadError;
pub use make::MakeError;
pub(super) use opener::OpenerError;
pub(super) use present::{PresentHostError, Whence};
pub(super) use published::PublishedError;
pub use rootfs::OpenRootError;
pub(super) use shipped::ShipError;
pub(super) use verify::VerifyError;

/// How a step in a container failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// It ended with this status.
    Status(i64),
    /// It needed more memory than it may use, in bytes.
    OutOfMemory(u64),
    /// It took longer than it may.
    TimedOut(Duration),
    /// It printed more than it may, in bytes.
    TooMuchOutput(u64),
    /// It wrote more to its volumes, or to one file, than it may, in bytes.
    TooMuchDisk(u64),
    /// It ended with this status because there was no room left on the engine's disk.
    DiskFull(i64),
    /// It was ended before the engine's disk was full.
    DiskNearlyFull,
}

/// The status with which a shell reports a program that wrote a larger file than it may (128 + SIGXFSZ).
pub(super) const FILE_TOO_LARGE_STATUS: i64 = 153;
/// The status with which a shell reports a program that is not there.
const PROGRAM_MISSING_STATUS: i64 = 127;
/// Without its lock file cargo would choose versions, which it may not, and of which nothing was fetched.
const CARGO_LOCK_HINT: &str = "cargo needs a Cargo.lock that is up to date: `cargo generate-lockfile`; where a .gitignore excludes \
                               it, put `!Cargo.lock` into .lockstepignore";
/// What compilers and linkers say that has one remedy, which stands in lockstep.yaml.
const COMPILERS_WORDS: [(&str, &str); 5] = [
    (
        "undefined reference to",
        "neither the unit nor its host has what is undefined: name the library that has it, `env: {LDFLAGS: -l…}`; where an \
         earlier plugin brings it, `env: {LDFLAGS: \"-Wl,-z,undefs\"}`",
    ),
    (
        "fatal error: ",
        "if it is a header of a library: add the library's -dev package to the build image's `packages:`",
    ),
    ("--locked was passed", CARGO_LOCK_HINT),
    ("no matching package named", CARGO_LOCK_HINT),
    (
        "cannot find -l",
        "add the library's -dev package to the build image's `packages:`",
    ),
];
/// How many things that are left in the engine are named.
const LEFT_BEHIND_SHOWN_COUNT: usize = 12;
/// How a file that is larger than it may be is worded: by shells, by the C library, by Rust.
const FILE_TOO_LARGE_WORDS: [&str; 4] = ["File size limit exceeded", "File too large", "SIGXFSZ", "os error 27"];

impl StepEnd {
    /// How a container ended that did not end well.
    pub(super) fn of(outcome: &Outcome, limits: &Limits) -> Option<Self> {
        let says = |words: &[&str]| {
            let mut lines = outcome.tail.iter();
            lines.any(|line| words.iter().any(|word| line.contains(word)))
        };
        // A compiler that met a full disk has removed what it had written; but it says where that was.
        let mut lines = outcome.tail.iter();
        let names_volume = lines.any(|line| says_disk_is_full(line) && line.contains(ROOT));
        match outcome.ending {
            Ending::Exited(ContainerExit { status: 0, .. }) => None,
            Ending::Exited(ContainerExit {
                out_of_memory: true, ..
            }) => Some(Self::OutOfMemory(limits.memory_bytes)),
            Ending::Exited(ContainerExit { status, .. }) if outcome.engine_disk_is_full || names_volume => {
                Some(Self::DiskFull(status))
            }
            Ending::Exited(ContainerExit { status, .. })
                if status == FILE_TOO_LARGE_STATUS || says(&FILE_TOO_LARGE_WORDS) =>
            {
                Some(Self::TooMuchDisk(limits.disk_bytes))
            }
            Ending::Exited(ContainerExit { status, .. }) => Some(Self::Status(status)),
            Ending::TimedOut { limit } => Some(Self::TimedOut(limit)),
            Ending::TooMuchOutput { limit_bytes } => Some(Self::TooMuchOutput(limit_bytes)),
            Ending::TooMuchDisk { limit_bytes } => Some(Self::TooMuchDisk(limit_bytes)),
            Ending::DiskNearlyFull => Some(Self::DiskNearlyFull),
        }
    }

    /// What to do about it, where that is more than to read what was printed.
    fn hint(&self, tail: &[String]) -> Option<&'static str> {
        match self {
            Self::OutOfMemory(_) => Some("if it needs more: `limits: memory:` in lockstep.yaml"),
            Self::TimedOut(_) => Some("if it needs longer: `limits: timeout:` in lockstep.yaml"),
            Self::TooMuchDisk(_) => Some("if it needs more: `limits: disk:` in lockstep.yaml"),
            Self::DiskFull(_) | Self::DiskNearlyFull => Some(DISK_FULL_HINT),
            Self::Status(_) if tail.iter().any(|line| says_disk_is_full(line)) => Some(
                "a disk was full: the engine's, which has room again (`docker system df`), or the container's own /tmp or /dev/shm, which are small and in memory",
            ),
            Self::Status(PROGRAM_MISSING_STATUS) => {
                Some("a program is not in the build image: add its package to the recipe, under `packages:`")
            }
            Self::Status(_) => {
                let says = |(words, _): &&(&str, &str)| tail.iter().any(|line| line.contains(words));
                COMPILERS_WORDS.iter().find(says).map(|(_, hint)| *hint)
            }
            Self::TooMuchOutput(_) => None,
        }
    }
}

impl std::fmt::Display for StepEnd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MEBIBYTE: u64 = 1024 * 1024;
        match self {
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::OutOfMemory(limit) => write!(formatter, "out of memory at {} MiB", limit / MEBIBYTE),
            Self::TimedOut(limit) => write!(formatter, "no end after {} s", limit.as_secs()),
            Self::TooMuchOutput(limit) => write!(formatter, "more than {} MiB of output", limit / MEBIBYTE),
            Self::TooMuchDisk(limit) => write!(formatter, "wrote more than {}", size(*limit)),
            Self::DiskFull(status) => write!(formatter, "status {status}: the engine's disk is full"),
            Self::DiskNearlyFull => formatter.write_str("ended, because the engine's disk is nearly full"),
        }
    }
}

/// `4 GiB`, `1536 MiB`, `17000 KiB`: the largest unit of which it is a whole number, as files say it.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    UNITS
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || format!("{bytes} bytes"),
            |(unit, name)| format!("{} {name}", bytes / unit),
        )
}

/// A fetch or compile command that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to {action} `{unit}` for {environment}: {end}")]
pub struct StepFailure {
    /// `fetch the dependencies of`, `compile`.
    pub action: &'static str,
    /// The unit.
    pub unit: UnitName,
    /// The environment.
    pub environment: EnvironmentName,
    /// How it ended.
    pub end: StepEnd,
    /// The last lines of its output.
    pub tail: Vec<String>,
    /// All of its output.
    pub log: PathBuf,
}

/// An artifact that is another one than the lock has of the same inputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{artifact}` of `{unit}` is not reproducible: the same inputs gave other bits than the lock has")]
pub struct OtherBits {
    /// The environment.
    pub environment: EnvironmentName,
    /// The unit.
    pub unit: UnitName,
    /// The artifact.
    pub artifact: String,
    /// What the lock has.
    pub expected: Digest,
    /// What came out.
    pub found: Digest,
    /// The line of the lock.
    pub line: Option<usize>,
}

/// Dependencies that are other ones than the lock has of the same lock files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what was fetched for `{unit}` is not what the lock has: the same files that name it brought something else")]
pub struct OtherDependencies {
    /// The environment.
    pub environment: EnvironmentName,
    /// The unit, or the build.
    pub unit: UnitName,
    /// What the lock has.
    pub expected: Digest,
    /// What came.
    pub found: Digest,
    /// The line of the lock.
    pub line: Option<usize>,
}

/// A compiler that is not the one that a unit asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{unit}` asks for {} {}, and the build image of {environment} has {found}", required.tool, required.wanted)]
pub struct OtherToolchain {
    /// The unit.
    pub unit: UnitName,
    /// The environment.
    pub environment: EnvironmentName,
    /// What is asked for, and where.
    pub required: RequiredToolchain,
    /// The version that there is.
    pub found: String,
}

/// What ends a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image could not be made.
    #[error(transparent)]
    Image(#[from] MakeError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What this machine asked of the registry, and not the engine.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// What another machine saved.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A unit's dependencies are not here, and no network may be asked.
    #[error("the dependencies of `{unit}` are not on this machine, and --offline forbids to fetch them")]
    NotFetched {
        /// The unit.
        unit: UnitName,
    },
    /// The lock file itself.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The project cannot be built as it is.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A unit's sources.
    #[error("failed to read the sources of `{unit}`: {cause}")]
    Source {
        /// The unit.
        unit: UnitName,
        /// Why.
        cause: SourceError,
    },
    /// What a unit ships beside what it yields.
    #[error(transparent)]
    Ship(#[from] ShipError),
    /// A fetch or compile command.
    #[error(transparent)]
    Step(Box<StepFailure>),
    /// The build image's compiler is not the one that a file of a unit asks for.
    #[error(transparent)]
    Toolchain(Box<OtherToolchain>),
    /// An image was asked what it has, and did not come to an end.
    #[error("failed to ask the {role} image of {environment} what it has: {end}")]
    Probe {
        /// `build` or `runtime`.
        role: String,
        /// The environment.
        environment: EnvironmentName,
        /// How it ended.
        end: StepEnd,
    },
    /// What came out of a container.
    #[error("failed to collect the artifacts of `{unit}` for {environment}: {cause}")]
    Collect {
        /// The unit.
        unit: UnitName,
        /// The environment.
        environment: EnvironmentName,
        /// Why.
        cause: CollectError,
    },
    /// What was fetched is nothing that could be kept.
    #[error("failed to keep what was fetched for `{unit}`: {cause}")]
    Dependencies {
        /// The unit.
        unit: UnitName,
        /// Why.
        cause: std::io::Error,
        /// The directory that it was to be kept in.
        directory: PathBuf,
    },
    /// The host, where it is in the runtime image.
    #[error(transparent)]
    PresentHost(#[from] PresentHostError),
    /// The host, where the project brings it.
    #[error(transparent)]
    BroughtHost(#[from] BroughtHostError),
    /// A step of the smoke test names a user that there is not.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The host, where it is to open plugins.
    #[error(transparent)]
    Opener(#[from] OpenerError),
    /// The place for its plugins.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The smoke test.
    #[error(transparent)]
    Smoke(Box<SmokeFailure>),
    /// Loading the artifacts will go wrong.
    #[error("{environment}: {what}")]
    Findings {
        /// The environment.
        environment: EnvironmentName,
        /// How many plugins will not load, or not safely.
        what: String,
        /// The report for people, line by line.
        lines: Vec<String>,
    },
    /// The runtime image's files cannot be seen.
    #[error(transparent)]
    Root(#[from] OpenRootError),
    /// The bundle's directory.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The state directory or its lock.
    #[error(transparent)]
    State(#[from] StateError),
    /// What somebody published, to be compared with.
    #[error(transparent)]
    Published(PublishedError),
    /// What `verify` was asked for cannot be done.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// It failed on another engine than that of the run.
    #[error("{cause}")]
    OnOtherEngine {
        /// Where that one is, as it was given.
        address: String,
        /// What it failed with.
        cause: Box<RunError>,
    },
    /// The shared volume.
    #[error(transparent)]
    Volume(VolumeError),
    /// An environment is not what the lock says.
    #[error("the environment {environment} is not what the lock says")]
    Drift {
        /// The environment.
        environment: EnvironmentName,
        /// What differs.
        changes: Vec<Change>,
        /// In what images differ whose packages are the same.
        details: Vec<String>,
    },
    /// An environment that must be in the lock is not.
    #[error("the environment {environment} is not in the lock")]
    Unlocked {
        /// The environment.
        environment: EnvironmentName,
    },
    /// With `--locked`, something would have to be written to the lock.
    #[error("the lock is out of date, and --locked forbids to write it")]
    OutOfDate {
        /// The environment.
        environment: EnvironmentName,
        /// What would be written.
        changes: Vec<Change>,
    },
    /// With `--locked`, a line of the lock is none that lockstep writes.
    #[error("line {} of {file} is not as lockstep writes it", misformed.line)]
    Misformed {
        /// What the lock is called.
        file: String,
        /// The line.
        misformed: Misformed,
    },
    /// With `--locked`, the lock would be written all the same.
    #[error("the lock would have to be written, and --locked forbids it")]
    WouldWrite,
    /// The same inputs gave other bits.
    #[error(transparent)]
    NotReproducible(Box<OtherBits>),
    /// The same lock files brought other dependencies.
    #[error(transparent)]
    OtherDependencies(Box<OtherDependencies>),
    /// A compile was given a network.
    #[error(transparent)]
    NotIsolated(Box<NotIsolated>),
    /// A published bundle is not what its manifest says.
    #[error("{directory} is not what its manifest says")]
    Altered {
        /// The bundle, relative to the project.
        directory: String,
        /// In what.
        differences: Vec<Difference>,
    },
    /// The project's state directory or another file of the machine.
    #[error("failed to {action}{}: {cause}", at(path))]
    File {
        /// What was tried, in the infinitive.
        action: String,
        /// With what; empty when `action` says it.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The user's Ctrl-C, or a signal.
    #[error("interrupted")]
    Interrupted,
    /// The run has ended for a signal, and this is what there is of it.
    #[error("interrupted")]
    Stopped {
        /// The environments that were published before.
        published: Vec<EnvironmentName>,
        /// Those whose publication was neither finished nor taken back.
        halfway: Vec<EnvironmentName>,
        /// What may still be in the engine.
        left_behind: Vec<String>,
    },
}

impl From<VolumeError> for RunError {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::Cancelled => Self::Interrupted,
            error => Self::Volume(error),
        }
    }
}

impl From<SmokeFailure> for RunError {
    fn from(failure: SmokeFailure) -> Self {
        Self::Smoke(Box::new(failure))
    }
}

impl RunError {
    /// A run that was stopped before it began.
    #[must_use]
    pub const fn stopped_before() -> Self {
        Self::Stopped {
            published: vec![],
            halfway: vec![],
            left_behind: vec![],
        }
    }

    /// A file that could not be handled.
    pub(crate) fn file(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |cause| Self::File {
            action,
            path: PathBuf::new(),
            cause,
        }
    }

    /// A file or directory that could not be handled.
    pub(crate) fn file_at(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::File {
            action: action.to_owned(),
            path: path.to_owned(),
            cause,
        }
    }

    /// The error with the lines of the lock that it is about.
    #[must_use]
    pub(super) fn located(mut self, file: &LockFile) -> Self {
        match &mut self {
            Self::Drift {
                environment, changes, ..
            }
            | Self::OutOfDate { environment, changes } => {
                lock::locate(changes, environment, file);
            }
            Self::NotReproducible(other) => {
                let path = ["units", other.unit.as_str(), "artifacts", other.artifact.as_str()];
                other.line = file.line(&other.environment, &path.map(str::to_owned));
            }
            Self::OtherDependencies(other) => {
                let path = ["units", other.unit.as_str(), "dependencies"];
                other.line = file.line(&other.environment, &path.map(str::to_owned));
            }
            _ => {}
        }
        self
    }

    /// The error as the user sees it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let message = self.to_string();
        match self {
            Self::Engine(error) => from_engine(error),
            Self::Registry(error) => error.failure(),
            Self::Exchange(error) => Failure::new(Exit::Engine, "registry", message).with_hint(error.hint()),
            Self::Load(error) => Failure::new(Exit::Usage, "image-load", message)
                .with_hint("it takes what `lockstep image save` writes; was it copied in full?")
                .at(error.file.display().to_string()),
            Self::NotFetched { .. } => Failure::new(Exit::Drift, "offline", message)
                .with_hint("bring them from a machine that has them: lockstep image save, lockstep image load"),
            Self::Image(error) => error.failure(),
            Self::Lock(LockError::Form { problems }) => from_problems(problems),
            Self::Lock(LockError::Write { path, cause }) => of_machine("lock", message, cause, path),
            Self::Lock(_) => Failure::new(Exit::Drift, "lock", message).with_hint(LOCK_HINT),
            Self::Plan(error) => Failure::new(Exit::Usage, "config", message).with_hint(error.hint()),
            Self::Ship(cause) => Failure::new(Exit::Usage, "source", message).with_hint(cause.hint()),
            Self::Source { cause, .. } => hinted(Failure::new(Exit::Usage, "source", message), cause.hint()),
            Self::Step(failure) => {
                let code = if failure.action.starts_with("fetch") { "fetch" } else { "compile" };
                let place = failure.log.display().to_string();
                let hint = failure.end.hint(&failure.tail).map(str::to_owned);
                hinted(Failure::new(Exit::Build, code, message), hint)
                    .at(place)
                    .with_notes(failure.tail.iter().cloned())
            }
            Self::Toolchain(other) => Failure::new(Exit::Build, "toolchain", message)
                .at(other.required.file.clone())
                .with_hint(format!(
                    "put a {} of that version into the recipe of the build image, or ask for another one",
                    other.required.tool
                )),
            Self::Collect {
                cause: CollectError::Write { path, cause },
                ..
            } => of_machine("collect", message, cause, path),
            Self::Collect { cause, .. } => hinted(Failure::new(Exit::Build, "collect", message), cause.hint()),
            Self::Probe { end, .. } => {
                hinted(Failure::new(Exit::Build, "probe", message), end.hint(&[]).map(str::to_owned))
            }
            Self::Dependencies { cause, directory, .. } => match of_machine("fetch", &message, cause, directory) {
                of_machine if of_machine.exit == Exit::Usage => of_machine,
                // What a fetch command left is no file of the machine.
                _ => Failure::new(Exit::Build, "fetch", message),
            },
            Self::Accounts(error) => Failure::new(Exit::Smoke, "smoke", message).with_hint(error.hint()),
            Self::PresentHost(error) => Failure::new(Exit::Usage, "host", message).with_hint(error.hint()),
            Self::BroughtHost(error) => Failure::new(Exit::Usage, "host", message)
                .at(error.place())
                .with_hint(error.hint()),
            Self::Opener(_) => Failure::new(Exit::Usage, "host", message).with_hint(OpenerError::hint()),
            Self::Install(error) => Failure::new(Exit::Usage, "host", message).with_hint(error.hint()),
            Self::Smoke(failure) => failure.failure(),
            Self::Findings { lines, .. } => Failure::new(Exit::Findings, "check", message)
                .with_report(lines.iter().cloned())
                .with_hint("`lockstep explain CODE` says more; `--allow CODE` builds all the same"),
            Self::Root(error) => error.failure(),
            Self::Verify(error) => error.failure(),
            Self::OnOtherEngine { address, cause } => {
                cause.failure().with_notes([format!("on the engine at {address}")])
            }
            Self::Published(error) => hinted(Failure::new(error.exit(), "against", message), error.hint()),
            Self::State(error) => from_state("state", error),
            Self::Publish(PublishError::State(error)) => from_state("publish", error),
            Self::Publish(PublishError::Io { path, cause, .. }) => of_machine("publish", message, cause, path),
            Self::Publish(error @ PublishError::Manifest { path, .. }) => hinted(
                Failure::new(Exit::Findings, "bundle", message).at(path.display().to_string()),
                error.hint(),
            ),
            // Something else is where the bundle belongs, or the bundle is not what lockstep made.
            Self::Publish(error) => hinted(Failure::new(Exit::Usage, "publish", message), error.hint()),
            Self::File { path, cause, .. } => of_machine("file", message, cause, path),
            Self::Volume(VolumeError::Engine(error @ EngineError::Source { .. })) => from_engine(error),
            Self::Volume(error) => hinted(
                Failure::new(Exit::Engine, "volume", message).with_notes(error.notes()),
                error.hint(),
            ),
            Self::Drift {
                environment,
                changes,
                details,
            } => Failure::new(Exit::Drift, "lock-drift", message)
                .at(lock_place(changes))
                .with_notes(changes.iter().map(ToString::to_string))
                .with_notes(details.iter().cloned())
                .with_hint(format!("if that is meant: lockstep lock --update {environment}")),
            Self::Altered { directory, differences } => Failure::new(Exit::Findings, "bundle", message)
                .at(directory)
                .with_notes(differences.iter().map(ToString::to_string))
                .with_hint("make it again: lockstep build"),
            Self::OutOfDate { environment, changes } => Failure::new(Exit::Drift, "lock-out-of-date", message)
                .at(lock_place(changes))
                .with_notes([format!("environment {environment}:")])
                .with_notes(changes.iter().map(ToString::to_string))
                .with_hint("run `lockstep build` without --locked, and commit lockstep.lock"),
            Self::Misformed { file, misformed } => Failure::new(Exit::Drift, "lock-form", message)
                .at(format!("{file}:{}", misformed.line))
                .with_notes([
                    format!("there is: {}", one_line(&misformed.found)),
                    format!("expected: {}", one_line(&misformed.expected)),
                ])
                .with_hint("if it says what it should, `lockstep lock` writes it anew"),
            Self::Unlocked { environment } => Failure::new(Exit::Usage, "lock", message)
                .with_hint(format!("build it first: lockstep build {environment}")),
            Self::WouldWrite => Failure::new(Exit::Drift, "lock-out-of-date", message)
                .with_hint("run `lockstep build` without --locked, and commit lockstep.lock"),
            Self::NotReproducible(other) => Failure::new(Exit::Drift, "not-reproducible", message)
                .at(place_at(other.line))
                .with_notes([
                    format!("environment {}", other.environment),
                    format!("lock: {}", other.expected),
                    format!("now:  {}", other.found),
                ])
                .with_hint("look for times, random numbers or paths in what is compiled; if it is mended, remove the unit's entry from lockstep.lock"),
            Self::OtherDependencies(other) => Failure::new(Exit::Drift, "other-dependencies", message)
                .at(place_at(other.line))
                .with_notes([
                    format!("environment {}", other.environment),
                    format!("lock: {}", other.expected),
                    format!("now:  {}", other.found),
                ])
                .with_hint("somebody has changed what is fetched under the same name: find out who; if it is meant, remove the unit's entry from lockstep.lock"),
            Self::NotIsolated(found) => {
                Failure::new(Exit::Engine, "network", message).with_hint(found.found.hint())
            }
            Self::Stopped { published, halfway, left_behind } => {
                let list = |names: &[EnvironmentName]| {
                    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let mut notes = Vec::new();
                if !published.is_empty() {
                    notes.push(format!("published before that: {}", list(published)));
                }
                if !halfway.is_empty() {
                    let environments = list(halfway);
                    notes.push(format!("the engine did not answer while this was published: {environments}"));
                }
                if !left_behind.is_empty() {
                    let shown = left_behind.iter().take(LEFT_BEHIND_SHOWN_COUNT).cloned().collect::<Vec<_>>().join(", ");
                    let more = match left_behind.len().saturating_sub(LEFT_BEHIND_SHOWN_COUNT) {
                        0 => String::new(),
                        more => format!(" and {more} more"),
                    };
                    notes.push(format!("may be left in the engine: {shown}{more}"));
                }
                let hint = match (published.is_empty() && halfway.is_empty(), left_behind.is_empty()) {
                    (true, true) => "nothing was published, and everything that had been started was removed",
                    (false, true) if halfway.is_empty() => "what was published stays; everything else was removed",
                    (false, true) => "the next build publishes it whole",
                    (true, false) => "nothing was published; the next run, or `lockstep clean`, removes what is left",
                    (false, false) => "the next build publishes what is missing, and removes what is left",
                };
                Failure::new(Exit::Interrupted, "interrupted", message).with_notes(notes).with_hint(hint)
            }
            Self::Interrupted => Failure::new(Exit::Interrupted, "interrupted", message),
        }
    }
}

/// What to do about a lock that cannot be read.
const LOCK_HINT: &str = "restore it from version control, or remove it and run: lockstep lock";
/// How many of a lock's problems are shown: after the first ones, most follow from them.
const SHOWN_PROBLEMS_LIMIT: usize = 20;

/// The first line of the lock that is not so.
fn lock_place(changes: &[Change]) -> String {
    place_at(changes.iter().filter_map(|change| change.line).min())
}

fn place_at(line: Option<usize>) -> String {
    match line {
        Some(line) => format!("lockstep.lock:{line}"),
        None => "lockstep.lock".to_owned(),
    }
}

/// What is wrong with a lock's text: the first problem with its line, the others by their places.
fn from_problems(problems: &[Problem]) -> Failure {
    let Some(first) = problems.first() else {
        return Failure::new(Exit::Drift, "lock", "the lock cannot be read").with_hint(LOCK_HINT);
    };
    let place = |problem: &Problem| match &problem.excerpt {
        Some(excerpt) => format!("{}:{}:{}", problem.file, excerpt.line, excerpt.column),
        None => problem.file.clone(),
    };
    let told = |problem: &Problem| format!("{}: {}", place(problem), problem.message);
    let excerpt = first.excerpt.iter().flat_map(|excerpt| {
        let mark = "^".repeat(excerpt.mark_columns);
        let label = format!("{}{mark} {}", " ".repeat(excerpt.mark_column), excerpt.label);
        [excerpt.text.clone(), label.trim_end().to_owned()]
    });
    let left_out = problems.len().saturating_sub(SHOWN_PROBLEMS_LIMIT);
    let is_merge = first.message.starts_with("a merge left");
    let hint = if is_merge {
        "take either side whole, and run `lockstep build`, which writes what the other side brings"
    } else {
        LOCK_HINT
    };
    Failure::new(Exit::Drift, "lock", &first.message)
        .at(place(first))
        .with_notes(excerpt)
        .with_notes(problems.iter().skip(1).take(SHOWN_PROBLEMS_LIMIT - 1).map(told))
        .with_notes((left_out > 0).then(|| format!("and {left_out} more")))
        .with_hint(hint)
}

/// Another run that does not end is nobody's mistake; a directory that cannot be written is told as any other.
fn from_state(code: &'static str, error: &StateError) -> Failure {
    let message = error.to_string();
    match error {
        StateError::Io { path, cause, .. } => of_machine(code, message, cause, path),
        StateError::Busy { .. } => hinted(Failure::new(Exit::Internal, code, message), error.hint()),
    }
}

fn at(path: &Path) -> String {
    if path.as_os_str().is_empty() {
        String::new()
    } else {
        format!(" {}", path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compilers_say_has_its_remedy() {
        let hint = |line: &str| StepEnd::Status(1).hint(&[line.to_owned()]).unwrap_or_default();
        for (line, remedy) in [
            ("ld: x.o: in function `f': undefined reference to `sqrt'", "LDFLAGS"),
            (
                "x.c:1:10: fatal error: pcre2.h: No such file or directory",
                "-dev package",
            ),
            ("ld: cannot find -lpcre2-8: No such file or directory", "-dev package"),
            ("error: no matching package named `libc` found", "!Cargo.lock"),
            (
                "error: the lock file needs to be updated but --locked was passed",
                "cargo generate-lockfile",
            ),
            ("x.c:3: error: expected `;`", ""),
        ] {
            assert!(hint(line).contains(remedy), "{line}");
            assert_eq!(hint(line).is_empty(), remedy.is_empty(), "{line}");
        }
    }
}
