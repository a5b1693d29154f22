//! Packages: what differs between two lists of them, and which files that explains.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{CompareError, Side};
use crate::facts::package_files::{
    APK_DATABASES, DPKG_LIST_END, DPKG_LISTS_DIRECTORY, apk_paths, dpkg_package, dpkg_paths,
};
use crate::image::labelled_packages;
use crate::image::packages::{PACKAGE_LIST_LIMIT_BYTES, PACKAGE_LISTS};
use crate::lock::Package;

/// What dpkg keeps of all packages together, and apk beside its database: it changes with every package.
const DATABASES: &[&[u8]] = &[
    b"var/lib/dpkg/available",
    b"var/lib/dpkg/status",
    b"var/lib/dpkg/status-old",
    b"etc/apk/world",
    b"lib/apk/db/installed",
    b"lib/apk/db/scripts.tar",
    b"lib/apk/db/scripts.tar.gz",
    b"lib/apk/db/triggers",
    b"usr/lib/apk/db/installed",
    b"usr/lib/apk/db/scripts.tar",
    b"usr/lib/apk/db/scripts.tar.gz",
    b"usr/lib/apk/db/triggers",
];

/// A package that only one has, or in another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageDifference {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// The version that the one has, with its hash if that is all that differs; none if it has none.
    pub a: Option<String>,
    /// The version that the other one has.
    pub b: Option<String>,
}

/// The paths of files that belong to packages which differ.
#[derive(Debug, Default)]
pub(super) struct Files {
    paths: BTreeSet<Vec<u8>>,
}

impl Files {
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
    }
}

/// Compares the lists that two images carry, or else those that their distributions keep.
pub(super) fn differences(a: Side<'_>, b: Side<'_>) -> Result<Vec<PackageDifference>, CompareError> {
    let (one, other) = match (labelled(a), labelled(b)) {
        // Such a list has packages that were removed again; it can be compared with another such list alone.
        (Some(one), Some(other)) => (one, other),
        _ => (installed(a)?, installed(b)?),
    };
    let (one, other) = (by_name(one), by_name(other));
    let mut names: Vec<&(String, String)> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    let different = names.into_iter().filter_map(|key| {
        let (one, other) = (one.get(key), other.get(key));
        let are_same = match (one, other) {
            (Some(one), Some(other)) => is_same(one, other),
            _ => false,
        };
        let has_versions = versions(one) != versions(other);
        let told = if has_versions { versions } else { hashes };
        (!are_same).then(|| PackageDifference {
            name: key.0.clone(),
            architecture: key.1.clone(),
            a: told(one),
            b: told(other),
        })
    });
    Ok(different.collect())
}

/// The files of the packages that differ, in either.
pub(super) fn files(different: &[PackageDifference], a: Side<'_>, b: Side<'_>) -> Result<Files, CompareError> {
    let mut files = Files::default();
    if different.is_empty() {
        return Ok(files);
    }
    let names: BTreeSet<&[u8]> = different.iter().map(|package| package.name.as_bytes()).collect();
    files.paths.extend(DATABASES.iter().map(|path| path.to_vec()));
    for side in [a, b] {
        let lists = &DPKG_LISTS_DIRECTORY[1..];
        let own = side.contents.iter().map(|(path, _)| path);
        let own = own.filter(|path| {
            path.strip_prefix(lists.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"/"))
        });
        for path in own {
            let text = String::from_utf8_lossy(path);
            let stem = text.rsplit_once('.').map(|(stem, _)| format!("{stem}{DPKG_LIST_END}"));
            let package = stem.as_deref().and_then(dpkg_package);
            if !package.is_some_and(|package| names.contains(package.as_bytes())) {
                continue;
            }
            files.paths.insert(path.to_vec());
            if text.ends_with(DPKG_LIST_END) {
                let list = side.contents.read(path, PACKAGE_LIST_LIMIT_BYTES);
                let list = list.map_err(side.failed(path))?;
                let placed = dpkg_paths(&list).map(|path| side.contents.placed(path));
                files.paths.extend(placed);
            }
        }
        for database in APK_DATABASES.map(|path| &path.as_bytes()[1..]) {
            let text = side.contents.read(database, PACKAGE_LIST_LIMIT_BYTES);
            let text = text.map_err(side.failed(database))?;
            let of_packages = apk_paths(&text).filter(|(package, _)| names.contains(package));
            files
                .paths
                .extend(of_packages.map(|(_, path)| side.contents.placed(&path)));
        }
    }
    Ok(files)
}

/// The list that lockstep puts into the images that it assembles.
fn labelled(side: Side<'_>) -> Option<Vec<Package>> {
    #[derive(Deserialize)]
    struct Config {
        config: Defaults,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Defaults {
        labels: BTreeMap<String, String>,
    }
    let config: Config = serde_json::from_slice(side.contents.config.as_deref()?).ok()?;
    labelled_packages(&config.config.labels)
}

fn installed(side: Side<'_>) -> Result<Vec<Package>, CompareError> {
    for (path, parse) in PACKAGE_LISTS {
        let path = side.contents.placed(&path.as_bytes()[1..]);
        if side.contents.get(&path).is_some() {
            let text = side.contents.read(&path, PACKAGE_LIST_LIMIT_BYTES);
            let text = text.map_err(side.failed(&path))?;
            return Ok(parse(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(vec![])
}

/// An image can have two versions of a package.
fn by_name(packages: Vec<Package>) -> BTreeMap<(String, String), Vec<Package>> {
    let mut named: BTreeMap<(String, String), Vec<Package>> = BTreeMap::new();
    for package in packages {
        let key = (package.name.clone(), package.architecture.clone());
        named.entry(key).or_default().push(package);
    }
    named
}

/// Whether they are the same, as far as both tell.
fn is_same(one: &[Package], other: &[Package]) -> bool {
    let is_known = |package: &Package| package.hash != "-";
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            let has_hashes = is_known(one) && is_known(other);
            one.version == other.version && (!has_hashes || one.hash == other.hash)
        })
}

fn versions(packages: Option<&Vec<Package>>) -> Option<String> {
    let versions = packages?.iter().map(|package| package.version.as_str());
    Some(versions.collect::<Vec<_>>().join(", "))
}

fn hashes(packages: Option<&Vec<Package>>) -> Option<String> {
    let lines = packages?
        .iter()
        .map(|package| format!("{} ({})", package.version, package.hash));
    Some(lines.collect::<Vec<_>>().join(", "))
}
