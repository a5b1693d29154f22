//! URLs of servers on the loopback address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `http://HOST[:PORT]/PATH` on a loopback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    address: SocketAddr,
    /// Host and port as written, for the `Host` header.
    authority: String,
    /// With the query.
    path: String,
}

/// Why a URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlError {
    /// Another scheme, or none.
    NotHttp,
    /// A host that is somewhere else: the loader has no business there.
    NotLoopback(String),
    /// No port, as the text says, or not one at all.
    BadPort(String),
    /// A path with characters that must be percent-encoded.
    BadPath,
}

impl fmt::Display for UrlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::NotHttp => write!(formatter, "it does not begin with `http://`"),
            UrlError::NotLoopback(host) => write!(formatter, "`{host}` is not a loopback address"),
            UrlError::BadPort(port) => write!(formatter, "`{port}` is not a port"),
            UrlError::BadPath => write!(formatter, "the path holds characters that must be percent-encoded"),
        }
    }
}

impl Url {
    /// Reads a URL. `localhost` is 127.0.0.1: nothing is resolved, as an image may have nothing to resolve with.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let rest = text.strip_prefix("http://").ok_or(UrlError::NotHttp)?;
        let (authority, path) = match rest.find(['/', '?']) {
            Some(position) if rest[position..].starts_with('/') => (&rest[..position], rest[position..].to_owned()),
            Some(position) => (&rest[..position], format!("/{}", &rest[position..])),
            None => (rest, "/".to_owned()),
        };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (
                host,
                Some(port.strip_prefix(':').ok_or(UrlError::BadPort(port.to_owned()))?),
            ),
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let address: IpAddr = match host {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            _ => host.parse().map_err(|_| UrlError::NotLoopback(host.to_owned()))?,
        };
        if !address.is_loopback() {
            return Err(UrlError::NotLoopback(host.to_owned()));
        }
        let port = match port {
            None => 80,
            Some(text) => match text.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(UrlError::BadPort(text.to_owned())),
            },
        };
        let base = Url {
            address: SocketAddr::new(address, port),
            authority: authority.to_owned(),
            path: String::new(),
        };
        base.with_path(&path)
    }

    /// The root of a port of 127.0.0.1.
    pub fn of_port(port: u16) -> Url {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Url {
            address,
            authority: address.to_string(),
            path: "/".to_owned(),
        }
    }

    /// The same server's URL with this path.
    pub fn with_path(&self, path: &str) -> Result<Url, UrlError> {
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(UrlError::BadPath);
        }
        Ok(Url {
            path: path.to_owned(),
            ..self.clone()
        })
    }

    /// Host and port as written.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path with the query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_stay_on_this_machine() {
        let cases = include_str!("../../tests/shared/urls.txt")
            .lines()
            .filter(|line| !line.starts_with('#'));
        for case in cases {
            let (text, expect) = case.split_once('\t').unwrap();
            let seen = match Url::parse(text) {
                Ok(url) => format!("{url} {}", url.address()),
                Err(error) => error.to_string(),
            };
            assert_eq!(seen, expect, "{text}");
        }
        assert_eq!(Url::parse("http://127.0.0.1/a\r\nX: y"), Err(UrlError::BadPath));
    }
}
