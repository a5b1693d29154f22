//! A manifest as a build would have written it, of one unit with any artifacts.

use std::collections::BTreeMap;

use lockstep::bundle::{ArtifactRecord, ContractRecord, ImageRecord, MANIFEST_SCHEMA_VERSION, Manifest, UnitRecord};
use lockstep::digest::Digest;
use lockstep::name::{EnvironmentName, ProjectName, UnitName};

/// The manifest of a host of this name and nothing else.
pub(crate) fn manifest(project: &str, environment: &str, host: &str, artifacts: Vec<ArtifactRecord>) -> Manifest {
    let image = ImageRecord {
        config: Digest::of(b"config"),
        layers: vec![],
    };
    Manifest {
        schema_version: MANIFEST_SCHEMA_VERSION,
        lockstep: "0.1.0".to_owned(),
        project: ProjectName::new(project).unwrap(),
        environment: EnvironmentName::new(environment).unwrap(),
        source_date_epoch: 1_735_689_600,
        build_image: image.clone(),
        runtime_image: image.clone(),
        toolchains: BTreeMap::new(),
        host: None,
        contract: Some(ContractRecord {
            loader: "dlopen".to_owned(),
            abi: "c".to_owned(),
            symbols: vec![],
            types: BTreeMap::new(),
            calls: vec![],
            flags: None,
            scope: None,
            opened_by: None,
            into: None,
        }),
        contracts: BTreeMap::new(),
        units: vec![UnitRecord {
            contract: None,
            files: vec![],
            name: UnitName::new(host).unwrap(),
            role: "host".to_owned(),
            language: "c".to_owned(),
            image: image.config,
            action: Digest::of(b"action"),
            source: Digest::of(b"source"),
            dependencies: None,
            network: None,
            artifacts,
        }],
        smoke: None,
    }
}
