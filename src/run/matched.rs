//! The matched image, which is what a user deploys: the runtime image's layers, and one more with the bundle.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::RunError;
use super::error::MakeError;
use super::install::Installed;
use super::placed::{BUNDLE_PATH, bundle_path};
use super::start::Start;
use crate::bundle::{MANIFEST_FILE, Manifest};
use crate::digest::Digest;
use crate::engine::{Engine, EngineError, ImageFacts, ImageId, Labels};
use crate::image::{
    ConfigChanges, Entry, ImageArchive, ImageError, LayerError, LayerWriter, SavedError, SavedImage, stacked_config,
};
use crate::regular_file;
use crate::state::STAGING_PREFIX;
use crate::stream;
use crate::temporary;

/// Where bundles are in matched images; the project's name follows.
const BUNDLE_ROOT: &str = "opt";

/// What a matched image is made of.
pub(super) struct MatchedImage<'a> {
    /// The image that it begins with.
    pub(super) runtime: &'a ImageFacts,
    /// The bundle's directory on this machine.
    pub(super) bundle: &'a Path,
    /// What is in it.
    pub(super) manifest: &'a Manifest,
    /// Where files are that are thrown away afterwards; what a run that is killed leaves there, the next one removes.
    pub(super) work: &'a Path,
    /// The project's name, which names the directory in the image.
    pub(super) project: &'a str,
    /// How it starts.
    pub(super) start: Start,
    /// Where the host looks for things, and which files these are.
    pub(super) installed: Vec<Installed>,
    /// Its labels.
    pub(super) labels: Labels,
    /// The time that its files claim; seconds.
    pub(super) created_seconds: u64,
    /// The name that it gets first, until everything else is published too.
    pub(super) staged_tag: &'a str,
}

/// What became of it.
pub(super) struct Matched {
    /// What the engine calls it.
    pub(super) id: ImageId,
    /// The digest of its config, which is the same in every engine.
    pub(super) config: Digest,
}

/// Assembles the image and hands it to the engine under its staged name.
pub(super) async fn assemble_matched(engine: &dyn Engine, request: MatchedImage<'_>) -> Result<Matched, RunError> {
    let runtime = &request.runtime.id.0;
    let config = saved_config(engine, runtime).await?;
    let config = config.ok_or_else(|| MakeError::NoConfig { image: runtime.clone() })?;
    let layer =
        temporary::file_in(request.work, STAGING_PREFIX).map_err(RunError::file_at("make a file in", request.work))?;
    let diff_id = write_layer(&request, layer.as_file()).map_err(|cause| layer_error(cause, request.work))?;
    let Start {
        entry_point,
        command,
        env,
        user,
        directory,
    } = request.start.clone();
    let changes = ConfigChanges {
        env,
        entry_point,
        command,
        user,
        directory,
        labels: request.labels.clone(),
    };
    let config = stacked_config(&config, diff_id, "lockstep bundle", request.created_seconds, &changes)
        .map_err(MakeError::from)?;
    let matched = |facts: ImageFacts| Matched {
        id: facts.id,
        config: Digest::of(&config),
    };
    let mut expected = request.runtime.diff_ids.clone();
    expected.push(diff_id);
    let archive = |layers: BTreeMap<Digest, PathBuf>| ImageArchive {
        config: config.clone(),
        layers: expected
            .iter()
            .map(|digest| (*digest, layers.get(digest).cloned()))
            .collect(),
        tags: vec![request.staged_tag.to_owned()],
    };
    // The engine has the runtime's layers; one that wants them all the same gets them.
    let only_ours = BTreeMap::from([(diff_id, layer.path().to_owned())]);
    let loaded = engine.load_images(archive(only_ours.clone()).into_stream()).await;
    // All layers would need more room still, and take longer.
    if let Err(error @ (EngineError::DiskFull { .. } | EngineError::Abandoned { .. })) = loaded {
        return Err(error.into());
    }
    if let Some(facts) = loaded_image(engine, request.staged_tag, &expected).await? {
        return Ok(matched(facts));
    }
    let saved = saved_image(engine, runtime, request.work).await?;
    let mut layers = saved.layer_paths();
    layers.extend(only_ours);
    engine.load_images(archive(layers).into_stream()).await?;
    match loaded_image(engine, request.staged_tag, &expected).await? {
        Some(facts) => Ok(matched(facts)),
        // Why the first try failed says more than that the second one did.
        None => Err(loaded.err().map_or_else(
            || {
                MakeError::Vanished {
                    reference: request.staged_tag.to_owned(),
                }
                .into()
            },
            RunError::from,
        )),
    }
}

/// The digest of an image's config, whatever the engine calls the image; none when it is not to be had.
pub(super) async fn config_digest(engine: &dyn Engine, image: &ImageId) -> Result<Option<Digest>, RunError> {
    let config = saved_config(engine, &image.0).await?;
    Ok(config.as_deref().map(Digest::of))
}

async fn loaded_image(engine: &dyn Engine, tag: &str, expected: &[Digest]) -> Result<Option<ImageFacts>, RunError> {
    Ok(engine.image(tag).await?.filter(|facts| facts.diff_ids == expected))
}

fn layer_error(cause: LayerError, work: &Path) -> RunError {
    if let LayerError::Write(cause) = cause {
        return RunError::file_at("write a layer in", work)(cause);
    }
    let error = MakeError::Image(ImageError::Layer {
        recipe: "the matched image".to_owned(),
        cause,
    });
    error.into()
}

/// One layer with the bundle's files, sorted, with fixed owners and times.
fn write_layer(request: &MatchedImage<'_>, target: &File) -> Result<Digest, LayerError> {
    let mtime = request.created_seconds;
    let directory = format!("{BUNDLE_ROOT}/{}", request.project);
    let mut layer = LayerWriter::new(BufWriter::new(target));
    for directory in [BUNDLE_ROOT, &directory] {
        layer.append(&Entry::directory(directory, mtime), &mut io::empty())?;
    }
    for place in request.manifest.directories() {
        layer.append(
            &Entry::directory(&format!("{directory}/{place}"), mtime),
            &mut io::empty(),
        )?;
    }
    let artifacts = request.manifest.artifacts().map(|artifact| artifact.name.as_str());
    let mut places: Vec<&str> = artifacts.chain([MANIFEST_FILE]).collect();
    places.sort_unstable();
    for place in places {
        let mut file = regular_file::open_itself(&request.bundle.join(place)).map_err(LayerError::Read)?;
        let metadata = file.metadata().map_err(LayerError::Read)?;
        let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0;
        let mode = if executable { 0o755 } else { 0o644 };
        layer.append(
            &Entry::file(&format!("{directory}/{place}"), metadata.len(), mode, mtime),
            &mut file,
        )?;
    }
    // Where the smoke test had it.
    let (above, link) = (
        bundle_path().0.trim_start_matches('/'),
        BUNDLE_PATH.trim_start_matches('/'),
    );
    layer.append(&Entry::directory(above, mtime), &mut io::empty())?;
    layer.append(&Entry::symlink(link, &format!("/{directory}"), mtime), &mut io::empty())?;
    for installed in &request.installed {
        for entry in installed.entries(&format!("/{directory}"), mtime) {
            layer.append(&entry, &mut io::empty())?;
        }
    }
    let (digest, _, mut writer) = layer.finish()?;
    writer.flush().map_err(LayerError::Write)?;
    Ok(digest)
}

/// The config of an image, as the engine saves it; none if what comes has none.
async fn saved_config(engine: &dyn Engine, image: &str) -> Result<Option<Vec<u8>>, RunError> {
    let archive = engine.save_image(image).await?;
    let read = stream::read_by(archive, |reader| SavedImage::config(reader)).await;
    match read.map_err(RunError::file("read the image"))? {
        Ok(config) => Ok(Some(config)),
        Err(SavedError::Layer(LayerError::Read(cause))) => Err(RunError::file("read the image")(cause)),
        Err(_) => Ok(None),
    }
}

/// An image with its layers in files: for engines that do not take another one without them.
pub(super) async fn saved_image(engine: &dyn Engine, image: &str, work: &Path) -> Result<SavedImage, RunError> {
    let archive = engine.save_image(image).await?;
    let directory = work.to_owned();
    let read = stream::read_by(archive, move |reader| {
        let new_file = || temporary::file_in(&directory, STAGING_PREFIX).map_err(LayerError::Write);
        SavedImage::spool(reader, &new_file)
    });
    let read = read.await.map_err(RunError::file("read the runtime image"))?;
    read.map_err(|cause| layer_error(cause.into(), work))
}
