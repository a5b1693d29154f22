//! The rules, and how what a loader met becomes findings. Each rule is one file; the table is what `explain` reads.

mod contract_symbol;
mod copied_data_grew;
pub(super) mod cxx_standard_library;
pub(super) mod cxx_string;
pub(super) mod cxx_virtual_table;
mod elf_invalid;
mod executable_stack;
mod file_unreadable;
mod go_amd64_level;
mod go_cause;
mod go_dependency;
mod go_difference;
mod go_host_cannot_load_plugins;
mod go_import_path;
mod go_not_a_plugin;
mod go_package_hash;
mod go_plugin_path;
mod go_process;
mod go_side;
mod go_symbol;
mod go_symbol_type;
mod go_version;
mod host_version;
mod interposed_symbol;
mod interpreter_missing;
mod libc_family;
mod library_missing;
mod library_shadowed;
mod loader_crash;
mod no_open_flag;
mod no_rootfs;
mod not_modelled;
mod old_symbol_version;
mod preload_ignored;
mod processor_dependent_library;
mod processor_level;
mod program_as_plugin;
mod relative_relocations;
mod relocation_unsupported;
pub(super) mod rust_allocator;
pub(super) mod rust_compiler;
pub(super) mod rust_panic;
pub(super) mod rust_standard_library;
mod sanitizer_runtime;
mod second_libc;
mod secure_execution;
mod static_host;
mod static_tls_full;
mod static_tls_opened;
mod symbol_kind;
mod symbol_not_found;
mod symbol_version_ignored;
mod text_relocations;
mod truncated;
mod version_ignored;
mod version_missing;
mod weak_tls_undefined;
mod wrong_machine;

use std::collections::BTreeMap;

pub use go_process::GoProcess;
pub use go_side::GoSide;
pub use host_version::HostStamp;

use super::fault::{Fault, FaultKind, Rejection};
use super::object_id::ObjectId;
use super::platform::Family;
use super::process::Process;
use super::search::absolute;
use super::secure::Gain;
use super::simulation::{Linkage, Subject, find_symbol};
use super::{Finding, Phase, Predicted, Rule, Verdict, machine};
use crate::facts::elf::{Binding, Dynamic, Elf, Name, RelocationClass};
use crate::facts::libc;
use crate::nearest::nearest;
use crate::rootfs::FILES_DIRECTORY;
pub(crate) use symbol_not_found::readable as readable_symbol;

/// All rules, by code.
pub const RULES: &[Rule] = &[
    contract_symbol::RULE,
    copied_data_grew::RULE,
    cxx_standard_library::RULE,
    cxx_string::RULE,
    cxx_virtual_table::RULE,
    elf_invalid::RULE,
    executable_stack::RULE,
    file_unreadable::RULE,
    go_amd64_level::RULE,
    go_dependency::RULE,
    go_host_cannot_load_plugins::RULE,
    go_import_path::RULE,
    go_not_a_plugin::RULE,
    go_package_hash::RULE,
    go_plugin_path::RULE,
    go_symbol::RULE,
    go_symbol_type::RULE,
    go_version::RULE,
    host_version::RULE,
    interposed_symbol::RULE,
    interpreter_missing::RULE,
    libc_family::RULE,
    library_missing::RULE,
    library_shadowed::RULE,
    loader_crash::RULE,
    no_open_flag::RULE,
    no_rootfs::RULE,
    not_modelled::RULE,
    old_symbol_version::RULE,
    preload_ignored::RULE,
    processor_dependent_library::RULE,
    processor_level::RULE,
    program_as_plugin::RULE,
    relative_relocations::RULE,
    relocation_unsupported::RULE,
    rust_allocator::RULE,
    rust_compiler::RULE,
    rust_panic::RULE,
    rust_standard_library::RULE,
    sanitizer_runtime::RULE,
    second_libc::RULE,
    secure_execution::RULE,
    static_host::RULE,
    static_tls_full::RULE,
    static_tls_opened::RULE,
    symbol_kind::RULE,
    symbol_not_found::RULE,
    symbol_version_ignored::RULE,
    text_relocations::RULE,
    truncated::RULE,
    version_ignored::RULE,
    version_missing::RULE,
    weak_tls_undefined::RULE,
    wrong_machine::RULE,
];

/// For so many of a plugin's faults a near name is looked for.
const NEAR_LIMIT_COUNT: usize = 5;
/// More near matches than this are not looked at.
const CANDIDATES_LIMIT_COUNT: usize = 20_000;

/// The rule with a code.
#[must_use]
pub fn rule(code: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}

/// Makes a finding of what a loader met.
#[must_use]
pub(super) fn of_fault(fault: &Fault, process: Option<&Process<'_>>) -> Finding {
    of_fault_and(fault, process, true)
}

/// Makes findings of all that a loader met. Near names are looked for only for the first: there are thousands of names to go
/// through for each.
pub(super) fn of_faults(faults: &[Fault], process: &Process<'_>) -> Vec<Finding> {
    let finding = |(place, fault)| of_fault_and(fault, Some(process), place < NEAR_LIMIT_COUNT);
    faults.iter().enumerate().map(finding).collect()
}

fn of_fault_and(fault: &Fault, process: Option<&Process<'_>>, wants_near: bool) -> Finding {
    let machine = process.map_or_else(String::new, |process| machine::name(process.platform.machine));
    let gain = process.and_then(|process| process.gain.as_ref());
    let finding = match &fault.kind {
        FaultKind::InterpreterMissing { interpreter, is_there } => {
            interpreter_missing::finding(fault, interpreter, *is_there)
        }
        FaultKind::CannotOpen => file_unreadable::finding(fault),
        FaultKind::OtherLoader { machine, loader } => wrong_machine::of_host(fault, machine, loader),
        FaultKind::Denied { user, obstacle } => file_unreadable::denied(fault, user, obstacle),
        FaultKind::MayBeDenied { obstacle } => file_unreadable::may_be_denied(fault, obstacle),
        FaultKind::NotStartable { why } => elf_invalid::of_program(fault, why),
        FaultKind::NotExecutable { file, user, obstacle } => {
            file_unreadable::not_executable(fault, file, (user.as_deref(), obstacle))
        }
        FaultKind::NotLoadable { why } => match why {
            Rejection::Class => wrong_machine::finding(fault, "of another class (32 or 64 bits)", &machine),
            Rejection::Data => wrong_machine::finding(fault, "of another order of bytes", &machine),
            Rejection::Machine(other) => wrong_machine::finding(fault, &format!("for {other}"), &machine),
            Rejection::Program => program_as_plugin::finding(fault),
            Rejection::NoOpen => no_open_flag::finding(fault),
            why => elf_invalid::finding(fault, why),
        },
        FaultKind::OtherMachine { machine: other } => wrong_machine::finding(fault, &format!("for {other}"), &machine),
        FaultKind::Truncated { end, len } => truncated::finding(fault, *end, *len),
        FaultKind::LibraryMissing {
            library,
            searched,
            skipped,
        } => {
            let is_there = |process: &Process<'_>, directory: &&String| {
                process.root.look(&format!("{directory}/{library}")).is_ok()
            };
            let unused = process.and_then(|process| {
                let mut configured = process.paths.configured.iter();
                configured.find(|directory| !searched.contains(directory) && is_there(process, directory))
            });
            let distrusted = process.and_then(|process| distrusted(process, fault, library));
            let searched: Vec<String> = searched.iter().map(|path| place(process, path)).collect();
            let finding = library_missing::finding(fault, library, &searched, skipped, unused.map(String::as_str));
            match distrusted {
                Some((directory, by)) => library_missing::of_secure_host(finding, &directory, by, gain),
                None => finding,
            }
        }
        FaultKind::VersionMissing { version, provider } => version_missing::finding(fault, version, provider),
        FaultKind::VersionIgnored { version, provider } => version_ignored::finding(fault, version, provider),
        FaultKind::SymbolMissing {
            symbol,
            passed_over,
            offset,
            ..
        } => {
            let near = process
                .filter(|_| wants_near)
                .and_then(|process| near_definition(process, &symbol.name));
            symbol_not_found::finding(fault, symbol, passed_over.as_deref(), *offset, near.as_deref())
        }
        FaultKind::BoundToOld {
            symbol,
            bound,
            default,
            provider,
        } => {
            let is_libc = provider.rsplit('/').next().is_some_and(|name| name.starts_with("lib"))
                && (bound.starts_with("GLIBC_") || bound.starts_with("GCC_"));
            old_symbol_version::finding(fault, &symbol.name, bound, default, provider, is_libc)
        }
        FaultKind::Interposed {
            symbol,
            provider,
            own,
            by,
            excuse,
            ..
        } => interposed_symbol::finding(fault, symbol, (provider, *by), own, *excuse),
        FaultKind::KindChanged {
            symbol,
            expected,
            found,
            provider,
        } => symbol_kind::finding(fault, symbol, *expected, *found, provider),
        FaultKind::StaticTlsFull { size, free } => static_tls_full::finding(fault, *size, *free),
        FaultKind::StaticTlsOpened { symbol, provider } => {
            static_tls_opened::finding(fault, symbol.as_deref(), provider)
        }
        FaultKind::RelocationUnsupported { kind, offset } => {
            relocation_unsupported::finding(fault, *kind, *offset, &machine)
        }
        FaultKind::ExecutableStack { by_absence } => executable_stack::finding(fault, *by_absence),
        FaultKind::ProcessorLevel { level } => processor_level::finding(fault, *level),
        FaultKind::LoaderCrash { why } => loader_crash::finding(fault, why),
        FaultKind::BoundTooLate => loader_crash::bound_too_late(fault),
        FaultKind::ProgramAsLibrary => program_as_plugin::finding(fault),
        FaultKind::ProcessorDependent { library, path } => processor_dependent_library::finding(fault, library, path),
        FaultKind::WeakTlsUndefined { symbol } => weak_tls_undefined::finding(fault, symbol),
        FaultKind::SymbolVersionIgnored {
            symbol,
            asked,
            bound,
            provider,
        } => symbol_version_ignored::finding(fault, symbol, asked, bound, provider),
        FaultKind::CopiedDataGrew {
            symbol,
            own,
            provider,
            size,
        } => copied_data_grew::finding(fault, symbol, *own, provider, *size),
        FaultKind::LibraryShadowed { library, loaded, own } => library_shadowed::finding(fault, library, loaded, own),
        FaultKind::HeaderIgnored { what } => wrong_machine::finding(fault, what, &machine),
        FaultKind::NoOpenIgnored => no_open_flag::finding(fault),
        FaultKind::RelativeRelocationsUnmarked => relative_relocations::finding(fault),
        FaultKind::RelativeRelocationsIgnored { by } => relative_relocations::ignored(fault, by),
        FaultKind::PreloadIgnored { library, gain } => preload_ignored::finding(fault, library, gain.as_ref()),
        FaultKind::RightsRefused { why } => secure_execution::refused(fault, why),
        FaultKind::TokenForbidden { library } => secure_execution::token(fault, library, gain),
        FaultKind::NotModelled { what } => not_modelled::finding(fault, what),
    };
    let says_something = fault.stops || fault.message.is_some() || fault.phase == Phase::Call;
    if says_something && finding.verdict > Verdict::Unknown && finding.predicted.is_none() {
        let predicted = Predicted {
            phase: fault.phase,
            message: fault.message.clone(),
        };
        return Finding {
            predicted: Some(predicted),
            ..finding
        };
    }
    finding
}

/// Where a library lies that is not found since the host does not trust who starts it, and what names the place.
fn distrusted(process: &Process<'_>, fault: &Fault, library: &str) -> Option<(String, &'static str)> {
    process.gain.as_ref()?;
    let host = process.object(0);
    let variable = process.environment.variable("LD_LIBRARY_PATH").unwrap_or_default();
    let dynamic = host.elf.dynamic.as_ref();
    let counts_for_all = process.platform.family == Family::Musl || fault.object == host.name;
    let path = dynamic.and_then(|dynamic| match &dynamic.runpath {
        Some(path) => Some(path).filter(|_| counts_for_all),
        None => dynamic.rpath.as_ref(),
    });
    let own = path.into_iter().flat_map(|path| path.split(':'));
    let own = own.filter(|element| element.contains("ORIGIN")).map(|element| {
        let directory = element
            .replace("${ORIGIN}", "$ORIGIN")
            .replace("$ORIGIN", host.origin());
        (directory, "$ORIGIN in the host's search path")
    });
    let of_variable = variable
        .split([':', ';'])
        .map(|element| (element.to_owned(), "LD_LIBRARY_PATH"));
    let is_there = |(directory, _): &(String, &str)| {
        let path = absolute(process, &format!("{directory}/{library}"));
        process.root.look(&path).is_ok()
    };
    of_variable.chain(own).find(is_there)
}

/// A directory that was searched, and whether it is there.
fn place(process: Option<&Process<'_>>, directory: &str) -> String {
    let is_there = |process: &Process<'_>| process.root.look(&absolute(process, directory)).is_ok();
    // That one is made up.
    if directory.starts_with(FILES_DIRECTORY) || process.is_none_or(is_there) {
        return directory.to_owned();
    }
    format!("{directory} (not there)")
}

/// Says that a plugin fares otherwise when somebody else starts the host.
pub(super) fn doubtful_start((host, plugin): (&str, &str), gain: &Gain, of_others: (Verdict, &Predicted)) -> Finding {
    secure_execution::doubtful(host, plugin, gain, of_others)
}

/// Says that nothing is known of libraries.
pub(super) fn no_rootfs(host: &Subject) -> Finding {
    no_rootfs::finding(&host.shown)
}

/// Which C library the plugin and what it brings were built for.
pub(super) fn families(process: &Process<'_>, host: &Subject, plugin: &Subject, brought: &[ObjectId]) -> Vec<Finding> {
    let mut findings = vec![];
    for id in brought {
        let object = process.object(*id);
        let Some((family, witnesses)) = libc::family_of(&object.elf) else {
            continue;
        };
        if family == process.platform.family {
            continue;
        }
        let name = if Some(id) == brought.first() {
            &plugin.shown
        } else {
            &object.name
        };
        let divergent: Vec<String> = object
            .elf
            .symbols()
            .filter(|(_, symbol)| !symbol.is_defined())
            .filter_map(|(_, symbol)| {
                let listed = libc_family::DIVERGENT
                    .iter()
                    .find(|name| name.as_bytes() == symbol.name);
                listed.map(|name| (*name).to_owned())
            })
            .collect();
        findings.push(libc_family::finding(
            name,
            family,
            &host.shown,
            &process.platform,
            &witnesses,
            &divergent,
        ));
    }
    for id in brought {
        let object = process.object(*id);
        let is_libc = |name: &str| {
            object
                .elf
                .find(&Name::new(name.as_bytes()))
                .any(|(_, symbol)| symbol.is_defined())
        };
        // A static host has one inside, and loads another on purpose.
        let is_expected = process.object(0).elf.interpreter.is_none();
        if process.platform.family == Family::Glibc && !is_expected && is_libc("__libc_start_main") && is_libc("stdin")
        {
            findings.push(second_libc::finding(&plugin.shown, &object.name));
        }
    }
    findings
}

/// What the objects that a plugin brings say of themselves, whatever the loader does with it.
pub(super) fn of_objects(process: &Process<'_>, plugin: &Subject, brought: &[ObjectId]) -> Vec<Finding> {
    let mut findings = vec![];
    for id in brought {
        let object = process.object(*id);
        let dynamic = object.elf.dynamic.as_ref();
        if dynamic.is_some_and(|dynamic| dynamic.flags & Dynamic::TEXTREL != 0) {
            findings.push(text_relocations::finding(&object.name));
        }
        let short = object.short();
        let is_sanitizer = ["libasan.so", "libtsan.so", "libmsan.so", "libhwasan.so"]
            .iter()
            .any(|name| short.starts_with(name));
        if is_sanitizer && process.platform.family == Family::Glibc {
            findings.push(sanitizer_runtime::finding(&plugin.shown, short));
        }
    }
    findings
}

/// The symbols of the contract, as the host's `dlsym(3)` finds them.
pub(super) fn contract_symbols(
    process: &Process<'_>,
    plugin: &Subject,
    object: ObjectId,
    symbols: &[String],
) -> Vec<Finding> {
    let missing = symbols
        .iter()
        .filter(|symbol| find_symbol(process, object, symbol).is_none());
    missing
        .map(|symbol| {
            let elf = &process.object(object).elf;
            let words = match process.platform.family {
                Family::Glibc => format!("{}: undefined symbol: {symbol}", plugin.shown),
                Family::Musl => format!("Symbol not found: {symbol}"),
            };
            let near = near_export(elf, symbol);
            let why = unseen(elf, symbol);
            contract_symbol::finding(&plugin.shown, symbol, words, near.as_deref(), why)
        })
        .collect()
}

/// Adds to a difference of C libraries that Go's own check does not see it.
pub(super) fn tell_equal_packages(findings: &mut [Finding], host: &GoSide<'_>, plugin: &GoSide<'_>) {
    let (shared, equal) = go_package_hash::shared(host, plugin);
    if shared > 0
        && let Some(finding) = findings
            .iter_mut()
            .find(|finding| finding.code == libc_family::RULE.code)
    {
        finding.evidence.push(format!("Go packages: {equal} of {shared} equal"));
    }
}

/// Why a Go host can load no plugin at all.
pub(super) fn go_host_cannot_load(host: &GoSide<'_>, plugin: &GoSide<'_>) -> Option<Finding> {
    go_host_cannot_load_plugins::check(host, plugin)
}

/// The symbols of the contract that a Go plugin does not export.
#[must_use]
pub fn go_symbols(plugin: &GoSide<'_>, symbols: &[String]) -> Vec<Finding> {
    go_symbol::check(plugin, symbols)
}

/// The symbols of the contract that a Go plugin exports with another type than it names.
#[must_use]
pub fn go_symbol_types(
    host: Option<&GoSide<'_>>,
    plugin: &GoSide<'_>,
    symbols: &[String],
    types: &BTreeMap<String, String>,
) -> Vec<Finding> {
    go_symbol_type::check(host, plugin, symbols, types)
}

/// What `plugin.Open` makes of the loader's words: it gives the loader the path without links, and its own caller the path that
/// it was given.
pub(super) fn in_words_of_go(mut finding: Finding, plugin: &Subject, path: &str) -> Finding {
    if let Some(predicted) = &mut finding.predicted
        && predicted.phase == Phase::Load
        && let Some(message) = &mut predicted.message
    {
        let words = message.replace(&plugin.shown, path);
        *message = format!("plugin.Open(\"{}\"): {words}", plugin.shown);
    }
    finding
}

/// A host without an interpreter that can open nothing.
pub(super) fn static_host(linkage: Linkage, host: &Subject) -> Option<Finding> {
    match linkage {
        Linkage::Dynamic | Linkage::StaticGlibc => None,
        Linkage::StaticMusl => Some(static_host::finding(
            &host.shown,
            Verdict::Refuse,
            Phase::Load,
            Some("Dynamic loading not supported".to_owned()),
            "musl's static dlopen always fails",
        )),
        Linkage::Static => Some(static_host::finding(
            &host.shown,
            Verdict::Refuse,
            Phase::Load,
            None,
            "it has no loader, and no C library that could open a plugin",
        )),
    }
}

/// A host with glibc inside: it opens plugins beside exactly the same release, and crashes beside another.
pub(super) fn static_glibc(process: &Process<'_>, host: &Subject, brought: &[ObjectId]) -> Vec<Finding> {
    let inside = libc::release_of(&process.object(0).elf);
    let libc = brought.iter().find(|id| {
        process
            .object(**id)
            .elf
            .dynamic
            .as_ref()
            .is_some_and(|dynamic| dynamic.soname.as_deref() == Some("libc.so.6"))
    });
    let finding = |verdict, phase, why: &str| static_host::finding(&host.shown, verdict, phase, None, why);
    let mut findings = vec![];
    if let Some(libc) = libc {
        let outside = libc::release_of(&process.object(*libc).elf);
        if inside.is_none() || outside.is_none() {
            findings.push(finding(
                Verdict::Unknown,
                Phase::None,
                "it opens plugins only beside exactly the glibc that is inside, and its release cannot be read",
            ));
        } else if inside != outside {
            findings.push(finding(
                Verdict::Refuse,
                Phase::Load,
                "the glibc inside is of another release than the one in the image, and it crashes in dlopen",
            ));
        }
    }
    let uses_tls = |id: &&ObjectId| {
        let elf = &process.object(**id).elf;
        let mut relocations = elf.relocations();
        elf.tls.is_some() && relocations.any(|relocation| relocation.class == RelocationClass::TlsModule)
    };
    // The C library's own thread-local storage is set up before it is used.
    if brought
        .iter()
        .filter(|id| Some(**id) != libc.copied())
        .find(uses_tls)
        .is_some()
    {
        findings.push(finding(
            Verdict::Danger,
            Phase::Call,
            "thread-local storage of plugins is not set up in it, and an access crashes",
        ));
    }
    findings
}

/// Why a symbol that is in the table is not found.
fn unseen(elf: &Elf, symbol: &str) -> Option<&'static str> {
    let (index, found) = elf.find(&Name::new(symbol.as_bytes())).next()?;
    if !found.is_defined() {
        Some("the plugin refers to it, and does not define it")
    } else if elf.version_of(index).is_some_and(|version| version.is_hidden()) {
        Some("it has only an old version that is not the default")
    } else if found.kind == crate::facts::elf::SymbolKind::Ifunc {
        Some("it is an indirect function (STT_GNU_IFUNC), which musl does not support")
    } else {
        None
    }
}

/// An exported name that is the symbol in another guise, or nearly.
fn near_export(elf: &Elf, symbol: &str) -> Option<String> {
    let exported: Vec<String> = elf
        .symbols()
        .filter(|(_, found)| found.is_defined() && found.binding != Binding::Local)
        .take(CANDIDATES_LIMIT_COUNT)
        .map(|(_, found)| found.text())
        .collect();
    let mangled = exported.iter().find(|name| {
        symbol_not_found::readable(name).is_some_and(|readable| {
            let plain = readable.split('(').next().unwrap_or_default();
            plain.rsplit("::").next() == Some(symbol)
        })
    });
    mangled
        .cloned()
        .or_else(|| nearest(symbol, exported.iter().map(String::as_str)).map(str::to_owned))
}

/// A definition in the process that is the same function with other types: a mangled name with the same path. Names of C have no
/// types in them.
fn near_definition(process: &Process<'_>, symbol: &str) -> Option<String> {
    let path = |name: &str| name.split('(').next().unwrap_or_default().to_owned();
    let wanted = path(&symbol_not_found::readable(symbol)?);
    let startup = process.objects.iter().filter(|object| object.is_startup());
    startup
        .flat_map(|object| object.elf.symbols().take(CANDIDATES_LIMIT_COUNT))
        .filter(|(_, found)| found.is_defined() && found.name != symbol.as_bytes())
        .filter(|(_, found)| contains_name(found.name, &wanted))
        .map(|(_, found)| found.text())
        .find(|text| symbol_not_found::readable(text).is_some_and(|readable| path(&readable) == wanted))
}

/// A cheap test before a name is demangled: the last part of the wanted path is in it.
fn contains_name(name: &[u8], wanted: &str) -> bool {
    let last = wanted.rsplit("::").next().unwrap_or(wanted).as_bytes();
    !last.is_empty() && name.len() >= last.len() && name.windows(last.len()).any(|window| window == last)
}

#[cfg(test)]
mod tests;
