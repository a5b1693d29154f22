//! Opening plugins for real, one by one, each as its contract says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::started;
use super::opener::Opener;
use super::placed::plugins_directory;
use super::stage::{PROBE_PATH, SCRATCH, Stage};
use super::{Run, RunError};
use crate::config::{Contract, NamedContract};
use crate::event::Event;
use crate::smoke::{self, Confinement, Place, PluginObservation, SmokeFailure, Within};

/// Those of a project without a smoke test.
static NO_VARIABLES: BTreeMap<String, String> = BTreeMap::new();
/// How long one plugin may take to load and to answer.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a process may take in which several plugins are opened. The loader takes no more than an hour.
const PROCESS_TIMEOUT_LIMIT: Duration = Duration::from_secs(600);
/// How long it may take until nothing of a plugin is left.
const PLUGIN_GRACE: Duration = Duration::from_secs(10);

/// What became of a plugin, and in whose process that was.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    /// Its place in the project's list.
    pub(super) plugin: usize,
    pub(super) opener: Opener,
    pub(super) observation: PluginObservation,
}

/// How plugins are opened.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) opener: &'a Opener,
    pub(super) contract: &'a Contract,
}

impl Run {
    /// What becomes of each plugin, in the project's order; nothing of those that nobody opens.
    pub(super) async fn open_plugins(&self, stage: &Stage<'_>) -> Result<Vec<Opened>, RunError> {
        let mut opened = Vec::new();
        for (named, opener) in self.project.contracts.iter().zip(&stage.openers) {
            opened.extend(self.open_kind(stage, named, opener).await?);
        }
        opened.sort_by_key(|opened| opened.plugin);
        self.open_after_others(stage, &mut opened).await?;
        Ok(opened)
    }

    /// Where a container finds the file that the host loads of a plugin.
    pub(super) fn plugin_path(&self, plugin: usize) -> String {
        let place = self.project.plugins.get(plugin).map_or("", |unit| unit.main_place());
        format!("{}/{place}", plugins_directory(&self.project))
    }

    /// Opens each plugin of a contract alone.
    async fn open_kind(
        &self,
        stage: &Stage<'_>,
        named: &NamedContract,
        opener: &Opener,
    ) -> Result<Vec<Opened>, RunError> {
        let plugins: Vec<usize> = self
            .project
            .plugins
            .iter()
            .enumerate()
            .filter(|(_, unit)| unit.contract == named.name)
            .map(|(plugin, _)| plugin)
            .collect();
        if *opener == Opener::Nobody {
            return Ok(vec![]);
        }
        let role = match &named.name {
            Some(name) => format!("open-{name}"),
            None => "open".to_owned(),
        };
        let mut opener = opener;
        let contract = &named.contract;
        let mut seen = self
            .open_in_containers(Manner { opener, contract }, stage, &role, &[], &plugins)
            .await?;
        if contract.opened_by.is_none()
            && let Some(unopened) = seen.iter().find(|plugin| plugin.is_unopened())
        {
            let message = format!(
                "{} does not come to its main when it is started alone, so the smoke loader opens the plugins: {}",
                self.project.host.name(),
                smoke::outcome_in_words(unopened)
            );
            self.events.emit(Event::Warning {
                message,
                hint: Some("`opened_by: loader` in the contract says that it is to be so".to_owned()),
            });
            opener = &Opener::Loader;
            seen = self
                .open_in_containers(Manner { opener, contract }, stage, &role, &[], &plugins)
                .await?;
        }
        let opened = plugins.into_iter().zip(seen).map(|(plugin, observation)| Opened {
            plugin,
            opener: opener.clone(),
            observation,
        });
        Ok(opened.collect())
    }

    /// What the loader says of each of these plugins, opened after those that are `before` them. None of them can take that of
    /// another one with it: where the loader ends early, the others are left to a new container, and each decides about one at
    /// least.
    pub(super) async fn open_in_containers(
        &self,
        manner: Manner<'_>,
        stage: &Stage<'_>,
        role: &str,
        before: &[usize],
        plugins: &[usize],
    ) -> Result<Vec<PluginObservation>, RunError> {
        let path = |plugin: &usize| self.plugin_path(*plugin);
        let (before, paths): (Vec<_>, Vec<_>) = (before.iter().map(path).collect(), plugins.iter().map(path).collect());
        let mut seen = Vec::new();
        let mut round = 1;
        while seen.len() < paths.len() {
            let role = if round == 1 {
                role.to_owned()
            } else {
                format!("{role}-{round}")
            };
            seen.extend(
                self.open_in_one_container(manner, stage, &role, &before, &paths[seen.len()..])
                    .await?,
            );
            round += 1;
        }
        let named = seen
            .into_iter()
            .zip(plugins)
            .map(|(observation, plugin)| PluginObservation {
                name: self.project.plugins[*plugin].main_place().to_owned(),
                ..observation
            });
        Ok(named.collect())
    }

    /// What the loader says of the first of these plugins, in a container of its own; never of none of them.
    async fn open_in_one_container(
        &self,
        manner: Manner<'_>,
        stage: &Stage<'_>,
        role: &str,
        before: &[String],
        paths: &[String],
    ) -> Result<Vec<PluginObservation>, RunError> {
        let within = match manner.opener {
            Opener::Host(program) => Some(Within {
                program,
                probe: PROBE_PATH,
                env: started(&self.project).map_or(&NO_VARIABLES, |invocation| &invocation.env),
                plugins_directory: plugins_directory(&self.project),
            }),
            Opener::Loader | Opener::Nobody => None,
        };
        let count = |plugins: &[String]| u32::try_from(plugins.len()).unwrap_or(u32::MAX);
        let timeout = PLUGIN_TIMEOUT.saturating_mul(count(before).saturating_add(1));
        let timeout = timeout.min(PROCESS_TIMEOUT_LIMIT);
        let confinement = Confinement {
            user: stage.accounts.owner_of(started(&self.project)),
            scratch: &SCRATCH,
        };
        let arguments = smoke::open(manner.contract, within, timeout, confinement, before, paths);
        let limit = (timeout + PLUGIN_GRACE).saturating_mul(count(paths));
        let told = self.run_loader(stage, role, arguments, limit, None).await?;
        let report =
            smoke::plugin_report(&told.events, paths, !told.ending.is_success()).map_err(SmokeFailure::from)?;
        match (report.place, report.plugins.is_empty(), paths.first()) {
            // Nothing but this plugin was ever at work there, so nothing else can have ended it. Of a later one that is
            // not known: what an earlier one has done may show only then.
            (Place::AtWork, true, Some(path)) => Ok(vec![PluginObservation::ended_loader(
                path,
                smoke::described(&told.ending),
            )]),
            (_, false, _) => Ok(report.plugins),
            (_, true, _) => Err(told.failure().into()),
        }
    }
}
