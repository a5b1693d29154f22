//! Finding the engine, as the docker command line does: `DOCKER_HOST`, `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion};

use super::{CLIENT_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS, Docker, errors};
use crate::credentials::ClientConfig;
use crate::engine::{EngineError, Obstacle};
use crate::regular_file;

/// The largest file of a certificate or key; they have a few kilobytes.
const CERTIFICATE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
const DEFAULT_PLAIN_PORT: u16 = 2375;
const DEFAULT_TLS_PORT: u16 = 2376;
/// The oldest API with everything that lockstep uses: Docker Engine 20.10.
const OLDEST_API: &str = "1.41";
const OLDEST_API_VERSION: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};

/// Where an engine is, and how it is spoken to.
#[derive(Debug, PartialEq, Eq)]
enum Endpoint {
    Unix { path: String },
    Plain { authority: String },
    Tls { authority: String, certificates: PathBuf },
}

/// The endpoint that the variables name.
fn endpoint(variables: &BTreeMap<String, String>) -> Result<(String, Endpoint), EngineError> {
    let value = |name: &str| {
        variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    let address = value("DOCKER_HOST").unwrap_or(DEFAULT_ADDRESS).to_owned();
    let bad = |cause: &str| EngineError::Unreachable {
        address: address.clone(),
        obstacle: Obstacle::BadAddress,
        cause: cause.to_owned(),
    };
    let (scheme, rest) = address
        .split_once("://")
        .ok_or_else(|| bad("the address has no scheme"))?;
    let endpoint = match scheme {
        "unix" => Endpoint::Unix { path: rest.to_owned() },
        // Any value verifies, even `0`: so says the docker command line.
        "tcp" | "http" | "https" if scheme == "https" || value("DOCKER_TLS_VERIFY").is_some() => {
            let certificates = value("DOCKER_CERT_PATH").map(PathBuf::from);
            let home = value("HOME").map(|home| Path::new(home).join(".docker"));
            let certificates = certificates
                .or(home)
                .ok_or_else(|| bad("neither DOCKER_CERT_PATH nor HOME says where the certificates are"))?;
            Endpoint::Tls {
                authority: authority(rest, DEFAULT_TLS_PORT),
                certificates,
            }
        }
        "tcp" | "http" => Endpoint::Plain {
            authority: authority(rest, DEFAULT_PLAIN_PORT),
        },
        _ => return Err(bad(&format!("`{scheme}` is not supported"))),
    };
    match &endpoint {
        Endpoint::Unix { path } if !path.starts_with('/') => Err(bad("the path of the socket is not absolute")),
        Endpoint::Plain { authority } | Endpoint::Tls { authority, .. } if authority.starts_with(':') => {
            Err(bad("the address has no host"))
        }
        _ => Ok((address, endpoint)),
    }
}

/// `host` or `host:port`, without a path, with a port.
fn authority(rest: &str, default_port: u16) -> String {
    let authority = rest.split('/').next().unwrap_or_default();
    // The colons of an IPv6 address are inside brackets.
    let after_brackets = authority.rsplit(']').next().unwrap_or_default();
    if after_brackets.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:{default_port}")
    }
}

/// Where Podman listens, when it does; it is only ever offered, never taken by itself.
fn podman(variables: &BTreeMap<String, String>) -> Option<String> {
    let rootless = variables
        .get("XDG_RUNTIME_DIR")
        .map(|directory| Path::new(directory).join("podman/podman.sock"));
    let candidates = rootless.into_iter().chain([PathBuf::from("/run/podman/podman.sock")]);
    candidates
        .into_iter()
        .find(|path| path.exists())
        .map(|path| format!("unix://{}", path.display()))
}

fn open(
    address: &str,
    endpoint: &Endpoint,
    variables: &BTreeMap<String, String>,
) -> Result<bollard::Docker, EngineError> {
    let opened = match endpoint {
        Endpoint::Unix { path } => {
            bollard::Docker::connect_with_unix(path, CLIENT_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
        }
        Endpoint::Plain { authority } => {
            bollard::Docker::connect_with_http(authority, CLIENT_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
        }
        Endpoint::Tls {
            authority,
            certificates,
        } => {
            let file = |name: &str| certificates.join(name);
            // The client reads key and certificate only when the engine asks for them, and says nothing if they are missing.
            for name in ["ca.pem", "cert.pem", "key.pem"] {
                regular_file::read(&file(name), CERTIFICATE_LIMIT_BYTES).map_err(|error| EngineError::Unreachable {
                    address: address.to_owned(),
                    obstacle: Obstacle::Tls,
                    cause: format!("failed to read {}: {error}", file(name).display()),
                })?;
            }
            let (key, certificate, authorities) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
            bollard::Docker::connect_with_ssl(
                authority,
                &key,
                &certificate,
                &authorities,
                CLIENT_TIMEOUT_SECONDS,
                API_DEFAULT_VERSION,
            )
        }
    };
    opened.map_err(|error| match error {
        bollard::errors::Error::SocketNotFoundError(path) => EngineError::Unreachable {
            address: address.to_owned(),
            obstacle: Obstacle::NoSocket {
                other: podman(variables),
            },
            cause: format!("there is no socket at {path}"),
        },
        error => EngineError::Unreachable {
            address: address.to_owned(),
            obstacle: Obstacle::Tls,
            cause: error.to_string(),
        },
    })
}

/// A request's address with the negotiated version in its path. The client negotiates it and then leaves it out, and an
/// engine newer than the client would answer in its newest dialect.
fn versioned(uri: &str, version: &str) -> Option<String> {
    let host = uri.find("://")? + "://".len();
    let path = host + uri[host..].find('/')?;
    Some(format!("{}/v{version}{}", &uri[..path], &uri[path..]))
}

fn with_version(mut request: BollardRequest, version: &str) -> BollardRequest {
    if let Some(uri) = versioned(&request.uri().to_string(), version).and_then(|uri| uri.parse().ok()) {
        *request.uri_mut() = uri;
    }
    request
}

/// Connects to the engine that the variables name and agrees on an API version.
pub(super) async fn connect(variables: &BTreeMap<String, String>) -> Result<Docker, EngineError> {
    let (address, endpoint) = endpoint(variables)?;
    let client = open(&address, &endpoint, variables)?;
    let limit = std::time::Duration::from_secs(CONNECT_TIMEOUT_SECONDS);
    let negotiated = tokio::time::timeout(limit, client.negotiate_version()).await;
    let client = negotiated
        .map_err(|_| EngineError::Unreachable {
            address: address.clone(),
            obstacle: Obstacle::Silent,
            cause: format!("no answer within {CONNECT_TIMEOUT_SECONDS} s"),
        })?
        .map_err(|error| errors::unreachable(&address, &error))?;
    let version = client.client_version();
    let api_version = version.to_string();
    if version < OLDEST_API_VERSION {
        return Err(EngineError::TooOld {
            address,
            found: api_version,
            needed: OLDEST_API,
        });
    }
    let path_version = api_version.clone();
    let client = client.with_request_modifier(move |request| with_version(request, &path_version));
    Ok(Docker {
        client,
        address,
        api_version,
        client_config: ClientConfig::of(variables),
        ability: Arc::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_variables_name_an_endpoint() {
        let unix = |path: &str| Endpoint::Unix { path: path.to_owned() };
        let plain = |authority: &str| Endpoint::Plain {
            authority: authority.to_owned(),
        };
        let tls = |authority: &str, certificates: &str| Endpoint::Tls {
            authority: authority.to_owned(),
            certificates: certificates.into(),
        };
        let verify = ("DOCKER_TLS_VERIFY", "1");
        for (given, expected) in [
            (vec![], unix("/var/run/docker.sock")),
            (vec![("DOCKER_HOST", "")], unix("/var/run/docker.sock")),
            (vec![("DOCKER_HOST", "unix:///x/y.sock"), verify], unix("/x/y.sock")),
            (vec![("DOCKER_HOST", "tcp://box")], plain("box:2375")),
            (vec![("DOCKER_HOST", "tcp://[::1]")], plain("[::1]:2375")),
            (
                vec![("DOCKER_HOST", "tcp://[::1]:9/"), ("DOCKER_TLS_VERIFY", "")],
                plain("[::1]:9"),
            ),
            (
                vec![("DOCKER_HOST", "tcp://box"), verify, ("HOME", "/h")],
                tls("box:2376", "/h/.docker"),
            ),
            (
                vec![("DOCKER_HOST", "tcp://box:1"), verify, ("DOCKER_CERT_PATH", "/c")],
                tls("box:1", "/c"),
            ),
            (
                vec![("DOCKER_HOST", "https://box:1"), ("DOCKER_CERT_PATH", "/c")],
                tls("box:1", "/c"),
            ),
        ] {
            let found = endpoint(&variables(&given)).map(|(_, endpoint)| endpoint);
            assert_eq!(found, Ok(expected), "{given:?}");
        }
    }

    #[test]
    fn requests_carry_the_negotiated_version() {
        let versioned = |uri| versioned(uri, "1.41");
        assert_eq!(
            versioned("unix://2f76/containers/json?a=/"),
            Some("unix://2f76/v1.41/containers/json?a=/".to_owned())
        );
        assert_eq!(
            versioned("http://[::1]:9/info"),
            Some("http://[::1]:9/v1.41/info".to_owned())
        );
        assert_eq!(versioned("/info"), None);
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for address in [
            "docker.sock",
            "ssh://me@box",
            "unix://relative.sock",
            "tcp://",
            "npipe:////./pipe/x",
        ] {
            let error = endpoint(&variables(&[("DOCKER_HOST", address)])).err();
            assert!(
                matches!(
                    error,
                    Some(EngineError::Unreachable {
                        obstacle: Obstacle::BadAddress,
                        ..
                    })
                ),
                "{address}: {error:?}"
            );
        }
    }
}
