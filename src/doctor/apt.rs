//! The package mirrors in apt's own configuration (sources.list(5)): text in, addresses out.

use std::collections::BTreeSet;

/// The mirrors of a one-line-style file (`deb [options] uri suite component…`).
pub(super) fn of_list(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(of_line).collect()
}

fn of_line(line: &str) -> Option<String> {
    let rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let rest = if rest.starts_with('[') {
        rest.split_once(']')?.1
    } else {
        rest
    };
    address(rest.split_whitespace().next()?)
}

/// The mirrors of a deb822-style file (stanzas with `Types:`, `URIs:`, …).
pub(super) fn of_sources(text: &str) -> BTreeSet<String> {
    let mut mirrors = BTreeSet::new();
    let mut stanza = Stanza::default();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            mirrors.extend(std::mem::take(&mut stanza).mirrors());
        } else if !line.starts_with('#') {
            stanza.take(line);
        }
    }
    mirrors
}

#[derive(Default)]
struct Stanza {
    types: String,
    uris: String,
    is_disabled: bool,
    in_uris: bool,
}

impl Stanza {
    fn take(&mut self, line: &str) {
        if line.starts_with([' ', '\t']) {
            // A field may go on over lines that are indented.
            if self.in_uris {
                self.uris.push(' ');
                self.uris.push_str(line.trim());
            }
            return;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let name = name.to_ascii_lowercase();
        self.in_uris = name == "uris";
        match name.as_str() {
            "types" => self.types = value.to_owned(),
            "uris" => self.uris = value.to_owned(),
            "enabled" => self.is_disabled = ["no", "false", "0"].contains(&value.trim().to_ascii_lowercase().as_str()),
            _ => {}
        }
    }

    fn mirrors(self) -> BTreeSet<String> {
        let is_binary = self.types.split_whitespace().any(|kind| kind == "deb");
        let uris = self.uris.split_whitespace().filter(|_| is_binary && !self.is_disabled);
        uris.filter_map(address).collect()
    }
}

/// `scheme://host[:port]` of a mirror that is reached over the network by itself.
fn address(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let host = rest.split('/').next().filter(|host| !host.is_empty())?;
    ["http", "https"]
        .contains(&scheme)
        .then(|| format!("{scheme}://{host}"))
}

/// Where to connect for an address: host and port.
pub(super) fn endpoint(address: &str) -> Option<(String, u16)> {
    let (scheme, rest) = address.split_once("://")?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let default_port = if scheme == "https" { 443 } else { 80 };
    // The colons of an IPv6 address are inside brackets.
    match host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, port)) => Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?)),
        None => Some((host.trim_matches(['[', ']']).to_owned(), default_port)),
    }
    .filter(|(host, _)| !host.is_empty())
}

/// The proxies for `http` and `https`, from what `apt-config dump` prints.
pub(super) fn proxy(dump: &str, scheme: &str) -> Option<String> {
    let key = format!("Acquire::{scheme}::Proxy ");
    let value = dump.lines().find_map(|line| line.strip_prefix(key.as_str()))?;
    let value = value.trim().trim_end_matches(';').trim_matches('"');
    (!value.is_empty() && value != "DIRECT").then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_are_read() {
        let list = "# comment\ndeb http://a.example/debian trixie main\n\
                    deb [signed-by=/x arch=amd64] https://b.example:8080/debian trixie main\n\
                    deb-src http://c.example/debian trixie main\ndeb cdrom:[Debian]/ trixie main\ndebug http://d.example x\n";
        assert_eq!(
            of_list(list).into_iter().collect::<Vec<_>>(),
            ["http://a.example", "https://b.example:8080"]
        );
        let sources = "Types: deb\n# comment\nURIs: http://a.example/debian\n https://b.example/debian\nSuites: trixie\n\n\
                       Types: deb-src\nURIs: http://c.example\n\nTypes: deb deb-src\nEnabled: no\nURIs: http://d.example\n\n\
                       types: deb\nuris: file:///srv/mirror http://e.example";
        let expected = ["http://a.example", "http://e.example", "https://b.example"];
        assert_eq!(of_sources(sources).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_address_leads_somewhere() {
        for (address, expected) in [
            ("http://a.example", Some(("a.example", 80))),
            ("https://a.example/debian", Some(("a.example", 443))),
            ("http://user:word@a.example:3142", Some(("a.example", 3142))),
            ("http://[::1]:80", Some(("::1", 80))),
            ("http://[::1]", Some(("::1", 80))),
            ("http://a.example:x", None),
            ("a.example", None),
        ] {
            let expected = expected.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(endpoint(address), expected, "{address}");
        }
    }

    #[test]
    fn apt_says_which_proxy_it_takes() {
        let dump = "Acquire \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://proxy:3142\";\nAcquire::https::Proxy \"DIRECT\";\n";
        assert_eq!(proxy(dump, "http").as_deref(), Some("http://proxy:3142"));
        assert_eq!(proxy(dump, "https"), None);
    }
}
