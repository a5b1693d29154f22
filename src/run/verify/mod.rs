//! `verify`: everything that the lock has is compiled once more as it was, and once with all variations at the same time; where
//! bits differ, the smallest set of variations is looked for that makes the difference.

mod causes;
mod difference;
mod diffoscope;
mod ground;
mod published;
mod rebuild;
mod remade;
mod request;
mod second;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use futures_util::future::OptionFuture;
use futures_util::stream::StreamExt as _;

use diffoscope::Diffoscope;
use ground::{Expected, Ground, Set, Verified, Whole};
use published::Published;
use rebuild::{Attempt, Bits, Rebuild, Tally};
use remade::Remade;
use second::Second;

use super::build::{Workload, check_toolchains, locked_dependencies, missing_environment};
use super::exports;
use super::resolved::{BuildImage, ResolvedEnvironment};
use super::{Run, RunError};
use crate::counted::counted;
use crate::digest::Digest;
use crate::event::{Event, Stage};
use crate::language::needs_exports;
use crate::lock;
use crate::name::UnitName;
use crate::plan::{EnvironmentPlan, UnitPlan};
use crate::verify::{
    Cause, IMAGE, Manner, Setting, VARIATIONS, VERIFICATION_SCHEMA_VERSION, Verification, VerifiedArtifact,
    VerifiedEnvironment, VerifiedUnit,
};

pub use request::{OtherEngine, VerifyRequest};

impl Run {
    /// Compiles what the lock has of environments again, and says what differs.
    ///
    /// # Errors
    /// [`RunError`]; that bits differ is none.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Verification, RunError> {
        let mut whole = Whole {
            makes_images: request.makes_images,
            ..Whole::default()
        };
        if let Some(directory) = &request.diffoscope {
            whole.diffoscope = Some(Diffoscope::into(directory).await?);
        }
        if let Some(other) = &request.engine {
            whole.second = Some(Second::begin(self, other).await?);
        }
        let verification = self.verify_all(request, &mut whole).await;
        if let Some(second) = &whole.second {
            second.end().await;
        }
        verification
    }

    async fn verify_all(&self, request: &VerifyRequest, whole: &mut Whole) -> Result<Verification, RunError> {
        let mut work = self.prepare(&request.environments)?;
        self.check_rest_of_lock(&work).await?;
        if let Some(name) = &request.against {
            whole.published = Some(self.published_of(name, &mut work).await?);
        }
        self.events.emit(Event::RunStarted {
            project: self.project.name.to_string(),
            environments: work.environments.iter().map(|plan| plan.name.clone()).collect(),
            units: self.project.units().map(|unit| unit.name.clone()).collect(),
        });
        let mut verified = Vec::new();
        for plan in &work.environments {
            self.is_cancelled()?;
            let environment = self.verify_environment(plan, &work, whole).await;
            verified.push(environment.map_err(|error| error.located(&work.lock))?);
        }
        Ok(Verification {
            schema_version: VERIFICATION_SCHEMA_VERSION,
            project: self.project.name.clone(),
            against: request.against.clone().unwrap_or_else(|| work.lock.name()),
            engine: request.engine.as_ref().map(|engine| engine.address.clone()),
            equal: verified.iter().all(|environment| environment.equal),
            variations: VARIATIONS.iter().map(|variation| (*variation).into()).collect(),
            environments: verified,
        })
    }

    /// Opens what somebody published, and leaves only its environment to be verified.
    async fn published_of(&self, name: &str, work: &mut Workload) -> Result<Published, RunError> {
        let plan = work.environments.first().ok_or(RunError::Interrupted)?;
        let locked = locked_of(plan, work)?;
        let image = self.resolve(&plan.name, Some(locked), false).await?.build.id;
        let names: Vec<_> = work.environments.iter().map(|plan| plan.name.clone()).collect();
        let published = self.open_published(name, &names, &image).await?;
        work.environments
            .retain(|plan| plan.name == published.manifest.environment);
        Ok(published)
    }

    async fn verify_environment(
        &self,
        plan: &EnvironmentPlan,
        work: &Workload,
        whole: &Whole,
    ) -> Result<VerifiedEnvironment, RunError> {
        let locked = locked_of(plan, work)?;
        let resolved = self.resolve(&plan.name, Some(locked), false).await?;
        self.events.emit(Event::EnvironmentDescribed {
            environment: plan.name.clone(),
            description: resolved.description(),
        });
        self.emit_images(&plan.name, &resolved);
        self.check_sources_locked(plan, Some(locked), &resolved)?;
        check_toolchains(plan, &resolved)?;
        let mut not_varied = BTreeMap::new();
        let remade = match whole.makes_images {
            true => self.remake_images(plan, locked).await?,
            false => {
                let why = "images are made again with --images".to_owned();
                not_varied.insert(IMAGE.name.to_owned(), why);
                Remade::default()
            }
        };
        let verified = self
            .verify_compiles(plan, &resolved, work, (whole, remade.build.as_ref()))
            .await;
        self.forget_remade(&remade).await?;
        let (expected, verified) = verified?;
        let mut units = Vec::new();
        for unit in &plan.units {
            let of_unit = plan.compiles().find(|compile| is_of(compile, unit));
            let Some(verified) = of_unit.and_then(|compile| verified.get(&compile.name)) else {
                continue;
            };
            units.push(verified_unit(unit, verified, expected.get(&unit.name)));
        }
        let rebuilds = verified.values().map(|verified| verified.rebuilds).sum();
        let differing = units.iter().filter(|unit| !unit.equal).count();
        self.events.emit(Event::StageSummary {
            environment: plan.name.clone(),
            stage: Stage::Verify,
            text: match differing {
                0 => format!(
                    "{} equal · {}",
                    counted(units.len(), "unit"),
                    counted(rebuilds, "rebuild")
                ),
                differing => format!(
                    "{} of {} not reproducible · {}",
                    differing,
                    counted(units.len(), "unit"),
                    counted(rebuilds, "rebuild")
                ),
            },
            note: String::new(),
        });
        for verified in verified.values() {
            not_varied.extend(verified.not_varied.clone());
        }
        Ok(VerifiedEnvironment {
            name: plan.name.clone(),
            equal: differing == 0 && remade.images.iter().all(|image| image.equal),
            build_image: resolved.build.id.to_string(),
            images: remade.images,
            rebuilds,
            not_varied,
            units,
        })
    }

    /// Verifies all compiles of an environment, side by side; gives what is to come out, and what did.
    async fn verify_compiles(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        work: &Workload,
        (whole, remade): (&Whole, Option<&BuildImage>),
    ) -> Result<(Expected, BTreeMap<UnitName, Verified>), RunError> {
        let locked = locked_of(plan, work)?;
        let mut expected = Expected::new();
        for unit in &plan.units {
            let bits = match &whole.published {
                Some(published) => published.of_unit(unit)?,
                None => locked
                    .units
                    .get(&unit.name)
                    .map(|unit| unit.artifacts.clone())
                    .unwrap_or_default(),
            };
            expected.insert(unit.name.clone(), bits);
        }
        let image = resolved.build_image();
        let (teller, exports) = exports::channel();
        let is_asked = plan.units.iter().any(|unit| needs_exports(&unit.unit));
        if is_asked {
            self.tell_exports(&teller, resolved).await?;
        }
        let stop = self.cancellation.child_token();
        let ground = Ground {
            whole,
            exports: &exports,
            teller: &teller,
            is_asked,
            stop: &stop,
            second_image: match &whole.second {
                Some(second) => Some(second.image(plan, locked).await?),
                None => None,
            },
        };
        let compiles = plan.compiles().filter_map(|compile| {
            let unit = plan.units_of(compile).next()?;
            work.sources.get(&unit.name).map(|(tree, _)| (compile, tree))
        });
        // Each is compiled twice at once.
        let jobs = (self.options.jobs / 2).max(1);
        let mut verifying = futures_util::stream::iter(compiles)
            .map(|(compile, tree)| {
                let (image, ground, expected) = (&image, &ground, &expected);
                async move {
                    let expected = expected_of(plan, compile, expected);
                    let locked = locked_dependencies(plan, compile, image.identity, work);
                    let dependencies = self.fetch(&plan.name, image, compile, tree, locked, ground.stop).await;
                    let rebuild = Rebuild {
                        environment: &plan.name,
                        image,
                        unit: compile,
                        tree,
                        exports: ground.exports,
                        dependencies: match dependencies {
                            Ok(dependencies) => dependencies.map(|fetched| fetched.path),
                            Err(error) => return (compile, Err(error)),
                        },
                        remade,
                        tally: &Tally::default(),
                    };
                    let verified = self.verify_compile(plan, &rebuild, &expected, ground).await;
                    (compile, verified)
                }
            })
            .buffer_unordered(jobs);
        let (mut all, mut failure) = (BTreeMap::new(), None);
        while let Some((compile, result)) = verifying.next().await {
            match result {
                Ok(verified) => _ = all.insert(compile.name.clone(), verified),
                Err(error) => {
                    stop.cancel();
                    failure.get_or_insert(error);
                }
            }
        }
        drop(verifying);
        match failure {
            Some(error) => Err(error),
            None => Ok((expected, all)),
        }
    }

    async fn verify_compile(
        &self,
        plan: &EnvironmentPlan,
        rebuild: &Rebuild<'_>,
        expected: &BTreeMap<String, Digest>,
        ground: &Ground<'_>,
    ) -> Result<Verified, RunError> {
        let stop = ground.stop;
        // As it was, the language's tools had what they keep; with everything varied, they have nothing.
        let has_kept = self.kept_volume(rebuild).await?.is_some();
        let was = Setting {
            has_kept,
            ..Setting::default()
        };
        let as_it_was = async {
            let bits = self.rebuild(rebuild, &was, "as it was", stop).await?.bits()?;
            // The host's plugins may wait for it.
            let host = plan.units_of(rebuild.unit).find(|unit| unit.is_host());
            if ground.is_asked
                && let Some(program) = host.and_then(|host| host.unit.artifacts.first())
            {
                ground.teller.tell_of_file(&bits.path(program))?;
            }
            Ok::<Bits, RunError>(bits)
        };
        let everything: Set = VARIATIONS.iter().copied().filter(|one| !one.is_alone).collect();
        let setting = Setting::of(&[], &everything);
        let varied = self.rebuild(rebuild, &setting, "with all varied", stop);
        let in_remade = Setting::of(&[], &[&IMAGE]);
        let remade = rebuild
            .remade
            .map(|_| self.rebuild(rebuild, &in_remade, "in the image made again", stop));
        let second = ground.whole.second.as_ref().zip(ground.second_image.as_ref());
        let second = second.map(|(second, image)| second.rebuild(rebuild, image, stop));
        let (remade, second) = (OptionFuture::from(remade), OptionFuture::from(second));
        let (first, varied, remade, second) = futures_util::join!(as_it_was, varied, remade, second);
        let (first, varied, remade, second) = (first?, varied?, remade.transpose()?, second.transpose()?);
        let is_as_expected = expected
            .iter()
            .all(|(name, digest)| first.digests.get(name) == Some(digest));
        let is_same = |attempt: &Option<Attempt>| attempt.as_ref().is_none_or(|attempt| attempt.is_as(&first));
        let mut causes = vec![];
        if !(is_as_expected && varied.is_as(&first) && is_same(&remade)) {
            let cold = match has_kept {
                true => Some(
                    self.rebuild(rebuild, &Setting::default(), "with nothing kept", stop)
                        .await?
                        .bits()?,
                ),
                false => None,
            };
            let baseline = cold.as_ref().unwrap_or(&first);
            causes = self.causes(rebuild, baseline, varied, expected, ground).await?;
        }
        if let Some(other) = second.filter(|_| causes.is_empty())
            && !other.is_as(&first)
        {
            let manner = (Manner::OtherEngine, &[][..]);
            causes.push(self.cause(rebuild, ground, manner, &first, &other).await?);
        }
        let not_varied = &rebuild.tally.not_varied;
        Ok(Verified {
            rebuilt: first.digests.clone(),
            causes,
            rebuilds: rebuild.tally.count.load(Ordering::Relaxed),
            not_varied: std::mem::take(&mut *not_varied.lock().unwrap_or_else(PoisonError::into_inner)),
        })
    }
}

/// What the lock has of an environment.
fn locked_of<'a>(plan: &EnvironmentPlan, work: &'a Workload) -> Result<&'a lock::Environment, RunError> {
    let locked = work.lock.lock.environments.get(&plan.name);
    locked.ok_or_else(|| RunError::OutOfDate {
        environment: plan.name.clone(),
        changes: vec![missing_environment(&plan.name)],
    })
}

fn is_of(compile: &UnitPlan, unit: &UnitPlan) -> bool {
    match &unit.unit.from {
        Some(_) => compile.unit.from == unit.unit.from,
        None => compile.unit.from.is_none() && compile.name == unit.name,
    }
}

/// The bits that are to come out of a compile, for all units that take from it.
fn expected_of(plan: &EnvironmentPlan, compile: &UnitPlan, expected: &Expected) -> BTreeMap<String, Digest> {
    let units = plan.units_of(compile).filter_map(|unit| expected.get(&unit.name));
    let artifacts = units.flatten();
    artifacts.map(|(name, digest)| (name.clone(), *digest)).collect()
}

/// What came of a unit: its part of the compile.
fn verified_unit(unit: &UnitPlan, verified: &Verified, expected: Option<&BTreeMap<String, Digest>>) -> VerifiedUnit {
    let own: BTreeSet<&String> = unit.unit.artifacts.iter().collect();
    let causes: Vec<Cause> = verified
        .causes
        .iter()
        .filter_map(|cause| {
            let mut cause = cause.clone();
            cause.artifacts.retain(|artifact| own.contains(&artifact.name));
            (!cause.artifacts.is_empty() || cause.failure.is_some()).then_some(cause)
        })
        .collect();
    let artifacts = unit.unit.artifacts.iter().filter_map(|name| {
        Some(VerifiedArtifact {
            name: name.clone(),
            expected: expected.and_then(|expected| expected.get(name)).copied(),
            rebuilt: *verified.rebuilt.get(name)?,
        })
    });
    VerifiedUnit {
        name: unit.name.clone(),
        equal: causes.is_empty(),
        artifacts: artifacts.collect(),
        causes,
    }
}
