//! Which packages an image was made of: from what the bootstrap noted, and the packages' files.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::lock::Package;

/// The label under which an image that lockstep made carries the list of its packages. Labels are part of the config, and
/// the config's digest is the image's ID.
pub const PACKAGES_LABEL: &str = "dev.lockstep.packages";

/// The list as the label has it: a package a line, as in the lock.
pub(super) fn label_of(packages: &[Package]) -> String {
    packages.iter().map(|package| format!("{package}\n")).collect()
}

/// The list that an image's labels carry; none when they carry none.
#[must_use]
pub fn labelled_packages(labels: &BTreeMap<String, String>) -> Option<Vec<Package>> {
    let lines = labels.get(PACKAGES_LABEL)?.lines();
    lines.map(|line| line.parse().ok()).collect()
}

/// The packages of `note`, one a line (`<name> <version> <architecture>`), and those of `base`. The hash of a package
/// is that of its file among `files` (by name), else what the base says, else `-`: a recipe may install files of its
/// own.
pub(super) fn packages(note: &str, files: &BTreeMap<String, Digest>, base: &[Package]) -> Vec<Package> {
    let mut packages: BTreeMap<(String, String, String), String> = base
        .iter()
        .map(|package| {
            let Package {
                name,
                version,
                architecture,
                hash,
            } = package.clone();
            ((name, version, architecture), hash)
        })
        .collect();
    for line in note.lines() {
        if let [name, version, architecture] = line.split_whitespace().collect::<Vec<_>>()[..] {
            let hash = files
                .get(&file_name(name, version, architecture))
                .map(Digest::to_string);
            let key = (name.to_owned(), version.to_owned(), architecture.to_owned());
            let known = packages.entry(key).or_insert_with(|| "-".to_owned());
            if let Some(hash) = hash {
                *known = hash;
            }
        }
    }
    packages
        .into_iter()
        .map(|((name, version, architecture), hash)| Package {
            name,
            version,
            architecture,
            hash,
        })
        .collect()
}

/// What apt calls a package's file: `_` and `:` are escaped (apt-pkg/acquire-item.cc, `pkgAcqArchive`).
pub(super) fn file_name(name: &str, version: &str, architecture: &str) -> String {
    let escape = |text: &str| text.replace('_', "%5f").replace(':', "%3a");
    format!("{}_{}_{}.deb", escape(name), escape(version), escape(architecture))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_from_the_label_that_it_was_written_to() {
        let packages: Vec<Package> = vec![
            "libc6 2.41 amd64 sha256:00".parse().unwrap(),
            "own 1 all -".parse().unwrap(),
        ];
        let labels = |text: String| BTreeMap::from([(PACKAGES_LABEL.to_owned(), text)]);
        assert_eq!(labelled_packages(&labels(label_of(&packages))), Some(packages));
        assert_eq!(labelled_packages(&labels(String::new())), Some(vec![]));
        assert_eq!(labelled_packages(&labels("libc6 2.41\n".to_owned())), None);
        assert_eq!(labelled_packages(&BTreeMap::new()), None);
    }

    #[test]
    fn packages_get_the_hashes_of_their_files() {
        let files = BTreeMap::from([("busybox_1%3a1.37.0-6_amd64.deb".to_owned(), Digest::of(b"b"))]);
        let base: Vec<Package> = vec!["libc6 2.41 amd64 sha256:00".parse().unwrap()];
        let note = "busybox 1:1.37.0-6 amd64\nlibc6 2.41 amd64\nown 1 all\n\nnot a package line\n";
        let lines: Vec<String> = packages(note, &files, &base).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                format!("busybox 1:1.37.0-6 amd64 {}", Digest::of(b"b")),
                "libc6 2.41 amd64 sha256:00".to_owned(),
                "own 1 all -".to_owned(),
            ]
        );
    }
}
