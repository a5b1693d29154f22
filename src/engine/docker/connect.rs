//! Connecting to the engine that the docker client would take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion};

use super::endpoint::{Endpoint, without_password};
use super::reached::Reached;
use super::selection::{Selection, select};
use super::ssh::Tunnel;
use super::{CLIENT_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS, Docker, errors, tls};
use crate::credentials::ClientConfig;
use crate::engine::{EngineError, Obstacle};

/// Where Podman listens for everybody.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";
/// The oldest API with everything that lockstep uses: Docker Engine 20.10.
const OLDEST_API: &str = "1.41";
const OLDEST_API_VERSION: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};

/// Where else an engine listens: one of this user alone, or Podman. They are only ever offered, never taken by themselves,
/// as the docker client takes neither.
fn other_engine(address: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let runtime = variables.get("XDG_RUNTIME_DIR").map(Path::new);
    let below = |name: &str| runtime.map(|directory| directory.join(name));
    let candidates = [
        below("docker.sock"),
        below("podman/podman.sock"),
        Some(PathBuf::from(PODMAN_SOCKET)),
    ];
    candidates
        .into_iter()
        .flatten()
        .filter(|path| path.exists())
        .map(|path| format!("unix://{}", path.display()))
        .find(|other| other != address)
}

fn at_socket(
    path: &str,
    reached: &Reached,
    variables: &BTreeMap<String, String>,
) -> Result<bollard::Docker, EngineError> {
    bollard::Docker::connect_with_unix(path, CLIENT_TIMEOUT_SECONDS, API_DEFAULT_VERSION).map_err(|error| match error {
        bollard::errors::Error::SocketNotFoundError(path) => {
            let other = other_engine(&reached.address, variables);
            reached.unreachable(Obstacle::NoSocket { other }, format!("there is no socket at {path}"))
        }
        error => reached.unreachable(Obstacle::Lost, error.to_string()),
    })
}

/// A client of the engine at `endpoint`, which has asked nothing yet.
async fn open(
    endpoint: &Endpoint,
    reached: &mut Reached,
    variables: &BTreeMap<String, String>,
) -> Result<bollard::Docker, EngineError> {
    match endpoint {
        Endpoint::Unix { path } => at_socket(path, reached, variables),
        Endpoint::Plain { authority } => {
            bollard::Docker::connect_with_http(authority, CLIENT_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
                .map_err(|error| reached.unreachable(Obstacle::Lost, error.to_string()))
        }
        Endpoint::Tls { authority, files } => {
            tls::client(authority, files).map_err(|cause| reached.unreachable(Obstacle::Tls, cause))
        }
        Endpoint::Ssh(destination) => {
            let tunnel = Tunnel::open(destination, variables).await;
            let tunnel = tunnel.map_err(|cause| reached.unreachable(Obstacle::Ssh, cause))?;
            let socket = tunnel.socket().display().to_string();
            reached.tunnel = Some(tunnel);
            at_socket(&socket, reached, variables)
        }
    }
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

/// Connects to the engine that the docker client would take with these variables, and agrees on an API version.
pub(super) async fn connect(variables: &BTreeMap<String, String>) -> Result<Docker, EngineError> {
    let Selection { address, choice, tls } = select(variables)?;
    let endpoint = Endpoint::parse(&address, tls);
    let mut reached = Reached {
        address: without_password(&address),
        choice,
        tunnel: None,
    };
    let endpoint = endpoint.map_err(|cause| reached.unreachable(Obstacle::BadAddress, cause))?;
    let client = open(&endpoint, &mut reached, variables).await?;
    let client = negotiate(client, &reached).await?;
    let version = client.client_version();
    let api_version = version.to_string();
    if version < OLDEST_API_VERSION {
        return Err(EngineError::TooOld {
            address: reached.address,
            choice: Box::new(reached.choice),
            found: api_version,
            needed: OLDEST_API,
        });
    }
    let path_version = api_version.clone();
    let client = client.with_request_modifier(move |request| with_version(request, &path_version));
    Ok(Docker {
        client,
        reached: Arc::new(reached),
        api_version,
        client_config: ClientConfig::of(variables),
        ability: Arc::default(),
    })
}

async fn negotiate(client: bollard::Docker, reached: &Reached) -> Result<bollard::Docker, EngineError> {
    let limit = std::time::Duration::from_secs(CONNECT_TIMEOUT_SECONDS);
    let error = match tokio::time::timeout(limit, client.negotiate_version()).await {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    if let Some(tunnel) = &reached.tunnel {
        tunnel.settle().await;
    }
    Err(match error {
        Some(error) => errors::unreachable(reached, &error),
        None => reached.unreachable(
            Obstacle::Silent,
            format!("no answer within {CONNECT_TIMEOUT_SECONDS} s"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_engine_of_the_users_own_is_offered_before_podman() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = directory.path().display().to_string();
        let variables = BTreeMap::from([("XDG_RUNTIME_DIR".to_owned(), runtime.clone())]);
        let offered = || other_engine("unix:///var/run/docker.sock", &variables);
        std::fs::create_dir(directory.path().join("podman")).unwrap();
        for name in ["podman/podman.sock", "docker.sock"] {
            std::fs::write(directory.path().join(name), "").unwrap();
            assert_eq!(offered(), Some(format!("unix://{runtime}/{name}")));
        }
        let own = format!("unix://{runtime}/docker.sock");
        assert_eq!(
            other_engine(&own, &variables),
            Some(format!("unix://{runtime}/podman/podman.sock")),
            "not the one that was tried"
        );
    }
}
