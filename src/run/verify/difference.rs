//! In what two compiles of the same differ, and what that says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::super::{Run, RunError};
use super::ground::{Ground, Set};
use super::rebuild::{Attempt, Bits, Rebuild};
use crate::comparison::{PartDifference, differing_parts};
use crate::config::LanguageName;
use crate::event::Event;
use crate::regular_file;
use crate::verify::{ArtifactDifference, Cause, Kind, Manner, VARIATIONS, Variation, cure, cure_of_failure, kind};

/// The largest artifact of which is told where it differs: it is held in memory.
const SHOWN_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// Shorter traces are found among random bytes, too.
const TRACE_LEAST_BYTES: usize = 6;

/// The bytes of two files.
type BothBytes = (Vec<u8>, Vec<u8>);

/// Two files that are not the same, and were to be.
pub(super) struct Compared {
    /// The artifact.
    pub(super) name: String,
    /// What it is to be; none where only its digest is known.
    pub(super) one: Option<PathBuf>,
    /// What it is.
    pub(super) other: PathBuf,
}

impl Compared {
    /// The bytes of both; none where one is not at hand, or too large to be held.
    fn bytes(&self) -> Result<Option<BothBytes>, RunError> {
        let Some(one) = &self.one else { return Ok(None) };
        Ok(held(one)?.zip(held(&self.other)?))
    }

    /// Where they differ, as far as that is known.
    fn parts(&self) -> Result<Vec<PartDifference>, RunError> {
        let bytes = self.bytes()?;
        Ok(bytes.map_or_else(Vec::new, |(one, other)| differing_parts(&one, &other)))
    }
}

impl Run {
    /// What a difference says of its cause.
    pub(super) async fn cause(
        &self,
        rebuild: &Rebuild<'_>,
        ground: &Ground<'_>,
        (manner, variations): (Manner, &[&'static Variation]),
        one: &Bits,
        other: &Attempt,
    ) -> Result<Cause, RunError> {
        let failure = other.failure();
        let artifacts = self.artifacts(rebuild, ground, compared(one, other)).await?;
        let kind = match failure {
            Some(_) => None,
            None => kind_of(manner, variations, &artifacts),
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

    /// In what artifacts differ; a page is drawn of each, when that was asked for.
    pub(super) async fn artifacts(
        &self,
        rebuild: &Rebuild<'_>,
        ground: &Ground<'_>,
        compared: Vec<Compared>,
    ) -> Result<Vec<ArtifactDifference>, RunError> {
        let mut artifacts = Vec::new();
        for pair in compared {
            let mut page = None;
            if let Some((diffoscope, one)) = ground.whole.diffoscope.as_ref().zip(pair.one.as_ref()) {
                let subject = format!("{} {} {}", rebuild.environment, rebuild.unit.name, pair.name);
                match diffoscope.page(&subject, one, &pair.other, ground.stop).await {
                    Ok(drawn) => page = Some(drawn.display().to_string()),
                    Err(message) => self.events.emit(Event::Warning { message, hint: None }),
                }
            }
            artifacts.push(ArtifactDifference {
                parts: pair.parts()?,
                name: pair.name,
                page,
            });
        }
        Ok(artifacts)
    }
}

/// What a difference is, where that can be told. What is the same each time in one place is not random.
pub(super) fn kind_of(
    manner: Manner,
    variations: &[&'static Variation],
    artifacts: &[ArtifactDifference],
) -> Option<Kind> {
    let is_of_place = matches!(manner, Manner::Elsewhere | Manner::OtherEngine);
    let texts = texts(artifacts.iter().flat_map(|artifact| &artifact.parts));
    kind(variations, &texts).filter(|kind| !is_of_place || *kind != Kind::Random)
}

/// The artifacts that differ.
fn compared(one: &Bits, other: &Attempt) -> Vec<Compared> {
    let Attempt::Built(other) = other else {
        return vec![];
    };
    let differing = one
        .digests
        .iter()
        .filter(|(name, digest)| other.digests.get(*name) != Some(digest));
    let differing = differing.map(|(name, _)| Compared {
        name: name.clone(),
        one: Some(one.path(name)),
        other: other.path(name),
    });
    differing.collect()
}

/// What of the differences can be read.
pub(super) fn texts_of(one: &Bits, other: &Attempt) -> Result<Vec<(String, String)>, RunError> {
    let mut all = Vec::new();
    for pair in compared(one, other) {
        all.extend(pair.parts()?);
    }
    Ok(texts(&all))
}

/// The variations that have left a trace of themselves in artifacts that have none of it otherwise, wherever in them.
pub(super) fn betrayed(one: &Bits, other: &Attempt) -> Result<Set, RunError> {
    let is_in = |bytes: &[u8], trace: &str| memmem::find(bytes, trace.as_bytes()).is_some();
    let traces = VARIATIONS.iter().flat_map(|variation| variation.traces);
    let traces: Vec<&str> = traces
        .copied()
        .filter(|trace| trace.len() >= TRACE_LEAST_BYTES)
        .collect();
    let mut left: BTreeSet<&str> = BTreeSet::new();
    for pair in compared(one, other) {
        if let Some((one, other)) = pair.bytes()? {
            left.extend(
                traces
                    .iter()
                    .filter(|trace| is_in(&other, trace) && !is_in(&one, trace)),
            );
        }
    }
    let is_betrayed = |variation: &&'static Variation| variation.traces.iter().any(|trace| left.contains(trace));
    Ok(VARIATIONS.iter().copied().filter(is_betrayed).collect())
}

pub(super) fn names(variations: &[&'static Variation]) -> Vec<&'static str> {
    variations.iter().map(|variation| variation.name).collect()
}

pub(super) fn language_of(rebuild: &Rebuild<'_>) -> LanguageName {
    rebuild.unit.unit.language
}

/// A file's bytes; none if it is too large to be held.
fn held(path: &Path) -> Result<Option<Vec<u8>>, RunError> {
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        let file = regular_file::open_itself(path)?;
        let is_too_large = file.metadata()?.len() > SHOWN_LIMIT_BYTES;
        match is_too_large {
            true => Ok(None),
            false => regular_file::read_all(file, SHOWN_LIMIT_BYTES).map(Some),
        }
    };
    read().map_err(RunError::file_at("read", path))
}

/// The texts of all parts that have one on both sides.
fn texts<'a>(parts: impl IntoIterator<Item = &'a PartDifference>) -> Vec<(String, String)> {
    // An ID is a digest of the rest, and a size is no text.
    let is_text = |part: &&PartDifference| !part.part.ends_with("build ID");
    let texts = parts
        .into_iter()
        .filter(is_text)
        .filter_map(|part| part.a.clone().zip(part.b.clone()));
    texts
        .filter(|(one, other)| !(one.ends_with(" bytes") && other.ends_with(" bytes")))
        .collect()
}
