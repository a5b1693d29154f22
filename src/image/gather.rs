//! Packages that a lock names, had again by their hashes: from the user's cache, from the archives that the project names,
//! and from the mirrors, in this order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::apt::{Apt, BY_HASH_OPTIONS};
use super::cache::{ImageCache, failed};
use super::error::ImageError;
use super::machine::Machine;
use super::package_archive::PackageArchive;
use super::package_list::file_name;
use super::tried::Tried;
use crate::digest::Digest;
use crate::lock::Package;
use crate::regular_file;

/// Gathers packages.
pub struct Gathering<'a> {
    /// Whose mirrors are asked last.
    pub machine: &'a Machine,
    /// Where packages are kept, and where what was found elsewhere is put.
    pub cache: &'a ImageCache,
    /// Where else they may be, in this order.
    pub archives: &'a [PackageArchive],
    /// Whether only this machine is asked.
    pub offline: bool,
    /// The release that they are of.
    pub suite: &'a str,
    /// Ends the work early.
    pub cancel: &'a CancellationToken,
    /// Takes what is being done, in a few words.
    pub progress: &'a (dyn Fn(String) + Sync),
}

/// A package whose file is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPackage {
    /// As the lock has it.
    pub package: Package,
    /// The hash of its file.
    pub digest: Digest,
    /// The file.
    pub path: PathBuf,
}

impl KeptPackage {
    /// What apt calls its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        name_of(&self.package)
    }
}

/// Packages by the hashes of their files.
type ByHash<'p> = BTreeMap<Digest, &'p Package>;

/// What was found of what is looked for.
struct Search<'a> {
    cache: &'a ImageCache,
    missing: ByHash<'a>,
    found: Vec<KeptPackage>,
}

impl Search<'_> {
    /// Finds what has come into the cache.
    fn look(&mut self) {
        let (cache, found) = (self.cache, &mut self.found);
        self.missing.retain(|digest, package| match cache.package(*digest) {
            Some(path) => {
                found.push(KeptPackage {
                    package: (*package).clone(),
                    digest: *digest,
                    path,
                });
                false
            }
            None => true,
        });
    }
}

impl Gathering<'_> {
    /// Every package of the list that has a hash; one without was made by the recipe itself.
    ///
    /// # Errors
    /// [`ImageError::Missing`] when one is nowhere; when the cache cannot be written, and when cancelled.
    pub fn gather<'p>(&self, packages: &'p [Package]) -> Result<Vec<KeptPackage>, ImageError> {
        let with_hash = |package: &'p Package| Some((package.hash.parse().ok()?, package));
        let mut search = Search {
            cache: self.cache,
            missing: packages.iter().filter_map(with_hash).collect(),
            found: vec![],
        };
        search.look();
        let mut tried = vec![Tried {
            place: "the user's cache".to_owned(),
            why: None,
        }];
        for archive in self.archives {
            if let PackageArchive::Directory(directory) = archive
                && !search.missing.is_empty()
            {
                let why = (!directory.is_dir()).then(|| "no such directory".to_owned());
                self.take_from_directory(directory, &search.missing)?;
                search.look();
                let place = archive.to_string();
                tried.push(Tried { place, why });
            }
        }
        if self.offline && !search.missing.is_empty() {
            tried.push(Tried {
                place: "the network".to_owned(),
                why: Some("not asked: --offline".to_owned()),
            });
        } else if !search.missing.is_empty() {
            tried.extend(self.take_from_addresses(&search.missing)?);
            search.look();
        }
        let Search { missing, mut found, .. } = search;
        if !missing.is_empty() {
            let total = found.len() + missing.len();
            let mut missing: Vec<Package> = missing.into_values().cloned().collect();
            missing.sort();
            return Err(ImageError::Missing { missing, total, tried });
        }
        found.sort_by(|left, right| left.package.cmp(&right.package));
        Ok(found)
    }

    fn take_from_directory(&self, directory: &Path, wanted: &ByHash<'_>) -> Result<(), ImageError> {
        for (digest, package) in wanted {
            if self.cancel.is_cancelled() {
                return Err(ImageError::Cancelled);
            }
            let path = directory.join(kept_place(*digest, package));
            if let Ok(file) = regular_file::open(&path) {
                self.keep(*digest, package, file)?;
            }
        }
        Ok(())
    }

    /// Asks the archives that have an address, and the mirrors.
    fn take_from_addresses(&self, wanted: &ByHash<'_>) -> Result<Vec<Tried>, ImageError> {
        let mut tried: Vec<Tried> = Vec::new();
        let mut note = |place: String, why| tried.push(Tried { place, why });
        let mut sources = String::new();
        for archive in self.archives {
            if let Some(line) = archive.source(self.suite) {
                sources.push_str(&line);
                note(archive.to_string(), None);
            }
        }
        match self.machine.debian() {
            Ok(mirrors) => {
                sources.push_str(&mirrors.sources_list(self.suite, BY_HASH_OPTIONS));
                note(mirrors.archive, None);
            }
            Err(_) => note(
                "the mirror".to_owned(),
                Some("this machine's apt names none".to_owned()),
            ),
        }
        if !self.machine.has_program("apt-get") {
            tried.iter_mut().for_each(|tried| {
                tried.why.get_or_insert_with(|| "apt is not installed here".to_owned());
            });
            return Ok(tried);
        }
        (self.progress)(format!("looking for {} packages", wanted.len()));
        let work = self.cache.work_directory()?;
        let apt = Apt::new(self.machine, self.cancel, &work.path().join("apt"), &sources)?;
        let complaints = apt.update()?;
        let mut places = apt.find(&wanted.keys().copied().collect::<BTreeSet<_>>())?;
        let elsewhere: ByHash<'_> = wanted
            .iter()
            .filter(|(digest, _)| !places.contains_key(digest))
            .map(|(digest, package)| (*digest, *package))
            .collect();
        let downloads = work.path().join("downloads");
        fs::create_dir(&downloads).map_err(failed("make the directory", &downloads))?;
        self.download(&apt, &places, &downloads, wanted)?;
        for archive in self.archives {
            if let PackageArchive::Address { address, .. } = archive {
                places = elsewhere
                    .iter()
                    .map(|(digest, package)| (*digest, address_of(address, *digest, package)))
                    .filter(|(digest, _)| self.cache.package(*digest).is_none())
                    .collect();
                self.download(&apt, &places, &downloads, wanted)?;
            }
        }
        for tried in &mut tried {
            let complaint = complaints.iter().find(|complaint| complaint.contains(&tried.place));
            tried.why = tried.why.take().or_else(|| complaint.cloned());
        }
        Ok(tried)
    }

    fn download(
        &self,
        apt: &Apt<'_>,
        places: &BTreeMap<Digest, String>,
        to: &Path,
        wanted: &ByHash<'_>,
    ) -> Result<(), ImageError> {
        if places.is_empty() {
            return Ok(());
        }
        (self.progress)(format!("downloading {} packages", places.len()));
        apt.download(places, to)?;
        for digest in places.keys() {
            if let (Ok(file), Some(package)) = (regular_file::open_itself(&to.join(digest.hex())), wanted.get(digest)) {
                self.keep(*digest, package, file)?;
            }
        }
        Ok(())
    }

    /// Puts a file into the cache, if it is the package.
    fn keep(&self, digest: Digest, package: &Package, file: File) -> Result<(), ImageError> {
        let path = self.cache.packages_directory();
        self.cache
            .keep_package(&name_of(package), digest, file)
            .map_err(failed("write into", &path))
    }
}

/// Where a package lies in a directory of kept ones.
fn kept_place(digest: Digest, package: &Package) -> String {
    format!("{}/{}", digest.hex(), name_of(package))
}

/// The same below an address, where `%` means something.
fn address_of(address: &str, digest: Digest, package: &Package) -> String {
    let place = kept_place(digest, package).replace('%', "%25");
    format!("{}/{place}", address.trim_end_matches('/'))
}

fn name_of(package: &Package) -> String {
    file_name(&package.name, &package.version, &package.architecture)
}

/// Copies packages into a directory from which they can be had again (`archives:`); how many were not there yet.
///
/// # Errors
/// When one cannot be read or written.
pub fn keep_in_directory(packages: &[KeptPackage], directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for kept in packages {
        let path = directory.join(kept_place(kept.digest, &kept.package));
        let is_there = regular_file::open_itself(&path)
            .and_then(Digest::of_reader)
            .is_ok_and(|digest| digest == kept.digest);
        if is_there {
            continue;
        }
        let below = path.parent().unwrap_or(directory);
        fs::create_dir_all(below)?;
        let mut file = tempfile::NamedTempFile::new_in(below)?;
        io::copy(&mut regular_file::open_itself(&kept.path)?, &mut file)?;
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
        file.as_file().set_permissions(mode)?;
        file.persist(&path)?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(text: &str, content: &[u8]) -> Package {
        format!("{text} {}", Digest::of(content)).parse().unwrap()
    }

    #[test]
    fn what_is_kept_is_had_again_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (cache, kept) = (ImageCache::below(&at("cache")), at("kept"));
        let packages = [
            package("one 1:2-3 all", b"1"),
            package("two 2 amd64", b"2"),
            "own 1 all -".parse().unwrap(),
        ];
        let machine = Machine::without_mirrors(directory.path());
        let archives = [PackageArchive::Directory(kept.clone())];
        let gathering = Gathering {
            machine: &machine,
            cache: &cache,
            archives: &archives,
            offline: false,
            suite: "trixie",
            cancel: &CancellationToken::new(),
            progress: &|_| {},
        };
        let ImageError::Missing { missing, total, tried } = gathering.gather(&packages).unwrap_err() else {
            panic!("packages were found that are nowhere")
        };
        assert_eq!((missing.as_slice(), total), (&packages[..2], 2));
        let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
        let last = "the mirror: this machine's apt names none";
        let (no_directory, first) = (
            format!("{}: no such directory", kept.display()),
            "the user's cache: does not have them",
        );
        assert_eq!(tried, [first, &no_directory, last]);
        // As `lock --keep` writes it, from a machine that has them.
        let elsewhere = ImageCache::below(&at("elsewhere"));
        for (package, content) in packages.iter().zip([b"1", b"2"]) {
            elsewhere.insert_package(&name_of(package), &mut &content[..]).unwrap();
        }
        let there = Gathering {
            cache: &elsewhere,
            archives: &[],
            ..gathering
        };
        let gathered = there.gather(&packages).unwrap();
        assert_eq!(gathered.len(), 2);
        assert_eq!(keep_in_directory(&gathered, &kept).unwrap(), 2);
        assert_eq!(keep_in_directory(&gathered, &kept).unwrap(), 0);
        let again = Gathering {
            cache: &cache,
            archives: &archives,
            ..there
        };
        assert_eq!(again.gather(&packages).unwrap().len(), 2);
        // What lies there under a hash and has another one is no help.
        let three = package("three 3 all", b"3");
        let damaged = kept.join(kept_place(Digest::of(b"3"), &three));
        fs::create_dir_all(damaged.parent().unwrap()).unwrap();
        fs::write(&damaged, "other").unwrap();
        let told = again.gather(&[three]).unwrap_err().to_string();
        assert!(told.contains("1 of 1 package of the lock is nowhere"), "{told}");
    }

    #[test]
    fn an_address_says_what_a_file_is_called() {
        let one = package("one 1:2-3 all", b"1");
        let expected = format!(
            "https://m.example/kept/{}/one_1%253a2-3_all.deb",
            Digest::of(b"1").hex()
        );
        assert_eq!(address_of("https://m.example/kept/", Digest::of(b"1"), &one), expected);
    }
}
