//! The matched image at work: the host's smoke command, run from the image that a user would deploy.

use super::install::Installs;
use super::stage::{Stage, StagedBundle};
use super::{Run, RunError};
use crate::name::EnvironmentName;
use crate::smoke::{HostObservation, Mismatch, host_mismatches};

/// What the matched image of an environment answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The image's name.
    pub image: String,
    /// What was seen.
    pub host: HostObservation,
    /// In what it is not what the project's file expects.
    pub mismatches: Vec<Mismatch>,
}

impl Run {
    /// Runs the host's smoke command in the matched image; none for projects without one.
    ///
    /// # Errors
    /// When the environment is not built, or the container cannot be run.
    pub async fn serve(&self, environment: &EnvironmentName) -> Result<Option<Served>, RunError> {
        let Some(smoke) = &self.project.smoke else {
            return Ok(None);
        };
        let work = self.prepare(std::slice::from_ref(environment))?;
        let side = self.side(environment, &work).await?;
        let name = work
            .plan_of(environment)
            .map(|plan| plan.publication.image.clone())
            .unwrap_or_default();
        let not_built = || super::MakeError::Vanished {
            reference: name.clone(),
        };
        let image = self.engine.image(&name).await?.ok_or_else(not_built)?;
        let stage = Stage {
            environment,
            subject: "matched",
            image: &image.id,
            loader: side.loader().to_owned(),
            accounts: side.accounts(),
            openers: vec![],
            bundle: StagedBundle::InImage,
            plugins: vec![],
            installs: Installs::default(),
        };
        let host = self.drive_host(&stage).await?;
        Ok(host.map(|host| Served {
            image: name,
            mismatches: host_mismatches(smoke, &host),
            host,
        }))
    }

    /// Whether an image can be had: it is in the engine, or a registry brings it.
    ///
    /// # Errors
    /// When the engine does not answer; that the image cannot be had is the reason in the inner value.
    pub async fn can_have(&self, reference: &str) -> Result<Result<(), String>, RunError> {
        if self.engine.image(reference).await?.is_some() {
            return Ok(Ok(()));
        }
        let pulled = tokio::select! {
            pulled = self.engine.pull_image(reference, &|_| {}) => pulled,
            () = self.cancellation.cancelled() => return Err(RunError::Interrupted),
        };
        Ok(pulled.map_err(|error| error.to_string()))
    }
}
