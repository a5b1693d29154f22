//! Whether packages that were added to an image go with those that were there: what was compiled against headers of
//! another version than the library that it meets may load and do harm.

use std::collections::BTreeMap;

use crate::lock::Package;

/// Two packages that do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// What was added, and its version.
    pub(super) added: String,
    /// What the base has of it, or of the same source.
    pub(super) base: String,
    /// The source package that both are of.
    pub(super) source: String,
}

/// The first mismatch, by name. `note` has a package of the image a line: its name, version, source and the source's
/// version; `base` is what the image began with.
pub(super) fn mismatch(note: &str, base: &[Package]) -> Option<Mismatch> {
    let mut before: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in base {
        before.entry(&package.name).or_default().push(&package.version);
    }
    let mut lines: Vec<[&str; 4]> = note
        .lines()
        .filter_map(|line| line.split_whitespace().collect::<Vec<_>>().try_into().ok())
        .collect();
    lines.sort_unstable();
    let pair = |added: [&str; 4], name: &str, version: &str| Mismatch {
        added: format!("{} {}", added[0], added[1]),
        base: format!("{name} {version}"),
        source: added[2].to_owned(),
    };
    // What was asked for says more than what came with it.
    for added in lines.iter().filter(|line| !before.contains_key(line[0])) {
        for other in lines.iter().filter(|line| line[2] == added[2]) {
            let Some(versions) = before.get(other[0]) else { continue };
            if !versions.contains(&other[1]) {
                return Some(pair(*added, other[0], versions[0]));
            }
            if other[3] != added[3] {
                return Some(pair(*added, other[0], other[1]));
            }
        }
    }
    lines.iter().find_map(|line| {
        let versions = before.get(line[0]).filter(|versions| !versions.contains(&line[1]))?;
        Some(pair(*line, line[0], versions[0]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_packages_are_named() {
        let base = ["nginx 1.26-1 amd64 -", "libc6 2.41-1 amd64 -", "libgcc-s1 14-1 amd64 -"];
        let base: Vec<Package> = base.iter().map(|line| line.parse().unwrap()).collect();
        let same = "nginx 1.26-1 nginx 1.26-1\nlibc6 2.41-1 glibc 2.41-1\n";
        for (added, expected) in [
            ("", None),
            ("nginx-dev 1.26-1 nginx 1.26-1", None),
            // Compiled again, from the same source.
            ("nginx-dev 1.26-1+b1 nginx 1.26-1", None),
            ("other-dev 7 other 7", None),
            (
                "nginx-dev 1.27-1 nginx 1.27-1",
                Some(["nginx-dev 1.27-1", "nginx 1.26-1"]),
            ),
        ] {
            let found = mismatch(&format!("{same}{added}\n"), &base);
            let found = found.map(|found| [found.added, found.base]);
            assert_eq!(found, expected.map(|pair| pair.map(str::to_owned)), "{added}");
        }
    }

    #[test]
    fn a_package_of_the_base_in_another_version_is_one() {
        let base: Vec<Package> = vec!["nginx 1.26-1 amd64 -".parse().unwrap()];
        let found = mismatch("nginx 1.27-1 nginx 1.27-1\nnginx-dev 1.27-1 nginx 1.27-1\n", &base).unwrap();
        assert_eq!((&*found.added, &*found.base), ("nginx-dev 1.27-1", "nginx 1.26-1"));
        let found = mismatch("nginx 1.27-1 nginx 1.27-1\n", &base).unwrap();
        assert_eq!((&*found.added, &*found.base), ("nginx 1.27-1", "nginx 1.26-1"));
        assert_eq!(mismatch("nginx 1.26-1 nginx 1.26-1\n", &base), None);
    }
}
