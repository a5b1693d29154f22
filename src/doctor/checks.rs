//! The checks: facts in, one line out. Nothing here looks at anything but the facts.

use super::Status::{self, Fail, Ok, Warn};
use super::apt;
use super::facts::{EngineState, Facts, LockState, Mirror, ProjectState, Space};
use crate::counted::counted;
use crate::engine::EngineFacts;

/// The check whose failure is the engine's.
pub(super) const ENGINE: &str = "engine";

/// Building needs about twice what its largest image takes.
const FREE_WARN_BYTES: u64 = 6 * GIBIBYTE;
/// With less, not even the smallest image is made.
const FREE_FAIL_BYTES: u64 = GIBIBYTE / 2;
/// A build image has some 30,000 files.
const FREE_FILES_WARN_COUNT: u64 = 100_000;
/// Compilers run side by side.
const MEMORY_WARN_BYTES: u64 = 2 * GIBIBYTE;
const GIBIBYTE: u64 = 1 << 30;
/// The oldest engine interface with all that is used, as major and minor number.
const OLDEST_API: (u32, u32) = (1, 41);
/// Names of leftovers are listed up to here.
const NAMED_LIMIT_COUNT: usize = 3;

/// A line without its check's name: what was found, in words, and what to do about it.
type Judgement = (Status, String, Option<String>);

/// A check.
pub struct Check {
    /// Its name, in the report's second column.
    pub name: &'static str,
    /// What it makes of the facts; none when there is nothing to look at.
    pub judge: fn(&Facts) -> Option<Judgement>,
}

/// All checks, in the order of the report.
pub const CHECKS: &[Check] = &[
    Check {
        name: ENGINE,
        judge: engine,
    },
    Check {
        name: "platform",
        judge: platform,
    },
    Check {
        name: "storage",
        judge: storage,
    },
    Check {
        name: "capacity",
        judge: capacity,
    },
    Check {
        name: "limits",
        judge: limits,
    },
    Check {
        name: "seccomp",
        judge: seccomp,
    },
    Check {
        name: "disk",
        judge: disk,
    },
    Check {
        name: "cache",
        judge: cache,
    },
    Check {
        name: "mmdebstrap",
        judge: bootstrap,
    },
    Check {
        name: "mirror",
        judge: mirrors,
    },
    Check {
        name: "certificates",
        judge: certificates,
    },
    Check {
        name: "proxy",
        judge: proxy,
    },
    Check {
        name: "compose",
        judge: compose,
    },
    Check {
        name: "project",
        judge: project,
    },
    Check {
        name: "lock",
        judge: lock,
    },
    Check {
        name: "leftovers",
        judge: leftovers,
    },
    Check {
        name: "images",
        judge: images,
    },
    Check {
        name: "runs",
        judge: runs,
    },
];

fn ok(text: impl Into<String>) -> Option<Judgement> {
    Some((Ok, text.into(), None))
}

fn warn(text: impl Into<String>, hint: impl Into<String>) -> Option<Judgement> {
    Some((Warn, text.into(), Some(hint.into())))
}

fn fail(text: impl Into<String>, hint: impl Into<String>) -> Option<Judgement> {
    Some((Fail, text.into(), Some(hint.into())))
}

fn reached(facts: &Facts) -> Option<&EngineFacts> {
    match &facts.engine {
        EngineState::Reached(engine) => Some(engine),
        EngineState::Failed { .. } => None,
    }
}

fn engine(facts: &Facts) -> Option<Judgement> {
    match &facts.engine {
        EngineState::Failed { cause, hint } => Some((Fail, cause.clone(), hint.clone())),
        EngineState::Reached(engine) => {
            let EngineFacts {
                version,
                address,
                choice,
                ..
            } = &**engine;
            let text = format!("{version}, API {}, {address} ({choice})", engine.api_version);
            let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
            let mut parts = engine.api_version.split('.');
            if (number(parts.next()), number(parts.next())) < OLDEST_API {
                let (major, minor) = OLDEST_API;
                return fail(
                    text,
                    format!("update the engine: API {major}.{minor} or newer is needed"),
                );
            }
            ok(text)
        }
    }
}

fn platform(facts: &Facts) -> Option<Judgement> {
    let engine = reached(facts)?;
    let text = format!("{}/{}", engine.operating_system, engine.architecture);
    if engine.operating_system == "linux" {
        ok(text)
    } else {
        fail(format!("{text} containers"), "switch the engine to Linux containers")
    }
}

fn storage(facts: &Facts) -> Option<Judgement> {
    let engine = reached(facts)?;
    let driver = &engine.storage_driver;
    let room = facts.engine_space.as_ref().map(room).unwrap_or_default();
    let text = format!("{driver}{}", if room.is_empty() { room } else { format!(", {room}") });
    match facts.engine_space.as_ref().and_then(|space| too_little(space, &text)) {
        Some(judgement) => Some(judgement),
        None if driver == "vfs" => warn(
            text,
            "vfs copies every layer whole: configure overlay2 or fuse-overlayfs in the engine",
        ),
        None => ok(text),
    }
}

fn capacity(facts: &Facts) -> Option<Judgement> {
    let engine = reached(facts)?;
    let processors = match engine.processors {
        1 => "1 processor".to_owned(),
        count => format!("{count} processors"),
    };
    let text = format!("{processors}, {} of memory", size(engine.memory_bytes));
    if engine.memory_bytes < MEMORY_WARN_BYTES {
        return warn(
            text,
            format!(
                "give the engine {} or more, or build with --jobs 1",
                size(MEMORY_WARN_BYTES)
            ),
        );
    }
    ok(text)
}

fn limits(facts: &Facts) -> Option<Judgement> {
    if reached(facts)?.limits_processes {
        ok("the engine limits memory and processes per container")
    } else {
        warn(
            "the engine cannot limit processes per container",
            "enable the pids cgroup controller; without it a runaway build may take the machine with it",
        )
    }
}

fn seccomp(facts: &Facts) -> Option<Judgement> {
    if reached(facts)?.filters_calls {
        ok("containers have no sockets but local and IP ones, and no call that needs a capability")
    } else {
        warn(
            "the engine takes no profile of system calls: containers are confined by its own, or by none",
            "in a virtual machine sockets to the host (vsock) may be open to builds; use Docker Engine on a kernel with seccomp",
        )
    }
}

fn disk(facts: &Facts) -> Option<Judgement> {
    let space = facts.project_space.as_ref()?;
    let text = format!("{} at {}", room(space), space.path.display());
    too_little(space, &text).or_else(|| ok(text))
}

fn cache(facts: &Facts) -> Option<Judgement> {
    let space = facts.cache_space.as_ref()?;
    let text = format!("{} at {}", room(space), space.path.display());
    too_little(space, &text).or_else(|| ok(text))
}

fn too_little(space: &Space, text: &str) -> Option<Judgement> {
    let hint = "make room, or move it; `lockstep clean --dry-run` lists what lockstep could remove";
    if space.free_bytes < FREE_FAIL_BYTES {
        fail(text, hint)
    } else if space.free_bytes < FREE_WARN_BYTES {
        warn(text, hint)
    } else if let Some(files) = space.free_files.filter(|files| *files < FREE_FILES_WARN_COUNT) {
        warn(format!("{text}, room for {files} files"), hint)
    } else {
        None
    }
}

fn room(space: &Space) -> String {
    format!("{} free", size(space.free_bytes))
}

/// Whether it is certain that nothing is made from packages: only then may what makes root filesystems be missing.
fn needs_bootstrap(facts: &Facts) -> bool {
    !matches!(
        facts.project,
        ProjectState::Read {
            needs_bootstrap: false,
            ..
        }
    )
}

fn bootstrap(facts: &Facts) -> Option<Judgement> {
    let bootstrap = &facts.bootstrap;
    let missing = if needs_bootstrap(facts) { fail } else { warn };
    let Some(version) = &bootstrap.version else {
        return missing_with(
            missing,
            "not found",
            "install mmdebstrap (on Debian: apt-get install mmdebstrap), or use images from a registry",
        );
    };
    let namespaces = &bootstrap.namespaces;
    if bootstrap.is_root {
        let text = format!("{version}, root mode");
        return if bootstrap.may_mount {
            ok(text)
        } else {
            missing_with(
                missing,
                &format!("{text}, and root may not mount here"),
                "run it outside of this container, or give the container CAP_SYS_ADMIN",
            )
        };
    }
    let text = format!("{version}, unshare mode");
    if !namespaces.allowed {
        let hint = "allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns), or run as root";
        return missing_with(
            missing,
            &format!("{text}, and users may not make user namespaces"),
            hint,
        );
    }
    if !namespaces.has_newuidmap {
        return missing_with(
            missing,
            &format!("{text}, without newuidmap"),
            "install uidmap (on Debian: apt-get install uidmap)",
        );
    }
    if !namespaces.has_ranges {
        let hint = "give yourself a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER";
        return missing_with(
            missing,
            &format!("{text}, without a range in /etc/subuid and /etc/subgid"),
            hint,
        );
    }
    ok(text)
}

fn missing_with(judge: fn(String, String) -> Option<Judgement>, text: &str, hint: &str) -> Option<Judgement> {
    judge(text.to_owned(), hint.to_owned())
}

fn mirrors(facts: &Facts) -> Option<Judgement> {
    let all = facts.mirrors.len();
    let silent: Vec<&Mirror> = facts.mirrors.iter().filter(|mirror| mirror.failure.is_some()).collect();
    let missing = if needs_bootstrap(facts) { fail } else { warn };
    let through = facts.mirrors.iter().find_map(|mirror| mirror.proxy.as_deref());
    let through = through
        .map(|proxy| format!(" through {}", without_credentials(proxy)))
        .unwrap_or_default();
    match (all, silent.as_slice()) {
        (0, _) => warn(
            "none in this machine's apt configuration",
            "recipes made from packages need one: add it to /etc/apt/sources.list, or name it in the recipe",
        ),
        (1, []) => ok(format!("{} answers{through}", facts.mirrors[0].address)),
        (_, []) => ok(format!("{all} of {all} answer{through}")),
        (_, [first, ..]) => {
            let text = format!(
                "{} of {all} answer{through}; {}: {}",
                all - silent.len(),
                first.address,
                first.failure.as_deref().unwrap_or_default()
            );
            let hint = "is the network up, and does apt need a proxy (Acquire::http::Proxy)? try: apt-get update";
            if silent.len() == all {
                missing_with(missing, &text, hint)
            } else {
                warn(text, hint)
            }
        }
    }
}

fn certificates(facts: &Facts) -> Option<Judgement> {
    let hint = "install ca-certificates, or name a bundle in SSL_CERT_FILE; the fetch step hands it to the container";
    match &facts.certificates {
        None => warn("no bundle of certificate authorities found", hint),
        Some(found) if found.count == 0 => warn(format!("{} has no certificate", found.path.display()), hint),
        Some(found) => ok(format!("{}, {} authorities", found.path.display(), found.count)),
    }
}

fn proxy(facts: &Facts) -> Option<Judgement> {
    if facts.proxies.is_empty() {
        return ok("none set");
    }
    let said: Vec<String> = facts
        .proxies
        .iter()
        .map(|(name, value)| format!("{name}={}", without_credentials(value)))
        .collect();
    let text = said.join(" ");
    let is_local = |value: &String| {
        let host = apt::endpoint(value).map(|(host, _)| host).unwrap_or_default();
        host == "localhost" || host == "::1" || host.starts_with("127.")
    };
    if facts
        .proxies
        .iter()
        .any(|(name, value)| name != "no_proxy" && is_local(value))
    {
        return warn(
            text,
            "containers cannot reach a proxy on this machine's loopback: name an address of its own",
        );
    }
    ok(text)
}

/// Passwords are not for the eyes of whoever reads a report.
fn without_credentials(address: &str) -> String {
    match address
        .split_once("://")
        .map(|(scheme, rest)| (scheme, rest.rsplit_once('@')))
    {
        Some((scheme, Some((_, host)))) => format!("{scheme}://…@{host}"),
        _ => address.to_owned(),
    }
}

fn compose(facts: &Facts) -> Option<Judgement> {
    match &facts.compose {
        Some(version) => ok(format!("docker-compose {version}")),
        None => warn(
            "not found",
            "only needed for compose.yaml; install docker-compose, or the engine's compose plugin",
        ),
    }
}

fn project(facts: &Facts) -> Option<Judgement> {
    match &facts.project {
        ProjectState::Absent { file } => warn(format!("no {file} here"), "write one with: lockstep init"),
        ProjectState::Broken { file, first, count: 1 } => {
            fail(format!("{file}: {first}"), "see it in place: lockstep plan")
        }
        ProjectState::Broken { file, first, count } => fail(
            format!("{file} has {count} problems; first: {first}"),
            "see all of them in place: lockstep plan",
        ),
        ProjectState::Read {
            name,
            environments,
            plugins,
            ..
        } => {
            let plugins = counted(*plugins, "plugin");
            ok(format!("{name}: {}, a host and {plugins}", environments.join(", ")))
        }
    }
}

fn lock(facts: &Facts) -> Option<Judgement> {
    let ProjectState::Read { environments, .. } = &facts.project else {
        return None;
    };
    match &facts.lock {
        LockState::Absent => ok("not written yet: the first build does"),
        LockState::Broken { cause } => fail(
            cause,
            "restore it from version control, or remove it and run: lockstep lock",
        ),
        LockState::Read { changed, .. } if !changed.is_empty() => fail(
            format!("recipes have changed since: {}", changed.join(", ")),
            "if that is meant: lockstep lock --update",
        ),
        LockState::Read { unknown, .. } if !unknown.is_empty() => warn(
            format!("has environments that the project has no more: {}", unknown.join(", ")),
            "lockstep lock --update",
        ),
        LockState::Read { locked, .. } => ok(format!(
            "{} of {} environments locked",
            locked.len(),
            environments.len()
        )),
    }
}

fn leftovers(facts: &Facts) -> Option<Judgement> {
    let left = facts.leftovers.as_ref()?;
    // What a run that goes on has made is not left behind.
    if facts.running.is_some() {
        return None;
    }
    let names: Vec<&str> = left
        .containers
        .iter()
        .chain(&left.volumes)
        .map(String::as_str)
        .collect();
    if names.is_empty() {
        return ok("none");
    }
    let named = names[..names.len().min(NAMED_LIMIT_COUNT)].join(", ");
    let more = if names.len() > NAMED_LIMIT_COUNT { ", …" } else { "" };
    let counts = format!(
        "{} containers, {} volumes of runs that have ended",
        left.containers.len(),
        left.volumes.len()
    );
    warn(
        format!("{counts}: {named}{more}"),
        "the next build removes them; so does: lockstep clean",
    )
}

/// They cost nothing but room, so that there are some is no warning.
fn images(facts: &Facts) -> Option<Judgement> {
    let unused = facts.unused_images.as_ref()?;
    if unused.count == 0 {
        return ok("none that nothing uses");
    }
    let tenths = unused.size_bytes * 10 / GIBIBYTE;
    let text = format!(
        "{} of environments that nothing uses, {}.{} GiB at most",
        unused.count,
        tenths / 10,
        tenths % 10
    );
    Some((Ok, text, Some("they go with: lockstep clean --images".to_owned())))
}

fn runs(facts: &Facts) -> Option<Judgement> {
    let running = facts.running.as_ref()?;
    warn(
        format!("another run of this project goes on: {running}"),
        "builds wait for it",
    )
}

/// `6.1 GiB`, `512 MiB`.
fn size(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1 << 20;
    if bytes >= GIBIBYTE {
        let tenths = bytes / (GIBIBYTE / 10);
        format!("{}.{} GiB", tenths / 10, tenths % 10)
    } else {
        format!("{} MiB", bytes / MEBIBYTE)
    }
}

#[cfg(test)]
mod tests;
