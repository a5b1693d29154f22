//! What the docker client knows of registries, as the engine takes it.

use bollard::auth::DockerCredentials;

use crate::credentials::{ClientConfig, Secret};
use crate::engine::EngineError;

/// What the registry of an image is told of who asks; none where the client knows nothing of it.
///
/// # Errors
/// When the client's configuration cannot be understood, or its helper fails.
pub(super) async fn credentials(
    config: &ClientConfig,
    reference: &str,
) -> Result<Option<DockerCredentials>, EngineError> {
    let Some(known) = config.credentials(reference).await? else {
        return Ok(None);
    };
    let given = DockerCredentials {
        serveraddress: Some(known.server),
        ..DockerCredentials::default()
    };
    Ok(Some(match known.secret {
        Secret::Password { user, password } => DockerCredentials {
            username: Some(user),
            password: Some(password),
            ..given
        },
        Secret::IdentityToken(token) => DockerCredentials {
            identitytoken: Some(token),
            ..given
        },
    }))
}
