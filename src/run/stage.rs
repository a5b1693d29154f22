//! Where the smoke test has what it loads.

use std::path::PathBuf;

use super::accounts::Accounts;
use super::install::Installs;
use super::opener::Opener;
use super::placed::PlacedFile;
use crate::engine::ImageId;
use crate::language::HOME_ROOT;
use crate::name::EnvironmentName;

/// Where the probe is, which makes a host open plugins.
pub(super) const PROBE_PATH: &str = "/lockstep/loader/lockstep-probe.so";
/// Where a plugin can leave files for the next. Every engine has `/dev/mqueue`, for queues of messages.
pub(super) const SCRATCH: [&str; 4] = ["/tmp", HOME_ROOT, "/dev/shm", "/dev/mqueue"];

/// Where a container finds host, plugins and loader.
pub(super) struct Stage<'a> {
    pub(super) environment: &'a EnvironmentName,
    /// For the container's name.
    pub(super) subject: &'a str,
    /// The runtime image.
    pub(super) image: &'a ImageId,
    /// The directory of this machine that holds the loader, compiled in the same environment.
    pub(super) loader: PathBuf,
    /// Who is who in the image.
    pub(super) accounts: &'a Accounts,
    /// Who opens plugins, for each contract in their order.
    pub(super) openers: Vec<Opener>,
    /// How the bundle comes into the container.
    pub(super) bundle: StagedBundle,
    /// The plugins' files on this machine.
    pub(super) plugins: Vec<PlacedFile>,
    /// Which of them are looked for in directories of the image.
    pub(super) installs: Installs,
}

/// How a bundle comes into a container.
pub(super) enum StagedBundle {
    /// The image is a matched one, and has it.
    InImage,
    /// It is in a volume of the engine's, at a path there.
    InVolume { volume: String, path: String },
    /// These files of the host's are put there, with those of the plugins.
    OfFiles(Vec<PlacedFile>),
}
