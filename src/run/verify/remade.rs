//! Images that are made again though they are there: do they come out as the lock has them?

use super::super::error::MakeError;
use super::super::recipe::{Kind, Remaking};
use super::super::resolved::{BuildImage, Wanted, identity};
use super::super::{Run, RunError};
use crate::config::RecipeReference;
use crate::engine::ImageId;
use crate::event::Stage;
use crate::image::{LocalImage, provide};
use crate::lock::{self, Role};
use crate::plan::EnvironmentPlan;
use crate::temporary::{COLLECT_PREFIX, TemporaryDirectory};
use crate::verify::VerifiedImage;

/// What came of making an environment's images again.
#[derive(Default)]
pub(super) struct Remade {
    /// The report.
    pub(super) images: Vec<VerifiedImage>,
    /// The build image, where it is another one than the lock's; the engine has it for now.
    pub(super) build: Option<BuildImage>,
    /// What the engine was given to compare with.
    loaded: Vec<ImageId>,
}

impl Run {
    /// Makes the images of an environment again, with nothing that is kept of them, and compares.
    pub(super) async fn remake_images(
        &self,
        plan: &EnvironmentPlan,
        locked: &lock::Environment,
    ) -> Result<Remade, RunError> {
        let mut remade = Remade::default();
        let Some(recipes) = self.project.environments.get(&plan.name) else {
            return Ok(remade);
        };
        for (role, recipe, expected) in [
            (Role::Build, &recipes.build, &locked.build),
            (Role::Runtime, &recipes.runtime, &locked.runtime),
        ] {
            self.is_cancelled()?;
            let done = self.remake_image(plan, (role, recipe, expected), &mut remade).await;
            if done.is_err() {
                self.forget_remade(&remade).await?;
            }
            done?;
        }
        Ok(remade)
    }

    async fn remake_image(
        &self,
        plan: &EnvironmentPlan,
        (role, recipe, expected): (Role, &RecipeReference, &lock::Image),
        remade: &mut Remade,
    ) -> Result<(), RunError> {
        let step = Self::step(&plan.name, Stage::Images, format!("{role} image, again"));
        let wanted = Wanted {
            role,
            recipe,
            expected: Some(expected),
            pushed: None,
        };
        let root = self.store.root();
        let scratch = TemporaryDirectory::new_in(root, COLLECT_PREFIX);
        let scratch = scratch.map_err(RunError::file_at("make a directory in", root))?;
        let making = self.making(&step, &wanted, false);
        let kind = Kind::of(&self.project, recipe)?;
        let told = |remaking: &Remaking| match remaking {
            Remaking::Made(image) => image.id().short(),
            Remaking::NotMade { why } => why.clone(),
        };
        let remaking = kind.remake(&making, expected, scratch.path());
        let made = self.in_step(step.clone(), told, remaking).await;
        let mut record = VerifiedImage {
            role,
            expected: expected.id.clone(),
            remade: None,
            equal: true,
            details: vec![],
        };
        match made {
            Ok(Remaking::NotMade { why }) => record.details.push(why),
            Ok(Remaking::Made(image)) => {
                record.equal = image.id().to_string() == expected.id;
                record.remade = Some(image.id().to_string());
                if !record.equal {
                    record.details = self.other_image(role, expected, &image, remade).await?;
                }
            }
            // It is not what the lock has, and it is not there to be looked at.
            Err(RunError::Image(error)) if error.is_of_the_image() => {
                record.equal = false;
                record.details = one_line_each(&error);
            }
            Err(error) => return Err(error),
        }
        remade.images.push(record);
        Ok(())
    }

    /// Gives the engine an image that is not the lock's, and says in what it differs.
    async fn other_image(
        &self,
        role: Role,
        expected: &lock::Image,
        image: &LocalImage,
        remade: &mut Remade,
    ) -> Result<Vec<String>, RunError> {
        let provided = provide(self.engine.as_ref(), image).await;
        let (facts, was_there) = provided.map_err(MakeError::from)?;
        if !was_there {
            remade.loaded.push(facts.id.clone());
        }
        let layers = image.diff_ids();
        if role == Role::Build {
            remade.build = Some(BuildImage {
                id: facts.id.clone(),
                identity: identity(&lock::Image {
                    layers: layers.clone(),
                    ..expected.clone()
                }),
            });
        }
        self.differing_files_of(role.name(), expected, &facts.id, &layers).await
    }

    /// Takes from the engine what it was given to compare with.
    pub(super) async fn forget_remade(&self, remade: &Remade) -> Result<(), RunError> {
        for image in &remade.loaded {
            self.engine.remove_image(&image.0).await?;
        }
        Ok(())
    }
}

fn one_line_each(error: &MakeError) -> Vec<String> {
    error.to_string().lines().map(str::to_owned).collect()
}
