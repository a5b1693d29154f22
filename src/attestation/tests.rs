//! Both documents of a small bundle, whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::bundle::{ArtifactRecord, HostRecord, ImageRecord, MANIFEST_SCHEMA_VERSION, NetworkRecord, UnitRecord};
use crate::name::{EnvironmentName, ProjectName, UnitName};

fn file(name: &str) -> ArtifactRecord {
    ArtifactRecord {
        name: name.to_owned(),
        digest: Digest::of(name.as_bytes()),
        size_bytes: 1,
        executable: true,
    }
}

fn manifest() -> Manifest {
    let image = |name: &str| ImageRecord {
        config: Digest::of(name.as_bytes()),
        layers: vec![Digest::of(b"layer")],
    };
    let unit = |name: &str, role: &str, artifacts: &[&str], files: &[&str]| UnitRecord {
        name: UnitName::new(name).unwrap(),
        role: role.to_owned(),
        language: "go".to_owned(),
        image: image("build").config,
        action: Digest::of(b"action"),
        source: Digest::of(b"source"),
        network: (role == "plugin").then(|| NetworkRecord {
            interfaces: vec!["lo".to_owned()],
            routes: vec![],
            lookup: "failed".to_owned(),
            connection: "untried".to_owned(),
        }),
        dependencies: (role == "plugin").then(|| Digest::of(b"dependencies")),
        contract: None,
        artifacts: artifacts.iter().map(|name| file(name)).collect(),
        files: files.iter().map(|name| file(name)).collect(),
    };
    let words = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Manifest {
        schema_version: MANIFEST_SCHEMA_VERSION,
        lockstep: "0.1.0".to_owned(),
        project: ProjectName::new("gateway").unwrap(),
        environment: EnvironmentName::new("glibc").unwrap(),
        source_date_epoch: 1_735_689_600,
        build_image: image("build"),
        runtime_image: image("runtime"),
        toolchains: [("distribution", "debian trixie"), ("go", "1.24.4")].map(words).into(),
        host: Some(HostRecord {
            path: "vendor/server".to_owned(),
            image: None,
            digest: Digest::of(b"server"),
            package: None,
            file: Some(file("server")),
        }),
        contract: None,
        contracts: BTreeMap::new(),
        units: vec![
            unit("tool", "host", &["tool"], &[]),
            unit("ip", "plugin", &["handlers/ip.so"], &["handlers/ip.csv"]),
        ],
        smoke: None,
    }
}

fn locked() -> lock::Environment {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let text = format!(
        "schema_version: 1
environments:
  glibc:
    build:
      recipe: {}
      id: {}
      layers: [{}]
      packages: [golang-1.24 1.24.4-1+b1 amd64 {}, libc6 2.41-12 amd64 {}]
    runtime:
      recipe: {}
      id: {}
      layers: []
      registry: registry.example/runtime@{}
      packages: [libc6 2.41-12 amd64 {}, 'local 1 all -', musl 1.2.5-r9 x86_64 Q1abc=]
    toolchains: {{}}
    host:
      path: vendor/server
      digest: {}
    units: {{}}
",
        digest("recipe"),
        digest("build"),
        digest("layer"),
        digest("go"),
        digest("libc"),
        digest("recipe"),
        digest("runtime"),
        digest("registry"),
        digest("libc"),
        digest("server"),
    );
    let lock = lock::parse(text.as_bytes(), Path::new("lockstep.lock")).unwrap();
    lock.environments.into_values().next().unwrap()
}

fn component(name: &str, url: &str) -> Component {
    Component {
        url: url.to_owned(),
        name: name.to_owned(),
        version: Some("v1.0.0".to_owned()),
        note: Some("go.sum: h1:abc=".to_owned()),
    }
}

fn attested(change: impl FnOnce(&mut Manifest)) -> Attestations {
    let (mut manifest, locked) = (manifest(), locked());
    change(&mut manifest);
    let variables = BTreeMap::from([("LANG".to_owned(), "C.UTF-8".to_owned())]);
    let module = component("example.com/dep", "pkg:golang/example.com/dep@v1.0.0");
    let subject = Subject {
        manifest: &manifest,
        locked: &locked,
        commands: vec![UnitCommand {
            name: "ip",
            script: "go build",
            variables: &variables,
            working_directory: "/lockstep/src",
        }],
        image_name: "lockstep/gateway:glibc",
        image: Digest::of(b"image"),
        components: BTreeMap::from([
            ("tool".to_owned(), vec![module.clone()]),
            ("handlers/ip.so".to_owned(), vec![module]),
        ]),
    };
    attest(&subject).unwrap()
}

#[test]
fn both_documents_are_as_the_field_reads_them() {
    let Attestations { provenance, sbom } = attested(|_| {});
    insta::assert_snapshot!("provenance", String::from_utf8(provenance).unwrap());
    insta::assert_snapshot!("sbom", String::from_utf8(sbom).unwrap());
}

/// What relates to something relates to what is there, and nothing is there twice or alone.
#[test]
fn everything_in_the_bill_has_its_place() {
    let sbom: Value = serde_json::from_slice(&attested(|_| {}).sbom).unwrap();
    let texts = |list: &Value, key: &str| -> Vec<String> {
        let items = list.as_array().unwrap().iter();
        items.map(|item| item[key].as_str().unwrap().to_owned()).collect()
    };
    let all = texts(&sbom["packages"], "SPDXID");
    let ids: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(ids.len(), all.len());
    let related: BTreeSet<String> = texts(&sbom["relationships"], "relatedSpdxElement")
        .into_iter()
        .collect();
    assert_eq!(related, ids);
    let module = "SPDXRef-Module-example.com-dep-";
    assert_eq!(
        ids.iter().filter(|id| id.starts_with(module)).count(),
        1,
        "linked into two files"
    );
}

#[test]
fn another_bundle_has_another_document() {
    let namespace = |attestations: &Attestations| -> String {
        let sbom: Value = serde_json::from_slice(&attestations.sbom).unwrap();
        sbom["documentNamespace"].as_str().unwrap().to_owned()
    };
    let (one, same) = (attested(|_| {}), attested(|_| {}));
    assert_eq!(one, same);
    let other = attested(|manifest| manifest.units[1].artifacts[0].digest = Digest::of(b"other"));
    assert_ne!(namespace(&one), namespace(&other));
}
