//! What every command takes.

use std::path::PathBuf;

use clap::Args;

use crate::report::Progress;

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The project's file
    #[arg(
        long,
        short,
        global = true,
        value_name = "PATH",
        default_value = "lockstep.yaml",
        env = "LOCKSTEP_FILE"
    )]
    pub(super) file: PathBuf,
    /// How progress is shown, on standard error
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub(super) progress: Progress,
    /// Only warnings and what went wrong
    #[arg(long, short, global = true, conflicts_with = "progress")]
    pub(super) quiet: bool,
}
