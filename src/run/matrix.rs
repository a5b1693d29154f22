//! `matrix`: every host with every plugin of every environment, each for real in the host's runtime image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{StreamExt as _, TryStreamExt as _};

use super::accounts::{Accounts, accounts};
use super::build::Workload;
use super::check::{CheckedFiles, CheckedHost, CheckedPlugin, check_bundle, in_smoke, predict, smoked_contract};
use super::compile::CompileInput;
use super::install::Installs;
use super::opener::Opener;
use super::placed::PlacedFile;
use super::resolved::ResolvedEnvironment;
use super::stage::{Stage, StagedBundle};
use super::{Run, RunError};
use crate::bundle::Manifest;
use crate::config::{Project, Unit};
use crate::engine::ImageId;
use crate::event::{Event, Stage as EventStage};
use crate::lock;
use crate::matrix::{Cell, MATRIX_SCHEMA_VERSION, Matrix, Prediction, Seen, observe};
use crate::name::EnvironmentName;
use crate::rootfs::RootFs;
use crate::smoke::{HostObservation, PluginObservation};

/// A host's side and a plugins' side, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    host: usize,
    of: usize,
}

/// Which plugins a host is given, by the place of their environment and of the one that is looked at.
type Given = BTreeMap<(usize, usize), Vec<usize>>;

/// Those that are given with a plugin, which is the last.
fn others(given: &[usize]) -> &[usize] {
    given.split_last().map_or(&[], |(_, others)| others)
}

/// One environment's side of the matrix: what it has published, and what loads it.
pub(super) struct Side {
    name: EnvironmentName,
    runtime: ImageId,
    root: Option<Arc<dyn RootFs>>,
    accounts: Accounts,
    bundle: PathBuf,
    loader: PathBuf,
    openers: Vec<Opener>,
    manifest: Manifest,
    installs: Installs,
}

impl Side {
    /// The host's files.
    pub(super) fn files_of(&self, project: &Project) -> Vec<PlacedFile> {
        PlacedFile::of_host(&project.host, &self.manifest, &self.bundle)
    }

    /// The files of all plugins.
    pub(super) fn files_of_plugins(&self, project: &Project) -> Vec<PlacedFile> {
        project.plugins.iter().flat_map(|plugin| self.files(plugin)).collect()
    }

    fn files(&self, unit: &Unit) -> Vec<PlacedFile> {
        PlacedFile::of_bundle(unit, &self.manifest, &self.bundle)
    }

    /// Who is who in its runtime image.
    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The directory that holds the loader of this environment.
    pub(super) fn loader(&self) -> &Path {
        &self.loader
    }

    /// A container of this side's runtime image with these files.
    pub(super) fn stage<'a>(&'a self, subject: &'a str, host: Vec<PlacedFile>, plugins: Vec<PlacedFile>) -> Stage<'a> {
        Stage {
            environment: &self.name,
            subject,
            image: &self.runtime,
            loader: self.loader.clone(),
            accounts: &self.accounts,
            openers: self.openers.clone(),
            bundle: StagedBundle::OfFiles(host),
            plugins,
            installs: self.installs.clone(),
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
        let sides = &sides;
        let pairs: Vec<Pair> = (0..sides.len())
            .flat_map(|host| (0..sides.len()).map(move |of| Pair { host, of }))
            .collect();
        let opened: BTreeMap<Pair, BTreeMap<usize, PluginObservation>> =
            futures_util::stream::iter(pairs.clone())
                .map(|pair| async move {
                    Ok::<_, RunError>((pair, self.open_all(&sides[pair.host], &sides[pair.of]).await?))
                })
                .buffer_unordered(self.options.jobs)
                .try_collect()
                .await?;
        let units = &self.project.plugins;
        let given = self.given(sides.len(), &opened);
        let (given, opened) = (&given, &opened);
        let runs: Vec<(Pair, usize)> = pairs
            .iter()
            .flat_map(|pair| (0..units.len()).map(|unit| (*pair, unit)))
            .collect();
        let driven: BTreeMap<(Pair, usize), Option<HostObservation>> = futures_util::stream::iter(runs.clone())
            .map(|(pair, unit)| async move {
                let units: Vec<&Unit> = given[&(pair.of, unit)].iter().map(|unit| &units[*unit]).collect();
                let host = self.drive_one(&sides[pair.host], &sides[pair.of], &units).await?;
                Ok::<_, RunError>(((pair, unit), host))
            })
            .buffer_unordered(self.options.jobs)
            .try_collect()
            .await?;
        let predictions = self.predictions(sides, &runs, given)?;
        let seen = |pair: Pair, unit: usize| {
            let plugin = opened.get(&pair)?.get(&unit)?.clone();
            Some(Seen {
                plugin,
                host: driven.get(&(pair, unit))?.clone(),
            })
        };
        let cell = |(pair, unit): &(Pair, usize)| {
            let home = seen(
                Pair {
                    host: pair.of,
                    of: pair.of,
                },
                *unit,
            )?;
            Some(Cell {
                host: sides[pair.host].name.clone(),
                plugins: sides[pair.of].name.clone(),
                plugin: units[*unit].name.to_string(),
                after: others(&given[&(pair.of, *unit)])
                    .iter()
                    .map(|other| units[*other].name.to_string())
                    .collect(),
                observed: observe(&seen(*pair, *unit)?, &home),
                predicted: predictions.get(&(*pair, *unit)).cloned(),
            })
        };
        Ok(Matrix {
            schema_version: MATRIX_SCHEMA_VERSION,
            project: self.project.name.clone(),
            environments: environments.to_vec(),
            plugins: units.iter().map(|unit| unit.name.to_string()).collect(),
            cells: driven.keys().filter_map(cell).collect(),
        })
    }

    /// Which plugins a host is given for each of an environment: those without which it does not load at home, and itself,
    /// which is the last.
    fn given(&self, sides: usize, opened: &BTreeMap<Pair, BTreeMap<usize, PluginObservation>>) -> Given {
        let given_for = |of: usize, unit: usize| -> Vec<usize> {
            let home = opened.get(&Pair { host: of, of }).and_then(|seen| seen.get(&unit));
            let after = home.map_or(&[][..], |plugin| &plugin.after);
            let places = after
                .iter()
                .filter_map(|name| self.project.plugins.iter().position(|unit| unit.main_place() == name));
            places.chain([unit]).collect()
        };
        (0..sides)
            .flat_map(|of| (0..self.project.plugins.len()).map(move |unit| (of, unit)))
            .map(|(of, unit)| ((of, unit), given_for(of, unit)))
            .collect()
    }

    /// What is to be expected of each host with each plugin, every one in a process of its own, with those that it needs.
    fn predictions(
        &self,
        sides: &[Side],
        runs: &[(Pair, usize)],
        given: &Given,
    ) -> Result<BTreeMap<(Pair, usize), Prediction>, RunError> {
        let mut predictions = BTreeMap::new();
        for (pair, unit) in runs {
            let (host, of) = (&sides[pair.host], &sides[pair.of]);
            let Some(root) = &host.root else { continue };
            let files = CheckedFiles {
                host: CheckedHost::of(&self.project.host, host.files_of(&self.project)),
                plugins: given[&(pair.of, *unit)]
                    .iter()
                    .map(|unit| &self.project.plugins[*unit])
                    .map(|unit| CheckedPlugin {
                        files: of.files(unit),
                        contract: smoked_contract(self.project.contracts.of(unit)),
                    })
                    .collect(),
                with_companions: false,
            };
            let reports = predict(&host.name, root, &files, &self.project, in_smoke())?;
            let prediction = reports.into_iter().next_back().map(|report| Prediction {
                verdict: report.verdict,
                codes: report.findings.iter().map(|finding| finding.code.to_owned()).collect(),
                outcome: report.predicted,
            });
            predictions.extend(prediction.map(|prediction| ((*pair, *unit), prediction)));
        }
        Ok(predictions)
    }

    /// What one environment brings: its bundle, its runtime image, its loader.
    pub(super) async fn side(&self, name: &EnvironmentName, work: &Workload) -> Result<Side, RunError> {
        let unknown = || crate::plan::PlanError::UnknownEnvironment {
            name: name.to_string(),
            known: vec![],
        };
        let plan = work.plan_of(name).ok_or_else(unknown)?;
        let locked: Option<&lock::Environment> = work.lock.lock.environments.get(name);
        let resolved: ResolvedEnvironment = self
            .resolve(name, locked, false)
            .await
            .map_err(|error| error.located(&work.lock))?;
        let loader = self
            .compile(
                name,
                &resolved.build_image(),
                &plan.loader,
                &work.loader.tree,
                CompileInput::default(),
                &self.cancellation,
            )
            .await?;
        let bundle = self.project.directory.join(&plan.publication.directory);
        let manifest = check_bundle(&bundle, &plan.publication.directory)?;
        let root = self.runtime_root(&resolved.runtime).await?;
        let accounts = accounts(name, &*root, self.project.smoke.as_ref())?;
        Ok(Side {
            name: name.clone(),
            runtime: resolved.runtime.id,
            root: self.options.check.then_some(root),
            accounts,
            loader: loader.directory,
            openers: self.openers(&bundle)?,
            bundle,
            manifest,
            installs: Installs::of(&self.project.host, &plan.units)?,
        })
    }

    /// What opening all plugins of one side in a process of the other comes to.
    async fn open_all(&self, host: &Side, of: &Side) -> Result<BTreeMap<usize, PluginObservation>, RunError> {
        self.is_cancelled()?;
        let step = Self::step(&host.name, EventStage::Smoke, format!("{} plugins, opened", of.name));
        self.events.emit(Event::StepStarted { step: step.clone() });
        let stage = host.stage(
            of.name.as_str(),
            host.files_of(&self.project),
            of.files_of_plugins(&self.project),
        );
        let result = self.open_plugins(&stage).await.map(|opened| {
            let by_plugin = opened.into_iter().map(|opened| (opened.plugin, opened.observation));
            by_plugin.collect()
        });
        self.emit_end(step, &result, |_| "seen".to_owned());
        result
    }

    /// What the host of one side does with one plugin of another, the last of these, and with no plugin but those that it needs.
    async fn drive_one(&self, host: &Side, of: &Side, units: &[&Unit]) -> Result<Option<HostObservation>, RunError> {
        self.is_cancelled()?;
        let name = units.last().map(|unit| unit.name.to_string()).unwrap_or_default();
        let step = Self::step(&host.name, EventStage::Smoke, format!("{} {name}, host", of.name));
        self.events.emit(Event::StepStarted { step: step.clone() });
        let subject = format!("{}-{name}", of.name);
        let files = units.iter().flat_map(|unit| of.files(unit)).collect();
        let stage = host.stage(&subject, host.files_of(&self.project), files);
        let result = self.drive_host(&stage).await;
        self.emit_end(step, &result, |_| "seen".to_owned());
        result
    }
}
