//! What the engine did not do, and why, and what to do about it.

use std::time::Duration;

use super::choice::Choice;
use crate::credentials::CredentialsError;
use crate::printable::printable;

/// What stood between lockstep and the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no socket at this address.
    NoSocket {
        /// The address of another engine that is there, Podman's for example.
        other: Option<String>,
    },
    /// This user may not open the socket.
    PermissionDenied,
    /// Nothing listens at this address.
    Refused,
    /// The host's name has no address.
    UnknownHost,
    /// The certificates, or what was agreed with them.
    Tls,
    /// It is no address that lockstep understands.
    BadAddress,
    /// What leads to the machine that it is on.
    Ssh,
    /// It did not answer in time.
    Silent,
    /// It was there and went away in the middle of something.
    Lost,
}

/// What the engine did not do, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// What says which engine it is to be does not say it.
    #[error("failed to find out which engine is meant: {cause}")]
    Undecided {
        /// Where it should be said, and what is wrong there.
        cause: String,
        /// What to do about it.
        hint: String,
    },
    /// Nothing answers there.
    #[error("failed to reach the engine at {address}{}: {cause}", choice.aside())]
    Unreachable {
        /// The address tried.
        address: String,
        /// What named it.
        choice: Box<Choice>,
        /// What kind of trouble it is.
        obstacle: Obstacle,
        /// What the operating system or the client said.
        cause: String,
    },
    /// It is too old.
    #[error("the engine at {address}{} speaks API {found}, lockstep needs {needed} or newer", choice.aside())]
    TooOld {
        /// The address.
        address: String,
        /// What named it.
        choice: Box<Choice>,
        /// What it speaks.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
    /// What was asked for does not exist.
    #[error("the engine has no {what}")]
    NotFound {
        /// For example `image alpine:3.22`.
        what: String,
    },
    /// Another container has the name that a new one was to have.
    #[error("the engine has a container called `{name}` already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// It refused or failed.
    #[error("the engine failed to {action}: {cause}")]
    Failed {
        /// In the infinitive, for example `create a container`.
        action: String,
        /// Its own words.
        cause: String,
    },
    /// There is no room left where it keeps what it has.
    #[error("the engine's disk is full: it failed to {action}: {cause}")]
    DiskFull {
        /// In the infinitive.
        action: String,
        /// Its own words.
        cause: String,
    },
    /// A Dockerfile's build failed.
    #[error("the engine failed to build {dockerfile}: {cause}")]
    BuildFailed {
        /// The Dockerfile.
        dockerfile: String,
        /// Its own words.
        cause: String,
    },
    /// It took too long.
    #[error("the engine did not {action} within {} s", limit.as_secs())]
    TimedOut {
        /// In the infinitive.
        action: String,
        /// The limit.
        limit: Duration,
    },
    /// The run was stopped, and it was not waited for any longer.
    #[error("the engine had not answered when the run was stopped: {action}")]
    Abandoned {
        /// In the infinitive.
        action: String,
    },
    /// What a registry is to be told of who asks could not be had.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// What was to be sent to the engine could not be read.
    #[error("failed to read what was to go into a container: {cause}")]
    Source {
        /// Why.
        cause: String,
        /// What to do about it, where that is known.
        hint: Option<String>,
    },
}

/// What engines say when a registry cannot be reached, as Go's network package words it.
const REGISTRY_UNREACHABLE: [&str; 5] = [
    "no such host",
    "connection refused",
    "i/o timeout",
    "network is unreachable",
    "Client.Timeout exceeded",
];
/// What registries say to someone they do not know; also for repositories that do not exist.
const REGISTRY_DENIED: [&str; 4] = [
    "denied",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
];

/// What to do about an engine's disk that is full.
pub const DISK_FULL_HINT: &str = "make room on the engine's machine: `docker system df` shows what takes it, and \
                                  `lockstep clean` removes what this project has there";
/// What operating systems say of a full disk, in lower case.
const DISK_FULL_WORDS: [&str; 2] = ["no space left on device", "disk quota exceeded"];

impl EngineError {
    /// What the engine's own words mean that failed to do something.
    #[must_use]
    pub fn failed(action: String, cause: String) -> Self {
        let words = cause.to_ascii_lowercase();
        if DISK_FULL_WORDS.iter().any(|word| words.contains(word)) {
            Self::DiskFull { action, cause }
        } else {
            Self::Failed { action, cause }
        }
    }

    /// Whether the engine may have done it all the same: it did not say that it has not.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Abandoned { .. }
        )
    }

    /// What to do about it, where lockstep knows.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Undecided { hint, .. } => Some(hint.clone()),
            Self::Unreachable {
                obstacle,
                address,
                choice,
                ..
            } => Some(obstacle.hint(address, choice)),
            Self::DiskFull { .. } => Some(DISK_FULL_HINT.to_owned()),
            Self::TooOld { .. } => {
                Some("update the engine: Docker Engine 20.10 or newer, or a current Podman".to_owned())
            }
            Self::Failed { action, cause } => hint_for_failure(action, cause),
            Self::BuildFailed { cause, .. } => hint_for_failure("build", cause),
            Self::TimedOut { .. } => Some("is the engine overloaded? try again, or restart it".to_owned()),
            Self::NameTaken { name } => Some(format!("if nothing runs that needs it: docker rm {name}")),
            Self::Source { hint, .. } => hint.clone(),
            Self::Credentials(error) => Some(error.hint()),
            Self::NotFound { .. } | Self::Abandoned { .. } => None,
        }
    }
}

impl Obstacle {
    fn hint(&self, address: &str, choice: &Choice) -> String {
        let is_context = matches!(choice, Choice::Context { .. });
        match self {
            Self::NoSocket { other: Some(other) } => {
                format!("there is another engine: export DOCKER_HOST={other}")
            }
            Self::NoSocket { other: None } | Self::Refused if is_context => {
                "start that engine, or choose another one: docker context ls, docker context use NAME".to_owned()
            }
            Self::NoSocket { other: None } | Self::Refused => {
                "install and start Docker Engine (`sudo systemctl start docker`), or name another engine in DOCKER_HOST"
                    .to_owned()
            }
            Self::PermissionDenied => {
                "add yourself to the group that owns the socket (`sudo usermod -aG docker $USER`) and log in again"
                    .to_owned()
            }
            Self::UnknownHost => format!("is `{address}` spelled right? it comes from {choice}"),
            Self::Tls if is_context => format!("look at its certificates and SkipTLSVerify: {}", inspection(choice)),
            Self::Tls => {
                "check DOCKER_CERT_PATH (ca.pem, cert.pem, key.pem) and DOCKER_TLS_VERIFY, which is set when the \
                          engine wants TLS and unset when it does not"
                    .to_owned()
            }
            Self::BadAddress if is_context => format!(
                "the context needs unix:///path/to/socket, tcp://host:port or ssh://user@host: {}",
                inspection(choice)
            ),
            Self::BadAddress => {
                "set DOCKER_HOST to unix:///path/to/socket, tcp://host:port or ssh://user@host".to_owned()
            }
            Self::Ssh => format!(
                "does `{}` answer? ssh may ask nothing here: the host is to be known, and the key in an agent or without \
                 a passphrase; where the engine's socket has another path: ssh://user@host/path/to/socket",
                choice.client_command(address)
            ),
            Self::Silent => format!("does `{}` answer?", choice.client_command(address)),
            Self::Lost => "the engine stopped or was restarted: look at its log, then run the command again".to_owned(),
        }
    }
}

/// How a context is looked at.
fn inspection(choice: &Choice) -> String {
    match choice {
        Choice::Context { name, .. } => format!("docker context inspect {}", printable(name)),
        Choice::Host | Choice::Default => "docker context inspect".to_owned(),
    }
}

fn hint_for_failure(action: &str, cause: &str) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    let hint = if action.starts_with("push") {
        return push_hint(says);
    } else if !action.starts_with("pull") && !action.starts_with("build") {
        return None;
    } else if says(&REGISTRY_UNREACHABLE) {
        "the engine reaches no registry: load the image with `docker load`, or use a bootstrap recipe, which needs none"
    } else if says(&REGISTRY_DENIED) {
        "is the name right? for a private image, `docker login` and `docker pull` it yourself, then run this again"
    } else if says(&["manifest unknown", "not found"]) {
        "is the tag right?"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

fn push_hint(says: impl Fn(&[&str]) -> bool) -> Option<String> {
    let hint = if says(&REGISTRY_UNREACHABLE) {
        "is `registry:` spelled right? the engine must reach it, not only this machine"
    } else if says(&REGISTRY_DENIED) {
        "log in with `docker login`, as somebody who may write there"
    } else if says(&["http: server gave HTTP response to HTTPS client"]) {
        "the engine wants TLS of every registry that is not on its own machine; see `insecure-registries` of its daemon.json"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(action: &str, cause: &str, expected: Option<&str>) {
        let error = EngineError::Failed {
            action: action.to_owned(),
            cause: cause.to_owned(),
        };
        let hint = error.hint();
        assert_eq!(hint.is_some(), expected.is_some(), "{action}: {cause}: {hint:?}");
        if let (Some(hint), Some(expected)) = (hint, expected) {
            assert!(hint.contains(expected), "{hint} does not say {expected}");
        }
    }

    #[test]
    fn a_failure_that_is_known_has_a_hint() {
        let lookup = "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host";
        check("pull alpine:3.22", lookup, Some("bootstrap"));
        check(
            "pull alpine:3.22",
            "manifest for alpine:3.99 not found: manifest unknown",
            Some("tag"),
        );
        check(
            "pull x/y:z",
            "pull access denied for x/y, repository does not exist",
            Some("docker login"),
        );
        let full = EngineError::failed(
            "create a container".to_owned(),
            "mkdir /var/lib/docker/x: no space left on device".to_owned(),
        );
        assert!(full.to_string().starts_with("the engine's disk is full"), "{full}");
        assert!(full.hint().unwrap().contains("docker system df"));
        check(
            "push host.example/a:1",
            "denied: requested access",
            Some("docker login"),
        );
        check(
            "push host.example/a:1",
            "dial tcp: lookup host.example: no such host",
            Some("registry:"),
        );
        check("start container x", "executable file not found in $PATH", None);
    }

    #[test]
    fn every_obstacle_has_a_hint() {
        let other = Some("unix:///run/podman/podman.sock".to_owned());
        let context = Choice::Context {
            name: "away".to_owned(),
            named_by: "DOCKER_CONTEXT".to_owned(),
        };
        assert!(
            Obstacle::NoSocket { other }
                .hint("unix:///x", &context)
                .contains("DOCKER_HOST=unix:///run/podman")
        );
        for obstacle in [
            Obstacle::NoSocket { other: None },
            Obstacle::PermissionDenied,
            Obstacle::Refused,
            Obstacle::UnknownHost,
            Obstacle::Tls,
            Obstacle::BadAddress,
            Obstacle::Ssh,
            Obstacle::Silent,
            Obstacle::Lost,
        ] {
            for choice in [&Choice::Host, &Choice::Default, &context] {
                assert!(!obstacle.hint("tcp://host:2375", choice).is_empty());
            }
            let hint = obstacle.hint("tcp://host:2375", &context);
            assert!(!hint.contains("DOCKER_CERT_PATH"), "contexts do not have it: {hint}");
        }
        let unknown = Obstacle::UnknownHost.hint("tcp://host:2375", &context);
        assert!(unknown.contains("context `away` of DOCKER_CONTEXT"), "{unknown}");
        let error = EngineError::Unreachable {
            address: "tcp://host:2375".to_owned(),
            choice: Box::new(context),
            obstacle: Obstacle::Refused,
            cause: "connection refused".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "failed to reach the engine at tcp://host:2375 (context `away` of DOCKER_CONTEXT): connection refused"
        );
    }
}
