//! `matrix`: every host with every plugin of every environment, each for real in the host's runtime image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::stream::{StreamExt as _, TryStreamExt as _};

use super::build::Workload;
use super::images::ResolvedEnvironment;
use super::smoke::{Stage, plugin_files};
use super::{Run, RunError};
use crate::bundle::verify;
use crate::config::{Project, Unit};
use crate::engine::ImageId;
use crate::event::{Event, Stage as EventStage};
use crate::lock;
use crate::matrix::{Cell, MATRIX_SCHEMA_VERSION, Matrix, Seen, observe};
use crate::name::EnvironmentName;
use crate::smoke::{EventError, SmokeFailure};

/// Where the container finds the host and its companions.
const HOST_DIRECTORY: &str = "/lockstep/bin";
/// Where it finds the one plugin.
const PLUGINS_DIRECTORY: &str = "/lockstep/plugins";

/// One environment's side of the matrix: what it has published, and what loads it.
pub(super) struct Side {
    name: EnvironmentName,
    runtime: ImageId,
    bundle: PathBuf,
    loader: PathBuf,
}

impl Side {
    /// The host's files.
    pub(super) fn files_of(&self, project: &Project) -> Vec<PathBuf> {
        self.files(&project.host)
    }

    /// The files of all plugins.
    pub(super) fn files_of_plugins(&self, project: &Project) -> Vec<PathBuf> {
        project.plugins.iter().flat_map(|plugin| self.files(plugin)).collect()
    }

    fn files(&self, unit: &Unit) -> Vec<PathBuf> {
        unit.artifacts
            .iter()
            .map(|artifact| self.bundle.join(artifact))
            .collect()
    }

    /// The loader of this environment.
    pub(super) fn loader(&self) -> &Path {
        &self.loader
    }

    /// A container of this side's runtime image with these files.
    pub(super) fn stage<'a>(&'a self, subject: &'a str, host: Vec<PathBuf>, plugins: Vec<PathBuf>) -> Stage<'a> {
        Stage {
            environment: &self.name,
            subject,
            image: &self.runtime,
            loader: self.loader.clone(),
            volumes: vec![],
            files: vec![("bin", host), ("plugins", plugins)],
            host_directory: HOST_DIRECTORY.to_owned(),
            plugins_directory: PLUGINS_DIRECTORY.to_owned(),
        }
    }
}

impl Run {
    /// Builds what is not built, and loads every host with every plugin.
    ///
    /// # Errors
    /// [`RunError`]; that a plugin does not load is what the matrix tells, and no error.
    pub async fn matrix(&self, environments: &[EnvironmentName]) -> Result<Matrix, RunError> {
        self.build(environments).await?;
        let work = self.prepare(environments)?;
        let mut sides = Vec::new();
        for name in environments {
            sides.push(self.side(name, &work).await?);
        }
        let plugins = plugin_files(&self.project);
        let pairs: Vec<(usize, usize, String)> = (0..sides.len())
            .flat_map(|host| (0..sides.len()).map(move |of| (host, of)))
            .flat_map(|(host, of)| plugins.iter().map(move |plugin| (host, of, plugin.clone())))
            .collect();
        let seen: BTreeMap<(usize, usize, String), Seen> = futures_util::stream::iter(pairs)
            .map(|pair| async {
                let seen = self.see(&sides[pair.0], &sides[pair.1], &pair.2).await?;
                Ok::<_, RunError>((pair, seen))
            })
            .buffer_unordered(self.options.jobs)
            .try_collect()
            .await?;
        let cell = |((host, of, plugin), cell): (&(usize, usize, String), &Seen)| {
            let home = seen.get(&(*of, *of, plugin.clone()))?;
            let observed = if host == of {
                crate::matrix::observe_home(cell)
            } else {
                observe(cell, home)
            };
            Some(Cell {
                host: sides[*host].name.clone(),
                plugins: sides[*of].name.clone(),
                plugin: plugin.clone(),
                observed,
            })
        };
        Ok(Matrix {
            schema_version: MATRIX_SCHEMA_VERSION,
            project: self.project.name.clone(),
            environments: environments.to_vec(),
            plugins,
            cells: seen.iter().filter_map(cell).collect(),
        })
    }

    /// What one environment brings: its bundle, its runtime image, its loader.
    pub(super) async fn side(&self, name: &EnvironmentName, work: &Workload) -> Result<Side, RunError> {
        let unknown = || crate::plan::PlanError::UnknownEnvironment {
            name: name.to_string(),
            known: vec![],
        };
        let plan = work.plan_of(name).ok_or_else(unknown)?;
        let locked: Option<&lock::Environment> = work.lock.environments.get(name);
        let resolved: ResolvedEnvironment = self.resolve(name, locked, false).await?;
        let loader = self
            .compile(name, &resolved.build_image(), &plan.loader, &work.loader.tree)
            .await?;
        let bundle = self.project.directory.join(&plan.publication.directory);
        verify(&bundle)?;
        Ok(Side {
            name: name.clone(),
            runtime: resolved.runtime.id,
            bundle,
            loader: loader.directory.join("lockstep-loader"),
        })
    }

    /// Loads one plugin with the loader and with the host.
    async fn see(&self, host: &Side, of: &Side, plugin: &str) -> Result<Seen, RunError> {
        self.is_cancelled()?;
        let step = Self::step(&host.name, EventStage::Smoke, format!("{plugin} of {}", of.name));
        self.events.emit(Event::StepStarted { step: step.clone() });
        let result = self.load(host, of, plugin).await;
        self.emit_end(step, &result, |_| "seen".to_owned());
        result
    }

    async fn load(&self, host: &Side, of: &Side, plugin: &str) -> Result<Seen, RunError> {
        let unit = self
            .project
            .plugins
            .iter()
            .find(|unit| unit.artifacts.first().is_some_and(|first| first == plugin));
        let files = unit.map(|unit| of.files(unit)).unwrap_or_default();
        let subject = format!("{}-{}", of.name, plugin.trim_end_matches(".so"));
        let stage = host.stage(&subject, host.files_of(&self.project), files);
        let mut plugins = self.open_plugins(&stage, &[plugin.to_owned()]).await?;
        let host = self.drive_host(&stage).await?;
        plugins
            .pop()
            .map(|plugin| Seen { plugin, host })
            .ok_or_else(|| SmokeFailure::Event(EventError::Incomplete).into())
    }
}
