//! A host with its plugins, in the order in which they are opened.

use std::sync::Arc;

use super::environment::{BindingTime, OpenMode, ScopeFlag};
use super::finding::Finding;
use super::language::{self, HostLanguage};
use super::object_id::ObjectId;
use super::pair_report::{PairReport, fold, report};
use super::process::Process;
use super::request::{Plugin, Request};
use super::rules::{GoProcess, GoSide, HostStamp};
use super::secure::{Gain, Supposed, is_in_doubt};
use super::simulation::{Linkage, Simulation, open};
use super::{companion, rules};
use crate::config::{CheckContract, Loader};
use crate::facts::elf::Elf;
use crate::facts::go::Go;
use crate::facts::libc;

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

/// Starts the host and opens the plugins, one after the other in one process.
#[must_use]
pub fn check(request: &Request<'_>) -> Vec<PairReport> {
    std::thread::scope(|threads| {
        // Without another thread it only takes longer.
        let _ = std::thread::Builder::new().spawn_scoped(threads, || read_ahead(request));
        match is_in_doubt(request.root, request.environment, &request.host.path) {
            None => check_in_turn(request, Supposed::Entitled),
            Some(gain) => {
                let reports = check_in_turn(request, Supposed::Entitled);
                let of_strangers = check_in_turn(request, Supposed::Stranger);
                tell_doubts(reports, &of_strangers, &gain)
            }
        }
    })
}

/// The reports for whoever has all that the host gives, with what is otherwise for those who have not.
fn tell_doubts(mut reports: Vec<PairReport>, of_strangers: &[PairReport], gain: &Gain) -> Vec<PairReport> {
    for report in &mut reports {
        let is_same = |other: &&PairReport| other.plugin == report.plugin;
        let other = of_strangers.iter().find(is_same);
        if let Some(other) =
            other.filter(|other| other.predicted != report.predicted || other.verdict != report.verdict)
        {
            let finding =
                rules::doubtful_start((&report.host, &report.plugin), gain, (other.verdict, &other.predicted));
            report.verdict = report.verdict.max(finding.verdict);
            report.findings.push(finding);
        }
    }
    reports
}

/// Reads the plugins, so that each is there when its turn comes.
fn read_ahead(request: &Request<'_>) {
    for plugin in &request.plugins {
        if let Ok(found) = request.root.look(&plugin.subject.path) {
            let _ = request.root.object(&found);
        }
    }
}

fn check_in_turn(request: &Request<'_>, supposed: Supposed) -> Vec<PairReport> {
    let environment = (request.environment, supposed);
    let mut simulation = Simulation::start(request.root, &request.host, environment, request.is_root_known);
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
