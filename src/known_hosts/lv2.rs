//! LV2: audio plugins, each in a directory whose `.ttl` files say what it is, opened by lilv's programs.

use super::source_text::defined;
use super::turtle::{self, Subject};
use super::{
    Beside, FileBeside, GENERATED_FIRST, KnownHost, PluginSource, SmokePlugin, SmokeStep, SmokeTest, any_artifact,
    file_stem, is_word, same_name,
};
use crate::config::LanguageName;

/// The file of a directory that lilv reads first.
const MANIFEST: &str = "manifest.ttl";
/// What a plugin is of, and which library it is in.
const PLUGIN: &str = "http://lv2plug.in/ns/lv2core#Plugin";
const REQUIRED: &str = "http://lv2plug.in/ns/lv2core#requiredFeature";
/// What lv2bench gives to plugins.
const PROVIDED: &str = "http://lv2plug.in/ns/ext/urid#map";
/// How many samples are run through each plugin.
const SAMPLES: &str = "4096";
/// What is at most taken for the data of one directory.
const FILES_LIMIT_COUNT: usize = 500;

pub(super) const LV2: KnownHost = KnownHost {
    name: "lv2",
    other_names: &["lilv", "lv2apply"],
    path: "/usr/bin/lv2apply",
    install: Some("/usr/lib/lv2"),
    runtime_packages: &["lilv-utils"],
    build_packages: &["g++", "gcc", "libc6-dev", "lv2-dev", "make", "pkg-config"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["lv2.h", "lv2.hpp"],
    needs_words: false,
    crates: &["lv2"],
    own_build: None,
    systems: GENERATED_FIRST,
    fallback: None,
    symbols: &[],
    entries: |text| defined(text, |name| name == "lv2_descriptor"),
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

/// The data files of the directory in which a manifest names this plugin's library, or of the only one that has a manifest.
fn beside(plugin: &PluginSource<'_>) -> Beside {
    let mut beside = Beside::default();
    let manifests: Vec<(&str, &str)> = plugin
        .files
        .all()
        .filter(|(path, _)| {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.strip_prefix(MANIFEST)
                .is_some_and(|rest| matches!(rest, "" | ".in"))
        })
        .collect();
    let stem = file_stem(plugin.artifact);
    // A library is named with its ending, or with what the build puts in its place.
    let names_it = |(_, text): &&(&str, &str)| {
        let mut binaries = text.split('<').filter_map(|rest| rest.split('>').next());
        binaries.any(|name| {
            name.strip_prefix(stem)
                .is_some_and(|end| end.starts_with(['.', '@', '$']))
        })
    };
    let manifest = match manifests.as_slice() {
        [one] => Some(*one),
        several => several.iter().find(names_it).copied(),
    };
    let Some((manifest, text)) = manifest else {
        beside.notes.push(format!(
            "no {MANIFEST} names {}, so lilv will not find it: write `files:` with the one that does",
            plugin.artifact
        ));
        return beside;
    };
    let directory = manifest.rsplit_once('/').map_or("", |(directory, _)| directory);
    let bundle = directory.rsplit('/').next().unwrap_or_default();
    let bundle = match bundle.strip_suffix(".lv2") {
        Some(name) if is_word(name) => bundle.to_owned(),
        _ => format!("{stem}.lv2"),
    };
    beside.into = Some(bundle);
    let data = plugin.files.all().filter(|(path, _)| {
        let parent = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        parent == directory && (path.ends_with(".ttl") || path.ends_with(".ttl.in"))
    });
    let mut texts = vec![text];
    for (path, text) in data.take(FILES_LIMIT_COUNT) {
        match path.strip_suffix(".in") {
            None => beside.files.push(FileBeside::here(path)),
            Some(made) => beside
                .made
                .push(FileBeside::here(made.rsplit('/').next().unwrap_or_default())),
        }
        texts.push(text);
    }
    if manifests.len() > 1 && !beside.made.is_empty() {
        beside.notes.push(format!(
            "the build makes several files called {MANIFEST}, which are told apart by their directories only: write a `command:` that leaves them apart"
        ));
    }
    ask(&texts, &mut beside);
    beside
}

/// The plugins of the directory that lv2bench can run.
fn ask(texts: &[&str], beside: &mut Beside) {
    let subjects: Vec<Subject> = texts.iter().flat_map(|text| turtle::subjects(text)).collect();
    let is_plugin = |subject: &&Subject| subject.is_a(PLUGIN);
    for subject in subjects.iter().filter(is_plugin) {
        // What a manifest says of a plugin, another file goes on with.
        let needs_more = subjects
            .iter()
            .filter(|other| other.name == subject.name)
            .flat_map(|other| other.objects(REQUIRED))
            .any(|feature| feature != PROVIDED);
        if subject.name.bytes().all(|byte| byte.is_ascii_graphic()) && !needs_more {
            beside.asked.push(subject.name.clone());
        }
    }
    beside.asked.sort();
    beside.asked.dedup();
}

/// Lv2bench makes an instance of each plugin that is installed, runs it, and prints its name.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let mut names: Vec<String> = plugins.iter().flat_map(|plugin| plugin.beside.asked.clone()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let bench = SmokeStep::run(["lv2bench", "-n", SAMPLES]).printing(names);
    Some(SmokeTest::steps([bench]))
}
