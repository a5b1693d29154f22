//! What both loaders' searches share: what is wanted, and how paths are put together.

use super::fault::{Fault, FaultKind, Rejection, Skipped};
use super::platform::Family;
use super::process::Process;
use super::user::{Access, obstacle, obstacle_for_others};
use crate::facts::elf::Unreadable;
use crate::rootfs::{FileKind, Found};

/// How much of `/etc/ld.so.preload` is read.
const PRELOAD_LIMIT_BYTES: u64 = 1 << 20;
/// The first length of a name that glibc does not preload in secure-execution mode (`SECURE_NAME_LIMIT`).
const SECURE_NAME_LIMIT_BYTES: usize = 255;

/// What a loader is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    /// The name or path.
    pub name: &'a str,
    /// Where a path leads in the root, if that is elsewhere: what the user names and what the process sees may differ.
    pub at: Option<&'a str>,
    /// The plugin for which it is loaded, by its place in the request; none at the start.
    pub plugin: Option<usize>,
    /// Whether this is what `dlopen` was called with.
    pub is_opened: bool,
    /// Whether its absence is passed over (`LD_PRELOAD`, `DT_AUXILIARY`).
    pub is_optional: bool,
    /// Whether it is preloaded, which in secure-execution mode not every file is.
    pub is_preload: bool,
}

impl<'a> Wanted<'a> {
    /// Whether it is opened where it is, without a search.
    #[must_use]
    pub(super) fn is_path(&self) -> bool {
        self.at.is_some() || self.name.contains('/')
    }

    /// What objects are known by.
    #[must_use]
    pub(super) fn key(&self) -> &'a str {
        self.at.unwrap_or(self.name)
    }

    /// What `dlopen` is called with.
    #[must_use]
    pub(super) fn opened(name: &'a str, at: &'a str, plugin: usize) -> Self {
        Self {
            name,
            at: Some(at),
            plugin: Some(plugin),
            is_opened: true,
            is_optional: false,
            is_preload: false,
        }
    }

    /// An element of `LD_PRELOAD`: glibc complains and goes on when it is not there.
    #[must_use]
    pub(super) fn preload(name: &'a str) -> Self {
        Self {
            name,
            at: None,
            plugin: None,
            is_opened: false,
            is_optional: true,
            is_preload: true,
        }
    }

    /// A library that an object needs.
    #[must_use]
    pub(super) fn needed(name: &'a str, plugin: Option<usize>) -> Self {
        Self {
            name,
            at: None,
            plugin,
            is_opened: false,
            is_optional: false,
            is_preload: false,
        }
    }
}

/// What is to be preloaded.
pub(super) struct Preloads {
    /// What the loader looks for, in order.
    pub wanted: Vec<String>,
    /// What it does not even look for, since whoever started the process is not trusted.
    pub forbidden: Vec<String>,
}

/// The elements of `LD_PRELOAD`, which spaces and colons separate, then for glibc those of `/etc/ld.so.preload`.
///
/// In secure-execution mode glibc takes no path from the variable (`dso_name_valid_for_suid`), and musl nothing.
pub(super) fn preloads(process: &Process<'_>) -> Preloads {
    let is_glibc = process.platform.family == Family::Glibc;
    let variable = process.environment.variable("LD_PRELOAD").unwrap_or_default();
    let file = is_glibc
        .then(|| process.root.look("/etc/ld.so.preload").ok())
        .flatten()
        .filter(|found| denied(process, found).is_none())
        .and_then(|found| process.root.bytes(&found, PRELOAD_LIMIT_BYTES))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines = file.lines().map(|line| line.split('#').next().unwrap_or_default());
    let is_something = |name: &&str| !name.is_empty();
    let is_allowed =
        |name: &&str| !process.is_secure() || (is_glibc && !name.contains('/') && name.len() < SECURE_NAME_LIMIT_BYTES);
    let (allowed, forbidden): (Vec<&str>, Vec<&str>) =
        variable.split([' ', ':']).filter(is_something).partition(is_allowed);
    let of_file = lines.flat_map(|line| line.split([' ', '\t', ':'])).filter(is_something);
    Preloads {
        wanted: allowed.into_iter().chain(of_file).map(str::to_owned).collect(),
        forbidden: forbidden.into_iter().map(str::to_owned).collect(),
    }
}

/// The fault of a library that was to be preloaded, and is not.
pub(super) fn preload_ignored(process: &Process<'_>, library: String) -> Fault {
    let gain = process.gain.clone();
    Fault::aside(FaultKind::PreloadIgnored { library, gain }, &process.object(0).name)
}

/// Why a file is not taken, for people: that it is no ELF file says more than what the loader came upon first.
pub(super) fn why_rejected(process: &Process<'_>, found: &Found, why: Rejection) -> Rejection {
    match process.root.object(found) {
        _ if found.kind == FileKind::Other => Rejection::Special,
        Some(Ok(elf)) if elf.header.layout.class != process.platform.layout.class => Rejection::Class,
        Some(Err(Unreadable::Magic { head })) => Rejection::Magic(head),
        _ => why,
    }
}

/// What keeps the process from reading a file.
pub(super) fn denied(process: &Process<'_>, found: &Found) -> Option<FaultKind> {
    let user = process.user.as_ref()?;
    let obstacle = obstacle(process.root, Some(user), Access::Read, found)?;
    let user = user.to_string();
    Some(FaultKind::Denied { user, obstacle })
}

/// A library that is passed over since the process may not read it.
pub(super) fn denied_in_search(process: &Process<'_>, path: &str, found: &Found) -> Option<Skipped> {
    let Some(FaultKind::Denied { user, obstacle }) = denied(process, found) else {
        return None;
    };
    Some(Skipped {
        path: path.to_owned(),
        why: Some(format!("{user} may not read it: {obstacle}")),
    })
}

/// What may keep the process from reading an object, where nobody knows who it runs as.
pub(super) fn may_be_denied(process: &Process<'_>, object: &str, found: &Found) -> Option<Fault> {
    if process.user.is_some() {
        return None;
    }
    let obstacle = obstacle_for_others(process.root, Access::Read, found)?;
    Some(Fault::aside(FaultKind::MayBeDenied { obstacle }, object))
}

/// A path as the process sees it: relative ones begin in its working directory.
#[must_use]
pub(super) fn absolute(process: &Process<'_>, path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", process.environment.directory.trim_end_matches('/'))
    }
}
