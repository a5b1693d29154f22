//! What all containers of a run have in common: how they are confined, and the one directory they work in.

use std::collections::BTreeMap;
use std::io;
use std::io::Read as _;
use std::path::PathBuf;

use super::placed::PlacedFile;
use super::{Run, RunError};
use crate::engine::job::{JobError, Upload};
use crate::engine::watch::DiskLimit;
use crate::engine::{ByteStream, ContainerSpec, ImageId, MachineView, Mount, Network, ResourceLimits};
use crate::language::{HOME_ROOT, ROOT};
use crate::name::EnvironmentName;
use crate::owner::Owner;
use crate::place::directories_of;
use crate::regular_file;
use crate::source::DeterministicTar;
use crate::stream;

/// The user and group of everything that runs.
pub(super) const OWNER: Owner = Owner { uid: 1000, gid: 1000 };
/// The directories below [`ROOT`].
pub(super) const DIRECTORIES: &[&str] = &["src", "deps", "host", "out", "home", "target", CACHE_DIRECTORY, "ca"];
/// The one where an environment's cache may be mounted.
pub(super) const CACHE_DIRECTORY: &str = "cache";
/// Runs the script `$2`; when it ends well and what is below `$0` is more than `$1` KiB, the status is that of a file that
/// grew too large (128 + SIGXFSZ). What languages keep between builds does not count.
const MEASURED_SCRIPT: &str = r#"sh -eu -c "$2" || exit
limit=$1
shift "$#"
for entry in "$0"/*; do
  if [ "$entry" != "$0/cache" ]; then set -- "$@" "$entry"; fi
done
total=0
while read -r used _; do total=$((total + used)); done <<END
$(du -sk "$@" 2>/dev/null)
END
if [ "$total" -gt "$limit" ]; then exit 153; fi"#;
/// How large `/tmp` may grow.
pub(super) const TMP_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;
/// How much of a processor there is in one.
const NANO_CPUS: u64 = 1_000_000_000;

impl From<JobError> for RunError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Engine(error) => Self::Engine(error),
            JobError::Cancelled => Self::Interrupted,
        }
    }
}

/// What tells one container from another.
pub(super) struct ContainerPlan<'a> {
    pub(super) environment: &'a EnvironmentName,
    /// `compile`, `fetch`, `smoke`, …
    pub(super) role: &'a str,
    /// What it works on, for its name.
    pub(super) subject: &'a str,
    pub(super) image: &'a ImageId,
    pub(super) command: Vec<String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) working_directory: &'a str,
    pub(super) network: Network,
    /// Beside the one at [`ROOT`].
    pub(super) volumes: Vec<Mount>,
}

impl Run {
    /// A container that can write to [`ROOT`] and to memory alone, is not root, and has limits.
    pub(super) fn container(&self, plan: ContainerPlan<'_>) -> ContainerSpec {
        let labels = self.passing_labels(plan.environment, plan.role);
        let mut mounts = vec![
            Mount::Anonymous {
                path: ROOT.to_owned(),
                labels: labels.clone(),
            },
            Mount::Tmpfs {
                path: "/tmp".to_owned(),
                size_bytes: TMP_LIMIT_BYTES,
            },
        ];
        mounts.extend(plan.volumes);
        ContainerSpec {
            name: format!(
                "lockstep-{}-{}-{}-{}-{}",
                self.project.name, plan.environment, plan.role, plan.subject, self.context.run_id
            ),
            image: plan.image.clone(),
            command: plan.command,
            environment: plan.variables,
            working_directory: plan.working_directory.to_owned(),
            user: format!("{}:{}", OWNER.uid, OWNER.gid),
            labels,
            network: plan.network,
            mounts,
            limits: self.limits(),
            read_only_root: true,
            init: true,
            tied: false,
            capabilities: vec![],
            sees_interfaces: false,
            beside: None,
            machine: MachineView::default(),
        }
    }

    /// How much a fetch or a compile may write, and what watches it.
    pub(super) fn disk_limit(&self, environment: &EnvironmentName, build_image: &ImageId) -> DiskLimit {
        DiskLimit {
            bytes: self.project.limits.disk_bytes,
            image: build_image.clone(),
            labels: self.passing_labels(environment, "watch"),
        }
    }

    /// `sh` with a script, as every command of a unit is run, and a look at what it has left: a watcher comes too late for
    /// what takes no longer than a moment, and what is too much once shall be too much always.
    pub(super) fn measured(&self, script: &str) -> Vec<String> {
        self.measured_below(ROOT, script)
    }

    /// The same, where something else stands for [`ROOT`].
    pub(super) fn measured_below(&self, root: &str, script: &str) -> Vec<String> {
        let limit_kibibytes = (self.project.limits.disk_bytes / 1024).to_string();
        ["sh", "-c", MEASURED_SCRIPT, root, &limit_kibibytes, script]
            .map(ToOwned::to_owned)
            .to_vec()
    }

    fn limits(&self) -> ResourceLimits {
        let limits = &self.project.limits;
        let cpus = limits
            .cpus
            .map_or(self.engine_facts.processors, u64::from)
            .min(self.engine_facts.processors);
        ResourceLimits {
            memory_bytes: limits.memory_bytes,
            nano_cpus: cpus * NANO_CPUS,
            processes: limits.processes,
            file_bytes: Some(limits.disk_bytes),
        }
    }

    /// The directories that every container finds below [`ROOT`], owned by its user.
    pub(super) fn directories(&self) -> Result<Upload, RunError> {
        self.directories_but(None)
    }

    /// All of them but one, on which something is mounted that cannot be written to.
    pub(super) fn directories_but(&self, mounted: Option<&str>) -> Result<Upload, RunError> {
        let others = DIRECTORIES.iter().copied();
        let others = others.filter(|directory| Some(*directory) != mounted);
        self.directories_of(OWNER, &others.collect::<Vec<_>>())
    }

    /// Directories below [`ROOT`].
    pub(super) fn directories_of(&self, owner: Owner, directories: &[&str]) -> Result<Upload, RunError> {
        let mut archive = tar::Builder::new(Vec::new());
        for directory in directories {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_uid(owner.uid.into());
            header.set_gid(owner.gid.into());
            header.set_size(0);
            header.set_mtime(self.project.source_date_epoch);
            archive
                .append_data(&mut header, format!("{directory}/"), io::empty())
                .map_err(RunError::file("write a tar"))?;
        }
        let bytes = archive.into_inner().map_err(RunError::file("write a tar"))?;
        Ok(Upload {
            path: ROOT.to_owned(),
            archive: in_memory(bytes),
        })
    }

    /// Files of this machine for `directory` below [`ROOT`]: path, name there, whether it can be executed.
    pub(super) fn files(&self, directory: &'static str, files: Vec<(PathBuf, String, bool)>) -> Upload {
        self.files_of(OWNER, directory, files)
    }

    /// The same, owned by somebody.
    pub(super) fn files_of(
        &self,
        owner: Owner,
        directory: &'static str,
        files: Vec<(PathBuf, String, bool)>,
    ) -> Upload {
        let mtime = self.project.source_date_epoch;
        let archive = stream::written_by(move |writer| {
            let mut archive = tar::Builder::new(writer);
            for (path, name, executable) in files {
                let file = regular_file::open(&path)?;
                let size_bytes = file.metadata()?.len();
                let mut header = tar::Header::new_gnu();
                header.set_mode(if executable { 0o755 } else { 0o644 });
                header.set_uid(owner.uid.into());
                header.set_gid(owner.gid.into());
                header.set_size(size_bytes);
                header.set_mtime(mtime);
                // A file that grows meanwhile must not become the next file's header.
                archive.append_data(&mut header, format!("{directory}/{name}"), file.take(size_bytes))?;
            }
            archive.finish()
        });
        Upload {
            path: ROOT.to_owned(),
            archive,
        }
    }

    /// Files of this machine for a directory of a container, below `path` there, each at its place and with its own mode.
    pub(super) fn placed_files(
        &self,
        owner: Owner,
        path: &str,
        directory: &'static str,
        files: Vec<PlacedFile>,
    ) -> Upload {
        let mtime = self.project.source_date_epoch;
        let archive = stream::written_by(move |writer| {
            let mut archive = DeterministicTar::new(writer, owner, mtime);
            if directory != "." {
                archive.directory(directory)?;
            }
            for below in directories_of(files.iter().map(|file| file.place.as_str())) {
                archive.directory(&format!("{directory}/{below}"))?;
            }
            for PlacedFile { path, place } in &files {
                let file = regular_file::open(path)?;
                let metadata = file.metadata()?;
                let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0;
                let size_bytes = metadata.len();
                // A file that grows meanwhile must not become the next file's header.
                archive.file(
                    &format!("{directory}/{place}"),
                    size_bytes,
                    executable,
                    file.take(size_bytes),
                )?;
            }
            archive.finish()
        });
        Upload {
            path: path.to_owned(),
            archive,
        }
    }

    /// A symbolic link in a directory of a container.
    pub(super) fn link_to(&self, owner: Owner, path: &str, name: &str, target: &str) -> Result<Upload, RunError> {
        let mut bytes = Vec::new();
        let mut archive = DeterministicTar::new(&mut bytes, owner, self.project.source_date_epoch);
        archive
            .link(name, target)
            .and_then(|()| archive.finish())
            .map_err(RunError::file("write a tar"))?;
        Ok(Upload {
            path: path.to_owned(),
            archive: in_memory(bytes),
        })
    }
}

/// A tar that is in memory already.
pub(super) fn in_memory(bytes: Vec<u8>) -> ByteStream {
    use futures_util::StreamExt as _;
    futures_util::stream::once(async move { Ok(bytes.into()) }).boxed()
}

/// A file of this machine as it is.
pub(super) fn file_stream(path: PathBuf) -> ByteStream {
    stream::written_by(move |writer| io::copy(&mut regular_file::open_itself(&path)?, writer).map(|_| ()))
}

/// `sh` with a script, as every command of a unit is run.
pub(super) fn shell(script: &str) -> Vec<String> {
    ["sh", "-eu", "-c", script].map(ToOwned::to_owned).to_vec()
}

/// The variables of containers that run no unit's command.
pub(super) fn plain_variables() -> BTreeMap<String, String> {
    [("HOME", HOME_ROOT), ("LANG", "C.UTF-8"), ("TZ", "UTC")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}
