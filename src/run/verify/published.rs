//! What somebody published, to be compared with: a bundle's directory, a matched image, a shared volume.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use super::super::error::PublishedError;
use super::super::rootfs::image_contents;
use super::super::{Run, RunError};
use crate::bundle::{BUNDLE_DIRECTORIES, INSTALLED_DIRECTORY, MANIFEST_FILE, MANIFEST_LIMIT_BYTES, Manifest};
use crate::digest::Digest;
use crate::engine::{ContainerSpec, ImageId, Mount};
use crate::image::{ImageCache, LayerError};
use crate::name::EnvironmentName;
use crate::plan::UnitPlan;
use crate::rootfs::{Contents, open_contents};
use crate::state::STAGING_PREFIX;
use crate::stream;
use crate::temporary::{self, COLLECT_PREFIX, TemporaryDirectory};

/// Where a volume is seen through a container that is never started.
const VOLUME_PATH: &str = "/bundle";
/// How large a volume's archive may be: a few releases.
const VOLUME_LIMIT_BYTES: u64 = 16 << 30;

/// A bundle that somebody published.
pub(super) struct Published {
    /// As it was given.
    pub(super) name: String,
    pub(super) manifest: Manifest,
    /// Its artifacts, by digest.
    files: TemporaryDirectory,
}

impl Published {
    /// The bits that it has of a unit's artifacts.
    pub(super) fn of_unit(&self, unit: &UnitPlan) -> Result<BTreeMap<String, Digest>, RunError> {
        let units = self.manifest.units.iter().filter(|record| record.name == unit.name);
        let records: Vec<_> = units.flat_map(|record| &record.artifacts).collect();
        let of_place = |(artifact, place): (&str, &str)| match records.iter().find(|record| record.name == place) {
            Some(record) => Ok((artifact.to_owned(), record.digest)),
            None => Err(RunError::Published(PublishedError::Lacks {
                name: self.name.clone(),
                unit: unit.name.to_string(),
                artifact: artifact.to_owned(),
            })),
        };
        unit.unit.places().map(of_place).collect()
    }

    /// An artifact's file.
    pub(super) fn file(&self, digest: Digest) -> PathBuf {
        self.files.path().join(digest.hex())
    }
}

impl Run {
    /// Opens what `name` stands for: what is at a path, else a volume, else an image. `environments` are those that may be meant;
    /// `image` is any one, for a look into a volume.
    pub(super) async fn open_published(
        &self,
        name: &str,
        environments: &[EnvironmentName],
        image: &ImageId,
    ) -> Result<Published, RunError> {
        let path = self.context.working_directory.join(name);
        let contents = if std::fs::symlink_metadata(&path).is_ok() {
            let cache = ImageCache::below(&self.context.cache_directory);
            let new_file = move || cache.temporary_file().map_err(LayerError::Write);
            open_contents(&path, name, &new_file).map_err(super::super::OpenRootError::from)?
        } else if self.engine.volume(name).await?.is_some() {
            self.volume_contents(name, environments, image).await?
        } else {
            image_contents(self.engine.as_ref(), &self.context, name).await?
        };
        let project = self.project.name.to_string();
        let installed = format!("{INSTALLED_DIRECTORY}/{project}/");
        let directories = BUNDLE_DIRECTORIES.into_iter().chain([installed.as_str()]);
        let tried: Vec<String> = directories
            .map(|directory| format!("{directory}{MANIFEST_FILE}"))
            .collect();
        let found = tried.iter().map(|path| contents.placed(path.as_bytes()));
        let is_there = |path: &Vec<u8>| contents.get(path).is_some();
        let Some(manifest_path) = found.clone().find(is_there) else {
            return Err(RunError::Published(PublishedError::None {
                name: name.to_owned(),
                tried,
            }));
        };
        let read = contents.read(&manifest_path, MANIFEST_LIMIT_BYTES);
        let read = read.map_err(RunError::file(format!("read the manifest of {name}")))?;
        let manifest = Manifest::from_json(&read).map_err(|cause| {
            RunError::Published(PublishedError::Manifest {
                name: name.to_owned(),
                cause,
            })
        })?;
        let another = |what, found: String, expected: String| {
            RunError::Published(PublishedError::Another {
                name: name.to_owned(),
                what,
                found,
                expected,
            })
        };
        if manifest.project != self.project.name {
            return Err(another("project", manifest.project.to_string(), project));
        }
        if !environments.contains(&manifest.environment) {
            let expected: Vec<&str> = environments.iter().map(EnvironmentName::as_str).collect();
            return Err(another(
                "environment",
                manifest.environment.to_string(),
                expected.join(", "),
            ));
        }
        let directory = manifest_path.strip_suffix(MANIFEST_FILE.as_bytes()).unwrap_or_default();
        let files = self.published_files(name, &contents, directory, &manifest)?;
        Ok(Published {
            name: name.to_owned(),
            manifest,
            files,
        })
    }

    /// The artifacts of a bundle, in files by their digests.
    fn published_files(
        &self,
        name: &str,
        contents: &Contents,
        directory: &[u8],
        manifest: &Manifest,
    ) -> Result<TemporaryDirectory, RunError> {
        let root = self.store.root();
        let files =
            TemporaryDirectory::new_in(root, COLLECT_PREFIX).map_err(RunError::file_at("make a directory in", root))?;
        for record in manifest.units.iter().flat_map(|unit| &unit.artifacts) {
            let path = [directory, record.name.as_bytes()].concat();
            let copied = || -> io::Result<bool> {
                let target = files.path().join(record.digest.hex());
                let mut content = contents.open(&path)?.take(record.size_bytes.saturating_add(1));
                let mut file = std::fs::File::create(&target)?;
                io::copy(&mut content, &mut file)?;
                file.flush()?;
                let read = crate::regular_file::open_itself(&target)?;
                Ok(Digest::of_reader(read)? == record.digest)
            };
            let is_as_said = copied().map_err(RunError::file(format!("read `{}` of {name}", record.name)))?;
            if !is_as_said {
                return Err(RunError::Published(PublishedError::Altered {
                    name: name.to_owned(),
                    file: record.name.clone(),
                }));
            }
        }
        Ok(files)
    }

    /// What is in a volume, through a container that is never started.
    async fn volume_contents(
        &self,
        name: &str,
        environments: &[EnvironmentName],
        image: &ImageId,
    ) -> Result<Contents, RunError> {
        let labels = environments
            .first()
            .map(|environment| self.passing_labels(environment, "verify"));
        let spec = ContainerSpec::unstarted(
            format!(
                "lockstep-{}-verify-published-{}",
                self.project.name, self.context.run_id
            ),
            image.clone(),
            labels.unwrap_or_default(),
            vec![Mount::Volume {
                name: name.to_owned(),
                path: VOLUME_PATH.to_owned(),
                read_only: true,
            }],
        );
        let container = self.engine.create_container(&spec).await?;
        let downloaded = async {
            let archive = self.engine.download(&container, VOLUME_PATH).await?;
            let file = temporary::file_in(self.store.root(), STAGING_PREFIX)
                .map_err(RunError::file_at("make a file in", self.store.root()))?;
            let file = stream::read_by(archive, move |reader| {
                let mut file = file;
                io::copy(&mut reader.take(VOLUME_LIMIT_BYTES), &mut file).map(|_| file)
            })
            .await;
            let failed = || RunError::file(format!("read the volume {name}"));
            let file = file.map_err(failed())?.map_err(failed())?;
            let cache = ImageCache::below(&self.context.cache_directory);
            let new_file = move || cache.temporary_file().map_err(LayerError::Write);
            Ok::<_, RunError>(open_contents(file.path(), name, &new_file).map_err(super::super::OpenRootError::from)?)
        };
        let contents = downloaded.await;
        self.engine.remove_container(&container).await?;
        contents
    }
}
