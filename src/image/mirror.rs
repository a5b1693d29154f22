//! Where the machine's own apt gets its packages from: the recipes name a release, never a host.

use std::collections::BTreeMap;
use std::path::Path;

use crate::regular_file;

/// How large a sources file may be.
const SOURCES_LIMIT_BYTES: u64 = 1024 * 1024;
/// The releases by which a Debian archive is known.
const RELEASES: &[&str] = &[
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];
/// The keys of Debian's archive, as its package `debian-archive-keyring` brings them.
pub(super) const DEBIAN_KEYRING: &str = "usr/share/keyrings/debian-archive-keyring.gpg";

/// One `deb` source of apt's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub uri: String,
    /// The release, for example `bookworm-security`.
    pub suite: String,
    /// `main` and its like.
    pub components: Vec<String>,
    /// The keyring it names; none for apt's default ones.
    pub signed_by: Option<String>,
}

/// Where a distribution's packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// The archive itself.
    pub archive: String,
    /// The same for point updates, when the machine takes them.
    pub updates: Option<String>,
    /// The same for security updates, when the machine takes them.
    pub security: Option<String>,
}

impl Mirrors {
    /// What to tell apt for a release: sources in the one-line style, each with these options (sources.list(5)).
    #[must_use]
    pub fn sources_list(&self, suite: &str, options: &str) -> String {
        let line = |uri: &str, suite: &str| format!("deb [{options}] {uri} {suite} main\n");
        let mut list = line(&self.archive, suite);
        // These two have neither.
        if !matches!(suite, "sid" | "unstable") {
            if let Some(uri) = &self.updates {
                list.push_str(&line(uri, &format!("{suite}-updates")));
            }
            if let Some(uri) = &self.security {
                list.push_str(&line(uri, &format!("{suite}-security")));
            }
        }
        list
    }
}

/// Finds the mirrors of Debian among the machine's sources; none when it has none.
#[must_use]
pub fn debian_mirrors(sources: &[Source]) -> Option<Mirrors> {
    let find = |suffixes: &[&str]| {
        sources
            .iter()
            .filter(|source| source.components.iter().any(|component| component == "main"))
            // Other projects' archives have the same releases, and keys of their own.
            .filter(|source| {
                let keyring = source.signed_by.as_deref();
                keyring.is_none_or(|path| path.contains("debian-archive"))
            })
            .find(|source| {
                suffixes
                    .iter()
                    .filter_map(|suffix| source.suite.strip_suffix(suffix))
                    .any(|release| RELEASES.contains(&release))
            })
            .map(|source| source.uri.clone())
    };
    Some(Mirrors {
        archive: find(&[""])?,
        updates: find(&["-updates"]),
        security: find(&["-security", "/updates"]),
    })
}

/// Reads the sources below `apt` (`/etc/apt`): `sources.list` and what is in `sources.list.d`, in order of their
/// names. Files that cannot be read are taken as not there: apt itself would tell.
#[must_use]
pub fn read_sources(apt: &Path) -> Vec<Source> {
    let mut sources = read_text(&apt.join("sources.list")).map_or_else(Vec::new, |text| one_line_sources(&text));
    let mut files: Vec<_> = std::fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    files.sort();
    for path in files {
        let Some(text) = read_text(&path) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(one_line_sources(&text)),
            Some("sources") => sources.extend(deb822_sources(&text)),
            _ => {}
        }
    }
    sources
}

fn read_text(path: &Path) -> Option<String> {
    regular_file::read_text(path, SOURCES_LIMIT_BYTES).ok()
}

/// `deb [option=value …] uri suite component …` (sources.list(5), "One-Line-Style Format").
fn one_line_sources(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line_source).collect()
}

fn one_line_source(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut rest = line.strip_prefix("deb")?.trim_start();
    if rest.len() + 3 == line.len() {
        // `deb-src` and the like.
        return None;
    }
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect(),
        signed_by,
    })
}

/// Paragraphs of `Key: value` lines (sources.list(5), "DEB822-Style Format").
fn deb822_sources(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for paragraph in lines.split(|line| line.trim().is_empty()) {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut last = String::new();
        for line in paragraph {
            if line.starts_with([' ', '\t']) {
                let value = fields.entry(last.clone()).or_default();
                value.push(' ');
                value.push_str(line.trim());
            } else if let Some((key, value)) = line.split_once(':') {
                last = key.trim().to_ascii_lowercase();
                fields.insert(last.clone(), value.trim().to_owned());
            }
        }
        let field = |key: &str| fields.get(key).map(String::as_str).unwrap_or_default();
        let is_enabled = !matches!(field("enabled"), "no" | "false" | "0");
        if !is_enabled || !field("types").split_whitespace().any(|kind| kind == "deb") {
            continue;
        }
        let components: Vec<String> = field("components").split_whitespace().map(str::to_owned).collect();
        let signed_by = fields.get("signed-by").filter(|path| !path.is_empty()).cloned();
        for uri in field("uris").split_whitespace() {
            for suite in field("suites").split_whitespace() {
                sources.push(Source {
                    uri: uri.to_owned(),
                    suite: suite.to_owned(),
                    components: components.clone(),
                    signed_by: signed_by.clone(),
                });
            }
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, Option<&str>, Option<&str>)>) {
        let sources = if text.contains("Types:") {
            deb822_sources(text)
        } else {
            one_line_sources(text)
        };
        let expected = expected.map(|(archive, updates, security)| Mirrors {
            archive: archive.to_owned(),
            updates: updates.map(str::to_owned),
            security: security.map(str::to_owned),
        });
        assert_eq!(debian_mirrors(&sources), expected, "{text}");
    }

    #[test]
    fn the_debian_archive_is_found_among_others() {
        check(
            "Types: deb\n# a comment\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nURIs: http://m.example/security\n\
             Suites: bookworm-security\nComponents: main contrib\n",
            Some((
                "http://m.example/debian",
                Some("http://m.example/debian"),
                Some("http://m.example/security"),
            )),
        );
        check(
            "deb-src http://src.example/debian bookworm main\n\
             deb [arch=amd64 signed-by=/etc/apt/keyrings/other.gpg] http://other.example/ bookworm main\n\
             deb http://cloud.example sdk-bookworm main\n# deb http://off.example/ sid main\n\
             deb [trusted=yes] http://m.example/debian sid main # here\n",
            Some(("http://m.example/debian", None, None)),
        );
        check(
            "Types: deb deb-src\nURIs: http://a.example\n http://b.example\nSuites: stable\nComponents: main\n\n\
             Types: deb\nEnabled: no\nURIs: http://c.example\nSuites: stable-updates\nComponents: main\n",
            Some(("http://a.example", None, None)),
        );
        check("deb http://m.example/ubuntu noble main universe\n", None);
        check("deb http://m.example/debian bookworm contrib\n", None);
        check("deb\ndeb \ndeb [x\ndeb http://m.example\n", None);
        check("", None);
    }

    #[test]
    fn the_release_that_is_asked_for_takes_the_place_of_the_machines_own() {
        let mirrors = Mirrors {
            archive: "http://m.example/debian".to_owned(),
            updates: None,
            security: Some("http://m.example/security".to_owned()),
        };
        assert_eq!(
            mirrors.sources_list("trixie", "signed-by=/k.gpg"),
            "deb [signed-by=/k.gpg] http://m.example/debian trixie main\n\
             deb [signed-by=/k.gpg] http://m.example/security trixie-security main\n"
        );
        assert_eq!(mirrors.sources_list("sid", "signed-by=/k.gpg").lines().count(), 1);
    }

    #[test]
    fn sources_are_read_from_both_kinds_of_file() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("sources.list.d");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(directory.path().join("sources.list"), "deb http://a.example x main\n").unwrap();
        std::fs::write(
            below.join("b.sources"),
            "Types: deb\nURIs: http://b.example\nSuites: x\nComponents: main\n",
        )
        .unwrap();
        std::fs::write(below.join("c.list"), "deb http://c.example x main\n").unwrap();
        std::fs::write(below.join("d.disabled"), "deb http://d.example x main\n").unwrap();
        let uris: Vec<String> = read_sources(directory.path())
            .into_iter()
            .map(|source| source.uri)
            .collect();
        assert_eq!(uris, ["http://a.example", "http://b.example", "http://c.example"]);
    }
}
