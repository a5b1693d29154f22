//! `verify`: everything that the lock has is compiled once more as it was, and once with all variations at the same time; where
//! bits differ, the smallest set of variations is looked for that makes the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::build::{Workload, check_toolchains, locked_dependencies, missing_environment};
use super::exports::{self, Exports, ExportsTeller};
use super::published::Published;
use super::rebuild::{Attempt, Bits, Rebuild};
use super::resolved::ResolvedEnvironment;
use super::{Run, RunError};
use crate::comparison::{PartDifference, differing_parts};
use crate::config::LanguageName;
use crate::counted::counted;
use crate::digest::Digest;
use crate::event::{Event, Stage};
use crate::language::needs_exports;
use crate::lock;
use crate::name::{EnvironmentName, UnitName};
use crate::plan::{EnvironmentPlan, UnitPlan};
use crate::regular_file;
use crate::verify::{
    ArtifactDifference, Cause, Manner, Search, Setting, VARIATIONS, VERIFICATION_SCHEMA_VERSION, Variation,
    Verification, VerifiedArtifact, VerifiedEnvironment, VerifiedUnit, cure, cure_of_failure, kind,
};

/// How long to wait before the same is compiled again: what has the second in it is to differ.
const AGAIN_AFTER: Duration = Duration::from_millis(1100);
/// How many causes of one unit are looked for, one after the other.
const CAUSES_LIMIT_COUNT: usize = 8;
/// The largest artifact of which is told where it differs: it is held in memory.
const SHOWN_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// The variations of a set.
type Set = Vec<&'static Variation>;
/// The bits that are to come out, by unit and artifact.
type Expected = BTreeMap<UnitName, BTreeMap<String, Digest>>;

/// What came of one compile.
struct Verified {
    rebuilt: BTreeMap<String, Digest>,
    causes: Vec<Cause>,
    rebuilds: usize,
    not_varied: BTreeMap<String, String>,
}

/// What all compiles of an environment share.
struct Ground<'a> {
    exports: &'a Exports,
    teller: &'a ExportsTeller,
    is_asked: bool,
    stop: &'a CancellationToken,
    published: Option<&'a Published>,
}

impl Run {
    /// Compiles what the lock has of these environments again, and says what differs.
    ///
    /// # Errors
    /// [`RunError`]; that bits differ is none.
    pub async fn verify(
        &self,
        environments: &[EnvironmentName],
        against: Option<&str>,
    ) -> Result<Verification, RunError> {
        let mut work = self.prepare(environments)?;
        self.check_rest_of_lock(&work).await?;
        let published = match against {
            Some(name) => Some(self.published_of(name, &mut work).await?),
            None => None,
        };
        let environments: Vec<EnvironmentName> = work.environments.iter().map(|plan| plan.name.clone()).collect();
        self.events.emit(Event::RunStarted {
            project: self.project.name.to_string(),
            environments,
            units: self.project.units().map(|unit| unit.name.clone()).collect(),
        });
        let mut verified = Vec::new();
        for plan in &work.environments {
            self.is_cancelled()?;
            let environment = self.verify_environment(plan, &work, published.as_ref()).await;
            verified.push(environment.map_err(|error| error.located(&work.lock))?);
        }
        Ok(Verification {
            schema_version: VERIFICATION_SCHEMA_VERSION,
            project: self.project.name.clone(),
            against: against.map_or_else(|| work.lock.name(), str::to_owned),
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
        let names: Vec<EnvironmentName> = work.environments.iter().map(|plan| plan.name.clone()).collect();
        let published = self.open_published(name, &names, &image).await?;
        work.environments
            .retain(|plan| plan.name == published.manifest.environment);
        Ok(published)
    }

    async fn verify_environment(
        &self,
        plan: &EnvironmentPlan,
        work: &Workload,
        published: Option<&Published>,
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
        let mut expected = Expected::new();
        for unit in &plan.units {
            let bits = match published {
                Some(published) => published.of_unit(unit)?,
                None => locked
                    .units
                    .get(&unit.name)
                    .map(|unit| unit.artifacts.clone())
                    .unwrap_or_default(),
            };
            expected.insert(unit.name.clone(), bits);
        }
        let verified = self
            .verify_compiles(plan, &resolved, work, (&expected, published))
            .await?;
        let mut units = Vec::new();
        for unit in &plan.units {
            let of_unit = plan.compiles().find(|compile| is_of(compile, unit));
            let Some(verified) = of_unit.and_then(|compile| verified.get(&compile.name)) else {
                continue;
            };
            units.push(verified_unit(unit, verified, expected.get(&unit.name)));
        }
        let equal = units.iter().all(|unit| unit.equal);
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
        let mut not_varied = BTreeMap::new();
        for verified in verified.values() {
            not_varied.extend(verified.not_varied.clone());
        }
        Ok(VerifiedEnvironment {
            name: plan.name.clone(),
            equal,
            build_image: resolved.build.id.to_string(),
            rebuilds,
            not_varied,
            units,
        })
    }

    /// Verifies all compiles of an environment, side by side.
    async fn verify_compiles(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        work: &Workload,
        (expected, published): (&Expected, Option<&Published>),
    ) -> Result<BTreeMap<UnitName, Verified>, RunError> {
        let image = resolved.build_image();
        let (teller, exports) = exports::channel();
        let is_asked = plan.units.iter().any(|unit| needs_exports(&unit.unit));
        if is_asked {
            self.tell_exports(&teller, resolved).await?;
        }
        let stop = self.cancellation.child_token();
        let ground = Ground {
            exports: &exports,
            teller: &teller,
            is_asked,
            stop: &stop,
            published,
        };
        let compiles = plan.compiles().filter_map(|compile| {
            let unit = plan.units_of(compile).next()?;
            work.sources.get(&unit.name).map(|(tree, _)| (compile, tree))
        });
        // Each is compiled twice at once.
        let jobs = (self.options.jobs / 2).max(1);
        let mut verifying = futures_util::stream::iter(compiles)
            .map(|(compile, tree)| {
                let (image, ground) = (&image, &ground);
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
                        count: AtomicUsize::new(0),
                        not_varied: Mutex::default(),
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
        match failure {
            Some(error) => Err(error),
            None => Ok(all),
        }
    }

    async fn verify_compile(
        &self,
        plan: &EnvironmentPlan,
        rebuild: &Rebuild<'_>,
        expected: &BTreeMap<String, Digest>,
        ground: &Ground<'_>,
    ) -> Result<Verified, RunError> {
        let everything: Set = VARIATIONS.iter().copied().filter(|one| !one.is_alone).collect();
        let as_it_was = async {
            let bits = self
                .rebuild(rebuild, &Setting::default(), "as it was", ground.stop)
                .await?
                .bits()?;
            // The host's plugins may wait for it.
            let host = plan.units_of(rebuild.unit).find(|unit| unit.is_host());
            if ground.is_asked
                && let Some(program) = host.and_then(|host| host.unit.artifacts.first())
            {
                ground.teller.tell_of_file(&bits.path(program))?;
            }
            Ok::<Bits, RunError>(bits)
        };
        let setting = Setting::of(&[], &everything);
        let varied = self.rebuild(rebuild, &setting, "with all varied", ground.stop);
        let (first, varied) = futures_util::join!(as_it_was, varied);
        let (first, varied) = (first?, varied?);
        let is_as_expected = expected
            .iter()
            .all(|(name, digest)| first.digests.get(name) == Some(digest));
        let mut alone = Vec::new();
        for variation in self.alone(rebuild).await? {
            let label = format!("varying {}", variation.name);
            let setting = Setting::of(&[], &[variation]);
            alone.push(self.rebuild(rebuild, &setting, &label, ground.stop).await?);
        }
        let is_same_alone = alone.iter().all(|attempt| attempt.is_as(&first));
        let causes = match is_as_expected && varied.is_as(&first) && is_same_alone {
            true => vec![],
            false => self.causes(rebuild, &first, varied, expected, ground).await?,
        };
        Ok(Verified {
            rebuilt: first.digests.clone(),
            causes,
            rebuilds: rebuild.count.load(Ordering::Relaxed),
            not_varied: std::mem::take(&mut *rebuild.not_varied.lock().unwrap_or_else(PoisonError::into_inner)),
        })
    }

    /// What can be varied of a unit by itself alone.
    async fn alone(&self, rebuild: &Rebuild<'_>) -> Result<Set, RunError> {
        // What tools kept, where they kept something.
        let has_kept = self.kept_volume(rebuild).await?.is_some();
        let alone = VARIATIONS.iter().copied().filter(|one| one.is_alone && has_kept);
        Ok(alone.collect())
    }

    /// What makes the difference, one cause after the other. `first` is what came out as it was, `varied` with all varied.
    async fn causes(
        &self,
        rebuild: &Rebuild<'_>,
        first: &Bits,
        varied: Attempt,
        expected: &BTreeMap<String, Digest>,
        ground: &Ground<'_>,
    ) -> Result<Vec<Cause>, RunError> {
        let stop = ground.stop;
        let mut causes = Vec::new();
        let mut held: Set = vec![];
        let mut baseline = None;
        let again = self.again(rebuild, &[], "as it was, again", stop).await?;
        let mut varied = Some(varied);
        if !again.is_as(first) {
            varied = None;
            let held_still = self.stilling(rebuild, stop).await?;
            let is_random = held_still.is_none();
            let (still, bits) = held_still.unzip();
            let still = still.unwrap_or_default();
            causes.push(cause(rebuild, Manner::BuildToBuild, &still, first, &again)?);
            if is_random {
                // Whatever else makes a difference cannot be told from this one.
                return Ok(causes);
            }
            held = still;
            baseline = bits;
        } else if let Some(cause) = self.elsewhere(rebuild, first, expected, ground.published)? {
            causes.push(cause);
        }
        let baseline = baseline.as_ref().unwrap_or(first);
        let is_tried = |one: &&'static Variation| !held.contains(one) && !one.is_alone;
        let mut rest: Set = VARIATIONS.iter().copied().filter(is_tried).collect();
        while causes.len() < CAUSES_LIMIT_COUNT {
            let attempt = match varied.take() {
                Some(varied) => varied,
                None => {
                    self.rebuild(rebuild, &Setting::of(&held, &rest), "with the rest varied", stop)
                        .await?
                }
            };
            if attempt.is_as(baseline) {
                break;
            }
            let (smallest, attempt) = self
                .smallest(rebuild, &held, rest.clone(), attempt, baseline, stop)
                .await?;
            // What came out differently by chance, and rarely, leads the search astray; it does not come again.
            let setting = Setting::of(&held, &smallest);
            if self
                .rebuild(rebuild, &setting, "once more", stop)
                .await?
                .is_as(baseline)
            {
                causes.push(cause(rebuild, Manner::BuildToBuild, &[], baseline, &attempt)?);
                break;
            }
            causes.push(cause(rebuild, Manner::Varied, &smallest, baseline, &attempt)?);
            rest.retain(|one| !smallest.contains(one));
        }
        for variation in self.alone(rebuild).await? {
            let label = format!("varying {}", variation.name);
            let setting = Setting::of(&held, &[variation]);
            let attempt = self.rebuild(rebuild, &setting, &label, stop).await?;
            if !attempt.is_as(baseline) {
                causes.push(cause(rebuild, Manner::Varied, &[variation], baseline, &attempt)?);
            }
        }
        Ok(causes)
    }

    /// Compiles once more, in another second than before.
    async fn again(
        &self,
        rebuild: &Rebuild<'_>,
        held: &[&'static Variation],
        label: &str,
        stop: &CancellationToken,
    ) -> Result<Attempt, RunError> {
        tokio::select! {
            () = tokio::time::sleep(AGAIN_AFTER) => {}
            () = stop.cancelled() => return Err(RunError::Interrupted),
        }
        self.rebuild(rebuild, &Setting::of(held, &[]), label, stop).await
    }

    /// The smallest set of what changes by itself that must be held for the same bits to come out each time, and those bits;
    /// none when they differ even while all of it is held.
    async fn stilling(&self, rebuild: &Rebuild<'_>, stop: &CancellationToken) -> Result<Option<(Set, Bits)>, RunError> {
        let all: Set = VARIATIONS.iter().copied().filter(|one| one.hold.is_some()).collect();
        let Some(mut bits) = self.still(rebuild, &all, stop).await? else {
            return Ok(None);
        };
        let mut search = Search::new(all);
        while let Some(set) = search.next() {
            let still = self.still(rebuild, &set, stop).await?;
            search.tell(still.is_some());
            if let Some(still) = still {
                bits = still;
            }
        }
        Ok(Some((search.smallest().to_vec(), bits)))
    }

    /// What comes out while these are held; none if that differs.
    async fn still(
        &self,
        rebuild: &Rebuild<'_>,
        held: &Set,
        stop: &CancellationToken,
    ) -> Result<Option<Bits>, RunError> {
        let label = format!("holding {}", names(held).join(", "));
        let one = self.rebuild(rebuild, &Setting::of(held, &[]), &label, stop).await?;
        let Attempt::Built(one) = one else { return Ok(None) };
        let other = self.again(rebuild, held, &format!("{label}, again"), stop).await?;
        Ok(other.is_as(&one).then_some(one))
    }

    /// The smallest part of `all` that gives other bits than `baseline`, and what it gives.
    async fn smallest(
        &self,
        rebuild: &Rebuild<'_>,
        held: &Set,
        all: Set,
        attempt: Attempt,
        baseline: &Bits,
        stop: &CancellationToken,
    ) -> Result<(Set, Attempt), RunError> {
        // What is read from the difference is true more often than not, and one try tells.
        let texts = texts(&differences(baseline, &attempt)?);
        for guess in VARIATIONS
            .iter()
            .filter(|one| all.contains(one) && one.is_betrayed_by(&texts))
        {
            let label = format!("varying {}", guess.name);
            let attempt = self
                .rebuild(rebuild, &Setting::of(held, &[guess]), &label, stop)
                .await?;
            if !attempt.is_as(baseline) {
                return Ok((vec![*guess], attempt));
            }
        }
        let mut found = attempt;
        let mut search = Search::new(all);
        while let Some(set) = search.next() {
            let label = format!("varying {}", names(&set).join(", "));
            let attempt = self.rebuild(rebuild, &Setting::of(held, &set), &label, stop).await?;
            let differs = !attempt.is_as(baseline);
            search.tell(differs);
            if differs {
                found = attempt;
            }
        }
        Ok((search.smallest().to_vec(), found))
    }

    /// What is always the same here, and not what it is to be.
    fn elsewhere(
        &self,
        rebuild: &Rebuild<'_>,
        first: &Bits,
        expected: &BTreeMap<String, Digest>,
        published: Option<&Published>,
    ) -> Result<Option<Cause>, RunError> {
        let others = expected
            .iter()
            .filter(|(name, digest)| first.digests.get(*name) != Some(digest));
        let mut artifacts = Vec::new();
        for (name, digest) in others {
            let parts = match self.kept_bits(rebuild, name, *digest, published) {
                Some(path) => parts(&path, &first.path(name))?,
                None => vec![],
            };
            artifacts.push(ArtifactDifference {
                name: name.clone(),
                parts,
            });
        }
        if artifacts.is_empty() {
            return Ok(None);
        }
        let kind = kind(&[], &texts(&artifacts)).filter(|kind| *kind != crate::verify::Kind::Random);
        Ok(Some(Cause {
            manner: Manner::Elsewhere,
            variations: vec![],
            kind,
            cure: kind.and_then(|kind| cure(&[], Some(kind), language_of(rebuild))),
            artifacts,
            failure: None,
        }))
    }

    /// An artifact with this digest: of what was published, in what was compiled, or in the bundle.
    fn kept_bits(
        &self,
        rebuild: &Rebuild<'_>,
        name: &str,
        digest: Digest,
        published: Option<&Published>,
    ) -> Option<PathBuf> {
        let action = rebuild.unit.action_key(rebuild.image.identity);
        let bundle = self.project.directory.join("dist").join(rebuild.environment.as_str());
        let places = [self.store.compiled(action).join(name), bundle.join(name)];
        let published = published.map(|published| published.file(digest));
        published.into_iter().chain(places).find(|path| {
            let file = regular_file::open_itself(path);
            file.is_ok_and(|file| Digest::of_reader(file).is_ok_and(|found| found == digest))
        })
    }
}

/// The artifacts that differ, and where.
fn differences(one: &Bits, other: &Attempt) -> Result<Vec<ArtifactDifference>, RunError> {
    let Attempt::Built(other) = other else {
        return Ok(vec![]);
    };
    let differing = one
        .digests
        .iter()
        .filter(|(name, digest)| other.digests.get(*name) != Some(digest));
    let differing = differing.map(|(name, _)| {
        Ok(ArtifactDifference {
            name: name.clone(),
            parts: parts(&one.path(name), &other.path(name))?,
        })
    });
    differing.collect()
}

fn cause(
    rebuild: &Rebuild<'_>,
    manner: Manner,
    variations: &[&'static Variation],
    one: &Bits,
    other: &Attempt,
) -> Result<Cause, RunError> {
    let (artifacts, failure) = (differences(one, other)?, other.failure());
    let kind = match failure {
        Some(_) => None,
        None => kind(variations, &texts(&artifacts)),
    };
    Ok(Cause {
        manner,
        variations: names(variations),
        kind,
        cure: match failure {
            Some(_) => cure_of_failure(variations),
            None => cure(variations, kind, language_of(rebuild)),
        },
        artifacts,
        failure,
    })
}

/// What the lock has of an environment.
fn locked_of<'a>(plan: &EnvironmentPlan, work: &'a Workload) -> Result<&'a lock::Environment, RunError> {
    let locked = work.lock.lock.environments.get(&plan.name);
    locked.ok_or_else(|| RunError::OutOfDate {
        environment: plan.name.clone(),
        changes: vec![missing_environment(&plan.name)],
    })
}

fn names(variations: &[&'static Variation]) -> Vec<&'static str> {
    variations.iter().map(|variation| variation.name).collect()
}

fn language_of(rebuild: &Rebuild<'_>) -> LanguageName {
    rebuild.unit.unit.language
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

/// Where two files differ; nothing of those that are too large to be held.
fn parts(one: &Path, other: &Path) -> Result<Vec<PartDifference>, RunError> {
    let read = |path: &Path| -> std::io::Result<Option<Vec<u8>>> {
        let file = regular_file::open_itself(path)?;
        let is_too_large = file.metadata()?.len() > SHOWN_LIMIT_BYTES;
        match is_too_large {
            true => Ok(None),
            false => regular_file::read_all(file, SHOWN_LIMIT_BYTES).map(Some),
        }
    };
    let read = |path: &Path| read(path).map_err(RunError::file_at("read", path));
    Ok(match (read(one)?, read(other)?) {
        (Some(one), Some(other)) => differing_parts(&one, &other),
        _ => vec![],
    })
}

/// The texts of all parts that have one on both sides.
fn texts(artifacts: &[ArtifactDifference]) -> Vec<(String, String)> {
    let parts = artifacts.iter().flat_map(|artifact| &artifact.parts);
    // An ID is a digest of the rest, and a size is no text.
    let is_text = |part: &&PartDifference| !part.part.ends_with("build ID");
    let texts = parts
        .filter(is_text)
        .filter_map(|part| part.a.clone().zip(part.b.clone()));
    texts
        .filter(|(one, other)| !(one.ends_with(" bytes") && other.ends_with(" bytes")))
        .collect()
}
