//! What the docker client knows of registries: `config.json`, and the helpers that it names (docker login).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use crate::docker_client::{CONFIG_LIMIT_BYTES, client_directory, config_file};
use crate::regular_file;

/// How long a credential helper may take; some ask a person.
const HELPER_TIMEOUT_SECONDS: u64 = 120;
/// The registry of names without a host, as the client's configuration calls it (docker-login).
const DEFAULT_SERVER: &str = "https://index.docker.io/v1/";
/// The host of that registry.
pub const DEFAULT_HOST: &str = "docker.io";
/// What helpers say when they know nothing of a registry (docker-credential-helpers, `ErrCredentialsNotFound`).
const NOT_FOUND_WORDS: &str = "credentials not found";

/// What a registry is told of who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// What the client's configuration calls the registry.
    pub server: String,
    /// What proves who it is.
    pub secret: Secret,
}

/// What proves who somebody is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A password.
    Password {
        /// Whose.
        user: String,
        /// The password.
        password: String,
    },
    /// What the registry gives tokens for.
    IdentityToken(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Password { .. } => "Password",
            Self::IdentityToken(_) => "IdentityToken",
        })
    }
}

/// Why it is not known what a registry is to be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to find the credentials for {registry}: {cause}")]
pub struct CredentialsError {
    /// The registry's host.
    pub registry: String,
    /// Why.
    pub cause: String,
}

impl CredentialsError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("log in again: docker login {}", self.registry)
    }
}

/// Where the client's configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    file: Option<PathBuf>,
}

impl ClientConfig {
    /// `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
    #[must_use]
    pub fn of(variables: &BTreeMap<String, String>) -> Self {
        Self {
            file: client_directory(variables).map(|directory| config_file(&directory)),
        }
    }

    /// What the registry of an image is told of who asks; none where the client knows nothing of it.
    ///
    /// # Errors
    /// When the configuration cannot be understood, or its helper fails.
    pub async fn credentials(&self, reference: &str) -> Result<Option<Credentials>, CredentialsError> {
        let host = host_of(reference);
        let failed = |cause: String| CredentialsError {
            registry: host.to_owned(),
            cause,
        };
        let Some(file) = &self.file else { return Ok(None) };
        let bytes = match regular_file::read(file, CONFIG_LIMIT_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(format!("failed to read {}: {error}", file.display()))),
        };
        let server = match host {
            DEFAULT_HOST => DEFAULT_SERVER,
            host => host,
        };
        let asked = server.to_owned();
        let asking = tokio::task::spawn_blocking(move || get_credential_from_reader(bytes.as_slice(), &asked));
        let limit = Duration::from_secs(HELPER_TIMEOUT_SECONDS);
        let answer = tokio::time::timeout(limit, asking).await;
        let answer = answer.map_err(|_| {
            failed(format!(
                "the credential helper did not answer within {HELPER_TIMEOUT_SECONDS} s"
            ))
        })?;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let given = |secret| {
            Ok(Some(Credentials {
                server: server.to_owned(),
                secret,
            }))
        };
        match answer {
            Ok(DockerCredential::UsernamePassword(user, password)) => given(Secret::Password { user, password }),
            Ok(DockerCredential::IdentityToken(token)) => given(Secret::IdentityToken(token)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
            Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
                if stdout.contains(NOT_FOUND_WORDS) || stderr.contains(NOT_FOUND_WORDS) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(format!("{}: {error}", file.display()))),
        }
    }
}

/// The host of an image's registry: what stands before the first slash, if it can be a host and not a part of a repository's
/// name (distribution/reference, `splitDockerDomain`).
fn host_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DEFAULT_HOST,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_host_of_a_registry_is_told_from_a_repository() {
        for (reference, expected) in [
            ("alpine:3.22", "docker.io"),
            ("team/image:1", "docker.io"),
            ("docker.io/team/image", "docker.io"),
            ("registry.example.org/team/image:1", "registry.example.org"),
            ("127.0.0.1:5000/image@sha256:00", "127.0.0.1:5000"),
            ("localhost/image", "localhost"),
        ] {
            assert_eq!(host_of(reference), expected, "{reference}");
        }
    }

    #[tokio::test]
    async fn what_the_client_knows_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let of = |variable: &str, path: &Path| {
            ClientConfig::of(&BTreeMap::from([(variable.to_owned(), path.display().to_string())]))
        };
        let config = of("DOCKER_CONFIG", directory.path());
        assert_eq!(config.credentials("host.example/a").await?, None, "there is no file");
        std::fs::create_dir(directory.path().join(".docker"))?;
        let text = r#"{"auths": {"host.example": {"auth": "dXNlcjpzZWNyZXQ="}, "https://index.docker.io/v1/": {"auth": "aHViOng="},
                       "token.example": {"identitytoken": "t"}}, "credHelpers": {"gone.example": "of-nobody"}}"#;
        std::fs::write(directory.path().join(".docker/config.json"), text)?;
        let config = of("HOME", directory.path());
        let known = async |reference: &str| config.credentials(reference).await;
        let of = |user: &str, password: &str| Secret::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let given = known("host.example/a:1").await?.ok_or("nothing")?;
        assert_eq!(given.secret, of("user", "secret"));
        let told = format!("{given:?}");
        assert!(told.ends_with("secret: Password }"), "{told}");
        let given = known("alpine").await?.ok_or("nothing")?;
        assert_eq!((given.server.as_str(), given.secret), (DEFAULT_SERVER, of("hub", "x")));
        let given = known("token.example/a").await?.ok_or("nothing")?;
        assert_eq!(given.secret, Secret::IdentityToken("t".to_owned()));
        assert_eq!(known("other.example/a").await?, None);
        let error = known("gone.example/a").await.err().ok_or("no error")?;
        assert!(
            error.to_string().contains("gone.example") && error.hint().contains("docker login"),
            "{error}"
        );
        std::fs::write(directory.path().join(".docker/config.json"), "[")?;
        assert!(known("host.example/a").await.is_err(), "that is no configuration");
        Ok(())
    }
}
