//! Why nothing can be verified as it was asked for.

use crate::exit::Exit;
use crate::report::Failure;

/// Why nothing can be verified as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The second engine is the first.
    #[error("{address} is the engine that compiles already")]
    SameEngine {
        /// As it was given.
        address: String,
    },
    /// What it compiles could not be the same.
    #[error("the engine at {address} is for {found}, and this one for {expected}")]
    OtherArchitecture {
        /// As it was given.
        address: String,
        /// The machine that it is for.
        found: String,
        /// The machine that the first one is for.
        expected: String,
    },
    /// The program is not there.
    #[error("diffoscope does not answer")]
    NoDiffoscope,
}

impl VerifyError {
    /// The error as the user sees it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let hint = match self {
            Self::SameEngine { .. } => "name another one, as DOCKER_HOST would: tcp://HOST:PORT, unix://SOCKET",
            Self::OtherArchitecture { .. } => "artifacts are of one machine: name an engine of the same kind",
            Self::NoDiffoscope => "install it (Debian: apt install diffoscope-minimal), or leave out --diffoscope",
        };
        Failure::new(Exit::Usage, "verify", self.to_string()).with_hint(hint)
    }
}
