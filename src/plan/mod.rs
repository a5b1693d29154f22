//! What would be done: a project, what its sources contain and the lock in; every step as a value out.
//!
//! Pure: no file, no clock, no engine. A plan can be printed as JSON, and its parts are what a run carries out.

mod action;
mod environment;
mod file;
mod host;
mod render;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::{LanguageName, Loader, Project, Unit};
use crate::digest::Digest;
use crate::lock::Lock;
use crate::name::{EnvironmentName, ProjectName, UnitName};
use crate::nearest::nearest;

pub use action::{Command, UnitPlan, UnitSource};
use environment::Parts;
pub use environment::{EnvironmentPlan, Publication};
pub use file::PlannedFile;
pub use host::PlannedHost;
pub use render::render;

/// The version of the plan's JSON form.
pub const PLAN_SCHEMA_VERSION: u32 = 1;

/// All that `build` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// [`PLAN_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The project.
    pub project: ProjectName,
    /// The environments, in the order in which they are built.
    pub environments: Vec<EnvironmentPlan>,
}

/// Why a project that reads well cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// An environment was asked for that the project does not have.
    #[error("the project has no environment `{name}`")]
    UnknownEnvironment {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<EnvironmentName>,
    },
    /// A Go plugin can be loaded only by a host of the same module graph.
    #[error("the Go units {} do not share one module graph", list(units))]
    ModuleGraphs {
        /// Those whose go.mod, go.sum or go.work differ from the first one's.
        units: Vec<UnitName>,
    },
    /// The language's own command yields one file.
    #[error("`{unit}` names {count} artifacts, and the {language:?} command yields one")]
    TooManyArtifacts {
        /// The unit.
        unit: UnitName,
        /// How many it names.
        count: usize,
        /// Its language.
        language: LanguageName,
    },
}

impl PlanError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownEnvironment { name, known } => {
                let meant = nearest(name, known.iter().map(EnvironmentName::as_str));
                let meant = meant.map(|meant| format!("did you mean `{meant}`? "));
                format!("{}there are: {}", meant.unwrap_or_default(), list(known))
            }
            Self::ModuleGraphs { .. } => {
                "give them the same `source:` (the module's root) and tell them apart by `package:`".to_owned()
            }
            Self::TooManyArtifacts { .. } => {
                "give the unit a `command:` that leaves all of them in $LOCKSTEP_OUT".to_owned()
            }
        }
    }
}

fn list(names: &[impl ToString]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The environments that a command line asks for, or the project's default ones.
///
/// # Errors
/// [`PlanError::UnknownEnvironment`].
pub fn select(project: &Project, asked: &[String]) -> Result<Vec<EnvironmentName>, PlanError> {
    if asked.is_empty() {
        return Ok(project.default.clone());
    }
    let find = |name: &String| {
        let unknown = || PlanError::UnknownEnvironment {
            name: name.clone(),
            known: project.environments.keys().cloned().collect(),
        };
        project
            .environments
            .keys()
            .find(|known| known.as_str() == name)
            .cloned()
            .ok_or_else(unknown)
    };
    let mut environments = Vec::new();
    for name in asked {
        let name = find(name)?;
        if !environments.contains(&name) {
            environments.push(name);
        }
    }
    Ok(environments)
}

/// Plans `environments` of a project. `sources` has an entry for each unit, `host` is what the project brings as its host, and
/// `loader` is the smoke loader as a unit of its own with its sources.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    project: &Project,
    environments: &[EnvironmentName],
    (host, sources): (Option<&PlannedFile>, &BTreeMap<UnitName, UnitSource>),
    loader: &(Unit, UnitSource),
    lock: Option<&Lock>,
) -> Result<Plan, PlanError> {
    check_artifacts(project)?;
    check_module_graphs(project, sources)?;
    let own = |unit: &Unit, source: &UnitSource| UnitPlan::new(unit, source, project.source_date_epoch);
    let builds: Vec<UnitPlan> = project
        .builds
        .iter()
        .filter_map(|build| {
            // The sources of its units are its own.
            let unit = project.units().find(|unit| unit.from == build.from)?;
            let source = sources.get(&unit.name)?;
            Some(own(
                build,
                &UnitSource {
                    files: vec![],
                    ..source.clone()
                },
            ))
        })
        .collect();
    let units: Vec<UnitPlan> = project
        .units()
        .filter_map(|unit| {
            let source = sources.get(&unit.name)?;
            match &unit.from {
                None => Some(own(unit, source)),
                Some(name) => {
                    let build = builds.iter().find(|build| build.name == *name)?;
                    Some(UnitPlan::taken_from(build, unit, &source.files))
                }
            }
        })
        .collect();
    let host = PlannedHost::of(&project.host, host.cloned());
    let loader = UnitPlan::new(&loader.0, &loader.1, project.source_date_epoch);
    let parts = Parts {
        host: host.as_ref(),
        builds: &builds,
        units: &units,
        loader: &loader,
    };
    let environments = environments
        .iter()
        .filter_map(|name| project.environments.get(name).map(|environment| (name, environment)))
        .map(|(name, environment)| {
            let locked = lock.and_then(|lock| lock.environments.get(name));
            EnvironmentPlan::new(project, name, environment, parts, locked)
        })
        .collect();
    Ok(Plan {
        schema_version: PLAN_SCHEMA_VERSION,
        project: project.name.clone(),
        environments,
    })
}

fn check_artifacts(project: &Project) -> Result<(), PlanError> {
    let yields_one =
        |unit: &Unit| unit.command.is_none() && unit.build.is_none() && unit.language != LanguageName::Rust;
    match project
        .units()
        .find(|unit| yields_one(unit) && unit.artifacts.len() > 1)
    {
        None => Ok(()),
        Some(unit) => Err(PlanError::TooManyArtifacts {
            unit: unit.name.clone(),
            count: unit.artifacts.len(),
            language: unit.language,
        }),
    }
}

/// What the Go runtime compares at load are the packages that host and plugin share, so their modules must be the same.
fn check_module_graphs(project: &Project, sources: &BTreeMap<UnitName, UnitSource>) -> Result<(), PlanError> {
    if project.contracts.loader() != Loader::Go {
        return Ok(());
    }
    let graph = |unit: &Unit| -> Option<Vec<Digest>> {
        sources.get(&unit.name).map(|source| {
            source
                .dependency_files
                .values()
                .map(|text| Digest::of(text.as_bytes()))
                .collect()
        })
    };
    let go_units: Vec<&Unit> = project
        .units()
        .filter(|unit| unit.language == LanguageName::Go)
        .collect();
    let differing: Vec<UnitName> = go_units
        .iter()
        .filter(|unit| graph(unit) != go_units.first().and_then(|first| graph(first)))
        .map(|unit| unit.name.clone())
        .collect();
    if differing.is_empty() {
        Ok(())
    } else {
        Err(PlanError::ModuleGraphs { units: differing })
    }
}
