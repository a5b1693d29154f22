//! Images of the environments that come later, made while earlier ones are built: they lie in the user's cache when it is their turn.
//!
//! Only what takes long and needs no engine: an image of packages is made by programs of this machine.

use std::convert::Infallible;

use futures_util::stream::StreamExt as _;

use super::recipe::{Kind, assembled};
use super::resolved::Wanted;
use super::{Run, RunError};
use crate::config::RecipeReference;
use crate::event::{Recorded, Stage, StepId};
use crate::image::make;
use crate::lock::Role;
use crate::name::EnvironmentName;
use crate::plan::EnvironmentPlan;

/// How many images are made ahead at once: making one keeps a processor busy.
const AT_ONCE_COUNT: usize = 1;

impl Run {
    /// Does `work`, and meanwhile makes the images of packages that these environments will want. How that goes is told when
    /// they are wanted.
    pub(super) async fn with_images_ahead<T>(
        &self,
        later: &[&EnvironmentPlan],
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        if self.options.jobs == 1 || self.options.offline || later.is_empty() {
            return work.await;
        }
        let images = later
            .iter()
            .flat_map(|plan| [&plan.build, &plan.runtime].map(|recipe| (&plan.name, recipe)));
        let ahead = async {
            let making = futures_util::stream::iter(images);
            let making = making.for_each_concurrent(AT_ONCE_COUNT, |(environment, recipe)| async move {
                // Whoever wants it meets the same.
                let _ = self.make_ahead(environment, recipe).await;
            });
            making.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            done = work => done,
            never = ahead => match never {},
        }
    }

    /// Makes an image of packages, if it is one, and the engine has it under no name.
    async fn make_ahead(&self, environment: &EnvironmentName, recipe: &RecipeReference) -> Result<(), RunError> {
        let Kind::Bootstrapped(recipe_of_packages) = Kind::of(&self.project, recipe)? else {
            return Ok(());
        };
        let step = StepId {
            environment: Some(environment.clone()),
            stage: Stage::Images,
            subject: None,
        };
        let wanted = Wanted {
            role: Role::Build,
            recipe,
            expected: None,
            pushed: None,
        };
        // Told when somebody waits for it.
        let untold = Recorded::default();
        let mut making = self.making(&step, &wanted, false);
        making.events = &untold;
        assembled(&making, recipe_of_packages, make).await.map(|_| ())
    }
}
