//! Publication to the engine's shared volume, from which hosts run: `releases/<manifest>/…` and `current`, a link to one
//! of them that is replaced by a rename.
//!
//! A release is uploaded, tested where it lies, and only then made current; the previous one stays beside it for hosts
//! that still run from it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use futures_util::StreamExt;
use tokio::time::timeout;

use super::manifest::MANIFEST_LIMIT_BYTES;
use super::{ArtifactRecord, MANIFEST_FILE, Manifest, ManifestError};
use crate::engine::{
    ByteStream, ContainerId, ContainerSpec, Engine, EngineError, ImageId, Labels, LogStream, Mount, Network,
    OutputStream, ResourceLimits,
};
use crate::owner::Owner;
use crate::source::DeterministicTar;
use crate::stream;

/// Where the volume is seen in the helper container.
const VOLUME_PATH: &str = "/volume";
/// Marks a volume as this one and no other of the same name.
pub const INSTANCE_LABEL: &str = "dev.lockstep.instance";
/// Says to which project a volume belongs.
pub const PROJECT_LABEL: &str = "dev.lockstep.project";
/// How many digits of the manifest's digest name a release.
const RELEASE_NAME_DIGITS: usize = 16;
/// How long the helper may take to flip a link and remove old files.
const HELPER_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of the helper's output is kept for an error.
const HELPER_OUTPUT_LIMIT_BYTES: usize = 4096;
/// What the helper may use: it runs a shell and a few tools.
const HELPER_LIMITS: ResourceLimits = ResourceLimits {
    memory_bytes: 256 << 20,
    nano_cpus: 1_000_000_000,
    processes: 32,
};

/// Makes `$1` current and removes all other releases but the one that was current before. Nothing is removed when
/// nothing changes, so that the previous release survives builds that yield the same bundle.
const COMMIT_SCRIPT: &str = r#"cd "$0"
previous=$(readlink current || true)
if [ "$previous" = "releases/$1" ]; then exit 0; fi
rm -f current.new
ln -s "releases/$1" current.new
mv -T current.new current
for release in releases/*; do
  case "$release" in
    "releases/$1" | "$previous") ;;
    *) rm -rf -- "$release" ;;
  esac
done"#;

/// Removes the release `$1` unless it is current.
const DISCARD_SCRIPT: &str = r#"cd "$0"
if [ "$(readlink current || true)" != "releases/$1" ]; then rm -rf -- "releases/$1"; fi"#;

/// Why a release was not staged, made current or removed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The engine did not do its part.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The volume belongs to another project.
    #[error("the volume `{volume}` belongs to the project `{owner}`")]
    Foreign {
        /// The volume.
        volume: String,
        /// The project on its label.
        owner: String,
    },
    /// The helper container did not do its part.
    #[error(
        "failed to {action} in the volume `{volume}`: the helper ended with status {status}{}",
        said(output)
    )]
    Helper {
        /// In the infinitive.
        action: &'static str,
        /// The volume.
        volume: String,
        /// The helper's status.
        status: i64,
        /// What it wrote to standard error.
        output: String,
    },
}

impl VolumeError {
    /// What to do about it, where lockstep knows.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.hint(),
            Self::Foreign { volume, .. } => Some(format!(
                "give one of the projects another name; or, if it is not needed: docker volume rm {volume}"
            )),
            Self::Manifest(_) | Self::Helper { .. } => None,
        }
    }
}

fn said(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(": {output}")
    }
}

/// The volume of one environment of one project, and what is needed to work in it.
#[derive(Debug, Clone)]
pub struct ReleaseVolume {
    /// `lockstep-<project>-<environment>`.
    pub name: String,
    /// Labels for the volume, should it have to be made.
    pub labels: Labels,
    /// Labels for the helper container.
    pub container_labels: Labels,
    /// A value for [`INSTANCE_LABEL`] that no other run uses.
    pub instance: String,
    /// What the helper container's name starts with; its purpose is appended.
    pub container_name: String,
    /// An image with a shell, `ln`, `mv`, `rm` and `readlink`: the build image.
    pub image: ImageId,
    /// The time that all files claim.
    pub mtime_seconds: u64,
}

/// A release that lies in the volume and is not current yet: end it with [`StagedRelease::commit`] or
/// [`StagedRelease::discard`]. Dropped without either, it stays in the volume until the next commit removes it.
#[must_use = "a staged release must be committed or discarded"]
pub struct StagedRelease {
    engine: Arc<dyn Engine>,
    volume: ReleaseVolume,
    release: String,
    instance: Option<String>,
    made_volume: bool,
    made_release: bool,
    helper: ContainerId,
}

impl fmt::Debug for StagedRelease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StagedRelease")
            .field("volume", &self.volume)
            .field("release", &self.release)
            .finish()
    }
}

/// Brings a complete bundle (`directory`, with its manifest's artifacts) into the volume, beside what is current. A
/// release that is there already with the same manifest is used as it is.
///
/// Run it to its end, also when the run is cancelled, and then discard: dropped halfway it leaves a container, which its
/// labels find, and perhaps a volume without a release, which the next run uses.
///
/// # Errors
/// [`VolumeError`]; nothing that was made is left behind then, as far as the engine still answers.
pub async fn stage(
    engine: Arc<dyn Engine>,
    volume: ReleaseVolume,
    manifest: &Manifest,
    directory: &Path,
) -> Result<StagedRelease, VolumeError> {
    let json = manifest.to_json()?;
    let release = manifest.digest()?.hex()[..RELEASE_NAME_DIGITS].to_owned();
    let existing = engine.volume(&volume.name).await?;
    let owner = existing.as_ref().and_then(|facts| facts.labels.get(PROJECT_LABEL));
    if let Some(owner) = owner.filter(|owner| volume.labels.get(PROJECT_LABEL) != Some(owner)) {
        let owner = owner.clone();
        return Err(VolumeError::Foreign {
            volume: volume.name,
            owner,
        });
    }
    let made_volume = existing.is_none();
    let instance = match existing {
        Some(facts) => facts.labels.get(INSTANCE_LABEL).cloned(),
        None => {
            let mut labels = volume.labels.clone();
            labels.insert(INSTANCE_LABEL.to_owned(), volume.instance.clone());
            engine.create_volume(&volume.name, &labels).await?;
            Some(volume.instance.clone())
        }
    };
    let helper = match engine
        .create_container(&helper_spec(&volume, "commit", COMMIT_SCRIPT, &release))
        .await
    {
        Ok(helper) => helper,
        Err(error) => {
            if made_volume {
                engine.remove_volume(&volume.name).await?;
            }
            return Err(error.into());
        }
    };
    let mut staged = StagedRelease {
        engine,
        volume,
        release,
        instance,
        made_volume,
        made_release: false,
        helper,
    };
    match staged.upload(manifest, json, directory).await {
        Ok(()) => Ok(staged),
        Err(error) => {
            // The first error says more than what follows from it.
            let _ = staged.discard().await;
            Err(error)
        }
    }
}

impl StagedRelease {
    /// Where the release is in the volume: mount the volume and use this path below it.
    #[must_use]
    pub fn path_in_volume(&self) -> String {
        format!("releases/{}", self.release)
    }

    /// What tells this volume from another of the same name; none when somebody else made it.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// Makes the release current and removes older ones, except for the one before.
    ///
    /// # Errors
    /// [`VolumeError`]. When it fails before the link is replaced, the previous release is current, and the new one has
    /// been removed; afterwards only old releases may be left.
    pub async fn commit(self) -> Result<(), VolumeError> {
        let committed = self.run(&self.helper, "make the release current").await;
        match committed {
            Ok(()) => Ok(self.engine.remove_container(&self.helper).await?),
            Err(error) => {
                let _ = self.discard().await;
                Err(error)
            }
        }
    }

    /// Removes what staging made: the release, and the volume when it was made for it.
    ///
    /// # Errors
    /// When the engine fails; what is left is removed by a later commit, or by its labels.
    pub async fn discard(self) -> Result<(), VolumeError> {
        self.engine.remove_container(&self.helper).await?;
        if self.made_volume {
            return Ok(self.engine.remove_volume(&self.volume.name).await?);
        }
        if !self.made_release {
            return Ok(());
        }
        let spec = helper_spec(&self.volume, "discard", DISCARD_SCRIPT, &self.release);
        let helper = self.engine.create_container(&spec).await?;
        let discarded = self.run(&helper, "remove the staged release").await;
        self.engine.remove_container(&helper).await?;
        discarded
    }

    async fn upload(&mut self, manifest: &Manifest, json: Vec<u8>, directory: &Path) -> Result<(), VolumeError> {
        if self.has_release(&json).await? {
            return Ok(());
        }
        self.made_release = true;
        let files = manifest.artifacts().cloned().collect();
        let archive = archive(
            self.release.clone(),
            directory.to_owned(),
            files,
            json,
            self.volume.mtime_seconds,
        );
        Ok(self.engine.upload(&self.helper, VOLUME_PATH, archive).await?)
    }

    /// Whether the volume has this release in full: its manifest is uploaded last.
    async fn has_release(&self, json: &[u8]) -> Result<bool, VolumeError> {
        if self.made_volume {
            return Ok(false);
        }
        let path = format!("{VOLUME_PATH}/{}/{MANIFEST_FILE}", self.path_in_volume());
        let stream = match self.engine.download(&self.helper, &path).await {
            Ok(stream) => stream,
            Err(EngineError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let found = stream::read_by(stream, |reader| first_file(reader)).await;
        Ok(found.and_then(|found| found).is_ok_and(|found| found == json))
    }

    /// Starts a helper and waits for it to end well.
    async fn run(&self, helper: &ContainerId, action: &'static str) -> Result<(), VolumeError> {
        let logs = self.engine.logs(helper).await?;
        self.engine.start(helper).await?;
        // The output ends when the helper does; what it says then counts, not how long it kept silent.
        let output = timeout(HELPER_TIMEOUT, errors_in(logs)).await.unwrap_or_default();
        let exit = self.engine.wait(helper, HELPER_TIMEOUT).await?;
        if exit.status == 0 {
            return Ok(());
        }
        Err(VolumeError::Helper {
            action,
            volume: self.volume.name.clone(),
            status: exit.status,
            output,
        })
    }
}

/// What is written to standard error, to its end, but no more of it than an error can show.
async fn errors_in(mut logs: LogStream) -> String {
    let mut text = Vec::new();
    while let Some(Ok((stream, bytes))) = logs.next().await {
        let room = HELPER_OUTPUT_LIMIT_BYTES - text.len();
        if stream == OutputStream::Stderr {
            text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// A container that has the volume and nothing else. It is root, because the root of a fresh volume is root's, and has no
/// capabilities: it can do in the volume what the volume's owner can, and nothing anywhere else.
fn helper_spec(volume: &ReleaseVolume, purpose: &str, script: &str, release: &str) -> ContainerSpec {
    let command = ["sh", "-eu", "-c", script, VOLUME_PATH, release];
    ContainerSpec {
        name: format!("{}-{purpose}", volume.container_name),
        image: volume.image.clone(),
        command: command.map(str::to_owned).to_vec(),
        environment: BTreeMap::new(),
        working_directory: "/".to_owned(),
        user: "0:0".to_owned(),
        labels: volume.container_labels.clone(),
        network: Network::None,
        mounts: vec![Mount::Volume {
            name: volume.name.clone(),
            path: VOLUME_PATH.to_owned(),
            read_only: false,
        }],
        limits: HELPER_LIMITS,
        read_only_root: true,
        init: false,
        capabilities: Vec::new(),
    }
}

/// The release as a tar, the manifest last: where it is, everything is. All is root's, so that no host can change its
/// own plugins.
fn archive(
    release: String,
    bundle: PathBuf,
    files: Vec<ArtifactRecord>,
    json: Vec<u8>,
    mtime_seconds: u64,
) -> ByteStream {
    stream::written_by(move |writer| {
        let mut archive = DeterministicTar::new(writer, Owner { uid: 0, gid: 0 }, mtime_seconds);
        let directory = format!("releases/{release}");
        archive.directory("releases")?;
        archive.directory(&directory)?;
        for ArtifactRecord {
            name,
            digest,
            size_bytes,
            executable,
        } in files
        {
            let content = File::open(bundle.join(&name))?;
            let in_volume = format!("{directory}/{name}");
            if !archive.checked_file(&in_volume, size_bytes, executable, digest, content)? {
                return Err(io::Error::other(format!("`{name}` is not what the manifest says")));
            }
        }
        archive.file(
            &format!("{directory}/{MANIFEST_FILE}"),
            json.len() as u64,
            false,
            &json[..],
        )?;
        archive.finish()
    })
}

/// The content of an archive's first file, when it is small enough for a manifest.
fn first_file(reader: &mut dyn io::Read) -> io::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(io::Read::take(reader, MANIFEST_LIMIT_BYTES));
    let mut content = Vec::new();
    if let Some(entry) = archive.entries()?.next() {
        io::Read::read_to_end(&mut entry?, &mut content)?;
    }
    Ok(content)
}

#[cfg(test)]
mod tests;
