//! An engine's address taken apart: how it is spoken to, and where.

use super::ssh::Destination;
use super::tls::TlsFiles;

/// What the addresses of engines start with that speak TLS whatever else is said.
pub(super) const HTTPS: &str = "https://";

const DEFAULT_PORT: u16 = 2375;
const DEFAULT_HTTPS_PORT: u16 = 2376;

/// Where an engine is, and how it is spoken to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A socket of this machine.
    Unix {
        /// The socket's path.
        path: String,
    },
    /// TCP, in the clear.
    Plain {
        /// `host:port`.
        authority: String,
    },
    /// TCP with TLS.
    Tls {
        /// `host:port`.
        authority: String,
        /// The certificates.
        files: TlsFiles,
    },
    /// A socket of another machine, through ssh.
    Ssh(Destination),
}

impl Endpoint {
    /// The endpoint at `address`; with `tls` where it is one that can have TLS.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub(super) fn parse(address: &str, tls: Option<TlsFiles>) -> Result<Self, String> {
        let (scheme, rest) = address.split_once("://").ok_or("the address has no scheme")?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix { path: rest.to_owned() }),
            "unix" => Err("the path of the socket is not absolute".to_owned()),
            "ssh" => Destination::parse(rest).map(Self::Ssh),
            "tcp" | "http" | "https" => {
                let is_https = scheme == "https";
                let authority = authority(rest, if is_https { DEFAULT_HTTPS_PORT } else { DEFAULT_PORT })?;
                match tls {
                    None => Ok(Self::Plain { authority }),
                    Some(files) if files.directory.as_os_str().is_empty() => {
                        Err("neither DOCKER_CERT_PATH nor HOME says where the certificates are".to_owned())
                    }
                    Some(files) => Ok(Self::Tls { authority, files }),
                }
            }
            _ => Err(format!("`{scheme}` is not supported")),
        }
    }
}

/// An address as it may be shown: passwords are not for the eyes of whoever reads a report.
pub(super) fn without_password(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let end = rest.find('/').unwrap_or(rest.len());
    let secret = rest[..end].rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    match secret {
        Some((user, secret)) => format!("{scheme}://{user}:…{}", &rest[user.len() + 1 + secret.len()..]),
        None => address.to_owned(),
    }
}

/// `host:port` of what stands behind a scheme.
fn authority(rest: &str, default_port: u16) -> Result<String, String> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !path.is_empty() {
        // There may be another engine behind each path.
        return Err("a path behind the host is not supported".to_owned());
    }
    // The colons of an IPv6 address are inside brackets.
    let after_brackets = authority.rsplit(']').next().unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') {
        Err("the address has no host".to_owned())
    } else if after_brackets.contains(':') {
        Ok(authority.to_owned())
    } else {
        Ok(format!("{authority}:{default_port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &str) -> TlsFiles {
        TlsFiles {
            directory: directory.into(),
            needs_authority: true,
            verifies: true,
        }
    }

    #[test]
    fn an_address_is_taken_apart() {
        let unix = |path: &str| Endpoint::Unix { path: path.to_owned() };
        let plain = |authority: &str| Endpoint::Plain {
            authority: authority.to_owned(),
        };
        for (address, expected) in [
            ("unix:///x/y.sock", unix("/x/y.sock")),
            ("tcp://box", plain("box:2375")),
            ("tcp://[::1]", plain("[::1]:2375")),
            ("tcp://[::1]:9/", plain("[::1]:9")),
            ("http://box:1", plain("box:1")),
        ] {
            assert_eq!(Endpoint::parse(address, None), Ok(expected), "{address}");
        }
        for (address, expected) in [
            // The docker client keeps to this port when only variables ask for TLS.
            ("tcp://box", "box:2375"),
            ("tcp://box:1", "box:1"),
            ("https://box", "box:2376"),
        ] {
            let expected = Endpoint::Tls {
                authority: expected.to_owned(),
                files: files("/c"),
            };
            assert_eq!(Endpoint::parse(address, Some(files("/c"))), Ok(expected), "{address}");
        }
        assert_eq!(Endpoint::parse("unix:///x", Some(files("/c"))), Ok(unix("/x")));
        assert!(matches!(Endpoint::parse("ssh://me@box", None), Ok(Endpoint::Ssh(_))));
    }

    #[test]
    fn a_password_is_not_shown() {
        for (address, expected) in [
            ("ssh://me:secret@box:22/x", "ssh://me:…@box:22/x"),
            ("tcp://me:se@cret@box", "tcp://me:…@box"),
            ("ssh://me@box:22", "ssh://me@box:22"),
            ("unix:///a:b@c", "unix:///a:b@c"),
            ("docker.sock", "docker.sock"),
        ] {
            assert_eq!(without_password(address), expected);
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for address in [
            "docker.sock",
            "unix://relative.sock",
            "unix://",
            "tcp://",
            "tcp://:2375",
            "tcp://box/engines/1",
            "ssh://",
            "npipe:////./pipe/x",
        ] {
            assert!(Endpoint::parse(address, None).is_err(), "{address}");
        }
        assert!(Endpoint::parse("tcp://box", Some(files(""))).is_err(), "no home");
    }
}
