//! The exit codes: a published table (design contract; `lockstep --help` and README print it).

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// There are findings at error level.
    Findings = 1,
    /// The command line or a configuration file is wrong, or this machine's files are not as they must be: not permitted,
    /// read-only, changing, or on a disk that is full.
    Usage = 2,
    /// The engine cannot be reached, or failed.
    Engine = 3,
    /// A build failed inside its container.
    Build = 4,
    /// The smoke test failed.
    Smoke = 5,
    /// Not reproducible, or the lock has drifted.
    Drift = 6,
    /// A defect of lockstep itself, or of the machine below it.
    Internal = 70,
    /// Interrupted by the user (128 + SIGINT, as shells report it).
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
