//! Which files the packages of a distribution brought: dpkg's lists and apk's database.
//!
//! Source: dpkg-query(1), `--listfiles`; apk-package(5), the fields `F` and `R` of the installed database.

use memchr::memmem;

/// Where dpkg keeps its lists, one a package.
pub const DPKG_LISTS_DIRECTORY: &str = "/var/lib/dpkg/info";
/// How a list's name ends.
pub const DPKG_LIST_END: &str = ".list";
/// Where apk keeps its database; releases since 3.22 may have it below `/usr`.
pub const APK_DATABASES: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];

/// Whether one of dpkg's lists has an absolute path, which is one of its lines.
#[must_use]
pub fn dpkg_lists(list: &[u8], path: &str) -> bool {
    memmem::find_iter(list, path).any(|start| {
        let end = start + path.len();
        let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b'\n');
        is_end(list.get(end)) && is_end(start.checked_sub(1).and_then(|before| list.get(before)))
    })
}

/// The paths in one of dpkg's lists, without their first slash and the root itself.
pub fn dpkg_paths(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = list.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.strip_prefix(b"/").filter(|path| !matches!(*path, b"" | b".")))
}

/// All paths in apk's database, without their first slash, each with its package; directories, too.
pub fn apk_paths(database: &[u8]) -> impl Iterator<Item = (&[u8], Vec<u8>)> {
    let lines = database.split(|byte| *byte == b'\n');
    let paths = lines.scan((&b""[..], &b""[..]), |(package, directory), line| {
        let path = match line {
            [b'P', b':', named @ ..] => {
                (*package, *directory) = (named, b"");
                None
            }
            [b'F', b':', named @ ..] => {
                *directory = named;
                (!named.is_empty()).then(|| named.to_vec())
            }
            [b'R', b':', name @ ..] if directory.is_empty() => Some(name.to_vec()),
            [b'R', b':', name @ ..] => Some([*directory, b"/", name].concat()),
            _ => None,
        };
        Some(path.map(|path| (*package, path)))
    });
    paths.flatten()
}

/// The package whose list lies at a path: `nginx` of `nginx.list`, `libc6` of `libc6:amd64.list`.
#[must_use]
pub fn dpkg_package(list_path: &str) -> Option<&str> {
    let name = list_path.rsplit('/').next()?.strip_suffix(DPKG_LIST_END)?;
    name.split(':').next()
}

/// Whether apk's database has an absolute path.
#[must_use]
pub fn apk_lists(database: &[u8], path: &str) -> bool {
    apk_package(database, path).is_some()
}

/// The package that brought an absolute path, by apk's database: `P:` names it, `F:` a directory without the first slash, and
/// each `R:` that follows a file in it.
#[must_use]
pub fn apk_package<'a>(database: &'a [u8], path: &str) -> Option<&'a [u8]> {
    let path = path.strip_prefix('/')?;
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (mut package, mut is_in_directory) = (&b""[..], false);
    for line in database.split(|byte| *byte == b'\n') {
        if let Some(named) = line.strip_prefix(b"P:") {
            (package, is_in_directory) = (named, false);
        } else if let Some(named) = line.strip_prefix(b"F:") {
            is_in_directory = named == directory.as_bytes();
        } else if is_in_directory && line.strip_prefix(b"R:") == Some(name.as_bytes()) {
            return Some(package);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_dpkg_has_whole_lines() {
        let list = b"/.\n/usr\n/usr/lib/libone.so.1.2\n/usr/lib/libone.so.1\n/opt/a";
        for path in ["/usr/lib/libone.so.1", "/usr/lib/libone.so.1.2", "/.", "/opt/a"] {
            assert!(dpkg_lists(list, path), "{path}");
        }
        for path in ["/usr/lib/libone.so", "/lib/libone.so.1", "/opt", "usr"] {
            assert!(!dpkg_lists(list, path), "{path}");
        }
    }

    #[test]
    fn a_database_of_apk_has_files_in_directories() {
        let database = b"P:musl\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nF:usr/lib\nR:libone.so\n\nP:b\nF:\nR:top\n";
        for path in ["/lib/ld-musl-x86_64.so.1", "/usr/lib/libone.so", "/top"] {
            assert!(apk_lists(database, path), "{path}");
        }
        for path in ["/lib/libone.so", "/usr/lib/top", "/usr/lib", "libone.so"] {
            assert!(!apk_lists(database, path), "{path}");
        }
        assert_eq!(apk_package(database, "/usr/lib/libone.so"), Some(&b"musl"[..]));
        assert_eq!(apk_package(database, "/top"), Some(&b"b"[..]));
    }

    #[test]
    fn all_paths_are_told_with_their_packages() {
        let list = b"/.\n/usr\n/usr/a\n";
        assert_eq!(dpkg_paths(list).collect::<Vec<_>>(), [&b"usr"[..], b"usr/a"]);
        let database = b"P:one\nF:\nR:top\nF:lib\nR:a\n\nP:two\nR:b\nF:usr/lib\nR:c\n";
        let paths: Vec<String> = apk_paths(database)
            .map(|(package, path)| {
                format!(
                    "{} {}",
                    String::from_utf8_lossy(package),
                    String::from_utf8_lossy(&path)
                )
            })
            .collect();
        assert_eq!(
            paths,
            [
                "one top",
                "one lib",
                "one lib/a",
                "two b",
                "two usr/lib",
                "two usr/lib/c"
            ]
        );
    }

    #[test]
    fn a_list_of_dpkg_is_called_after_its_package() {
        assert_eq!(dpkg_package("/var/lib/dpkg/info/libc6:amd64.list"), Some("libc6"));
        assert_eq!(dpkg_package("/var/lib/dpkg/info/nginx.list"), Some("nginx"));
        assert_eq!(dpkg_package("/var/lib/dpkg/info/nginx.md5sums"), None);
    }
}
