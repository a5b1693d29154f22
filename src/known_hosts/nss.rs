//! The name service switch: modules of the C library, opened by getent.

use super::source_text::defined;
use super::{GENERATED_FIRST, KnownHost, SmokePlugin, SmokeStep, SmokeTest, nothing_beside, same_name};
use crate::config::LanguageName;

pub(super) const NSS: KnownHost = KnownHost {
    name: "nss",
    other_names: &["getent"],
    path: "/usr/bin/getent",
    install: Some("/usr/lib/x86_64-linux-gnu"),
    runtime_packages: &["libc-bin"],
    build_packages: &["gcc", "libc6-dev", "make", "autoconf", "automake", "libtool"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["nss.h"],
    needs_words: false,
    crates: &["libnss"],
    own_build: None,
    systems: GENERATED_FIRST,
    fallback: None,
    symbols: &[],
    entries: |text| defined(text, |name| service(name).is_some()),
    // 2 is the version of the interface (NSS_SHLIB_REVISION of the C library).
    artifact: |entry| service(entry).map(|service| format!("libnss_{service}.so.2")),
    language: LanguageName::C,
    env: &[],
    beside: nothing_beside,
    smoke,
    cargo_place: same_name,
    note: Some(
        "the smoke test shows that the C library finds the module's functions; what they must answer is yours to add: [getent, -s, SERVICE, passwd, NAME]",
    ),
};

/// What getent lists, and how the names of the functions for it begin, behind the service's.
const DATABASES: &[(&str, &[&str])] = &[
    ("passwd", &["_getpw", "_setpw"]),
    ("group", &["_getgr", "_setgr"]),
    ("shadow", &["_getsp", "_setsp"]),
    ("hosts", &["_gethost", "_sethost"]),
    ("services", &["_getserv", "_setserv"]),
    ("networks", &["_getnet", "_setnet"]),
    ("protocols", &["_getproto", "_setproto"]),
    ("rpc", &["_getrpc", "_setrpc"]),
];

/// Getent ends well whether there is a module or not. So what the loader says is looked at first: it binds each function of a
/// module when the C library opens that.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let mut test = SmokeTest::default();
    let mut asked = Vec::new();
    for plugin in plugins {
        let (database, entry) = DATABASES.iter().find_map(|(database, starts)| {
            let is_of = |entry: &&String| {
                let function = service(entry).and_then(|service| entry.strip_prefix("_nss_")?.strip_prefix(service));
                function.is_some_and(|function| starts.iter().any(|start| function.starts_with(start)))
            };
            plugin.entries.iter().find(is_of).map(|entry| (*database, entry))
        })?;
        let list = SmokeStep::run(["getent", "-s", service(entry)?, database]);
        test.steps.push(SmokeStep {
            env: vec![("LD_DEBUG", "bindings".to_owned())],
            ..list.clone().saying([format!("symbol `{entry}'")])
        });
        asked.push(list);
    }
    // What the image then starts says nothing of the loader.
    test.steps.extend(asked);
    Some(test)
}

/// The service that a function belongs to: `_nss_<service>_<function>`.
fn service(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("_nss_")?;
    let starts = ["_get", "_set", "_end", "_initgroups"];
    let end = starts.iter().filter_map(|start| rest.find(start)).min()?;
    rest.get(..end).filter(|service| !service.is_empty())
}
