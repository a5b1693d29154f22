//! An engine on a leash: when the run is stopped, no call keeps it for longer than a few seconds, whatever the engine does,
//! and what may be left behind is known by name.
//!
//! | a call | after the stop it is given |
//! | --- | --- |
//! | that goes on with the work | [`WORK_GRACE_SECONDS`], from the stop on |
//! | that publishes, or takes back what is half published | [`PUBLICATION_SILENCE_SECONDS`] each, [`PUBLICATION_GRACE_SECONDS`] in all |
//! | that looks for what is to be removed, ends it or removes it | [`SILENCE_SECONDS`] each, [`STOP_LIMIT_SECONDS`] in all |
//!
//! One call that is given up for its own limit means that the engine is silent: nothing more is asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::{
    ByteStream, ContainerExit, ContainerFacts, ContainerId, ContainerSpec, Engine, EngineError, EngineFacts, Executed,
    ImageBuild, ImageFacts, ImageId, Labels, LogStream, Tie, TransferProgress, VolumeFacts,
};
use crate::digest::Digest;

/// How long what is in flight may take to end after the stop: a container that is being created is better waited for.
const WORK_GRACE_SECONDS: u64 = 2;
/// How long an engine may be silent after the stop.
const SILENCE_SECONDS: u64 = 4;
/// How long it may be silent while something is published: one call there is several requests, each of them slow.
const PUBLICATION_SILENCE_SECONDS: u64 = 8;
/// How long a publication in the middle may take to end, or to be taken back, when the engine is slow but answers.
const PUBLICATION_GRACE_SECONDS: u64 = 20;
/// After this nothing more is asked of the engine, however it answers.
pub const STOP_LIMIT_SECONDS: u64 = 25;

/// An engine whose calls end soon after the run is stopped.
pub struct Leash {
    engine: Arc<dyn Engine>,
    /// The user's signal.
    stop: CancellationToken,
    work_over: CancellationToken,
    publication_over: CancellationToken,
    all_over: CancellationToken,
    clock: AbortHandle,
    publications: AtomicUsize,
    is_silent: AtomicBool,
    made: Mutex<Made>,
}

/// What was made and is not known to be gone.
#[derive(Debug, Default)]
struct Made {
    /// By name, also when the engine has not answered.
    containers: BTreeSet<String>,
    names: BTreeMap<ContainerId, String>,
    volumes: BTreeSet<String>,
    images: BTreeSet<String>,
}

/// What kind of call it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Work,
    Publication,
    Cleanup,
}

/// While it is held, calls belong to a publication.
#[must_use = "the publication ends when this is dropped"]
pub struct Publishing<'a>(&'a AtomicUsize);

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

impl Leash {
    /// `engine`, until `stop`. To be called inside of a runtime.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, stop: CancellationToken) -> Self {
        let [work_over, publication_over, all_over] = std::array::from_fn(|_| CancellationToken::new());
        let marks = [
            (WORK_GRACE_SECONDS, work_over.clone()),
            (PUBLICATION_GRACE_SECONDS, publication_over.clone()),
            (STOP_LIMIT_SECONDS, all_over.clone()),
        ];
        let stopped = stop.clone();
        let clock = tokio::spawn(async move {
            stopped.cancelled().await;
            let mut passed = 0;
            for (seconds, mark) in marks {
                tokio::time::sleep(Duration::from_secs(seconds - passed)).await;
                mark.cancel();
                passed = seconds;
            }
        });
        Self {
            engine,
            stop,
            work_over,
            publication_over,
            all_over,
            clock: clock.abort_handle(),
            publications: AtomicUsize::new(0),
            is_silent: AtomicBool::new(false),
            made: Mutex::default(),
        }
    }

    /// From now on, until this is dropped, calls are given what a publication is given.
    pub fn publishing(&self) -> Publishing<'_> {
        self.publications.fetch_add(1, Ordering::Relaxed);
        Publishing(&self.publications)
    }

    /// An image of this name is about to be loaded.
    pub fn expect_image(&self, name: &str) {
        self.made().images.insert(name.to_owned());
    }

    /// This volume is meant to stay.
    pub fn keep_volume(&self, name: &str) {
        self.made().volumes.remove(name);
    }

    /// What was made here and may still be there: `container x`, `volume y`, `image z`.
    #[must_use]
    pub fn left_behind(&self) -> Vec<String> {
        let made = self.made();
        let kinds = [
            ("container", &made.containers),
            ("volume", &made.volumes),
            ("image", &made.images),
        ];
        kinds
            .iter()
            .flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind} {name}")))
            .collect()
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kind(&self, outside_of_publications: Kind) -> Kind {
        if self.publications.load(Ordering::Relaxed) > 0 {
            Kind::Publication
        } else {
            outside_of_publications
        }
    }

    async fn work<T>(
        &self,
        action: &str,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        self.bounded(self.kind(Kind::Work), action, call).await
    }

    async fn cleanup<T>(
        &self,
        action: &str,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        self.bounded(self.kind(Kind::Cleanup), action, call).await
    }

    async fn bounded<T>(
        &self,
        kind: Kind,
        action: &str,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let abandoned = || EngineError::Abandoned {
            action: action.to_owned(),
        };
        let over = match kind {
            Kind::Work => &self.work_over,
            Kind::Publication => &self.publication_over,
            Kind::Cleanup => &self.all_over,
        };
        // Not even begun: what is asked for and not waited for would be made later, unseen.
        if over.is_cancelled() || self.is_silent.load(Ordering::Relaxed) {
            return Err(abandoned());
        }
        let silence_seconds = match kind {
            Kind::Publication => PUBLICATION_SILENCE_SECONDS,
            Kind::Work | Kind::Cleanup => SILENCE_SECONDS,
        };
        let silence = async {
            self.stop.cancelled().await;
            tokio::time::sleep(Duration::from_secs(silence_seconds)).await;
        };
        tokio::select! {
            biased;
            answer = call => answer,
            () = over.cancelled() => Err(abandoned()),
            () = silence => {
                self.is_silent.store(true, Ordering::Relaxed);
                Err(abandoned())
            }
        }
    }

    /// A stream that ends with an error when what reads it has no time left.
    fn bounded_stream(&self, action: &'static str, stream: ByteStream) -> ByteStream {
        let over = match self.kind(Kind::Work) {
            Kind::Publication => self.publication_over.clone(),
            _ => self.work_over.clone(),
        };
        let pieces = stream::unfold(Some(stream), move |stream| {
            let over = over.clone();
            async move {
                let mut stream = stream?;
                tokio::select! {
                    biased;
                    piece = stream.next() => piece.map(|piece| (piece, Some(stream))),
                    () = over.cancelled() => {
                        let action = action.to_owned();
                        Some((Err(EngineError::Abandoned { action }), None))
                    }
                }
            }
        });
        pieces.boxed()
    }

    fn forget(&self, container: &ContainerId) {
        let mut made = self.made();
        if let Some(name) = made.names.remove(container) {
            made.containers.remove(&name);
        }
    }
}

#[async_trait]
impl Engine for Leash {
    async fn facts(&self) -> Result<EngineFacts, EngineError> {
        self.work("describe itself", self.engine.facts()).await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        self.work("look at an image", self.engine.image(reference)).await
    }

    async fn images(&self, labels: &Labels) -> Result<Vec<ImageFacts>, EngineError> {
        self.cleanup("list images", self.engine.images(labels)).await
    }

    async fn load_images(&self, archive: ByteStream) -> Result<(), EngineError> {
        self.work("load images", self.engine.load_images(archive)).await
    }

    async fn pull_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        self.work("pull an image", self.engine.pull_image(reference, progress))
            .await
    }

    async fn push_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<Digest, EngineError> {
        self.work("push an image", self.engine.push_image(reference, progress))
            .await
    }

    async fn build_image(
        &self,
        build: ImageBuild,
        log: &(dyn for<'line> Fn(&'line str) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        self.work("build an image", self.engine.build_image(build, log)).await
    }

    async fn tag_image(&self, image: &ImageId, repository: &str, tag: &str) -> Result<(), EngineError> {
        self.work("tag an image", self.engine.tag_image(image, repository, tag))
            .await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        self.cleanup("remove an image", self.engine.remove_image(reference))
            .await?;
        self.made().images.remove(reference);
        Ok(())
    }

    async fn save_image(&self, reference: &str) -> Result<ByteStream, EngineError> {
        let stream = self.work("save an image", self.engine.save_image(reference)).await?;
        Ok(self.bounded_stream("save an image", stream))
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        self.made().containers.insert(spec.name.clone());
        let created = self
            .work("create a container", self.engine.create_container(spec))
            .await;
        let mut made = self.made();
        match &created {
            Ok(id) => _ = made.names.insert(id.clone(), spec.name.clone()),
            Err(error) if error.is_uncertain() => {}
            Err(_) => _ = made.containers.remove(&spec.name),
        }
        created
    }

    async fn upload(&self, container: &ContainerId, path: &str, archive: ByteStream) -> Result<(), EngineError> {
        self.work("upload files", self.engine.upload(container, path, archive))
            .await
    }

    async fn download(&self, container: &ContainerId, path: &str) -> Result<ByteStream, EngineError> {
        let stream = self
            .work("download files", self.engine.download(container, path))
            .await?;
        Ok(self.bounded_stream("download files", stream))
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.work("start a container", self.engine.start(container)).await
    }

    async fn start_tied(&self, container: &ContainerId) -> Result<Tie, EngineError> {
        self.work("start a container", self.engine.start_tied(container)).await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<Executed, EngineError> {
        self.work("run a command", self.engine.exec(container, command, limit))
            .await
    }

    async fn logs(&self, container: &ContainerId) -> Result<LogStream, EngineError> {
        self.work("follow a container", self.engine.logs(container)).await
    }

    async fn wait(&self, container: &ContainerId, limit: Duration) -> Result<ContainerExit, EngineError> {
        self.work("see the end of a container", self.engine.wait(container, limit))
            .await
    }

    async fn kill(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.cleanup("end a container", self.engine.kill(container)).await
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.cleanup("remove a container", self.engine.remove_container(container))
            .await?;
        self.forget(container);
        Ok(())
    }

    async fn remove_ended_container(&self, container: &ContainerId) -> Result<bool, EngineError> {
        let is_gone = self
            .cleanup("remove a container", self.engine.remove_ended_container(container))
            .await?;
        if is_gone {
            self.forget(container);
        }
        Ok(is_gone)
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerFacts>, EngineError> {
        let containers = self.cleanup("list containers", self.engine.containers(labels)).await?;
        let mut made = self.made();
        // One whose creation was given up has its name here for the first time.
        for container in &containers {
            if made.containers.contains(&container.name) {
                let id = ContainerId(container.id.clone());
                made.names.insert(id, container.name.clone());
            }
        }
        drop(made);
        Ok(containers)
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<(), EngineError> {
        self.made().volumes.insert(name.to_owned());
        let created = self
            .work("create a volume", self.engine.create_volume(name, labels))
            .await;
        if created.as_ref().is_err_and(|error| !error.is_uncertain()) {
            self.made().volumes.remove(name);
        }
        created
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, EngineError> {
        self.work("look at a volume", self.engine.volume(name)).await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeFacts>, EngineError> {
        self.cleanup("list volumes", self.engine.volumes(labels)).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.cleanup("remove a volume", self.engine.remove_volume(name)).await?;
        self.made().volumes.remove(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::{Behaviour, FakeEngine, ROLE_LABEL};
    use crate::engine::{MachineView, Network, ResourceLimits};
    use tokio::time::timeout;

    fn spec(image: &ImageFacts) -> ContainerSpec {
        ContainerSpec {
            name: "lockstep-x".to_owned(),
            image: image.id.clone(),
            command: vec!["true".to_owned()],
            environment: BTreeMap::new(),
            working_directory: "/".to_owned(),
            user: "0:0".to_owned(),
            labels: Labels::from([(ROLE_LABEL.to_owned(), "hanging".to_owned())]),
            network: Network::None,
            mounts: vec![],
            limits: ResourceLimits {
                memory_bytes: 1,
                nano_cpus: 1,
                processes: 1,
                file_bytes: None,
            },
            read_only_root: true,
            init: false,
            tied: false,
            capabilities: vec![],
            sees_interfaces: false,
            beside: None,
            machine: MachineView::default(),
        }
    }

    /// A leash with a container that never ends.
    async fn hanging(stop: &CancellationToken) -> Result<(Leash, FakeEngine, ContainerId), EngineError> {
        let fake = FakeEngine::new()
            .with_image("image")
            .on("hanging", |_| Behaviour::hang());
        let leash = Leash::new(Arc::new(fake.clone()), stop.clone());
        let image = leash.image("image").await?.unwrap();
        let container = leash.create_container(&spec(&image)).await?;
        leash.start(&container).await?;
        Ok((leash, fake, container))
    }

    #[tokio::test]
    async fn what_is_in_flight_is_given_up_and_what_is_left_can_still_be_removed() -> Result<(), EngineError> {
        let stop = CancellationToken::new();
        let (leash, fake, container) = hanging(&stop).await?;
        let hour = Duration::from_secs(3600);
        let moment = Duration::from_millis(50);
        assert!(
            timeout(moment, leash.wait(&container, hour)).await.is_err(),
            "not stopped"
        );
        stop.cancel();
        let waited = timeout(
            Duration::from_secs(WORK_GRACE_SECONDS + 1),
            leash.wait(&container, hour),
        )
        .await;
        assert!(matches!(waited, Ok(Err(EngineError::Abandoned { .. }))), "{waited:?}");
        let more = leash.image("image").await;
        assert_eq!(leash.left_behind(), ["container lockstep-x"]);
        assert!(matches!(more, Err(EngineError::Abandoned { .. })), "{more:?}");
        leash.remove_container(&container).await?;
        assert_eq!((leash.left_behind(), fake.left_behind()), (vec![], vec![]));
        Ok(())
    }

    #[tokio::test]
    async fn a_publication_is_given_longer_unless_the_engine_is_silent() -> Result<(), EngineError> {
        let stop = CancellationToken::new();
        let (leash, _, container) = hanging(&stop).await?;
        stop.cancel();
        let publishing = leash.publishing();
        let hour = Duration::from_secs(3600);
        let grace = Duration::from_secs(WORK_GRACE_SECONDS + 1);
        assert!(timeout(grace, leash.wait(&container, hour)).await.is_err(), "longer");
        let silence = Duration::from_secs(PUBLICATION_SILENCE_SECONDS + 1);
        let waited = timeout(silence, leash.wait(&container, hour)).await;
        assert!(matches!(waited, Ok(Err(EngineError::Abandoned { .. }))), "{waited:?}");
        drop(publishing);
        // It was silent once: nothing more is asked.
        let removed = leash.remove_container(&container).await;
        assert!(matches!(removed, Err(EngineError::Abandoned { .. })), "{removed:?}");
        assert_eq!(leash.left_behind(), ["container lockstep-x"]);
        Ok(())
    }

    #[tokio::test]
    async fn what_the_engine_refused_to_make_is_not_left_behind() -> Result<(), EngineError> {
        let fake = FakeEngine::new().with_image("image").failing("create", "no");
        let leash = Leash::new(Arc::new(fake), CancellationToken::new());
        let image = leash.image("image").await?.unwrap();
        assert!(leash.create_container(&spec(&image)).await.is_err());
        assert!(leash.create_volume("v", &Labels::new()).await.is_err());
        assert_eq!(leash.left_behind(), [""; 0]);
        leash.expect_image("a:b");
        assert_eq!(leash.left_behind(), ["image a:b"]);
        leash.remove_image("a:b").await?;
        assert_eq!(leash.left_behind(), [""; 0]);
        Ok(())
    }
}
