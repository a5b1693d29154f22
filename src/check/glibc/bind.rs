//! Which definition a symbol is bound to (`_dl_lookup_symbol_x`, `do_lookup_x`, `check_match` in `elf/dl-lookup.c`), and the
//! relocations that ask (`elf/dl-reloc.c`, `sysdeps/*/dl-machine.h`).

use hashbrown::HashMap;

use super::super::fault::{Fault, FaultKind, SymbolName};
use super::super::lookup::Lookup;
use super::super::machine;
use super::super::object_id::ObjectId;
use super::super::process::Process;
use super::super::verdict::Phase;
use crate::facts::elf::{
    Binding, Elf, Name, Relocation, RelocationClass, Symbol, SymbolKind, SymbolVersion, Table, Visibility,
};

/// Room is made at once for so many symbols.
const SYMBOLS_EXPECTED_COUNT: u32 = 4096;

/// What kind of reference asks, which decides which definitions count (`ELF_RTYPE_CLASS_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Any reference to an address.
    Address,
    /// A call or thread-local storage: an undefined symbol with a value is no definition.
    Call,
    /// A copy relocation: the program itself does not count.
    Copy,
}

/// Binds every reference of an object.
pub(super) fn relocate(process: &mut Process<'_>, id: ObjectId, now: bool, faults: &mut Vec<Fault>) {
    let elf = process.object(id).elf.clone();
    let Some(dynamic) = &elf.dynamic else { return };
    let lazy = !now && !dynamic.binds_now();
    process.objects[id].is_lazy = lazy;
    faults.extend(process.relative_table_ignored(id));
    let count = elf.symbol_count().min(SYMBOLS_EXPECTED_COUNT);
    let mut bound: HashMap<(u32, bool, bool), Option<ObjectId>> = HashMap::with_capacity(count as usize);
    for relocation in elf.relocations_to_bind() {
        match relocation.class {
            RelocationClass::None | RelocationClass::Relative | RelocationClass::IndirectRelative => continue,
            RelocationClass::Unsupported => {
                faults.push(unsupported(process, id, &relocation));
                continue;
            }
            _ => {}
        }
        let class = class_of(&relocation);
        let key = (relocation.symbol, class == Class::Call, class == Class::Copy);
        let provider = match bound.get(&key) {
            Some(provider) => *provider,
            None => {
                let provider = bind(process, (id, &elf), &relocation, class, lazy, faults);
                bound.insert(key, provider);
                provider
            }
        };
        if provider.is_none() && is_tls(relocation.class) {
            note_weak_tls(process, (id, &elf), &relocation, faults);
        }
        use_tls(process, id, provider, &relocation, faults);
    }
}

/// Binds the symbol of a relocation; none if nobody defines it.
fn bind(
    process: &mut Process<'_>,
    (id, elf): (ObjectId, &Elf),
    relocation: &Relocation,
    class: Class,
    lazy: bool,
    faults: &mut Vec<Fault>,
) -> Option<ObjectId> {
    let symbol = elf.symbol(relocation.symbol)?;
    let binds_locally = relocation.symbol == 0
        || symbol.binding == Binding::Local
        || matches!(symbol.visibility, Visibility::Hidden | Visibility::Internal);
    // A protected definition of its own is taken in the end, whatever the lookup finds.
    let is_protected = symbol.visibility == Visibility::Protected && symbol.is_defined() && class != Class::Copy;
    if binds_locally || is_protected {
        return Some(id);
    }
    let asked = version_asked(elf, relocation.symbol);
    match look_up(process, id, &Name::new(symbol.name), asked, class) {
        Lookup::Found(provider, found) => {
            let binding = (asked.is_some(), class);
            note_binding(
                process,
                id,
                (relocation.symbol, &symbol),
                binding,
                (provider, found),
                faults,
            );
            Some(provider)
        }
        lookup => {
            let is_deferred = lazy && relocation.table == Table::Plt && relocation.class == RelocationClass::JumpSlot;
            faults.extend(failure(process, id, &symbol, asked, relocation, lookup, is_deferred));
            None
        }
    }
}

/// Notes a thread-local variable that nobody defines, and that may be missing.
fn note_weak_tls(process: &Process<'_>, (id, elf): (ObjectId, &Elf), relocation: &Relocation, faults: &mut Vec<Fault>) {
    let Some(symbol) = elf
        .symbol(relocation.symbol)
        .filter(|symbol| symbol.binding == Binding::Weak)
    else {
        return;
    };
    let kind = FaultKind::WeakTlsUndefined { symbol: symbol.text() };
    let fault = Fault::silent(kind, &process.object(id).name);
    if !faults.contains(&fault) {
        faults.push(fault);
    }
}

fn is_tls(class: RelocationClass) -> bool {
    matches!(
        class,
        RelocationClass::TlsModule
            | RelocationClass::TlsOffset
            | RelocationClass::TlsStatic
            | RelocationClass::TlsDescriptor
    )
}

/// Finds what `dlsym(3)` finds in a plugin and its libraries.
#[must_use]
pub(in crate::check) fn find_for_dlsym(process: &Process<'_>, plugin: ObjectId, name: &str) -> Option<(ObjectId, u32)> {
    let name = Name::new(name.as_bytes());
    let scope = &process.object(plugin).scope;
    scope
        .iter()
        .find_map(|id| match matching(process, *id, &name, None, Class::Address, 2) {
            Match::Symbol(symbol) => Some((*id, symbol)),
            _ => None,
        })
}

fn class_of(relocation: &Relocation) -> Class {
    match relocation.class {
        RelocationClass::Copy => Class::Copy,
        RelocationClass::JumpSlot => Class::Call,
        class if is_tls(class) => Class::Call,
        _ => Class::Address,
    }
}

fn version_asked(elf: &Elf, symbol: u32) -> Option<SymbolVersion<'_>> {
    let version = elf.version(elf.version_of(symbol)?.index())?;
    (version.hash != 0).then_some(version)
}

/// Looks through the scopes of an object in order.
fn look_up(
    process: &mut Process<'_>,
    from: ObjectId,
    name: &Name<'_>,
    asked: Option<SymbolVersion<'_>>,
    class: Class,
) -> Lookup {
    let object = process.object(from);
    let own: &[ObjectId] = match &object.elf.dynamic {
        Some(dynamic) if dynamic.is_symbolic() => &[from],
        _ => &[],
    };
    let lookup = match search(process, own, name, asked, class) {
        Lookup::Missing => look_up_globally(process, name, asked, class),
        lookup => lookup,
    };
    let lookup = match lookup {
        Lookup::Missing => {
            // What everybody sees has been asked.
            let scope = &process.object(process.object(from).root).scope;
            let rest = scope.iter().filter(|id| !process.object(**id).is_in_startup_scope);
            search(process, rest, name, asked, class)
        }
        lookup => lookup,
    };
    let Lookup::Found(id, symbol) = lookup else {
        return lookup;
    };
    let is_unique = process
        .object(id)
        .elf
        .symbol_called(symbol, name.bytes)
        .is_some_and(|symbol| symbol.binding == Binding::Unique);
    if is_unique {
        let (id, symbol) = *process.unique.entry(name.bytes.to_vec()).or_insert((id, symbol));
        return Lookup::Found(id, symbol);
    }
    Lookup::Found(id, symbol)
}

/// Looks through the global scope.
fn look_up_globally(
    process: &mut Process<'_>,
    name: &Name<'_>,
    asked: Option<SymbolVersion<'_>>,
    class: Class,
) -> Lookup {
    if class == Class::Copy {
        return search(process, &process.global, name, asked, class);
    }
    let (startup, later) = process.global.split_at(process.startup_count);
    // Old releases stop at a library that is meant and does not have the name.
    let is_asked = process.answers.may_know(name) || !process.platform.is_since(2, 37);
    let lookup = match is_asked.then(|| process.answers.get(name, asked, class == Class::Call)) {
        None => Lookup::Missing,
        Some(Some(lookup)) => lookup,
        Some(None) => {
            let lookup = search(process, startup, name, asked, class);
            process.answers.keep(lookup);
            lookup
        }
    };
    match lookup {
        Lookup::Missing => search(process, later, name, asked, class),
        lookup => lookup,
    }
}

/// The first definition in a list of objects, or what stops the search.
fn search<'i>(
    process: &Process<'_>,
    objects: impl IntoIterator<Item = &'i ObjectId>,
    name: &Name<'_>,
    asked: Option<SymbolVersion<'_>>,
    class: Class,
) -> Lookup {
    for id in objects.into_iter().filter(|id| class != Class::Copy || **id != 0) {
        match matching(process, *id, name, asked, class, 3) {
            Match::Symbol(symbol) => return Lookup::Found(*id, symbol),
            Match::None => {}
            Match::LinkTimeReference => return Lookup::LinkTimeReference,
            Match::Assertion => return Lookup::Assertion,
        }
    }
    Lookup::Missing
}

enum Match {
    Symbol(u32),
    None,
    LinkTimeReference,
    Assertion,
}

/// What one object offers for a name. `first_named` is the lowest version index that counts as a version of its own.
fn matching(
    process: &Process<'_>,
    id: ObjectId,
    name: &Name<'_>,
    asked: Option<SymbolVersion<'_>>,
    class: Class,
    first_named: u16,
) -> Match {
    let object = process.object(id);
    let elf = &object.elf;
    let mut versioned = None;
    let mut versioned_count = 0;
    let mut chosen = None;
    for (index, symbol) in elf.find(name) {
        let is_undefined_call = class == Class::Call && !symbol.is_defined();
        let has_no_value = symbol.value == 0 && symbol.section != Symbol::ABSOLUTE && symbol.kind != SymbolKind::Tls;
        if has_no_value || is_undefined_call || !is_bindable(symbol.kind) {
            continue;
        }
        let version = elf.version_of(index);
        match (asked, version) {
            (Some(asked), None) => {
                let is_meant = asked
                    .file
                    .is_some_and(|file| object.names.iter().any(|name| name == file));
                if is_meant && !process.platform.is_since(2, 37) {
                    return Match::Assertion;
                }
            }
            (Some(asked), Some(version)) => {
                let own = elf.version(version.index());
                let (own_name, own_hash) = own.map_or(("", 0), |own| (own.name, own.hash));
                let differs = own_hash != asked.hash || own_name != asked.name;
                if differs && (asked.is_hidden || own_hash != 0 || version.is_hidden()) {
                    continue;
                }
            }
            (None, Some(version)) if version.index() >= first_named => {
                if !version.is_hidden() {
                    versioned_count += 1;
                    versioned = versioned.or(Some((index, symbol)));
                }
                continue;
            }
            (None, _) => {}
        }
        chosen = Some((index, symbol));
        break;
    }
    let was_walked_through = chosen.is_none();
    let chosen = chosen.or(if versioned_count == 1 { versioned } else { None });
    if let Some((index, symbol)) = chosen {
        let is_visible = !matches!(symbol.visibility, Visibility::Hidden | Visibility::Internal);
        if is_visible && matches!(symbol.binding, Binding::Global | Binding::Weak | Binding::Unique) {
            return Match::Symbol(index);
        }
    }
    let is_meant = asked
        .and_then(|asked| asked.file)
        .is_some_and(|file| object.names.iter().any(|name| name == file));
    // Since 2.30 a symbol may have moved to another library, and the search goes on with the next object.
    if was_walked_through && is_meant && !process.platform.is_since(2, 30) {
        return Match::LinkTimeReference;
    }
    Match::None
}

fn is_bindable(kind: SymbolKind) -> bool {
    matches!(
        kind,
        SymbolKind::None
            | SymbolKind::Object
            | SymbolKind::Function
            | SymbolKind::Common
            | SymbolKind::Tls
            | SymbolKind::Ifunc
    )
}

/// The fault of a lookup that came to nothing.
fn failure(
    process: &Process<'_>,
    id: ObjectId,
    symbol: &Symbol<'_>,
    asked: Option<SymbolVersion<'_>>,
    relocation: &Relocation,
    lookup: Lookup,
    is_deferred: bool,
) -> Option<Fault> {
    let object = process.object(id);
    let is_startup = object.is_startup();
    let host = &process.object(0).name;
    let name = symbol.text();
    let version = asked.map(|asked| asked.name.to_owned());
    let mut crash = None;
    let words = match lookup {
        Lookup::Found(..) => return None,
        Lookup::Missing if symbol.binding == Binding::Weak => return None,
        Lookup::Missing => match &version {
            Some(version) => format!("undefined symbol: {name}, version {version}"),
            None => format!("undefined symbol: {name}"),
        },
        Lookup::LinkTimeReference => format!(
            "symbol {name}, version {} not defined in file {} with link time reference",
            version.as_deref().unwrap_or_default(),
            asked.and_then(|asked| asked.file).unwrap_or_default()
        ),
        Lookup::Assertion => {
            let words = "Inconsistency detected by ld.so: dl-lookup.c: check_match: Assertion `version->filename == NULL || ! \
                         _dl_name_match_p (version->filename, map)' failed!";
            crash = Some(words.to_owned());
            String::new()
        }
    };
    let message = crash.unwrap_or_else(|| {
        if is_startup || is_deferred {
            format!("{host}: symbol lookup error: {}: {words}", object.name)
        } else {
            format!("{}: {words}", object.name)
        }
    });
    Some(Fault {
        kind: FaultKind::SymbolMissing {
            symbol: SymbolName { name, version },
            kind: kind_of(symbol, relocation),
            passed_over: None,
            offset: relocation.offset,
        },
        object: object.name.clone(),
        phase: match (is_deferred, is_startup) {
            (true, _) => Phase::Call,
            (false, true) => Phase::Exec,
            (false, false) => Phase::Load,
        },
        message: Some(message),
        stops: !is_deferred,
    })
}

/// What a reference is to, as far as it tells itself: undefined symbols often have no type.
pub(super) fn kind_of(symbol: &Symbol<'_>, relocation: &Relocation) -> SymbolKind {
    match (symbol.kind, relocation.class) {
        (SymbolKind::None, RelocationClass::JumpSlot) => SymbolKind::Function,
        (
            SymbolKind::None,
            RelocationClass::TlsModule
            | RelocationClass::TlsOffset
            | RelocationClass::TlsStatic
            | RelocationClass::TlsDescriptor,
        ) => SymbolKind::Tls,
        (kind, _) => kind,
    }
}

/// Notes what binds in silence to something else than it was linked against.
fn note_binding(
    process: &Process<'_>,
    id: ObjectId,
    (index, symbol): (u32, &Symbol<'_>),
    (is_versioned, class): (bool, Class),
    (provider, found): (ObjectId, u32),
    faults: &mut Vec<Fault>,
) {
    super::super::binding::note(
        process,
        id,
        (index, symbol),
        (provider, found),
        class == Class::Copy,
        faults,
    );
    if is_versioned || provider == id {
        return;
    }
    // Without a version, the library's first version node wins, even if it is not the default.
    let elf = &process.object(provider).elf;
    let Some(version) = elf.version_of(found).filter(|version| version.is_hidden()) else {
        return;
    };
    let default = elf.find(&Name::new(symbol.name)).find_map(|(index, _)| {
        elf.version_of(index)
            .filter(|version| !version.is_hidden() && version.index() > 1)
    });
    let name_of = |index: u16| elf.version(index).map(|version| version.name.to_owned());
    if let (Some(bound), Some(default)) = (
        name_of(version.index()),
        default.and_then(|version| name_of(version.index())),
    ) {
        faults.push(Fault {
            kind: FaultKind::BoundToOld {
                symbol: SymbolName {
                    name: symbol.text(),
                    version: None,
                },
                bound,
                default,
                provider: process.object(provider).name.clone(),
            },
            object: process.object(id).name.clone(),
            phase: Phase::Call,
            message: None,
            stops: false,
        });
    }
}

/// Takes room in the static block for what is accessed at a fixed offset from the thread pointer.
fn use_tls(
    process: &mut Process<'_>,
    id: ObjectId,
    provider: Option<ObjectId>,
    relocation: &Relocation,
    faults: &mut Vec<Fault>,
) {
    let is_descriptor = relocation.class == RelocationClass::TlsDescriptor;
    if relocation.class != RelocationClass::TlsStatic && !is_descriptor {
        return;
    }
    let Some(provider) = provider else { return };
    let owner = process.object(provider);
    if owner.has_static_tls {
        return;
    }
    let Some(segment) = owner.elf.tls else { return };
    if is_descriptor {
        process.objects[provider].has_static_tls = process.tls.take_optional(&segment);
        return;
    }
    if process.tls.take(&segment) {
        process.objects[provider].has_static_tls = true;
        return;
    }
    let object = process.object(id);
    let message = format!(
        "{}: cannot allocate memory in static TLS block",
        process.object(provider).name
    );
    let fault = Fault {
        kind: FaultKind::StaticTlsFull {
            size: segment.memory_size,
            free: process.tls.free(),
        },
        object: object.name.clone(),
        phase: Phase::Load,
        message: Some(message),
        stops: true,
    };
    if !faults.contains(&fault) {
        faults.push(fault);
    }
}

fn unsupported(process: &Process<'_>, id: ObjectId, relocation: &Relocation) -> Fault {
    let object = process.object(id);
    let table = match relocation.table {
        Table::Main => "unexpected reloc type",
        Table::Plt => "unexpected PLT reloc type",
    };
    let is_known = machine::is_modelled(process.platform.machine);
    Fault {
        kind: FaultKind::RelocationUnsupported {
            kind: relocation.kind,
            offset: relocation.offset,
        },
        object: object.name.clone(),
        phase: if object.is_startup() { Phase::Exec } else { Phase::Load },
        message: is_known.then(|| format!("{}: {table} 0x{:02x}", object.name, relocation.kind)),
        stops: is_known,
    }
}
