//! A place in a registry, valid by construction: `registry.example.org/team/project`.

use std::fmt;
use std::str::FromStr;

/// The longest that is taken; references have 255 characters at most (distribution specification, "Pull"), tags included.
const LENGTH_LIMIT_BYTES: usize = 200;
/// The only host without a dot that registries have.
const LOCALHOST: &str = "localhost";

/// A repository of a registry: `HOST[:PORT]/PATH`, without a tag (distribution specification, `<name>`).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(into = "String")]
pub struct Repository {
    host: String,
    path: String,
}

/// Why something is no repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRepository {
    /// There is no host in front of the first slash.
    #[error("begin with the registry's host: `registry.example.org/team/project`")]
    NoHost,
    /// There is nothing after the host.
    #[error("name a repository after the host: `registry.example.org/team/project`")]
    NoPath,
    /// It begins as an address does.
    #[error("leave out `https://`: the engine decides how it speaks to a registry")]
    Scheme,
    /// It ends in a tag or a digest.
    #[error("leave out the tag: every image gets its own")]
    Tag,
    /// There are characters that repositories do not have.
    #[error(
        "repositories are written in lower case, with digits and single `.`, `_`, `-` between, and parts separated by `/`"
    )]
    Characters,
    /// It is too long.
    #[error("it has more than {LENGTH_LIMIT_BYTES} characters")]
    TooLong,
}

impl Repository {
    /// The registry's host, with its port where it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What follows the host.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// An image in it.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> String {
        format!("{self}:{tag}")
    }

    /// The image whose manifest has a digest.
    #[must_use]
    pub fn by_digest(&self, digest: crate::digest::Digest) -> String {
        format!("{self}@{digest}")
    }
}

impl FromStr for Repository {
    type Err = InvalidRepository;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") {
            return Err(InvalidRepository::Scheme);
        }
        if text.len() > LENGTH_LIMIT_BYTES {
            return Err(InvalidRepository::TooLong);
        }
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        if !is_host(host) {
            return Err(InvalidRepository::NoHost);
        }
        if path.is_empty() {
            return Err(InvalidRepository::NoPath);
        }
        if path.contains([':', '@']) {
            return Err(InvalidRepository::Tag);
        }
        if !path.split('/').all(is_component) {
            return Err(InvalidRepository::Characters);
        }
        Ok(Self {
            host: host.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.path)
    }
}

impl From<Repository> for String {
    fn from(repository: Repository) -> Self {
        repository.to_string()
    }
}

/// Whether something is a host and not the first part of a repository of the default registry: it has a dot, or a port, or is
/// `localhost`.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        !label.is_empty()
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    };
    let is_told_apart = name.contains('.') || port.is_some() || name == LOCALHOST;
    let is_address = |name: &str| {
        name.strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .is_some_and(|name| name.parse::<std::net::Ipv6Addr>().is_ok())
    };
    let has_name = is_told_apart && name.split('.').all(is_label) || is_address(name);
    has_name && port.is_none_or(is_port)
}

/// Lower-case letters and digits, with one `.`, one or two `_`, or any number of `-` between.
fn is_component(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let mut rest = text;
    loop {
        let end = rest.find(['.', '_', '-']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if !is_word(word) {
            return false;
        }
        let dashes = after.len() - after.trim_start_matches('-').len();
        let separator = match after {
            "" => return true,
            _ if dashes > 0 => dashes,
            _ if after.starts_with("__") => 2,
            _ => 1,
        };
        rest = &after[separator..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_repository_has_a_host_and_a_path() {
        use InvalidRepository::*;
        for (text, expected) in [
            ("registry.example.org/gateway", None),
            ("127.0.0.1:5000/a/b-c/d__e", None),
            ("localhost/a", None),
            ("[::1]:5000/a", None),
            ("docker.io/team/image", None),
            ("team/image", Some(NoHost)),
            ("image", Some(NoHost)),
            ("", Some(NoHost)),
            ("-x.example/a", Some(NoHost)),
            ("host.example:0/a", Some(NoHost)),
            ("host.example:port/a", Some(NoHost)),
            ("[::1/a", Some(NoHost)),
            ("host.example", Some(NoPath)),
            ("host.example/", Some(NoPath)),
            ("https://host.example/a", Some(Scheme)),
            ("host.example/a:1", Some(Tag)),
            ("host.example/a@sha256:00", Some(Tag)),
            ("host.example/A", Some(Characters)),
            ("host.example/a//b", Some(Characters)),
            ("host.example/a/", Some(Characters)),
            ("host.example/a___b", Some(Characters)),
            ("host.example/a..b", Some(Characters)),
            ("host.example/a-", Some(Characters)),
            ("host.example/a b", Some(Characters)),
        ] {
            assert_eq!(text.parse::<Repository>().err(), expected, "{text}");
        }
        let long = format!("host.example/{}", "a".repeat(LENGTH_LIMIT_BYTES));
        assert_eq!(long.parse::<Repository>().err(), Some(TooLong));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_shown_as_it_was_written(text in "[a-zA-Z0-9.:/@_\\[\\]-]{0,30}|[a-z]{1,3}\\.[a-z]{1,3}(/[a-z0-9]{1,2}[-._]{0,3}[a-z0-9]{1,2}){1,3}") {
            if let Ok(repository) = text.parse::<Repository>() {
                prop_assert_eq!(repository.to_string(), text);
            }
        }
    }
}
