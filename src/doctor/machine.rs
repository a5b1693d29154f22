//! What the machine's own files tell: room, namespaces, certificates, apt's sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::apt;
use super::facts::{Certificates, Space, UserNamespaces};
use crate::regular_file;

/// The largest file that is read; the common ones have some 200 KB.
const FILE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;
/// The capability that mounting needs (linux/capability.h).
const CAP_SYS_ADMIN: u32 = 21;

/// Room where `path` is or will be.
pub(super) fn space(path: &Path) -> Option<Space> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let found = rustix::fs::statvfs(existing).ok()?;
    Some(Space {
        path: path.to_owned(),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        // File systems without a table of files say that they have none at all.
        free_files: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// What is in a bundle of certificate authorities.
pub(super) fn certificates(path: PathBuf) -> Option<Certificates> {
    let text = read(&path)?;
    Some(Certificates {
        count: text.matches("-----BEGIN CERTIFICATE-----").count(),
        path,
    })
}

/// The addresses of all package mirrors in apt's configuration below `etc`, normally `/etc`.
pub(super) fn mirrors(etc: &Path) -> BTreeSet<String> {
    let mut mirrors = read(&etc.join("apt/sources.list"))
        .map(|text| apt::of_list(&text))
        .unwrap_or_default();
    let entries = std::fs::read_dir(etc.join("apt/sources.list.d"))
        .into_iter()
        .flatten()
        .flatten();
    for path in entries.map(|entry| entry.path()) {
        let parse = match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => apt::of_list,
            Some("sources") => apt::of_sources,
            _ => continue,
        };
        mirrors.extend(read(&path).map(|text| parse(&text)).unwrap_or_default());
    }
    mirrors
}

/// Whether this process may mount file systems.
pub(super) fn may_mount() -> bool {
    let status = read(Path::new("/proc/self/status")).unwrap_or_default();
    capabilities(&status).is_some_and(|bits| bits >> CAP_SYS_ADMIN & 1 == 1)
}

fn capabilities(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

/// What stands in the way of mmdebstrap's unshare mode for the user of this process.
pub(super) fn namespaces(variables: &BTreeMap<String, String>) -> UserNamespaces {
    let setting = |path: &str| read(&Path::new("/proc/sys").join(path)).map(|text| text.trim().to_owned());
    // Kernels without a setting have nothing to forbid by it.
    let allowed = setting("user/max_user_namespaces").as_deref() != Some("0")
        && setting("kernel/unprivileged_userns_clone").as_deref() != Some("0")
        && setting("kernel/apparmor_restrict_unprivileged_userns").as_deref() != Some("1");
    let paths: Vec<&str> = variables
        .get("PATH")
        .map(|path| path.split(':').collect())
        .unwrap_or_default();
    let is_there = |program: &str| paths.iter().any(|path| Path::new(path).join(program).is_file());
    let status = read(Path::new("/proc/self/status")).unwrap_or_default();
    let user = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next())
        .unwrap_or("0");
    let passwd = read(Path::new("/etc/passwd")).unwrap_or_default();
    let has_range = |file: &str| has_range(&read(Path::new(file)).unwrap_or_default(), user, &passwd);
    UserNamespaces {
        allowed,
        has_newuidmap: is_there("newuidmap") && is_there("newgidmap"),
        has_ranges: has_range("/etc/subuid") && has_range("/etc/subgid"),
    }
}

/// Whether a user, by number or name, has a line in subuid(5).
fn has_range(text: &str, user: &str, passwd: &str) -> bool {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == user).then_some(name)
    });
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(owner, _)| owner == user || Some(owner) == name)
}

fn read(path: &Path) -> Option<String> {
    let bytes = regular_file::read(path, FILE_LIMIT_BYTES).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_where_nothing_is_yet() {
        let directory = tempfile::tempdir().unwrap();
        let found = space(&directory.path().join("not/yet")).unwrap();
        assert!(found.free_bytes > 0);
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        for (text, expected) in [
            ("ada:100000:65536\n", true),
            ("1000:1:1\n", true),
            ("bob:1:1\n", false),
            ("", false),
        ] {
            assert_eq!(has_range(text, "1000", passwd), expected, "{text}");
        }
    }

    #[test]
    fn capabilities_are_read_from_the_kernels_text() {
        assert_eq!(
            capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n"),
            Some(0x1ff_ffff_ffff)
        );
        assert_eq!(capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn all_of_apts_files_count() {
        let etc = tempfile::tempdir().unwrap();
        let apt = etc.path().join("apt/sources.list.d");
        std::fs::create_dir_all(&apt).unwrap();
        std::fs::write(
            etc.path().join("apt/sources.list"),
            "deb http://a.example/debian trixie main\n",
        )
        .unwrap();
        std::fs::write(apt.join("x.sources"), "Types: deb\nURIs: http://b.example/debian\n").unwrap();
        std::fs::write(apt.join("y.list.save"), "deb http://c.example/debian trixie main\n").unwrap();
        assert_eq!(
            mirrors(etc.path()).into_iter().collect::<Vec<_>>(),
            ["http://a.example", "http://b.example"]
        );
        assert!(mirrors(&etc.path().join("none")).is_empty());
    }

    #[test]
    fn authorities_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own.pem");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n".repeat(2)).unwrap();
        assert_eq!(certificates(path.clone()), Some(Certificates { path, count: 2 }));
        assert_eq!(certificates(directory.path().join("none.pem")), None);
    }
}
