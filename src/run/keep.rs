//! `lock --keep`: the packages of a lock, put where they can be had again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::background::in_background;
use super::recipe::{Kind, name_of};
use super::{Run, RunError};
use crate::event::{Event, Stage, StepId};
use crate::image::{Gathering, ImageCache, ImageError, Machine, keep_in_directory};
use crate::lock::{self, Package};
use crate::name::EnvironmentName;

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Where.
    pub directory: PathBuf,
    /// How many packages are there for the lock.
    pub packages: usize,
    /// How many of them were not there before.
    pub added: usize,
    /// How large they are together.
    pub size_bytes: u64,
    /// Images that are not made from packages, by what their recipes are called: they are kept as images, or not at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

impl Run {
    /// Puts every package of these environments' entries into a directory.
    ///
    /// # Errors
    /// When one is nowhere, the directory cannot be written, or the lock cannot be read.
    pub async fn keep(&self, environments: &[EnvironmentName], directory: &Path) -> Result<Kept, RunError> {
        let file = lock::read_file(&lock::lock_path(&self.project.file))?;
        let mut by_suite: BTreeMap<String, Vec<Package>> = BTreeMap::new();
        let mut images = Vec::new();
        for name in environments {
            let (Some(recipes), Some(entry)) = (self.project.environments.get(name), file.lock.environments.get(name))
            else {
                continue;
            };
            for (recipe, locked) in [(&recipes.build, &entry.build), (&recipes.runtime, &entry.runtime)] {
                match Kind::of(&self.project, recipe)?.bootstrapped() {
                    Some(recipe) => {
                        let packages = by_suite.entry(recipe.suite().to_owned()).or_default();
                        packages.extend(locked.packages.iter().cloned());
                    }
                    None => images.push(name_of(recipe)),
                }
            }
        }
        images.sort();
        images.dedup();
        let step = StepId {
            environment: None,
            stage: Stage::Images,
            subject: Some("packages".to_owned()),
        };
        self.events.emit(Event::StepStarted { step: step.clone() });
        let machine = Machine::from_context(&self.context);
        let cache = ImageCache::below(&self.context.cache_directory);
        let (archives, to) = (self.project.archives.clone(), directory.to_owned());
        let kept = in_background(&step, self.events.as_ref(), &self.cancellation, move |background| {
            let mut kept = BTreeMap::new();
            for (suite, packages) in &by_suite {
                let gathering = Gathering {
                    machine: &machine,
                    cache: &cache,
                    archives: &archives,
                    offline: false,
                    suite,
                    cancel: background.cancel,
                    progress: background.progress,
                };
                let gathered = gathering.gather(packages)?;
                kept.extend(gathered.into_iter().map(|kept| (kept.digest, kept)));
            }
            let kept: Vec<_> = kept.into_values().collect();
            let failed = |cause| ImageError::Cache {
                action: "keep packages in",
                path: to.clone(),
                cause,
            };
            let added = keep_in_directory(&kept, &to).map_err(failed)?;
            let sizes = kept
                .iter()
                .map(|kept| kept.path.metadata().map_or(0, |metadata| metadata.len()));
            Ok((kept.len(), added, sizes.sum()))
        });
        let (packages, added, size_bytes) = match kept.await {
            Ok(kept) => kept,
            Err(error) => {
                let summary = "packages of the lock".to_owned();
                self.events.emit(Event::StepFailed { step, summary });
                return Err(error);
            }
        };
        self.events.emit(Event::StepFinished {
            step,
            summary: directory.display().to_string(),
            cached: added == 0,
        });
        Ok(Kept {
            directory: directory.to_owned(),
            packages,
            added,
            size_bytes,
            images,
        })
    }
}
