//! The world as one value: everything that could differ between two runs comes in through here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What a run may know of the machine, read once by the command line.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where the program was started; relative paths on the command line start here.
    pub working_directory: PathBuf,
    /// The user's cache directory for lockstep (`$XDG_CACHE_HOME/lockstep`, else `~/.cache/lockstep`).
    pub cache_directory: PathBuf,
    /// Where temporary files go that have no better place (`$TMPDIR`, else `/tmp`).
    pub temporary_directory: PathBuf,
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// Seconds since the epoch when the program was started; for log file names and labels, never for artifacts.
    pub started_at_seconds: u64,
    /// Identifies this run in the labels of all it makes: unique on this machine.
    pub run_id: String,
    /// Identifies this machine, so that two machines on one engine do not clean up each other's work.
    pub machine_id: String,
    /// Whether the effective user is root, which decides how root filesystems are made.
    pub is_root: bool,
    /// How many processors this machine has.
    pub processors: usize,
}

/// How long every wait of a run may take at most, unless the project says otherwise.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(30 * 60);
