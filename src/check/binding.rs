//! What binds in silence, whatever the loader: definitions of another plugin, and definitions of another kind.

use super::fault::{Fault, FaultKind};
use super::process::{Loaded, ObjectId, Process};
use super::verdict::Phase;
use crate::facts::elf::{Binding, Elf, Name, Symbol, SymbolKind};
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
    let Some(definition) = owner.elf.symbol(found) else {
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
    let passed_over = || {
        (provider == 0)
            .then(|| library_passed_over(object, index, owner, &definition))
            .flatten()
    };
    if let Some(own) = own_definition(process, from, (provider, &definition), symbol).or_else(passed_over) {
        faults.push(Fault {
            kind: FaultKind::Interposed {
                symbol: symbol.text(),
                kind: definition.kind,
                provider: owner.name.clone(),
                own,
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

/// The object whose definition would have been taken if neither the host nor an earlier plugin had one: the asking object itself or a library
/// that was loaded with it.
fn own_definition(
    process: &Process<'_>,
    from: ObjectId,
    (provider, found): (ObjectId, &Symbol<'_>),
    symbol: &Symbol<'_>,
) -> Option<String> {
    let object = process.object(from);
    let owner = process.object(provider);
    // What libraries of the host export is shared on purpose; what the host itself exports may have the name by accident.
    let is_library_of_host = owner.is_startup() && provider != 0;
    if is_library_of_host || is_own_symbol(&symbol.text()) {
        return None;
    }
    if owner.brought_by == object.brought_by {
        return taken_within(object, owner, found, symbol);
    }
    let root = process.object(object.root);
    // Go's runtime brings the same C code into the host and into every plugin.
    let is_go = |elf: &Elf| {
        // Builds that are to be the same everywhere leave the build ID out; the runtime's list of modules is always there.
        elf.notes.go_build_id.is_some() || elf.find(&Name::new(b"runtime.lastmoduledatap")).next().is_some()
    };
    if is_go(&owner.elf) && is_go(&root.elf) {
        return None;
    }
    // A library that both plugins need is the same library.
    if root.scope.contains(&provider) {
        return None;
    }
    let name = Name::new(symbol.name);
    let candidates = std::iter::once(from).chain(root.scope.iter().copied());
    // A library that the host started with is passed over only for the host itself, which comes before it.
    let is_candidate = |id: &ObjectId| {
        let candidate = process.object(*id);
        *id != provider && Some(*id) != process.interpreter && (!candidate.is_startup() || !is_libc(candidate))
    };
    let (own, definition) = candidates.filter(is_candidate).find_map(|id| {
        let mut definitions = process.object(id).elf.find(&name);
        definitions.find_map(|(_, symbol)| symbol.is_defined().then_some((id, symbol)))
    })?;
    let own = process.object(own);
    // Data of a library that the host has a copy of is the same data.
    if own.is_startup() && !matches!(definition.kind, SymbolKind::Function | SymbolKind::Ifunc) {
        return None;
    }
    match definition.binding {
        // What a compiler may put into every object (inline functions, templates) is weak, and there is to be one of it.
        Binding::Weak => return None,
        Binding::Unique if is_same(&own.elf, &definition, &owner.elf, found) => return None,
        Binding::Global if provider == 0 && is_same(&own.elf, &definition, &owner.elf, found) => return None,
        _ => {}
    }
    Some(own.name.clone())
}

/// The C library, whose functions programs replace on purpose.
fn is_libc(object: &Loaded) -> bool {
    let short = object.short();
    REPLACEABLE.iter().any(|library| short.starts_with(library))
}

/// The library that a function was to come from, by the version that is asked for, if the host's own is taken instead. Functions of
/// the C library are replaced on purpose.
fn library_passed_over(object: &Loaded, index: u32, owner: &Loaded, definition: &Symbol<'_>) -> Option<String> {
    let version = object.elf.version_of(index)?.index();
    let file = object.elf.version_file(version)?;
    let is_replaceable = [
        "libc.",
        "libm.",
        "libpthread.",
        "libdl.",
        "librt.",
        "ld-linux",
        "libgcc_s.",
    ]
    .iter()
    .any(|library| file.starts_with(library));
    let is_function = matches!(definition.kind, SymbolKind::Function | SymbolKind::Ifunc);
    let is_it = owner.short() == file || owner.names.iter().any(|name| name == file);
    (is_function && !is_it && !is_replaceable).then(|| file.to_owned())
}

/// A function that a library defines and calls itself, taken by another object of the same plugin that has one of that name.
fn taken_within(object: &Loaded, owner: &Loaded, found: &Symbol<'_>, symbol: &Symbol<'_>) -> Option<String> {
    let is_function = symbol.kind == SymbolKind::Function && found.kind == SymbolKind::Function;
    let is_own = symbol.is_defined() && symbol.binding == Binding::Global && found.binding == Binding::Global;
    let differs = !is_same(&object.elf, symbol, &owner.elf, found);
    (!object.is_startup() && is_function && is_own && differs).then(|| object.name.clone())
}

/// Whether two definitions of data begin with the same content.
fn is_same(left: &Elf, one: &Symbol<'_>, right: &Elf, other: &Symbol<'_>) -> bool {
    one.size == other.size && left.at(one.value, one.size) == right.at(other.value, other.size)
}
