//! What the languages of host and plugin have in common, where the contract lets their types cross.

use super::finding::Finding;
use super::object_id::ObjectId;
use super::process::Process;
use super::rules::{
    cxx_standard_library, cxx_string, cxx_virtual_table, rust_allocator, rust_compiler, rust_panic,
    rust_standard_library,
};
use super::simulation::Subject;
use crate::config::Abi;
use crate::facts::cxx::{self, Cxx, Strings};
use crate::facts::rust::{self, Panic, Rust};

/// What the host tells of its languages; read once, and only what the contract asks for.
pub(super) struct HostLanguage {
    rust: Option<Rust>,
    cxx: Option<Cxx>,
}

impl HostLanguage {
    pub(super) fn read(process: &Process<'_>, is_asked: impl Fn(Abi) -> bool) -> Self {
        let elf = &process.object(0).elf;
        Self {
            rust: is_asked(Abi::Rust).then(|| rust::read(elf)).flatten(),
            cxx: is_asked(Abi::Cxx).then(|| cxx::read(elf)).flatten(),
        }
    }
}

/// Compares the plugin's languages with the host's.
pub(super) fn findings(
    process: &Process<'_>,
    host: (&Subject, &HostLanguage),
    plugin: (&Subject, ObjectId),
    abi: Option<Abi>,
) -> Vec<Finding> {
    let mut findings = two_standard_libraries(process, plugin);
    let elf = &process.object(plugin.1).elf;
    match abi {
        Some(Abi::Rust) => {
            let theirs = rust::read(elf);
            findings.extend(of_rust((host.0, host.1.rust.as_ref()), (plugin.0, theirs.as_ref())));
        }
        Some(Abi::Cxx) => {
            if let (Some(ours), Some(theirs)) = (&host.1.cxx, cxx::read(elf)) {
                findings.extend(of_cxx((host.0, ours), (plugin.0, &theirs)));
            }
        }
        Some(Abi::C | Abi::Go) | None => {}
    }
    findings
}

/// Whether the plugin brings a shared standard library of Rust beside one that is there.
fn two_standard_libraries(process: &Process<'_>, (plugin, object): (&Subject, ObjectId)) -> Vec<Finding> {
    let scope = &process.object(object).scope;
    let is_std = |id: &ObjectId| process.object(*id).short().starts_with("libstd-");
    let mut all: Vec<ObjectId> = process.global.iter().chain(scope).copied().filter(is_std).collect();
    all.sort_unstable();
    all.dedup();
    let is_new = |id: &ObjectId| process.object(*id).brought_by == process.object(object).brought_by;
    if all.len() < 2 || !all.iter().any(is_new) {
        return vec![];
    }
    let names: Vec<String> = all.iter().map(|id| process.object(*id).name.clone()).collect();
    vec![rust_standard_library::finding(&plugin.shown, &names)]
}

fn of_rust(host: (&Subject, Option<&Rust>), plugin: (&Subject, Option<&Rust>)) -> Vec<Finding> {
    let (ours, theirs) = (host.1, plugin.1);
    let (host, plugin) = (host.0.shown.as_str(), plugin.0.shown.as_str());
    let mut findings: Vec<Finding> = rust_compiler::finding((host, ours), (plugin, theirs))
        .into_iter()
        .collect();
    let panic = |rust: Option<&Rust>| rust.and_then(|rust| rust.panic);
    if panic(theirs) == Some(Panic::Abort) && panic(ours) != Some(Panic::Abort) {
        findings.push(rust_panic::finding(plugin));
    }
    // Where no Rust is to be seen, that is said already.
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        let (ours, theirs) = (ours.allocator.as_ref(), theirs.allocator.as_ref());
        findings.extend(rust_allocator::finding((host, ours), (plugin, theirs)));
    }
    findings
}

fn of_cxx(host: (&Subject, &Cxx), plugin: (&Subject, &Cxx)) -> Vec<Finding> {
    let (ours, theirs) = (host.1, plugin.1);
    let (host, plugin) = (host.0.shown.as_str(), plugin.0.shown.as_str());
    let mut findings = vec![];
    let mixes =
        |one: &Cxx, other: &Cxx| one.uses_libstdcxx && !one.uses_libcxx && other.uses_libcxx && !other.uses_libstdcxx;
    if mixes(ours, theirs) || mixes(theirs, ours) {
        findings.push(cxx_standard_library::finding(host, plugin));
    }
    let is_only_old = |strings: Strings| strings.old && !strings.new;
    let is_only_new = |strings: Strings| strings.new && !strings.old;
    let all = |cxx: &Cxx| Strings {
        old: cxx.imported_strings.old || cxx.exported_strings.old,
        new: cxx.imported_strings.new || cxx.exported_strings.new,
    };
    let (our_strings, their_strings) = (all(ours), all(theirs));
    if is_only_old(their_strings) && is_only_new(our_strings) {
        findings.push(cxx_string::finding(host, plugin, true));
    } else if is_only_new(their_strings) && is_only_old(our_strings) {
        findings.push(cxx_string::finding(host, plugin, false));
    }
    for (class, size) in &theirs.virtual_tables {
        if let Some((_, own)) = ours.virtual_tables.iter().find(|(name, _)| name == class)
            && own != size
        {
            findings.push(cxx_virtual_table::finding(host, plugin, class, *own, *size));
        }
    }
    findings
}
