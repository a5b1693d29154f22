//! Which candidate is the host, which are its plugins, and what they have in common.

use std::collections::BTreeSet;

use super::asked::Asked;
use super::beside;
use super::builds::{self, ProposedBuild};
use super::go::PLUGIN_DIRECTORIES;
use super::kinds::{self, ProposedContract};
use super::known::{self, Found};
use super::recipe::{self, Recipe};
use super::targets::Targets;
use super::text::{common, free_name, project_name, unit_name};
use super::tree::{self, CPP_EXTENSIONS, Tree, is_file_name};
use super::{Candidate, Kind, candidates};
use crate::config::{Abi, BuildSystem, LanguageName, Loader, is_artifact_name};
use crate::known_hosts::{self, KnownHost, Library, SmokePlugin, SmokeTest};
use crate::printable::is_plain;

/// The package that programs and libraries in C++ run with.
const CPP_RUNTIME_PACKAGE: &str = "libstdc++6";

/// What will stand in `lockstep.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The project's name.
    pub project: String,
    /// The host.
    pub host: ProposedHost,
    /// The plugins; their names are such that a unit can have, and no two have one name.
    pub plugins: Vec<Candidate>,
    /// What is compiled once for several of them; names that no unit has.
    pub builds: Vec<ProposedBuild>,
    /// How the host loads.
    pub loader: Loader,
    /// What the two exchange.
    pub abi: Abi,
    /// What every plugin exports, or for a known host: what it looks up in every one.
    pub symbols: Vec<String>,
    /// The contracts by name, where the host takes plugins of several kinds.
    pub contracts: Vec<ProposedContract>,
    /// A smoke test, where the host is known.
    pub smoke: Option<SmokeTest>,
    /// What was recognised and is not part of it.
    pub left_out: Vec<Candidate>,
    /// What was not understood, or taken to be so, one line each.
    pub notes: Vec<String>,
}

/// The host of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedHost {
    /// It is compiled; its name is one that a unit can have.
    Compiled {
        /// How.
        host: Box<Candidate>,
        /// The images, where lockstep's own have not what it needs.
        images: Option<OwnImages>,
    },
    /// It is a package's, in an image that the recipe makes.
    Known {
        /// Which.
        host: &'static KnownHost,
        /// The runtime image.
        recipe: Recipe,
        /// What compiling its plugins needs on top of that.
        build_packages: Vec<String>,
    },
    /// It is in an image.
    Image {
        /// The unit's and the environment's name.
        name: String,
        /// The image.
        reference: String,
        /// The program.
        path: String,
        /// Where it looks for plugins, when it is known.
        install: Option<&'static str>,
    },
}

impl ProposedHost {
    /// The recipe that is written beside the file, if one is.
    #[must_use]
    pub fn recipe(&self) -> Option<&Recipe> {
        match self {
            Self::Known { recipe, .. } => Some(recipe),
            Self::Compiled { images, .. } => images.as_ref().map(|images| &images.recipe),
            Self::Image { .. } => None,
        }
    }
}

/// The images of a host that is compiled with a build system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnImages {
    /// The runtime image.
    pub recipe: Recipe,
    /// What compiling needs on top of that.
    pub build_packages: Vec<String>,
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
    /// Nothing for the host that was asked for.
    #[error("found nothing here that {host} could load")]
    NothingFor {
        /// The host.
        host: String,
    },
}

impl Unrecognised {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoHost { .. } => {
                "name the host that loads them: lockstep init --host nginx (or another known one), or --host IMAGE:/path/of/the/program"
            }
            Self::NothingFor { .. } | Self::Nothing | Self::NoPlugin { .. } => {
                "start from one of the samples, greeter or gateway, and describe your units in lockstep.yaml"
            }
        }
    }
}

/// What is looked for, for those for whom nothing was found.
pub const LOOKED_FOR: &[&str] = &[
    "Cargo.toml with a binary (a host), or with crate-type = [\"cdylib\"] or [\"dylib\"] (a plugin)",
    "go.mod, and in the module `package main` with a func main (a host), or without one or below plugins/ (a plugin)",
    "directories of C or C++ sources with a main (a host), or without one (a plugin)",
    "plugins of nginx (config), PostgreSQL (PGXS), PHP (config.m4), CPython (setup.py, PyInit_*), Apache httpd, Valkey, Lua,",
    "SQLite, GCC, PAM, NSS and LV2, by what their sources define (luaopen_*, RedisModule_OnLoad, pam_sm_*, …)",
];

/// What `lockstep.yaml` could say about `tree`; `directory` is the project directory's name, and `asked` the host that was
/// asked for.
///
/// # Errors
/// See [`Unrecognised`].
pub fn propose(tree: &Tree, directory: &str, asked: Option<&Asked>) -> Result<Proposal, Unrecognised> {
    let mut notes = Vec::new();
    let targets = Targets::of(tree);
    let mut candidates = candidates(&targets, &mut notes);
    let mut known = known::found(&targets, &candidates);
    let mut refused = Vec::new();
    candidates.retain(|candidate| is_writable(candidate, &mut refused));
    for found in &mut known {
        found.plugins.retain(|candidate| is_writable(candidate, &mut refused));
    }
    refused.sort();
    refused.dedup();
    known.retain(|found| !found.plugins.is_empty());
    notes.extend(refused.iter().cloned());
    let mut proposal = match asked {
        Some(asked) => of_asked(tree, directory, asked, candidates, known, refused),
        None => {
            let own = of_tree(tree, directory, &candidates, &notes);
            // Who loads, and has something to load, is the host, whatever else lies in the tree.
            let loads = |proposal: &Proposal| matches!(&proposal.host, ProposedHost::Compiled { host, .. } if matches!(host.kind, Kind::Host { loads: Some(_) }));
            match own {
                Ok(mut proposal) if known.is_empty() || loads(&proposal) => {
                    proposal.notes.extend(known.iter().map(also_found));
                    Ok(proposal)
                }
                Err(error) if known.is_empty() => Err(error),
                _ => of_known(tree, directory, candidates, known, refused),
            }
        }
    }?;
    // What is true of several plugins is said once.
    let mut said = BTreeSet::new();
    proposal.notes.retain(|note| said.insert(note.clone()));
    Ok(proposal)
}

fn also_found(found: &Found) -> String {
    let places: BTreeSet<&str> = found.plugins.iter().map(|plugin| plugin.source.as_str()).collect();
    let places: Vec<&str> = places.into_iter().collect();
    let host = found.host.name;
    format!(
        "plugins of {host} are here as well ({}), and no part of this: lockstep init --host {host}",
        places.join(", ")
    )
}

/// The known host with the most plugins, first in the table among equals.
fn of_known(
    tree: &Tree,
    directory: &str,
    candidates: Vec<Candidate>,
    mut known: Vec<Found>,
    mut notes: Vec<String>,
) -> Result<Proposal, Unrecognised> {
    let best = (0..known.len()).max_by_key(|index| (known[*index].plugins.len(), usize::MAX - index));
    let Some(best) = best else {
        return Err(Unrecognised::Nothing);
    };
    let Found {
        host,
        plugins,
        notes: own,
    } = known.remove(best);
    notes.extend(own);
    notes.extend(known.iter().map(also_found));
    let left_out = left_out(candidates, &plugins);
    Ok(with_known(tree, directory, host, plugins, left_out, notes))
}

/// What is recognised and lies elsewhere than the plugins.
fn left_out(candidates: Vec<Candidate>, plugins: &[Candidate]) -> Vec<Candidate> {
    let is_used = |candidate: &Candidate| {
        plugins.iter().any(|plugin| {
            plugin.build.is_some() && tree::is_within(&candidate.source, &plugin.source)
                || plugin.source == candidate.source
        })
    };
    candidates.into_iter().filter(|candidate| !is_used(candidate)).collect()
}

fn of_asked(
    tree: &Tree,
    directory: &str,
    asked: &Asked,
    candidates: Vec<Candidate>,
    known: Vec<Found>,
    mut notes: Vec<String>,
) -> Result<Proposal, Unrecognised> {
    let host = match asked {
        Asked::Known(host) => Some(*host),
        Asked::Image { known, .. } => *known,
    };
    let found = known.into_iter().find(|found| Some(found.host) == host).map(|found| {
        notes.extend(found.notes);
        found.plugins
    });
    if found.is_none() {
        notes.push(
            "nothing here says that it is for this host: the shared objects that are listed are all that was found"
                .to_owned(),
        );
    }
    // What is not seen to be this host's may be all the same: the user says so.
    let is_plugin = |candidate: &&Candidate| candidate.kind == Kind::Plugin(Loader::Dlopen);
    let plugins = found.unwrap_or_else(|| candidates.iter().filter(is_plugin).cloned().collect());
    let left_out = left_out(candidates, &plugins);
    if plugins.is_empty() {
        let host = match asked {
            Asked::Known(host) => host.name.to_owned(),
            Asked::Image { path, .. } => path.clone(),
        };
        return Err(Unrecognised::NothingFor { host });
    }
    match asked {
        Asked::Known(host) => Ok(with_known(tree, directory, host, plugins, left_out, notes)),
        Asked::Image { reference, path, known } => {
            Ok(with_image(directory, reference, path, *known, plugins, left_out, notes))
        }
    }
}

fn with_known(
    tree: &Tree,
    directory: &str,
    host: &'static KnownHost,
    plugins: Vec<Candidate>,
    left_out: Vec<Candidate>,
    mut notes: Vec<String>,
) -> Proposal {
    let mut taken = BTreeSet::from([unit_name(file_name(host.path)), host.name.to_owned()]);
    let mut plugins = all_named(plugins, &mut taken, &mut BTreeSet::new(), false, &mut notes);
    beside::settle(&mut plugins, &mut notes);
    let builds = builds::share(&mut plugins, &mut taken);
    notes.extend(host.note.map(str::to_owned));
    let smoke = smoke(host, &plugins, &mut notes);
    let libraries = libraries(tree, &plugins);
    Proposal {
        project: project_name(if directory.is_empty() { host.name } else { directory }),
        host: ProposedHost::Known {
            host,
            recipe: recipe::runtime(
                tree,
                host,
                &running(tree, &plugins, &libraries),
                smoke.as_ref().map_or(&[], |test| &test.files),
            ),
            build_packages: build_packages(tree, host, &plugins, &libraries, &mut notes),
        },
        loader: Loader::Dlopen,
        abi: Abi::C,
        symbols: shared_symbols(&plugins),
        contracts: vec![],
        builds,
        plugins,
        smoke,
        left_out,
        notes,
    }
}

fn with_image(
    directory: &str,
    reference: &str,
    path: &str,
    known: Option<&'static KnownHost>,
    plugins: Vec<Candidate>,
    left_out: Vec<Candidate>,
    mut notes: Vec<String>,
) -> Proposal {
    let name = unit_name(file_name(path));
    let mut taken = BTreeSet::from([name.clone()]);
    let mut plugins = all_named(plugins, &mut taken, &mut BTreeSet::new(), false, &mut notes);
    for plugin in &mut plugins {
        // Where an image looks for such files, it does not say.
        let files = std::mem::take(&mut plugin.beside).files;
        notes.extend(files.first().map(|file| {
            format!(
                "{} goes with {}, and where {reference} looks for it is not known: write `files:` with `install:`",
                file.file, plugin.name
            )
        }));
    }
    let builds = builds::share(&mut plugins, &mut taken);
    notes.push(format!(
        "what compiles for {reference} is Debian's here: it must go with what runs there, or an image of yours takes its place in `build:`"
    ));
    if let Some(host) = known {
        notes.push(format!(
            "compiling plugins of {} needs {}",
            host.name,
            host.build_packages.join(", ")
        ));
    }
    Proposal {
        project: project_name(if directory.is_empty() { &name } else { directory }),
        host: ProposedHost::Image {
            name,
            reference: reference.to_owned(),
            path: path.to_owned(),
            install: known.and_then(|host| host.install),
        },
        loader: Loader::Dlopen,
        abi: Abi::C,
        symbols: shared_symbols(&plugins),
        contracts: vec![],
        builds,
        plugins,
        smoke: None,
        left_out,
        notes,
    }
}

fn file_name(path: &str) -> &str {
    tree::file_name(path)
}

fn shared_symbols(plugins: &[Candidate]) -> Vec<String> {
    let exports: Vec<&[String]> = plugins.iter().map(|plugin| plugin.exports.as_slice()).collect();
    let mut symbols = common(&exports);
    symbols.sort();
    symbols.dedup();
    symbols
}

/// The host's smoke test for these plugins, whose names must not mean anything to whom they are told.
fn smoke(host: &KnownHost, plugins: &[Candidate], notes: &mut Vec<String>) -> Option<SmokeTest> {
    if let Some(plugin) = plugins.iter().find(|plugin| !is_file_name(plugin.placed())) {
        notes.push(format!(
            "no smoke test is proposed, as `{}` could not stand in a command as it is",
            plugin.placed()
        ));
        return None;
    }
    let described: Vec<SmokePlugin<'_>> = plugins
        .iter()
        .map(|plugin| SmokePlugin {
            artifact: plugin.placed(),
            entries: &plugin.exports,
            beside: &plugin.beside,
        })
        .collect();
    let test = (host.smoke)(&described);
    if test.is_none() {
        notes.push(format!(
            "no smoke test is proposed: it is not seen by what {} could be asked for these plugins",
            host.name
        ));
    }
    test
}

/// What compiling these plugins needs: what the host's need, what their languages and build systems do, and the libraries
/// that these name.
fn build_packages(
    tree: &Tree,
    host: &KnownHost,
    plugins: &[Candidate],
    libraries: &[&Library],
    notes: &mut Vec<String>,
) -> Vec<String> {
    notes.push(format!(
        "what else the sources need is not looked for: add its -dev packages to `build:` of {}",
        host.name
    ));
    let own = host.build_packages.iter().copied();
    let packages = own.chain(plugins.iter().flat_map(|plugin| tools(tree, plugin)));
    each_once(packages.chain(libraries.iter().map(|library| library.build_package)))
}

/// The packages with which a unit is compiled.
fn tools(tree: &Tree, unit: &Candidate) -> Vec<&'static str> {
    let system: &[&str] = match unit.build.as_ref().map(|build| build.system) {
        Some(BuildSystem::Make) => &["make"],
        Some(BuildSystem::Meson) => &["meson", "ninja-build", "pkg-config"],
        Some(BuildSystem::Cmake) => &["cmake", "make", "pkg-config"],
        Some(BuildSystem::Autotools) => &["make", "autoconf", "automake", "libtool", "pkg-config"],
        _ => &[],
    };
    let language: &[&str] = match unit.language {
        LanguageName::Rust => &["cargo", "gcc", "libc6-dev"],
        LanguageName::Cpp => &["g++"],
        LanguageName::Go => &["golang-go", "gcc", "libc6-dev"],
        LanguageName::C => &[],
    };
    let has = |ending: &str| {
        let mut files = tree.within(&unit.source);
        unit.build.is_some() && files.any(|(path, _)| tree::extension(path) == ending)
    };
    let generators = [("l", "flex"), ("pyx", "cython3"), ("y", "bison")];
    let generators = generators.iter().filter(|(ending, _)| has(ending));
    let generators: Vec<&str> = generators.map(|(_, package)| *package).collect();
    let looked_for = known_hosts::programs(&build_files(tree, &BTreeSet::from([unit.source.as_str()])));
    let looked_for = if unit.build.is_some() { looked_for } else { vec![] };
    [system, language, &generators, &looked_for].concat()
}

fn each_once<'a>(packages: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let packages = packages.filter(|package| seen.insert(*package));
    packages.map(str::to_owned).collect()
}

/// The libraries that build files name of what is made by a build system.
fn libraries(tree: &Tree, units: &[Candidate]) -> Vec<&'static Library> {
    let roots: BTreeSet<&str> = units
        .iter()
        .filter(|unit| unit.build.is_some())
        .map(|unit| unit.source.as_str())
        .collect();
    known_hosts::libraries(&build_files(tree, &roots))
}

/// The texts of the build files below directories.
fn build_files<'a>(tree: &'a Tree, roots: &BTreeSet<&str>) -> Vec<&'a str> {
    let is_of_build = |path: &str| {
        let name = tree::file_name(path);
        ["CMakeLists.txt", "configure.ac", "meson.build"].contains(&name) || name.starts_with("Makefile")
    };
    tree.files()
        .filter(|(path, _)| is_of_build(path) && roots.iter().any(|root| tree::is_within(path, root)))
        .map(|(_, text)| text)
        .collect()
}

/// What plugins run with beside their host: the libraries that their build files name, and that of C++.
fn running(tree: &Tree, plugins: &[Candidate], libraries: &[&Library]) -> Vec<&'static str> {
    let is_cpp = |unit: &Candidate| {
        let mut files = tree.within(&unit.source);
        let mut has_cpp = || files.any(|(path, _)| CPP_EXTENSIONS.contains(&tree::extension(path)));
        unit.language == LanguageName::Cpp || unit.build.is_some() && has_cpp()
    };
    let of_cpp = plugins.iter().any(is_cpp).then_some(CPP_RUNTIME_PACKAGE);
    let of_libraries = libraries.iter().map(|library| library.runtime_package);
    of_libraries.chain(of_cpp).collect()
}

/// The images of a tree that a build system makes, which lockstep's own have not.
fn own_images(tree: &Tree, host: &Candidate, plugins: &[Candidate], notes: &mut Vec<String>) -> Option<OwnImages> {
    let is_c = |unit: &Candidate| matches!(unit.language, LanguageName::C | LanguageName::Cpp);
    let is_made = |unit: &&Candidate| unit.build.is_some() && is_c(unit);
    let units: Vec<Candidate> = plugins.iter().chain([host]).filter(is_made).cloned().collect();
    if units.is_empty() || !plugins.iter().chain([host]).all(is_c) {
        return None;
    }
    let libraries = libraries(tree, &units);
    notes.push(
        "what else the sources need is not looked for: add its -dev packages to `build:`, and what it runs with to the recipe"
            .to_owned(),
    );
    let compilers = ["gcc", "libc6-dev"].into_iter();
    let packages = compilers.chain(units.iter().flat_map(|unit| tools(tree, unit)));
    Some(OwnImages {
        recipe: recipe::runtime_of_own(tree, &running(tree, &[], &libraries)),
        build_packages: each_once(packages.chain(libraries.iter().map(|library| library.build_package))),
    })
}

/// Whether a candidate can stand in `lockstep.yaml` as it is; a line says why not.
fn is_writable(candidate: &Candidate, notes: &mut Vec<String>) -> bool {
    let is_path = |path: &String| path.chars().all(is_plain);
    let has_paths = is_path(&candidate.source) && candidate.inputs.iter().all(is_path);
    let has_package = candidate.package.as_ref().is_none_or(|package| {
        !package.contains(char::is_whitespace) && !package.contains("...") && package.chars().all(is_plain)
    });
    let problem = if !is_artifact_name(&candidate.artifact) || !is_artifact_name(candidate.placed()) {
        format!(
            "no file of a bundle can be called `{}`",
            candidate.artifact.escape_debug()
        )
    } else if !has_paths || !has_package {
        "its path has characters that lockstep.yaml does not take".to_owned()
    } else {
        return true;
    };
    notes.push(format!("{} is left out: {problem}", candidate.place().escape_debug()));
    false
}

/// The project whose host is in the tree as well.
fn of_tree(tree: &Tree, directory: &str, candidates: &[Candidate], notes: &[String]) -> Result<Proposal, Unrecognised> {
    let mut notes = notes.to_vec();
    let is_host = |candidate: &&Candidate| matches!(candidate.kind, Kind::Host { .. });
    let (hosts, plugins): (Vec<&Candidate>, Vec<&Candidate>) = candidates.iter().partition(is_host);
    let places = |of: &[&Candidate]| of.iter().map(|candidate| candidate.place()).collect();
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
    // What the host's own build makes as well is not looked at as something else.
    let is_of_build =
        |other: &Candidate| host.build.is_some() && other.build == host.build && other.source == host.source;
    let left_out = hosts
        .into_iter()
        .filter(|other| **other != host && !is_of_build(other))
        .chain(others)
        .cloned()
        .collect();
    let mut taken = BTreeSet::new();
    let mut host = named(&host, &mut taken);
    let mut files = BTreeSet::from([host.artifact.clone()]);
    let mut plugins = all_named(
        plugins.into_iter().cloned().collect(),
        &mut taken,
        &mut files,
        true,
        &mut notes,
    );
    if plugins.is_empty() {
        return Err(Unrecognised::NoPlugin {
            hosts: vec![host.place()],
        });
    }
    let exports: Vec<&[String]> = plugins.iter().map(|plugin| plugin.exports.as_slice()).collect();
    let mut symbols = common(&exports);
    let looked_up = kinds::looked_up(tree, &host, &plugins);
    // What the host does not ask for, no other plugin needs to have; and what a build hides, none has.
    if host.build.is_some() || symbols.iter().any(|symbol| looked_up.contains(symbol)) {
        symbols.retain(|symbol| looked_up.contains(symbol));
    }
    beside::settle(&mut plugins, &mut notes);
    let images = own_images(tree, &host, &plugins, &mut notes);
    let builds = builds::share(std::iter::once(&mut host).chain(&mut plugins), &mut taken);
    let contracts = kinds::tell_apart(tree, &host, &mut plugins);
    if contracts.is_empty() {
        notes.extend(perhaps_kinds(&plugins));
    }
    Ok(Proposal {
        project: project_name(if directory.is_empty() { &host.name } else { directory }),
        abi: abi(loader, &host, &plugins),
        host: ProposedHost::Compiled {
            host: Box::new(host),
            images,
        },
        plugins,
        loader,
        symbols,
        contracts,
        builds,
        smoke: None,
        left_out,
        notes,
    })
}

/// What several directories for plugins may mean; what the host makes of them, its sources do not tell.
fn perhaps_kinds(plugins: &[Candidate]) -> Option<String> {
    let is_for_plugins = |directory: &str| directory.split('/').any(|part| PLUGIN_DIRECTORIES.contains(&part));
    let places: Vec<String> = plugins.iter().map(Candidate::place).collect();
    let directories: BTreeSet<&str> = places
        .iter()
        .filter_map(|place| place.rsplit_once('/'))
        .map(|(directory, _)| directory)
        .filter(|directory| is_for_plugins(directory))
        .collect();
    let directories: Vec<&str> = directories.into_iter().collect();
    (directories.len() > 1).then(|| {
        format!(
            "plugins lie in {}: if the host takes them for kinds of their own, write a contract for each below \
             `contracts:`, and in `into:` where it looks for them",
            directories.join(" and ")
        )
    })
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
    let place = host.place();
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

/// All under names that are allowed and still free, without those whose file another one has already.
fn all_named(
    candidates: Vec<Candidate>,
    taken: &mut BTreeSet<String>,
    files: &mut BTreeSet<String>,
    renames: bool,
    notes: &mut Vec<String>,
) -> Vec<Candidate> {
    let mut all = Vec::new();
    for original in candidates {
        let mut candidate = named(&original, taken);
        // A host that is there already looks for the names that it looks for.
        if !renames || !files.contains(&original.artifact) {
            candidate.artifact = original.artifact;
        }
        if files.insert(candidate.artifact.clone()) {
            all.push(candidate);
        } else {
            notes.push(format!(
                "{} is left out: another unit yields a {}, too",
                candidate.place(),
                candidate.artifact
            ));
        }
    }
    all
}

/// The candidate under a name that is allowed and still free.
fn named(candidate: &Candidate, taken: &mut BTreeSet<String>) -> Candidate {
    let base = unit_name(&candidate.name);
    let name = free_name(&base, taken);
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
        // A command says the name as well.
        _ if candidate.build.is_some() || candidate.command.is_some() => candidate.artifact.clone(),
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

    fn compiled(proposal: &Proposal) -> &Candidate {
        match &proposal.host {
            ProposedHost::Compiled { host, .. } => host,
            other => panic!("{other:?} is not compiled"),
        }
    }

    #[test]
    fn what_loads_is_the_host_and_other_programs_are_left_out() {
        let tree = Tree::of(&[HOST, PLUGIN, ("tool/main.c", "int main(void) { return 0; }\n")]);
        let proposal = propose(&tree, "My Project", None).unwrap();
        assert_eq!(
            (proposal.project.as_str(), compiled(&proposal).name.as_str()),
            ("my-project", "host")
        );
        assert_eq!((proposal.loader, proposal.abi), (Loader::Dlopen, Abi::C));
        assert_eq!(proposal.symbols, ["run"]);
        assert_eq!(proposal.left_out.len(), 1);
    }

    #[test]
    fn half_a_project_is_none() {
        assert_eq!(
            propose(&Tree::of(&[("README.md", "")]), "x", None),
            Err(Unrecognised::Nothing)
        );
        let lonely = propose(&Tree::of(&[HOST]), "x", None).unwrap_err();
        assert_eq!(
            lonely,
            Unrecognised::NoPlugin {
                hosts: vec!["host".to_owned()]
            }
        );
        let plugins = propose(&Tree::of(&[PLUGIN]), "x", None).unwrap_err();
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
        let proposal = propose(&tree, "x", None).unwrap();
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
        let proposal = propose(&tree, "gateway", None).unwrap();
        assert_eq!(
            (proposal.loader, proposal.abi, proposal.plugins.len()),
            (Loader::Go, Abi::Go, 1)
        );
        assert_eq!(proposal.left_out.len(), 2);
    }

    #[test]
    fn directories_that_may_be_kinds_are_named() {
        let notes = |second: &'static str| {
            let tree = Tree::of(&[
                ("go.mod", "module example.com/gateway\n"),
                (
                    "cmd/gateway/main.go",
                    "package main\n\nimport \"plugin\"\n\nfunc main() {}\n",
                ),
                ("handlers/one/one.go", "package main\n\nfunc New() {}\n"),
                (second, "package main\n\nfunc New() {}\n"),
            ]);
            let proposal = propose(&tree, "gateway", None).unwrap();
            assert_eq!(proposal.plugins.len(), 2);
            proposal.notes
        };
        assert_eq!(notes("handlers/two/two.go"), [""; 0]);
        let told = notes("middlewares/two/two.go");
        assert!(
            matches!(&told[..], [note] if note.starts_with("plugins lie in handlers and middlewares: ")),
            "{told:?}"
        );
    }
}
