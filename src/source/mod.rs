//! A unit's sources: which files they are, their digests, and the tar in which they go up to the engine.
//!
//! The same content gives the same digest and the same tar on every machine: names are sorted by their bytes, the only
//! mode that counts is whether the owner may execute a file, times and owners are not looked at, and directories are
//! there only for the files in them (version control knows no others).

mod archive;
mod error;
mod roots;
mod rules;
mod scan_error;
mod tree;
mod walk;

pub(crate) use archive::DeterministicTar;
pub use archive::EntryTimes;
pub use error::SourceError;
pub use roots::UnitPaths;
pub(crate) use rules::RuleBudget;
pub use scan_error::ScanError;
pub use tree::{Entry, SourceTree};

/// Where sources are in a container, relative to lockstep's volume.
pub const SOURCE_ROOT: &str = "src";
/// How many files and links a source tree may have.
pub const SOURCE_FILES_LIMIT: usize = 200_000;
/// How large all files of a source tree may be together.
pub const SOURCE_LIMIT_BYTES: u64 = 2 << 30;
/// How long a path may be, relative to the project: below Linux' `PATH_MAX` with room for where the tree is put.
pub const PATH_LIMIT_BYTES: usize = 2048;
/// The file whose rules apply on top of .gitignore's and win over them.
pub const IGNORE_FILE: &str = ".lockstepignore";
/// Never uploaded, wherever they are: version control's own directory, and lockstep's.
pub const EXCLUDED_NAMES: &[&str] = &[".git", crate::state::STATE_DIRECTORY];
/// Never uploaded from the project's own directory: what lockstep writes there or reads itself. Else a bundle or a lock
/// would change the sources that it was made from.
pub const EXCLUDED_FROM_PROJECT: &[&str] = &["dist", "lockstep.lock", "lockstep.yaml"];

#[cfg(test)]
mod tests;
