//! What is shipped with plugins: that each file is there once, at a place where nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use super::Candidate;
use super::text::free_name;
use super::tree;
use crate::config::is_artifact_name;
use crate::known_hosts::{Beside, FileBeside};
use crate::printable::is_plain;

/// The same with files that are named from the project's directory on, as far as they can be written.
pub(super) fn of_project(beside: Beside, plugin: &Candidate) -> Beside {
    let mut notes = beside.notes;
    let in_project = |file: FileBeside| {
        let path = tree::join(&plugin.source, &file.file)?;
        let is_writable = path.chars().all(is_plain) && is_artifact_name(tree::file_name(&path));
        is_writable.then_some(FileBeside { file: path, ..file })
    };
    let count = beside.files.len();
    let files: Vec<FileBeside> = beside.files.into_iter().filter_map(in_project).collect();
    if files.len() < count {
        notes.push(format!(
            "files beside {} are left out: no file of a bundle can be called as they are",
            plugin.name
        ));
    }
    // A language's own command makes one file.
    let makes_several = plugin
        .build
        .as_ref()
        .is_some_and(|build| !build.system.makes_one_file());
    let mut made = beside.made;
    made.retain(|made| is_artifact_name(&made.file) && made.file != plugin.artifact);
    if let Some(first) = made.first().filter(|_| !makes_several) {
        notes.push(format!(
            "{} goes with {} and is to be made from what is there: a `command:` must leave both in $LOCKSTEP_OUT",
            first.file, plugin.name
        ));
        made.clear();
    }
    Beside {
        files,
        made,
        notes,
        into: beside.into.filter(|into| is_artifact_name(into)),
        ..beside
    }
}

/// Sees to it that no two plugins ship the same, and that nothing is in the way of anything else. Plugins of one directory of
/// data share it.
pub(super) fn settle(plugins: &mut [Candidate], notes: &mut Vec<String>) {
    let mut directories: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut names: BTreeSet<String> = plugins.iter().map(|plugin| plugin.placed().to_owned()).collect();
    for plugin in &mut *plugins {
        let Some(into) = plugin.beside.into.clone() else {
            continue;
        };
        let files: BTreeSet<String> = plugin.beside.files.iter().map(|file| file.file.clone()).collect();
        let is_shared = directories.get(&into).is_some_and(|others| *others == files);
        if !is_shared {
            let name = free_name(&into, &mut names);
            directories.insert(name.clone(), files);
            plugin.beside.into = Some(name);
        }
    }
    let mut taken: BTreeSet<String> = plugins.iter().map(|plugin| place(plugin, plugin.placed())).collect();
    let mut shipped: BTreeSet<FileBeside> = BTreeSet::new();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    for plugin in &mut *plugins {
        let mut beside = std::mem::take(&mut plugin.beside);
        notes.append(&mut beside.notes);
        let mut take = |file: &FileBeside, plugin: &Candidate, into: Option<&str>| {
            let place = placed(into, tree::file_name(&file.file));
            let is_free = !taken.iter().any(|other| is_in_the_way(other, &place));
            if is_free {
                taken.insert(place);
            } else if !shipped.contains(file) {
                notes.push(format!(
                    "{} of {} is left out: something else of that name is shipped, too",
                    file.file, plugin.name
                ));
            }
            shipped.insert(file.clone());
            is_free
        };
        let into = beside.into.clone();
        beside.files.retain(|file| take(file, plugin, into.as_deref()));
        beside.made.retain(|file| take(file, plugin, into.as_deref()));
        beside.asked.retain(|words| asked.insert(words.clone()));
        plugin.beside = beside;
    }
}

fn place(plugin: &Candidate, name: &str) -> String {
    placed(plugin.beside.into.as_deref(), name)
}

fn placed(into: Option<&str>, name: &str) -> String {
    match into {
        Some(into) => format!("{into}/{name}"),
        None => name.to_owned(),
    }
}

/// Whether two places cannot both be files.
fn is_in_the_way(one: &str, other: &str) -> bool {
    tree::is_within(one, other) || tree::is_within(other, one)
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;
    use crate::config::{LanguageName, Loader};

    fn plugin(name: &str, into: Option<&str>, files: &[&str]) -> Candidate {
        let artifact = format!("{name}.so");
        let mut plugin = Candidate::of(name, LanguageName::C, name, &artifact, Kind::Plugin(Loader::Dlopen));
        plugin.beside.into = into.map(str::to_owned);
        plugin.beside.files = files.iter().map(|file| FileBeside::here(*file)).collect();
        plugin
    }

    #[test]
    fn each_file_is_shipped_once_and_none_in_the_place_of_another() {
        let mut plugins = [
            plugin("a", Some("x.lv2"), &["a/manifest.ttl"]),
            plugin("b", Some("x.lv2"), &["a/manifest.ttl"]),
            plugin("c", Some("x.lv2"), &["c/manifest.ttl"]),
            plugin("d", None, &["d/a.so", "d/d.sql", "x.lv2"]),
        ];
        let mut notes = vec![];
        settle(&mut plugins, &mut notes);
        let seen: Vec<(Option<&str>, Vec<&str>)> = plugins
            .iter()
            .map(|plugin| {
                let files = plugin.beside.files.iter().map(|file| file.file.as_str());
                (plugin.beside.into.as_deref(), files.collect())
            })
            .collect();
        assert_eq!(
            seen,
            [
                (Some("x.lv2"), vec!["a/manifest.ttl"]),
                (Some("x.lv2"), vec![]),
                (Some("x.lv2-2"), vec!["c/manifest.ttl"]),
                (None, vec!["d/a.so", "d/d.sql"]),
            ]
        );
        assert!(
            matches!(&notes[..], [note] if note.starts_with("x.lv2 of d is left out")),
            "{notes:?}"
        );
    }
}
