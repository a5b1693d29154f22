//! What a root file system says of itself: which C library's loader is in it, and where that looks. Nothing in it is run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::bundle::{BundleFacts, bundle};
use super::version::newest;
use crate::check::{SystemPaths, machine_name};
use crate::facts::elf::{Elf, Machine};
use crate::facts::ld_cache::{LD_CACHE_LIMIT_BYTES, LdCache};
use crate::facts::libc::{Family, version_of};
use crate::facts::musl_path::musl_path_file;
use crate::rootfs::{FileKind, Found, RootFs};

/// The directories in which loaders are, as programs name them (`PT_INTERP`).
const LOADER_DIRECTORIES: &[&str] = &["/lib64", "/lib", "/lib32", "/libx32", "/usr/lib64", "/usr/lib"];
/// No image has more loaders.
const LOADER_LIMIT_COUNT: usize = 16;
/// `os-release(5)`: some ten lines.
const OS_RELEASE_LIMIT_BYTES: u64 = 64 * 1024;
/// `/etc/ld.so.preload`: one line, mostly none.
const PRELOAD_LIMIT_BYTES: u64 = 64 * 1024;
/// The variables by which a loader, or a runtime, is told to do something else.
const VARIABLES: &[&str] = &[
    "GLIBC_TUNABLES",
    "GODEBUG",
    "GOTRACEBACK",
    "LD_AUDIT",
    "LD_BIND_NOW",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "RUST_MIN_STACK",
];
/// Libraries beside the C library whose release decides whether plugins load.
const LIBRARIES: &[&str] = &[
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libc++.so.1",
    "libcrypto.so.3",
    "libz.so.1",
];

/// What a root file system says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootFacts {
    /// `PRETTY_NAME` of `os-release(5)`.
    pub system: Option<String>,
    /// The loaders, by the path that programs name.
    pub loaders: Vec<LoaderFacts>,
    /// `/etc/ld.so.cache`, which only glibc's loader reads.
    pub cache: Option<CacheFacts>,
    /// Directories of `/etc/ld.so.conf` of which the cache has nothing though there are libraries: `ldconfig` has not run since.
    pub not_cached: Vec<String>,
    /// What `/etc/ld.so.preload` puts into every process.
    pub preloaded: Vec<String>,
    /// Other libraries that plugins often need, with the newest versions that they have.
    pub libraries: Vec<LibraryFacts>,
    /// The variables of the image that change what a loader or a runtime does.
    pub variables: Vec<Variable>,
    /// Who an image's process runs as, as the image has it; empty means root.
    pub user: Option<String>,
    /// Where it starts.
    pub directory: Option<String>,
    /// The bundle of lockstep's that is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleFacts>,
}

/// A loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoaderFacts {
    /// Its path, as programs name it.
    pub path: String,
    /// `glibc` or `musl`.
    pub family: String,
    /// The release of its C library, by its bytes.
    pub release: Option<String>,
    /// As `uname -m` has it.
    pub machine: String,
    /// Where it looks for libraries of which nothing else is said.
    pub directories: Vec<String>,
    /// The file that changes that, if it is there; musl only.
    pub path_file: Option<String>,
}

/// The cache of glibc's loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheFacts {
    /// How many libraries it has.
    pub entries: usize,
    /// Which `ldconfig` wrote it.
    pub generator: Option<String>,
    /// Why the loader would ignore it.
    pub problem: Option<String>,
}

/// A library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibraryFacts {
    /// The name by which it is needed.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Of the versions that it defines, the newest of each kind.
    pub newest: Vec<String>,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Collects what a root file system says.
#[must_use]
pub fn inspect_root(root: &dyn RootFs) -> RootFacts {
    let loaders = loaders(root);
    let glibc = loaders.iter().find(|loader| loader.family == Family::Glibc);
    let (cache, cached) = match glibc {
        Some(loader) => cache(root, &loader.elf),
        None => (None, None),
    };
    let not_cached = match (&cached, glibc) {
        (Some(cached), Some(loader)) => not_cached(root, loader, cached),
        (None, Some(loader)) => not_cached(root, loader, &[]),
        (_, None) => vec![],
    };
    let of_cache: BTreeSet<&str> = cached
        .iter()
        .flatten()
        .filter_map(|path| Some(path.rsplit_once('/')?.0))
        .collect();
    let of_loaders = loaders.iter().flat_map(|loader| &loader.directories);
    let directories: Vec<String> = of_cache
        .into_iter()
        .chain(of_loaders.map(String::as_str))
        .map(str::to_owned)
        .collect();
    RootFacts {
        system: system(root),
        not_cached,
        cache,
        preloaded: match glibc {
            Some(_) => preloaded(root),
            None => vec![],
        },
        libraries: libraries(root, &directories),
        variables: variables(root),
        user: root.defaults().user.clone(),
        directory: root.defaults().directory.clone(),
        bundle: bundle(root),
        loaders: loaders.into_iter().map(LoaderFacts::from).collect(),
    }
}

/// A loader, and what is in it.
struct Loader {
    path: String,
    family: Family,
    elf: Arc<Elf>,
    directories: Vec<String>,
    configured: Vec<String>,
    path_file: Option<String>,
}

impl From<Loader> for LoaderFacts {
    fn from(loader: Loader) -> Self {
        Self {
            release: version_of(&loader.elf),
            machine: machine_name(loader.elf.header.machine),
            path: loader.path,
            family: loader.family.name().to_owned(),
            directories: loader.directories,
            path_file: loader.path_file,
        }
    }
}

/// The loaders; one that is reached by several paths only by the first.
fn loaders(root: &dyn RootFs) -> Vec<Loader> {
    let mut seen: Vec<(u64, u64)> = vec![];
    let mut loaders = vec![];
    for path in LOADER_DIRECTORIES.iter().flat_map(|directory| root.list(directory)) {
        let Some(family) = Family::of_interpreter(&path).filter(|_| is_loader_name(&path)) else {
            continue;
        };
        let Some(found) = file(root, &path).filter(|found| !seen.contains(&found.id)) else {
            continue;
        };
        let Some(Ok(elf)) = root.object(&found) else { continue };
        if loaders.len() == LOADER_LIMIT_COUNT {
            break;
        }
        seen.push(found.id);
        loaders.push(loader(root, path, family, elf));
    }
    loaders
}

fn loader(root: &dyn RootFs, path: String, family: Family, elf: Arc<Elf>) -> Loader {
    let machine: Machine = elf.header.machine;
    let paths = match family {
        Family::Glibc => SystemPaths::of_glibc(root, &elf, |_| true),
        Family::Musl => SystemPaths::of_musl(root, &path, machine, |_| true),
    };
    let path_file = match family {
        Family::Glibc => None,
        Family::Musl => musl_path_file(&path, machine).filter(|path| file(root, path).is_some()),
    };
    Loader {
        path,
        family,
        directories: paths.defaults,
        configured: paths.configured,
        path_file,
        elf,
    }
}

/// `ld-linux-x86-64.so.2`, `ld-musl-x86_64.so.1`; not `ld.so.conf.d`.
fn is_loader_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let number = name.rsplit_once(".so.").map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

fn file(root: &dyn RootFs, path: &str) -> Option<Found> {
    root.look(path).ok().filter(|found| found.kind == FileKind::File)
}

/// The cache, and the paths in it.
fn cache(root: &dyn RootFs, loader: &Elf) -> (Option<CacheFacts>, Option<Vec<String>>) {
    let Some(found) = file(root, "/etc/ld.so.cache") else {
        return (None, None);
    };
    let read = root
        .bytes(&found, LD_CACHE_LIMIT_BYTES)
        .map(|bytes| LdCache::read(bytes, loader.header.layout.data));
    let unusable = |problem: String| CacheFacts {
        entries: 0,
        generator: None,
        problem: Some(problem),
    };
    match read {
        None => (Some(unusable("it cannot be read".to_owned())), None),
        Some(Err(error)) => (Some(unusable(error.to_string())), None),
        Some(Ok(cache)) => {
            let paths: Vec<String> = cache.entries().map(|entry| entry.path.to_owned()).collect();
            let facts = CacheFacts {
                entries: paths.len(),
                generator: cache.generator().map(str::to_owned),
                problem: None,
            };
            (Some(facts), Some(paths))
        }
    }
}

/// Directories of the configuration that have libraries, of which the cache has none, and which the loader does not search anyway.
fn not_cached(root: &dyn RootFs, loader: &Loader, cached: &[String]) -> Vec<String> {
    let real = |directory: &str| root.look(directory).ok().map(|found| found.path);
    let cached: BTreeSet<&str> = cached
        .iter()
        .filter_map(|path| Some(path.rsplit_once('/')?.0))
        .collect();
    let cached: Vec<String> = cached.into_iter().filter_map(real).collect();
    let searched: Vec<String> = loader
        .directories
        .iter()
        .filter_map(|directory| real(directory))
        .collect();
    let is_library = |path: &String| path.ends_with(".so") || path.contains(".so.");
    loader
        .configured
        .iter()
        .filter(|directory| {
            let place = real(directory);
            let is_known = |known: &[String]| place.as_ref().is_some_and(|place| known.contains(place));
            place.is_some() && !is_known(&cached) && !is_known(&searched)
        })
        .filter(|directory| root.list(directory).iter().any(is_library))
        .cloned()
        .collect()
}

fn preloaded(root: &dyn RootFs) -> Vec<String> {
    let bytes = file(root, "/etc/ld.so.preload").and_then(|found| root.bytes(&found, PRELOAD_LIMIT_BYTES));
    let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let lines = text.as_deref().unwrap_or_default().lines();
    let words = lines
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.split([' ', '\t', ':', ',']));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn system(root: &dyn RootFs) -> Option<String> {
    let found = file(root, "/etc/os-release").or_else(|| file(root, "/usr/lib/os-release"))?;
    let bytes = root.bytes(&found, OS_RELEASE_LIMIT_BYTES)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let values: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.trim().split_once('=')).collect();
    let value = |name: &str| values.get(name).map(|value| value.trim_matches(['"', '\'']).to_owned());
    value("PRETTY_NAME").or_else(|| value("NAME")).or_else(|| value("ID"))
}

/// Where they are found first: in a directory of the cache, then in those of the loader.
fn libraries(root: &dyn RootFs, directories: &[String]) -> Vec<LibraryFacts> {
    let find = |name: &&str| {
        directories.iter().find_map(|directory| {
            let path = format!("{directory}/{name}");
            let found = file(root, &path)?;
            let Some(Ok(elf)) = root.object(&found) else {
                return None;
            };
            let definitions = elf.definitions.iter().filter(|definition| definition.flags & 1 == 0);
            Some(LibraryFacts {
                name: (*name).to_owned(),
                path,
                newest: newest(definitions.map(|definition| definition.name.as_str())),
            })
        })
    };
    LIBRARIES.iter().filter_map(find).collect()
}

fn variables(root: &dyn RootFs) -> Vec<Variable> {
    let mut variables: Vec<Variable> = root
        .defaults()
        .variables
        .iter()
        .filter(|(name, _)| VARIABLES.contains(&name.as_str()))
        .map(|(name, value)| Variable {
            name: name.clone(),
            value: value.clone(),
        })
        .collect();
    variables.sort_by(|one, other| one.name.cmp(&other.name));
    variables
}

#[cfg(test)]
mod tests {
    use super::is_loader_name;

    #[test]
    fn loaders_are_told_by_their_names() {
        for name in [
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-musl-x86_64.so.1",
            "/lib/ld.so.1",
            "/lib64/ld64.so.2",
        ] {
            assert!(is_loader_name(name), "{name}");
        }
        for name in [
            "/etc/ld.so.conf",
            "/lib/ld.so.conf.d",
            "/lib/ld-2.36.so",
            "/lib/ld-linux.so.",
        ] {
            assert!(!is_loader_name(name), "{name}");
        }
    }
}
