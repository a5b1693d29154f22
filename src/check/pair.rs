//! A host with its plugins, in the order in which they are opened.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use super::environment::{BindingTime, Environment, OpenMode, ScopeFlag};
use super::finding::{Cause, Finding};
use super::language::{self, HostLanguage};
use super::process::{ObjectId, Process};
use super::rules::{GoProcess, GoSide, HostStamp};
use super::simulation::{Linkage, Simulation, Subject, open};
use super::verdict::{Phase, Predicted, Verdict};
use super::{companion, libc_names, rules};
use crate::config::{CheckContract, Loader};
use crate::facts::elf::Elf;
use crate::facts::go::Go;
use crate::facts::libc;
use crate::rootfs::RootFs;

/// What is checked.
pub struct Request<'r> {
    /// The files.
    pub root: &'r dyn RootFs,
    /// The host.
    pub host: Subject,
    /// What lies beside the host.
    pub beside_host: Vec<Subject>,
    /// The plugins, in the order in which the host opens them.
    pub plugins: Vec<Plugin<'r>>,
    /// What the host is started with.
    pub environment: &'r Environment,
    /// Whether what lies beside host and plugins is looked at too.
    pub with_companions: bool,
    /// Whether the root is the one in which the host runs. If not, nothing is said of libraries, and that is said.
    pub is_root_known: bool,
}

/// A plugin.
pub struct Plugin<'r> {
    /// The file that the host opens.
    pub subject: Subject,
    /// What the host expects of it.
    pub contract: &'r CheckContract,
    /// What lies beside it.
    pub beside: Vec<Subject>,
}

impl<'r> Plugin<'r> {
    /// A plugin with nothing beside it.
    #[must_use]
    pub fn alone(subject: Subject, contract: &'r CheckContract) -> Self {
        Self {
            subject,
            contract,
            beside: vec![],
        }
    }
}

impl Request<'_> {
    /// How the host loads, if that was said.
    fn loader(&self) -> Option<Loader> {
        self.plugins.iter().find_map(|plugin| plugin.contract.loader)
    }
}

/// The flags: those that were given, or those of Go's runtime (now, global), of libloading (lazy, local), and of most hosts in C
/// (now, local).
fn mode(contract: &CheckContract, loader: Loader, is_rust: bool) -> OpenMode {
    let (binding, scope) = match loader {
        Loader::Go => (BindingTime::Now, ScopeFlag::Global),
        Loader::Dlopen if is_rust => (BindingTime::Lazy, ScopeFlag::Local),
        Loader::Dlopen => (BindingTime::Now, ScopeFlag::Local),
    };
    OpenMode {
        binding: contract.flags.unwrap_or(binding),
        scope: contract.scope.unwrap_or(scope),
    }
}

/// What is to be expected of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairReport {
    /// The host, as the user calls it.
    pub host: String,
    /// The plugin, as the user calls it.
    pub plugin: String,
    /// Whether it is no plugin but lies beside one, or beside the host, and is looked at as one that would be opened then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_companion: bool,
    /// The worst of the findings.
    pub verdict: Verdict,
    /// What will happen, for the first cause.
    pub predicted: Predicted,
    /// The findings: each root cause, followed by its consequences.
    pub findings: Vec<Finding>,
}

/// Starts the host and opens the plugins, one after the other in one process.
#[must_use]
pub fn check(request: &Request<'_>) -> Vec<PairReport> {
    std::thread::scope(|threads| {
        // Without another thread it only takes longer.
        let _ = std::thread::Builder::new().spawn_scoped(threads, || read_ahead(request));
        check_in_turn(request)
    })
}

/// Reads the plugins, so that each is there when its turn comes.
fn read_ahead(request: &Request<'_>) {
    for plugin in &request.plugins {
        if let Ok(found) = request.root.look(&plugin.subject.path) {
            let _ = request.root.object(&found);
        }
    }
}

fn check_in_turn(request: &Request<'_>) -> Vec<PairReport> {
    let mut simulation = Simulation::start(request.root, &request.host, request.environment, request.is_root_known);
    let is_running = simulation.is_running();
    let linkage = simulation.linkage;
    let unseen = (!request.is_root_known).then(|| rules::no_rootfs(&request.host).of_host());
    let start: Vec<Finding> = simulation
        .start
        .iter()
        .map(|fault| rules::of_fault(fault, simulation.process.as_ref()).of_host())
        .collect();
    let files = Files::read(request, simulation.process.as_ref());
    let loader = request.loader().unwrap_or(files.loader());
    let mut host = Host {
        request,
        loader,
        is_rust: files.is_rust,
        linkage,
        go: files.host(request).map(GoProcess::new),
        go_side: files.host(request),
        stamp: simulation.process.as_ref().and_then(HostStamp::read),
        language: simulation.process.as_ref().map(|process| {
            let is_asked = |abi| request.plugins.iter().any(|plugin| plugin.contract.abi == Some(abi));
            HostLanguage::read(process, is_asked)
        }),
    };
    let mut reports = Vec::new();
    for (place, plugin) in request.plugins.iter().enumerate() {
        let mut findings = start.clone();
        if is_running && let Some(process) = simulation.process.as_mut() {
            findings.extend(host.open(process, plugin, place, files.plugin(request, place)));
        }
        findings.extend(unseen.clone());
        reports.push(report(&request.host, &plugin.subject, findings));
        if request.with_companions {
            let first = place == 0;
            let beside_host = request.beside_host.iter().filter(|_| first);
            for subject in plugin.beside.iter().chain(beside_host) {
                let process = simulation.process.as_mut().filter(|_| is_running);
                reports.extend(companion::look_at(
                    request,
                    process,
                    host.mode(plugin.contract),
                    subject,
                ));
            }
        }
    }
    reports
}

/// What Go left in the files, read before anything is opened.
struct Files {
    host: Option<(Arc<Elf>, Option<Go>)>,
    plugins: Vec<Option<(Arc<Elf>, Option<Go>)>>,
    paths: Vec<String>,
    is_rust: bool,
}

impl Files {
    fn read(request: &Request<'_>, process: Option<&Process<'_>>) -> Self {
        let host = process.map(|process| process.object(0).elf.clone());
        let is_open = request.loader().is_none_or(|loader| loader == Loader::Dlopen);
        let is_rust = host
            .as_ref()
            .is_some_and(|host| is_open && libc::contains(host.bytes(), b"/rustc/"));
        let host = host.map(|elf| {
            let go = Go::read(&elf);
            (elf, go)
        });
        let is_go = host.as_ref().is_some_and(|(_, go)| go.is_some());
        let wants_go = request.loader() != Some(Loader::Dlopen);
        let mut paths = vec![];
        let mut plugins = vec![];
        for plugin in request
            .plugins
            .iter()
            .filter(|_| wants_go && (is_go || request.loader().is_some()))
        {
            let path = &plugin.subject.path;
            let found = request.root.look(path).ok();
            paths.push(found.as_ref().map_or_else(|| path.clone(), |found| found.path.clone()));
            let elf = found.and_then(|found| request.root.object(&found)?.ok());
            plugins.push(elf.map(|elf| {
                let go = Go::read(&elf);
                (elf, go)
            }));
        }
        Self {
            host,
            plugins,
            paths,
            is_rust,
        }
    }

    /// Go's `plugin.Open` where nobody said, the host is of Go and a plugin is one of Go's; else `dlopen`.
    fn loader(&self) -> Loader {
        let is_plugin = |go: &Go| go.build_mode().is_none_or(|mode| mode == "plugin");
        let mut plugins = self.plugins.iter().flatten();
        if plugins.any(|(_, go)| go.as_ref().is_some_and(is_plugin)) {
            Loader::Go
        } else {
            Loader::Dlopen
        }
    }

    fn host<'a>(&'a self, request: &'a Request<'_>) -> Option<GoSide<'a>> {
        let (elf, go) = self.host.as_ref()?;
        Some(GoSide {
            shown: &request.host.shown,
            path: &request.host.path,
            elf,
            go: go.as_ref(),
        })
    }

    fn plugin<'a>(&'a self, request: &'a Request<'_>, place: usize) -> Option<GoSide<'a>> {
        let (elf, go) = self.plugins.get(place)?.as_ref()?;
        Some(GoSide {
            shown: &request.plugins[place].subject.shown,
            path: &self.paths[place],
            elf,
            go: go.as_ref(),
        })
    }
}

/// A host that runs, and how it opens plugins.
struct Host<'a> {
    request: &'a Request<'a>,
    loader: Loader,
    is_rust: bool,
    linkage: Linkage,
    go: Option<GoProcess<'a>>,
    go_side: Option<GoSide<'a>>,
    language: Option<HostLanguage>,
    stamp: Option<HostStamp>,
}

impl<'a> Host<'a> {
    /// How the host opens plugins of a contract.
    fn mode(&self, contract: &CheckContract) -> OpenMode {
        mode(contract, self.loader, self.is_rust)
    }

    /// Opens one plugin; it stays loaded if it could be loaded.
    fn open(
        &mut self,
        process: &mut Process<'_>,
        plugin: &Plugin<'_>,
        place: usize,
        go_side: Option<GoSide<'a>>,
    ) -> Vec<Finding> {
        let request = self.request;
        let Plugin {
            subject: plugin,
            contract,
            ..
        } = plugin;
        if self.loader == Loader::Dlopen
            && let Some(finding) = rules::static_host(self.linkage, &request.host)
        {
            return vec![finding.of_host()];
        }
        if self.loader == Loader::Go
            && let (Some(go), Some(side)) = (self.go.as_ref(), go_side.as_ref())
            && let Some(finding) = go.unable(side)
        {
            return vec![finding.of_host()];
        }
        if let (Loader::Go, Some(host), Some(side)) = (self.loader, &self.go_side, &go_side)
            && let Some(finding) = rules::go_host_cannot_load(host, side)
        {
            return vec![finding.of_host()];
        }
        let opened = open(process, plugin, place, self.mode(contract));
        let brought: Vec<ObjectId> = (0..process.objects.len())
            .filter(|id| process.object(*id).brought_by == Some(place))
            .collect();
        let mut findings = match self.linkage {
            Linkage::StaticGlibc => rules::static_glibc(process, &request.host, &brought),
            _ => vec![],
        };
        findings.extend(rules::families(process, &request.host, plugin, &brought));
        if let (Loader::Go, Some(host), Some(side)) = (self.loader, &self.go_side, &go_side) {
            rules::tell_equal_packages(&mut findings, host, side);
        }
        let faults = rules::of_faults(&opened.faults, process).into_iter();
        if self.loader == Loader::Go {
            let path = go_side.as_ref().map_or(plugin.path.as_str(), |side| side.path);
            findings.extend(faults.map(|finding| rules::in_words_of_go(finding, plugin, path)));
        } else {
            findings.extend(faults);
        }
        findings.extend(rules::of_objects(process, plugin, &brought));
        if let (Some(object), Some(language)) = (opened.object, &self.language) {
            let abi = contract.abi;
            findings.extend(language::findings(
                process,
                (&request.host, language),
                (plugin, object),
                abi,
            ));
        }
        match self.loader {
            Loader::Go => {
                if let (Some(go), Some(side)) = (self.go.as_mut(), go_side)
                    && opened.is_loaded()
                {
                    findings.extend(go.open(side));
                    let (symbols, types) = (&contract.symbols, &contract.types);
                    findings.extend(rules::go_symbols(&side, symbols));
                    findings.extend(rules::go_symbol_types(self.go_side.as_ref(), &side, symbols, types));
                }
            }
            Loader::Dlopen => {
                if let Some(object) = opened.object {
                    findings.extend(rules::contract_symbols(process, plugin, object, &contract.symbols));
                    let stamp = self.stamp.as_ref();
                    findings.extend(stamp.and_then(|stamp| stamp.compare(process, &request.host, (plugin, object))));
                }
            }
        }
        for (order, finding) in findings.iter_mut().enumerate() {
            finding.order = order;
        }
        fold(process, &mut findings);
        if !opened.is_loaded() {
            process.restore(opened.before);
        }
        findings
    }
}

/// Says which findings follow from which, and puts each cause before what follows from it, and what is unknown last.
pub(super) fn fold(process: &Process<'_>, findings: &mut Vec<Finding>) {
    let cause = |code: &str| {
        findings
            .iter()
            .find(|finding| finding.code == code)
            .map(Finding::as_cause)
    };
    let family = cause("libc-family");
    let missing = cause("library-missing");
    let machine = cause("wrong-machine");
    let truncated = cause("truncated");
    let invalid = cause("elf-invalid");
    let versions: Vec<Cause> = findings
        .iter()
        .filter(|finding| finding.code == "version-missing")
        .map(Finding::as_cause)
        .collect();
    for finding in findings.iter_mut() {
        let short = finding.subject.rsplit('/').next().unwrap_or_default();
        let is_of_libc = libc_names::belongs_to_other_family(process.platform.family, short);
        let version = finding.version.as_ref();
        let version = version.and_then(|version| versions.iter().find(|cause| cause.subject == *version));
        finding.because_of = match finding.code {
            "library-missing" | "symbol-not-found" | "version-missing" | "elf-invalid"
                if is_of_libc && family.is_some() =>
            {
                family.clone()
            }
            // What is behind the end of the file is not there.
            "symbol-not-found" | "contract-symbol" if truncated.is_some() => truncated.clone(),
            // What was linked against musl has no versions.
            "relocation-unsupported" | "old-symbol-version" if family.is_some() && machine.is_none() => family.clone(),
            "relocation-unsupported" | "symbol-not-found" | "static-tls-opened" if machine.is_some() => machine.clone(),
            "symbol-not-found" if version.is_some() => version.cloned(),
            "symbol-not-found" | "contract-symbol" if missing.is_some() => missing.clone(),
            "symbol-not-found" if invalid.is_some() => invalid.clone(),
            _ => None,
        };
    }
    let (mut roots, consequences): (Vec<_>, Vec<_>) = std::mem::take(findings)
        .into_iter()
        .partition(|finding| finding.because_of.is_none());
    // What decides comes first, in the order of the loader.
    roots.sort_by_key(|finding| finding.verdict <= Verdict::Unknown);
    let mut by_cause: HashMap<(&'static str, String), VecDeque<Finding>> = HashMap::new();
    for finding in consequences {
        if let Some(cause) = &finding.because_of {
            let key = (cause.code, cause.subject.clone());
            by_cause.entry(key).or_default().push_back(finding);
        }
    }
    // Each is told once, behind the first that it follows from.
    let mut pending: VecDeque<Finding> = roots.into();
    while let Some(finding) = pending.pop_front() {
        let own = by_cause.remove(&(finding.code, finding.subject.clone()));
        findings.push(finding);
        for consequence in own.into_iter().flatten().rev() {
            pending.push_front(consequence);
        }
    }
}

pub(super) fn report(host: &Subject, plugin: &Subject, findings: Vec<Finding>) -> PairReport {
    let verdict = findings
        .iter()
        .map(|finding| finding.verdict)
        .max()
        .unwrap_or(Verdict::Ok);
    PairReport {
        host: host.shown.clone(),
        plugin: plugin.shown.clone(),
        is_companion: false,
        verdict,
        predicted: predict(verdict, &findings),
        findings,
    }
}

/// What happens first, by findings in the order in which the loader meets them within each phase; `verdict` is the worst of
/// them.
#[must_use]
pub fn predict(verdict: Verdict, findings: &[Finding]) -> Predicted {
    let told = findings
        .iter()
        .filter(|finding| finding.verdict == verdict && verdict > Verdict::Unknown)
        .filter_map(|finding| Some((finding.order, finding.predicted.clone()?)));
    let nothing = Predicted {
        phase: Phase::None,
        message: None,
    };
    told.min_by_key(|(order, predicted)| (predicted.phase, *order))
        .map_or(nothing, |(_, predicted)| predicted)
}
