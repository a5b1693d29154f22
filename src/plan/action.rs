//! One unit's steps, and the keys that say when a result can be used again.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::{Unit, UnitRole};
use crate::digest::{Digest, Hasher};
use crate::language::{self, RequiredToolchain, SOURCE_ROOT};
use crate::name::UnitName;

use super::PlannedFile;

/// Part of every key: to be changed when the same inputs are run in another way, so that old results are not used.
const KEY_VERSION: &[u8] = b"lockstep action 1";

/// What was found in a unit's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSource {
    /// The digest of all of them.
    pub digest: Digest,
    /// Those that decide what is fetched: content by project-relative path.
    pub dependency_files: BTreeMap<String, String>,
    /// What is shipped of the project beside what it yields.
    pub files: Vec<PlannedFile>,
}

/// A script to be run in a build image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// For `sh -eu -c`.
    pub script: String,
    /// All variables that are set on top of the image's own.
    pub variables: BTreeMap<String, String>,
    /// Where it starts.
    pub working_directory: String,
}

/// The steps of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitPlan {
    /// The unit's name.
    pub name: UnitName,
    /// The unit itself.
    pub unit: Unit,
    /// The digest of its sources.
    pub source: Digest,
    /// What is shipped of the project beside what it yields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PlannedFile>,
    /// The compilers that its files ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<RequiredToolchain>,
    /// Brings its dependencies in; none when there are none. The only command with a network.
    pub fetch: Option<Command>,
    /// What decides what is fetched: the digest of the files that name dependencies.
    pub fetch_inputs: Option<Digest>,
    /// Compiles it.
    pub compile: Command,
    /// What is then collected when that is more than its own artifacts: those of all units of its build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<String>,
}

impl UnitPlan {
    pub(super) fn new(unit: &Unit, source: &UnitSource, source_date_epoch: u64) -> Self {
        let variables = language::variables(unit, source_date_epoch);
        let working_directory = match unit.source.as_str() {
            "." => SOURCE_ROOT.to_owned(),
            directory => format!("{SOURCE_ROOT}/{directory}"),
        };
        let command = |script: String| Command {
            script,
            variables: variables.clone(),
            working_directory: working_directory.clone(),
        };
        let fetch = language::fetch_script(unit, &source.dependency_files).map(command);
        // A fetch command of the unit's own may read anything.
        let fetch_inputs = fetch.as_ref().map(|_| match unit.fetch {
            Some(_) => source.digest,
            None => digest_of_files(&source.dependency_files),
        });
        let compile = command(language::compile_script(unit));
        Self {
            name: unit.name.clone(),
            unit: unit.clone(),
            source: source.digest,
            files: source.files.clone(),
            required: language::required_toolchains(unit, &source.dependency_files),
            fetch,
            fetch_inputs,
            compile,
            collected: vec![],
        }
    }

    /// A unit that takes its artifacts from `build`: the same steps, run once for all of them.
    pub(super) fn taken_from(build: &Self, unit: &Unit, files: &[PlannedFile]) -> Self {
        Self {
            name: unit.name.clone(),
            unit: unit.clone(),
            files: files.to_vec(),
            collected: build.unit.artifacts.clone(),
            ..build.clone()
        }
    }

    /// The key of what fetch yields in a build image.
    #[must_use]
    pub fn fetch_key(&self, image: Digest) -> Option<Digest> {
        let (command, inputs) = self.fetch.as_ref().zip(self.fetch_inputs)?;
        Some(key(b"fetch", image, command, &[inputs]))
    }

    /// The key of what compile yields in a build image: everything that can change a bit of it.
    #[must_use]
    pub fn action_key(&self, image: Digest) -> Digest {
        let mut inputs = vec![self.source];
        inputs.extend(self.fetch_key(image));
        let collected = match self.collected.is_empty() {
            true => &self.unit.artifacts,
            false => &self.collected,
        };
        let names = collected.iter().map(String::as_bytes);
        let mut artifacts = Hasher::new();
        names.for_each(|name| artifacts.field(name));
        inputs.push(artifacts.finish());
        key(b"compile", image, &self.compile, &inputs)
    }

    /// Whether it is the host.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.unit.role == UnitRole::Host
    }
}

fn digest_of_files(files: &BTreeMap<String, String>) -> Digest {
    let mut hasher = Hasher::new();
    for (path, text) in files {
        hasher.field(path.as_bytes());
        hasher.field(text.as_bytes());
    }
    hasher.finish()
}

fn key(kind: &[u8], image: Digest, command: &Command, inputs: &[Digest]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(KEY_VERSION);
    hasher.field(kind);
    hasher.field(image.to_string().as_bytes());
    hasher.field(command.script.as_bytes());
    hasher.field(command.working_directory.as_bytes());
    for (name, value) in &command.variables {
        hasher.field(name.as_bytes());
        hasher.field(value.as_bytes());
    }
    // A digest has a fixed length, so the list needs no count.
    for input in inputs {
        hasher.field(input.to_string().as_bytes());
    }
    hasher.finish()
}
