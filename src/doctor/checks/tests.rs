//! What the checks make of facts.

use std::collections::{BTreeMap, BTreeSet};

use super::super::facts::{Bootstrap, Certificates, Leftovers, UserNamespaces};
use super::super::{examine, exit};
use super::*;
use crate::clean::UnusedImages;
use crate::engine::Choice;
use crate::exit::Exit;

fn space(gibibytes: u64) -> Option<Space> {
    Some(Space {
        path: "/x".into(),
        free_bytes: gibibytes * GIBIBYTE,
        free_files: Some(1_000_000),
    })
}

#[test]
fn unused_images_are_counted() {
    let mut facts = well();
    facts.unused_images = Some(UnusedImages {
        count: 3,
        size_bytes: GIBIBYTE * 5 / 2,
        ..UnusedImages::default()
    });
    let lines = examine(&facts);
    let line = lines.iter().find(|line| line.check == "images").unwrap();
    assert_eq!(line.text, "3 of environments that nothing uses, 2.5 GiB at most");
    assert_eq!(exit(&lines), Exit::Ok);
}

/// A machine on which all is well.
fn well() -> Facts {
    Facts {
        engine: EngineState::Reached(Box::new(EngineFacts {
            address: "unix:///var/run/docker.sock".to_owned(),
            choice: Choice::Default,
            version: "Docker Engine 20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            operating_system: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            data_directory: Some("/var/lib/docker".to_owned()),
            storage_driver: "overlay2".to_owned(),
            processors: 2,
            memory_bytes: 8 * GIBIBYTE,
            limits_processes: true,
            filters_calls: true,
            insecure_registries: vec![],
        })),
        engine_space: space(50),
        project_space: space(50),
        cache_space: space(50),
        mirrors: vec![Mirror {
            address: "http://mirror.example".to_owned(),
            proxy: None,
            failure: None,
        }],
        bootstrap: Bootstrap {
            version: Some("1.3.5".to_owned()),
            is_root: true,
            may_mount: true,
            namespaces: UserNamespaces::default(),
        },
        certificates: Some(Certificates {
            path: "/etc/ssl/x.pem".into(),
            count: 140,
        }),
        proxies: BTreeMap::new(),
        project: ProjectState::Read {
            name: "greeter".to_owned(),
            environments: vec!["glibc".to_owned(), "musl".to_owned()],
            needs_bootstrap: true,
            plugins: 3,
        },
        lock: LockState::Read {
            locked: vec!["glibc".to_owned()],
            unknown: vec![],
            changed: vec![],
        },
        leftovers: Some(Leftovers::default()),
        unused_images: Some(UnusedImages::default()),
        running: None,
        compose: Some("1.29.2".to_owned()),
    }
}

fn line(facts: &Facts, check: &str) -> String {
    let lines = examine(facts);
    let line = lines.iter().find(|line| line.check == check).unwrap();
    assert_eq!(
        line.hint.is_none(),
        line.status == Ok,
        "what is not ok has a hint: {line:?}"
    );
    format!("{:?} {}", line.status, line.text)
}

#[test]
fn a_machine_on_which_all_is_well() {
    let lines = examine(&well());
    assert!(lines.iter().all(|line| line.status == Ok), "{lines:#?}");
    assert_eq!(exit(&lines), Exit::Ok);
    assert_eq!(
        line(&well(), "engine"),
        "Ok Docker Engine 20.10.24, API 1.41, unix:///var/run/docker.sock (the default)"
    );
    assert_eq!(line(&well(), "storage"), "Ok overlay2, 50.0 GiB free");
    assert_eq!(line(&well(), "lock"), "Ok 1 of 2 environments locked");
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), CHECKS.len());
}

/// Changes one thing, and expects one line to say so.
fn check(change: impl Fn(&mut Facts), name: &str, expected: &str) {
    let mut facts = well();
    change(&mut facts);
    assert_eq!(line(&facts, name), expected);
    let others = examine(&facts)
        .into_iter()
        .filter(|line| line.check != name && line.status != Ok);
    assert_eq!(others.collect::<Vec<_>>(), []);
}

fn with_engine(change: impl Fn(&mut EngineFacts)) -> impl Fn(&mut Facts) {
    move |facts| {
        if let EngineState::Reached(engine) = &mut facts.engine {
            change(engine);
        }
    }
}

#[test]
fn everything_that_can_be_wrong_is_said() {
    check(
        with_engine(|engine| engine.api_version = "1.9".to_owned()),
        "engine",
        "Fail Docker Engine 20.10.24, API 1.9, unix:///var/run/docker.sock (the default)",
    );
    check(
        with_engine(|engine| engine.operating_system = "windows".to_owned()),
        "platform",
        "Fail windows/amd64 containers",
    );
    check(
        with_engine(|engine| engine.storage_driver = "vfs".to_owned()),
        "storage",
        "Warn vfs, 50.0 GiB free",
    );
    check(
        with_engine(|engine| engine.memory_bytes = GIBIBYTE / 2),
        "capacity",
        "Warn 2 processors, 512 MiB of memory",
    );
    check(
        with_engine(|engine| engine.limits_processes = false),
        "limits",
        "Warn the engine cannot limit processes per container",
    );
    check(
        with_engine(|engine| engine.filters_calls = false),
        "seccomp",
        "Warn the engine takes no profile of system calls: containers are confined by its own, or by none",
    );
    check(
        |facts| facts.engine_space = space(0),
        "storage",
        "Fail overlay2, 0 MiB free",
    );
    check(
        |facts| facts.project_space = space(3),
        "disk",
        "Warn 3.0 GiB free at /x",
    );
    check(
        |facts| {
            facts.cache_space = space(9).map(|space| Space {
                free_files: Some(7),
                ..space
            })
        },
        "cache",
        "Warn 9.0 GiB free at /x, room for 7 files",
    );
    check(|facts| facts.bootstrap.version = None, "mmdebstrap", "Fail not found");
    check(
        |facts| facts.bootstrap.may_mount = false,
        "mmdebstrap",
        "Fail 1.3.5, root mode, and root may not mount here",
    );
    check(
        |facts| facts.bootstrap.is_root = false,
        "mmdebstrap",
        "Fail 1.3.5, unshare mode, and users may not make user namespaces",
    );
    check(
        |facts| facts.mirrors.clear(),
        "mirror",
        "Warn none in this machine's apt configuration",
    );
    check(
        |facts| facts.mirrors[0].failure = Some("timed out".to_owned()),
        "mirror",
        "Fail 0 of 1 answer; http://mirror.example: timed out",
    );
    check(
        |facts| facts.certificates = None,
        "certificates",
        "Warn no bundle of certificate authorities found",
    );
    check(
        |facts| {
            _ = facts
                .proxies
                .insert("http_proxy".to_owned(), "http://user:secret@127.0.0.1:3128".to_owned())
        },
        "proxy",
        "Warn http_proxy=http://…@127.0.0.1:3128",
    );
    check(|facts| facts.compose = None, "compose", "Warn not found");
    check(
        |facts| {
            facts.lock = LockState::Read {
                locked: vec![],
                unknown: vec![],
                changed: vec!["musl build".to_owned()],
            }
        },
        "lock",
        "Fail recipes have changed since: musl build",
    );
    check(
        |facts| {
            facts.lock = LockState::Read {
                locked: vec![],
                unknown: vec!["old".to_owned()],
                changed: vec![],
            }
        },
        "lock",
        "Warn has environments that the project has no more: old",
    );
    check(
        |facts| {
            facts.leftovers = Some(Leftovers {
                containers: ["a", "b"].map(str::to_owned).to_vec(),
                volumes: ["c", "d"].map(str::to_owned).to_vec(),
            });
        },
        "leftovers",
        "Warn 2 containers, 2 volumes of runs that have ended: a, b, c, …",
    );
    check(
        |facts| facts.running = Some("lockstep build".to_owned()),
        "runs",
        "Warn another run of this project goes on: lockstep build",
    );
}

#[test]
fn an_engine_that_does_not_answer_ends_with_its_own_code() {
    let mut facts = well();
    facts.engine = EngineState::Failed {
        cause: "failed to reach it".to_owned(),
        hint: Some("start it".to_owned()),
    };
    facts.bootstrap.version = None;
    let lines = examine(&facts);
    assert_eq!(exit(&lines), Exit::Engine);
    assert!(
        !lines.iter().any(|line| ["platform", "storage"].contains(&line.check)),
        "nothing is claimed of it"
    );
}

#[test]
fn images_from_a_registry_need_nothing_that_makes_others() {
    let mut facts = well();
    facts.bootstrap.version = None;
    if let ProjectState::Read { needs_bootstrap, .. } = &mut facts.project {
        *needs_bootstrap = false;
    }
    assert_eq!(line(&facts, "mmdebstrap"), "Warn not found");
    assert_eq!(exit(&examine(&facts)), Exit::Ok);
}

#[test]
fn a_failure_that_is_not_the_engines_is_a_finding() {
    let mut facts = well();
    facts.project = ProjectState::Broken {
        file: "lockstep.yaml".to_owned(),
        first: "unknown key".to_owned(),
        count: 2,
    };
    assert_eq!(exit(&examine(&facts)), Exit::Findings);
}
