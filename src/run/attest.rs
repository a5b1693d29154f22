//! What is said of a bundle beside it: told of what was sealed, published with it, and handed out as it was published.

use std::collections::BTreeMap;
use std::path::Path;

use super::matched::Matched;
use super::store::Record;
use super::{Run, RunError};
use crate::attestation::{Attestations, Component, Subject, UnitCommand, attest, components};
use crate::bundle::{Manifest, PROVENANCE_FILE, SBOM_FILE, Staging, read_metadata, verify_metadata};
use crate::digest::Digest;
use crate::lock;
use crate::name::EnvironmentName;
use crate::plan::{EnvironmentPlan, Publication};
use crate::rootfs::{DirectoryRoot, RootFs as _};

/// The documents on their way to their place.
pub(super) struct StagedMetadata {
    pub(super) staging: Staging,
    /// Their digests, by the files' names.
    pub(super) digests: BTreeMap<String, Digest>,
}

impl Run {
    /// Both documents of what was published last of an environment, as they were written; none where nothing was published
    /// yet.
    ///
    /// # Errors
    /// When they are not as they were, or cannot be read.
    pub fn attestations(&self, environment: &EnvironmentName) -> Result<Option<Attestations>, RunError> {
        let Some(record) = self.store.record(environment) else {
            return Ok(None);
        };
        let publication = Publication::new(&self.project.name, environment);
        let directory = self.project.directory.join(&publication.metadata);
        let failed = || RunError::file_at("read", &directory);
        let differences = verify_metadata(&directory, &record.metadata).map_err(failed())?;
        if !differences.is_empty() {
            return Err(RunError::Altered {
                directory: publication.metadata,
                differences,
            });
        }
        let read = |name: &str| read_metadata(&directory, name).map_err(failed());
        Ok(Some(Attestations {
            provenance: read(PROVENANCE_FILE)?,
            sbom: read(SBOM_FILE)?,
        }))
    }

    /// The documents about a bundle whose files are in `bundle`, and the image that was made of it.
    pub(super) fn attest(
        &self,
        plan: &EnvironmentPlan,
        locked: &lock::Environment,
        manifest: &Manifest,
        bundle: &Path,
        image: &Matched,
    ) -> Result<Attestations, RunError> {
        let commands = plan.units.iter().map(|unit| UnitCommand {
            name: unit.name.as_str(),
            script: &unit.compile.script,
            variables: &unit.compile.variables,
            working_directory: &unit.compile.working_directory,
        });
        let subject = Subject {
            manifest,
            locked,
            commands: commands.collect(),
            image_name: &plan.publication.image,
            image: image.config,
            components: components_of(manifest, bundle)?,
        };
        attest(&subject).map_err(|error| RunError::file("describe the bundle")(error.into()))
    }

    /// Writes them to where they can be published from.
    pub(super) fn stage_attestations(
        &self,
        environment: &EnvironmentName,
        attestations: &Attestations,
    ) -> Result<StagedMetadata, RunError> {
        let staging = Staging::create_metadata(&self.project.directory, &self.context.run_id, environment)?;
        let mut digests = BTreeMap::new();
        for (name, content) in [
            (PROVENANCE_FILE, &attestations.provenance),
            (SBOM_FILE, &attestations.sbom),
        ] {
            staging.write(name, content)?;
            digests.insert(name.to_owned(), Digest::of(content));
        }
        Ok(StagedMetadata { staging, digests })
    }

    /// In what the files beside a bundle are not what the last good build left.
    pub(super) fn metadata_damage(&self, publication: &Publication, record: &Record) -> Result<Vec<String>, RunError> {
        let metadata = &publication.metadata;
        let directory = self.project.directory.join(metadata);
        let differences =
            verify_metadata(&directory, &record.metadata).map_err(RunError::file_at("read", &directory))?;
        let differences = differences.iter();
        Ok(differences
            .map(|difference| format!("{metadata}: {difference}"))
            .collect())
    }
}

/// What the files of a bundle say is linked into them.
fn components_of(manifest: &Manifest, bundle: &Path) -> Result<BTreeMap<String, Vec<Component>>, RunError> {
    let root = DirectoryRoot::open(bundle).map_err(RunError::file_at("read", bundle))?;
    let mut found = BTreeMap::new();
    for artifact in manifest.artifacts() {
        let path = format!("/{}", artifact.name);
        // What is no ELF file says nothing.
        if let Ok(file) = root.look(&path)
            && let Some(Ok(elf)) = root.object(&file)
        {
            found.insert(artifact.name.clone(), components(&elf));
        }
    }
    Ok(found)
}
