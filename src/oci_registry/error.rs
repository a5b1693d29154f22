//! What a registry did not do, and why, and what to do about it.

use std::path::PathBuf;

use crate::credentials::CredentialsError;

/// What a registry did not do, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// It is not reached from this machine.
    #[error("failed to reach {registry} from this machine: {cause}")]
    Unreachable {
        /// Its host.
        registry: String,
        /// What the operating system or the client said.
        cause: String,
    },
    /// A certificate of this machine for it is of no use.
    #[error("failed to read the certificate {}: {cause}", path.display())]
    Certificate {
        /// The file, or the directory.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// It is not known what it is to be told of who asks.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It does not let in who asks, or does not let them do this.
    #[error("failed to {action} {registry}: {cause}")]
    Denied {
        /// Its host.
        registry: String,
        /// In the infinitive.
        action: &'static str,
        /// Its own words.
        cause: String,
    },
    /// It does not have the image.
    #[error("the registry that this machine finds at {registry} does not have {image}")]
    Absent {
        /// Its host.
        registry: String,
        /// The image, by digest.
        image: String,
    },
    /// It does not take what it was given.
    #[error("failed to {action} {registry}: {cause}")]
    Refused {
        /// Its host.
        registry: String,
        /// In the infinitive.
        action: &'static str,
        /// Its own words.
        cause: String,
    },
    /// It failed, or what it answered is of no use.
    #[error("failed to {action} {registry}: {cause}")]
    Failed {
        /// Its host.
        registry: String,
        /// In the infinitive.
        action: &'static str,
        /// Its own words, or what is wrong with them.
        cause: String,
    },
}

impl ExchangeError {
    /// Whether it is only that this registry cannot, or cannot from here: trying again would change nothing, and nothing went
    /// wrong.
    #[must_use]
    pub const fn is_inability(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Certificate { .. } | Self::Absent { .. } | Self::Refused { .. } => true,
            Self::Credentials(_) | Self::Denied { .. } | Self::Failed { .. } => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            // As the library words what a certificate is, however it is wrong.
            Self::Unreachable { registry, cause } if cause.contains("certificate") => format!(
                "put the certificate of its authority into /etc/docker/certs.d/{registry}/ca.crt, where engines look as well"
            ),
            Self::Unreachable { .. } => {
                "the engine reaches it, and this machine must, too: is it the engine's own network, or a proxy's (HTTPS_PROXY, \
                 NO_PROXY)?"
                    .to_owned()
            }
            Self::Certificate { .. } => "mend the file, or remove it".to_owned(),
            Self::Credentials(error) => error.hint(),
            Self::Denied { registry, .. } => {
                format!("log in with `docker login {registry}`, as somebody who may write there")
            }
            Self::Absent { .. } => {
                "the engine pushed it to what has that name on its own machine: name the registry as both find it".to_owned()
            }
            Self::Refused { .. } => {
                "a registry that keeps artifacts (OCI 1.1) takes them; what they say is in `dist/` all the same".to_owned()
            }
            Self::Failed { .. } => "try again; what is there already stays as it is".to_owned(),
        }
    }
}
