//! `manifest.json`: what a bundle is made of, and out of what. There is no time, machine or user in it: the same inputs
//! give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};

use super::{Artifact, Difference};
use crate::config::{
    Abi, Argument, BindingTime, Contract, LanguageName, Loader, OpenedBy, Project, Returns, ScopeFlag, Smoke, StepKind,
    UnitRole,
};
use crate::digest::Digest;
use crate::lock;
use crate::name::{EnvironmentName, ProjectName, UnitName};
use crate::place::{Place, directories_of};

/// The manifest's name in the bundle.
pub const MANIFEST_FILE: &str = "manifest.json";
/// How the host's role is spelled.
const HOST_ROLE: &str = "host";
/// Where a bundle is in what holds it: in its own directory, a shared volume, a matched image.
pub const BUNDLE_DIRECTORIES: [&str; 3] = ["", "current/", "bundle/current/"];
/// Where bundles are that somebody put into an image, each in a directory of its project's name.
pub const INSTALLED_DIRECTORY: &str = "opt";
/// The version of the format that this module writes and reads.
pub const MANIFEST_SCHEMA_VERSION: u32 = 1;
/// How large a manifest may be that is read.
pub const MANIFEST_LIMIT_BYTES: u64 = 16 << 20;

/// A bundle's manifest, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The version of lockstep that made the bundle.
    pub lockstep: String,
    /// The project's name.
    pub project: ProjectName,
    /// The environment's name.
    pub environment: EnvironmentName,
    /// Seconds: the time that everything in the bundle claims.
    pub source_date_epoch: u64,
    /// The image in which all units were compiled.
    pub build_image: ImageRecord,
    /// The image in which they run.
    pub runtime_image: ImageRecord,
    /// The toolchains of the build image by name, for example `rustc` and `1.85.1`.
    pub toolchains: BTreeMap<String, String>,
    /// The host, where it is not compiled; else it is one of the units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRecord>,
    /// What the host expects of its plugins; none where each of them names a contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractRecord>,
    /// What it expects of those that name one, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contracts: BTreeMap<String, ContractRecord>,
    /// The host first, then the plugins in the order in which they are loaded.
    pub units: Vec<UnitRecord>,
    /// What the artifacts had to pass before the bundle was published; none when the project asks for nothing.
    pub smoke: Option<SmokeRecord>,
}

/// A host that is not compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRecord {
    /// Where it is: absolute in an image, else relative to the project's directory.
    pub path: String,
    /// The ID of the image that it is in; none for one of the runtime image, and for the project's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of its content.
    pub digest: Digest,
    /// The package that brought it and its version, if the image's own lists know it.
    pub package: Option<String>,
    /// What the bundle has of it; none where it is in the runtime image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<ArtifactRecord>,
}

impl From<&lock::Host> for HostRecord {
    fn from(host: &lock::Host) -> Self {
        let lock::Host {
            path,
            digest,
            package,
            image,
        } = host.clone();
        Self {
            path,
            image: image.map(|image| image.id),
            digest,
            package,
            file: None,
        }
    }
}

/// An image by what is the same on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecord {
    /// Its config's digest.
    pub config: Digest,
    /// The digests of its layers' uncompressed tars, lowest first.
    pub layers: Vec<Digest>,
}

/// One unit and what it yielded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRecord {
    /// Its name.
    pub name: UnitName,
    /// `host` or `plugin`.
    pub role: String,
    /// `rust`, `go`, `c` or `cpp`.
    pub language: String,
    /// The config's digest of the image in which it was compiled.
    pub image: Digest,
    /// The digest of all that its compilation depends on.
    pub action: Digest,
    /// The digest of its sources.
    pub source: Digest,
    /// The digest of what its fetch brought; none when it fetches nothing.
    pub dependencies: Option<Digest>,
    /// What its container showed before anything was compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkRecord>,
    /// The contract that it is held to, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// What it yielded, by name.
    pub artifacts: Vec<ArtifactRecord>,
    /// What else of the project is shipped with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ArtifactRecord>,
}

/// What a compile's container had of a network: nothing, as it showed itself before the unit's command began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecord {
    /// The interfaces that were up: the loopback alone.
    pub interfaces: Vec<String>,
    /// Through which of them something could leave: none.
    pub routes: Vec<String>,
    /// What became of asking for a name: `failed`, or `untried` where the image has nothing that asks.
    pub lookup: String,
    /// What became of sending to an address: `failed`, or `untried` where the image has nothing that sends.
    pub connection: String,
}

/// One file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRecord {
    /// Its path in the bundle.
    pub name: String,
    /// Of its content.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it may be executed (mode 0755, else 0644).
    pub executable: bool,
}

impl ArtifactRecord {
    /// In what a regular file is not this one, by the first thing that differs. `open` is called when its content has to
    /// tell.
    pub(super) fn difference<R: io::Read>(
        &self,
        size_bytes: u64,
        mode: u32,
        open: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<Option<Difference>> {
        if size_bytes != self.size_bytes {
            return Ok(Some(self.changed("size")));
        }
        if (mode & 0o100 != 0) != self.executable {
            return Ok(Some(self.changed("mode")));
        }
        // One byte more than there should be, so that a file that grows is not taken for whole.
        let content = open()?.take(self.size_bytes.saturating_add(1));
        let is_same = Digest::of_reader(content)? == self.digest;
        Ok((!is_same).then(|| self.changed("content")))
    }

    /// That it is there, and another in this.
    pub(super) fn changed(&self, what: &'static str) -> Difference {
        Difference::Changed {
            name: self.name.clone(),
            what,
        }
    }
}

/// What the host expects of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractRecord {
    /// `dlopen` or `go`.
    pub loader: String,
    /// `c`, `cxx`, `rust` or `go`.
    pub abi: String,
    /// What every plugin exports.
    pub symbols: Vec<String>,
    /// The types of those of them of which the contract says one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// What is called on every plugin, in order.
    pub calls: Vec<CallRecord>,
    /// `now` or `lazy`, if the contract says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
    /// `local` or `global`, if the contract says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `host`, `loader` or `nobody`, if the contract says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<String>,
    /// The directory of the bundle in which such plugins lie, if the contract says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
}

/// One call on a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRecord {
    /// The function.
    pub symbol: String,
    /// Its arguments.
    pub arguments: Vec<ArgumentRecord>,
    /// `string`, `integer` or `none`.
    pub returns: String,
}

/// One argument of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArgumentRecord {
    /// A text.
    String(String),
    /// A number.
    Integer(i64),
}

/// What the artifacts had to pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmokeRecord {
    /// How many plugins were loaded.
    pub plugins: usize,
    /// How many calls were made on each, or on those of the contract that has the most.
    pub calls: usize,
    /// What the host did: `command` or `server`; none when it was not started.
    pub host: Option<String>,
}

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no JSON of this shape.
    #[error("failed to read the manifest: {cause}")]
    Format {
        /// Where and why.
        cause: serde_json::Error,
    },
    /// It is of another version.
    #[error("the manifest has schema version {found}, and this lockstep reads {MANIFEST_SCHEMA_VERSION}")]
    Version {
        /// What it has.
        found: u32,
    },
    /// It names files that cannot be in a bundle.
    #[error("the manifest names `{name}`, which {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Only what every version has: a newer manifest is told apart from a broken one.
#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}

impl Manifest {
    /// The manifest as it is written: JSON with indentation and a line end.
    ///
    /// # Errors
    /// Never for values of this type; JSON's writer has no other signature.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|cause| ManifestError::Format { cause })?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads what [`Manifest::to_json`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`ManifestError`]: another version, an unknown or missing key, a wrong type, a name that leaves the bundle or
    /// comes twice.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        let format = |cause| ManifestError::Format { cause };
        let Version { schema_version } = serde_json::from_slice(json).map_err(format)?;
        if schema_version != MANIFEST_SCHEMA_VERSION {
            return Err(ManifestError::Version { found: schema_version });
        }
        let manifest: Self = serde_json::from_slice(json).map_err(format)?;
        let names: Vec<&str> = manifest.artifacts().map(|artifact| artifact.name.as_str()).collect();
        let mut seen = BTreeSet::from([MANIFEST_FILE]);
        seen.extend(directories_of(names.iter().copied()));
        for name in names {
            let refuse = |why| {
                Err(ManifestError::Name {
                    name: name.escape_debug().to_string(),
                    why,
                })
            };
            if let Err(invalid) = Place::new(name) {
                return refuse(invalid.why);
            }
            if !seen.insert(name) {
                return refuse("is there twice");
            }
        }
        Ok(manifest)
    }

    /// The digest of the manifest as it is written, and with it of the whole bundle.
    ///
    /// # Errors
    /// As [`Manifest::to_json`].
    pub fn digest(&self) -> Result<Digest, ManifestError> {
        Ok(Digest::of(&self.to_json()?))
    }

    /// All files of the bundle except for the manifest.
    pub fn artifacts(&self) -> impl Iterator<Item = &ArtifactRecord> {
        let host = self.host.iter().filter_map(|host| host.file.as_ref());
        host.chain(self.units.iter().flat_map(UnitRecord::shipped))
    }

    /// The directories in the bundle, each before those in it.
    #[must_use]
    pub fn directories(&self) -> BTreeSet<&str> {
        directories_of(self.artifacts().map(|artifact| artifact.name.as_str()))
    }
}

impl From<ArtifactRecord> for Artifact {
    fn from(record: ArtifactRecord) -> Self {
        let ArtifactRecord {
            name,
            digest,
            size_bytes,
            executable,
        } = record;
        Self {
            name,
            digest,
            size_bytes,
            executable,
        }
    }
}

impl From<&Artifact> for ArtifactRecord {
    fn from(artifact: &Artifact) -> Self {
        let Artifact {
            name,
            digest,
            size_bytes,
            executable,
        } = artifact.clone();
        Self {
            name,
            digest,
            size_bytes,
            executable,
        }
    }
}

impl From<&Contract> for ContractRecord {
    fn from(contract: &Contract) -> Self {
        let loader = match contract.loader {
            Loader::Dlopen => "dlopen",
            Loader::Go => "go",
        };
        let abi = match contract.abi {
            Abi::C => "c",
            Abi::Cxx => "cxx",
            Abi::Rust => "rust",
            Abi::Go => "go",
        };
        let calls = contract.calls.iter().map(|call| CallRecord {
            symbol: call.symbol.clone(),
            arguments: call.args.iter().map(ArgumentRecord::from).collect(),
            returns: match call.returns {
                Returns::String => "string",
                Returns::Integer => "integer",
                Returns::None => "none",
            }
            .to_owned(),
        });
        Self {
            loader: loader.to_owned(),
            abi: abi.to_owned(),
            symbols: contract.symbols.clone(),
            types: contract.types.clone(),
            calls: calls.collect(),
            flags: contract.flags.map(|flags| {
                match flags {
                    BindingTime::Now => "now",
                    BindingTime::Lazy => "lazy",
                }
                .to_owned()
            }),
            scope: contract.scope.map(|scope| {
                match scope {
                    ScopeFlag::Local => "local",
                    ScopeFlag::Global => "global",
                }
                .to_owned()
            }),
            opened_by: contract.opened_by.map(|opened_by| {
                match opened_by {
                    OpenedBy::Host => "host",
                    OpenedBy::Loader => "loader",
                    OpenedBy::Nobody => "nobody",
                }
                .to_owned()
            }),
            into: contract.into.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&Argument> for ArgumentRecord {
    fn from(argument: &Argument) -> Self {
        match argument {
            Argument::String(text) => Self::String(text.clone()),
            Argument::Integer(number) => Self::Integer(*number),
        }
    }
}

impl From<&Project> for SmokeRecord {
    fn from(project: &Project) -> Self {
        let started = project.smoke.as_ref().and_then(Smoke::started);
        let host = started.map(|step| match step.kind {
            StepKind::Setup | StepKind::Command(_) => "command".to_owned(),
            StepKind::Server(_) => "server".to_owned(),
        });
        let calls = project.contracts.iter().map(|named| named.contract.calls.len());
        Self {
            plugins: project.plugins.len(),
            calls: calls.max().unwrap_or(0),
            host,
        }
    }
}

impl UnitRecord {
    /// What it yielded, and what else is shipped with it.
    pub fn shipped(&self) -> impl Iterator<Item = &ArtifactRecord> {
        self.artifacts.iter().chain(&self.files)
    }

    /// Whether it is the host, and no plugin.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.role == HOST_ROLE
    }

    /// `role` and `language` as the manifest spells them.
    #[must_use]
    pub fn words(role: UnitRole, language: LanguageName) -> (String, String) {
        let role = match role {
            UnitRole::Host => HOST_ROLE,
            UnitRole::Plugin => "plugin",
        };
        let language = match language {
            LanguageName::Rust => "rust",
            LanguageName::Go => "go",
            LanguageName::C => "c",
            LanguageName::Cpp => "cpp",
        };
        (role.to_owned(), language.to_owned())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A manifest of a host and one plugin per given artifact.
    pub(in crate::bundle) fn manifest_of(artifacts: &[Artifact]) -> Manifest {
        let image = ImageRecord {
            config: Digest::of(b"config"),
            layers: vec![Digest::of(b"layer")],
        };
        let unit = |(index, artifact): (usize, &Artifact)| UnitRecord {
            name: UnitName::new(format!("unit{index}")).unwrap(),
            role: if index == 0 { "host" } else { "plugin" }.to_owned(),
            language: "c".to_owned(),
            image: image.config,
            action: Digest::of(b"action"),
            source: Digest::of(b"source"),
            dependencies: None,
            network: None,
            contract: None,
            artifacts: vec![artifact.into()],
            files: vec![],
        };
        Manifest {
            schema_version: MANIFEST_SCHEMA_VERSION,
            lockstep: "0.1.0".to_owned(),
            project: ProjectName::new("greeter").unwrap(),
            environment: EnvironmentName::new("glibc").unwrap(),
            source_date_epoch: 1_735_689_600,
            runtime_image: image.clone(),
            toolchains: BTreeMap::from([("gcc".to_owned(), "14.2.0".to_owned())]),
            host: None,
            contract: Some(ContractRecord {
                loader: "dlopen".to_owned(),
                abi: "c".to_owned(),
                symbols: vec!["plugin_name".to_owned()],
                types: BTreeMap::new(),
                calls: vec![CallRecord {
                    symbol: "plugin_greet".to_owned(),
                    arguments: vec![ArgumentRecord::String("World".to_owned()), ArgumentRecord::Integer(1)],
                    returns: "string".to_owned(),
                }],
                flags: None,
                scope: None,
                opened_by: None,
                into: None,
            }),
            contracts: BTreeMap::new(),
            units: artifacts.iter().enumerate().map(unit).collect(),
            smoke: Some(SmokeRecord {
                plugins: 1,
                calls: 1,
                host: Some("command".to_owned()),
            }),
            build_image: image.clone(),
        }
    }

    pub(in crate::bundle) fn artifact(name: &str, content: &[u8]) -> Artifact {
        let (digest, size_bytes) = (Digest::of(content), content.len() as u64);
        Artifact {
            name: name.to_owned(),
            digest,
            size_bytes,
            executable: false,
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_its_bytes_are_pinned() {
        let manifest = manifest_of(&[artifact("greeter", b"host"), artifact("reverse.so", b"plugin")]);
        let json = manifest.to_json().unwrap();
        assert_eq!(Manifest::from_json(&json).unwrap(), manifest);
        assert!(json.ends_with(b"}\n"));
        // Anything that moves these bytes moves every release's name: it needs a new schema version.
        assert_eq!(manifest.digest().unwrap().short(), "e73564dd");
    }

    #[test]
    fn anything_else_is_refused() {
        let manifest = manifest_of(&[artifact("greeter", b"host"), artifact("reverse.so", b"plugin")]);
        let good = String::from_utf8(manifest.to_json().unwrap()).unwrap();
        let cases = [
            ("\"schema_version\": 1", "\"schema_version\": 2", "schema version 2"),
            ("\"lockstep\"", "\"locksteq\"", "unknown field `locksteq`"),
            ("\"size_bytes\": 4", "\"size_bytes\": \"4\"", "invalid type"),
            ("sha256:", "md5:", "is not a digest"),
            ("\"reverse.so\"", "\"../reverse.so\"", "leads upwards"),
            ("\"reverse.so\"", "\"\"", "is empty"),
            ("\"reverse.so\"", "\"greeter/reverse.so\"", "is there twice"),
            ("\"reverse.so\"", "\"greeter\"", "is there twice"),
            ("\"reverse.so\"", "\"manifest.json\"", "is there twice"),
            ("}\n", "}{}", "trailing characters"),
        ];
        for (from, to, expected) in cases {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let bad = if to == "}{}" {
                format!("{}{{}}", good.trim_end())
            } else {
                bad
            };
            let error = Manifest::from_json(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = Manifest::from_json(&bytes);
        }
    }
}
