//! What makes a difference: the smallest set of variations, one cause after the other (delta debugging: Zeller and Hildebrandt,
//! "Simplifying and isolating failure-inducing input").

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::{Run, RunError};
use super::difference::{Compared, betrayed, kind_of, language_of, names, texts_of};
use super::ground::{Ground, Set};
use super::published::Published;
use super::rebuild::{Attempt, Bits, Rebuild};
use crate::digest::Digest;
use crate::regular_file;
use crate::verify::{Cause, Manner, Search, Setting, VARIATIONS, Variation, cure};

/// How long to wait before the same is compiled again: what has the second in it is to differ.
const AGAIN_AFTER: Duration = Duration::from_millis(1100);
/// How many causes of one unit are looked for, one after the other.
const CAUSES_LIMIT_COUNT: usize = 8;

impl Run {
    /// What can be varied of a unit by itself alone.
    async fn alone(&self, rebuild: &Rebuild<'_>) -> Result<Set, RunError> {
        let has_kept = self.kept_volume(rebuild).await?.is_some();
        let can_be_had = |one: &&'static Variation| {
            let setting = Setting::of(&[], &[one]);
            (!setting.has_kept || has_kept) && (!setting.is_in_remade_image || rebuild.remade.is_some())
        };
        let alone = VARIATIONS.iter().copied().filter(|one| one.is_alone);
        Ok(alone.filter(can_be_had).collect())
    }

    /// What makes the difference, one cause after the other. `first` is what came out as it was, `varied` with all varied.
    pub(super) async fn causes(
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
        let (mut baseline, mut with_all) = (None, None);
        let again = self.again(rebuild, &[], "as it was, again", stop).await?;
        if again.is_as(first) {
            causes.extend(self.elsewhere(rebuild, first, expected, ground).await?);
            with_all = Some(varied);
        } else {
            let stilled = self.stilling(rebuild, stop).await?;
            let still = stilled.as_ref().map(|(still, _)| still.as_slice()).unwrap_or_default();
            let manner = (Manner::BuildToBuild, still);
            causes.push(self.cause(rebuild, ground, manner, first, &again).await?);
            let Some((still, bits)) = stilled else {
                causes.extend(self.despite_chance(rebuild, ground, first, varied).await?);
                return Ok(causes);
            };
            held = still;
            baseline = Some(bits);
        }
        let baseline = baseline.as_ref().unwrap_or(first);
        let is_tried = |one: &&'static Variation| !held.contains(one) && !one.is_alone;
        let mut rest: Set = VARIATIONS.iter().copied().filter(is_tried).collect();
        while causes.len() < CAUSES_LIMIT_COUNT {
            let attempt = match with_all.take() {
                Some(attempt) => attempt,
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
                causes.push(
                    self.cause(rebuild, ground, (Manner::BuildToBuild, &[]), baseline, &attempt)
                        .await?,
                );
                break;
            }
            causes.push(
                self.cause(rebuild, ground, (Manner::Varied, &smallest), baseline, &attempt)
                    .await?,
            );
            rest.retain(|one| !smallest.contains(one));
        }
        for variation in self.alone(rebuild).await? {
            let label = format!("varying {}", variation.name);
            let setting = Setting::of(&held, &[variation]);
            let attempt = self.rebuild(rebuild, &setting, &label, stop).await?;
            if !attempt.is_as(baseline) {
                causes.push(
                    self.cause(rebuild, ground, (Manner::Varied, &[variation]), baseline, &attempt)
                        .await?,
                );
            }
        }
        Ok(causes)
    }

    /// What can be told of variations where nothing comes out twice: that it does not compile, and what leaves a trace.
    async fn despite_chance(
        &self,
        rebuild: &Rebuild<'_>,
        ground: &Ground<'_>,
        first: &Bits,
        varied: Attempt,
    ) -> Result<Vec<Cause>, RunError> {
        let stop = ground.stop;
        let mut causes = Vec::new();
        if varied.failure().is_some() {
            let all: Set = VARIATIONS.iter().copied().filter(|one| !one.is_alone).collect();
            let fails = |attempt: &Attempt| attempt.failure().is_some();
            let (smallest, failed) = self.searched(rebuild, &[], all, varied, fails, stop).await?;
            let manner = (Manner::Varied, smallest.as_slice());
            causes.push(self.cause(rebuild, ground, manner, first, &failed).await?);
            return Ok(causes);
        }
        for guess in betrayed(first, &varied)? {
            let label = format!("varying {}", guess.name);
            let attempt = self.rebuild(rebuild, &Setting::of(&[], &[guess]), &label, stop).await?;
            if betrayed(first, &attempt)?.contains(&guess) {
                let manner = (Manner::Varied, &[guess][..]);
                causes.push(self.cause(rebuild, ground, manner, first, &attempt).await?);
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
        let texts = texts_of(baseline, &attempt)?;
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
        let differs = |attempt: &Attempt| !attempt.is_as(baseline);
        self.searched(rebuild, held, all, attempt, differs, stop).await
    }

    /// The smallest part of `all` with which it still `shows`, and what that gives; `found` is what all of it gives.
    async fn searched(
        &self,
        rebuild: &Rebuild<'_>,
        held: &[&'static Variation],
        all: Set,
        mut found: Attempt,
        shows: impl Fn(&Attempt) -> bool,
        stop: &CancellationToken,
    ) -> Result<(Set, Attempt), RunError> {
        let mut search = Search::new(all);
        while let Some(set) = search.next() {
            let label = format!("varying {}", names(&set).join(", "));
            let attempt = self.rebuild(rebuild, &Setting::of(held, &set), &label, stop).await?;
            let still_shows = shows(&attempt);
            search.tell(still_shows);
            if still_shows {
                found = attempt;
            }
        }
        Ok((search.smallest().to_vec(), found))
    }

    /// What is always the same here, and not what it is to be.
    async fn elsewhere(
        &self,
        rebuild: &Rebuild<'_>,
        first: &Bits,
        expected: &BTreeMap<String, Digest>,
        ground: &Ground<'_>,
    ) -> Result<Option<Cause>, RunError> {
        let others = expected
            .iter()
            .filter(|(name, digest)| first.digests.get(*name) != Some(digest));
        let published = ground.whole.published.as_ref();
        let compared: Vec<Compared> = others
            .map(|(name, digest)| Compared {
                name: name.clone(),
                one: self.kept_bits(rebuild, name, *digest, published),
                other: first.path(name),
            })
            .collect();
        if compared.is_empty() {
            return Ok(None);
        }
        let artifacts = self.artifacts(rebuild, ground, compared).await?;
        let kind = kind_of(Manner::Elsewhere, &[], &artifacts);
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
