//! One environment's part of a plan.

use serde::Serialize;

use super::{PlannedHost, UnitPlan};
use crate::bundle::METADATA_SUFFIX;
use crate::config::{Environment, Project, RecipeReference};
use crate::lock;
use crate::name::{EnvironmentName, ProjectName};

/// What the tags of build images end in.
const BUILD_SUFFIX: &str = "-build";

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
    /// The host, where it is not compiled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<PlannedHost>,
    /// What several units take their artifacts from; each is compiled once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<UnitPlan>,
    /// The units, host first, all compiled in the build image. The steps of one that takes from a build are that build's.
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
    /// What is said of the bundle, beside it: a directory, relative to the project's.
    pub metadata: String,
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
            metadata: format!("dist/{environment}{METADATA_SUFFIX}"),
            volume: format!("lockstep-{project}-{environment}"),
            image: format!("lockstep/{project}:{environment}"),
            build_image: format!("lockstep/{project}:{environment}{BUILD_SUFFIX}"),
        }
    }

    /// The environment of `project` whose build image has this name, if it is such a name.
    #[must_use]
    pub fn of_build_image(project: &ProjectName, name: &str) -> Option<EnvironmentName> {
        let (repository, tag) = name.rsplit_once(':')?;
        let is_ours = repository.strip_prefix("lockstep/") == Some(project.as_str());
        let environment = tag.strip_suffix(BUILD_SUFFIX).filter(|_| is_ours)?;
        EnvironmentName::new(environment).ok()
    }
}

/// What is the same in all environments of a project.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) host: Option<&'a PlannedHost>,
    pub(super) builds: &'a [UnitPlan],
    pub(super) units: &'a [UnitPlan],
    pub(super) loader: &'a UnitPlan,
}

impl EnvironmentPlan {
    /// What is compiled, each once: the builds, and the units that have a compile of their own.
    pub fn compiles(&self) -> impl Iterator<Item = &UnitPlan> {
        let own = self.units.iter().filter(|unit| unit.unit.from.is_none());
        self.builds.iter().chain(own)
    }

    /// The units whose artifacts a compile yields: those that take from it if it is a build, else its own unit.
    pub fn units_of<'a>(&'a self, compile: &'a UnitPlan) -> impl Iterator<Item = &'a UnitPlan> {
        let is_its = move |unit: &&UnitPlan| match &compile.unit.from {
            Some(_) => unit.unit.from == compile.unit.from,
            None => unit.name == compile.name,
        };
        self.units.iter().filter(is_its)
    }

    pub(super) fn new(
        project: &Project,
        name: &EnvironmentName,
        environment: &Environment,
        parts: Parts<'_>,
        locked: Option<&lock::Environment>,
    ) -> Self {
        Self {
            name: name.clone(),
            build: environment.build.clone(),
            runtime: environment.runtime.clone(),
            locked_images: locked.map(|locked| (locked.build.id.clone(), locked.runtime.id.clone())),
            host: parts.host.cloned(),
            builds: parts.builds.to_vec(),
            units: parts.units.to_vec(),
            loader: parts.loader.clone(),
            publication: Publication::new(&project.name, name),
        }
    }
}
