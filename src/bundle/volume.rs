//! The shared volume of an environment: `releases/<manifest digest>/` with whole bundles, and `current`, a link to one
//! of them that is replaced by a rename.
//!
//! Several checkouts of a project may publish to one volume. Who stages, commits or removes holds its lease
//! ([`lease`]): a release is uploaded, compared, tested where it lies, compared again, and only then made current; the
//! previous one stays beside it for hosts that still run from it.
//!
//! | in the volume | what |
//! | --- | --- |
//! | `releases/<16 digits>` | a bundle, named by the digest of its manifest |
//! | `current`, `previous` | links to the release that counts, and to the one before |
//! | `publishers` | lines `<release> <checkout>`: who published what is current |
//! | `instance` | the volume's own mark, as its label has it |
//! | `incoming`, `aside`, `*.new` | what is being changed: of no use to anybody but the holder of the lease |

pub(super) mod lease;
pub(super) mod look;
pub(super) mod removal;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use tokio_util::sync::CancellationToken;

use self::lease::{Lease, LeaseTerms};
use self::look::{Expected, Sight};
use super::{ArtifactRecord, Difference, MANIFEST_FILE, Manifest, ManifestError};
use crate::engine::error::DISK_FULL_HINT;
use crate::engine::job::says_disk_is_full;
use crate::engine::{
    ByteStream, ContainerSpec, Engine, EngineError, ImageId, Labels, Mount, ResourceLimits, VolumeFacts,
};
use crate::owner::Owner;
use crate::place::directories_of;
use crate::regular_file;
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
/// How long one change in the volume may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a volume is made again that somebody removed in the same moment.
const MAKE_ATTEMPTS_LIMIT: u32 = 5;
/// What the helper may use: it runs a shell and a few tools.
const HELPER_LIMITS: ResourceLimits = ResourceLimits {
    memory_bytes: 256 << 20,
    nano_cpus: 1_000_000_000,
    processes: 32,
    file_bytes: None,
};

/// Removes every release but the one that is current and the one before.
macro_rules! remove_older_releases {
    () => {
        r#"current=$(readlink current || true)
previous=$(readlink previous || true)
for release in releases/*; do
  case "$release" in
    "$current" | "$previous") ;;
    *) rm -rf -- "$release" ;;
  esac
done"#
    };
}

/// Removes what a run left that was killed: whoever holds the lease is the only one who changes anything here. A
/// `current` that is no link, and `releases` that are no directory, are somebody's doing and in the way.
const TIDY_SCRIPT: &str = concat!(
    r#"cd "$0"
if [ ! -L current ]; then rm -rf current; fi
if [ ! -L previous ]; then rm -rf previous; fi
if [ -L releases ] || [ ! -d releases ]; then rm -rf releases; mkdir releases; fi
rm -rf incoming aside current.new previous.new publishers.new instance.new
"#,
    remove_older_releases!()
);

/// Puts what was uploaded into the place of the release `$1`, whatever is there.
const TAKE_SCRIPT: &str = r#"cd "$0"
rm -rf aside
if [ -e "releases/$1" ] || [ -L "releases/$1" ]; then mv -T "releases/$1" aside; fi
mv -T incoming "releases/$1"
rm -rf aside"#;

/// Makes `$1` current, published by `$2`, in the volume `$3`, and removes all other releases but the one that was current
/// before. That stays the previous one when nothing changes, so that it survives builds that yield the same bundle.
const COMMIT_SCRIPT: &str = concat!(
    r#"cd "$0"
if [ ! -f "releases/$1/manifest.json" ]; then echo "releases/$1 is not there"; exit 1; fi
before=$(readlink current || true)
{
  echo "$1 $2"
  if [ "$before" != "releases/$1" ] && [ -f publishers ]; then
    while read -r release publisher; do
      if [ "releases/$release" = "$before" ]; then echo "$release $publisher"; fi
    done < publishers
  fi
} > publishers.new
mv -T publishers.new publishers
echo "$3" > instance.new
mv -T instance.new instance
if [ "$before" != "releases/$1" ]; then
  if [ -n "$before" ]; then ln -s "$before" previous.new; mv -T previous.new previous; fi
  ln -s "releases/$1" current.new
  mv -T current.new current
fi
"#,
    remove_older_releases!()
);

/// Removes the release `$1`, and what was uploaded for it, unless it is current or was it before.
const DISCARD_SCRIPT: &str = r#"cd "$0"
rm -rf incoming
case "releases/$1" in
  "$(readlink current || true)" | "$(readlink previous || true)") ;;
  *) rm -rf -- "releases/$1" ;;
esac"#;

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
    /// Somebody else publishes to it for too long.
    #[error("the volume `{volume}` is in use ({holder}), and was not free within {} s", limit.as_secs())]
    Busy {
        /// The volume.
        volume: String,
        /// Who has it.
        holder: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The lease was taken away: somebody removed its container.
    #[error("the lease on the volume `{volume}` was lost: its container was ended")]
    LeaseLost {
        /// The volume.
        volume: String,
    },
    /// It is removed again and again.
    #[error("the volume `{volume}` disappears whenever it is made")]
    Vanishing {
        /// The volume.
        volume: String,
    },
    /// What is in the volume is not what was put there.
    #[error("what was uploaded to the volume `{volume}` is not there as it was")]
    Altered {
        /// The volume.
        volume: String,
        /// In what.
        differences: Vec<Difference>,
    },
    /// A change was not made.
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
        /// What it wrote.
        output: String,
    },
    /// The run was cancelled while it waited.
    #[error("interrupted")]
    Cancelled,
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
            Self::Busy { volume, .. } => Some(format!(
                "wait for the other build, or end it; if there is none: docker rm --force {}",
                lease::name(volume)
            )),
            Self::LeaseLost { .. } | Self::Vanishing { .. } | Self::Altered { .. } => {
                Some("somebody else changes it: look who uses the engine, then build again".to_owned())
            }
            Self::Helper { output, .. } if says_disk_is_full(output) => Some(DISK_FULL_HINT.to_owned()),
            Self::Manifest(_) | Self::Helper { .. } | Self::Cancelled => None,
        }
    }

    /// What else belongs to it, line by line.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Altered { differences, .. } => differences.iter().map(ToString::to_string).collect(),
            _ => vec![],
        }
    }
}

fn said(output: &str) -> String {
    match output.trim() {
        "" => String::new(),
        output => format!(": {output}"),
    }
}

/// The volume of one environment of one project, and what is needed to work in it.
#[derive(Debug, Clone)]
pub struct ReleaseVolume {
    /// `lockstep-<project>-<environment>`.
    pub name: String,
    /// Labels for the volume, should it have to be made.
    pub labels: Labels,
    /// Labels for the helper containers.
    pub container_labels: Labels,
    /// A value for [`INSTANCE_LABEL`] that no other run uses.
    pub instance: String,
    /// Which checkout publishes: a word.
    pub publisher: String,
    /// What the helper containers' names start with; their purpose is appended.
    pub container_name: String,
    /// An image with a shell, `cat`, `ln`, `mkdir`, `mv`, `rm` and `readlink`: the build image.
    pub image: ImageId,
    /// The time that all files claim.
    pub mtime_seconds: u64,
}

/// How long and for whom to wait.
pub struct Patience<'a> {
    /// Called once, with who has the volume, when it has to be waited for.
    pub on_wait: &'a (dyn Fn(&str) + Send + Sync),
    /// How long.
    pub limit: Duration,
    /// Ends the waiting.
    pub cancellation: &'a CancellationToken,
}

/// A release that lies in the volume and is not current yet, under the volume's lease: end it with
/// [`StagedRelease::commit`] or [`StagedRelease::discard`]. Dropped without either, it stays until the next one who has
/// the lease removes it.
#[must_use = "a staged release must be committed or discarded"]
pub struct StagedRelease {
    engine: Arc<dyn Engine>,
    volume: ReleaseVolume,
    facts: VolumeFacts,
    expected: Expected,
    made_volume: bool,
    made_release: bool,
    lease: Lease,
}

impl fmt::Debug for StagedRelease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StagedRelease")
            .field("volume", &self.volume)
            .field("release", &self.expected.release)
            .finish()
    }
}

/// A release that is current. The lease is still held, so that what else belongs to the bundle gets its name before anybody
/// else publishes.
#[must_use = "the lease is to be given back"]
pub struct CommittedRelease {
    engine: Arc<dyn Engine>,
    lease: Lease,
}

impl CommittedRelease {
    /// Gives the lease back.
    ///
    /// # Errors
    /// When the engine fails; the release stays current.
    pub async fn end(self) -> Result<(), VolumeError> {
        self.lease.release(self.engine.as_ref()).await
    }
}

impl fmt::Debug for CommittedRelease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CommittedRelease")
    }
}

/// Takes the lease, and brings a complete bundle (`directory`, with its manifest's artifacts) into the volume, beside what
/// is current. A release that is there already, equal to the last byte, is used as it is.
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
    patience: Patience<'_>,
) -> Result<StagedRelease, VolumeError> {
    let expected = Expected::of(manifest)?;
    let (lease, facts, made_volume) = take(engine.as_ref(), &volume, &patience).await?;
    let mut staged = StagedRelease {
        engine,
        volume,
        facts,
        expected,
        made_volume,
        made_release: false,
        lease,
    };
    match staged.bring(manifest, directory).await {
        Ok(()) => Ok(staged),
        Err(error) => {
            // The first error says more than what follows from it.
            let _ = staged.discard().await;
            Err(error)
        }
    }
}

/// In what the volume is not as `expected` was published, for who only wants to know: no lease is taken, and what is being
/// changed is seen as different.
///
/// # Errors
/// What the engine fails with.
pub async fn look_at(
    engine: &dyn Engine,
    volume: &ReleaseVolume,
    facts: &VolumeFacts,
    expected: &Expected,
) -> Result<Vec<Difference>, VolumeError> {
    sight_into(engine, volume, facts, async |sight: &Sight| {
        let current = sight.current(engine).await?;
        let release = sight.release(engine, expected).await?;
        let current = expected.difference_of_current(current.as_deref());
        Ok(current.into_iter().chain(release).collect())
    })
    .await
}

/// What `look` sees in the volume: where the engine keeps it, else through a container that is never started.
async fn sight_into<T>(
    engine: &dyn Engine,
    volume: &ReleaseVolume,
    facts: &VolumeFacts,
    look: impl AsyncFnOnce(&Sight) -> Result<T, EngineError>,
) -> Result<T, VolumeError> {
    if let Some(sight) = Sight::direct(facts) {
        return Ok(look(&sight).await?);
    }
    let spec = ContainerSpec::unstarted(
        format!("{}-look", volume.container_name),
        volume.image.clone(),
        volume.container_labels.clone(),
        vec![volume.mount(true)],
    );
    let container = engine.create_container(&spec).await?;
    let seen = look(&Sight::Through(container.clone())).await;
    engine.remove_container(&container).await?;
    Ok(seen?)
}

/// The volume, made where it is missing, and its lease.
async fn take(
    engine: &dyn Engine,
    volume: &ReleaseVolume,
    patience: &Patience<'_>,
) -> Result<(Lease, VolumeFacts, bool), VolumeError> {
    let instance = |facts: &VolumeFacts| facts.labels.get(INSTANCE_LABEL).cloned();
    for _ in 0..MAKE_ATTEMPTS_LIMIT {
        let existing = engine.volume(&volume.name).await?;
        let owner = existing.as_ref().and_then(|facts| facts.labels.get(PROJECT_LABEL));
        if let Some(owner) = owner.filter(|owner| volume.labels.get(PROJECT_LABEL) != Some(owner)) {
            return Err(VolumeError::Foreign {
                volume: volume.name.clone(),
                owner: owner.clone(),
            });
        }
        let made_volume = existing.is_none();
        let before = match existing {
            Some(facts) => instance(&facts),
            None => {
                let mut labels = volume.labels.clone();
                labels.insert(INSTANCE_LABEL.to_owned(), volume.instance.clone());
                engine.create_volume(&volume.name, &labels).await?;
                Some(volume.instance.clone())
            }
        };
        let terms = LeaseTerms {
            volume: &volume.name,
            spec: lease_spec(volume),
            patience,
        };
        let lease = match Lease::acquire(engine, terms).await {
            Ok(lease) => lease,
            // Removed by somebody else's `clean` just before.
            Err(VolumeError::Engine(EngineError::NotFound { what })) if what.contains(&volume.name) => continue,
            Err(error) => {
                // Who waited cannot know that nobody has published meanwhile; who was refused at once can.
                let waited = matches!(error, VolumeError::Busy { .. } | VolumeError::Cancelled);
                if made_volume && waited {
                    let _ = removal::remove_unpublished(engine, volume).await;
                } else if made_volume {
                    let _ = engine.remove_volume(&volume.name).await;
                }
                return Err(error);
            }
        };
        match engine.volume(&volume.name).await {
            Ok(Some(facts)) if before.is_none() || instance(&facts).is_some() => {
                let made_volume = made_volume && instance(&facts) == before;
                return Ok((lease, facts, made_volume));
            }
            // Removed in between: an engine makes what a new container mounts, without the labels.
            Ok(_) => {
                lease.release(engine).await?;
                engine.remove_volume(&volume.name).await?;
            }
            Err(error) => {
                let _ = lease.release(engine).await;
                return Err(error.into());
            }
        }
    }
    Err(VolumeError::Vanishing {
        volume: volume.name.clone(),
    })
}

impl StagedRelease {
    /// Where the release is in the volume: mount the volume and use this path below it.
    #[must_use]
    pub fn path_in_volume(&self) -> String {
        self.expected.path()
    }

    /// What tells this volume from another of the same name; none when somebody else made it.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.facts.labels.get(INSTANCE_LABEL).map(String::as_str)
    }

    /// Compares the release once more, makes it current and removes older ones, except for the one before.
    ///
    /// # Errors
    /// [`VolumeError`]. When it fails before the link is replaced, the previous release is current, and the new one has
    /// been removed; afterwards only old releases may be left.
    pub async fn commit(self) -> Result<CommittedRelease, VolumeError> {
        match self.make_current().await {
            Ok(()) => Ok(CommittedRelease {
                engine: self.engine,
                lease: self.lease,
            }),
            Err(error) => {
                let _ = self.discard().await;
                Err(error)
            }
        }
    }

    /// Removes what staging made: the release, and the volume when it was made for it and nobody has published there.
    ///
    /// # Errors
    /// When the engine fails; what is left is removed by the next one who has the lease, or by its labels.
    pub async fn discard(self) -> Result<(), VolumeError> {
        let discarded = if self.made_release {
            let release = self.expected.release.clone();
            self.change("remove the staged release", DISCARD_SCRIPT, &[&release])
                .await
        } else {
            Ok(())
        };
        let Self {
            engine,
            volume,
            made_volume,
            lease,
            ..
        } = self;
        lease.release(engine.as_ref()).await?;
        if made_volume {
            removal::remove_unpublished(engine.as_ref(), &volume).await?;
        }
        discarded
    }

    async fn bring(&mut self, manifest: &Manifest, directory: &Path) -> Result<(), VolumeError> {
        self.change("tidy up", TIDY_SCRIPT, &[]).await?;
        if self.differences().await?.is_empty() {
            return Ok(());
        }
        self.made_release = true;
        let archive = archive(
            directory.to_owned(),
            manifest.artifacts().cloned().collect(),
            self.expected.manifest.clone(),
            self.volume.mtime_seconds,
        );
        self.engine.upload(self.lease.container(), VOLUME_PATH, archive).await?;
        let release = self.expected.release.clone();
        self.change("put the release in its place", TAKE_SCRIPT, &[&release])
            .await
    }

    async fn make_current(&self) -> Result<(), VolumeError> {
        self.unaltered(self.differences().await?)?;
        let instance = self.instance().unwrap_or_default();
        let arguments = [&self.expected.release, &self.volume.publisher, instance];
        self.change("make the release current", COMMIT_SCRIPT, &arguments)
            .await?;
        let current = self.sight().current(self.engine.as_ref()).await?;
        self.unaltered(
            self.expected
                .difference_of_current(current.as_deref())
                .into_iter()
                .collect(),
        )
    }

    /// An error when something in the volume is not as it was put there.
    fn unaltered(&self, differences: Vec<Difference>) -> Result<(), VolumeError> {
        if differences.is_empty() {
            return Ok(());
        }
        Err(VolumeError::Altered {
            volume: self.volume.name.clone(),
            differences,
        })
    }

    /// In what the release is not in the volume as it should be.
    async fn differences(&self) -> Result<Vec<Difference>, VolumeError> {
        Ok(self.sight().release(self.engine.as_ref(), &self.expected).await?)
    }

    /// The mark by which a volume is known where the engine keeps it comes with its first commit, so this is asked anew.
    fn sight(&self) -> Sight {
        Sight::direct(&self.facts).unwrap_or_else(|| Sight::Through(self.lease.container().clone()))
    }

    /// Changes something in the volume, in the container that holds the lease: without it, nothing is changed.
    async fn change(&self, action: &'static str, script: &str, arguments: &[&str]) -> Result<(), VolumeError> {
        let mut command = ["sh", "-eu", "-c", script, VOLUME_PATH].map(str::to_owned).to_vec();
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let done = self.engine.exec(self.lease.container(), &command, CHANGE_TIMEOUT).await;
        let done = match done {
            Err(EngineError::NotFound { .. }) => {
                return Err(VolumeError::LeaseLost {
                    volume: self.volume.name.clone(),
                });
            }
            done => done?,
        };
        if done.status == 0 {
            return Ok(());
        }
        Err(VolumeError::Helper {
            action,
            volume: self.volume.name.clone(),
            status: done.status,
            output: done.output,
        })
    }
}

impl ReleaseVolume {
    fn mount(&self, read_only: bool) -> Mount {
        Mount::Volume {
            name: self.name.clone(),
            path: VOLUME_PATH.to_owned(),
            read_only,
        }
    }
}

/// The container of a lease, in which the volume is changed. It has the volume and nothing else. It is root, because the root
/// of a fresh volume is root's, and has no capabilities: it can do in the volume what the volume's owner can, and nothing
/// anywhere else.
fn lease_spec(volume: &ReleaseVolume) -> ContainerSpec {
    ContainerSpec {
        command: vec!["cat".to_owned()],
        limits: HELPER_LIMITS,
        tied: true,
        ..ContainerSpec::unstarted(
            lease::name(&volume.name),
            volume.image.clone(),
            volume.container_labels.clone(),
            vec![volume.mount(false)],
        )
    }
}

/// The bundle as a tar, in `incoming`. All is root's, so that no host can change its own plugins.
fn archive(bundle: PathBuf, files: Vec<ArtifactRecord>, json: Vec<u8>, mtime_seconds: u64) -> ByteStream {
    stream::written_by(move |writer| {
        let mut archive = DeterministicTar::new(writer, Owner { uid: 0, gid: 0 }, mtime_seconds);
        archive.directory("incoming")?;
        for directory in directories_of(files.iter().map(|file| file.name.as_str())) {
            archive.directory(&format!("incoming/{directory}"))?;
        }
        for ArtifactRecord {
            name,
            digest,
            size_bytes,
            executable,
        } in &files
        {
            let content = regular_file::open_itself(&bundle.join(name))?;
            let in_volume = format!("incoming/{name}");
            if !archive.checked_file(&in_volume, *size_bytes, *executable, *digest, content)? {
                return Err(io::Error::other(format!("`{name}` is not what the manifest says")));
            }
        }
        archive.file(
            &format!("incoming/{MANIFEST_FILE}"),
            json.len() as u64,
            false,
            &json[..],
        )?;
        archive.finish()
    })
}

#[cfg(test)]
pub(crate) mod emulator;
#[cfg(test)]
mod tests;
