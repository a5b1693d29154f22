//! Makes an image from a recipe: its bases first, each a layer; what was made before comes out of the cache.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter};

use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::assemble::{ARCHIVES_DIRECTORY, NOTES_DIRECTORY, Rules, assemble, read_note};
use super::bootstrap::Bootstrap;
use super::cache::{ImageCache, LocalImage, LocalLayer, failed};
use super::config::ImageConfig;
use super::error::{ImageError, LayerError};
use super::kept_repository::KeptRepository;
use super::machine::Machine;
use super::package_list::{PACKAGES_LABEL, label_of, packages};
use super::recipe::{Ground, Recipe};
use super::same_source::{Mismatch, mismatch};
use super::tree::Tree;
use super::write::LayerWriter;
use crate::digest::{Digest, Hasher};
use crate::lock::Package;
use crate::regular_file;

/// How much of the bootstrap's tar is read at once.
const READ_BUFFER_BYTES: usize = 1024 * 1024;

/// What an image is made from.
pub struct MakeRequest<'a> {
    /// What it is made of.
    pub recipe: &'a Recipe,
    /// The machine it is made on.
    pub machine: &'a Machine,
    /// Where images and packages are kept.
    pub cache: &'a ImageCache,
    /// The latest time that anything in it carries.
    pub epoch_seconds: u64,
    /// Makes it again, with the packages that are there now, when the cache has it from before this moment (seconds
    /// since the epoch): a run that asks for news says when it started, so that no image is made twice in it.
    pub refresh_before_seconds: Option<u64>,
    /// Ends the work early.
    pub cancel: &'a CancellationToken,
    /// Takes what is being done, in a few words.
    pub progress: &'a (dyn Fn(String) + Sync),
}

/// What an image is kept under: all that decides what it is but the packages that the mirror has.
#[must_use]
pub fn image_key(recipe: &Recipe, architecture: &str, epoch_seconds: u64) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(recipe.digest().to_string().as_bytes());
    hasher.field(architecture.as_bytes());
    hasher.field(&epoch_seconds.to_le_bytes());
    hasher.finish()
}

/// Makes the image, or takes it from the cache; blocks for as long as that takes. The second value says whether it was
/// there already.
///
/// # Errors
/// See [`ImageError`].
pub fn make(request: &MakeRequest<'_>) -> Result<(LocalImage, bool), ImageError> {
    make_recipe(request, request.recipe)
}

fn make_recipe(request: &MakeRequest<'_>, recipe: &Recipe) -> Result<(LocalImage, bool), ImageError> {
    let key = image_key(recipe, request.machine.architecture, request.epoch_seconds);
    let find = || request.cache.find(key, request.refresh_before_seconds);
    if let Some(image) = find() {
        return Ok((image, true));
    }
    let base = match &recipe.ground {
        Ground::Base(base) => Some(make_recipe(request, base)?.0),
        Ground::Distribution { .. } => None,
    };
    let _lock = request.cache.lock(key, request.cancel)?;
    let _writing = request.cache.begin_writing()?;
    // Another process, or another environment of this one, may have made it while this one waited.
    match find() {
        Some(image) => Ok((image, true)),
        None => Ok((make_layer(request, recipe, key, base.as_ref())?, false)),
    }
}

fn make_layer(
    request: &MakeRequest<'_>,
    recipe: &Recipe,
    key: Digest,
    base: Option<&LocalImage>,
) -> Result<LocalImage, ImageError> {
    let base_layers = base.map_or(&[][..], |image| &image.layers);
    let layer = bootstrap_layer(request, recipe, base_layers, None)?;
    if let (true, Some(base)) = (recipe.keeps_base, base)
        && let Some(Mismatch { added, base, source }) = mismatch(&layer.sources, &base.packages)
    {
        return Err(ImageError::Versions {
            added,
            base,
            from: source,
        });
    }
    let packages = packages(&layer.note, &layer.files, base.map_or(&[], |image| &image.packages));
    let mut layers = base_layers.to_vec();
    layers.push(layer.keep(request.cache, &recipe.name)?);
    let image = assembled(request, recipe, layers, packages);
    request.cache.insert(key, &image)?;
    Ok(image)
}

/// The image of a recipe with these layers and packages.
pub(super) fn assembled(
    request: &MakeRequest<'_>,
    recipe: &Recipe,
    layers: Vec<LocalLayer>,
    packages: Vec<Package>,
) -> LocalImage {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    let architecture = request.machine.architecture;
    let config = image_config(recipe, architecture, request.epoch_seconds, &diff_ids, &packages);
    LocalImage {
        recipe: recipe.digest(),
        config: config.render(),
        layers,
        packages,
    }
}

/// A layer that was just made, and what its bootstrap noted.
pub(super) struct NewLayer {
    file: NamedTempFile,
    pub(super) diff_id: Digest,
    size_bytes: u64,
    /// A package a line.
    note: String,
    /// Of which sources they are.
    sources: String,
    /// The packages' files.
    files: BTreeMap<String, Digest>,
}

impl NewLayer {
    /// Moves it into the cache.
    pub(super) fn keep(self, cache: &ImageCache, name: &str) -> Result<LocalLayer, ImageError> {
        Ok(LocalLayer {
            diff_id: self.diff_id,
            size_bytes: self.size_bytes,
            path: cache.insert_layer(self.file, self.diff_id)?,
            name: name.to_owned(),
        })
    }
}

/// What a recipe adds to the layers of its bases; with the packages of `repository` alone, where there is one.
pub(super) fn bootstrap_layer(
    request: &MakeRequest<'_>,
    recipe: &Recipe,
    base: &[LocalLayer],
    repository: Option<&KeptRepository>,
) -> Result<NewLayer, ImageError> {
    let layer_failed = |cause: LayerError| ImageError::Layer {
        recipe: recipe.name.clone(),
        cause,
    };
    let mut tree = Tree::default();
    for layer in base {
        let file = regular_file::open_itself(&layer.path).map_err(failed("read", &layer.path))?;
        tree.apply(BufReader::with_capacity(READ_BUFFER_BYTES, file))
            .map_err(layer_failed)?;
    }
    let removed: Vec<String> = recipe.chain().iter().flat_map(|recipe| recipe.remove.clone()).collect();
    let rules = Rules::new(&removed, request.epoch_seconds).map_err(layer_failed)?;
    let bootstrap = Bootstrap {
        recipe,
        base,
        repository,
        machine: request.machine,
        cache: request.cache,
        epoch_seconds: request.epoch_seconds,
        cancel: request.cancel,
        progress: request.progress,
    };
    let mut note = String::new();
    let mut sources = String::new();
    let mut files = BTreeMap::new();
    let (file, diff_id, size_bytes) = bootstrap.run(|output| {
        let temporary = request
            .cache
            .temporary_file()
            .map_err(LayerError::Write)
            .map_err(layer_failed)?;
        let mut layer = LayerWriter::new(BufWriter::with_capacity(READ_BUFFER_BYTES, temporary));
        let mut captured = |path: &str, content: &mut dyn std::io::Read| {
            if let Some(name) = path.strip_prefix(ARCHIVES_DIRECTORY) {
                let name = name.trim_start_matches('/');
                let digest = request.cache.insert_package(name, content).map_err(LayerError::Read)?;
                files.insert(name.to_owned(), digest);
            } else if path.strip_prefix(NOTES_DIRECTORY) == Some("/packages") {
                note = read_note(content)?;
            } else if path.strip_prefix(NOTES_DIRECTORY) == Some("/sources") {
                sources = read_note(content)?;
            }
            Ok(())
        };
        let tar = BufReader::with_capacity(READ_BUFFER_BYTES, output);
        assemble(tar, &tree, &rules, &mut layer, &mut captured).map_err(layer_failed)?;
        let (diff_id, size_bytes, writer) = layer.finish().map_err(layer_failed)?;
        let file = writer
            .into_inner()
            .map_err(|error| layer_failed(LayerError::Write(error.into_error())))?;
        Ok((file, diff_id, size_bytes))
    })?;
    Ok(NewLayer {
        file,
        diff_id,
        size_bytes,
        note,
        sources,
        files,
    })
}

/// The config of a recipe's image: all of it follows from these. Nothing in it depends on where the recipe is, so that
/// the same recipe in two projects is one image.
///
/// That it follows is what makes the image's ID, which is the config's digest, the proof of its recipe, its layers and
/// its packages: they cannot be other ones without the ID being another one.
#[must_use]
pub fn image_config(
    recipe: &Recipe,
    architecture: &str,
    epoch_seconds: u64,
    layers: &[Digest],
    packages: &[Package],
) -> ImageConfig {
    let labels = [
        ("dev.lockstep.role", "environment".to_owned()),
        ("dev.lockstep.recipe", recipe.digest().to_string()),
        ("dev.lockstep.suite", recipe.suite().to_owned()),
        (PACKAGES_LABEL, label_of(packages)),
    ];
    ImageConfig {
        architecture: architecture.to_owned(),
        created_seconds: epoch_seconds,
        defaults: recipe.merged_defaults(),
        labels: labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        layers: layers
            .iter()
            .zip(recipe.chain())
            .map(|(layer, recipe)| (*layer, format!("lockstep recipe {}", recipe.digest().short())))
            .collect(),
    }
}
