//! Fetching: the only step with a network. What it brings is kept as one tar, by the key of what asked for it.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::container::{ContainerPlan, OWNER};
use super::fetched::digest_of_fetched;
use super::resolved::BuildImage;
use super::{Run, RunError};
use crate::digest::Digest;
use crate::engine::job::{Job, Outcome, run_and_collect};
use crate::engine::lines::LINE_LIMIT_BYTES;
use crate::engine::{ByteStream, Network};
use crate::event::{Event, Stage};
use crate::language::{DEPENDENCIES_ROOT, language};
use crate::name::EnvironmentName;
use crate::plan::UnitPlan;
use crate::regular_file;
use crate::source::SourceTree;
use crate::state::STAGING_PREFIX;
use crate::stream;
use crate::temporary;

/// Where the machine's CA bundle is in the container.
const CA_BUNDLE_PATH: &str = "/lockstep/ca/bundle.crt";
/// How many files a unit's dependencies may have.
pub(super) const FETCHED_ENTRIES_LIMIT: usize = 1_000_000;

/// What was fetched for a unit.
pub(super) struct Fetched {
    /// A tar.
    pub(super) path: PathBuf,
    /// Of what counts in it.
    pub(super) digest: Digest,
}

impl Run {
    /// Brings a unit's dependencies, unless they are there; gives what there is then, or none when the unit has none.
    /// What is there and is not `expected`, or cannot be read, is fetched again.
    pub(super) async fn fetch(
        &self,
        environment: &EnvironmentName,
        image: &BuildImage,
        unit: &UnitPlan,
        tree: &SourceTree,
        expected: Option<Digest>,
        stop: &CancellationToken,
    ) -> Result<Option<Fetched>, RunError> {
        let Some((command, key)) = unit.fetch.as_ref().zip(unit.fetch_key(image.identity)) else {
            return Ok(None);
        };
        let target = self.store.fetched(key);
        if fs::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_file())
            && let Ok(known) = fetched(unit, target.clone()).await
            && expected.is_none_or(|expected| expected == known.digest)
        {
            return Ok(Some(known));
        }
        if self.options.offline {
            return Err(RunError::NotFetched {
                unit: unit.name.clone(),
            });
        }
        let step = Self::step(environment, Stage::Fetch, unit.name.as_str());
        self.events.emit(Event::StepStarted { step: step.clone() });
        let mut variables = command.variables.clone();
        variables.extend(self.network.variables(CA_BUNDLE_PATH));
        let spec = self.container(ContainerPlan {
            environment,
            role: "fetch",
            subject: unit.name.as_str(),
            image: &image.id,
            command: self.measured(&command.script),
            variables,
            working_directory: &command.working_directory,
            network: Network::Default,
            volumes: vec![],
        });
        let mut uploads = vec![self.directories()?, self.sources(tree)];
        if let Some(bundle) = &self.network.ca_bundle {
            uploads.push(self.files("ca", vec![(bundle.clone(), "bundle.crt".to_owned(), false)]));
        }
        let job = Job {
            spec: &spec,
            uploads,
            limit: self.project.limits.timeout,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: Some(self.disk_limit(environment, &image.id)),
        };
        let log = self.log(environment, &format!("{}-fetch", unit.name))?;
        let collect = async |container, outcome: Outcome| {
            self.check_outcome("fetch the dependencies of", environment, unit, outcome, &log)?;
            let archive = self.engine.download(&container, DEPENDENCIES_ROOT).await?;
            self.keep_fetched(unit, archive, &target).await
        };
        let sink = |_, line: &str| self.output(&step, &log, line);
        let result = run_and_collect(self.engine.as_ref(), job, &sink, stop, collect).await;
        self.emit_end(step, &result, |()| "fetched".to_owned());
        result?;
        Ok(Some(fetched(unit, target).await?))
    }

    /// Keeps what was fetched, if it is nothing but plain files and directories where they belong.
    async fn keep_fetched(&self, unit: &UnitPlan, archive: ByteStream, target: &Path) -> Result<(), RunError> {
        let directory = target.parent().unwrap_or(target).to_owned();
        regular_file::make_directory(&directory).map_err(RunError::file_at("make the directory", &directory))?;
        let file = temporary::file_in(self.store.root(), STAGING_PREFIX)
            .map_err(RunError::file_at("make a file in", self.store.root()))?;
        let keep = language(unit.unit.language).dependency_paths;
        let keep: &[&str] = if unit.unit.fetch.is_some() { &[""] } else { keep };
        let mtime = self.project.source_date_epoch;
        // Files with holes are larger than what they take there; here they would be written in full.
        let limit_bytes = self.project.limits.disk_bytes;
        let failed = |cause: io::Error| RunError::Dependencies {
            unit: unit.name.clone(),
            cause,
            directory: directory.clone(),
        };
        let file = stream::read_by(archive, move |reader| {
            repack(reader, &file, keep, mtime, limit_bytes).map(|()| file)
        })
        .await;
        let file = file.map_err(failed)?.map_err(failed)?;
        file.persist(target).map(|_| ()).map_err(|error| failed(error.error))
    }
}

/// What is kept of a fetch, as it is now: it may lie there for long.
async fn fetched(unit: &UnitPlan, path: PathBuf) -> Result<Fetched, RunError> {
    let endings = language(unit.unit.language).dependency_endings;
    // A fetch command of the unit's own may bring anything.
    let endings = if unit.unit.fetch.is_some() { &[] } else { endings };
    let tar = path.clone();
    let digest = tokio::task::spawn_blocking(move || {
        let file = regular_file::open_itself(&tar)?;
        digest_of_fetched(io::BufReader::new(file), endings)
    });
    let digest = digest.await.map_err(io::Error::other).and_then(|digest| digest);
    let digest = digest.map_err(RunError::file_at("read what was fetched in", &path))?;
    Ok(Fetched { path, digest })
}

/// Copies the files below `deps/<one of keep>` of a tar that nobody trusts, with fixed owners and times.
pub(super) fn repack(
    reader: &mut dyn Read,
    target: impl Write,
    keep: &[&str],
    mtime: u64,
    limit_bytes: u64,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    let mut kept = tar::Builder::new(io::BufWriter::new(target));
    let mut left_bytes = limit_bytes;
    for (count, entry) in archive.entries()?.enumerate() {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let kind = entry.header().entry_type();
        // The directories above what is kept too, or they would be made by the engine and belong to root.
        let inside = path.strip_prefix("deps").is_ok_and(|path| {
            keep.iter()
                .any(|keep| path.starts_with(keep) || kind.is_dir() && Path::new(keep).starts_with(path))
        });
        if !inside {
            continue;
        }
        if count > FETCHED_ENTRIES_LIMIT {
            return Err(io::Error::other(format!("more than {FETCHED_ENTRIES_LIMIT} files")));
        }
        if !is_plain || !(kind.is_file() || kind.is_dir()) {
            return Err(io::Error::other(format!(
                "`{}` is no plain file or directory",
                path.display()
            )));
        }
        let size = if kind.is_file() { entry.size() } else { 0 };
        left_bytes = left_bytes
            .checked_sub(size)
            .ok_or_else(|| io::Error::other(format!("more than {limit_bytes} bytes (`limits: disk:`)")))?;
        let executable = entry.header().mode()? & 0o100 != 0;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(if kind.is_dir() {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_mode(if kind.is_dir() || executable { 0o755 } else { 0o644 });
        header.set_uid(OWNER.uid.into());
        header.set_gid(OWNER.gid.into());
        header.set_size(size);
        header.set_mtime(mtime);
        kept.append_data(&mut header, &path, entry.take(size))?;
    }
    kept.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            header.set_uid(7);
            // set_path would refuse what a hostile archive contains.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            if kind.is_symlink() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn names(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn only_what_is_worth_keeping_is_kept() {
        let file = tar::EntryType::Regular;
        let archive = packed(&[
            ("deps/cargo/registry/cache/a.crate", file, b"a"),
            ("deps/cargo/registry/src/a.rs", file, b"b"),
        ]);
        let mut kept = Vec::new();
        repack(&mut &archive[..], &mut kept, &["cargo/registry/cache"], 7, 1 << 20).unwrap();
        assert_eq!(names(&kept), ["deps/cargo/registry/cache/a.crate"]);
    }

    #[test]
    fn links_and_ways_out_are_refused() {
        let mut kept = Vec::new();
        for (path, kind) in [
            ("deps/x", tar::EntryType::Symlink),
            ("deps/../x", tar::EntryType::Regular),
        ] {
            let archive = packed(&[(path, kind, b"")]);
            let error = repack(&mut &archive[..], &mut kept, &[""], 7, 1 << 20).unwrap_err();
            assert!(error.to_string().contains("no plain file"), "{error}");
        }
    }
}
