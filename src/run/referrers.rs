//! What is said of a bundle (`dist/<environment>.meta/`), put into the registry as what refers to the matched image there.

use std::path::Path;

use super::{Run, RunError};
use crate::attestation::Attestations;
use crate::bundle::{PROVENANCE_FILE, SBOM_FILE};
use crate::counted::counted;
use crate::digest::Digest;
use crate::event::{Event, Stage};
use crate::name::EnvironmentName;
use crate::oci_registry::{Attached, Document, Registry, Surroundings, attach};
use crate::repository::Repository;

/// What an in-toto statement is (in-toto attestation framework, `spec/v1/envelope.md`).
const PROVENANCE_TYPE: &str = "application/vnd.in-toto+json";
/// What an SPDX document in JSON is (IANA, media types).
const SBOM_TYPE: &str = "application/spdx+json";

impl Run {
    /// The documents that go with the matched image of an environment. None where they are not what was published, which is told:
    /// the image is what it is all the same.
    pub(super) fn documents(&self, environment: &EnvironmentName) -> Result<Vec<Document>, RunError> {
        let attestations = match self.attestations(environment) {
            Ok(Some(attestations)) => attestations,
            Ok(None) => return Ok(vec![]),
            Err(RunError::Altered { directory, differences }) => {
                let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
                let why = format!("{directory} is not what was published: {}", differences.join(", "));
                self.tell_left_out(environment, &why, format!("lockstep build {environment}"));
                return Ok(vec![]);
            }
            Err(error) => return Err(error),
        };
        let Attestations { provenance, sbom } = attestations;
        Ok(vec![
            Document {
                title: PROVENANCE_FILE,
                artifact_type: PROVENANCE_TYPE,
                content: provenance.into(),
            },
            Document {
                title: SBOM_FILE,
                artifact_type: SBOM_TYPE,
                content: sbom.into(),
            },
        ])
    }

    /// Puts documents about the matched image into the registry that has it. Where that cannot take them, or cannot be reached
    /// from here, that is told, and nothing is lost: the images are there.
    pub(super) async fn push_documents(
        &self,
        environment: &EnvironmentName,
        registry: &Repository,
        image: Digest,
        documents: &[Document],
    ) -> Result<Vec<Attached>, RunError> {
        if documents.is_empty() {
            return Ok(vec![]);
        }
        let step = Self::step(environment, Stage::Images, "push referrers");
        let surroundings = Surroundings {
            root: Path::new("/"),
            variables: &self.context.variables,
            network: &self.network,
            insecure: &self.engine_facts.insecure_registries,
        };
        let attaching = async {
            let mut registry = Registry::open(registry, &surroundings).await?;
            attach(&mut registry, image, documents).await
        };
        let work = async {
            let attached = tokio::select! {
                attached = attaching => attached,
                () = self.cancellation.cancelled() => return Err(RunError::Interrupted),
            };
            match attached {
                Err(error) if error.is_inability() => {
                    self.tell_left_out(environment, &error.to_string(), error.hint());
                    Ok(vec![])
                }
                attached => Ok(attached?),
            }
        };
        let told = |attached: &Vec<Attached>| match attached.len() {
            0 => "left out".to_owned(),
            count => counted(count, "document"),
        };
        self.in_step(step, told, work).await
    }

    fn tell_left_out(&self, environment: &EnvironmentName, why: &str, hint: String) {
        self.events.emit(Event::Warning {
            message: format!("what is said of {environment} is not pushed with it: {why}"),
            hint: Some(hint),
        });
    }
}
