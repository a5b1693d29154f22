//! `image save`: what a machine without a network needs to build environments, in one OCI image layout: their images, and what
//! their units fetched.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::build::locked_dependencies;
use super::matched::saved_image;
use super::{Run, RunError};
use crate::engine::{ImageFacts, ImageId};
use crate::event::{Event, Stage};
use crate::image::{ImageCache, LayoutContent, LayoutItem, SavedImage, write_layout};
use crate::lock::Role;
use crate::name::EnvironmentName;
use crate::plan::EnvironmentPlan;
use crate::temporary::{self, SAVE_PREFIX};

/// What fetched dependencies are in a layout: a tar of `deps/`.
pub(super) const FETCHED_TYPE: &str = "application/vnd.lockstep.fetched.v1.tar";
/// What the names of fetched dependencies begin with; their key follows.
pub(super) const FETCHED_PREFIX: &str = "fetched/";
/// What a host is in a layout that was taken out of an image: the program.
pub(super) const HOST_TYPE: &str = "application/vnd.lockstep.host.v1";
/// What the names of such hosts begin with; their digest follows.
pub(super) const HOST_PREFIX: &str = "host/";

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SaveReport {
    /// The version of this form.
    pub schema_version: u32,
    /// Where.
    pub file: PathBuf,
    /// What is in it, by name.
    pub items: Vec<String>,
    /// How large it is.
    pub size_bytes: u64,
}

/// Things on their way into a layout, and the files that hold them for so long.
#[derive(Default)]
struct Outgoing {
    items: Vec<LayoutItem>,
    held: Vec<SavedImage>,
}

impl Run {
    /// Saves environments as the lock has them.
    ///
    /// # Errors
    /// When one is not locked, something of it cannot be had, or the file cannot be written.
    pub async fn save(&self, environments: &[EnvironmentName], target: &Path) -> Result<SaveReport, RunError> {
        let work = self.prepare(environments)?;
        let mut outgoing = Outgoing::default();
        for plan in &work.environments {
            let entry = work.locked(&plan.name)?;
            let resolved = self.resolve(&plan.name, Some(entry), false).await;
            let resolved = resolved.map_err(|error| error.located(&work.lock))?;
            for (role, id) in [(Role::Build, &resolved.build.id), (Role::Runtime, &resolved.runtime.id)] {
                let facts = self.engine.image(&id.0).await?;
                if let Some(facts) = facts {
                    self.save_image(plan, role, &facts, &mut outgoing).await?;
                }
            }
            match self.current_matched_image(plan, entry).await? {
                Some(facts) => self.save_image(plan, Role::Matched, &facts, &mut outgoing).await?,
                None => self.events.emit(Event::Warning {
                    message: format!(
                        "the matched image of {} is not saved: it is not what the project is now",
                        plan.name
                    ),
                    hint: Some(format!("lockstep build {}", plan.name)),
                }),
            }
            if let Some(host) = resolved.brought.as_ref().filter(|host| host.locked.image.is_some()) {
                outgoing.add(LayoutItem {
                    name: format!("{HOST_PREFIX}{}", host.locked.digest.hex()),
                    content: LayoutContent::File {
                        media_type: HOST_TYPE,
                        path: host.content.clone(),
                    },
                });
            }
            let image = resolved.build_image();
            let compiles = plan.compiles().filter_map(|compile| {
                let unit = plan.units_of(compile).next()?;
                Some((compile, &work.sources.get(&unit.name)?.0))
            });
            // The loader is compiled there as well.
            for (compile, tree) in compiles.chain([(&plan.loader, &work.loader.tree)]) {
                let Some(key) = compile.fetch_key(image.identity) else {
                    continue;
                };
                let locked = locked_dependencies(plan, compile, image.identity, &work);
                let fetched = self
                    .fetch(&plan.name, &image, compile, tree, locked, &self.cancellation)
                    .await?;
                if let Some(fetched) = fetched {
                    outgoing.add(LayoutItem {
                        name: format!("{FETCHED_PREFIX}{}", key.hex()),
                        content: LayoutContent::File {
                            media_type: FETCHED_TYPE,
                            path: fetched.path,
                        },
                    });
                }
            }
        }
        self.is_cancelled()?;
        self.write_saved(outgoing, target).await
    }

    async fn save_image(
        &self,
        plan: &EnvironmentPlan,
        role: Role,
        facts: &ImageFacts,
        outgoing: &mut Outgoing,
    ) -> Result<(), RunError> {
        let step = Self::step(&plan.name, Stage::Images, format!("save {role}"));
        let saved = self.image_files(facts);
        let saved = self.in_step(step, |_| facts.id.short(), saved).await?;
        let paths = saved.layer_paths();
        let layers = facts.diff_ids.iter();
        outgoing.add(LayoutItem {
            name: format!("{}/{role}", plan.name),
            content: LayoutContent::Image {
                config: saved.config.clone(),
                layers: layers
                    .filter_map(|digest| Some((*digest, paths.get(digest)?.clone())))
                    .collect(),
            },
        });
        outgoing.held.push(saved);
        Ok(())
    }

    /// An image's config and layers: those of the user's cache, else as the engine saves them.
    async fn image_files(&self, facts: &ImageFacts) -> Result<SavedImage, RunError> {
        let ImageFacts { id: ImageId(id), .. } = facts;
        let cache = ImageCache::below(&self.context.cache_directory);
        let cached = id.parse().ok().and_then(|id| cache.find_id(id));
        match cached {
            Some(image) => {
                let layers = image.layers.iter().map(|layer| (layer.diff_id, layer.path.clone()));
                Ok(SavedImage::kept(image.config.clone(), layers.collect::<Vec<_>>()))
            }
            None => saved_image(self.engine.as_ref(), id, self.store.root()).await,
        }
    }

    /// Writes the layout beside where it is to be, and gives it its name when it is whole.
    async fn write_saved(&self, outgoing: Outgoing, target: &Path) -> Result<SaveReport, RunError> {
        let target = self.context.working_directory.join(target);
        let directory = target.parent().unwrap_or(Path::new("/")).to_owned();
        let file =
            temporary::file_in(&directory, SAVE_PREFIX).map_err(RunError::file_at("make a file in", &directory))?;
        let written = tokio::task::spawn_blocking(move || {
            let Outgoing { items, held } = outgoing;
            let mut writer = BufWriter::new(file);
            write_layout(&items, &mut writer).map_err(io::Error::other)?;
            writer.flush()?;
            drop(held);
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            let names = items.into_iter().map(|item| item.name).collect::<Vec<_>>();
            Ok::<_, io::Error>((names, file))
        });
        let written = written.await.map_err(io::Error::other).and_then(|written| written);
        let (items, file) = written.map_err(RunError::file_at("write", &target))?;
        let size_bytes = file
            .as_file()
            .metadata()
            .map_err(RunError::file_at("look at", &target))?
            .len();
        let kept = file.persist(&target).map_err(|error| error.error);
        kept.map_err(RunError::file_at("write", &target))?;
        Ok(SaveReport {
            schema_version: 1,
            file: target,
            items,
            size_bytes,
        })
    }
}

impl Outgoing {
    /// What several environments share is there once.
    fn add(&mut self, item: LayoutItem) {
        if self.items.iter().all(|other| other.name != item.name) {
            self.items.push(item);
        }
    }
}
