//! The run: a plan in, steps carried out on the engine, results published. The only module that strings the others
//! together.

mod build;
mod check;
mod compile;
mod container;
mod error;
mod fetch;
mod hold;
mod images;
pub mod labels;
mod lock_check;
mod making;
mod matched;
mod matrix;
mod observed;
mod rootfs;
mod seal;
mod serve;
mod smoke;
mod sources;
mod store;
#[cfg(test)]
mod tests;
mod toolchains;
mod truth;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::checkout;
use crate::config::Project;
use crate::context::Context;
use crate::digest::Digest;
use crate::engine::sweep::{label_values, sweep};
use crate::engine::{Engine, EngineFacts, Labels};
use crate::event::{Event, Events, Stage, StepId};
use crate::image::ImageCache;
use crate::name::EnvironmentName;
use crate::network::NetworkSettings;
use crate::temporary::{self, COLLECT_PREFIX};

use hold::Hold;
use observed::Observed;

pub use build::{BuildReport, EnvironmentReport, UnitReport};
pub use check::{
    CheckedFiles, CheckedProcess, cached_root, check_bundle, image_root, predict_files, smoke_user, smoked_contract,
};
pub use error::{OtherBits, RunError, StepEnd, StepFailure, from_engine};
pub use images::LockReport;
pub use lock_check::check_lock;
pub use making::MakeError;
pub use rootfs::{OpenRootError, open_rootfs};
pub use serve::Served;
pub use smoke::SmokeReport;
pub use sources::plan_only;
pub use sources::{LoaderSources, Sources, scan};
pub use store::{Record, Store};

/// What dead processes have left in the user's cache, which all projects share: artifacts of loaders, images and answers in the
/// making.
/// What cannot be listed is not there.
#[must_use]
pub fn cache_leftovers(cache_directory: &Path) -> Vec<PathBuf> {
    let of_loaders = temporary::leftovers(cache_directory, &[COLLECT_PREFIX]).unwrap_or_default();
    let of_images = ImageCache::below(cache_directory).leftovers().unwrap_or_default();
    let of_answers = Observed::below(cache_directory).leftovers().unwrap_or_default();
    of_loaders.into_iter().chain(of_images).chain(of_answers).collect()
}

/// What the command line decides about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many units are compiled side by side.
    pub jobs: usize,
    /// Whether the lock must be complete and stay as it is.
    pub locked: bool,
    /// Whether what loading will come to is predicted, and stops the run if it is bad.
    pub check: bool,
    /// The codes of findings that stop nothing.
    pub allowed: BTreeSet<String>,
    /// Whether the project's directory need not be writable: nothing is published.
    pub only_looks: bool,
}

/// One run on one project.
pub struct Run {
    project: Project,
    context: Context,
    engine: Arc<dyn Engine>,
    engine_facts: EngineFacts,
    events: Arc<dyn Events>,
    cancellation: CancellationToken,
    options: Options,
    store: Store,
    /// What is the same for all projects of this user: the smoke loaders.
    shared: Store,
    /// What images told of themselves.
    observed: Observed,
    owner: Digest,
    network: NetworkSettings,
    /// Volumes that did not exist before this run and are of no use if it fails.
    new_volumes: Mutex<Vec<String>>,
    hold: Hold,
}

impl Run {
    /// Takes the project for this run alone, waiting for another run to end, and removes what dead runs left behind.
    ///
    /// # Errors
    /// When the lock cannot be had, or the engine does not answer.
    pub async fn start(
        project: Project,
        context: Context,
        engine: Arc<dyn Engine>,
        events: Arc<dyn Events>,
        cancellation: CancellationToken,
        options: Options,
    ) -> Result<Self, RunError> {
        let hold = hold::take(
            &project.directory,
            &context.run_id,
            &events,
            &cancellation,
            options.only_looks,
        )
        .await?;
        let engine_facts = engine.facts().await?;
        let run = Self {
            owner: checkout::owner(&context.machine_id, &project.directory),
            store: Store::new(hold.directory()),
            shared: Store::new(&context.cache_directory),
            observed: Observed::below(&context.cache_directory),
            network: NetworkSettings::of(Path::new("/"), &context.variables),
            new_volumes: Mutex::default(),
            project,
            context,
            engine,
            engine_facts,
            events,
            cancellation,
            options,
            hold,
        };
        if run.hold.is_of_this_run_alone() {
            run.sweep_dead_runs().await?;
        }
        // What cannot be removed from the user's cache now is tried again by the next run, of whatever project.
        for path in cache_leftovers(&run.context.cache_directory) {
            let _ = temporary::remove_dead(&path);
        }
        Ok(run)
    }

    /// Ends the run: whatever it made and did not publish is removed. To be called however it went.
    pub async fn finish<T>(&self, result: Result<T, RunError>) -> Result<T, RunError> {
        let mut leftovers = labels::passing(Labels::new(), &self.context.run_id);
        leftovers.insert(labels::OWNER.to_owned(), self.owner.short());
        let swept = sweep(self.engine.as_ref(), &leftovers).await;
        if result.is_err() {
            let volumes = std::mem::take(&mut *self.new_volumes.lock().unwrap_or_else(PoisonError::into_inner));
            for volume in volumes {
                // The first error says more than that a volume could not be removed; `clean` finds it by its labels.
                let _ = self.engine.remove_volume(&volume).await;
            }
        }
        let result = match result {
            // What a cancelled step fails with is only that it was cancelled.
            Err(_) if self.cancellation.is_cancelled() => Err(RunError::Interrupted),
            other => other,
        };
        if let Err(error) = swept {
            self.events.emit(Event::Warning {
                message: format!("failed to remove all that the run made: {error}"),
                hint: Some("the next run tries again; or: lockstep clean".to_owned()),
            });
        }
        result
    }

    /// This run holds the project, so a container or volume of any other run of this checkout is a leftover.
    async fn sweep_dead_runs(&self) -> Result<(), RunError> {
        let owner = Labels::from([(labels::OWNER.to_owned(), self.owner.short())]);
        let runs = label_values(self.engine.as_ref(), &owner, labels::RUN).await?;
        for run in runs {
            let dead = labels::passing(owner.clone(), &run);
            let swept = sweep(self.engine.as_ref(), &dead).await?;
            let count = swept.containers.len() + swept.volumes.len();
            if count > 0 {
                self.events.emit(Event::Warning {
                    message: format!("removed {count} containers and volumes that an earlier run had to leave behind"),
                    hint: None,
                });
            }
        }
        for image in self.engine.images(&owner).await? {
            for tag in image.tags.iter().filter(|tag| tag.contains(seal::STAGED_MARK)) {
                self.engine.remove_image(tag).await?;
            }
        }
        Ok(())
    }

    fn lasting_labels(&self, environment: &EnvironmentName, role: &str) -> Labels {
        labels::lasting(&self.project.name, environment, self.owner, role)
    }

    fn passing_labels(&self, environment: &EnvironmentName, role: &str) -> Labels {
        labels::passing(self.lasting_labels(environment, role), &self.context.run_id)
    }

    fn step(environment: &EnvironmentName, stage: Stage, subject: impl Into<String>) -> StepId {
        StepId {
            environment: Some(environment.clone()),
            stage,
            subject: Some(subject.into()),
        }
    }

    fn is_cancelled(&self) -> Result<(), RunError> {
        if self.cancellation.is_cancelled() {
            Err(RunError::Interrupted)
        } else {
            Ok(())
        }
    }
}
