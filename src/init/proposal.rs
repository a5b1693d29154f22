//! Which candidate is the host, which are its plugins, and what they have in common.

use std::collections::BTreeSet;

use super::text::{common, unit_name};
use super::tree::{self, Tree};
use super::{Candidate, Kind, candidates};
use crate::config::{Abi, LanguageName, Loader};

/// What will stand in `lockstep.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The project's name.
    pub project: String,
    /// The host; its name is one that a unit can have.
    pub host: Candidate,
    /// The plugins; the same, and no two have one name.
    pub plugins: Vec<Candidate>,
    /// How the host loads.
    pub loader: Loader,
    /// What the two exchange.
    pub abi: Abi,
    /// What every plugin exports.
    pub symbols: Vec<String>,
    /// What was recognised and is not part of it.
    pub left_out: Vec<Candidate>,
}

/// Why there is nothing to propose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognised {
    /// Nothing that could be compiled to a host or a plugin.
    #[error("found nothing here that could be a host or a plugin")]
    Nothing,
    /// Shared objects, and nobody who loads them.
    #[error("found {} that could be plugins ({}), but no host", .plugins.len(), .plugins.join(", "))]
    NoHost {
        /// Where they are.
        plugins: Vec<String>,
    },
    /// A program, and nothing for it to load.
    #[error("found {} that could be a host ({}), but no plugin for it", .hosts.len(), .hosts.join(", "))]
    NoPlugin {
        /// Where they are.
        hosts: Vec<String>,
    },
}

/// What is looked for, for those for whom nothing was found.
pub const LOOKED_FOR: &[&str] = &[
    "Cargo.toml with a binary (a host), or with crate-type = [\"cdylib\"] (a plugin)",
    "go.mod, and in the module `package main` with a func main (a host), or without one or below plugins/ (a plugin)",
    "directories of C or C++ sources with a main (a host), or without one (a plugin)",
];

/// What `lockstep.yaml` could say about `tree`; `directory` is the project directory's name.
///
/// # Errors
/// See [`Unrecognised`].
pub fn propose(tree: &Tree, directory: &str) -> Result<Proposal, Unrecognised> {
    let candidates = candidates(tree);
    let is_host = |candidate: &&Candidate| matches!(candidate.kind, Kind::Host { .. });
    let (hosts, plugins): (Vec<&Candidate>, Vec<&Candidate>) = candidates.iter().partition(is_host);
    let places = |of: &[&Candidate]| of.iter().map(|candidate| place(candidate)).collect();
    // The first of the best: candidates come in the order of their paths.
    let best = hosts
        .iter()
        .enumerate()
        .max_by_key(|(index, host)| (likelihood(host, &plugins), usize::MAX - index));
    let host = match best {
        Some((_, host)) => (*host).clone(),
        None if plugins.is_empty() => return Err(Unrecognised::Nothing),
        None => {
            return Err(Unrecognised::NoHost {
                plugins: places(&plugins),
            });
        }
    };
    let loader = loader_of(&host);
    // A Go host opens only plugins of its own module.
    let fits = |plugin: &&Candidate| {
        plugin.kind == Kind::Plugin(loader) && (loader != Loader::Go || plugin.source == host.source)
    };
    let (plugins, others): (Vec<&Candidate>, Vec<&Candidate>) = plugins.into_iter().partition(fits);
    if plugins.is_empty() {
        return Err(Unrecognised::NoPlugin { hosts: places(&hosts) });
    }
    let left_out = hosts
        .into_iter()
        .filter(|other| **other != host)
        .chain(others)
        .cloned()
        .collect();
    let exports: Vec<&[String]> = plugins.iter().map(|plugin| plugin.exports.as_slice()).collect();
    let symbols = common(&exports);
    let mut taken = BTreeSet::new();
    let host = named(&host, &mut taken);
    let plugins: Vec<Candidate> = plugins.into_iter().map(|plugin| named(plugin, &mut taken)).collect();
    Ok(Proposal {
        project: if directory.is_empty() {
            host.name.clone()
        } else {
            unit_name(directory)
        },
        abi: abi(loader, &host, &plugins),
        host,
        plugins,
        loader,
        symbols,
        left_out,
    })
}

/// Where a candidate is: its directory, or its Go package.
#[must_use]
pub fn place(candidate: &Candidate) -> String {
    match &candidate.package {
        Some(package) if package != "." => tree::join(&candidate.source, package).unwrap_or_default(),
        _ => candidate.source.clone(),
    }
}

/// How a host loads: as its sources tell, else as its language does.
fn loader_of(host: &Candidate) -> Loader {
    match host.kind {
        Kind::Host { loads: Some(loader) } => loader,
        _ if host.language == LanguageName::Go => Loader::Go,
        _ => Loader::Dlopen,
    }
}

/// How likely it is that a program is the one that loads: what its sources say counts more than where it lies.
fn likelihood(host: &Candidate, plugins: &[&Candidate]) -> u32 {
    let loads = matches!(host.kind, Kind::Host { loads: Some(_) });
    let has_plugins = plugins
        .iter()
        .any(|plugin| plugin.kind == Kind::Plugin(loader_of(host)));
    let place = place(host);
    let is_named_so = place
        .split('/')
        .chain([host.name.as_str()])
        .any(|part| ["app", "host", "server"].contains(&part));
    let is_at_the_top = place == ".";
    u32::from(loads) * 8 + u32::from(has_plugins) * 4 + u32::from(is_named_so) * 2 + u32::from(is_at_the_top)
}

fn abi(loader: Loader, host: &Candidate, plugins: &[Candidate]) -> Abi {
    let all =
        |language: LanguageName| host.language == language && plugins.iter().all(|unit| unit.language == language);
    let exports_nothing = plugins.iter().all(|plugin| plugin.exports.is_empty());
    match loader {
        Loader::Go => Abi::Go,
        Loader::Dlopen if exports_nothing && all(LanguageName::Rust) => Abi::Rust,
        Loader::Dlopen if exports_nothing && all(LanguageName::Cpp) => Abi::Cxx,
        Loader::Dlopen => Abi::C,
    }
}

/// The candidate under a name that is allowed and still free.
fn named(candidate: &Candidate, taken: &mut BTreeSet<String>) -> Candidate {
    let mut name = unit_name(&candidate.name);
    let base = name.clone();
    // There are fewer candidates than numbers to try, so one is free.
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    // Two units of one name in different directories yield files of one name, too, and they meet in one directory.
    let artifact = if name == base {
        candidate.artifact.clone()
    } else {
        renamed(candidate, &name)
    };
    Candidate {
        name,
        artifact,
        ..candidate.clone()
    }
}

/// The artifact after its unit's name, where the language lets lockstep choose; cargo does not.
fn renamed(candidate: &Candidate, name: &str) -> String {
    match (candidate.language, candidate.kind) {
        (LanguageName::Rust, _) => candidate.artifact.clone(),
        (_, Kind::Host { .. }) => name.to_owned(),
        (_, Kind::Plugin(_)) => format!("{name}.so"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: (&str, &str) = ("host/main.c", "int main(void) { dlopen(0, 0); }\n");
    const PLUGIN: (&str, &str) = ("plugins/a/a.c", "int run(void) { return 1; }\n");

    #[test]
    fn what_loads_is_the_host_and_other_programs_are_left_out() {
        let tree = Tree::of(&[HOST, PLUGIN, ("tool/main.c", "int main(void) { return 0; }\n")]);
        let proposal = propose(&tree, "My Project").unwrap();
        assert_eq!(
            (proposal.project.as_str(), proposal.host.name.as_str()),
            ("my-project", "host")
        );
        assert_eq!((proposal.loader, proposal.abi), (Loader::Dlopen, Abi::C));
        assert_eq!(proposal.symbols, ["run"]);
        assert_eq!(proposal.left_out.len(), 1);
    }

    #[test]
    fn half_a_project_is_none() {
        assert_eq!(
            propose(&Tree::of(&[("README.md", "")]), "x"),
            Err(Unrecognised::Nothing)
        );
        let lonely = propose(&Tree::of(&[HOST]), "x").unwrap_err();
        assert_eq!(
            lonely,
            Unrecognised::NoPlugin {
                hosts: vec!["host".to_owned()]
            }
        );
        let plugins = propose(&Tree::of(&[PLUGIN]), "x").unwrap_err();
        assert_eq!(
            plugins,
            Unrecognised::NoHost {
                plugins: vec!["plugins/a".to_owned()]
            }
        );
    }

    #[test]
    fn units_of_one_name_are_told_apart() {
        let tree = Tree::of(&[HOST, PLUGIN, ("more/a/a.c", "int run(void) { return 2; }\n")]);
        let proposal = propose(&tree, "x").unwrap();
        let seen: Vec<(&str, &str)> = proposal
            .plugins
            .iter()
            .map(|plugin| (plugin.name.as_str(), plugin.artifact.as_str()))
            .collect();
        assert_eq!(seen, [("a", "a.so"), ("a-2", "a-2.so")]);
    }

    #[test]
    fn a_go_host_takes_only_plugins_of_its_module() {
        let tree = Tree::of(&[
            ("go.mod", "module example.com/gateway\n"),
            ("main.go", "package main\n\nimport \"plugin\"\n\nfunc main() {}\n"),
            ("plugins/match/match.go", "package main\n\nfunc New() {}\n"),
            ("other/go.mod", "module other\n"),
            ("other/plugins/x/x.go", "package main\n\nfunc New() {}\n"),
            ("native/x.c", "int run(void) { return 1; }\n"),
        ]);
        let proposal = propose(&tree, "gateway").unwrap();
        assert_eq!(
            (proposal.loader, proposal.abi, proposal.plugins.len()),
            (Loader::Go, Abi::Go, 1)
        );
        assert_eq!(proposal.left_out.len(), 2);
    }
}
