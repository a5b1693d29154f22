//! What binds in silence, whatever the loader: definitions of another plugin, and definitions of another kind.

use super::fault::{Excuse, Fault, FaultKind, Interposer};
use super::likeness::{Likeness, likeness, share_code};
use super::lookup::offered;
use super::object_id::ObjectId;
use super::process::{Loaded, Process};
use super::search::absolute;
use super::verdict::Phase;
use crate::facts::elf::{Binding, Elf, Name, Relocation, RelocationClass, Symbol, SymbolKind};
use crate::facts::go::is_own_symbol;

/// Libraries whose functions programs replace on purpose.
const REPLACEABLE: &[&str] = &[
    "libc.",
    "libm.",
    "libpthread.",
    "libdl.",
    "librt.",
    "ld-linux",
    "ld-musl",
    "libgcc_s.",
];

/// Notes what a binding of `from`'s symbol to `found` means.
pub(super) fn note(
    process: &Process<'_>,
    from: ObjectId,
    (index, symbol): (u32, &Symbol<'_>),
    (provider, found): (ObjectId, u32),
    is_copy: bool,
    faults: &mut Vec<Fault>,
) {
    if provider == from {
        return;
    }
    let object = process.object(from);
    let owner = process.object(provider);
    // musl finds some under another name.
    let definition = owner.elf.symbol_called(found, symbol.name);
    let Some(definition) = definition.or_else(|| owner.elf.symbol(found)) else {
        return;
    };
    if is_copy {
        if symbol.size < definition.size {
            let kind = FaultKind::CopiedDataGrew {
                symbol: symbol.text(),
                own: symbol.size,
                provider: owner.name.clone(),
                size: definition.size,
            };
            faults.push(Fault::silent(kind, &object.name));
        }
        return;
    }
    let is_meant = || is_own_symbol(&symbol.text()) || is_replaceable_operator(symbol.name);
    if let Some(own) = own_definition(process, from, (provider, &definition), symbol)
        .filter(|_| !is_meant())
        .or_else(|| library_passed_over(process, from, index, (provider, &definition)))
    {
        let by = match definition.binding {
            Binding::Unique => Interposer::Unique,
            _ if provider == 0 => Interposer::Host,
            _ if owner.is_startup() => Interposer::HostLibrary,
            _ => Interposer::Plugin,
        };
        let excuse = match own.is_copy {
            true => Some(Excuse::Copy),
            false => are_shipped_together(process, from, provider).then_some(Excuse::Packaged),
        };
        faults.push(Fault {
            kind: FaultKind::Interposed {
                symbol: symbol.text(),
                kind: definition.kind,
                provider: owner.name.clone(),
                own: own.name,
                by,
                excuse,
            },
            object: object.name.clone(),
            phase: Phase::Call,
            message: None,
            stops: false,
        });
    }
    let is_tls = |kind: SymbolKind| kind == SymbolKind::Tls;
    let is_function = |kind: SymbolKind| matches!(kind, SymbolKind::Function | SymbolKind::Ifunc);
    let is_data = |kind: SymbolKind| matches!(kind, SymbolKind::Object | SymbolKind::Common);
    let (expected, is) = (symbol.kind, definition.kind);
    let differs = (is_tls(expected) && !is_tls(is) && is != SymbolKind::None)
        || (is_tls(is) && !is_tls(expected) && expected != SymbolKind::None)
        || (is_function(expected) && is_data(is))
        || (is_data(expected) && is_function(is));
    if differs {
        faults.push(Fault {
            kind: FaultKind::KindChanged {
                symbol: symbol.text(),
                expected,
                found: is,
                provider: owner.name.clone(),
            },
            object: object.name.clone(),
            phase: Phase::Call,
            message: None,
            stops: false,
        });
    }
}

/// An object whose definition is passed over for another one.
struct Own {
    name: String,
    /// Whether the other one may be the same.
    is_copy: bool,
}

impl Own {
    /// None if both definitions are the same. `own` may lack what it is known to have by its name alone.
    fn new(own: &Loaded, definition: &Symbol<'_>, owner: &Loaded, found: &Symbol<'_>) -> Option<Self> {
        let is_copy = match likeness((&own.elf, definition), (&owner.elf, found)) {
            Likeness::Same => return None,
            Likeness::Perhaps => true,
            Likeness::Other => share_code(&own.elf, &owner.elf),
        };
        Some(Self {
            name: own.name.clone(),
            is_copy,
        })
    }
}

/// Whether the distribution's packages brought everybody who takes part: the object that asks, the one that it gets, and the plugins or
/// the program for which they were loaded.
fn are_shipped_together(process: &Process<'_>, from: ObjectId, provider: ObjectId) -> bool {
    let roots = [process.object(from).root, process.object(provider).root];
    [from, provider].into_iter().chain(roots).all(|id| {
        let path = absolute(process, &process.object(id).path);
        process.packaged.has(process.root, &path)
    })
}

/// The object whose definition would have been taken if neither the host nor an earlier plugin had one: the asking object itself or a library
/// that was loaded with it.
fn own_definition(
    process: &Process<'_>,
    from: ObjectId,
    (provider, found): (ObjectId, &Symbol<'_>),
    symbol: &Symbol<'_>,
) -> Option<Own> {
    let object = process.object(from);
    let owner = process.object(provider);
    // The C library's functions are there for everybody; what else is there from the start may have the name by accident.
    let is_library_of_host = owner.is_startup() && provider != 0;
    let is_meant = owner.is_preloaded || is_libc(owner) || Some(provider) == process.interpreter;
    if is_library_of_host && (object.is_startup() || is_meant) {
        return None;
    }
    if owner.brought_by == object.brought_by {
        return taken_within(process, from, (provider, found), symbol);
    }
    let root = process.object(object.root);
    // A library that both plugins need is the same library; only what it was linked behind comes before it.
    if root.scope.contains(&provider) {
        return linked_before(process, from, (provider, found), symbol);
    }
    let name = Name::new(symbol.name);
    let candidates = std::iter::once(from).chain(root.scope.iter().copied());
    // A library that the host started with is passed over only for the host itself, which comes before it.
    let is_candidate = |id: &ObjectId| {
        let candidate = process.object(*id);
        let is_passed_over = !candidate.is_startup() || (provider == 0 && !is_libc(candidate));
        *id != provider && Some(*id) != process.interpreter && is_passed_over
    };
    let (own, definition) = candidates
        .filter(is_candidate)
        .find_map(|id| Some((id, offered(&process.object(id).elf, &name)?)))?;
    let own = process.object(own);
    // Go's runtime brings the same C code into the host and into every plugin.
    let is_go = |elf: &Elf| {
        // Builds that are to be the same everywhere leave the build ID out; the runtime's list of modules is always there.
        elf.notes.go_build_id.is_some() || elf.find(&Name::new(b"runtime.lastmoduledatap")).next().is_some()
    };
    if is_go(&owner.elf) && is_go(&root.elf) {
        return None;
    }
    // Data of a library that the host has a copy of is the same data.
    if own.is_startup() && !matches!(definition.kind, SymbolKind::Function | SymbolKind::Ifunc) {
        return None;
    }
    let accident = || {
        Some(Own {
            name: own.name.clone(),
            is_copy: false,
        })
    };
    let (owner, found) = &original(process, (provider, found));
    match definition.binding {
        // What a compiler may put into every object (inline functions, templates) is weak, and there is to be one of it.
        Binding::Weak => None,
        Binding::Unique if likeness((&own.elf, &definition), (&owner.elf, found)) != Likeness::Other => None,
        Binding::Global if owner.is_startup() => Own::new(own, &definition, owner, found),
        // Even of the same code, each plugin is to have its own: it has variables.
        _ => accident(),
    }
}

/// A definition, or of data that the host has a copy of the one that it was copied from.
fn original<'p>(process: &'p Process<'_>, (provider, found): (ObjectId, &Symbol<'p>)) -> (&'p Loaded, Symbol<'p>) {
    let owner = process.object(provider);
    let is_copied = |relocation: Relocation| {
        let symbol = owner.elf.symbol(relocation.symbol);
        relocation.class == RelocationClass::Copy && symbol.is_some_and(|symbol| symbol.name == found.name)
    };
    if provider == 0 && found.kind == SymbolKind::Object && owner.elf.relocations().any(is_copied) {
        let name = Name::new(found.name);
        let libraries = process.object(0).scope.iter().map(|id| process.object(*id)).skip(1);
        let mut definitions = libraries.filter_map(|library| Some((library, offered(&library.elf, &name)?)));
        if let Some(original) = definitions.next() {
            return original;
        }
    }
    (owner, *found)
}

/// `operator new` and `operator delete`, which C++ lets programs replace ([replacement.functions]).
fn is_replaceable_operator(name: &[u8]) -> bool {
    [&b"_Znw"[..], b"_Zna", b"_Zdl", b"_Zda"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// The C library, whose functions programs replace on purpose.
fn is_libc(object: &Loaded) -> bool {
    let short = object.short();
    REPLACEABLE.iter().any(|library| short.starts_with(library))
}

/// The library that a function was to come from, by the version that is asked for, if the host's own is taken instead. Functions of
/// the C library are replaced on purpose.
fn library_passed_over(
    process: &Process<'_>,
    from: ObjectId,
    index: u32,
    (provider, found): (ObjectId, &Symbol<'_>),
) -> Option<Own> {
    if provider != 0 {
        return None;
    }
    let (object, owner) = (process.object(from), process.object(provider));
    let version = object.elf.version_of(index)?.index();
    let file = object.elf.version(version)?.file?;
    let is_function = matches!(found.kind, SymbolKind::Function | SymbolKind::Ifunc);
    let is_it = owner.short() == file || owner.names.iter().any(|name| name == file);
    let is_replaceable = REPLACEABLE.iter().any(|library| file.starts_with(library));
    if !is_function || is_it || is_replaceable {
        return None;
    }
    let own = process.known_as(file).map(|id| process.object(id));
    let definition = own.and_then(|own| {
        let mut definitions = own.elf.find(&Name::new(found.name)).map(|(_, symbol)| symbol);
        Some((own, definitions.find(Symbol::is_defined)?))
    });
    match definition {
        Some((own, definition)) => Own::new(own, &definition, owner, found),
        None => Some(Own {
            name: file.to_owned(),
            is_copy: false,
        }),
    }
}

/// A function of a library, or of one that it needs, taken by another object of the same plugin that has one of that name.
fn taken_within(
    process: &Process<'_>,
    from: ObjectId,
    (provider, found): (ObjectId, &Symbol<'_>),
    symbol: &Symbol<'_>,
) -> Option<Own> {
    let object = process.object(from);
    // What an object asks for itself comes in the order in which it was linked.
    if object.is_startup() || object.root == from {
        return None;
    }
    linked_before(process, from, (provider, found), symbol)
}

/// The definition that the linker found first, in the object itself or in what it needs, if the loader finds another one.
fn linked_before(
    process: &Process<'_>,
    from: ObjectId,
    (provider, found): (ObjectId, &Symbol<'_>),
    symbol: &Symbol<'_>,
) -> Option<Own> {
    let object = process.object(from);
    let is_global = |symbol: &Symbol<'_>| {
        matches!(symbol.kind, SymbolKind::Function | SymbolKind::Object) && symbol.binding == Binding::Global
    };
    if !is_global(found) {
        return None;
    }
    let (owner, found) = &original(process, (provider, found));
    if symbol.is_defined() {
        return is_global(symbol)
            .then(|| Own::new(object, symbol, owner, found))
            .flatten();
    }
    let name = Name::new(symbol.name);
    // What the host started with is not asked for each of a plugin's symbols: only where something comes before it.
    let before = process.linked(from).iter().copied().take_while(|id| *id != provider);
    let (own, definition) = before
        .filter(|id| !process.object(*id).is_startup())
        .find_map(|id| Some((id, offered(&process.object(id).elf, &name)?)))?;
    let is_offered =
        |id: ObjectId| process.object(id).is_startup() && offered(&process.object(id).elf, &name).is_some();
    let mut earlier = process.linked(from).iter().copied().take_while(|id| *id != own);
    (is_global(&definition) && !earlier.any(is_offered))
        .then(|| Own::new(process.object(own), &definition, owner, found))
        .flatten()
}
