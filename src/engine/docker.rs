//! The Docker Engine, through bollard. Nothing of bollard leaves this module.

mod client_context;
mod connect;
mod containers;
mod credentials;
mod endpoint;
mod errors;
mod images;
mod reached;
mod seccomp;
mod selection;
mod ssh;
mod streams;
mod tls;
mod volumes;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use self::errors::Call;
use self::reached::Reached;
use super::{
    ByteStream, ContainerExit, ContainerFacts, ContainerId, ContainerSpec, Engine, EngineError, EngineFacts, Executed,
    ImageBuild, ImageFacts, ImageId, Labels, LogStream, Tie, TransferProgress, VolumeFacts,
};
use crate::credentials::ClientConfig;
use crate::digest::Digest;

/// How long the engine may take to answer at all.
const CONNECT_TIMEOUT_SECONDS: u64 = 15;
/// How long a question may take; an engine that unpacks layers answers slowly.
const QUERY_TIMEOUT_SECONDS: u64 = 60;
/// How long creating, starting, ending or removing something may take.
const CHANGE_TIMEOUT_SECONDS: u64 = 180;
/// How long an upload may take, from its first byte to its last.
const UPLOAD_TIMEOUT_SECONDS: u64 = 15 * 60;
/// How long loading an archive of images may take.
const LOAD_TIMEOUT_SECONDS: u64 = 30 * 60;
/// How long a pull or push may take.
const TRANSFER_TIMEOUT_SECONDS: u64 = 60 * 60;
/// How long a pull or push may say nothing.
const TRANSFER_IDLE_TIMEOUT_SECONDS: u64 = 10 * 60;
/// How long a Dockerfile's build may take.
const BUILD_TIMEOUT_SECONDS: u64 = 60 * 60;
/// How long the engine may take to put an image's archive together before it sends the first byte.
const SAVE_TIMEOUT_SECONDS: u64 = 15 * 60;
/// How long a download may stand still.
const DOWNLOAD_IDLE_TIMEOUT_SECONDS: u64 = 2 * 60;
/// What an engine says of itself whose kernel can filter system calls.
const SECCOMP_OPTION: &str = "name=seccomp";
/// The client has one limit for all requests, which may not be shorter than any of the above: those are what counts.
const CLIENT_TIMEOUT_SECONDS: u64 = 24 * 60 * 60;

/// What an engine can do, as far as containers are created by it.
#[derive(Debug, Clone, Copy)]
struct Ability {
    /// How many processors it has.
    processors: u64,
    /// Whether it takes a profile of system calls.
    filters_calls: bool,
}

/// An engine that answers the Docker Engine's API.
#[derive(Debug, Clone)]
pub struct Docker {
    client: bollard::Docker,
    /// Where it is, and what leads there.
    reached: Arc<Reached>,
    api_version: String,
    /// Where the docker client keeps what it knows of registries.
    client_config: ClientConfig,
    /// What decides how containers are created, once that was asked for.
    ability: Arc<OnceCell<Ability>>,
}

impl Docker {
    /// Connects to the engine that the docker client would take with these variables, and agrees with it on a version of
    /// the API: `DOCKER_HOST`, else the context that `DOCKER_CONTEXT` names, else the client's current one, else Docker's
    /// own socket.
    ///
    /// # Errors
    /// [`EngineError::Undecided`] when the client's files do not say where the engine is, [`EngineError::Unreachable`],
    /// which tells by its [`obstacle`](super::Obstacle) what is in the way, and [`EngineError::TooOld`].
    pub async fn connect(variables: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        connect::connect(variables).await
    }

    fn call(&self, action: impl Into<String>, object: impl Into<String>, limit_seconds: u64) -> Call<'_> {
        Call {
            reached: &self.reached,
            action: action.into(),
            object: object.into(),
            limit: Duration::from_secs(limit_seconds),
        }
    }

    fn query(&self, object: String) -> Call<'_> {
        self.call(format!("look at {object}"), object, QUERY_TIMEOUT_SECONDS)
    }

    async fn ability(&self) -> Result<Ability, EngineError> {
        let ask = || async {
            let facts = self.find_facts().await?;
            Ok(Ability {
                processors: facts.processors,
                filters_calls: facts.filters_calls,
            })
        };
        self.ability.get_or_try_init(ask).await.copied()
    }

    async fn find_facts(&self) -> Result<EngineFacts, EngineError> {
        let version = self.query("version".to_owned()).run(self.client.version()).await?;
        let info = self
            .query("description of itself".to_owned())
            .run(self.client.info())
            .await?;
        let components = version.components.unwrap_or_default();
        let podman = components.iter().find(|component| component.name.starts_with("Podman"));
        // Podman takes a profile only as a file on its own machine, and keeps its own.
        let filters_calls = podman.is_none()
            && info
                .security_options
                .unwrap_or_default()
                .iter()
                .any(|option| option.split(',').any(|part| part == SECCOMP_OPTION));
        let version = match podman {
            Some(podman) => format!("Podman {}", podman.version),
            None => format!("Docker Engine {}", version.version.unwrap_or_default()),
        };
        let registries = info.registry_config.unwrap_or_default();
        let named = registries.index_configs.unwrap_or_default();
        let named = named.into_iter().filter(|(_, registry)| registry.secure == Some(false));
        let networks = registries.insecure_registry_cidrs.unwrap_or_default();
        let mut insecure_registries: Vec<String> = named.map(|(host, _)| host).chain(networks).collect();
        insecure_registries.sort();
        Ok(EngineFacts {
            address: self.reached.address.clone(),
            choice: self.reached.choice.clone(),
            version,
            api_version: self.api_version.clone(),
            operating_system: info.os_type.unwrap_or_default(),
            architecture: image_architecture(&info.architecture.unwrap_or_default()),
            data_directory: info.docker_root_dir.filter(|path| !path.is_empty()),
            storage_driver: info.driver.unwrap_or_default(),
            processors: unsigned(info.ncpu),
            memory_bytes: unsigned(info.mem_total),
            limits_processes: info.pids_limit.unwrap_or(false),
            filters_calls,
            insecure_registries,
        })
    }
}

/// A machine's architecture (`uname -m`) as images spell it.
fn image_architecture(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        "armv7l" | "armv6l" => "arm",
        other => other,
    }
    .to_owned()
}

/// A count as the API gives it; none and less than none are none.
fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

/// A count as the API takes it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Labels as the API takes them.
fn unordered(labels: &BTreeMap<String, String>) -> HashMap<String, String> {
    labels
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Labels as the API gives them.
fn ordered(labels: Option<HashMap<String, String>>) -> Labels {
    labels.unwrap_or_default().into_iter().collect()
}

/// The filter for what carries all these labels.
fn label_filter(labels: &Labels) -> HashMap<String, Vec<String>> {
    HashMap::from([(
        "label".to_owned(),
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect(),
    )])
}

/// Checks what becomes part of a request's path, where `..` or `?` would ask for something else.
fn check_path_part(part: &str, what: &str) -> Result<(), EngineError> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.:/@".contains(character);
    let sound =
        !part.is_empty() && part.chars().all(plain) && part.split('/').all(|step| !matches!(step, "" | "." | ".."));
    if sound {
        Ok(())
    } else {
        Err(EngineError::NotFound {
            what: format!("{what} `{}`", part.escape_debug()),
        })
    }
}

#[async_trait]
impl Engine for Docker {
    async fn facts(&self) -> Result<EngineFacts, EngineError> {
        self.find_facts().await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        self.find_image(reference).await
    }

    async fn images(&self, labels: &Labels) -> Result<Vec<ImageFacts>, EngineError> {
        self.list_images(labels).await
    }

    async fn load_images(&self, archive: ByteStream) -> Result<(), EngineError> {
        self.load_archive(archive).await
    }

    async fn pull_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        self.pull(reference, progress).await
    }

    async fn push_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<Digest, EngineError> {
        self.push(reference, progress).await
    }

    async fn build_image(
        &self,
        build: ImageBuild,
        log: &(dyn for<'line> Fn(&'line str) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        self.build(build, log).await
    }

    async fn tag_image(&self, image: &ImageId, repository: &str, tag: &str) -> Result<(), EngineError> {
        self.tag(image, repository, tag).await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        self.delete_image(reference).await
    }

    async fn save_image(&self, reference: &str) -> Result<ByteStream, EngineError> {
        self.save(reference).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        self.create(spec).await
    }

    async fn upload(&self, container: &ContainerId, path: &str, archive: ByteStream) -> Result<(), EngineError> {
        self.upload_archive(container, path, archive).await
    }

    async fn download(&self, container: &ContainerId, path: &str) -> Result<ByteStream, EngineError> {
        self.download_archive(container, path).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.start_container(container).await
    }

    async fn start_tied(&self, container: &ContainerId) -> Result<Tie, EngineError> {
        self.start_with_input(container).await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<Executed, EngineError> {
        self.execute(container, command, limit).await
    }

    async fn logs(&self, container: &ContainerId) -> Result<LogStream, EngineError> {
        self.attach(container).await
    }

    async fn wait(&self, container: &ContainerId, limit: Duration) -> Result<ContainerExit, EngineError> {
        self.wait_for_end(container, limit).await
    }

    async fn kill(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.kill_container(container).await
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.delete_container(container).await
    }

    async fn remove_ended_container(&self, container: &ContainerId) -> Result<bool, EngineError> {
        self.delete_ended_container(container).await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerFacts>, EngineError> {
        self.list_containers(labels).await
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<(), EngineError> {
        self.make_volume(name, labels).await
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, EngineError> {
        self.find_volume(name).await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeFacts>, EngineError> {
        self.list_volumes(labels).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.delete_volume(name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_a_request_astray() {
        for good in [
            "alpine:3.22",
            "sha256:3f9c",
            "host:5000/a/b@sha256:00",
            "lockstep-x_y.z",
        ] {
            assert_eq!(check_path_part(good, "image"), Ok(()), "{good}");
        }
        for bad in [
            "", "..", "a/../b", "a//b", "/a", "a?b", "a#b", "a%2fb", "a b", "a\nb", "ä",
        ] {
            assert!(check_path_part(bad, "image").is_err(), "{bad}");
        }
    }
}
