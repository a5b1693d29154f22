//! What was observed, without judging it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::clean::UnusedImages;
use crate::engine::EngineFacts;

/// All that the checks may know.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The engine.
    pub engine: EngineState,
    /// Where the engine keeps its data, when that is on this machine.
    pub engine_space: Option<Space>,
    /// The project's directory.
    pub project_space: Option<Space>,
    /// The user's cache directory, in which root filesystems are made.
    pub cache_space: Option<Space>,
    /// The package mirrors of the machine's apt configuration.
    pub mirrors: Vec<Mirror>,
    /// What makes root filesystems.
    pub bootstrap: Bootstrap,
    /// The machine's certificate authorities.
    pub certificates: Option<Certificates>,
    /// The variables that name proxies, in lower case, with what they say.
    pub proxies: BTreeMap<String, String>,
    /// The project.
    pub project: ProjectState,
    /// Its lock.
    pub lock: LockState,
    /// What runs of this project have left in the engine; none when the engine did not tell.
    pub leftovers: Option<Leftovers>,
    /// Images of environments that nothing uses any more; none when the engine did not tell.
    pub unused_images: Option<UnusedImages>,
    /// What another run that goes on says of itself.
    pub running: Option<String>,
    /// docker-compose's version.
    pub compose: Option<String>,
}

/// The engine.
#[derive(Debug, Clone)]
pub enum EngineState {
    /// It answers.
    Reached(Box<EngineFacts>),
    /// It does not, or is too old.
    Failed {
        /// Why.
        cause: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// Room on a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// The directory that was asked about.
    pub path: PathBuf,
    /// What may still be written, in bytes.
    pub free_bytes: u64,
    /// How many files may still be made; none where the file system does not count them.
    pub free_files: Option<u64>,
}

/// A package mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `scheme://host[:port]`.
    pub address: String,
    /// The proxy that apt goes through.
    pub proxy: Option<String>,
    /// Why nothing answers there; none when something does.
    pub failure: Option<String>,
}

/// What makes root filesystems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// mmdebstrap's version; none when it is not there.
    pub version: Option<String>,
    /// Whether the user is root.
    pub is_root: bool,
    /// Whether root may mount, which it may not in most containers.
    pub may_mount: bool,
    /// What others than root need.
    pub namespaces: UserNamespaces,
}

/// What mmdebstrap's unshare mode needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserNamespaces {
    /// Whether the kernel lets users make user namespaces.
    pub allowed: bool,
    /// Whether newuidmap and newgidmap are there.
    pub has_newuidmap: bool,
    /// Whether the user has ranges in /etc/subuid and /etc/subgid.
    pub has_ranges: bool,
}

/// A file with certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// The file.
    pub path: PathBuf,
    /// How many are in it.
    pub count: usize,
}

/// The project's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectState {
    /// There is none.
    Absent {
        /// Where it would be.
        file: String,
    },
    /// It has problems.
    Broken {
        /// The file.
        file: String,
        /// The first problem, in one line.
        first: String,
        /// How many there are.
        count: usize,
    },
    /// It reads well.
    Read {
        /// Its name.
        name: String,
        /// Its environments.
        environments: Vec<String>,
        /// Whether an image of it is made from a distribution's packages.
        needs_bootstrap: bool,
        /// How many plugins it has.
        plugins: usize,
    },
}

/// The lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// There is none, or no project.
    Absent,
    /// It cannot be read.
    Broken {
        /// Why.
        cause: String,
    },
    /// It reads well.
    Read {
        /// Environments that it has and the project has, too.
        locked: Vec<String>,
        /// Environments that the project has no more.
        unknown: Vec<String>,
        /// `<environment> build` or `<environment> runtime` whose recipe is another one now.
        changed: Vec<String>,
    },
}

/// What runs have left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Names of containers.
    pub containers: Vec<String>,
    /// Names of volumes.
    pub volumes: Vec<String>,
}
