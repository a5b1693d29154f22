//! Package URLs (purl-spec): one name for a package wherever it is spoken of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::lock::Package;

/// What the hash of a package of apk begins with.
const APK_HASH_START: &str = "Q1";
/// Distributions whose packages are apk's.
const APK_DISTRIBUTIONS: [&str; 4] = ["alpine", "chainguard", "postmarketos", "wolfi"];

/// The URL of a distribution's package. `distribution` is what the build image says of itself: `debian trixie`.
pub(super) fn of_package(package: &Package, distribution: Option<&str>) -> String {
    let (name, release) = distribution.map_or(("", ""), |distribution| {
        distribution.split_once(' ').unwrap_or((distribution, ""))
    });
    let is_of_apk = APK_DISTRIBUTIONS.contains(&name);
    let (kind, usual) = match package.hash.starts_with(APK_HASH_START) {
        true => ("apk", "alpine"),
        false if package.hash == "-" && is_of_apk => ("apk", "alpine"),
        false => ("deb", "debian"),
    };
    // A runtime image may be of another distribution than the build image.
    let is_its = !name.is_empty() && (kind == "apk") == is_of_apk;
    let mut qualifiers = BTreeMap::from([("arch", package.architecture.as_str())]);
    if is_its && !release.is_empty() {
        qualifiers.insert("distro", release);
    }
    url(
        kind,
        &[if is_its { name } else { usual }, &package.name],
        Some(&package.version),
        &qualifiers,
    )
}

/// The URL of a package of a language; `path` is its name, with what it stands in before it.
pub(super) fn of_module(kind: &str, path: &str, version: Option<&str>) -> String {
    url(kind, &path.split('/').collect::<Vec<_>>(), version, &BTreeMap::new())
}

fn url(kind: &str, path: &[&str], version: Option<&str>, qualifiers: &BTreeMap<&str, &str>) -> String {
    let path: Vec<String> = path.iter().map(|part| escaped(part)).collect();
    let mut url = format!("pkg:{kind}/{}", path.join("/"));
    if let Some(version) = version {
        let _ = write!(url, "@{}", escaped(version));
    }
    for (index, (name, value)) in qualifiers.iter().enumerate() {
        let start = if index == 0 { '?' } else { '&' };
        let _ = write!(url, "{start}{name}={}", escaped(value));
    }
    url
}

/// All but what URLs have unescaped, and the colon, which purl leaves as it is.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_the_urls_that_others_give_them() {
        let of = |line: &str, distribution: Option<&str>| of_package(&line.parse().unwrap(), distribution);
        for (line, distribution, expected) in [
            (
                "libc6 2.41-12 amd64 sha256:00",
                Some("debian trixie"),
                "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=trixie",
            ),
            (
                "libstdc++6 1:14.2.0-19+b1~x amd64 -",
                Some("ubuntu noble"),
                "pkg:deb/ubuntu/libstdc%2B%2B6@1:14.2.0-19%2Bb1~x?arch=amd64&distro=noble",
            ),
            (
                "musl 1.2.5-r9 x86_64 Q1aa=",
                Some("alpine 3.22.1"),
                "pkg:apk/alpine/musl@1.2.5-r9?arch=x86_64&distro=3.22.1",
            ),
            // The image that runs is another one's.
            (
                "musl 1.2.5-r9 x86_64 Q1aa=",
                Some("debian trixie"),
                "pkg:apk/alpine/musl@1.2.5-r9?arch=x86_64",
            ),
            ("libc6 1 amd64 -", None, "pkg:deb/debian/libc6@1?arch=amd64"),
        ] {
            assert_eq!(of(line, distribution), expected);
        }
        assert_eq!(
            of_module("golang", "example.com/a b/c", Some("v1.0.0+incompatible")),
            "pkg:golang/example.com/a%20b/c@v1.0.0%2Bincompatible"
        );
        assert_eq!(of_module("cargo", "serde", None), "pkg:cargo/serde");
    }
}
