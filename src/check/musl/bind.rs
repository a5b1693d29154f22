//! Which definition a symbol is bound to (`find_sym`), and the relocations that ask (`do_relocs`).

use hashbrown::HashMap;

use super::super::fault::{Fault, FaultKind, SymbolName};
use super::super::lookup::Lookup;
use super::super::object_id::ObjectId;
use super::super::process::Process;
use super::super::verdict::Phase;
use super::lfs64;
use crate::facts::elf::{Binding, Machine, Name, Relocation, RelocationClass, Symbol, SymbolKind, Table};

/// Binds every reference of an object.
pub(super) fn relocate(process: &mut Process<'_>, id: ObjectId, faults: &mut Vec<Fault>) {
    // The loader relocates itself before anything else, and needs nobody.
    if Some(id) == process.interpreter {
        return;
    }
    let elf = process.object(id).elf.clone();
    if elf.dynamic.is_none() {
        return;
    }
    let machine = process.platform.machine;
    note_versions(process, id, faults);
    faults.extend(process.relative_table_ignored(id));
    let mut bound: HashMap<(u32, bool, bool), Lookup> = HashMap::new();
    let mut last_name: Option<String> = None;
    let (calls, rest): (Vec<Relocation>, Vec<Relocation>) =
        elf.relocations().partition(|relocation| relocation.table == Table::Plt);
    // Calls come first here.
    for relocation in calls.into_iter().chain(rest) {
        // The numbers mean what they mean on the loader's machine, not on the file's.
        let class = RelocationClass::of(machine, relocation.kind);
        if class == RelocationClass::None {
            continue;
        }
        let mut provider = Some(id);
        if relocation.symbol != 0 {
            let Some(symbol) = elf.symbol(relocation.symbol) else {
                continue;
            };
            last_name = Some(symbol.text());
            if symbol.binding != Binding::Local {
                let key = (
                    relocation.symbol,
                    class == RelocationClass::JumpSlot,
                    class == RelocationClass::Copy,
                );
                let lookup = match bound.get(&key) {
                    Some(lookup) => {
                        // What was deferred for one relocation may not be for the next.
                        if *lookup == Lookup::Missing
                            && let Some(fault) = missing(process, id, &symbol, &relocation, class)
                            && fault.stops
                            && !faults.iter().any(|other| other.stops && other.message == fault.message)
                        {
                            faults.push(fault);
                        }
                        *lookup
                    }
                    None => {
                        let lookup = look_up(process, symbol.name, key.1, key.2);
                        bound.insert(key, lookup);
                        if let Lookup::Found(provider, found) = lookup {
                            super::super::binding::note(
                                process,
                                id,
                                (relocation.symbol, &symbol),
                                (provider, found),
                                key.2,
                                faults,
                            );
                            faults.extend(other_version(process, id, relocation.symbol, (provider, found)));
                        } else if let Some(fault) = missing(process, id, &symbol, &relocation, class) {
                            faults.push(fault);
                        }
                        lookup
                    }
                };
                provider = match lookup {
                    Lookup::Found(provider, _) => Some(provider),
                    _ => None,
                };
            }
        }
        if let Some(fault) = use_relocation(process, id, provider, &relocation, class, last_name.as_deref())
            && !faults.contains(&fault)
        {
            faults.push(fault);
        }
    }
}

/// The fault of a reference to one version that is bound to another.
fn other_version(
    process: &Process<'_>,
    id: ObjectId,
    symbol: u32,
    (provider, found): (ObjectId, u32),
) -> Option<Fault> {
    let object = process.object(id);
    let owner = process.object(provider);
    // musl's own symbols have no versions; which family the object was built for is another rule's.
    if owner.elf.definitions.is_empty() || provider == id {
        return None;
    }
    let asked = object.elf.version(object.elf.version_of(symbol)?.index())?.name;
    let bound = owner.elf.version(owner.elf.version_of(found)?.index())?.name;
    // That the version is not there at all has been told.
    let is_there = owner.elf.definitions.iter().any(|definition| definition.name == asked);
    (asked != bound && is_there).then(|| {
        let kind = FaultKind::SymbolVersionIgnored {
            symbol: object
                .elf
                .symbol(symbol)
                .map(|symbol| symbol.text())
                .unwrap_or_default(),
            asked: asked.to_owned(),
            bound: bound.to_owned(),
            provider: owner.name.clone(),
        };
        Fault::silent(kind, &object.name)
    })
}

/// Finds what `dlsym(3)` finds in a plugin and its libraries.
#[must_use]
pub(in crate::check) fn find_for_dlsym(process: &Process<'_>, plugin: ObjectId, name: &str) -> Option<(ObjectId, u32)> {
    let name = Name::new(name.as_bytes());
    find_in(process, &process.object(plugin).scope, &name, false)
}

fn look_up(process: &mut Process<'_>, name: &[u8], needs_definition: bool, is_copy: bool) -> Lookup {
    let hashed = Name::new(name);
    let found = if is_copy {
        let scope = process.global.get(1..).unwrap_or_default();
        search(process, scope, &hashed, needs_definition)
    } else {
        look_up_globally(process, &hashed, needs_definition)
    };
    if found != Lookup::Missing {
        return found;
    }
    let Some(interpreter) = process.interpreter else {
        return Lookup::Missing;
    };
    if !name.ends_with(b"64") && name != b"readdir64_r" {
        return Lookup::Missing;
    }
    let list = lfs64::list(process.object(interpreter).elf.bytes());
    lfs64::short_name(&list, name).map_or(Lookup::Missing, |short| {
        search(process, &[interpreter], &Name::new(&short), true)
    })
}

fn look_up_globally(process: &mut Process<'_>, name: &Name<'_>, needs_definition: bool) -> Lookup {
    let (startup, later) = process.global.split_at(process.startup_count);
    let is_asked = process.answers.may_know(name);
    let lookup = match is_asked.then(|| process.answers.get(name, None, needs_definition)) {
        None => Lookup::Missing,
        Some(Some(lookup)) => lookup,
        Some(None) => {
            let lookup = search(process, startup, name, needs_definition);
            process.answers.keep(lookup);
            lookup
        }
    };
    match lookup {
        Lookup::Missing => search(process, later, name, needs_definition),
        lookup => lookup,
    }
}

fn search(process: &Process<'_>, objects: &[ObjectId], name: &Name<'_>, needs_definition: bool) -> Lookup {
    find_in(process, objects, name, needs_definition).map_or(Lookup::Missing, |(id, symbol)| Lookup::Found(id, symbol))
}

/// The first definition in a list of objects (`find_sym2`).
fn find_in(
    process: &Process<'_>,
    objects: &[ObjectId],
    name: &Name<'_>,
    needs_definition: bool,
) -> Option<(ObjectId, u32)> {
    objects.iter().find_map(|id| {
        let elf = &process.object(*id).elf;
        // Of several versions the first that is not hidden counts, and if it is no definition, the object has none.
        let is_shown = |index: u32| elf.version_of(index).is_none_or(|version| !version.is_hidden());
        let (index, symbol) = elf.find(name).find(|(index, _)| is_shown(*index))?;
        let is_definition = symbol.is_defined() || !(needs_definition || symbol.kind == SymbolKind::Tls);
        let has_value = symbol.value != 0 || symbol.kind == SymbolKind::Tls;
        let is_kind = matches!(
            symbol.kind,
            SymbolKind::None | SymbolKind::Object | SymbolKind::Function | SymbolKind::Common | SymbolKind::Tls
        );
        let is_bound = matches!(symbol.binding, Binding::Global | Binding::Weak | Binding::Unique);
        (is_definition && has_value && is_kind && is_bound).then_some((*id, index))
    })
}

/// The fault of a symbol that nobody defines. What is deferred may still be bound when a later object is opened.
fn missing(
    process: &Process<'_>,
    id: ObjectId,
    symbol: &Symbol<'_>,
    relocation: &Relocation,
    class: RelocationClass,
) -> Option<Fault> {
    if symbol.binding == Binding::Weak && !symbol.is_defined() {
        return None;
    }
    let object = process.object(id);
    let is_deferred = object.is_lazy && matches!(class, RelocationClass::JumpSlot | RelocationClass::GlobalData);
    let name = symbol.text();
    let message = format!("Error relocating {}: {name}: symbol not found", object.name);
    Some(Fault {
        kind: FaultKind::SymbolMissing {
            passed_over: passed_over(process, &Name::new(symbol.name)),
            symbol: SymbolName { name, version: None },
            kind: kind_of(symbol, class),
            offset: relocation.offset,
        },
        object: object.name.clone(),
        phase: match (is_deferred, object.is_startup()) {
            (true, _) => Phase::Call,
            (false, true) => Phase::Exec,
            (false, false) => Phase::Load,
        },
        message: (!is_deferred).then_some(message),
        stops: !is_deferred,
    })
}

/// What a reference is to, as far as it tells itself: undefined symbols often have no type.
fn kind_of(symbol: &Symbol<'_>, class: RelocationClass) -> SymbolKind {
    match (symbol.kind, class) {
        (SymbolKind::None, RelocationClass::JumpSlot) => SymbolKind::Function,
        (kind, _) => kind,
    }
}

/// A definition of the name that musl does not see, and why.
fn passed_over(process: &Process<'_>, name: &Name<'_>) -> Option<String> {
    process.objects.iter().find_map(|object| {
        let (index, symbol) = object.elf.find(name).find(|(_, symbol)| symbol.is_defined())?;
        let hidden = object.elf.version_of(index).is_some_and(|version| version.is_hidden());
        let why = if symbol.kind == SymbolKind::Ifunc {
            "as an indirect function (STT_GNU_IFUNC), which musl does not support"
        } else if hidden {
            "only as an old version that is not the default, which musl does not see"
        } else {
            return None;
        };
        Some(format!("{} defines it {why}", object.name))
    })
}

/// What a relocation does besides naming a symbol.
fn use_relocation(
    process: &Process<'_>,
    id: ObjectId,
    provider: Option<ObjectId>,
    relocation: &Relocation,
    class: RelocationClass,
    last_name: Option<&str>,
) -> Option<Fault> {
    let object = process.object(id);
    let phase = if object.is_startup() { Phase::Exec } else { Phase::Load };
    let fault = |kind: FaultKind, message: Option<String>| Fault {
        kind,
        object: object.name.clone(),
        phase,
        message,
        stops: true,
    };
    if !is_known(process.platform.machine, class) {
        let message = format!(
            "Error relocating {}: unsupported relocation type {}",
            object.name, relocation.kind
        );
        let kind = FaultKind::RelocationUnsupported {
            kind: relocation.kind,
            offset: relocation.offset,
        };
        return Some(fault(kind, Some(message)));
    }
    let follows_provider = matches!(
        class,
        RelocationClass::TlsStatic | RelocationClass::TlsDescriptor | RelocationClass::TlsModule
    );
    let Some(provider) = provider else {
        let why = "a weak reference to thread-local storage that nobody defines: musl follows a null pointer";
        return follows_provider.then(|| fault(FaultKind::LoaderCrash { why: why.to_owned() }, None));
    };
    let owner = process.object(provider);
    if class == RelocationClass::TlsStatic && owner.elf.tls.is_some() && !owner.has_static_tls {
        let named = last_name.unwrap_or_default();
        let message = format!(
            "Error relocating {}: {named}: initial-exec TLS resolves to dynamic definition in {}",
            object.name, owner.name
        );
        let kind = FaultKind::StaticTlsOpened {
            symbol: (relocation.symbol != 0).then(|| named.to_owned()),
            provider: owner.name.clone(),
        };
        return Some(fault(kind, Some(message)));
    }
    None
}

/// The relocations that musl's `reloc.h` of a machine has names for.
fn is_known(machine: Machine, class: RelocationClass) -> bool {
    match class {
        RelocationClass::IndirectRelative | RelocationClass::Size | RelocationClass::Unsupported => false,
        RelocationClass::PcRelative => matches!(machine, Machine::X86_64 | Machine::X86),
        _ => true,
    }
}

/// Versions that a library was to define and does not: musl does not look.
fn note_versions(process: &Process<'_>, id: ObjectId, faults: &mut Vec<Fault>) {
    let object = process.object(id);
    for need in &object.elf.needs {
        let provider = object.needed.iter().find(|library| {
            let library = process.object(**library);
            library.short() == need.file || library.names.contains(&need.file)
        });
        let Some(provider) = provider else { continue };
        // The C library has no versions in musl, on purpose; which family an object was built for is another rule's.
        if Some(*provider) == process.interpreter {
            continue;
        }
        let provider = process.object(*provider);
        if provider.elf.definitions.is_empty() {
            continue;
        }
        for version in &need.versions {
            if !provider
                .elf
                .definitions
                .iter()
                .any(|definition| definition.name == version.name)
            {
                faults.push(Fault {
                    kind: FaultKind::VersionIgnored {
                        version: version.name.clone(),
                        provider: provider.name.clone(),
                    },
                    object: object.name.clone(),
                    phase: Phase::Call,
                    message: None,
                    stops: false,
                });
            }
        }
    }
}
