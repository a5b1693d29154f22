//! The engine that runs containers, as lockstep sees it: a trait, the real one behind it, and a fake beside it.
//!
//! No type of the engine's client library leaves [`docker`].

pub mod choice;
pub mod docker;
pub mod error;
pub mod fake;
pub mod job;
pub mod leash;
pub mod lines;
pub mod output;
pub mod sweep;
pub mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::owner::Owner;

/// Bytes on their way to or from the engine.
pub type ByteStream = BoxStream<'static, Result<Bytes, EngineError>>;

/// What the engine calls an image (`sha256:…`): the config's digest in the classic store, the manifest's digest in the
/// containerd store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId(pub String);

impl ImageId {
    /// The first eight digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.trim_start_matches("sha256:").chars().take(8).collect()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// What the engine calls a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The labels of a container, volume or image.
pub type Labels = BTreeMap<String, String>;

/// What is known of the engine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineFacts {
    /// Where it was reached, for example `unix:///var/run/docker.sock`.
    pub address: String,
    /// By what it was chosen.
    pub choice: Choice,
    /// Its name and version, for example `Docker Engine 20.10.24`.
    pub version: String,
    /// The API version that was negotiated, for example `1.41`.
    pub api_version: String,
    /// `linux`.
    pub operating_system: String,
    /// `amd64`, `arm64`, … as the image specification spells them.
    pub architecture: String,
    /// Where it keeps images and volumes, on its own machine; none when it does not tell.
    pub data_directory: Option<String>,
    /// How images are stored, for example `overlay2`.
    pub storage_driver: String,
    /// How many processors containers may use.
    pub processors: u64,
    /// How much memory containers may use, in bytes.
    pub memory_bytes: u64,
    /// Whether the engine can limit processes per container.
    pub limits_processes: bool,
    /// Whether it refuses containers the system calls and sockets that they are not to use.
    pub filters_calls: bool,
    /// The registries with which it speaks without knowing who they are: hosts with their ports, and networks (CIDR).
    pub insecure_registries: Vec<String>,
}

/// What is known of an image in the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageFacts {
    /// What the engine calls it.
    pub id: ImageId,
    /// The digests of its layers' uncompressed tars, lowest first: the same on every machine.
    pub diff_ids: Vec<Digest>,
    /// `repository@sha256:…` names under which registries know it.
    pub repository_digests: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// Its labels.
    pub labels: Labels,
    /// Its default environment (`NAME=value`).
    pub environment: Vec<String>,
    /// Its default user, empty for root.
    pub user: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// How far an image is on its way from or to its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferProgress {
    /// What the engine says it is doing.
    pub status: String,
    /// Bytes done and in all, summed over the layers, where known.
    pub bytes: Option<(u64, u64)>,
}

/// An image to be built from a Dockerfile.
pub struct ImageBuild {
    /// The build context, as a tar.
    pub context: ByteStream,
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// The stage to stop at.
    pub target: Option<String>,
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
    /// Labels for the image.
    pub labels: Labels,
    /// The tag it gets, `repository:tag`.
    pub tag: String,
    /// Whether every command runs again, whatever the builder remembers of it.
    pub is_fresh: bool,
}

/// Whether a container reaches a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Only its own loopback.
    None,
    /// The engine's default network.
    Default,
}

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ResourceLimits {
    /// Memory, in bytes; the same with swap.
    pub memory_bytes: u64,
    /// Processors, in billionths; more than the engine has are all that it has.
    pub nano_cpus: u64,
    /// Processes and threads.
    pub processes: u64,
    /// The largest file that it may write, in bytes; none for as large as its file systems take.
    pub file_bytes: Option<u64>,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Mount {
    /// A named volume, which exists already.
    Volume {
        /// Its name.
        name: String,
        /// Where it is seen.
        path: String,
        /// Whether it can only be read.
        read_only: bool,
    },
    /// A volume of the container's own, removed with it.
    Anonymous {
        /// Where it is seen.
        path: String,
        /// Its labels.
        labels: Labels,
    },
    /// Memory.
    Tmpfs {
        /// Where it is seen.
        path: String,
        /// Its size in bytes.
        size_bytes: u64,
    },
    /// Memory that belongs to somebody, and that all can read.
    OwnedTmpfs {
        /// Where it is seen.
        path: String,
        /// Its size in bytes.
        size_bytes: u64,
        /// Whose it is.
        owner: Owner,
        /// Whether programs may be started from it.
        executable: bool,
    },
}

/// A container to be created. It never has more capabilities than its user needs: all are dropped, and no new
/// privileges can be gained, except for `capabilities`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerSpec {
    /// Its name, which tells people what it is for.
    pub name: String,
    /// The image it runs.
    pub image: ImageId,
    /// Program and arguments; the image's entry point is not used.
    pub command: Vec<String>,
    /// Variables, on top of the image's.
    pub environment: BTreeMap<String, String>,
    /// Where it starts.
    pub working_directory: String,
    /// `uid:gid`.
    pub user: String,
    /// Its labels.
    pub labels: Labels,
    /// Whether it reaches a network.
    pub network: Network,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// What it may use.
    pub limits: ResourceLimits,
    /// Whether its own root filesystem can only be read.
    pub read_only_root: bool,
    /// Whether the engine's init runs as its first process.
    pub init: bool,
    /// Whether its standard input is a line to this process, which [`Engine::start_tied`] holds.
    pub tied: bool,
    /// Capabilities that are kept, for example `CHOWN`; normally none.
    pub capabilities: Vec<String>,
    /// Whether it may ask which network interfaces it has, as servers do; compilers do not.
    pub sees_interfaces: bool,
    /// Another container, whose volumes it sees read-only and whose processes it sees; for what watches that one.
    pub beside: Option<ContainerId>,
    /// What it sees of a machine.
    pub machine: MachineView,
}

/// What a container sees of the machine that it runs on; by default what the engine shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MachineView {
    /// The host's name; the engine makes one up, another one for each container.
    pub host_name: Option<String>,
    /// Its domain's name.
    pub domain_name: Option<String>,
    /// The processors that there are, as cpuset(7) lists them.
    pub processors: Option<String>,
    /// Whether its programs may ask for addresses that are not random (`personality(2)`).
    pub may_fix_addresses: bool,
}

/// What a container may use that is never started: the engine wants numbers.
const UNSTARTED_LIMITS: ResourceLimits = ResourceLimits {
    memory_bytes: 64 << 20,
    nano_cpus: 1_000_000_000,
    processes: 16,
    file_bytes: None,
};

impl ContainerSpec {
    /// A container that is never started: files of its image, and of what is mounted, are had through it.
    #[must_use]
    pub fn unstarted(name: String, image: ImageId, labels: Labels, mounts: Vec<Mount>) -> Self {
        Self {
            name,
            image,
            command: vec!["true".to_owned()],
            environment: BTreeMap::new(),
            working_directory: "/".to_owned(),
            user: "0:0".to_owned(),
            labels,
            network: Network::None,
            mounts,
            limits: UNSTARTED_LIMITS,
            read_only_root: true,
            init: false,
            tied: false,
            capabilities: vec![],
            sees_interfaces: false,
            beside: None,
            machine: MachineView::default(),
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ContainerExit {
    /// Its status; 128 + signal when a signal ended it.
    pub status: i64,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
}

/// Which of a container's two streams a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Holds the standard input of a container. When it is dropped, or this process ends by whatever means, the container
/// reads the end of its input.
pub struct Tie(Box<dyn Send + Sync>);

impl Tie {
    fn new(line: impl Send + Sync + 'static) -> Self {
        Self(Box::new(line))
    }
}

impl fmt::Debug for Tie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.0;
        formatter.write_str("Tie")
    }
}

/// What became of a command in a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its status.
    pub status: i64,
    /// The beginning of what it wrote, both streams together.
    pub output: String,
}

/// A container's output while it runs; ends when the container does.
pub type LogStream = BoxStream<'static, Result<(OutputStream, Bytes), EngineError>>;

/// What is known of a container that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerFacts {
    /// What the engine calls it.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// `created`, `running`, `exited`, …
    pub state: String,
    /// The image it was made from.
    pub image: ImageId,
    /// Its labels.
    pub labels: Labels,
}

/// What is known of a volume that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeFacts {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Where its files are on the engine's own machine; none when the engine does not tell.
    pub mountpoint: Option<String>,
}

pub use choice::Choice;
pub use error::{EngineError, Obstacle};

/// An engine that speaks the Docker Engine's API, 1.41 or newer.
///
/// Every method has a limit on how long it waits; the streams end, or yield an error. Only [`Engine::logs`] may be silent
/// for as long as its container is: [`Engine::wait`] bounds it. Dropping a future leaves nothing
/// that a later [`Engine::containers`] by label would not find.
#[async_trait]
pub trait Engine: Send + Sync {
    /// What it is and what it has.
    async fn facts(&self) -> Result<EngineFacts, EngineError>;

    /// An image by reference or ID; none when the engine has no such image.
    async fn image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError>;
    /// All images that carry all these labels.
    async fn images(&self, labels: &Labels) -> Result<Vec<ImageFacts>, EngineError>;
    /// Loads images from an archive as `docker save` writes it (image specification 1.2).
    async fn load_images(&self, archive: ByteStream) -> Result<(), EngineError>;
    /// Brings an image from its registry.
    async fn pull_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<(), EngineError>;
    /// Puts an image into its registry, under a name that it has here and that says where; gives the digest of its manifest
    /// there, by which it can be pulled.
    async fn push_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<Digest, EngineError>;
    /// Builds an image from a Dockerfile with the classic builder; `log` takes the builder's lines.
    async fn build_image(
        &self,
        build: ImageBuild,
        log: &(dyn for<'line> Fn(&'line str) + Send + Sync),
    ) -> Result<ImageId, EngineError>;
    /// Gives an image one more name.
    async fn tag_image(&self, image: &ImageId, repository: &str, tag: &str) -> Result<(), EngineError>;
    /// Removes one name of an image, and the image with its last name; by ID, the image with all its names. Well when it
    /// is gone already.
    async fn remove_image(&self, reference: &str) -> Result<(), EngineError>;
    /// An image as an archive (image specification 1.2).
    async fn save_image(&self, reference: &str) -> Result<ByteStream, EngineError>;

    /// Creates a container; [`EngineError::NameTaken`] when another one has its name.
    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError>;
    /// Unpacks a tar into a container's directory, started or not.
    async fn upload(&self, container: &ContainerId, path: &str, archive: ByteStream) -> Result<(), EngineError>;
    /// A container's file or directory as a tar, running or not. Nothing in it can be trusted.
    async fn download(&self, container: &ContainerId, path: &str) -> Result<ByteStream, EngineError>;
    /// Starts a container.
    async fn start(&self, container: &ContainerId) -> Result<(), EngineError>;
    /// Starts a container that is [`tied`](ContainerSpec::tied).
    async fn start_tied(&self, container: &ContainerId) -> Result<Tie, EngineError>;
    /// Runs one more command in a running container, as its user, and waits for its end, at most `limit`.
    async fn exec(&self, container: &ContainerId, command: &[String], limit: Duration)
    -> Result<Executed, EngineError>;
    /// A container's output, of which nothing is lost when this is asked for before the container is started: the engine
    /// keeps none of it, so that no container can fill its disk.
    async fn logs(&self, container: &ContainerId) -> Result<LogStream, EngineError>;
    /// Waits until a container has ended, at most `limit`.
    async fn wait(&self, container: &ContainerId, limit: Duration) -> Result<ContainerExit, EngineError>;
    /// Ends a container at once.
    async fn kill(&self, container: &ContainerId) -> Result<(), EngineError>;
    /// Removes a container, running or not, with its anonymous volumes; well when it is gone already.
    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineError>;
    /// Removes a container unless it is running, and says whether it is gone.
    async fn remove_ended_container(&self, container: &ContainerId) -> Result<bool, EngineError>;
    /// All containers, running or not, that carry all these labels.
    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerFacts>, EngineError>;

    /// Creates a volume; well when it exists already, whose labels then stay as they are.
    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<(), EngineError>;
    /// A volume by name; none when there is no such volume.
    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, EngineError>;
    /// All volumes that carry all these labels.
    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeFacts>, EngineError>;
    /// Removes a volume; well when it is gone already.
    async fn remove_volume(&self, name: &str) -> Result<(), EngineError>;
}
