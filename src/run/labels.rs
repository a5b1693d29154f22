//! The labels on everything that is made: how it is found again, whoever made it and however that ended.

use crate::digest::Digest;
use crate::engine::Labels;
use crate::name::{EnvironmentName, ProjectName};

/// The project's name.
pub const PROJECT: &str = "dev.lockstep.project";
/// The environment's name.
pub const ENVIRONMENT: &str = "dev.lockstep.environment";
/// Which checkout on which machine.
pub const OWNER: &str = "dev.lockstep.owner";
/// Which run of the program.
pub const RUN: &str = "dev.lockstep.run";
/// The digest of the recipe that an image is of.
pub const RECIPE: &str = "dev.lockstep.recipe";
/// What it is for.
pub const ROLE: &str = "dev.lockstep.role";
/// The role of images that recipes were made into.
pub const ENVIRONMENT_ROLE: &str = "environment";

/// The labels of something that outlives the run.
#[must_use]
pub fn lasting(project: &ProjectName, environment: &EnvironmentName, owner: Digest, role: &str) -> Labels {
    [
        (PROJECT, project.to_string()),
        (ENVIRONMENT, environment.to_string()),
        (OWNER, owner.short()),
        (ROLE, role.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// The labels of a matched image: the same on every machine and in every checkout, since they are part of what it is. Whose it
/// is follows from the shared volume of its environment, which is published with it.
#[must_use]
pub fn matched(project: &ProjectName, environment: &EnvironmentName) -> Labels {
    let labels = [
        (PROJECT, project.to_string()),
        (ENVIRONMENT, environment.to_string()),
        (ROLE, "image".to_owned()),
    ];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The labels of something that is gone when the run ends: those of [`lasting`], and the run's.
#[must_use]
pub fn passing(mut lasting: Labels, run: &str) -> Labels {
    lasting.insert(RUN.to_owned(), run.to_owned());
    lasting
}
