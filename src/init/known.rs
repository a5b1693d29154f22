//! Plugins of known hosts: by a build of the host's own, by what their sources define, or by the crate they stand on.

use std::collections::{BTreeMap, BTreeSet};

use super::beside;
use super::build_files::{self, BuildFile};
use super::targets::Targets;
use super::text::common;
use super::tree::{self, Tree, is_file_name};
use super::{Candidate, Kind, c_family, cargo};
use crate::config::{Build, BuildSystem, LanguageName, Loader};
use crate::known_hosts::{KNOWN_HOSTS, KnownHost, PluginSource};

/// A host whose plugins are in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Which.
    pub(super) host: &'static KnownHost,
    /// They; at least one.
    pub(super) plugins: Vec<Candidate>,
    /// What was not understood of them, one line each.
    pub(super) notes: Vec<String>,
}

/// All known hosts with plugins here. `candidates` are what is recognised without knowing hosts.
pub(super) fn found(targets: &Targets<'_>, candidates: &[Candidate]) -> Vec<Found> {
    let tree = targets.tree;
    let directories = c_family::source_directories(tree);
    let of_host = |host: &&'static KnownHost| {
        let mut notes = Vec::new();
        let mut plugins = by_own_build(tree, host);
        let own: BTreeSet<String> = plugins.iter().map(|plugin| plugin.source.clone()).collect();
        let is_own = |directory: &str| own.iter().any(|source| tree::is_within(directory, source));
        for directory in directories.iter().copied() {
            if !is_own(directory) {
                plugins.extend(by_entries(targets, host, directory, &mut notes));
            }
        }
        plugins.extend(by_crate(tree, host, candidates));
        for plugin in &mut plugins {
            let beside = (host.beside)(&PluginSource {
                artifact: &plugin.artifact,
                entries: &plugin.exports,
                files: &tree.below(&plugin.source),
            });
            plugin.beside = beside::of_project(beside, plugin);
        }
        (!plugins.is_empty()).then_some(Found { host, plugins, notes })
    };
    KNOWN_HOSTS.iter().filter_map(of_host).collect()
}

/// A plugin with what its host brings to it.
fn plugin(host: &KnownHost, name: &str, language: LanguageName, source: &str, artifact: &str) -> Candidate {
    let env = host
        .env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Candidate {
        exports: host.symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
        env: env.collect(),
        ..Candidate::of(name, language, source, artifact, Kind::Plugin(Loader::Dlopen))
    }
}

fn by_own_build(tree: &Tree, host: &KnownHost) -> Vec<Candidate> {
    let Some(own) = &host.own_build else {
        return vec![];
    };
    let mut seen = BTreeSet::new();
    let mut plugins = Vec::new();
    for (path, text) in tree.files() {
        for made in (own.made)(tree::file_name(path), text, &tree.below(tree::parent(path))) {
            if !is_file_name(&made.artifact) || !seen.insert(made.artifact.clone()) {
                continue;
            }
            let entries = sources_below(tree, tree::parent(path)).flat_map(|text| (host.entries)(text));
            let mut plugin = plugin(host, &made.name, host.language, tree::parent(path), &made.artifact);
            // Of several modules' entries, those of this one have its name.
            plugin
                .exports
                .extend(entries.filter(|entry| entry.ends_with(&made.name)));
            plugin.exports.sort();
            plugin.exports.dedup();
            plugin.env = BTreeMap::new();
            plugin.build = Some(Build::of(own.system));
            plugins.push(plugin);
        }
    }
    plugins
}

fn sources_below<'a>(tree: &'a Tree, directory: &'a str) -> impl Iterator<Item = &'a str> {
    let sources = tree.within(directory).filter(|(path, _)| tree::is_source(path));
    sources.map(|(_, text)| text)
}

/// A source with what it defines of what the host looks up.
struct Entry<'a> {
    path: &'a str,
    symbols: Vec<String>,
}

fn by_entries(targets: &Targets<'_>, host: &KnownHost, directory: &str, notes: &mut Vec<String>) -> Vec<Candidate> {
    let tree = targets.tree;
    let has_word = |text: &str| host.words.iter().any(|word| text.contains(word));
    if host.needs_words && !tree.directly_in(directory).any(|(_, text)| has_word(text)) {
        return vec![];
    }
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (path, text) in tree.directly_in(directory).filter(|(path, _)| tree::is_source(path)) {
        let symbols = (host.entries)(text);
        if !symbols.is_empty() {
            entries.push(Entry { path, symbols });
        }
    }
    if entries.is_empty() {
        return vec![];
    }
    let build = build_files::of_directory(targets, directory, host.systems);
    if let Some(build) = build.as_ref().filter(|build| !build.shared.is_empty()) {
        return by_build(tree, host, directory, build, &entries, notes);
    }
    if let Some(build) = build
        .as_ref()
        .filter(|build| host.own_build.as_ref().is_some_and(|own| own.system == build.system))
    {
        let made = BuildFile {
            shared: entries
                .iter()
                .map(|entry| format!("{}.so", tree::stem(entry.path)))
                .filter(|name| is_file_name(name))
                .collect(),
            ..build.clone()
        };
        return by_build(tree, host, directory, &made, &entries, notes);
    }
    // What the host looks up in one file, is one, however many sources it has.
    let looked_up: BTreeSet<Option<String>> = entries.iter().map(|entry| artifact_of(host, entry)).collect();
    let is_one = looked_up.len() == 1 && !looked_up.contains(&None);
    let entries = match is_one {
        true => together(entries),
        false => entries,
    };
    if let Some(build) = &build {
        notes.push(format!(
            "{directory} is built by {}, but its files do not say how the shared object is called: its sources are compiled directly; write `build: {}` if that is not enough",
            build.system.name(),
            build.system.name()
        ));
    }
    match entries.as_slice() {
        [entry] => vec![of_directory(tree, host, directory, entry)],
        several => {
            notes.push(format!(
                "each of the {} sources in {directory} that {} could open is taken for a plugin of its own: remove those that are not meant",
                several.len(),
                host.name
            ));
            several.iter().map(|entry| of_file(host, directory, entry)).collect()
        }
    }
}

/// The plugins among the shared objects that a build makes.
fn by_build(
    tree: &Tree,
    host: &KnownHost,
    directory: &str,
    build: &BuildFile,
    entries: &[Entry<'_>],
    notes: &mut Vec<String>,
) -> Vec<Candidate> {
    let looked_up: Vec<String> = entries
        .iter()
        .flat_map(|entry| &entry.symbols)
        .filter_map(|symbol| (host.artifact)(symbol))
        .collect();
    let stems: Vec<&str> = entries
        .iter()
        .map(|entry| tree::stem(entry.path))
        .chain([tree::file_name(directory)])
        .collect();
    let is_meant = |name: &&String| {
        stems.contains(&tree::stem(name)) || stems.contains(&tree::stem(name).trim_start_matches("lib"))
    };
    let mut artifacts: Vec<String> = looked_up
        .iter()
        .filter(|name| build.shared.iter().any(|made| tree::stem(made) == tree::stem(name)))
        .cloned()
        .collect();
    artifacts.sort();
    artifacts.dedup();
    if artifacts.is_empty() {
        let bare = |name: &str| tree::stem(name).trim_start_matches("lib").to_owned();
        // A source that none of them is called after may be in any other one.
        let is_called_after =
            |entry: &Entry<'_>, names: &[&String]| names.iter().any(|name| bare(name) == bare(entry.path));
        artifacts = match build.shared.as_slice() {
            [one] => vec![one.clone()],
            several => {
                let meant: Vec<&String> = several.iter().filter(is_meant).collect();
                let is_sure = entries.len() == 1 || entries.iter().all(|entry| is_called_after(entry, &meant));
                meant.into_iter().filter(|_| is_sure).cloned().collect()
            }
        };
    }
    if artifacts.is_empty() {
        artifacts.clone_from(&build.shared);
        notes.push(format!(
            "which of the shared objects of {} are plugins of {} cannot be seen: all of them are listed",
            build.source, host.name
        ));
    }
    let all: Vec<&[String]> = entries.iter().map(|entry| entry.symbols.as_slice()).collect();
    let symbols: Vec<String> = match artifacts.as_slice() {
        [_] => entries.iter().flat_map(|entry| entry.symbols.clone()).collect(),
        _ => common(&all),
    };
    let of_artifact = |artifact: &String| {
        let mut candidate = plugin(
            host,
            tree::stem(artifact),
            language(tree, directory, host),
            &build.source,
            artifact,
        );
        let looks_there =
            |symbol: &&String| (host.artifact)(symbol).is_some_and(|name| tree::stem(&name) == tree::stem(artifact));
        let own: Vec<String> = entries
            .iter()
            .flat_map(|entry| &entry.symbols)
            .filter(looks_there)
            .cloned()
            .collect();
        candidate.exports.extend(if own.is_empty() || artifacts.len() == 1 {
            symbols.clone()
        } else {
            own
        });
        candidate.exports.sort();
        candidate.exports.dedup();
        if host.own_build.as_ref().is_some_and(|own| own.system == build.system) {
            candidate.env = BTreeMap::new();
        }
        candidate.build = Some(Build::of(build.system));
        candidate
    };
    artifacts.iter().map(of_artifact).collect()
}

/// A directory whose sources are one plugin.
fn of_directory(tree: &Tree, host: &KnownHost, directory: &str, entry: &Entry<'_>) -> Candidate {
    let artifact = artifact(host, entry);
    let name = tree::stem(&artifact).to_owned();
    let mut candidate = plugin(host, &name, language(tree, directory, host), directory, &artifact);
    candidate.inputs = c_family::inputs(tree, directory);
    candidate.exports.extend(entry.symbols.clone());
    let has_program = tree
        .directly_in(directory)
        .any(|(path, text)| tree::is_source(path) && c_family::has_main(text));
    match host.fallback {
        Some(system) => {
            let mut build = Build::of(system);
            if has_program {
                build.sources = vec![tree::file_name(entry.path).to_owned()];
            }
            candidate.build = Some(build);
        }
        None if has_program || candidate.language != c_family::language_of(entry.path) => {
            candidate.command = Some(c_family::plugin_command(
                candidate.language,
                tree::file_name(entry.path),
                &artifact,
            ));
        }
        None => {}
    }
    candidate
}

/// A source that is a plugin alone.
fn of_file(host: &KnownHost, directory: &str, entry: &Entry<'_>) -> Candidate {
    let artifact = artifact(host, entry);
    let language = match host.language {
        LanguageName::Cpp => LanguageName::Cpp,
        _ => c_family::language_of(entry.path),
    };
    let file = tree::file_name(entry.path);
    let mut candidate = plugin(host, tree::stem(&artifact), language, directory, &artifact);
    candidate.exports.extend(entry.symbols.clone());
    match host.fallback {
        Some(system) => {
            let mut build = Build::of(system);
            build.sources = vec![file.to_owned()];
            candidate.build = Some(build);
        }
        None => candidate.command = Some(c_family::plugin_command(language, file, &artifact)),
    }
    candidate
}

/// All entries of one plugin, as if they were in its first source.
fn together(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let mut entries = entries.into_iter();
    let mut first = entries.next();
    if let Some(first) = &mut first {
        first.symbols.extend(entries.flat_map(|entry| entry.symbols));
    }
    first.into_iter().collect()
}

/// The file that the host looks for, if that follows from what it looks up: of several, the one with the shortest name.
fn artifact_of(host: &KnownHost, entry: &Entry<'_>) -> Option<String> {
    let looked_up = entry.symbols.iter().filter_map(|symbol| (host.artifact)(symbol));
    looked_up.min_by_key(String::len)
}

/// The file that the host looks for, else one called as the source is: `a` of `a`, `a_b` and `a_c`.
fn artifact(host: &KnownHost, entry: &Entry<'_>) -> String {
    let looked_up = artifact_of(host, entry);
    let own = || {
        format!(
            "{}.so",
            super::text::unit_name(tree::stem(entry.path)).replace('.', "-")
        )
    };
    looked_up.filter(|name| is_file_name(name)).unwrap_or_else(own)
}

fn language(tree: &Tree, directory: &str, host: &KnownHost) -> LanguageName {
    match host.language {
        LanguageName::Cpp => LanguageName::Cpp,
        _ => c_family::language_in(tree, directory),
    }
}

/// Libraries in Rust that stand on a crate of the host's, or export what it looks up.
fn by_crate(tree: &Tree, host: &KnownHost, candidates: &[Candidate]) -> Vec<Candidate> {
    let is_its = |candidate: &&Candidate| {
        candidate.language == LanguageName::Rust
            && candidate.kind == Kind::Plugin(Loader::Dlopen)
            && (cargo::depends_on(tree, candidate, host.crates) || exports_entry(host, candidate))
    };
    let of_host = |candidate: &Candidate| {
        let mut candidate = candidate.clone();
        candidate.to = (host.cargo_place)(&candidate.artifact);
        let features = cargo::python_features(tree, &candidate);
        if !features.is_empty() {
            let build = candidate.build.get_or_insert_with(|| Build::of(BuildSystem::Cargo));
            build.features = features;
        }
        candidate
    };
    candidates.iter().filter(is_its).map(of_host).collect()
}

/// Whether the host looks up one of a candidate's symbols. Hosts know these as functions in C.
fn exports_entry(host: &KnownHost, candidate: &Candidate) -> bool {
    let is_entry = |symbol: &String| !(host.entries)(&format!("int {symbol}(void) {{}}")).is_empty();
    candidate.exports.iter().any(is_entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::of(files);
        let mut notes = vec![];
        let targets = Targets::of(&tree);
        let candidates = super::super::candidates(&targets, &mut notes);
        let describe = |plugin: &Candidate| {
            let build = match (&plugin.build, &plugin.command) {
                (Some(build), _) => build.system.name().to_owned(),
                (None, Some(_)) => "command".to_owned(),
                (None, None) => format!("{:?}", plugin.language),
            };
            format!(
                "{} {} {build} {}",
                plugin.source,
                plugin.artifact,
                plugin.exports.join(",")
            )
        };
        let found = found(&targets, &candidates);
        found
            .iter()
            .flat_map(|found| {
                found
                    .plugins
                    .iter()
                    .map(|plugin| format!("{}: {}", found.host.name, describe(plugin)))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    const LUA: &str = "#include <lua.h>\nint luaopen_a(lua_State *l) {\n}\nint luaopen_a_safe(lua_State *l) {\n}\n";
    const REDIS: &str = "#include \"redismodule.h\"\nint RedisModule_OnLoad(int x) {\n}\n";

    #[test]
    fn plugins_of_known_hosts_are_seen_by_their_builds_and_sources() {
        for (files, expected) in [
            (
                &[("a.c", LUA), ("b.c", "int x;")][..],
                &["lua: . a.so C luaopen_a,luaopen_a_safe"][..],
            ),
            (
                &[("a.c", LUA), ("t.c", "int main(void) {\n}\n")],
                &["lua: . a.so command luaopen_a,luaopen_a_safe"],
            ),
            (
                &[("src/a.c", LUA), ("src/Makefile", "T = a.so\n")],
                &["lua: src a.so make luaopen_a,luaopen_a_safe"],
            ),
            (
                &[("one.c", REDIS), ("two.c", REDIS)],
                &[
                    "valkey: . one.so command RedisModule_OnLoad",
                    "valkey: . two.so command RedisModule_OnLoad",
                ],
            ),
            (
                &[
                    ("configure.ac", "AC_INIT"),
                    ("s/Makefile.am", "x_LTLIBRARIES = pam_x.la"),
                    (
                        "s/x.c",
                        "#include <security/pam_modules.h>\nint pam_sm_setcred(int h)\n{",
                    ),
                ],
                &["pam: . pam_x.so autotools pam_sm_setcred"],
            ),
            (
                &[("m/mod_x.c", "#include \"httpd.h\"\nAP_DECLARE_MODULE(x) = {")],
                &["httpd: m mod_x.so apxs x_module"],
            ),
            (
                &[
                    ("Makefile", "MODULES = x\nPGXS=y\n"),
                    ("x.c", "#include \"postgres.h\""),
                ],
                &["postgres: . x.so pgxs Pg_magic_func"],
            ),
            (
                &[
                    (
                        "Cargo.toml",
                        "[package]\nname = \"cell\"\n[lib]\ncrate-type = [\"dylib\"]\n",
                    ),
                    (
                        "src/lib.rs",
                        "#[no_mangle]\npub extern \"C\" fn RedisModule_OnLoad(\n    c: *mut u8,\n) -> i32 {\n    0\n}\n",
                    ),
                ],
                &["valkey: . libcell.so Rust RedisModule_OnLoad"],
            ),
            (
                &[(
                    "Cargo.toml",
                    "[package]\nname = \"x\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nredis-module = \"2\"\n",
                )],
                &["valkey: . libx.so Rust "],
            ),
            // What only mentions a host, or is the host, has no plugins of it.
            (
                &[
                    ("a.c", "#include <lua.h>\nint luaopen_base(lua_State *l) {\n}\n"),
                    ("b.c", "int RedisModule_OnLoad(int x);"),
                ],
                &[],
            ),
        ] {
            assert_eq!(seen(files), expected);
        }
    }
}
