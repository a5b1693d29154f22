//! What runs keep for later runs, in the project's state directory or in the user's cache. None of it is needed; all of
//! it can be removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::bundle::{Artifact, ArtifactRecord, NetworkRecord};
use crate::digest::Digest;
use crate::name::EnvironmentName;
use crate::regular_file;
use crate::state::STAGING_PREFIX;
use crate::temporary;

/// The largest record that is read.
const RECORD_SIZE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// A directory as a store: a project's state, or the user's cache for what all projects share.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// What an environment's last good build published, so that the next one can see that nothing is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The digest of the manifest in `dist/<environment>`.
    pub manifest: Digest,
    /// The digest of all that the build was asked for: the plan and the images.
    pub request: Digest,
    /// The shared volume's own mark, which another volume of that name would not have.
    pub volume_instance: String,
    /// The matched image's ID.
    pub image: String,
    /// The digests of the files beside the bundle, by their names.
    pub metadata: BTreeMap<String, Digest>,
    /// The keys of the compiled units, and of the loader, in the store.
    pub actions: BTreeSet<Digest>,
    /// The keys of what they fetched.
    pub fetches: BTreeSet<Digest>,
}

/// What is known of a compile beside its artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileRecord {
    /// The digest of what had been fetched for it.
    pub dependencies: Option<Digest>,
    /// That its container had no network.
    pub network: NetworkRecord,
}

impl Store {
    /// The store in a project's state directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            root: directory.to_owned(),
        }
    }

    /// The state directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the full output of a step is kept.
    #[must_use]
    pub fn log(&self, environment: &EnvironmentName, step: &str) -> PathBuf {
        self.root.join("logs").join(format!("{environment}-{step}.log"))
    }

    /// Where what was fetched under `key` is, or would be.
    #[must_use]
    pub fn fetched(&self, key: Digest) -> PathBuf {
        self.root.join("fetched").join(format!("{}.tar", key.hex()))
    }

    /// A host of which only the file was taken from its image, if it is there and unharmed.
    #[must_use]
    pub fn kept_host(&self, digest: Digest) -> Option<PathBuf> {
        let path = self.hosts().join(digest.hex());
        let file = regular_file::open_itself(&path).ok()?;
        (Digest::of_reader(file).ok()? == digest).then_some(path)
    }

    /// An empty file for one.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn new_host(&self) -> io::Result<NamedTempFile> {
        regular_file::make_directory(&self.hosts())?;
        temporary::file_in(&self.root, STAGING_PREFIX)
    }

    /// Keeps one, and says where.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_host(&self, digest: Digest, file: NamedTempFile) -> io::Result<PathBuf> {
        let path = self.hosts().join(digest.hex());
        file.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }

    fn hosts(&self) -> PathBuf {
        self.root.join("hosts")
    }

    /// The directory of what was compiled under `key`, there or not.
    #[must_use]
    pub fn compiled(&self, key: Digest) -> PathBuf {
        self.root.join("compiled").join(key.hex())
    }

    /// What was compiled under `key`, if all of it is there and unharmed.
    #[must_use]
    pub fn compiled_artifacts(&self, key: Digest, names: &[String]) -> Option<Vec<Artifact>> {
        let directory = self.compiled(key);
        regular_file::check_directory(directory.parent()?).ok()?;
        regular_file::check_directory(&directory).ok()?;
        let list = regular_file::read_itself(&directory.join(ARTIFACT_LIST), RECORD_SIZE_LIMIT_BYTES).ok()?;
        let list: Vec<ArtifactRecord> = serde_json::from_slice(&list).ok()?;
        let stored: BTreeMap<&str, &ArtifactRecord> =
            list.iter().map(|artifact| (artifact.name.as_str(), artifact)).collect();
        names
            .iter()
            .map(|name| {
                let artifact = stored.get(name.as_str())?;
                let file = regular_file::open_itself(&directory.join(name)).ok()?;
                // The size first: a file with a hole of terabytes is not read for its digest.
                let intact = file.metadata().ok()?.len() == artifact.size_bytes
                    && Digest::of_reader(file.take(artifact.size_bytes)).ok()? == artifact.digest;
                intact.then(|| (*artifact).clone().into())
            })
            .collect()
    }

    /// What else is known of that; none of what an older lockstep compiled, which knew nothing of it.
    #[must_use]
    pub fn compile_record(&self, key: Digest) -> Option<CompileRecord> {
        let path = self.compiled(key).join(COMPILE_RECORD);
        let record = regular_file::read_itself(&path, RECORD_SIZE_LIMIT_BYTES).ok()?;
        serde_json::from_slice(&record).ok()
    }

    /// Keeps the files of `directory` as what was compiled under `key`. `directory` is on the same file system.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_compiled(
        &self,
        key: Digest,
        directory: &Path,
        artifacts: &[Artifact],
        record: &CompileRecord,
    ) -> io::Result<()> {
        let list: Vec<ArtifactRecord> = artifacts.iter().map(ArtifactRecord::from).collect();
        fs::write(directory.join(ARTIFACT_LIST), serde_json::to_vec_pretty(&list)?)?;
        fs::write(directory.join(COMPILE_RECORD), serde_json::to_vec_pretty(record)?)?;
        let target = self.compiled(key);
        if let Some(parent) = target.parent() {
            regular_file::make_directory(parent)?;
        }
        // What is there under this key was found incomplete, or it would have been used.
        temporary::remove(&target)?;
        match fs::rename(directory, &target) {
            // Another run kept the same at the same moment; one is as good as the other.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other,
        }
    }

    /// Forgets what was compiled under `key`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn forget_compiled(&self, key: Digest) -> io::Result<()> {
        temporary::remove(&self.compiled(key))
    }

    /// The record of an environment's last good build; none when there is none that can be read.
    #[must_use]
    pub fn record(&self, environment: &EnvironmentName) -> Option<Record> {
        let record = regular_file::read_itself(&self.record_path(environment), RECORD_SIZE_LIMIT_BYTES).ok()?;
        serde_json::from_slice(&record).ok()
    }

    /// Keeps the record of a good build, whole or not at all.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_record(&self, environment: &EnvironmentName, record: &Record) -> io::Result<()> {
        let path = self.record_path(environment);
        regular_file::make_directory(path.parent().unwrap_or(&self.root))?;
        let file = temporary::file_in(&self.root, STAGING_PREFIX)?;
        serde_json::to_writer_pretty(&file, record)?;
        file.persist(path).map(|_| ()).map_err(|error| error.error)
    }

    /// Removes what no record of any environment refers to, and all hosts but those with the digests `hosts`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn prune(&self, environments: &BTreeSet<EnvironmentName>, hosts: &BTreeSet<Digest>) -> io::Result<()> {
        let records: Vec<Record> = environments
            .iter()
            .filter_map(|environment| self.record(environment))
            .collect();
        let actions: BTreeSet<String> = records
            .iter()
            .flat_map(|record| &record.actions)
            .map(Digest::hex)
            .collect();
        let fetches: BTreeSet<String> = records
            .iter()
            .flat_map(|record| &record.fetches)
            .map(|key| format!("{}.tar", key.hex()))
            .collect();
        retain(&self.hosts(), &hosts.iter().map(Digest::hex).collect())?;
        retain(&self.root.join("compiled"), &actions)?;
        retain(&self.root.join("fetched"), &fetches)
    }

    fn record_path(&self, environment: &EnvironmentName) -> PathBuf {
        self.root.join("environments").join(format!("{environment}.json"))
    }
}

/// The file in a directory of compiled artifacts that lists them.
const ARTIFACT_LIST: &str = ".artifacts.json";
/// The file there that says what else is known of the compile.
const COMPILE_RECORD: &str = ".compile.json";

/// Removes everything in `directory` that is not named in `keep`.
fn retain(directory: &Path, keep: &BTreeSet<String>) -> io::Result<()> {
    match regular_file::check_directory(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        checked => checked?,
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
            continue;
        }
        temporary::remove(&entry.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(store: &Store, key: Digest, content: &[u8]) -> Vec<Artifact> {
        let staging = store.root().join("staging");
        fs::create_dir_all(&staging).unwrap();
        fs::write(staging.join("x.so"), content).unwrap();
        let size_bytes = content.len() as u64;
        let artifacts = vec![Artifact {
            name: "x.so".to_owned(),
            digest: Digest::of(content),
            size_bytes,
            executable: true,
        }];
        let record = CompileRecord {
            dependencies: Some(Digest::of(b"dependencies")),
            network: NetworkRecord {
                interfaces: vec!["lo".to_owned()],
                routes: vec![],
                lookup: "failed".to_owned(),
                connection: "failed".to_owned(),
            },
        };
        store.keep_compiled(key, &staging, &artifacts, &record).unwrap();
        assert_eq!(store.compile_record(key), Some(record));
        artifacts
    }

    #[test]
    fn what_was_compiled_is_found_again_unless_it_was_harmed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        let (key, names) = (Digest::of(b"key"), ["x.so".to_owned()]);
        let artifacts = compiled(&store, key, b"elf");
        assert_eq!(store.compiled_artifacts(key, &names), Some(artifacts));
        assert_eq!(store.compiled_artifacts(Digest::of(b"other"), &names), None);
        assert_eq!(store.compiled_artifacts(key, &["y.so".to_owned()]), None);
        fs::write(store.compiled(key).join("x.so"), b"ELF").unwrap();
        assert_eq!(store.compiled_artifacts(key, &names), None);
        compiled(&store, key, b"elf");
        assert!(store.compiled_artifacts(key, &names).is_some());
    }

    #[test]
    fn only_what_no_record_names_is_pruned() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        let environment = EnvironmentName::new("glibc").unwrap();
        let (kept, gone) = (Digest::of(b"kept"), Digest::of(b"gone"));
        compiled(&store, kept, b"1");
        compiled(&store, gone, b"2");
        let record = Record {
            manifest: kept,
            request: kept,
            volume_instance: String::new(),
            image: String::new(),
            metadata: BTreeMap::new(),
            actions: BTreeSet::from([kept]),
            fetches: BTreeSet::new(),
        };
        store.keep_record(&environment, &record).unwrap();
        assert_eq!(store.record(&environment), Some(record));
        let hosts = [b"host 1", b"host 2"].map(|content| {
            let mut file = store.new_host().unwrap();
            io::Write::write_all(&mut file, content).unwrap();
            store.keep_host(Digest::of(content), file).unwrap()
        });
        let is_kept = |content: &[u8]| store.kept_host(Digest::of(content)).is_some();
        assert!(is_kept(b"host 1") && is_kept(b"host 2") && !is_kept(b"host 3"));
        let named = BTreeSet::from([Digest::of(b"host 1")]);
        store.prune(&BTreeSet::from([environment]), &named).unwrap();
        assert!(store.compiled(kept).exists() && !store.compiled(gone).exists());
        assert!(is_kept(b"host 1") && !hosts[1].exists());
        fs::write(&hosts[0], b"harmed").unwrap();
        assert!(!is_kept(b"host 1"));
    }
}
