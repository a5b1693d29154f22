//! One environment's part of a plan.

use serde::Serialize;

use super::UnitPlan;
use crate::config::{Environment, Program, Project, RecipeReference, RuntimeProgram};
use crate::lock;
use crate::name::{EnvironmentName, ProjectName};

/// What is done for one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvironmentPlan {
    /// Its name.
    pub name: EnvironmentName,
    /// How the build image comes about.
    pub build: RecipeReference,
    /// How the runtime image comes about.
    pub runtime: RecipeReference,
    /// The images that the lock demands: build and runtime; none before the first build.
    pub locked_images: Option<(String, String)>,
    /// The host, where it is a program of the runtime image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<RuntimeProgram>,
    /// The units, host first, all compiled in the build image.
    pub units: Vec<UnitPlan>,
    /// The smoke loader, compiled in the same image.
    pub loader: UnitPlan,
    /// Where the result goes.
    pub publication: Publication,
}

/// Where an environment's bundle is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// The directory, relative to the project's.
    pub directory: String,
    /// The shared volume.
    pub volume: String,
    /// The matched image.
    pub image: String,
    /// A name for the build image, for those who compile in it by hand or with compose.
    pub build_image: String,
}

impl Publication {
    /// Where `environment` of `project` is published.
    #[must_use]
    pub fn new(project: &ProjectName, environment: &EnvironmentName) -> Self {
        Self {
            directory: format!("dist/{environment}"),
            volume: format!("lockstep-{project}-{environment}"),
            image: format!("lockstep/{project}:{environment}"),
            build_image: format!("lockstep/{project}:{environment}-build"),
        }
    }
}

impl EnvironmentPlan {
    pub(super) fn new(
        project: &Project,
        name: &EnvironmentName,
        environment: &Environment,
        units: &[UnitPlan],
        loader: &UnitPlan,
        locked: Option<&lock::Environment>,
    ) -> Self {
        Self {
            name: name.clone(),
            build: environment.build.clone(),
            runtime: environment.runtime.clone(),
            locked_images: locked.map(|locked| (locked.build.id.clone(), locked.runtime.id.clone())),
            host: match &project.host.program {
                Program::Compiled(_) => None,
                Program::Runtime(program) => Some(program.clone()),
            },
            units: units.to_vec(),
            loader: loader.clone(),
            publication: Publication::new(&project.name, name),
        }
    }
}
