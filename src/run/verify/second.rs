//! Another engine that compiles the same: it must give the same bits.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::super::error::VerifyError;
use super::super::resolved::BuildImage;
use super::super::{Run, RunError};
use super::rebuild::{Attempt, Rebuild};
use super::request::OtherEngine;
use crate::engine::Engine;
use crate::engine::leash::Leash;
use crate::event::Event;
use crate::lock;
use crate::plan::EnvironmentPlan;
use crate::verify::Setting;

/// A run on another engine, beside the one that holds the project.
pub(super) struct Second {
    /// Where the engine is, as it was given.
    address: String,
    /// The run on it.
    run: Run,
}

impl Second {
    /// Begins a run on another engine.
    ///
    /// # Errors
    /// When it does not answer, is the same one, or is of another machine.
    pub(super) async fn begin(first: &Run, other: &OtherEngine) -> Result<Self, RunError> {
        let address = other.address.clone();
        let run = match first.beside(&other.engine).await {
            Ok(run) => run,
            Err(cause) => return Err(on_other(&address, cause)),
        };
        let (ours, theirs) = (&first.engine_facts, &run.engine_facts);
        if ours.address == theirs.address {
            return Err(VerifyError::SameEngine { address }.into());
        }
        if ours.architecture != theirs.architecture {
            return Err(VerifyError::OtherArchitecture {
                address,
                found: theirs.architecture.clone(),
                expected: ours.architecture.clone(),
            }
            .into());
        }
        let second = Self { address, run };
        // What a run that was killed left there; it may be more than this one can remove.
        if let Err(error) = second.run.sweep_dead_runs().await {
            second.warn(&error);
        }
        Ok(second)
    }

    /// The build image of an environment, on that engine.
    pub(super) async fn image(
        &self,
        plan: &EnvironmentPlan,
        locked: &lock::Environment,
    ) -> Result<BuildImage, RunError> {
        let resolved = self.run.resolve(&plan.name, Some(locked), false).await;
        Ok(resolved.map_err(|cause| self.fails(cause))?.build_image())
    }

    /// Compiles a unit there, as it was.
    pub(super) async fn rebuild(
        &self,
        rebuild: &Rebuild<'_>,
        image: &BuildImage,
        stop: &CancellationToken,
    ) -> Result<Attempt, RunError> {
        let there = Rebuild {
            image,
            remade: None,
            ..rebuild.clone()
        };
        let label = format!("as it was, on {}", self.address);
        let attempt = self.run.rebuild(&there, &Setting::default(), &label, stop).await;
        attempt.map_err(|cause| self.fails(cause))
    }

    /// An error that says where it was.
    fn fails(&self, cause: RunError) -> RunError {
        on_other(&self.address, cause)
    }

    /// Removes what the run made there. To be called however it went.
    pub(super) async fn end(&self) {
        if let Err(error) = self.run.sweep_own().await {
            self.warn(&error);
        }
    }

    fn warn(&self, error: &RunError) {
        self.run.events.emit(Event::Warning {
            message: format!("failed to remove all that was made on {}: {error}", self.address),
            hint: Some("the next run there tries again".to_owned()),
        });
    }
}

fn on_other(address: &str, cause: RunError) -> RunError {
    match cause {
        // Nothing is wrong with it.
        RunError::Interrupted => RunError::Interrupted,
        cause => RunError::OnOtherEngine {
            address: address.to_owned(),
            cause: Box::new(cause),
        },
    }
}

impl Run {
    /// The same run on another engine: it shares the project, and makes nothing that lasts.
    async fn beside(&self, engine: &Arc<dyn Engine>) -> Result<Self, RunError> {
        let leash = Arc::new(Leash::new(Arc::clone(engine), self.cancellation.clone()));
        let engine: Arc<dyn Engine> = Arc::<Leash>::clone(&leash);
        let engine_facts = engine.facts().await?;
        Ok(Self {
            project: self.project.clone(),
            context: self.context.clone(),
            engine,
            leash,
            engine_facts,
            events: Arc::clone(&self.events),
            cancellation: self.cancellation.clone(),
            options: self.options.clone(),
            store: self.store.clone(),
            shared: self.shared.clone(),
            observed: self.observed.clone(),
            owner: self.owner,
            network: self.network.clone(),
            registry: self.registry.clone(),
            new_volumes: Mutex::default(),
            roots: Mutex::default(),
            published: Mutex::default(),
            settled: Mutex::default(),
            hold: Arc::clone(&self.hold),
        })
    }
}
