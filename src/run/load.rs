//! `image load`: what `image save` wrote, brought to this machine: images into the user's cache and the engine, dependencies
//! and hosts to where a build looks for them. Nothing is taken that the lock does not know.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::error::LoadError;
use super::fetch::repack;
use super::making::Made;
use super::pull::stands_on;
use super::recipe::Kind;
use super::resolved::Wanted;
use super::save::{FETCHED_PREFIX, FETCHED_TYPE, HOST_PREFIX, HOST_TYPE};
use super::{Run, RunError};
use crate::digest::Digest;
use crate::event::{Stage, StepId};
use crate::image::{FoundItem, FoundLayout, ImageArchive, ImageCache, LayerError, LocalImage, LocalLayer, read_layout};
use crate::lock::{self, Lock, Role};
use crate::name::EnvironmentName;
use crate::plan::Publication;
use crate::regular_file;
use crate::state::STAGING_PREFIX;
use crate::temporary;

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// The version of this form.
    pub schema_version: u32,
    /// What is here now, by its name in the file.
    pub loaded: Vec<String>,
    /// What the lock does not know, and was left out.
    pub left_out: Vec<String>,
}

/// Where a layout's files go once it is known what they are.
struct Incoming {
    found: FoundLayout,
    cache: ImageCache,
}

impl Run {
    /// Loads what was saved.
    ///
    /// # Errors
    /// When the file is no layout or is damaged, or the engine or this machine's files refuse.
    pub async fn load(&self, file: &Path) -> Result<LoadReport, RunError> {
        let lock = lock::read_file(&lock::lock_path(&self.project.file))?.lock;
        let mut incoming = self.read_saved(file).await?;
        let mut report = LoadReport {
            schema_version: 1,
            loaded: vec![],
            left_out: vec![],
        };
        for item in std::mem::take(&mut incoming.found.items) {
            self.is_cancelled()?;
            let name = name_of(&item).to_owned();
            let is_known = match item {
                FoundItem::Image { name, config, layers } => {
                    self.load_image(&name, config, &layers, &mut incoming, &lock).await?
                }
                FoundItem::File {
                    name,
                    media_type,
                    digest,
                } => match media_type.as_str() {
                    FETCHED_TYPE => self.load_fetched(&name, digest, &incoming)?,
                    HOST_TYPE => self.load_host(&name, digest, &mut incoming, &lock)?,
                    _ => false,
                },
            };
            match is_known {
                true => report.loaded.push(name),
                false => report.left_out.push(name),
            }
        }
        Ok(report)
    }

    async fn read_saved(&self, file: &Path) -> Result<Incoming, RunError> {
        let path = self.context.working_directory.join(file);
        let step = StepId {
            environment: None,
            stage: Stage::Images,
            subject: Some("load".to_owned()),
        };
        let cache = ImageCache::below(&self.context.cache_directory);
        let (at, to) = (path.clone(), cache.clone());
        let reading = async {
            let read = tokio::task::spawn_blocking(move || {
                let content = regular_file::open(&at)?;
                let mut content = io::BufReader::new(content);
                let new_file = || to.temporary_file().map_err(LayerError::Write);
                Ok::<_, io::Error>(read_layout(&mut content, &new_file))
            });
            match read.await.map_err(io::Error::other).and_then(|read| read) {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(cause)) => Err(RunError::Load(LoadError { file: path, cause })),
                Err(error) => Err(RunError::file_at("read", &path)(error)),
            }
        };
        let parts = |found: &FoundLayout| format!("{} parts", found.items.len());
        let found = self.in_step(step, parts, reading).await?;
        Ok(Incoming { found, cache })
    }

    /// Takes an image if it is the one that the lock has of its environment; a matched one if its environment is in the lock,
    /// for it follows from that.
    async fn load_image(
        &self,
        name: &str,
        config: Vec<u8>,
        layers: &[Digest],
        incoming: &mut Incoming,
        lock: &Lock,
    ) -> Result<bool, RunError> {
        let Some((environment, role)) = name.split_once('/').and_then(|(environment, role)| {
            Some((EnvironmentName::new(environment).ok()?, role.parse::<Role>().ok()?))
        }) else {
            return Ok(false);
        };
        let Some((recipes, entry)) = self
            .project
            .environments
            .get(&environment)
            .zip(lock.environments.get(&environment))
        else {
            return Ok(false);
        };
        let (recipe, locked) = match role {
            Role::Build => (&recipes.build, &entry.build),
            Role::Runtime => (&recipes.runtime, &entry.runtime),
            Role::Matched => return self.load_matched(&environment, config, layers, incoming, entry).await,
            Role::Host => return Ok(false),
        };
        let kind = Kind::of(&self.project, recipe)?;
        // What a registry has may be called by its manifest there.
        let is_meant = Digest::of(&config).to_string() == locked.id || matches!(kind, Kind::Pulled { .. });
        if layers != locked.layers || !is_meant {
            return Ok(false);
        }
        let wanted = Wanted {
            role,
            recipe,
            expected: Some(locked),
            pushed: None,
        };
        let image = LocalImage {
            recipe: locked.recipe,
            config,
            layers: incoming.keep_layers(layers, kind.image_name())?,
            packages: locked.packages.clone(),
        };
        incoming.cache.insert_again(&image).map_err(super::MakeError::from)?;
        let step = Self::step(&environment, Stage::Images, format!("load {role}"));
        let making = self.making(&step, &wanted, false);
        let id = |made: &Made| made.facts.id.short();
        self.in_step(step.clone(), id, making.loaded(&image, true)).await?;
        Ok(true)
    }

    async fn load_matched(
        &self,
        environment: &EnvironmentName,
        config: Vec<u8>,
        layers: &[Digest],
        incoming: &mut Incoming,
        entry: &lock::Environment,
    ) -> Result<bool, RunError> {
        if !stands_on(layers, &entry.runtime) {
            return Ok(false);
        }
        let kept = incoming.keep_layers(layers, "matched")?;
        let archive = ImageArchive {
            config,
            layers: kept
                .into_iter()
                .map(|layer| (layer.diff_id, Some(layer.path)))
                .collect(),
            tags: vec![Publication::new(&self.project.name, environment).image],
        };
        let step = Self::step(environment, Stage::Images, format!("load {}", Role::Matched));
        let loading = async { Ok(self.engine.load_images(archive.into_stream()).await?) };
        self.in_step(step, |()| "loaded".to_owned(), loading).await?;
        Ok(true)
    }

    /// Takes what a unit fetched, if it is nothing but plain files and directories where they belong.
    fn load_fetched(&self, name: &str, digest: Digest, incoming: &Incoming) -> Result<bool, RunError> {
        let key = name.strip_prefix(FETCHED_PREFIX).map(|key| format!("sha256:{key}"));
        let file = incoming.found.files.get(&digest);
        let Some((key, file)) = key.and_then(|key| key.parse::<Digest>().ok()).zip(file) else {
            return Ok(false);
        };
        let target = self.store.fetched(key);
        let directory = target.parent().unwrap_or(&target);
        regular_file::make_directory(directory).map_err(RunError::file_at("make the directory", directory))?;
        let kept = temporary::file_in(self.store.root(), STAGING_PREFIX)
            .map_err(RunError::file_at("make a file in", self.store.root()))?;
        let copy = || {
            let mut content = regular_file::open_itself(file.path())?;
            let limits = (self.project.source_date_epoch, self.project.limits.disk_bytes);
            repack(&mut content, &kept, &[""], limits.0, limits.1)
        };
        copy().map_err(RunError::file_at("keep what was fetched from", file.path()))?;
        let failed = RunError::file_at("write", &target);
        match kept.persist(&target) {
            Ok(_) => Ok(true),
            Err(error) => Err(failed(error.error)),
        }
    }

    /// Takes a host that the lock has by its digest.
    fn load_host(&self, name: &str, digest: Digest, incoming: &mut Incoming, lock: &Lock) -> Result<bool, RunError> {
        let hosts = lock.environments.values().filter_map(|entry| entry.host.as_ref());
        let is_known = hosts.map(|host| host.digest).any(|known| known == digest);
        let is_named = name == format!("{HOST_PREFIX}{}", digest.hex());
        let Some(file) = incoming.found.files.get(&digest).filter(|_| is_known && is_named) else {
            return Ok(false);
        };
        let copy = || {
            let mut kept = self.store.new_host()?;
            io::copy(&mut regular_file::open_itself(file.path())?, &mut kept)?;
            self.store.keep_host(digest, kept)
        };
        copy().map_err(RunError::file_at("keep a host in", self.store.root()))?;
        Ok(true)
    }
}

impl Incoming {
    /// Moves layers into the cache; several images may have the same one.
    fn keep_layers(&mut self, layers: &[Digest], name: &str) -> Result<Vec<LocalLayer>, RunError> {
        let mut kept = Vec::new();
        for digest in layers {
            if let Some(file) = self.found.files.remove(digest) {
                self.cache.insert_layer(file, *digest).map_err(super::MakeError::from)?;
            }
            let paths = self.cache.layers(std::slice::from_ref(digest)).unwrap_or_default();
            for path in paths {
                let size = fs::metadata(&path).map_err(RunError::file_at("look at", &path))?.len();
                kept.push(LocalLayer {
                    diff_id: *digest,
                    size_bytes: size,
                    path,
                    name: name.to_owned(),
                });
            }
        }
        Ok(kept)
    }
}

/// What something is called in a layout.
fn name_of(item: &FoundItem) -> &str {
    match item {
        FoundItem::Image { name, .. } | FoundItem::File { name, .. } => name,
    }
}
