//! What an ELF file says of itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::version::newest;
use crate::check::machine_name;
use crate::facts::comment::{self, Tool};
use crate::facts::cxx::{self, Cxx};
use crate::facts::elf::{
    Binding, Class, Data, Dynamic, Elf, Machine, ObjectKind, RelocationClass, SegmentKind, Symbol, Visibility,
};
use crate::facts::go::{self, Go, Module, PluginPackage};
use crate::facts::libc::{self, Family};
use crate::facts::rust::{self, Rust};

/// How many names of exported symbols are kept: more than any plugin's interface has.
const EXPORTED_LIMIT_COUNT: usize = 64;
/// `PF_X`.
const EXECUTABLE: u32 = 1;

/// What an ELF file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectFacts {
    /// What it is.
    pub role: Role,
    /// Whether it runs at any address.
    pub position_independent: bool,
    /// How it is linked.
    pub linkage: Linkage,
    /// As `uname -m` has it.
    pub machine: String,
    /// 32 or 64.
    pub bits: u8,
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
    /// Its size.
    pub size_bytes: u64,
    /// `PT_INTERP`.
    pub interpreter: Option<String>,
    /// The C library that it was built for, if it needs one.
    pub libc: Option<LibcFacts>,
    /// The C library that it is itself a part of, with its release: `glibc 2.41`.
    pub provides_libc: Option<String>,
    /// `DT_NEEDED` in order, each with the versions that are needed of it.
    pub needed: Vec<NeededLibrary>,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_RPATH`.
    pub rpath: Option<String>,
    /// `DT_RUNPATH`.
    pub runpath: Option<String>,
    /// Of the versions that it defines, the newest of each kind.
    pub defines: Vec<String>,
    /// How symbols are bound.
    pub binding: BindingFacts,
    /// Whether it asks for an executable stack; none if it says nothing, which loaders take for yes.
    pub executable_stack: Option<bool>,
    /// Whether relocations write into segments that are not writable.
    pub text_relocations: bool,
    /// Its thread-local storage.
    pub tls: Option<TlsFacts>,
    /// What it says about the processor.
    pub processor: ProcessorFacts,
    /// `NT_GNU_BUILD_ID`, in hexadecimal digits.
    pub build_id: Option<String>,
    /// The oldest kernel that it runs on (`NT_GNU_ABI_TAG`).
    pub oldest_kernel: Option<String>,
    /// The compilers and linkers that had a part in it (`.comment`).
    pub tools: Vec<Tool>,
    /// Whether the symbols of the static linker are gone.
    pub stripped: bool,
    /// Its dynamic symbols.
    pub symbols: SymbolFacts,
    /// What Go left in it.
    pub go: Option<GoFacts>,
    /// What Rust left in it.
    pub rust: Option<Rust>,
    /// What C++ left in it.
    pub cxx: Option<Cxx>,
    /// What is malformed.
    pub problems: Vec<String>,
}

/// What an ELF file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Something to start.
    Program,
    /// Something to link with or to open.
    SharedObject,
    /// What a linker takes.
    Relocatable,
    /// A memory image, or anything else.
    Other,
}

/// How a file is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Linkage {
    /// A loader has work with it.
    Dynamic,
    /// Everything is in it.
    Static,
    /// Everything is in it, and it moves itself to any address.
    StaticPie,
}

/// A C library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibcFacts {
    /// `glibc` or `musl`.
    pub family: String,
    /// The oldest release that has all versions that are needed; glibc only.
    pub needs_release: Option<String>,
    /// By what that is seen, the strongest first.
    pub witnesses: Vec<String>,
}

/// A library that is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeededLibrary {
    /// The name, as `DT_NEEDED` has it.
    pub name: String,
    /// The newest version of each kind that is needed of it.
    pub newest: Vec<String>,
    /// All versions that are needed of it.
    pub versions: Vec<String>,
}

/// How symbols are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BindingFacts {
    /// Whether functions are bound when it is loaded, whatever the caller of `dlopen` says.
    pub now: bool,
    /// Whether its own definitions come first.
    pub symbolic: bool,
    /// Whether it cannot be opened with `dlopen`.
    pub no_open: bool,
    /// Whether it stays loaded once it is.
    pub no_delete: bool,
    /// Whether the default directories are not searched for what it needs.
    pub no_default_directories: bool,
}

/// Thread-local storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TlsFacts {
    /// Its size for each thread.
    pub size_bytes: u64,
    /// Its alignment.
    pub align_bytes: u64,
    /// How many relocations want it at a fixed offset from the thread pointer (initial-exec).
    pub fixed_offset_accesses: usize,
    /// Whether the file says that it must be at a fixed offset (`DF_STATIC_TLS`).
    pub is_marked_static: bool,
}

/// What is said about the processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProcessorFacts {
    /// The level that is needed, as loaders check it: `x86-64-v3`.
    pub needs: Option<String>,
    /// Protections that it can live with: `IBT`, `SHSTK`, `BTI`, `PAC`.
    pub protections: Vec<&'static str>,
}

/// The dynamic symbols.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SymbolFacts {
    /// How many others can use.
    pub exported: usize,
    /// How many must come from others.
    pub undefined: usize,
    /// How many more may come from others.
    pub undefined_weak: usize,
    /// The names of those that others can use, sorted; not all if there are many.
    pub names: Vec<String>,
}

/// What Go left in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GoFacts {
    /// The version of Go, as `runtime.Version()` gives it.
    pub version: Option<String>,
    /// `exe`, `plugin`, `c-shared` and so on.
    pub build_mode: Option<String>,
    /// The main package's path.
    pub path: Option<String>,
    /// The main module.
    pub module: Option<GoModule>,
    /// The modules whose packages are in the file.
    pub dependencies: Vec<GoModule>,
    /// The settings of the build.
    pub settings: BTreeMap<String, String>,
    /// How many packages carry a hash that plugins are compared by.
    pub hashed_packages: usize,
    /// How many of them are compared when this is opened.
    pub checked_packages: usize,
    /// The name by which Go's runtime knows the plugin.
    pub plugin_path: Option<String>,
    /// What a host can look up.
    pub exports: Vec<Export>,
    /// Whether it can load plugins itself; none for what is no program.
    pub loads_plugins: Option<bool>,
}

/// A module of Go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GoModule {
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
    /// The hash of its files; empty where none is recorded.
    pub sum: String,
    /// What took its place.
    pub replaced_by: Option<Box<GoModule>>,
}

/// Something that a host can look up in a plugin of Go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Whether it is a function, and not a variable.
    pub function: bool,
    /// The type of what a lookup yields, as `reflect.Type.String()` has it; none where it cannot be read.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub exported_type: Option<String>,
    /// The import paths of the packages that name the types in it, by the types' names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named_types: Vec<NamedType>,
}

/// A type with a name, in the type of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedType {
    /// With the name of its package before it.
    #[serde(rename = "type")]
    pub text: String,
    /// The import path of its package.
    pub package: String,
}

/// Collects what an ELF file says.
#[must_use]
pub fn inspect_object(elf: &Elf) -> ObjectFacts {
    let none = Dynamic::default();
    let dynamic = elf.dynamic.as_ref().unwrap_or(&none);
    let role = role(elf);
    let class = |wanted| move |relocation: &crate::facts::elf::Relocation| relocation.class == wanted;
    ObjectFacts {
        role,
        position_independent: elf.header.kind == ObjectKind::Shared,
        linkage: linkage(elf, role),
        machine: machine_name(elf.header.machine),
        bits: match elf.header.layout.class {
            Class::Elf32 => 32,
            Class::Elf64 => 64,
        },
        big_endian: elf.header.layout.data == Data::Big,
        size_bytes: elf.bytes().len() as u64,
        interpreter: elf.interpreter.clone(),
        libc: libc(elf),
        provides_libc: provided_libc(elf),
        needed: needed(elf),
        soname: dynamic.soname.clone(),
        rpath: dynamic.rpath.clone(),
        runpath: dynamic.runpath.clone(),
        defines: newest(defined(elf)),
        binding: BindingFacts {
            now: dynamic.binds_now(),
            symbolic: dynamic.is_symbolic(),
            no_open: dynamic.flags_1 & Dynamic::NOOPEN_1 != 0,
            no_delete: dynamic.flags_1 & Dynamic::NODELETE_1 != 0,
            no_default_directories: dynamic.flags_1 & Dynamic::NODEFLIB_1 != 0,
        },
        executable_stack: elf.stack_flags.map(|flags| flags & EXECUTABLE != 0),
        text_relocations: dynamic.flags & Dynamic::TEXTREL != 0,
        tls: elf.tls.map(|tls| TlsFacts {
            size_bytes: tls.memory_size,
            align_bytes: tls.align,
            fixed_offset_accesses: elf.relocations().filter(class(RelocationClass::TlsStatic)).count(),
            is_marked_static: dynamic.flags & Dynamic::STATIC_TLS != 0,
        }),
        processor: processor(elf),
        build_id: elf.notes.build_id.as_deref().map(hexadecimal),
        oldest_kernel: elf.notes.abi_tag.filter(|tag| tag.system == 0).map(|tag| {
            let [major, minor, patch] = tag.version;
            format!("{major}.{minor}.{patch}")
        }),
        tools: comment::tools(elf),
        stripped: elf.linker_symbols().is_none(),
        symbols: symbols(elf),
        go: Go::read(elf).map(|go| go_facts(go, role)),
        rust: rust::read(elf),
        cxx: cxx::read(elf),
        problems: elf.problems.clone(),
    }
}

/// Programs that run at any address look like shared objects, but for a mark that older linkers do not set.
fn role(elf: &Elf) -> Role {
    let dynamic = elf.dynamic.as_ref();
    let is_marked = dynamic.is_some_and(|dynamic| dynamic.flags_1 & Dynamic::PIE_1 != 0);
    let has_name = dynamic.is_some_and(|dynamic| dynamic.soname.is_some());
    match elf.header.kind {
        ObjectKind::Executable => Role::Program,
        ObjectKind::Shared if is_marked || (elf.interpreter.is_some() && !has_name) => Role::Program,
        ObjectKind::Shared => Role::SharedObject,
        ObjectKind::Relocatable => Role::Relocatable,
        ObjectKind::Other(_) => Role::Other,
    }
}

fn linkage(elf: &Elf, role: Role) -> Linkage {
    let has_interpreter = elf
        .segments
        .iter()
        .any(|segment| segment.kind == SegmentKind::Interpreter);
    match (role, elf.header.kind) {
        (Role::Program, ObjectKind::Executable) if !has_interpreter => Linkage::Static,
        (Role::Program, _) if !has_interpreter => Linkage::StaticPie,
        _ => Linkage::Dynamic,
    }
}

fn libc(elf: &Elf) -> Option<LibcFacts> {
    let (family, witnesses) = libc::family_of(elf)?;
    let versions = elf.needs.iter().flat_map(|need| &need.versions);
    let newest = newest(versions.map(|version| version.name.as_str()));
    let needs_release = newest
        .iter()
        .filter_map(|name| name.strip_prefix("GLIBC_"))
        .find(|number| number.starts_with(|first: char| first.is_ascii_digit()) && family == Family::Glibc);
    Some(LibcFacts {
        family: family.name().to_owned(),
        needs_release: needs_release.map(str::to_owned),
        witnesses,
    })
}

/// The C library that an object is a part of, by its name for linkers.
fn provided_libc(elf: &Elf) -> Option<String> {
    let soname = elf.dynamic.as_ref()?.soname.as_deref()?;
    let family = match soname {
        "libc.so.6" => Family::Glibc,
        "libc.so" => Family::Musl,
        name if name.starts_with("libc.musl-") => Family::Musl,
        name => Family::of_interpreter(name)?,
    };
    match libc::version_of(elf) {
        Some(release) => Some(format!("{} {release}", family.name())),
        None => Some(family.name().to_owned()),
    }
}

/// `DT_NEEDED`, and behind it files that only versions are needed of.
fn needed(elf: &Elf) -> Vec<NeededLibrary> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for need in &elf.needs {
        let names = need.versions.iter().map(|version| version.name.as_str());
        versions.entry(&need.file).or_default().extend(names);
    }
    let names = elf.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    let others = elf.needs.iter().map(|need| &need.file);
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let names = names.iter().chain(others).filter(|name| known.insert(name));
    let library = |name: &String| {
        let versions = versions.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        NeededLibrary {
            name: name.clone(),
            newest: newest(versions.iter().copied()),
            versions: versions.iter().map(|version| (*version).to_owned()).collect(),
        }
    };
    names.map(library).collect()
}

/// The versions that are defined, without the file's own name (`VER_FLG_BASE`).
fn defined(elf: &Elf) -> impl Iterator<Item = &str> {
    let definitions = elf.definitions.iter().filter(|definition| definition.flags & 1 == 0);
    definitions.map(|definition| definition.name.as_str())
}

fn processor(elf: &Elf) -> ProcessorFacts {
    let Some(properties) = elf.notes.properties else {
        return ProcessorFacts::default();
    };
    let level = properties.isa_needed.and_then(u32::checked_ilog2);
    let names: [&str; 2] = match elf.header.machine {
        Machine::Aarch64 => ["BTI", "PAC"],
        _ => ["IBT", "SHSTK"],
    };
    let features = properties.feature_1_and.unwrap_or(0);
    let marked = names
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| features >> bit & 1 == 1);
    ProcessorFacts {
        needs: level.map(|level| match level {
            0 => "x86-64".to_owned(),
            level => format!("x86-64-v{}", level + 1),
        }),
        protections: marked.map(|(_, name)| name).collect(),
    }
}

fn symbols(elf: &Elf) -> SymbolFacts {
    let is_visible = |symbol: &Symbol<'_>| matches!(symbol.visibility, Visibility::Default | Visibility::Protected);
    let mut facts = SymbolFacts::default();
    let mut names: Vec<String> = vec![];
    for (_, symbol) in elf.symbols() {
        match (symbol.is_defined(), symbol.binding) {
            (_, Binding::Local) => {}
            (true, _) if is_visible(&symbol) => {
                facts.exported += 1;
                if names.len() < EXPORTED_LIMIT_COUNT {
                    names.push(symbol.text());
                }
            }
            (true, _) => {}
            (false, Binding::Weak) => facts.undefined_weak += 1,
            (false, _) => facts.undefined += 1,
        }
    }
    names.sort();
    names.dedup();
    facts.names = names;
    facts
}

fn go_facts(go: Go, role: Role) -> GoFacts {
    let build_mode = go.build_mode().map(str::to_owned);
    let version = go.version().map(str::to_owned);
    let build = go.build.unwrap_or_default();
    GoFacts {
        version,
        build_mode,
        path: build.path,
        module: build.main.as_ref().map(go_module),
        dependencies: build.dependencies.iter().map(go_module).collect(),
        settings: build.settings,
        hashed_packages: go.packages.len(),
        checked_packages: go.module.checked.len(),
        plugin_path: go.module.plugin_path,
        exports: go.exports.into_iter().map(go_export).collect(),
        loads_plugins: (role == Role::Program).then_some(go.plugin_package == PluginPackage::Whole),
    }
}

fn go_export(export: go::Export) -> Export {
    let exported = export.exported_type.map(|exported| *exported);
    let (text, named) = exported.map_or((None, None), |exported| (Some(exported.text), Some(exported.named)));
    let named = named.into_iter().flatten().map(|named| NamedType {
        text: named.text,
        package: named.package,
    });
    Export {
        name: export.name,
        function: export.is_function,
        exported_type: text,
        named_types: named.collect(),
    }
}

fn go_module(module: &Module) -> GoModule {
    GoModule {
        path: module.path.clone(),
        version: module.version.clone(),
        sum: module.sum.clone(),
        replaced_by: module.replacement.as_deref().map(|module| Box::new(go_module(module))),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
