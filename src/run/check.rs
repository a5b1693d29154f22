//! What loading the artifacts will come to, predicted from the files before anything is loaded.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::accounts::accounts;
use super::compile::Compiled;
use super::error::AccountsError;
use super::placed::PlacedFile;
use super::resolved::{BroughtHost, ResolvedEnvironment, ResolvedImage};
use super::rootfs::stream_image;
use super::{OpenRootError, Run, RunError};
use crate::bundle::{Manifest, verify};
use crate::check::{
    Environment, PairReport, Plugin, Request, Restrictions, Subject, User, Verdict, check, may_give_rights,
};
use crate::config::{
    BindingTime, CheckContract, Contract, Host, Invocation, Loader, PLUGINS_PLACEHOLDER, Program, Project, Smoke, Unit,
};
use crate::digest::Digest;
use crate::engine::{Engine, EngineError};
use crate::event::{Event, Stage};
use crate::image::ImageCache;
use crate::language::ROOT;
use crate::name::{EnvironmentName, UnitName};
use crate::plan::EnvironmentPlan;
use crate::report::{CheckReport, render_check, render_findings};
use crate::rootfs::{FILES_DIRECTORY, OverlayRoot, RootFs, open_layers};

/// A host and its plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFiles {
    /// The host.
    pub host: CheckedHost,
    /// The plugins, in the order in which the host opens them.
    pub plugins: Vec<CheckedPlugin>,
    /// Whether what lies beside host and plugins is looked at too, as far as a loader could load it.
    pub with_companions: bool,
}

/// A plugin, and what the host expects of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPlugin {
    /// Its files: the first is the plugin, and the rest is beside it.
    pub files: Vec<PlacedFile>,
    /// What it is held to.
    pub contract: CheckContract,
}

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedHost {
    /// In files of this machine: the first is the program, and the rest is beside it.
    Files(Vec<PlacedFile>),
    /// In the root itself, by its absolute path there.
    InRoot(String),
}

impl CheckedHost {
    /// The host of a project; `files` are its own, of which one of the runtime image has none.
    #[must_use]
    pub fn of(host: &Host, files: Vec<PlacedFile>) -> Self {
        match &host.program {
            Program::Compiled(_) | Program::Brought(_) => Self::Files(files),
            Program::Runtime(program) => Self::InRoot(program.path.clone()),
        }
    }
}

/// What a host's process is started with, apart from its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedProcess {
    /// Variables, which come before those of the root; `{plugins}` in them stands for the directory that holds the plugins.
    pub variables: BTreeMap<String, String>,
    /// The working directory in the root.
    pub directory: String,
    /// Who starts it, if that is known.
    pub user: Option<User>,
    /// What keeps it from being given more rights.
    pub restrictions: Restrictions,
}

impl CheckedProcess {
    /// What the smoke test of a project is started with, as this user.
    #[must_use]
    pub fn of_smoke(project: &Project, user: Option<User>) -> Self {
        Self {
            variables: started(project)
                .map(|invocation| invocation.env.clone())
                .unwrap_or_default(),
            directory: ROOT.to_owned(),
            user,
            restrictions: Restrictions::default(),
        }
    }
}

/// How the smoke test starts the host.
pub(super) fn started(project: &Project) -> Option<&Invocation> {
    let step = project.smoke.as_ref().and_then(Smoke::started);
    step.map(|step| &step.invocation)
}

/// Who opens the plugins in the smoke test, in a container of the image with this root: the user of the step that is the host.
///
/// # Errors
/// When the image does not know a user whom a step names.
pub fn smoke_user(project: &Project, environment: &EnvironmentName, root: &dyn RootFs) -> Result<User, AccountsError> {
    let owner = accounts(environment, root, project.smoke.as_ref())?.owner_of(started(project));
    Ok(User {
        id: owner.uid,
        group: owner.gid,
        others: vec![],
    })
}

impl Run {
    /// Predicts what comes of what was compiled, with its line: of each plugin in their order. An error if one will not load,
    /// or not safely.
    pub(super) async fn check_stage(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        compiled: &BTreeMap<UnitName, Compiled>,
    ) -> Result<Vec<Verdict>, RunError> {
        if !self.options.check {
            return Ok(vec![]);
        }
        self.is_cancelled()?;
        let root = self.runtime_root(&resolved.runtime).await?;
        let located = |unit: &Unit| -> Vec<PlacedFile> {
            let compiled = compiled.get(&unit.name);
            let yielded = compiled
                .into_iter()
                .flat_map(|compiled| PlacedFile::of_compiled(unit, &compiled.directory));
            let planned = plan.units.iter().filter(|planned| planned.name == unit.name);
            let shipped = planned.flat_map(|planned| PlacedFile::of_project(&planned.files, &self.project.directory));
            yielded.chain(shipped).collect()
        };
        let plugin = |unit: &Unit| CheckedPlugin {
            files: located(unit),
            contract: smoked_contract(self.project.contracts.of(unit)),
        };
        let brought = resolved.brought.iter().map(BroughtHost::placed);
        let compiled = self.project.host.unit().map_or_else(Vec::new, located);
        let files = CheckedFiles {
            host: CheckedHost::of(&self.project.host, brought.chain(compiled).collect()),
            plugins: self.project.plugins.iter().map(plugin).collect(),
            with_companions: true,
        };
        let pairs = predict(&plan.name, &root, &files, &self.project, Restrictions::default())?;
        let verdicts = |pairs: &[PairReport]| -> Vec<Verdict> {
            let plugins = pairs.iter().filter(|pair| !pair.is_companion);
            plugins.map(|pair| pair.verdict).collect()
        };
        let predicted = match &files.host {
            // The smoke test gives no program rights, so it sees something else than who starts the host for good.
            CheckedHost::InRoot(path) if may_give_rights(&*root, path) => {
                verdicts(&predict(&plan.name, &root, &files, &self.project, in_smoke())?)
            }
            _ => verdicts(&pairs),
        };
        let report = CheckReport::new(pairs, &self.options.allowed);
        let plugins = report.subjects();
        let count = |verdict: Verdict| report.pairs.iter().filter(|pair| pair.verdict == verdict).count();
        let words: Vec<String> = [Verdict::Refuse, Verdict::Danger, Verdict::Unknown]
            .into_iter()
            .filter(|verdict| count(*verdict) > 0)
            .map(|verdict| format!("{} {}", count(verdict), verdict.word()))
            .collect();
        if report.verdict >= Verdict::Danger {
            return Err(RunError::Findings {
                environment: plan.name.clone(),
                what: format!("of {plugins}, {}", words.join(", ")),
                lines: render_check(&report).lines().map(str::to_owned).collect(),
            });
        }
        if report.verdict == Verdict::Unknown {
            self.events.emit(Event::Unknown {
                environment: plan.name.clone(),
                lines: render_findings(&report).trim_end().lines().map(str::to_owned).collect(),
            });
        }
        let text = if words.is_empty() {
            format!("{plugins} ok")
        } else {
            format!("{plugins} · {}", words.join(" · "))
        };
        self.events.emit(Event::StageSummary {
            environment: plan.name.clone(),
            stage: Stage::Check,
            text,
            note: String::new(),
        });
        Ok(predicted)
    }

    /// The root file system of a runtime image: from its layers in the user's cache, or from the engine, once in a run.
    pub(super) async fn runtime_root(&self, image: &ResolvedImage) -> Result<Arc<dyn RootFs>, RunError> {
        let roots = || self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = roots().get(&image.id) {
            return Ok(Arc::clone(root));
        }
        let (id, layers) = (&image.id.0, &image.locked.layers);
        let root = match cached_root(&self.context.cache_directory, id, layers)? {
            Some(root) => root,
            None => Arc::new(stream_image(self.engine.as_ref(), id).await?),
        };
        roots().insert(image.id.clone(), Arc::clone(&root));
        Ok(root)
    }
}

/// The root file system of an image whose layers are in the user's cache; none if one of them is not there.
///
/// # Errors
/// When a layer cannot be read.
pub fn cached_root(
    cache_directory: &Path,
    id: &str,
    layers: &[Digest],
) -> Result<Option<Arc<dyn RootFs>>, OpenRootError> {
    match ImageCache::below(cache_directory).layers(layers) {
        Some(layers) => Ok(Some(Arc::new(open_layers(&layers, id)?))),
        None => Ok(None),
    }
}

/// The root file system of an image, by ID; `engine` is connected to only if a layer is not in the user's cache.
///
/// # Errors
/// When a layer cannot be read, there is no engine, or it has no such image.
pub async fn image_root<E: Engine>(
    cache_directory: &Path,
    id: &str,
    layers: &[Digest],
    engine: impl Future<Output = Result<E, EngineError>>,
) -> Result<Arc<dyn RootFs>, OpenRootError> {
    if let Some(root) = cached_root(cache_directory, id, layers)? {
        return Ok(root);
    }
    let engine = engine.await.map_err(OpenRootError::Engine)?;
    Ok(Arc::new(stream_image(&engine, id).await?))
}

/// What a build takes of the contract: the smoke test opens eagerly, and what it would find must be found here.
#[must_use]
pub fn smoked_contract(contract: &Contract) -> CheckContract {
    let mut contract = CheckContract::from(contract);
    if contract.loader == Some(Loader::Dlopen) {
        contract.flags = contract.flags.or(Some(BindingTime::Now));
    }
    contract
}

/// What the process that opens plugins in a smoke test is given by its file.
pub(super) fn in_smoke() -> Restrictions {
    Restrictions {
        gives_nothing: true,
        ..Restrictions::default()
    }
}

/// Predicts what comes of opening every plugin, one after the other, in a root in which the files are put beside each other.
pub(super) fn predict(
    environment: &EnvironmentName,
    root: &Arc<dyn RootFs>,
    files: &CheckedFiles,
    project: &Project,
    restrictions: Restrictions,
) -> Result<Vec<PairReport>, RunError> {
    let user = smoke_user(project, environment, &**root)?;
    let mut process = CheckedProcess::of_smoke(project, Some(user));
    process.restrictions = restrictions;
    predict_files(root, files, &process, &|file| file.place.clone()).map_err(RunError::file("look at the artifacts"))
}

/// Predicts what comes of opening every plugin, one after the other, in a root in which the files are put beside each other;
/// `shown` is what the report calls a file.
///
/// # Errors
/// When this machine's files cannot be looked at.
pub fn predict_files(
    root: &Arc<dyn RootFs>,
    files: &CheckedFiles,
    process: &CheckedProcess,
    shown: &dyn Fn(&PlacedFile) -> String,
) -> io::Result<Vec<PairReport>> {
    let mut root = OverlayRoot::new(Some(Box::new(Arc::clone(root))))?;
    let mut put = |files: &[PlacedFile]| -> Vec<Subject> {
        let placed = files.iter().map(|file| Subject {
            shown: shown(file),
            path: root.put_at(&file.path, &file.place),
        });
        placed.collect()
    };
    let (host, beside_host) = match &files.host {
        CheckedHost::Files(files) => {
            let mut subjects = put(files).into_iter();
            (subjects.next(), subjects.collect())
        }
        CheckedHost::InRoot(path) => {
            let host = Subject {
                shown: path.clone(),
                path: path.clone(),
            };
            (Some(host), vec![])
        }
    };
    let Some(host) = host else {
        return Ok(vec![]);
    };
    let mut plugins = Vec::new();
    for CheckedPlugin { files, contract } in &files.plugins {
        let mut subjects = put(files).into_iter();
        plugins.extend(subjects.next().map(|subject| Plugin {
            subject,
            contract,
            beside: subjects.collect(),
        }));
    }
    let mut environment = Environment {
        variables: root.defaults().variables.iter().cloned().collect(),
        directory: process.directory.clone(),
        user: process.user.clone(),
        restrictions: process.restrictions.clone(),
    };
    let variables = process.variables.iter();
    let filled = variables.map(|(name, value)| (name.clone(), value.replace(PLUGINS_PLACEHOLDER, FILES_DIRECTORY)));
    environment.variables.extend(filled);
    Ok(check(&Request {
        root: &root,
        host,
        beside_host,
        plugins,
        environment: &environment,
        with_companions: files.with_companions,
        is_root_known: true,
    }))
}

/// An error unless a published bundle is what its manifest says, to the bit; `shown` is what messages call it. What is not
/// what was tested is neither loaded nor predicted.
///
/// # Errors
/// [`RunError::Altered`]; [`RunError::Publish`] when there is no bundle, or it cannot be read.
pub fn check_bundle(bundle: &Path, shown: &str) -> Result<Manifest, RunError> {
    let (manifest, differences) = verify(bundle)?;
    if differences.is_empty() {
        return Ok(manifest);
    }
    Err(RunError::Altered {
        directory: shown.to_owned(),
        differences,
    })
}
