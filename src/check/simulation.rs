//! One process from its start to the last plugin.

use std::cell::OnceCell;
use std::sync::Arc;

use super::environment::{Environment, OpenMode};
use super::fault::{Fault, FaultKind, Rejection};
use super::lookup::offered;
use super::object_id::ObjectId;
use super::paths::SystemPaths;
use super::platform::{Family, Platform};
use super::process::{Checkpoint, Loaded, Process};
use super::search::Wanted;
use super::secure::{NoStart, Start, Supposed};
use super::user::{Access, Obstacle, User, obstacle, obstacle_for_others};
use super::verdict::Phase;
use super::{glibc, machine, musl, truncation};
use crate::facts::elf::{Elf, Name, ObjectKind, Unreadable};
use crate::facts::libc;
use crate::rootfs::{FileKind, Found, RootFs};

/// A file that is checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// How the user calls it, and how messages call it.
    pub shown: String,
    /// Where it is in the root, as an absolute path; links are not resolved.
    pub path: String,
}

/// How a host is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linkage {
    /// By an interpreter.
    Dynamic,
    /// Statically, with glibc.
    StaticGlibc,
    /// Statically, with musl.
    StaticMusl,
    /// Statically, with no C library that is known.
    Static,
}

/// A process that may not have come up.
pub(super) struct Simulation<'r> {
    /// The process; none if the host cannot be read at all.
    pub process: Option<Process<'r>>,
    /// What the loader met when the host started.
    pub start: Vec<Fault>,
    /// How the host is linked.
    pub linkage: Linkage,
}

/// What came of one plugin.
pub(super) struct Opened {
    /// What the loader met.
    pub faults: Vec<Fault>,
    /// The plugin's own object, if it could be mapped.
    pub object: Option<ObjectId>,
    /// How to go back to before it.
    pub before: Checkpoint,
}

impl Opened {
    /// Whether it is loaded when `dlopen` returns.
    #[must_use]
    pub(super) fn is_loaded(&self) -> bool {
        self.object.is_some() && !self.faults.iter().any(|fault| fault.stops)
    }
}

impl<'r> Simulation<'r> {
    /// Starts the host.
    #[must_use]
    pub(super) fn start(
        root: &'r dyn RootFs,
        host: &Subject,
        (environment, supposed): (&'r Environment, Supposed),
        is_root_known: bool,
    ) -> Self {
        let mut start = vec![];
        let failed = |start: Vec<Fault>| Self {
            process: None,
            start,
            linkage: Linkage::Dynamic,
        };
        let HostFile { found, elf } = match read_host(root, host, environment.user.as_ref()) {
            Ok(read) => read,
            Err(fault) => {
                start.push(*fault);
                return failed(start);
            }
        };
        let rights = Start::in_root(root, environment, supposed, &found);
        if let Some(why) = rights.refused {
            let words = match why {
                NoStart::Dropped(_) => "Operation not permitted",
                NoStart::Malformed => "Invalid argument",
            };
            start.push(not_started(host, FaultKind::RightsRefused { why }, words));
            return failed(start);
        }
        if environment.user.is_none()
            && let Some(obstacle) = obstacle_for_others(root, Access::Execute, &found)
        {
            start.push(Fault::aside(FaultKind::MayBeDenied { obstacle }, &host.shown));
        }
        let linkage = linkage_of(&elf);
        let interpreter = match linkage {
            Linkage::Dynamic => elf.interpreter.clone().unwrap_or_default(),
            // What a dynamic program would name: the C library that is loaded beside the one inside needs it.
            Linkage::StaticGlibc => machine::glibc_interpreter(elf.header.machine).to_owned(),
            _ => String::new(),
        };
        let mut platform = Platform {
            family: Family::of_interpreter(&interpreter).unwrap_or(match linkage {
                Linkage::StaticMusl => Family::Musl,
                _ => Family::Glibc,
            }),
            release: None,
            machine: elf.header.machine,
            layout: elf.header.layout,
            interpreter: interpreter.clone(),
        };
        let mut objects = vec![loaded(host.shown.clone(), found.path, found.id, elf, 0)];
        let mut own = None;
        let is_needed = linkage == Linkage::Dynamic;
        if !interpreter.is_empty() && is_root_known && (is_needed || root.look(&interpreter).is_ok()) {
            let found = root.look(&interpreter).ok();
            let object = found.as_ref().and_then(|found| root.object(found)?.ok());
            let user = environment.user.as_ref();
            // What is loaded later is only read.
            if let Some(found) = found.as_ref().filter(|found| is_needed && found.kind == FileKind::File)
                && let Some(obstacle) = obstacle(root, user, Access::Execute, found)
            {
                start.push(not_executable(host, &interpreter, user, obstacle));
                return failed(start);
            }
            let (found, object) = match (found, object) {
                (Some(found), Some(object)) => (found, object),
                (found, _) => {
                    start.push(interpreter_missing(host, &interpreter, found.as_ref()));
                    return failed(start);
                }
            };
            if object.header.machine != platform.machine {
                let kind = FaultKind::OtherLoader {
                    machine: machine::name(platform.machine),
                    loader: machine::name(object.header.machine),
                };
                start.push(not_started(host, kind, "Exec format error"));
                return failed(start);
            }
            platform.release = libc::release_of(&object);
            let mut interpreter_object = loaded(interpreter.clone(), interpreter.clone(), found.id, object, 1);
            interpreter_object.names = vec![interpreter.clone()];
            if platform.family == Family::Glibc {
                let dynamic = interpreter_object.elf.dynamic.as_ref();
                interpreter_object
                    .names
                    .extend(dynamic.and_then(|dynamic| dynamic.soname.clone()));
            }
            interpreter_object.has_static_tls = true;
            objects.push(interpreter_object);
            own = Some(1);
        }
        let user = rights.user.clone();
        let may_read = |found: &Found| obstacle(root, user.as_ref(), Access::Read, found).is_none();
        let paths = match (platform.family, own) {
            (Family::Glibc, own) => SystemPaths::of_glibc(root, &objects[own.unwrap_or(0)].elf, may_read),
            (Family::Musl, _) => SystemPaths::of_musl(root, &interpreter, platform.machine, may_read),
        };
        let mut process = Process::new(root, (environment, rights), platform, paths, is_root_known);
        process.interpreter = own;
        for object in objects {
            process.add(object);
        }
        if linkage == Linkage::Dynamic {
            match process.platform.family {
                Family::Glibc => glibc::start(&mut process, &mut start),
                Family::Musl => musl::start(&mut process, &mut start),
            }
        }
        drop_unseen(&process, &mut start);
        // What shows only when it is called concerns the plugins that use it.
        keep_deferred(&mut process, &start, &Checkpoint::default());
        start.retain(|fault| fault.stops || !fault.is_of_a_call());
        start.extend(
            (linkage == Linkage::StaticGlibc)
                .then(|| library_path_of_static(&process))
                .flatten(),
        );
        if !machine::is_modelled(process.platform.machine) {
            let what = format!("the loader of {}", machine::name(process.platform.machine));
            start.push(Fault::aside(FaultKind::NotModelled { what }, &host.shown));
        }
        Self {
            process: Some(process),
            start,
            linkage,
        }
    }

    /// Whether the host comes up.
    #[must_use]
    pub(super) fn is_running(&self) -> bool {
        self.process.is_some() && !self.start.iter().any(|fault| fault.stops)
    }
}

/// What is not known of a static program in secure-execution mode: releases from 2.27 to 2.38 read LD_LIBRARY_PATH all the same,
/// until a distribution has mended them (CVE-2025-4802).
fn library_path_of_static(process: &Process<'_>) -> Option<Fault> {
    let host = process.object(0);
    let is_mended = libc::release_of(&host.elf).is_some_and(|release| release >= (2, 39, 0));
    if !process.is_secure() || is_mended || process.environment.variable("LD_LIBRARY_PATH").is_none() {
        return None;
    }
    let what = "LD_LIBRARY_PATH, which some builds of the glibc inside it read though it is given rights".to_owned();
    Some(Fault::aside(FaultKind::NotModelled { what }, &host.name))
}

/// Opens one plugin in a process that runs. What it brought stays until it is put back.
pub(super) fn open(process: &mut Process<'_>, plugin: &Subject, place: usize, mode: OpenMode) -> Opened {
    let before = process.checkpoint();
    let mut faults = vec![];
    let wanted = Wanted::opened(&plugin.shown, &plugin.path, place);
    let object = match process.platform.family {
        Family::Glibc => glibc::open(process, &wanted, mode, &mut faults),
        Family::Musl => musl::open(process, &wanted, mode, &mut faults),
    };
    share_deferred(process, object, &before, &mut faults);
    drop_unseen(process, &mut faults);
    Opened { faults, object, before }
}

/// What is unbound, or bound in silence to something else, in a library that an earlier plugin brought is a fault of every plugin
/// that uses the library.
fn share_deferred(process: &mut Process<'_>, object: Option<ObjectId>, before: &Checkpoint, faults: &mut Vec<Fault>) {
    keep_deferred(process, faults, before);
    let Some(object) = object else { return };
    let scope = process.object(object).scope.iter().copied();
    let earlier = std::iter::once(0).chain(scope).filter(|id| before.has(*id));
    for id in earlier {
        let deferred = process.object(id).deferred.iter();
        faults.extend(
            deferred
                .filter(|fault| !is_bound_by_now(process, id, object, fault))
                .cloned(),
        );
    }
}

/// Whether a symbol that nobody had defined when `id` was loaded is there now: deferred references see what has become global,
/// and in glibc those of an earlier plugin also the libraries of what is opened later and needs the object (`lt_loaded` in
/// `resize_scopes`).
fn is_bound_by_now(process: &Process<'_>, id: ObjectId, opened: ObjectId, fault: &Fault) -> bool {
    let FaultKind::SymbolMissing { symbol, .. } = &fault.kind else {
        return false;
    };
    let name = Name::new(symbol.name.as_bytes());
    let is_defined = |id: &ObjectId| offered(&process.object(*id).elf, &name).is_some();
    let later = match process.platform.family {
        Family::Glibc if !process.object(id).is_startup() => &process.object(opened).scope[..],
        _ => &[],
    };
    // What came with it was looked through when it was loaded.
    let own = &process.object(process.object(id).root).scope;
    let mut new = process.global.iter().chain(later).filter(|other| !own.contains(other));
    new.any(is_defined)
}

/// Notes with each new object what its loader passed over in silence.
fn keep_deferred(process: &mut Process<'_>, faults: &[Fault], before: &Checkpoint) {
    for id in (0..process.objects.len()).filter(|id| !before.has(*id)) {
        let name = process.object(id).name.clone();
        let is_deferred = |fault: &&Fault| fault.object == name && !fault.stops && fault.is_of_a_call();
        process.objects[id].deferred = faults.iter().filter(is_deferred).cloned().collect();
    }
}

/// Without a root, what is missing may be there.
fn drop_unseen(process: &Process<'_>, faults: &mut Vec<Fault>) {
    let is_of_libraries = |kind: &FaultKind| {
        matches!(
            kind,
            FaultKind::LibraryMissing { .. }
                | FaultKind::SymbolMissing { .. }
                | FaultKind::VersionMissing { .. }
                | FaultKind::PreloadIgnored { .. }
        )
    };
    faults.retain(|fault| process.is_root_known || !is_of_libraries(&fault.kind));
}

/// What `dlsym(3)` finds under a name in a plugin.
#[must_use]
pub(super) fn find_symbol(process: &Process<'_>, plugin: ObjectId, name: &str) -> Option<(ObjectId, u32)> {
    match process.platform.family {
        Family::Glibc => glibc::find_for_dlsym(process, plugin, name),
        Family::Musl => musl::find_for_dlsym(process, plugin, name),
    }
}

fn loaded(name: String, path: String, file: (u64, u64), elf: Arc<Elf>, id: ObjectId) -> Loaded {
    let soname = elf.dynamic.as_ref().and_then(|dynamic| dynamic.soname.clone());
    Loaded {
        name,
        path,
        file,
        elf,
        names: soname.into_iter().collect(),
        parent: None,
        needed: vec![],
        root: if id == 1 { 0 } else { id },
        scope: vec![],
        has_static_tls: true,
        is_preloaded: false,
        is_in_startup_scope: false,
        brought_by: None,
        is_lazy: false,
        deferred: vec![],
        linked: OnceCell::new(),
    }
}

/// What the kernel says of an interpreter that is no ELF file.
const ELIBBAD: &str = "Accessing a corrupted shared library";

/// A host that the kernel would start.
struct HostFile {
    found: Found,
    elf: Arc<Elf>,
}

fn read_host(root: &dyn RootFs, host: &Subject, user: Option<&User>) -> Result<HostFile, Box<Fault>> {
    let fault = |kind: FaultKind, words: &str| Box::new(not_started(host, kind, words));
    let found = root
        .look(&host.path)
        .map_err(|_| fault(FaultKind::CannotOpen, "No such file or directory"))?;
    if found.kind == FileKind::Directory {
        return Err(fault(
            FaultKind::NotStartable {
                why: Rejection::Directory,
            },
            "Permission denied",
        ));
    }
    if found.kind == FileKind::Other {
        return Err(fault(
            FaultKind::NotStartable {
                why: Rejection::Special,
            },
            "Permission denied",
        ));
    }
    let obstacle = obstacle(root, user, Access::Execute, &found);
    // The kernel looks at the mode first; what the file is says more.
    let format = match obstacle {
        None => "Exec format error",
        Some(_) => "Permission denied",
    };
    let not = |why: Rejection| fault(FaultKind::NotStartable { why }, format);
    match root.object(&found) {
        Some(Ok(elf)) if !matches!(elf.header.kind, ObjectKind::Shared | ObjectKind::Executable) => {
            Err(not(Rejection::Kind))
        }
        Some(Ok(elf)) if truncation::cuts_program_headers(&elf) => Err(not(Rejection::ProgramHeaders)),
        Some(Ok(elf)) if is_library(&elf) => {
            let mut fault = fault(
                FaultKind::NotStartable {
                    why: Rejection::Library,
                },
                "",
            );
            fault.message = None;
            Err(fault)
        }
        Some(Ok(elf)) => match obstacle {
            Some(obstacle) => Err(Box::new(not_executable(host, &host.shown, user, obstacle))),
            // The kernel says where a program is with all links resolved.
            None => Ok(HostFile { found, elf }),
        },
        Some(Err(Unreadable::Magic { head })) => Err(not(Rejection::Magic(head))),
        Some(Err(Unreadable::Class { .. })) => Err(not(Rejection::Class)),
        Some(Err(Unreadable::Data { .. })) => Err(not(Rejection::Data)),
        Some(Err(Unreadable::TooShort { .. })) | None => Err(not(Rejection::TooShort)),
    }
}

fn not_executable(host: &Subject, file: &str, user: Option<&User>, obstacle: Obstacle) -> Fault {
    let kind = FaultKind::NotExecutable {
        file: file.to_owned(),
        user: user.map(User::to_string),
        obstacle,
    };
    not_started(host, kind, "Permission denied")
}

fn interpreter_missing(host: &Subject, interpreter: &str, found: Option<&Found>) -> Fault {
    let words = match found.map(|found| found.kind) {
        None => "No such file or directory",
        Some(FileKind::File) => ELIBBAD,
        Some(_) => "Permission denied",
    };
    let kind = FaultKind::InterpreterMissing {
        interpreter: interpreter.to_owned(),
        is_there: found.is_some(),
    };
    not_started(host, kind, words)
}

/// What the kernel says when it does not start the host.
fn not_started(host: &Subject, kind: FaultKind, words: &str) -> Fault {
    Fault {
        kind,
        object: host.shown.clone(),
        phase: Phase::Exec,
        message: Some(words.to_owned()),
        stops: true,
    }
}

/// Whether a file is a library that the kernel starts all the same: where a program begins, it has nothing.
fn is_library(elf: &Elf) -> bool {
    elf.header.kind == ObjectKind::Shared
        && elf.header.entry == 0
        && elf.interpreter.is_none()
        && elf.dynamic.as_ref().is_some_and(|dynamic| !dynamic.is_program())
}

/// How a host is linked: with an interpreter, or with which C library inside it.
fn linkage_of(elf: &Elf) -> Linkage {
    if elf.interpreter.is_some() {
        return Linkage::Dynamic;
    }
    if libc::contains(elf.bytes(), b"Dynamic loading not supported") {
        Linkage::StaticMusl
    } else if libc::contains(elf.bytes(), b"GLIBC_PRIVATE") || libc::contains(elf.bytes(), b"GNU C Library") {
        Linkage::StaticGlibc
    } else {
        Linkage::Static
    }
}
