//! What the fake has.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::archive::{self, Files, Node};
use super::{Behaviour, FakeContainer, ROLE_LABEL};
use crate::digest::Digest;
use crate::engine::{
    ContainerExit, ContainerFacts, ContainerId, ContainerSpec, EngineError, Executed, ImageFacts, ImageId, Labels,
    Mount, OutputStream, VolumeFacts,
};

/// How a container ends that is killed.
pub(super) const KILLED: ContainerExit = ContainerExit {
    status: 137,
    out_of_memory: false,
};

/// What containers of one role do.
pub(super) type Script = Arc<dyn Fn(&FakeContainer) -> Behaviour + Send + Sync>;
/// What commands do in containers of one role, with the files of the volume that those have.
pub(super) type ExecScript = Arc<dyn Fn(&[String], &mut Files) -> Executed + Send + Sync>;
/// Where a container's output goes.
type Sink = mpsc::UnboundedSender<(OutputStream, Bytes)>;

/// Whether `labels` has all of `wanted`.
pub(super) fn carries(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// The error for what does not exist.
pub(super) fn missing(kind: &str, name: &str) -> EngineError {
    EngineError::NotFound {
        what: format!("{kind} {name}"),
    }
}

fn refused(action: &str, cause: &str) -> EngineError {
    EngineError::Failed {
        action: action.to_owned(),
        cause: cause.to_owned(),
    }
}

pub(super) struct Image {
    pub(super) facts: ImageFacts,
    pub(super) archive: Vec<u8>,
}

pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    state: &'static str,
    /// Files outside of volumes, by absolute path.
    files: Files,
    mounts: Vec<VolumeMount>,
    sinks: Vec<Sink>,
    ended: watch::Sender<Option<ContainerExit>>,
}

struct VolumeMount {
    path: String,
    volume: String,
    is_read_only: bool,
}

#[derive(Default)]
struct Volume {
    labels: Labels,
    is_anonymous: bool,
    files: Files,
}

/// What `manifest.json` in an archive says of an image (image specification 1.2).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: String,
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    config: RunConfig,
    rootfs: RootFs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RunConfig {
    labels: Option<Labels>,
    env: Option<Vec<String>>,
    user: Option<String>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) images: BTreeMap<ImageId, Image>,
    /// What registries have, by reference.
    pub(super) registry: BTreeMap<String, String>,
    /// What was pushed, by name and by digest: images as they are saved.
    pushed: BTreeMap<String, (ImageId, Vec<u8>)>,
    pub(super) scripts: BTreeMap<String, Script>,
    pub(super) exec_scripts: BTreeMap<String, ExecScript>,
    pub(super) failures: BTreeMap<String, String>,
    pub(super) gone_at: Option<usize>,
    pub(super) calls: Vec<String>,
    pub(super) created: Vec<ContainerSpec>,
    pub(super) containers: BTreeMap<String, Container>,
    volumes: BTreeMap<String, Volume>,
}

impl State {
    /// An image with one layer, which holds `content`; the ID is the configuration's digest, as in the classic store.
    pub(super) fn add_image(
        &mut self,
        reference: &str,
        content: &str,
        labels: &Labels,
    ) -> Result<ImageId, EngineError> {
        let archive = image_archive(content, labels, reference)?;
        self.load(archive)?;
        self.image(reference)
            .map(|facts| facts.id.clone())
            .ok_or_else(|| missing("image", reference))
    }

    /// Has `content` in a registry under this reference from now on, and for ever by its digest.
    pub(super) fn publish(&mut self, reference: &str, content: &str) {
        self.registry.insert(reference.to_owned(), content.to_owned());
        self.registry.insert(by_digest(reference, content), content.to_owned());
    }

    /// Brings what the registry has under this reference; by digest, it gets no tag.
    pub(super) fn pull(&mut self, reference: &str) -> Result<(), EngineError> {
        if let Some((id, archive)) = self.pushed.get(reference).cloned() {
            self.load(archive)?;
            let name = reference.to_owned();
            if let Some(image) = self.images.get_mut(&id) {
                match name.contains('@') {
                    true if !image.facts.repository_digests.contains(&name) => {
                        image.facts.repository_digests.push(name)
                    }
                    true => {}
                    false => self.name(&id, name),
                }
            }
            return Ok(());
        }
        let Some(content) = self.registry.get(reference).cloned() else {
            let cause = "dial tcp: lookup registry.invalid: no such host";
            return Err(refused(&format!("pull {reference}"), cause));
        };
        let id = self.add_image(reference, &content, &Labels::new())?;
        let digest = by_digest(reference, &content);
        if let Some(image) = self.images.get_mut(&id) {
            image.facts.tags.retain(|tag| !tag.contains('@'));
            if !image.facts.repository_digests.contains(&digest) {
                image.facts.repository_digests.push(digest);
            }
        }
        Ok(())
    }

    /// Puts an image into the registry under a name that it has, and gives the digest there.
    pub(super) fn push_image(&mut self, reference: &str) -> Result<Digest, EngineError> {
        let image = self.find_image(reference).ok_or_else(|| missing("image", reference))?;
        let archive = image.archive.clone();
        let digest = Digest::of(&archive);
        let (repository, _) = reference.rsplit_once(':').unwrap_or((reference, ""));
        let by_digest = format!("{repository}@{digest}");
        let id = image.facts.id.clone();
        for name in [reference.to_owned(), by_digest.clone()] {
            self.pushed.insert(name, (id.clone(), archive.clone()));
        }
        if let Some(image) = self.images.get_mut(&id)
            && !image.facts.repository_digests.contains(&by_digest)
        {
            image.facts.repository_digests.push(by_digest);
        }
        Ok(digest)
    }

    /// Gives `name` to one image and takes it from any other.
    fn name(&mut self, id: &ImageId, name: String) {
        for image in self.images.values_mut() {
            image.facts.tags.retain(|tag| *tag != name);
        }
        if let Some(image) = self.images.get_mut(id) {
            image.facts.tags.push(name);
        }
    }

    pub(super) fn find_image(&self, reference: &str) -> Option<&Image> {
        self.images.get(&ImageId(reference.to_owned())).or_else(|| {
            self.images.values().find(|image| {
                let mut names = image.facts.tags.iter().chain(&image.facts.repository_digests);
                names.any(|name| name == reference)
            })
        })
    }

    pub(super) fn image(&self, reference: &str) -> Option<&ImageFacts> {
        self.find_image(reference).map(|image| &image.facts)
    }

    pub(super) fn tag(&mut self, image: &ImageId, name: String) -> Result<(), EngineError> {
        let id = self
            .image(&image.0)
            .ok_or_else(|| missing("image", &image.0))?
            .id
            .clone();
        self.name(&id, name);
        Ok(())
    }

    pub(super) fn remove_image(&mut self, reference: &str) -> Result<(), EngineError> {
        let Some(facts) = self.image(reference).cloned() else {
            return Ok(());
        };
        let is_used = self
            .containers
            .values()
            .any(|container| container.spec.image == facts.id);
        if facts.id.0 == reference || facts.tags.len() == 1 {
            if is_used {
                return Err(refused("remove an image", "it is being used by a container"));
            }
            self.images.remove(&facts.id);
        } else if let Some(image) = self.images.get_mut(&facts.id) {
            image.facts.tags.retain(|tag| tag != reference);
        }
        Ok(())
    }

    /// Loads an archive as the real engine does: the ID is the configuration's digest.
    pub(super) fn load(&mut self, bytes: Vec<u8>) -> Result<(), EngineError> {
        let invalid = |error: serde_json::Error| refused("load images", &error.to_string());
        let files = archive::unpack(&bytes)?;
        let file = |name: &str| {
            let content = files.get(name).and_then(Node::content);
            content.ok_or_else(|| refused("load images", &format!("open {name}: no such file or directory")))
        };
        let manifests: Vec<Manifest> = serde_json::from_slice(file("manifest.json")?).map_err(invalid)?;
        for manifest in &manifests {
            let text = file(&manifest.config)?;
            let config: Config = serde_json::from_slice(text).map_err(invalid)?;
            let id = ImageId(Digest::of(text).to_string());
            let facts = ImageFacts {
                id: id.clone(),
                diff_ids: config.rootfs.diff_ids,
                repository_digests: Vec::new(),
                tags: Vec::new(),
                architecture: config.architecture,
                labels: config.config.labels.unwrap_or_default(),
                environment: config.config.env.unwrap_or_default(),
                user: config.config.user.unwrap_or_default(),
                size_bytes: bytes.len() as u64,
            };
            self.images.entry(id.clone()).or_insert(Image {
                facts,
                archive: bytes.clone(),
            });
            for name in manifest.repo_tags.iter().flatten() {
                self.name(&id, name.clone());
            }
        }
        Ok(())
    }

    pub(super) fn create(&mut self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        if self.image(&spec.image.0).is_none() {
            return Err(missing("image", &spec.image.0));
        }
        if self
            .containers
            .values()
            .any(|container| container.spec.name == spec.name)
        {
            return Err(EngineError::NameTaken {
                name: spec.name.clone(),
            });
        }
        self.created.push(spec.clone());
        let id = Digest::of(format!("{} {}", self.created.len(), spec.name).as_bytes()).hex();
        let mut mounts = Vec::new();
        for (index, mount) in spec.mounts.iter().enumerate() {
            match mount {
                Mount::Volume { name, path, read_only } => {
                    if !self.volumes.contains_key(name) {
                        return Err(missing("volume", name));
                    }
                    mounts.push(VolumeMount {
                        path: path.clone(),
                        volume: name.clone(),
                        is_read_only: *read_only,
                    });
                }
                Mount::Anonymous { path, labels } => {
                    let name = Digest::of(format!("{id} {index}").as_bytes()).hex();
                    self.create_volume(&name, labels, true);
                    mounts.push(VolumeMount {
                        path: path.clone(),
                        volume: name,
                        is_read_only: false,
                    });
                }
                Mount::Tmpfs { .. } | Mount::OwnedTmpfs { .. } => {}
            }
        }
        let container = Container {
            spec: spec.clone(),
            state: "created",
            files: Files::new(),
            mounts,
            sinks: Vec::new(),
            ended: watch::Sender::new(None),
        };
        self.containers.insert(id.clone(), container);
        Ok(ContainerId(id))
    }

    fn container(&self, id: &ContainerId) -> Result<&Container, EngineError> {
        self.containers.get(&id.0).ok_or_else(|| missing("container", &id.0))
    }

    fn container_mut(&mut self, id: &ContainerId) -> Result<&mut Container, EngineError> {
        self.containers
            .get_mut(&id.0)
            .ok_or_else(|| missing("container", &id.0))
    }

    pub(super) fn upload(&mut self, id: &ContainerId, path: &str, files: Files) -> Result<(), EngineError> {
        self.container(id)?;
        files
            .into_iter()
            .try_for_each(|(name, node)| self.put(id, &join(path, &name), node))
    }

    /// Puts a file where it belongs: the volume that is mounted there, or the container's own layer.
    fn put(&mut self, id: &ContainerId, path: &str, node: Node) -> Result<(), EngineError> {
        let container = self
            .containers
            .get_mut(&id.0)
            .ok_or_else(|| missing("container", &id.0))?;
        let mount = container
            .mounts
            .iter()
            .find_map(|mount| Some((mount, relative(path, &mount.path)?)));
        match mount {
            Some((mount, _)) if mount.is_read_only => Err(refused("write a file", "the volume is mounted read-only")),
            Some((mount, path)) => {
                if let Some(volume) = self.volumes.get_mut(&mount.volume) {
                    volume.files.insert(path.to_owned(), node);
                }
                Ok(())
            }
            None if container.spec.read_only_root => {
                Err(refused("write a file", "container rootfs is marked read-only"))
            }
            None => {
                container.files.insert(path.to_owned(), node);
                Ok(())
            }
        }
    }

    /// All files of a container, by absolute path.
    fn all_files(&self, id: &ContainerId) -> Result<Files, EngineError> {
        let container = self.container(id)?;
        let mut files = container.files.clone();
        for mount in &container.mounts {
            files.insert(mount.path.clone(), Node::Directory);
            let volume = self.volumes.get(&mount.volume).map(|volume| &volume.files);
            let volume = volume.into_iter().flatten();
            files.extend(volume.map(|(path, node)| (join(&mount.path, path), node.clone())));
        }
        Ok(files)
    }

    /// What is at `path`, with the paths it has in the engine's tar, which start with the last step of `path`.
    pub(super) fn files_below(&self, id: &ContainerId, path: &str) -> Result<Files, EngineError> {
        let path = path.trim_end_matches('/');
        let root = path.rsplit('/').next().unwrap_or_default();
        let below = |(file, node): (String, Node)| Some((join(root, relative(&file, path)?), node));
        let mut files: Files = self.all_files(id)?.into_iter().filter_map(below).collect();
        if files.is_empty() {
            return Err(missing(path, &format!("in container {id}")));
        }
        // A directory is there as soon as a file below it is.
        files.entry(root.to_owned()).or_insert(Node::Directory);
        Ok(files)
    }

    /// Attaches to the output, which only what has not started yet still has.
    pub(super) fn attach(&mut self, id: &ContainerId, sink: Sink) -> Result<(), EngineError> {
        let container = self.container_mut(id)?;
        if container.state == "created" {
            container.sinks.push(sink);
        }
        Ok(())
    }

    pub(super) fn start(&mut self, id: &ContainerId) -> Result<Behaviour, EngineError> {
        let nodes = self.all_files(id)?;
        let mut files: BTreeMap<String, Vec<u8>> = nodes
            .iter()
            .filter_map(|(path, node)| Some((path.clone(), node.content()?.to_vec())))
            .collect();
        // What a link to a directory leads to is there as well.
        for (link, target) in nodes.iter().filter_map(|(path, node)| Some((path, node.target()?))) {
            let below =
                |(path, content): (&String, &Vec<u8>)| Some((join(link, relative(path, target)?), content.clone()));
            let linked: Vec<_> = files.iter().filter_map(below).collect();
            files.extend(linked);
        }
        let seen = FakeContainer {
            spec: self.container(id)?.spec.clone(),
            files,
        };
        let script = seen.spec.labels.get(ROLE_LABEL).and_then(|role| self.scripts.get(role));
        let behaviour = script.map_or_else(|| Behaviour::exit(0), |script| script(&seen));
        for (path, content) in &behaviour.files {
            self.put(id, path, Node::program(content.clone()))?;
        }
        let container = self.container_mut(id)?;
        container.state = "running";
        for piece in &behaviour.output {
            // A reader that has gone is none of the container's business.
            container.sinks.retain(|sink| sink.send(piece.clone()).is_ok());
        }
        Ok(behaviour)
    }

    /// Starts a container that lasts until it is killed, removed or let go.
    pub(super) fn start_tied(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        self.container_mut(id)?.state = "running";
        Ok(())
    }

    /// Runs a command in a running container, on the volume that it has.
    pub(super) fn exec(&mut self, id: &ContainerId, command: &[String]) -> Result<Executed, EngineError> {
        let container = self.container(id)?;
        if container.state != "running" {
            return Err(refused("run a command", "the container is not running"));
        }
        let role = container.spec.labels.get(ROLE_LABEL).cloned().unwrap_or_default();
        let volume = container.mounts.first().map(|mount| mount.volume.clone());
        let (Some(script), Some(volume)) = (self.exec_scripts.get(&role).cloned(), volume) else {
            let output = String::new();
            return Ok(Executed { status: 0, output });
        };
        Ok(script(command, self.nodes_of_volume(&volume)))
    }

    /// Removes a container unless it runs, and says whether it is gone.
    pub(super) fn remove_ended(&mut self, id: &ContainerId) -> bool {
        if self
            .containers
            .get(&id.0)
            .is_some_and(|container| container.state == "running")
        {
            return false;
        }
        self.remove_container(id);
        true
    }

    /// The container is over, if it still was running.
    pub(super) fn end(&mut self, id: &ContainerId, exit: ContainerExit) {
        if let Some(container) = self.containers.get_mut(&id.0)
            && container.ended.borrow().is_none()
        {
            container.state = "exited";
            container.sinks.clear();
            container.ended.send_replace(Some(exit));
        }
    }

    /// Tells when the container is over, and how.
    pub(super) fn ended(&self, id: &ContainerId) -> Result<watch::Receiver<Option<ContainerExit>>, EngineError> {
        Ok(self.container(id)?.ended.subscribe())
    }

    pub(super) fn remove_container(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.remove(&id.0) else {
            return;
        };
        for mount in container.mounts {
            if self
                .volumes
                .get(&mount.volume)
                .is_some_and(|volume| volume.is_anonymous)
            {
                self.volumes.remove(&mount.volume);
            }
        }
    }

    pub(super) fn containers_with(&self, labels: &Labels) -> Vec<ContainerFacts> {
        let carrying = self
            .containers
            .iter()
            .filter(|(_, container)| carries(&container.spec.labels, labels));
        let facts = carrying.map(|(id, container)| ContainerFacts {
            id: id.clone(),
            name: container.spec.name.clone(),
            state: container.state.to_owned(),
            image: container.spec.image.clone(),
            labels: container.spec.labels.clone(),
        });
        facts.collect()
    }

    pub(super) fn create_volume(&mut self, name: &str, labels: &Labels, is_anonymous: bool) {
        let volume = || Volume {
            labels: labels.clone(),
            is_anonymous,
            files: Files::new(),
        };
        self.volumes.entry(name.to_owned()).or_insert_with(volume);
    }

    pub(super) fn volume(&self, name: &str) -> Option<VolumeFacts> {
        let labels = self.volumes.get(name)?.labels.clone();
        Some(VolumeFacts {
            name: name.to_owned(),
            labels,
            mountpoint: None,
        })
    }

    pub(super) fn volumes_with(&self, labels: &Labels) -> Vec<VolumeFacts> {
        let carrying = self
            .volumes
            .iter()
            .filter(|(_, volume)| carries(&volume.labels, labels));
        carrying
            .map(|(name, volume)| VolumeFacts {
                name: name.clone(),
                labels: volume.labels.clone(),
                mountpoint: None,
            })
            .collect()
    }

    pub(super) fn volume_files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let files = self
            .volumes
            .get(name)
            .map(|volume| volume.files.clone())
            .unwrap_or_default();
        files
            .into_iter()
            .filter_map(|(path, node)| Some((path, node.content()?.to_vec())))
            .collect()
    }

    /// What is in a volume, to look at and to change; a new one where there is none.
    pub(super) fn nodes_of_volume(&mut self, name: &str) -> &mut Files {
        self.create_volume(name, &Labels::new(), false);
        &mut self.volumes.entry(name.to_owned()).or_default().files
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Result<(), EngineError> {
        let mut mounts = self.containers.values().flat_map(|container| &container.mounts);
        if mounts.any(|mount| mount.volume == name) {
            return Err(refused(&format!("remove volume {name}"), "volume is in use"));
        }
        self.volumes.remove(name);
        Ok(())
    }

    pub(super) fn left_behind(&self) -> Vec<String> {
        let containers = self
            .containers
            .values()
            .map(|container| format!("container {}", container.spec.name));
        containers
            .chain(self.volumes.keys().map(|name| format!("volume {name}")))
            .collect()
    }
}

/// `repository@sha256:…`, as registries name what they have.
fn by_digest(reference: &str, content: &str) -> String {
    let repository = reference.split('@').next().unwrap_or(reference);
    // A colon after the last slash starts a tag; one before it, a registry's port.
    let repository = match repository.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => repository,
    };
    format!("{repository}@{}", Digest::of(content.as_bytes()))
}

/// An image of one layer as `docker save` writes it.
fn image_archive(content: &str, labels: &Labels, tag: &str) -> Result<Vec<u8>, EngineError> {
    let pack = |files: &[(&str, Vec<u8>)]| {
        let files = files
            .iter()
            .map(|(path, content)| ((*path).to_owned(), Node::program(content.clone())));
        archive::pack(&files.collect())
    };
    let layer = pack(&[("content", content.into())])?;
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2025-01-01T00:00:00Z",
        "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
        "history": [{ "created": "2025-01-01T00:00:00Z", "created_by": "fake" }],
    });
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"] }]);
    pack(&[
        ("config.json", config.to_string().into()),
        ("layer.tar", layer),
        ("manifest.json", manifest.to_string().into()),
    ])
}

/// `path` seen from `directory`, when it is in there.
fn relative<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(directory.trim_end_matches('/'))?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('/')
    }
}

fn join(directory: &str, path: &str) -> String {
    if path.is_empty() {
        directory.to_owned()
    } else {
        format!("{}/{path}", directory.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_seen_from_its_directories_only() {
        for (path, directory, expected) in [
            ("/lockstep/out/x", "/lockstep", Some("out/x")),
            ("/lockstep", "/lockstep/", Some("")),
            ("/lockstepping", "/lockstep", None),
            ("/x", "/", Some("x")),
            ("/a", "/a/b", None),
        ] {
            assert_eq!(relative(path, directory), expected, "{path} from {directory}");
            if let Some(relative) = expected {
                assert_eq!(join(directory.trim_end_matches('/'), relative), path);
            }
        }
    }
}
