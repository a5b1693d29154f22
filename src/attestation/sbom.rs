//! The bill of materials of a matched image: the runtime image's packages, the bundle's files, and what is linked into those.

use std::collections::BTreeMap;

use super::package_url::of_package;
use super::spdx::{Checksum, CreationInfo, DOCUMENT_ID, Document, ExternalReference, Package, Relationship};
use super::{Component, NAMESPACE, Subject};
use crate::bundle::ArtifactRecord;
use crate::digest::Digest;
use crate::image::timestamp;
use crate::lock;

const CONTAINS: &str = "CONTAINS";

/// The document. Its namespace is a digest of all else that is in it, so that no two documents share one.
pub(super) fn document(subject: &Subject<'_>) -> serde_json::Result<Document> {
    let manifest = subject.manifest;
    let mut document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT_ID,
        name: format!("{}-{}", manifest.project, manifest.environment),
        document_namespace: String::new(),
        creation_info: CreationInfo {
            created: timestamp(manifest.source_date_epoch),
            creators: vec![format!("Tool: lockstep-{}", manifest.lockstep)],
        },
        packages: vec![],
        relationships: vec![],
    };
    let image = container(subject.image_name, subject.image);
    let runtime = container("runtime image", manifest.runtime_image.config);
    document.relate(DOCUMENT_ID, "DESCRIBES", &image.id);
    document.relate(&image.id, "DESCENDANT_OF", &runtime.id);
    let (image_id, runtime_id) = (image.id.clone(), runtime.id.clone());
    document.packages.extend([image, runtime]);
    let distribution = manifest.toolchains.get("distribution").map(String::as_str);
    for package in &subject.locked.runtime.packages {
        let package = of_distribution(package, distribution);
        document.relate(&runtime_id, CONTAINS, &package.id);
        document.packages.push(package);
    }
    let mut components: BTreeMap<&str, Package> = BTreeMap::new();
    for (file, purpose) in files(subject) {
        let package = of_file(file, purpose);
        document.relate(&image_id, CONTAINS, &package.id);
        for component in subject.components.get(&file.name).into_iter().flatten() {
            let linked = components
                .entry(&component.url)
                .or_insert_with(|| of_component(component));
            document.relate(&package.id, CONTAINS, &linked.id);
        }
        document.packages.push(package);
    }
    document.packages.extend(components.into_values());
    let content = Digest::of(&serde_json::to_vec(&document)?);
    document.document_namespace = format!(
        "{NAMESPACE}/spdx/{}/{}/{}",
        manifest.project,
        manifest.environment,
        content.hex()
    );
    Ok(document)
}

impl Document {
    fn relate(&mut self, one: &str, kind: &'static str, other: &str) {
        let relationship = Relationship {
            spdx_element_id: one.to_owned(),
            relationship_type: kind,
            related_spdx_element: other.to_owned(),
        };
        self.relationships.push(relationship);
    }
}

/// The bundle's files, with what each is for.
fn files<'a>(subject: &Subject<'a>) -> Vec<(&'a ArtifactRecord, &'static str)> {
    let manifest = subject.manifest;
    let host = manifest.host.iter().filter_map(|host| host.file.as_ref());
    let units = manifest.units.iter().flat_map(|unit| {
        let purpose = if unit.is_host() { "APPLICATION" } else { "LIBRARY" };
        let artifacts = unit.artifacts.iter().map(move |artifact| (artifact, purpose));
        artifacts.chain(unit.files.iter().map(|file| (file, "FILE")))
    });
    host.map(|file| (file, "APPLICATION")).chain(units).collect()
}

fn container(name: &str, config: Digest) -> Package {
    Package {
        version_info: Some(config.to_string()),
        primary_package_purpose: Some("CONTAINER"),
        checksums: vec![sha256(config)],
        ..Package::new(id("Image", name, &config.hex()), name)
    }
}

fn of_distribution(package: &lock::Package, distribution: Option<&str>) -> Package {
    let url = of_package(package, distribution);
    let digest = package.hash.parse::<Digest>();
    let is_other = digest.is_err() && package.hash != "-";
    Package {
        version_info: Some(package.version.clone()),
        checksums: digest.into_iter().map(sha256).collect(),
        // apk's own hash is not one of the package's file.
        source_info: is_other.then(|| format!("apk: {}", package.hash)),
        ..Package::new(
            id("Package", &package.name, &format!("{url} {}", package.hash)),
            &package.name,
        )
    }
    .known_as(url)
}

fn of_file(file: &ArtifactRecord, purpose: &'static str) -> Package {
    Package {
        package_file_name: Some(file.name.clone()),
        primary_package_purpose: Some(purpose),
        checksums: vec![sha256(file.digest)],
        ..Package::new(id("Artifact", &file.name, &file.name), &file.name)
    }
}

fn of_component(component: &Component) -> Package {
    Package {
        version_info: component.version.clone(),
        primary_package_purpose: Some("LIBRARY"),
        source_info: component.note.clone(),
        ..Package::new(id("Module", &component.name, &component.url), &component.name)
    }
    .known_as(component.url.clone())
}

impl Package {
    fn known_as(mut self, url: String) -> Self {
        self.external_refs.push(ExternalReference {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: url,
        });
        self
    }
}

fn sha256(digest: Digest) -> Checksum {
    Checksum {
        algorithm: "SHA256",
        checksum_value: digest.hex(),
    }
}

/// An identifier that people can tell, and that no two things share: letters, digits, `.` and `-` alone may be in one.
fn id(kind: &str, name: &str, identity: &str) -> String {
    const DIGEST_DIGITS: usize = 16;
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '.';
    let plain: String = name
        .chars()
        .map(|character| if is_plain(character) { character } else { '-' })
        .collect();
    format!(
        "SPDXRef-{kind}-{plain}-{}",
        &Digest::of(identity.as_bytes()).hex()[..DIGEST_DIGITS]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers_that_differ() {
        assert_ne!(id("Package", "a/b", "a/b"), id("Package", "a+b", "a+b"));
        let of_name = id("Package", "libstdc++6", "x");
        assert!(of_name.starts_with("SPDXRef-Package-libstdc--6-"), "{of_name}");
    }
}
