//! Where glibc looks for a library (`_dl_map_object` in `elf/dl-load.c`; ld.so(8)).

use super::super::fault::{Fault, FaultKind, Skipped};
use super::super::object_id::ObjectId;
use super::super::process::Process;
use super::super::search::{Wanted, absolute, denied_in_search};
use super::refusal::Refusal;
use super::tokens::expand_tokens;
use super::verify::verify;
use crate::facts::elf::{Dynamic, Machine};
use crate::rootfs::{FileKind, Found};

/// How long a chain of needing objects is followed.
const CHAIN_LIMIT_COUNT: usize = 1024;

/// Where releases before 2.37 look in each directory, first to last; names of processors before these are left out.
const OLDER_SUBDIRECTORIES: &[&str] = &["tls/x86_64/x86_64", "tls/x86_64", "tls", "x86_64/x86_64", "x86_64"];

/// The bit of the mode that makes a library one that may be preloaded into whatever is started.
const SET_USER: u32 = 0o4000;

/// What a search came to.
pub(super) enum Search {
    /// The path by which it was found, and the file.
    Found(String, Found),
    /// Nowhere.
    NotFound {
        searched: Vec<String>,
        skipped: Vec<Skipped>,
        other_class: bool,
        /// Whether the last file that was tried may not be read.
        is_denied: bool,
    },
    /// A file on the way stopped the search.
    Stopped(String, Found, Refusal),
}

/// The directories of one source, in order.
struct Trail<'p, 'r> {
    process: &'p Process<'r>,
    name: &'p str,
    /// Whether only files with set-user-ID are taken, and none that only the cache knows (`__RTLD_SECURE`).
    is_wary: bool,
    searched: Vec<String>,
    skipped: Vec<Skipped>,
    other_class: bool,
    is_denied: bool,
    faults: Vec<Fault>,
}

/// The tunable that says how much thread-local storage is kept for what is opened later.
pub(super) const OPTIONAL_STATIC_TLS: &str = "glibc.rtld.optional_static_tls";

/// The number that a tunable is set to (`GLIBC_TUNABLES`), as in C; of several the last one counts.
pub(super) fn tunable(process: &Process<'_>, name: &str) -> Option<u64> {
    let tunables = process.trusted_variable("GLIBC_TUNABLES")?;
    let mut values = tunables.split(':').rev().filter_map(|tunable| tunable.split_once('='));
    let (_, value) = values.find(|(known, _)| *known == name)?;
    let (digits, radix) = match (value.strip_prefix("0x"), value.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        (None, _) => (value, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

/// Whether a variable asks for everything to be bound at once. Since 2.39 it counts for nothing in secure-execution mode.
pub(super) fn binds_now(process: &Process<'_>) -> bool {
    let is_trusted = !process.is_secure() || !process.platform.is_since(2, 39);
    is_trusted && process.environment.variable("LD_BIND_NOW").is_some()
}

/// Variables with which the loader does something else than what is simulated.
pub(super) fn variables_not_modelled(process: &Process<'_>) -> Vec<Fault> {
    let value = |name: &str| process.trusted_variable(name).unwrap_or_default();
    let is_of_loader = |tunable: &str| {
        let is_known = tunable.split('=').next() == Some(OPTIONAL_STATIC_TLS);
        !is_known && (tunable.starts_with("glibc.rtld.") || tunable.starts_with("glibc.cpu."))
    };
    let mut told = vec![];
    if !value("LD_AUDIT").is_empty() {
        told.push("LD_AUDIT, by which a library may change what the loader does");
    }
    if value("GLIBC_TUNABLES").split(':').any(is_of_loader) {
        told.push("GLIBC_TUNABLES, which change what the loader does");
    }
    let fault = |what: &str| {
        let kind = FaultKind::NotModelled { what: what.to_owned() };
        Fault::aside(kind, &process.object(0).name)
    };
    told.into_iter().map(fault).collect()
}

/// Looks for a name without a slash, on behalf of `parent`.
pub(super) fn search(
    process: &Process<'_>,
    wanted: &Wanted<'_>,
    parent: Option<ObjectId>,
    faults: &mut Vec<Fault>,
) -> Search {
    let mut trail = Trail {
        process,
        name: wanted.name,
        is_wary: wanted.is_preload && process.is_secure(),
        searched: vec![],
        skipped: vec![],
        other_class: false,
        is_denied: false,
        faults: vec![],
    };
    let result = trail.walk(parent);
    faults.append(&mut trail.faults);
    match result {
        Some(found) => found,
        None => Search::NotFound {
            searched: trail.searched,
            skipped: trail.skipped,
            other_class: trail.other_class,
            is_denied: trail.is_denied,
        },
    }
}

/// Whether a search on behalf of `parent` may look elsewhere than one on behalf of another library that has no paths of its own.
pub(super) fn has_own_paths(process: &Process<'_>, parent: Option<ObjectId>) -> bool {
    let dynamic = |id: ObjectId| process.object(id).elf.dynamic.as_ref();
    let has_own = |id: ObjectId| {
        dynamic(id).is_some_and(|dynamic| {
            dynamic.runpath.is_some() || dynamic.rpath.is_some() || dynamic.flags_1 & Dynamic::NODEFLIB_1 != 0
        })
    };
    let mut chain = std::iter::successors(parent, |id| process.object(*id).parent).take(CHAIN_LIMIT_COUNT);
    // The program's own DT_RUNPATH counts for what it needs itself.
    parent.is_none_or(|parent| parent == 0) || chain.any(|id| id != 0 && has_own(id))
}

impl Trail<'_, '_> {
    fn walk(&mut self, parent: Option<ObjectId>) -> Option<Search> {
        let process = self.process;
        let dynamic = |id: ObjectId| process.object(id).elf.dynamic.as_ref();
        let runpath = |id: ObjectId| dynamic(id).and_then(|dynamic| dynamic.runpath.as_deref());
        let rpath = |id: ObjectId| {
            let dynamic = dynamic(id)?;
            if dynamic.runpath.is_some() {
                None
            } else {
                dynamic.rpath.as_deref()
            }
        };
        // DT_RPATH of the object and of what needed it, then of the program; only if the object has no DT_RUNPATH.
        if parent.is_none_or(|parent| runpath(parent).is_none()) {
            let mut did_host = false;
            let mut chain = parent;
            for _ in 0..CHAIN_LIMIT_COUNT {
                let Some(id) = chain else { break };
                did_host |= id == 0;
                if let Some(path) = rpath(id)
                    && let Some(end) = self.directories(path, id)
                {
                    return Some(end);
                }
                chain = process.object(id).parent;
            }
            if !did_host
                && let Some(path) = rpath(0)
                && let Some(end) = self.directories(path, 0)
            {
                return Some(end);
            }
        }
        if let Some(path) = process.trusted_variable("LD_LIBRARY_PATH") {
            let path = path.replace(';', ":");
            if let Some(end) = self.directories(&path, 0) {
                return Some(end);
            }
        }
        let asking = parent.unwrap_or(0);
        if let Some(path) = runpath(asking)
            && let Some(end) = self.directories(path, asking)
        {
            return Some(end);
        }
        let no_defaults = dynamic(asking).is_some_and(|dynamic| dynamic.flags_1 & Dynamic::NODEFLIB_1 != 0);
        if !self.is_wary
            && let Some(end) = self.cached(no_defaults)
        {
            return Some(end);
        }
        if no_defaults {
            return None;
        }
        for directory in process.paths.defaults.clone() {
            if let Some(end) = self.directory(&directory) {
                return Some(end);
            }
        }
        None
    }

    fn cached(&mut self, no_defaults: bool) -> Option<Search> {
        let (path, is_dependent) = self.process.paths.cached(self.name)?;
        let path = path.to_owned();
        let directory = path.rfind('/').map_or("", |slash| &path[..slash]);
        if no_defaults && self.process.paths.defaults.iter().any(|default| default == directory) {
            return None;
        }
        if is_dependent {
            self.note_processor(&path);
        }
        let before = self.skipped.len();
        let end = self.try_path(&path);
        if end.is_none() && self.skipped.len() == before {
            self.skipped.push(Skipped { path, why: None });
        }
        end
    }

    /// Notes that the library is found only on some processors.
    fn note_processor(&mut self, path: &str) {
        let kind = FaultKind::ProcessorDependent {
            library: self.name.to_owned(),
            path: path.to_owned(),
        };
        self.faults.push(Fault::aside(kind, self.name));
    }

    /// The directories of a search path; empty ones are the working directory.
    fn directories(&mut self, path: &str, of: ObjectId) -> Option<Search> {
        // A path of nothing at all is no path, and not the working directory.
        if path.is_empty() {
            return None;
        }
        for element in path.split(':') {
            let Some(directory) = self.expand(element, of) else {
                continue;
            };
            let directory = if directory.is_empty() {
                ".".to_owned()
            } else {
                directory
            };
            if let Some(end) = self.directory(&directory) {
                return Some(end);
            }
        }
        None
    }

    /// Replaces `$ORIGIN`, `$LIB` and `$PLATFORM`; none if a token is unknown, which drops the element.
    fn expand(&mut self, element: &str, of: ObjectId) -> Option<String> {
        expand_tokens(self.process, element, of, |what| {
            let kind = FaultKind::NotModelled { what: what.to_owned() };
            self.faults.push(Fault::aside(kind, &self.process.object(of).name));
        })
    }

    fn directory(&mut self, directory: &str) -> Option<Search> {
        let start = directory.trim_end_matches('/');
        let is_x86 = self.process.platform.machine == Machine::X86_64;
        // Subdirectories for better processors come before the directory itself. Every processor of the last ten years is of the
        // second level; what is of a higher one is taken only where there is nothing else.
        let mut better = None;
        for level in ["x86-64-v4", "x86-64-v3", "x86-64-v2"].into_iter().filter(|_| is_x86) {
            let path = format!("{start}/glibc-hwcaps/{level}/{}", self.name);
            if let Some(Search::Found(path, found)) = self.try_path(&path) {
                self.note_processor(&path);
                better = Some(Search::Found(path, found));
                if level == "x86-64-v2" {
                    return better;
                }
            }
        }
        // Releases before 2.37 have older ones as well.
        let is_old = is_x86 && !self.process.platform.is_since(2, 37);
        for older in OLDER_SUBDIRECTORIES.iter().filter(|_| is_old) {
            if let Some(end) = self.try_path(&format!("{start}/{older}/{}", self.name)) {
                return Some(end);
            }
        }
        if let Some(end) = self.try_path(&join(directory, self.name)) {
            return Some(end);
        }
        self.searched.push(directory.to_owned());
        better
    }

    fn try_path(&mut self, path: &str) -> Option<Search> {
        self.is_denied = false;
        let found = self.process.root.look(&absolute(self.process, path)).ok()?;
        if let Some(skipped) = denied_in_search(self.process, path, &found) {
            self.skipped.push(skipped);
            self.is_denied = true;
            return None;
        }
        if found.kind == FileKind::Directory {
            return Some(Search::Stopped(path.to_owned(), found, Refusal::Directory));
        }
        match verify(self.process, &found) {
            Ok(_) if self.is_wary && found.mode & SET_USER == 0 => None,
            Ok(_) => Some(Search::Found(path.to_owned(), found)),
            Err(Refusal::Machine(machine)) => {
                self.skipped.push(Skipped {
                    path: path.to_owned(),
                    why: Some(format!("it is for {machine}")),
                });
                None
            }
            Err(Refusal::Class) => {
                self.other_class = true;
                self.skipped.push(Skipped {
                    path: path.to_owned(),
                    why: Some("it is of the other class (32 or 64 bits)".to_owned()),
                });
                None
            }
            Err(refusal) => Some(Search::Stopped(path.to_owned(), found, refusal)),
        }
    }
}

/// A file in a directory, in the loader's spelling.
fn join(directory: &str, name: &str) -> String {
    if directory.ends_with('/') {
        format!("{directory}{name}")
    } else {
        format!("{directory}/{name}")
    }
}
