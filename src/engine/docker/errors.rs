//! The client library's errors in lockstep's words.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;

use super::reached::Reached;
use crate::engine::{EngineError, Obstacle};

const STATUS_BAD_REQUEST: u16 = 400;
const STATUS_NOT_FOUND: u16 = 404;
/// By which an error of the TLS library is known, whose type is out of reach.
const TLS_WORDS: [&str; 4] = ["certificate", "corrupt message", "fatal alert", "handshake"];

/// One request: what it does, what it is about, and how long it may take.
pub(super) struct Call<'a> {
    /// Where the engine is, for when it has gone.
    pub(super) reached: &'a Arc<Reached>,
    /// In the infinitive, for example `start container 3f9c`.
    pub(super) action: String,
    /// What does not exist when the engine says so, for example `container 3f9c`.
    pub(super) object: String,
    /// How long it may take.
    pub(super) limit: Duration,
}

impl Call<'_> {
    /// Runs the request within its limit.
    pub(super) async fn run<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, EngineError> {
        match tokio::time::timeout(self.limit, request).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.error(&error)),
            Err(_) => Err(EngineError::TimedOut {
                action: self.action.clone(),
                limit: self.limit,
            }),
        }
    }

    /// What `error` means for this request.
    pub(super) fn error(&self, error: &Error) -> EngineError {
        match error {
            Error::DockerResponseServerError {
                status_code: STATUS_NOT_FOUND,
                ..
            } => EngineError::NotFound {
                what: self.object.clone(),
            },
            Error::DockerResponseServerError { message, .. } => self.failed(message),
            Error::DockerStreamError { error } => self.failed(error),
            Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::SocketNotFoundError(_) => unreachable(self.reached, error),
            error => self.failed(&error.to_string()),
        }
    }

    /// The engine's own words, on one line.
    pub(super) fn failed(&self, cause: &str) -> EngineError {
        EngineError::failed(self.action.clone(), cause.trim().replace('\n', " "))
    }
}

/// Whether the engine answered with this status.
pub(super) fn has_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// Something below HTTP went wrong.
pub(super) fn unreachable(reached: &Reached, error: &Error) -> EngineError {
    // The client wraps what the operating system said several times over; the innermost is what a person understands.
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    let mut system = None;
    while let Some(source) = innermost.source() {
        innermost = source;
        system = system.or(source.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
    }
    let cause = innermost.to_string();
    reached.unreachable(obstacle(system, &cause, error), cause)
}

fn obstacle(system: Option<std::io::ErrorKind>, cause: &str, error: &Error) -> Obstacle {
    use std::io::ErrorKind;
    match system {
        Some(ErrorKind::NotFound) => Obstacle::NoSocket { other: None },
        Some(ErrorKind::PermissionDenied) => Obstacle::PermissionDenied,
        Some(ErrorKind::ConnectionRefused) => Obstacle::Refused,
        Some(ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => Obstacle::Silent,
        _ if cause.contains("lookup address") => Obstacle::UnknownHost,
        // An engine answers plain HTTP on its TLS port with this status.
        _ if has_status(error, STATUS_BAD_REQUEST) => Obstacle::Tls,
        _ if TLS_WORDS.iter().any(|word| cause.contains(word)) => Obstacle::Tls,
        _ => Obstacle::Lost,
    }
}
