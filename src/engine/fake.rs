//! An engine without containers: images, containers and volumes are data, what a container does is a table. It keeps the
//! real one's rules (what is not attached in time is lost, a read-only root takes no files, a volume in use stays), so
//! that a run which works here fails there only for reasons of its own.

mod archive;
mod behaviour;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

pub use self::archive::{Files, Node};
pub use self::behaviour::{Behaviour, FakeContainer};
use self::state::{ExecScript, Script, State};
use super::{
    ByteStream, Choice, ContainerExit, ContainerFacts, ContainerId, ContainerSpec, Engine, EngineError, EngineFacts,
    Executed, ImageBuild, ImageFacts, ImageId, Labels, LogStream, Obstacle, Tie, TransferProgress, VolumeFacts,
};
use crate::digest::Digest;

/// Where the fake says it is.
const ADDRESS: &str = "fake://engine";
/// The label by which [`FakeEngine::on`] finds its containers.
pub const ROLE_LABEL: &str = "dev.lockstep.role";

/// An engine for tests of whatever runs containers.
///
/// ```
/// use lockstep::engine::fake::{Behaviour, FakeEngine};
///
/// let engine = FakeEngine::new()
///     .with_image("debian:build")
///     .on("compile", |container| match container.argument_with("shout") {
///         Some(_) => Behaviour::exit(3).stderr("error: no such crate"),
///         None => Behaviour::exit(0).file("/lockstep/out/libshout.so", b"ELF"),
///     })
///     .failing("pull", "no such host");
/// assert!(engine.left_behind().is_empty());
/// ```
#[derive(Clone, Default)]
pub struct FakeEngine {
    state: Arc<Mutex<State>>,
}

impl FakeEngine {
    /// An engine with nothing in it. Containers whose role nothing was said about end at once, well, without output.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has an image of this name, of one layer that is made of the name.
    #[must_use]
    pub fn with_image(self, reference: &str) -> Self {
        self.add_image(reference, reference);
        self
    }

    /// From now on this name is that of another image, made of `content`: as after somebody's `docker build -t`.
    pub fn add_image(&self, reference: &str, content: &str) {
        // Fails only where writing to memory does.
        let _ = self.lock().add_image(reference, content, &Labels::new());
    }

    /// Has an image in a registry, which [`Engine::pull_image`] brings.
    #[must_use]
    pub fn with_registry_image(self, reference: &str) -> Self {
        self.publish_image(reference, reference);
        self
    }

    /// From now on the registry has another image under this name, made of `content`; the old one by its digest.
    pub fn publish_image(&self, reference: &str, content: &str) {
        self.lock().publish(reference, content);
    }

    /// What a container does whose label [`ROLE_LABEL`] is `role`.
    #[must_use]
    pub fn on(self, role: &str, script: impl Fn(&FakeContainer) -> Behaviour + Send + Sync + 'static) -> Self {
        self.lock().scripts.insert(role.to_owned(), Arc::new(script) as Script);
        self
    }

    /// What a command does in a container whose label [`ROLE_LABEL`] is `role`: to the files of the first volume that is
    /// mounted there, by their paths in it.
    #[must_use]
    pub fn on_exec(
        self,
        role: &str,
        script: impl Fn(&[String], &mut Files) -> Executed + Send + Sync + 'static,
    ) -> Self {
        let script = Arc::new(script) as ExecScript;
        self.lock().exec_scripts.insert(role.to_owned(), script);
        self
    }

    /// Every call whose line in [`FakeEngine::calls`] contains `pattern` fails, with this cause.
    #[must_use]
    pub fn failing(self, pattern: &str, cause: &str) -> Self {
        self.lock().failures.insert(pattern.to_owned(), cause.to_owned());
        self
    }

    /// Goes away before the call with this number, the first being 1; it does not come back by itself.
    #[must_use]
    pub fn gone_at(self, call: usize) -> Self {
        self.lock().gone_at = Some(call);
        self
    }

    /// Comes back, with all that it had.
    pub fn come_back(&self) {
        self.lock().gone_at = None;
    }

    /// All calls so far, as lines: `create compile-shout`, `upload compile-shout /lockstep`, `volumes`, …
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// The containers and volumes that exist: `container compile-shout`, `volume lockstep-greeter-glibc`. A test asserts
    /// that this is empty, or what it should be.
    #[must_use]
    pub fn left_behind(&self) -> Vec<String> {
        self.lock().left_behind()
    }

    /// The specifications of all containers that ever were created, in that order.
    #[must_use]
    pub fn created(&self) -> Vec<ContainerSpec> {
        self.lock().created.clone()
    }

    /// A volume's files by their paths in it.
    #[must_use]
    pub fn volume_files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        self.lock().volume_files(name)
    }

    /// Changes what is in a volume, as somebody else on the engine could.
    pub fn tamper(&self, volume: &str, change: impl FnOnce(&mut Files)) {
        change(self.lock().nodes_of_volume(volume));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call, which may be one that fails.
    fn call(&self, line: String) -> Result<MutexGuard<'_, State>, EngineError> {
        let mut state = self.lock();
        state.calls.push(line.clone());
        if state.gone_at.is_some_and(|call| state.calls.len() >= call) {
            return Err(EngineError::Unreachable {
                address: ADDRESS.to_owned(),
                choice: Box::new(Choice::Default),
                obstacle: Obstacle::Lost,
                cause: "connection closed before message completed".to_owned(),
            });
        }
        let failure = state
            .failures
            .iter()
            .find(|(pattern, _)| line.contains(pattern.as_str()));
        match failure {
            Some((_, cause)) => Err(EngineError::Failed {
                action: line,
                cause: cause.clone(),
            }),
            None => Ok(state),
        }
    }

    /// Records a call about a container, by its name.
    fn container_call(
        &self,
        verb: &str,
        container: &ContainerId,
        rest: &str,
    ) -> Result<MutexGuard<'_, State>, EngineError> {
        let name = self
            .lock()
            .containers
            .get(&container.0)
            .map(|container| container.spec.name.clone());
        let name = name.unwrap_or_else(|| container.0.clone());
        self.call(format!("{verb} {name} {rest}").trim_end().to_owned())
    }
}

/// Does something when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

/// Everything of a stream.
async fn read(mut archive: ByteStream) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = archive.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// Bytes as a stream of two chunks, so that no reader relies on one.
fn stream_of(bytes: Vec<u8>) -> ByteStream {
    let mut first = Bytes::from(bytes);
    let second = first.split_off(first.len() / 2);
    stream::iter([Ok(first), Ok(second)]).boxed()
}

#[async_trait]
impl Engine for FakeEngine {
    async fn facts(&self) -> Result<EngineFacts, EngineError> {
        drop(self.call("facts".to_owned())?);
        Ok(EngineFacts {
            address: ADDRESS.to_owned(),
            choice: Choice::Default,
            version: "Fake Engine 1".to_owned(),
            api_version: "1.41".to_owned(),
            operating_system: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            data_directory: None,
            storage_driver: "none".to_owned(),
            processors: 2,
            memory_bytes: 4 << 30,
            limits_processes: true,
            filters_calls: true,
            insecure_registries: vec![],
        })
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        Ok(self.call(format!("image {reference}"))?.image(reference).cloned())
    }

    async fn images(&self, labels: &Labels) -> Result<Vec<ImageFacts>, EngineError> {
        let state = self.call("images".to_owned())?;
        Ok(state
            .images
            .values()
            .filter(|image| state::carries(&image.facts.labels, labels))
            .map(|image| image.facts.clone())
            .collect())
    }

    async fn load_images(&self, archive: ByteStream) -> Result<(), EngineError> {
        let bytes = read(archive).await?;
        self.call("load".to_owned())?.load(bytes)
    }

    async fn pull_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let mut state = self.call(format!("pull {reference}"))?;
        state.pull(reference)?;
        drop(state);
        for done in [0, 50, 100] {
            progress(TransferProgress {
                status: "Downloading".to_owned(),
                bytes: Some((done, 100)),
            });
        }
        Ok(())
    }

    async fn push_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<Digest, EngineError> {
        let digest = self.call(format!("push {reference}"))?.push_image(reference)?;
        progress(TransferProgress {
            status: "Pushing".to_owned(),
            bytes: Some((100, 100)),
        });
        Ok(digest)
    }

    async fn build_image(
        &self,
        build: ImageBuild,
        log: &(dyn for<'line> Fn(&'line str) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        let ImageBuild {
            context,
            dockerfile,
            labels,
            tag,
            ..
        } = build;
        let context = archive::unpack(&read(context).await?)?;
        let mut state = match self.call(format!("build {tag}")) {
            Err(EngineError::Failed { cause, .. }) => return Err(EngineError::BuildFailed { dockerfile, cause }),
            state => state?,
        };
        if !context.contains_key(&dockerfile) {
            let cause = format!("Cannot locate specified Dockerfile: {dockerfile}");
            return Err(EngineError::BuildFailed { dockerfile, cause });
        }
        let id = state.add_image(&tag, &tag, &labels)?;
        drop(state);
        log("Step 1/1 : FROM scratch");
        Ok(id)
    }

    async fn tag_image(&self, image: &ImageId, repository: &str, tag: &str) -> Result<(), EngineError> {
        let name = format!("{repository}:{tag}");
        self.call(format!("tag {name}"))?.tag(image, name)
    }

    async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        self.call(format!("remove-image {reference}"))?.remove_image(reference)
    }

    async fn save_image(&self, reference: &str) -> Result<ByteStream, EngineError> {
        let state = self.call(format!("save {reference}"))?;
        let image = state
            .find_image(reference)
            .ok_or_else(|| state::missing("image", reference))?;
        Ok(stream_of(image.archive.clone()))
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        self.call(format!("create {}", spec.name))?.create(spec)
    }

    async fn upload(&self, container: &ContainerId, path: &str, archive: ByteStream) -> Result<(), EngineError> {
        let bytes = read(archive).await?;
        let mut state = self.container_call("upload", container, path)?;
        state.upload(container, path, archive::unpack(&bytes)?)
    }

    async fn download(&self, container: &ContainerId, path: &str) -> Result<ByteStream, EngineError> {
        let state = self.container_call("download", container, path)?;
        let files = state.files_below(container, path)?;
        drop(state);
        Ok(stream_of(archive::pack(&files)?))
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        let behaviour = self.container_call("start", container, "")?.start(container)?;
        let Some(duration) = behaviour.duration() else {
            return Ok(());
        };
        if duration.is_zero() {
            self.lock().end(container, behaviour.exit_value());
        } else {
            let (engine, container) = (self.clone(), container.clone());
            tokio::spawn(async move {
                tokio::time::sleep(duration).await;
                engine.lock().end(&container, behaviour.exit_value());
            });
        }
        Ok(())
    }

    async fn start_tied(&self, container: &ContainerId) -> Result<Tie, EngineError> {
        self.container_call("start", container, "")?.start_tied(container)?;
        let (engine, container) = (self.clone(), container.clone());
        let ended = ContainerExit {
            status: 0,
            out_of_memory: false,
        };
        Ok(Tie::new(OnDrop(Some(move || engine.lock().end(&container, ended)))))
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        _limit: Duration,
    ) -> Result<Executed, EngineError> {
        self.container_call("exec", container, &command.join(" "))?
            .exec(container, command)
    }

    async fn logs(&self, container: &ContainerId) -> Result<LogStream, EngineError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.container_call("logs", container, "")?.attach(container, sender)?;
        let pieces = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (Ok(piece), receiver))
        });
        Ok(pieces.boxed())
    }

    async fn wait(&self, container: &ContainerId, limit: Duration) -> Result<ContainerExit, EngineError> {
        let mut ended = self.container_call("wait", container, "")?.ended(container)?;
        let exit = tokio::time::timeout(limit, ended.wait_for(Option::is_some)).await;
        match exit {
            Ok(Ok(exit)) => exit.ok_or_else(|| state::missing("container", &container.0)),
            Ok(Err(_)) => Err(state::missing("container", &container.0)),
            Err(_) => Err(EngineError::TimedOut {
                action: format!("see the end of container {container}"),
                limit,
            }),
        }
    }

    async fn kill(&self, container: &ContainerId) -> Result<(), EngineError> {
        let mut state = self.container_call("kill", container, "")?;
        state.ended(container)?;
        state.end(container, state::KILLED);
        Ok(())
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.container_call("remove", container, "")?
            .remove_container(container);
        Ok(())
    }

    async fn remove_ended_container(&self, container: &ContainerId) -> Result<bool, EngineError> {
        Ok(self
            .container_call("remove-ended", container, "")?
            .remove_ended(container))
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerFacts>, EngineError> {
        Ok(self.call("containers".to_owned())?.containers_with(labels))
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<(), EngineError> {
        self.call(format!("create-volume {name}"))?
            .create_volume(name, labels, false);
        Ok(())
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, EngineError> {
        Ok(self.call(format!("volume {name}"))?.volume(name))
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeFacts>, EngineError> {
        Ok(self.call("volumes".to_owned())?.volumes_with(labels))
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.call(format!("remove-volume {name}"))?.remove_volume(name)
    }
}
