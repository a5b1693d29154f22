//! Images that were made on this machine, and the packages that they were made of: known by their content, and only
//! ever added to.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::ImageError;
use super::hashed_read::HashedRead;
use super::work::{KeyLock, WORK_PREFIX, WorkDirectory, Writing, link_or_copy, publish};
use crate::digest::Digest;
use crate::lock::Package;
use crate::regular_file;
use crate::temporary;
use tokio_util::sync::CancellationToken;

/// What the names of files start with that are not in the cache yet.
const NEW_PREFIX: &str = "new-";
/// The version of the record of an image.
const SCHEMA_VERSION: u32 = 1;
/// The largest record; it holds a config and a list of packages.
const RECORD_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// How many records are looked at for a list of all images.
const RECORDS_LIMIT_COUNT: usize = 10_000;
/// How many packages are offered to a bootstrap at most: the newest ones.
const OFFERED_PACKAGES_LIMIT: usize = 4_000;

/// A layer in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalLayer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// The tar itself.
    pub path: PathBuf,
    /// Which recipe it is of.
    pub name: String,
}

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalImage {
    /// The digest of its recipe.
    pub recipe: Digest,
    /// Its config's text, of which its ID is the digest.
    pub config: Vec<u8>,
    /// Its layers, lowest first.
    pub layers: Vec<LocalLayer>,
    /// Every package that it was made of, also those that were removed again.
    pub packages: Vec<Package>,
}

impl LocalImage {
    /// Its ID: the digest of its config.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// The digests of its layers, lowest first.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }
}

/// The part of the user's cache directory that images use.
#[derive(Debug, Clone)]
pub struct ImageCache {
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema_version: u32,
    recipe: Digest,
    config: String,
    layers: Vec<LayerRecord>,
    packages: Vec<Package>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerRecord {
    diff_id: Digest,
    size_bytes: u64,
    name: String,
}

impl ImageCache {
    /// The cache below the user's cache directory for lockstep.
    #[must_use]
    pub fn below(cache_directory: &Path) -> Self {
        Self {
            directory: cache_directory.join("images"),
        }
    }

    /// The image that was made for a key; none when there is none, when it was made before `since_seconds` (since the
    /// epoch), or when some of it is gone.
    #[must_use]
    pub fn find(&self, key: Digest, since_seconds: Option<u64>) -> Option<LocalImage> {
        self.recorded(&self.record_path(key), since_seconds)
    }

    /// The image with an ID, for whatever key it was made; none when some of it is gone.
    #[must_use]
    pub fn find_id(&self, id: Digest) -> Option<LocalImage> {
        let found = self.recorded(&self.id_path(id), None);
        found.filter(|image| image.id() == id)
    }

    fn recorded(&self, path: &Path, since_seconds: Option<u64>) -> Option<LocalImage> {
        let file = regular_file::open_itself(path).ok()?;
        if let Some(since) = since_seconds {
            let made = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
            if made < UNIX_EPOCH + Duration::from_secs(since) {
                return None;
            }
        }
        let record = regular_file::read_all(file, RECORD_LIMIT_BYTES).ok()?;
        let record: Record = serde_json::from_slice(&record).ok()?;
        if record.schema_version != SCHEMA_VERSION {
            return None;
        }
        let layers: Option<Vec<LocalLayer>> = record
            .layers
            .into_iter()
            .map(|layer| {
                let path = self.layer_path(layer.diff_id);
                let is_whole = fs::symlink_metadata(&path)
                    .is_ok_and(|metadata| metadata.is_file() && metadata.len() == layer.size_bytes);
                is_whole.then_some(LocalLayer {
                    diff_id: layer.diff_id,
                    size_bytes: layer.size_bytes,
                    path,
                    name: layer.name,
                })
            })
            .collect();
        Some(LocalImage {
            recipe: record.recipe,
            config: record.config.into_bytes(),
            layers: layers?,
            packages: record.packages,
        })
    }

    /// The IDs of the images that were made before a moment. What cannot be read is left out.
    #[must_use]
    pub fn made_before(&self, moment: SystemTime) -> BTreeSet<Digest> {
        let records = fs::read_dir(self.directory.join("records")).into_iter().flatten();
        let id = |path: PathBuf| {
            let file = regular_file::open_itself(&path).ok()?;
            let made = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
            let record = regular_file::read_all(file, RECORD_LIMIT_BYTES)
                .ok()
                .filter(|_| made < moment)?;
            let record: Record = serde_json::from_slice(&record).ok()?;
            Some(Digest::of(record.config.as_bytes()))
        };
        records
            .flatten()
            .take(RECORDS_LIMIT_COUNT)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .filter_map(id)
            .collect()
    }

    /// The tars of layers, in the order in which they were asked for; none if one is not here.
    #[must_use]
    pub fn layers(&self, diff_ids: &[Digest]) -> Option<Vec<PathBuf>> {
        let paths = diff_ids.iter().map(|diff_id| self.layer_path(*diff_id));
        let paths: Vec<PathBuf> = paths.collect();
        (!paths.is_empty() && paths.iter().all(|path| path.is_file())).then_some(paths)
    }

    /// Notes an image whose layers are in the cache, as what a key gives now.
    pub(super) fn insert(&self, key: Digest, image: &LocalImage) -> Result<(), ImageError> {
        self.insert_again(image)?;
        self.record(&self.record_path(key), image)
    }

    /// Notes an image whose layers are in the cache by its ID alone: a key may give another one now.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn insert_again(&self, image: &LocalImage) -> Result<(), ImageError> {
        self.record(&self.id_path(image.id()), image)
    }

    fn record(&self, path: &Path, image: &LocalImage) -> Result<(), ImageError> {
        let record = Record {
            schema_version: SCHEMA_VERSION,
            recipe: image.recipe,
            config: String::from_utf8_lossy(&image.config).into_owned(),
            layers: image
                .layers
                .iter()
                .map(|layer| LayerRecord {
                    diff_id: layer.diff_id,
                    size_bytes: layer.size_bytes,
                    name: layer.name.clone(),
                })
                .collect(),
            packages: image.packages.clone(),
        };
        let written = || -> io::Result<()> {
            let mut file = self.temporary_file()?;
            serde_json::to_writer(&mut file, &record)?;
            publish(file, path).map(|_| ())
        };
        written().map_err(failed("write", path))
    }

    /// A layer that is here with all that it should have; it is read for that.
    pub(super) fn layer(&self, diff_id: Digest, name: &str) -> Option<LocalLayer> {
        let path = self.layer_path(diff_id);
        let file = regular_file::open_itself(&path).ok()?;
        let size_bytes = file.metadata().ok()?.len();
        let found = Digest::of_reader(file).ok()?;
        (found == diff_id).then(|| LocalLayer {
            diff_id,
            size_bytes,
            path,
            name: name.to_owned(),
        })
    }

    /// Moves a finished layer into the cache.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn insert_layer(&self, file: tempfile::NamedTempFile, diff_id: Digest) -> Result<PathBuf, ImageError> {
        let path = self.layer_path(diff_id);
        publish(file, &path).map_err(failed("write", &path))
    }

    /// Keeps a package's file, and returns the digest of its content.
    pub(super) fn insert_package(&self, name: &str, content: &mut dyn Read) -> io::Result<Digest> {
        let (file, digest) = self.temporary_copy(content)?;
        let path = self.packages_directory().join(digest.hex()).join(name);
        if !path.is_file() {
            publish(file, &path)?;
        }
        Ok(digest)
    }

    fn temporary_copy(&self, content: &mut dyn Read) -> io::Result<(tempfile::NamedTempFile, Digest)> {
        let mut file = self.temporary_file()?;
        let mut hashed = HashedRead::new(content);
        io::copy(&mut hashed, &mut file)?;
        Ok((file, hashed.finish()))
    }

    /// The file of a package; one that no longer has its content is removed.
    pub(super) fn package(&self, digest: Digest) -> Option<PathBuf> {
        let directory = self.packages_directory().join(digest.hex());
        let path = fs::read_dir(&directory).ok()?.next()?.ok()?.path();
        let found = regular_file::open_itself(&path).and_then(Digest::of_reader);
        if found.is_ok_and(|found| found == digest) {
            return Some(path);
        }
        // What cannot be removed is looked at again.
        let _ = fs::remove_dir_all(&directory);
        None
    }

    /// Keeps a package's file that was found elsewhere, if it is the one with this digest.
    pub(super) fn keep_package(&self, name: &str, digest: Digest, mut content: impl Read) -> io::Result<()> {
        let (file, found) = self.temporary_copy(&mut content)?;
        if found == digest {
            publish(file, &self.packages_directory().join(digest.hex()).join(name))?;
        }
        Ok(())
    }

    /// Gives all packages that are here to a bootstrap, which takes those that it wants: names in `directory`. One
    /// that no longer has the content that it was kept for is removed.
    pub(super) fn offer_packages(&self, directory: &Path) -> Result<(), ImageError> {
        let all = self.packages_directory();
        let mut kept: Vec<_> = fs::read_dir(&all)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| {
                (
                    entry.metadata().and_then(|metadata| metadata.modified()).ok(),
                    entry.path(),
                )
            })
            .collect();
        kept.sort();
        for (_, path) in kept.into_iter().rev().take(OFFERED_PACKAGES_LIMIT) {
            for file in fs::read_dir(&path).into_iter().flatten().flatten() {
                let digest = regular_file::open_itself(&file.path()).and_then(Digest::of_reader);
                if digest.is_ok_and(|digest| path.ends_with(digest.hex())) {
                    let to = directory.join(file.file_name());
                    if !to.exists() {
                        link_or_copy(&file.path(), &to).map_err(failed("write", &to))?;
                    }
                } else {
                    let _ = fs::remove_dir_all(&path);
                }
            }
        }
        Ok(())
    }

    /// A file that is not in the cache yet.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn temporary_file(&self) -> io::Result<tempfile::NamedTempFile> {
        let directory = self.new_directory();
        fs::create_dir_all(&directory)?;
        temporary::file_in(&directory, NEW_PREFIX)
    }

    /// What processes that died have left of images in the making.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn leftovers(&self) -> io::Result<Vec<PathBuf>> {
        let mut leftovers = temporary::leftovers(&self.new_directory(), &[NEW_PREFIX])?;
        leftovers.extend(temporary::leftovers(&self.work_directories(), &[WORK_PREFIX])?);
        Ok(leftovers)
    }

    /// To be held by whoever writes into the cache.
    pub(super) fn begin_writing(&self) -> Result<Writing, ImageError> {
        let directory = self.new_directory();
        Writing::begin(&directory).map_err(failed("lock", &directory))
    }

    /// A directory to work in.
    pub(super) fn work_directory(&self) -> Result<WorkDirectory, ImageError> {
        let parent = self.work_directories();
        WorkDirectory::new(&parent).map_err(failed("make a directory in", &parent))
    }

    /// The right to make the image of a key; none when cancelled.
    pub(super) fn lock(&self, key: Digest, cancel: &CancellationToken) -> Result<KeyLock, ImageError> {
        let path = self.record_path(key).with_extension("lock");
        let acquire = || -> io::Result<Option<KeyLock>> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            KeyLock::acquire(&path, cancel)
        };
        acquire().map_err(failed("lock", &path))?.ok_or(ImageError::Cancelled)
    }

    /// Where the log of a bootstrap goes.
    pub(super) fn log_path(&self, name: &str) -> Result<PathBuf, ImageError> {
        let directory = self.directory.join("logs");
        fs::create_dir_all(&directory).map_err(failed("make the directory", &directory))?;
        Ok(directory.join(format!("{}.log", name.replace('/', "-"))))
    }

    fn record_path(&self, key: Digest) -> PathBuf {
        self.directory.join("records").join(format!("{}.json", key.hex()))
    }

    fn id_path(&self, id: Digest) -> PathBuf {
        self.directory.join("ids").join(format!("{}.json", id.hex()))
    }

    fn layer_path(&self, diff_id: Digest) -> PathBuf {
        self.directory.join("layers").join(format!("{}.tar", diff_id.hex()))
    }

    fn work_directories(&self) -> PathBuf {
        self.directory.join("work")
    }

    fn new_directory(&self) -> PathBuf {
        self.directory.join("new")
    }

    /// Where the files of packages are.
    pub(super) fn packages_directory(&self) -> PathBuf {
        self.directory.join("packages")
    }
}

pub(super) fn failed<'path>(action: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> ImageError + 'path {
    move |cause| ImageError::Cache {
        action,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_image_is_found_as_long_as_all_of_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let cache = ImageCache::below(directory.path());
        let key = Digest::of(b"key");
        assert_eq!(cache.find(key, None), None);
        let mut file = cache.temporary_file().unwrap();
        file.write_all(b"layer").unwrap();
        let diff_id = Digest::of(b"layer");
        let path = cache.insert_layer(file, diff_id).unwrap();
        let image = LocalImage {
            recipe: Digest::of(b"recipe"),
            config: b"{}".to_vec(),
            layers: vec![LocalLayer {
                diff_id,
                size_bytes: 5,
                path: path.clone(),
                name: "x".to_owned(),
            }],
            packages: vec!["libc6 2.41-12 amd64 sha256:00".parse().unwrap()],
        };
        cache.insert(key, &image).unwrap();
        assert_eq!(cache.find(key, None), Some(image.clone()));
        assert_eq!(cache.find_id(image.id()), Some(image.clone()));
        assert_eq!(cache.find_id(key), None);
        assert_eq!(cache.find(key, Some(1)), Some(image.clone()));
        assert_eq!(cache.layer(diff_id, "x"), Some(image.layers[0].clone()));
        let far_future = 32_503_680_000;
        assert_eq!(cache.find(key, Some(far_future)), None);
        fs::write(path, "lay").unwrap();
        assert_eq!(cache.find(key, None), None);
        assert_eq!(cache.find_id(image.id()), None);
        assert_eq!(cache.layer(diff_id, "x"), None);
    }

    #[test]
    fn a_damaged_package_is_not_offered() {
        let directory = tempfile::tempdir().unwrap();
        let cache = ImageCache::below(directory.path());
        for name in ["a_1_all.deb", "b_1_all.deb"] {
            assert_eq!(
                cache.insert_package(name, &mut name.as_bytes()).unwrap(),
                Digest::of(name.as_bytes())
            );
        }
        let damaged = cache.packages_directory().join(Digest::of(b"b_1_all.deb").hex());
        fs::write(damaged.join("b_1_all.deb"), "x").unwrap();
        let offered = directory.path().join("offered");
        fs::create_dir(&offered).unwrap();
        cache.offer_packages(&offered).unwrap();
        let names: Vec<_> = fs::read_dir(&offered)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["a_1_all.deb"]);
        assert!(!damaged.exists());
    }
}
