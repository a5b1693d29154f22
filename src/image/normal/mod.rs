//! Images that an engine's builder made, freed of what depends on the day, the machine and its storage: the same files from the
//! same Dockerfile are the same image, wherever they were built.
//!
//! The image is read back as the engine saves it, its layers go to the cache as tars, and nothing is ever unpacked. The base
//! image's layers stay as they are; each further one is written anew ([`layer`]), without what records the day ([`day`]), and
//! the config keeps what the Dockerfile says and nothing of how it was built ([`config`]).

mod below;
mod config;
mod day;
mod layer;

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Read};

use below::Below;
use day::DayRules;
use layer::Layer;

use super::cache::{ImageCache, LocalImage, LocalLayer, failed};
use super::error::{ImageError, LayerError};
use super::saved::SavedImage;
use super::write::LayerWriter;
use crate::digest::{Digest, Hasher};

/// Part of every key: to be changed when images are normalised in another way.
const KEY_VERSION: &[u8] = b"lockstep normal 1";
/// How much of a layer is read and written at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// An image to be normalised, as the engine has it.
pub struct NormalRequest<'a> {
    /// What it is called where people read it.
    pub name: &'a str,
    /// The digest of its recipe.
    pub recipe: Digest,
    /// The digests of the base image's layers, which stay as they are.
    pub base: &'a [Digest],
    /// Patterns of what is left out beside what records the day.
    pub remove: &'a [String],
    /// The latest time that anything in it carries.
    pub epoch_seconds: u64,
    /// Labels that it gets beside those of the Dockerfile.
    pub labels: &'a BTreeMap<String, String>,
    /// Where it goes.
    pub cache: &'a ImageCache,
}

/// What a normalised image is kept under.
#[must_use]
pub fn normal_key(recipe: Digest, architecture: &str, epoch_seconds: u64) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(KEY_VERSION);
    hasher.field(recipe.to_string().as_bytes());
    hasher.field(architecture.as_bytes());
    hasher.field(&epoch_seconds.to_le_bytes());
    hasher.finish()
}

/// Reads a saved image and keeps the normalised one in the cache; blocks for as long as that takes.
///
/// # Errors
/// [`ImageError`]: what came is no image, or the cache cannot be written.
pub fn normalise(request: &NormalRequest<'_>, saved: &mut dyn Read) -> Result<LocalImage, ImageError> {
    let layer_failed = |cause: LayerError| ImageError::Layer {
        recipe: request.name.to_owned(),
        cause,
    };
    let rules = DayRules::new(request.remove, request.epoch_seconds).map_err(layer_failed)?;
    let _writing = request.cache.begin_writing()?;
    let new_file = || request.cache.temporary_file().map_err(LayerError::Write);
    let saved_failed = |cause| layer_failed(LayerError::from(cause));
    let mut saved = SavedImage::spool(saved, &new_file).map_err(saved_failed)?;
    let config = config::BuiltConfig::parse(&saved.config)?;
    let diff_ids = saved.diff_ids().map_err(saved_failed)?;
    let is_based = diff_ids.starts_with(request.base);
    let base_count = if is_based { request.base.len() } else { 0 };
    let mut below = Below::default();
    let mut layers = Vec::new();
    for (number, diff_id) in diff_ids.iter().enumerate() {
        let open = |saved: &SavedImage| {
            let file = saved.open(*diff_id).map_err(saved_failed)?;
            Ok::<_, ImageError>(BufReader::with_capacity(BUFFER_BYTES, file))
        };
        let (diff_id, size_bytes, path) = if number < base_count {
            below.apply(open(&saved)?).map_err(layer_failed)?;
            let path = saved.keep(*diff_id, request.cache)?;
            let size_bytes = path.metadata().map_err(failed("look at", &path))?.len();
            (*diff_id, size_bytes, path)
        } else {
            let layer = Layer::read(open(&saved)?, &rules).map_err(layer_failed)?;
            let file = new_file().map_err(layer_failed)?;
            let mut writer = LayerWriter::new(BufWriter::with_capacity(BUFFER_BYTES, file));
            layer
                .write(&mut below, open(&saved)?, &rules, &mut writer)
                .map_err(layer_failed)?;
            let (diff_id, size_bytes, writer) = writer.finish().map_err(layer_failed)?;
            let file = writer
                .into_inner()
                .map_err(|error| layer_failed(LayerError::Write(error.into_error())))?;
            (diff_id, size_bytes, request.cache.insert_layer(file, diff_id)?)
        };
        layers.push(LocalLayer {
            diff_id,
            size_bytes,
            path,
            name: format!("{} {}", request.name, number + 1),
        });
    }
    // People find it by the name of its topmost layer.
    if let Some(last) = layers.last_mut() {
        request.name.clone_into(&mut last.name);
    }
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    let text = config.render(&diff_ids, request.name, request.epoch_seconds, request.labels);
    let key = normal_key(request.recipe, &config.architecture, request.epoch_seconds);
    let image = LocalImage {
        recipe: request.recipe,
        config: text,
        layers,
        packages: vec![],
    };
    request.cache.insert(key, &image)?;
    Ok(image)
}
