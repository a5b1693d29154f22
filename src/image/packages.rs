//! Lists of installed packages, as distributions keep them. Pure: text in, packages out.

use crate::lock::Package;

/// Where distributions keep the list of what is installed, and what reads it.
pub const PACKAGE_LISTS: &[(&str, PackageParser)] = &[
    ("/var/lib/dpkg/status", parse_dpkg_status),
    ("/lib/apk/db/installed", parse_apk_installed),
];
/// The largest such list that is read.
pub const PACKAGE_LIST_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// What a list of packages becomes.
pub type PackageParser = fn(&str) -> Vec<Package>;

/// Whether this is how a recipe asks for a package: `name`, `name=version` or `name:architecture`, never an option, never
/// shell syntax.
#[must_use]
pub fn is_requested_package(text: &str) -> bool {
    is_word(text, b"+-.:=~_")
}

/// Letters, digits and `also`, beginning with a letter or digit.
pub(super) fn is_word(text: &str, also: &[u8]) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().next().is_some_and(is_plain) && text.bytes().all(|byte| is_plain(byte) || also.contains(&byte))
}

/// Reads `/var/lib/dpkg/status` (deb-control(5), dpkg(1)): packages that are installed. It tells no package's hash.
#[must_use]
pub fn parse_dpkg_status(text: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        let installed = field(paragraph, "Status: ").is_some_and(|status| status.ends_with(" installed"));
        installed.then_some(())?;
        Some(Package {
            name: field(paragraph, "Package: ")?.to_owned(),
            version: field(paragraph, "Version: ")?.to_owned(),
            architecture: field(paragraph, "Architecture: ")?.to_owned(),
            hash: "-".to_owned(),
        })
    };
    sorted(text.split("\n\n").filter_map(package).collect())
}

/// Reads `/lib/apk/db/installed` (apk's installed database, v2): the hash is apk's own, `Q1` and a SHA-1 in base 64.
#[must_use]
pub fn parse_apk_installed(text: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        Some(Package {
            name: field(paragraph, "P:")?.to_owned(),
            version: field(paragraph, "V:")?.to_owned(),
            architecture: field(paragraph, "A:")?.to_owned(),
            hash: field(paragraph, "C:").unwrap_or("-").to_owned(),
        })
    };
    sorted(text.split("\n\n").filter_map(package).collect())
}

fn field<'text>(paragraph: &'text str, name: &str) -> Option<&'text str> {
    let value = paragraph.lines().find_map(|line| line.strip_prefix(name))?.trim();
    // A value with a blank in it would not be read back from the lock.
    (!value.is_empty() && (name == "Status: " || !value.contains(' '))).then_some(value)
}

fn sorted(mut packages: Vec<Package>) -> Vec<Package> {
    packages.sort();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(packages: &[Package]) -> Vec<String> {
        packages.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dpkg_and_apk_are_read() {
        let dpkg = "Package: musl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.2.5-3\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n";
        assert_eq!(lines(&parse_dpkg_status(dpkg)), ["musl 1.2.5-3 amd64 -"]);
        let apk = "C:Q1abc=\nP:zlib\nV:1.3-r2\nA:x86_64\n\nC:Q1def=\nP:musl\nV:1.2.5-r1\nA:x86_64\n";
        assert_eq!(
            lines(&parse_apk_installed(apk)),
            ["musl 1.2.5-r1 x86_64 Q1def=", "zlib 1.3-r2 x86_64 Q1abc="]
        );
    }

    proptest! {
        #[test]
        fn whatever_is_read_can_be_written_to_the_lock(text in "((P:|V:|A:|C:|Package: |Status: )?[a-z :]{0,12}\n){0,12}") {
            for package in parse_dpkg_status(&text).into_iter().chain(parse_apk_installed(&text)) {
                prop_assert_eq!(package.to_string().parse(), Ok(package));
            }
        }
    }
}
