//! The run: a plan in, steps carried out on the engine, results published. The only module that strings the others
//! together.

mod accounts;
mod after;
mod ahead;
mod attest;
mod background;
mod brought;
mod build;
mod check;
mod compile;
mod container;
mod drifted;
mod engine_failure;
mod error;
mod exports;
mod fetch;
mod fetched;
mod hold;
mod images;
mod install;
mod isolation;
mod keep;
pub mod labels;
mod load;
mod lock_check;
mod making;
mod matched;
mod matrix;
mod observed;
mod open;
mod opener;
mod placed;
mod present;
mod program;
mod pull;
mod push;
mod recipe;
mod referrers;
mod registry;
mod resolved;
mod rootfs;
mod save;
mod seal;
mod serve;
mod shipped;
mod smoke;
mod sources;
mod stage;
mod start;
mod steps;
mod store;
mod supply;
#[cfg(test)]
mod tests;
mod toolchains;
mod truth;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::checkout;
use crate::config::Project;
use crate::context::Context;
use crate::digest::Digest;
use crate::engine::leash::Leash;
use crate::engine::sweep::{label_values, sweep};
use crate::engine::{Engine, EngineError, EngineFacts, ImageId, Labels};
use crate::event::{Event, Events};
use crate::image::ImageCache;
use crate::name::EnvironmentName;
use crate::network::NetworkSettings;
use crate::repository::Repository;
use crate::rootfs::RootFs;
use crate::temporary::{self, COLLECT_PREFIX};

use hold::Hold;
use observed::Observed;

pub use build::{BuildReport, EnvironmentReport, UnitReport};
pub use check::{
    CheckedFiles, CheckedHost, CheckedPlugin, CheckedProcess, cached_root, check_bundle, image_root, predict_files,
    smoke_user, smoked_contract,
};
pub use engine_failure::from_engine;
pub use error::{LoadError, MakeError, OpenRootError, OtherBits, RunError, StepEnd, StepFailure};
pub use images::LockReport;
pub use isolation::{FoundNetwork, NotIsolated};
pub use keep::Kept;
pub use load::LoadReport;
pub use lock_check::check_lock;
pub use placed::PlacedFile;
pub use pull::{PullReport, PulledImage};
pub use push::{PushReport, PushedImage};
pub use registry::RegistryError;
pub use rootfs::{open_rootfs, open_two_contents};
pub use save::SaveReport;
pub use serve::Served;
pub use smoke::SmokeReport;
pub use sources::plan_only;
pub use sources::{LoaderSources, Sources, scan};
pub use store::{CompileRecord, Record, Store};
pub use verify::{OtherEngine, VerifyRequest};

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

/// How long an engine may go on with what a run asked for that was killed: it creates a container, or unpacks the last layer
/// of an image that it has received in full. A run that comes after takes at least that long.
const SETTLE_TIME: Duration = if cfg!(test) {
    // The fake engine does everything at once.
    Duration::from_millis(1)
} else {
    Duration::from_secs(3)
};

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
    /// Whether nothing may be asked of a network.
    pub offline: bool,
}

impl Options {
    /// Those of a run that compiles nothing.
    #[must_use]
    pub fn without_compiles() -> Self {
        Self {
            jobs: 1,
            locked: false,
            check: false,
            allowed: BTreeSet::new(),
            only_looks: false,
            offline: false,
        }
    }
}

/// How far an environment is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Published {
    /// Some of bundle, volume and image may be new, and some not.
    Halfway,
    /// All of it is.
    Whole,
}

/// One run on one project.
pub struct Run {
    project: Project,
    context: Context,
    engine: Arc<dyn Engine>,
    /// The same, by what it is more than an engine.
    leash: Arc<Leash>,
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
    /// Where the project keeps its environments.
    registry: Option<Repository>,
    /// Volumes that did not exist before this run and are of no use if it fails.
    new_volumes: Mutex<Vec<String>>,
    /// The roots of runtime images that were looked at, by the images' IDs.
    roots: Mutex<BTreeMap<ImageId, Arc<dyn RootFs>>>,
    /// How far environments were published.
    published: Mutex<BTreeMap<EnvironmentName, Published>>,
    /// After a run that was killed: ends when the engine is done with what that one had asked for.
    settled: Mutex<Option<JoinHandle<()>>>,
    hold: Arc<Hold>,
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
        let registry = registry::registry_of(&project, &context)?;
        let hold = hold::take(&project.directory, &context, &events, &cancellation, options.only_looks).await?;
        let leash = Arc::new(Leash::new(engine, cancellation.clone()));
        let engine: Arc<dyn Engine> = Arc::<Leash>::clone(&leash);
        let engine_facts = engine.facts().await?;
        let run = Self {
            owner: checkout::owner(&context.machine_id, &project.directory),
            store: Store::new(hold.directory()),
            shared: Store::new(&context.cache_directory),
            observed: Observed::below(&context.cache_directory),
            network: NetworkSettings::of(Path::new("/"), &context.variables),
            registry,
            new_volumes: Mutex::default(),
            roots: Mutex::default(),
            published: Mutex::default(),
            settled: Mutex::default(),
            leash,
            project,
            context,
            engine,
            engine_facts,
            events,
            cancellation,
            options,
            hold: Arc::new(hold),
        };
        let mut is_settled = !run.hold.follows_a_death();
        if run.hold.is_of_this_run_alone() {
            match run.sweep_dead_runs().await {
                // What the engine is still making or removing is tried again when this run ends.
                Err(RunError::Engine(EngineError::Failed { .. })) => is_settled = false,
                swept => swept?,
            }
        }
        if !is_settled {
            let settled = tokio::spawn(tokio::time::sleep(SETTLE_TIME));
            *run.settled.lock().unwrap_or_else(PoisonError::into_inner) = Some(settled);
        }
        // What cannot be removed from the user's cache now is tried again by the next run, of whatever project.
        for path in cache_leftovers(&run.context.cache_directory) {
            let _ = temporary::remove_dead(&path);
        }
        Ok(run)
    }

    /// Ends the run: whatever it made and did not publish is removed. To be called however it went.
    ///
    /// # Errors
    /// What the run failed with; [`RunError::Stopped`] when it was cancelled before all was done.
    pub async fn finish<T>(&self, result: Result<T, RunError>) -> Result<T, RunError> {
        let swept = match self.sweep_own().await {
            Ok(()) => self.sweep_what_came_late().await,
            swept => swept,
        };
        if result.is_err() {
            let volumes = std::mem::take(&mut *self.new_volumes.lock().unwrap_or_else(PoisonError::into_inner));
            for volume in volumes {
                // The first error says more than that a volume could not be removed; `clean` finds it by its labels.
                let _ = self.engine.remove_volume(&volume).await;
            }
        }
        if swept.is_err() || result.is_err() && !self.leash.left_behind().is_empty() {
            self.hold.ends_unsettled();
        }
        let result = match result {
            // What a cancelled step fails with is only that it was cancelled.
            Err(_) if self.cancellation.is_cancelled() => return Err(self.stopped()),
            other => other,
        };
        if self.cancellation.is_cancelled() {
            self.events.emit(Event::Warning {
                message: "the signal came too late: everything had been done".to_owned(),
                hint: None,
            });
        }
        if let Err(error) = swept {
            let left = self.leash.left_behind();
            let names = if left.is_empty() {
                String::new()
            } else {
                format!(" ({})", left.join(", "))
            };
            self.events.emit(Event::Warning {
                message: format!("failed to remove all that the run made: {error}{names}"),
                hint: Some("the next run tries again; or: lockstep clean".to_owned()),
            });
        }
        result
    }

    /// Removes what this run made and nobody needs any more.
    async fn sweep_own(&self) -> Result<(), RunError> {
        let mut leftovers = labels::passing(Labels::new(), &self.context.run_id);
        leftovers.insert(labels::OWNER.to_owned(), self.owner.short());
        sweep(self.engine.as_ref(), &leftovers).await?;
        Ok(())
    }

    /// What a cancelled run leaves, in the engine and published.
    fn stopped(&self) -> RunError {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let (published, halfway): (Vec<_>, Vec<_>) = published.iter().partition(|(_, how)| **how == Published::Whole);
        let names = |environments: Vec<(&EnvironmentName, &Published)>| {
            environments.into_iter().map(|(name, _)| name.clone()).collect()
        };
        RunError::Stopped {
            published: names(published),
            halfway: names(halfway),
            left_behind: self.leash.left_behind(),
        }
    }

    /// Remembers how far an environment is published.
    fn mark_published(&self, environment: &EnvironmentName, how: Option<Published>) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        match how {
            Some(how) => _ = published.insert(environment.clone(), how),
            None => _ = published.remove(environment),
        }
    }

    /// What a run that was killed had asked the engine for may have been made after this run looked for it.
    async fn sweep_what_came_late(&self) -> Result<(), RunError> {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(settled) = settled else { return Ok(()) };
        tokio::select! {
            _ = settled => self.sweep_dead_runs().await,
            () = self.cancellation.cancelled() => Ok(()),
        }
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
        let of_project = Labels::from([(labels::PROJECT.to_owned(), self.project.name.to_string())]);
        let staged = self.staged_mark();
        for image in self.engine.images(&of_project).await? {
            for tag in image.tags.iter().filter(|tag| tag.contains(&staged)) {
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

    fn is_cancelled(&self) -> Result<(), RunError> {
        if self.cancellation.is_cancelled() {
            Err(RunError::Interrupted)
        } else {
            Ok(())
        }
    }
}
