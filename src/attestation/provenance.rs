//! SLSA's provenance, v1 (<https://slsa.dev/spec/v1.0/provenance>): what was asked for, and all that went into it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::package_url::of_package;
use super::statement::{Resource, SHA256, Statement, TREE};
use super::{NAMESPACE, Subject, UnitCommand};
use crate::bundle::{ContractRecord, HostRecord, MANIFEST_FILE, NetworkRecord, UnitRecord};
use crate::digest::Digest;
use crate::lock;

/// The predicate's type.
const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What an image's digest is of.
const CONFIG_MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// The predicate. When and where it ran is left out: another run says the same.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Provenance<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: String,
    external_parameters: ExternalParameters<'a>,
    internal_parameters: InternalParameters<'a>,
    resolved_dependencies: Vec<Resource>,
}

/// What the project says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalParameters<'a> {
    project: &'a str,
    environment: &'a str,
    source_date_epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a HostRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<&'a ContractRecord>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    contracts: &'a BTreeMap<String, ContractRecord>,
    units: Vec<UnitParameters<'a>>,
}

#[derive(Debug, Serialize)]
struct UnitParameters<'a> {
    name: &'a str,
    role: &'a str,
    language: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<&'a str>,
    artifacts: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<&'a str>,
}

/// What follows from it: how each unit was compiled, in what, and that nothing was reached meanwhile.
#[derive(Debug, Serialize)]
struct InternalParameters<'a> {
    toolchains: &'a BTreeMap<String, String>,
    commands: &'a [UnitCommand<'a>],
    actions: BTreeMap<&'a str, String>,
    networks: BTreeMap<&'a str, &'a NetworkRecord>,
}

#[derive(Debug, Serialize)]
struct RunDetails<'a> {
    builder: Builder<'a>,
}

#[derive(Debug, Serialize)]
struct Builder<'a> {
    id: String,
    version: BTreeMap<&'static str, &'a str>,
}

/// The statement about a bundle and its image.
pub(super) fn statement<'a>(subject: &'a Subject<'a>) -> Statement<Provenance<'a>> {
    let manifest = subject.manifest;
    let units = manifest.units.iter();
    let predicate = Provenance {
        build_definition: BuildDefinition {
            build_type: format!("{NAMESPACE}/build/v1"),
            external_parameters: ExternalParameters {
                project: manifest.project.as_str(),
                environment: manifest.environment.as_str(),
                source_date_epoch: manifest.source_date_epoch,
                host: manifest.host.as_ref(),
                contract: manifest.contract.as_ref(),
                contracts: &manifest.contracts,
                units: units.clone().map(parameters).collect(),
            },
            internal_parameters: InternalParameters {
                toolchains: &manifest.toolchains,
                commands: &subject.commands,
                actions: units
                    .clone()
                    .map(|unit| (unit.name.as_str(), unit.action.hex()))
                    .collect(),
                networks: units
                    .filter_map(|unit| Some((unit.name.as_str(), unit.network.as_ref()?)))
                    .collect(),
            },
            resolved_dependencies: dependencies(subject),
        },
        run_details: RunDetails {
            builder: Builder {
                id: format!("{NAMESPACE}/lockstep"),
                version: BTreeMap::from([("lockstep", manifest.lockstep.as_str())]),
            },
        },
    };
    Statement::new(PREDICATE_TYPE, subjects(subject), predicate)
}

fn parameters(unit: &UnitRecord) -> UnitParameters<'_> {
    UnitParameters {
        name: unit.name.as_str(),
        role: &unit.role,
        language: &unit.language,
        contract: unit.contract.as_deref(),
        artifacts: unit.artifacts.iter().map(|artifact| artifact.name.as_str()).collect(),
        files: unit.files.iter().map(|file| file.name.as_str()).collect(),
    }
}

/// Every file of the bundle, and the matched image.
fn subjects(subject: &Subject<'_>) -> Vec<Resource> {
    let files = subject.manifest.artifacts();
    let mut all: Vec<Resource> = files
        .map(|file| Resource::new(&file.name, SHA256, file.digest))
        .chain(
            // A manifest always has a digest.
            (subject.manifest.digest().ok()).map(|digest| Resource::new(MANIFEST_FILE, SHA256, digest)),
        )
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all.push(Resource {
        media_type: Some(CONFIG_MEDIA_TYPE),
        ..Resource::new(subject.image_name, SHA256, subject.image)
    });
    all
}

/// The images, their packages, the sources, and what was fetched.
fn dependencies(subject: &Subject<'_>) -> Vec<Resource> {
    let (manifest, locked) = (subject.manifest, subject.locked);
    let mut all = vec![
        image("build image", manifest.build_image.config, &locked.build),
        image("runtime image", manifest.runtime_image.config, &locked.runtime),
    ];
    if let Some(host) = &locked.host {
        let of_image = host.image.as_ref();
        all.extend(of_image.and_then(|locked| Some(image("image of the host", locked.id.parse().ok()?, locked))));
        all.push(Resource::new(format!("host {}", host.path), SHA256, host.digest));
    }
    all.extend(packages(subject));
    let units = || manifest.units.iter();
    all.extend(units().map(|unit| Resource::new(format!("source of {}", unit.name), TREE, unit.source)));
    all.extend(units().filter_map(|unit| {
        let name = format!("dependencies of {}", unit.name);
        Some(Resource::new(name, TREE, unit.dependencies?))
    }));
    all
}

fn image(name: &str, config: Digest, locked: &lock::Image) -> Resource {
    let layers = locked.layers.iter().map(ToString::to_string).collect();
    let registry = locked.registry.iter().cloned().collect::<Vec<_>>();
    let mut annotations = BTreeMap::from([("layers", layers), ("recipe", vec![locked.recipe.to_string()])]);
    if !registry.is_empty() {
        annotations.insert("registry", registry);
    }
    Resource {
        media_type: Some(CONFIG_MEDIA_TYPE),
        annotations,
        ..Resource::new(name, SHA256, config)
    }
}

/// Each package once, with the images that have it.
fn packages(subject: &Subject<'_>) -> Vec<Resource> {
    let distribution = subject.manifest.toolchains.get("distribution").map(String::as_str);
    let mut images: BTreeMap<(String, &lock::Package), BTreeSet<&str>> = BTreeMap::new();
    for (role, image) in [("build", &subject.locked.build), ("runtime", &subject.locked.runtime)] {
        for package in &image.packages {
            let url = of_package(package, distribution);
            images.entry((url, package)).or_default().insert(role);
        }
    }
    let resource = |((url, package), roles): ((String, &lock::Package), BTreeSet<&str>)| {
        let roles = roles.into_iter().map(ToOwned::to_owned).collect();
        let mut annotations = BTreeMap::from([("images", roles)]);
        let digest = package.hash.parse::<Digest>();
        if digest.is_err() && package.hash != "-" {
            // apk's own hash is not one of the package's file.
            annotations.insert("hash", vec![package.hash.clone()]);
        }
        Resource {
            name: package.name.clone(),
            uri: Some(url),
            digest: digest.into_iter().map(|digest| (SHA256, digest.hex())).collect(),
            annotations,
            ..Resource::default()
        }
    };
    images.into_iter().map(resource).collect()
}
