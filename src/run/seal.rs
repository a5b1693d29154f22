//! The last steps of an environment: the bundle is staged, smoke-tested where it will be used, and published.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accounts::accounts;
use super::attest::StagedMetadata;
use super::build::Workload;
use super::compile::Compiled;
use super::error::MakeError;
use super::install::{Installed, Installs};
use super::labels;
use super::matched::{Matched, MatchedImage, assemble_matched};
use super::placed::PlacedFile;
use super::resolved::{ResolvedEnvironment, ResolvedImage};
use super::smoke::SmokeReport;
use super::stage::{Stage as SmokeStage, StagedBundle};
use super::start::start;
use super::{Published, Run, RunError};
use crate::bundle::{
    Artifact, ArtifactRecord, HostRecord, ImageRecord, MANIFEST_SCHEMA_VERSION, Manifest, Patience, ReleaseVolume,
    StagedRelease, Staging, UnitRecord, VolumeError, stage,
};
use crate::check::Verdict;
use crate::counted::{counted, size};
use crate::digest::Digest;
use crate::engine::ImageId;
use crate::event::{Event, Stage};
use crate::lock;
use crate::name::{EnvironmentName, UnitName};
use crate::plan::{EnvironmentPlan, PlannedFile, UnitPlan};
use crate::regular_file;
use crate::state::PROJECT_LOCK_TIMEOUT;

/// What stands between a matched image's name and the run that has not published it yet.
const STAGED_MARK: &str = ".staged-";
/// How long another checkout's build may keep the shared volume: as long as a run may keep a project.
const VOLUME_LEASE_TIMEOUT: Duration = PROJECT_LOCK_TIMEOUT;

/// What was published.
pub(super) struct Sealed {
    pub(super) manifest: Digest,
    pub(super) volume_instance: String,
    pub(super) image: ImageId,
    /// The digests of the files beside the bundle, by their names.
    pub(super) metadata: BTreeMap<String, Digest>,
    pub(super) smoke: SmokeReport,
}

/// What is loaded of a release.
struct UnderTest {
    /// The directory that holds the loader.
    loader: PathBuf,
    /// The plugins' files.
    plugins: Vec<PlacedFile>,
    /// Which of them are looked for in directories of the image.
    installs: Installs,
}

impl Run {
    /// Stages, tests and publishes what was compiled. Until the test has passed, nothing that was there changes.
    pub(super) async fn seal(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        compiled: &BTreeMap<UnitName, Compiled>,
        entry: &lock::Environment,
        predicted: &[Verdict],
    ) -> Result<Sealed, RunError> {
        self.is_cancelled()?;
        // Before an engine finds in its own words that plugins cannot be put there.
        let installs = Installs::of(&self.project.host, &plan.units)?;
        let installed = self.installed_files(&installs, resolved).await?;
        let manifest = self.manifest(plan, resolved, compiled, entry);
        let staging = Staging::create(&self.project.directory, &self.context.run_id, &plan.name)?;
        staging.make_directories(&manifest)?;
        for unit in &plan.units {
            let Some(compiled) = compiled.get(&unit.name) else {
                continue;
            };
            for PlacedFile { path, place } in PlacedFile::of_compiled(&unit.unit, &compiled.directory) {
                // A copy: what is published may be changed by its user, what is kept must not change with it.
                let to = staging.path().join(place);
                regular_file::copy_itself(&path, &to).map_err(RunError::file_at("copy an artifact to", &to))?;
            }
            self.copy_shipped(&unit.name, &unit.files, staging.path())?;
        }
        if let Some(host) = &resolved.brought {
            self.copy_file(self.project.host.name(), &host.file, &host.content, staging.path())?;
        }
        staging.write_manifest(&manifest)?;
        let volume = self.release_volume(plan, resolved.build.id.clone());
        let on_wait = |holder: &str| {
            self.events.emit(Event::Warning {
                message: format!(
                    "waiting for another build that publishes to the volume {} ({holder})",
                    plan.publication.volume
                ),
                hint: None,
            });
        };
        let patience = Patience {
            on_wait: &on_wait,
            limit: VOLUME_LEASE_TIMEOUT,
            cancellation: &self.cancellation,
        };
        let release = {
            // What is half uploaded is taken back better by who has begun it than by the next run.
            let _staging = self.leash.publishing();
            stage(self.engine.clone(), volume, &manifest, staging.path(), patience).await?
        };
        let plugins = self.project.plugins.iter();
        let plugins: Vec<PlacedFile> = plugins
            .flat_map(|plugin| PlacedFile::of_bundle(plugin, &manifest, staging.path()))
            .collect();
        let loader = compiled.get(&plan.loader.name).map(|loader| loader.directory.clone());
        let under_test = UnderTest {
            loader: loader.unwrap_or_default(),
            plugins,
            installs,
        };
        let tested = self
            .test_release(plan, resolved, under_test, &release, staging.path(), predicted)
            .await;
        let tested = match tested {
            Ok(smoke) => self
                .matched_image(plan, resolved, &staging, &manifest, installed)
                .await
                .and_then(|image| {
                    let attestations = self.attest(plan, entry, &manifest, staging.path(), &image)?;
                    let metadata = self.stage_attestations(&plan.name, &attestations)?;
                    Ok((smoke, image.id, metadata))
                }),
            Err(error) => Err(error),
        };
        // From here on a signal comes too late for this environment: what is begun below is finished.
        let tested = tested.and_then(|tested| self.is_cancelled().map(|()| tested));
        let (smoke, image, metadata) = match tested {
            Ok(tested) => tested,
            Err(error) => {
                self.withdraw(plan, release).await;
                return Err(error);
            }
        };
        let digest = manifest
            .digest()
            .map_err(|error| RunError::file("write the manifest")(std::io::Error::other(error)))?;
        let volume_instance = release.instance().unwrap_or_default().to_owned();
        let _publishing = self.leash.publishing();
        self.mark_published(&plan.name, Some(Published::Halfway));
        let StagedMetadata {
            staging: beside,
            digests: metadata,
        } = metadata;
        // Who finds the one without the other after a loss of power finds that they do not fit, and publishes again.
        let published = staging.publish().and_then(|bundle| Ok((bundle, beside.publish()?)));
        let (publication, beside) = match published {
            Ok(published) => published,
            Err(error) => {
                self.mark_published(&plan.name, None);
                self.withdraw(plan, release).await;
                return Err(error.into());
            }
        };
        let committed = match release.commit().await {
            Ok(committed) => committed,
            Err(error) => {
                // What the engine said it has not done is taken back with the directory.
                if !matches!(&error, VolumeError::Engine(error) if error.is_uncertain()) {
                    self.mark_published(&plan.name, None);
                }
                let _ = self.engine.remove_image(&self.staged_tag(plan)).await;
                return Err(error.into());
            }
        };
        publication.keep();
        beside.keep();
        self.leash.keep_volume(&plan.publication.volume);
        let named = self.publish_images(plan, resolved, &image).await;
        let ended = committed.end().await;
        named?;
        self.mark_published(&plan.name, Some(Published::Whole));
        ended?;
        self.events.emit(Event::StageSummary {
            environment: plan.name.clone(),
            stage: Stage::Seal,
            text: format!("{} · volume {}", plan.publication.directory, plan.publication.volume),
            note: size_note(&manifest),
        });
        Ok(Sealed {
            manifest: digest,
            volume_instance,
            image,
            metadata,
            smoke,
        })
    }

    /// The shared volume of an environment, and what is needed to work in it.
    pub(super) fn release_volume(&self, plan: &EnvironmentPlan, image: ImageId) -> ReleaseVolume {
        ReleaseVolume {
            name: plan.publication.volume.clone(),
            labels: self.lasting_labels(&plan.name, "bundle"),
            container_labels: self.passing_labels(&plan.name, "bundle"),
            instance: self.context.run_id.clone(),
            publisher: self.owner.short(),
            container_name: format!(
                "lockstep-{}-{}-bundle-{}",
                self.project.name, plan.name, self.context.run_id
            ),
            image,
            mtime_seconds: self.project.source_date_epoch,
        }
    }

    /// Takes back what is staged. What went wrong first is what the user should read; what is left when the engine has
    /// gone is found by the next run.
    async fn withdraw(&self, plan: &EnvironmentPlan, release: StagedRelease) {
        let _withdrawing = self.leash.publishing();
        let _ = release.discard().await;
        let _ = self.engine.remove_image(&self.staged_tag(plan)).await;
    }

    async fn test_release(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        under_test: UnderTest,
        release: &StagedRelease,
        bundle: &Path,
        predicted: &[Verdict],
    ) -> Result<SmokeReport, RunError> {
        let root = self.runtime_root(&resolved.runtime).await?;
        let accounts = accounts(&plan.name, &*root, self.project.smoke.as_ref())?;
        let stage = SmokeStage {
            environment: &plan.name,
            subject: "bundle",
            image: &resolved.runtime.id,
            loader: under_test.loader,
            accounts: &accounts,
            openers: self.openers(bundle)?,
            bundle: StagedBundle::InVolume {
                volume: plan.publication.volume.clone(),
                path: release.path_in_volume(),
            },
            plugins: under_test.plugins,
            installs: under_test.installs,
        };
        self.smoke_stage(&plan.name, &stage, predicted).await
    }

    async fn matched_image(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        staging: &Staging,
        manifest: &Manifest,
        installed: Vec<Installed>,
    ) -> Result<Matched, RunError> {
        let step = Self::step(&plan.name, Stage::Seal, "image");
        self.leash.expect_image(&self.staged_tag(plan));
        self.events.emit(Event::StepStarted { step: step.clone() });
        let runtime = self.engine.image(&resolved.runtime.id.0).await?;
        let vanished = || MakeError::Vanished {
            reference: resolved.runtime.id.to_string(),
        };
        let request = MatchedImage {
            runtime: &runtime.ok_or_else(vanished)?,
            bundle: staging.path(),
            manifest,
            work: self.store.root(),
            project: self.project.name.as_str(),
            start: start(&self.project),
            installed,
            labels: labels::matched(&self.project.name, &plan.name),
            created_seconds: self.project.source_date_epoch,
            staged_tag: &self.staged_tag(plan),
        };
        let result = assemble_matched(self.engine.as_ref(), request).await;
        self.emit_end(step, &result, |image| image.id.short());
        result
    }

    /// The name of the matched image until everything else is published too.
    fn staged_tag(&self, plan: &EnvironmentPlan) -> String {
        format!(
            "{}{}{}",
            plan.publication.image,
            self.staged_mark(),
            self.context.run_id
        )
    }

    /// What stands before the run in such names of this checkout's runs.
    pub(super) fn staged_mark(&self) -> String {
        format!("{STAGED_MARK}{}-", self.owner.short())
    }

    /// Gives the matched image and the build image their names; an older matched image that has no name left is removed.
    async fn publish_images(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        image: &ImageId,
    ) -> Result<(), RunError> {
        for (id, name) in [
            (image, &plan.publication.image),
            (&resolved.build.id, &plan.publication.build_image),
        ] {
            let Some((repository, tag)) = name.rsplit_once(':') else {
                continue;
            };
            let previous = self.engine.image(name).await?.filter(|previous| previous.id != *id);
            self.engine.tag_image(id, repository, tag).await?;
            if id == image {
                self.engine.remove_image(&self.staged_tag(plan)).await?;
            }
            let was_matched = |labels: &crate::engine::Labels| labels.contains_key(labels::PROJECT);
            if let Some(previous) = previous
                && was_matched(&previous.labels)
                && previous.tags.iter().all(|tag| tag == name)
            {
                // A container may still run from it: then it stays, and `clean` removes it later.
                let _ = self.engine.remove_image(&previous.id.0).await;
            }
        }
        Ok(())
    }

    fn manifest(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
        compiled: &BTreeMap<UnitName, Compiled>,
        entry: &lock::Environment,
    ) -> Manifest {
        let unit = |unit: &UnitPlan| {
            let compiled = compiled.get(&unit.name)?;
            let (role, language) = UnitRecord::words(unit.unit.role, unit.unit.language);
            let artifact = |artifact: &Artifact| ArtifactRecord {
                name: unit.unit.place(&artifact.name).to_owned(),
                ..artifact.into()
            };
            Some(UnitRecord {
                name: unit.name.clone(),
                role,
                language,
                image: image_record(&resolved.build).config,
                action: compiled.action,
                source: unit.source,
                dependencies: compiled.record.dependencies,
                network: Some(compiled.record.network.clone()),
                contract: unit.unit.contract.as_ref().map(ToString::to_string),
                artifacts: compiled.artifacts.iter().map(artifact).collect(),
                files: unit.files.iter().map(shipped_record).collect(),
            })
        };
        Manifest {
            schema_version: MANIFEST_SCHEMA_VERSION,
            lockstep: env!("CARGO_PKG_VERSION").to_owned(),
            project: self.project.name.clone(),
            environment: plan.name.clone(),
            source_date_epoch: self.project.source_date_epoch,
            build_image: image_record(&resolved.build),
            runtime_image: image_record(&resolved.runtime),
            toolchains: entry.toolchains.clone(),
            host: entry.host.as_ref().map(|host| HostRecord {
                file: resolved.brought.as_ref().map(|host| shipped_record(&host.file)),
                ..host.into()
            }),
            contract: self.project.contracts.named(None).map(Into::into),
            contracts: self
                .project
                .contracts
                .iter()
                .filter_map(|named| Some((named.name.as_ref()?.to_string(), (&named.contract).into())))
                .collect(),
            units: plan.units.iter().filter_map(unit).collect(),
            smoke: Some((&self.project).into()),
        }
    }
}

fn shipped_record(file: &PlannedFile) -> ArtifactRecord {
    ArtifactRecord {
        name: file.place.to_string(),
        digest: file.digest,
        size_bytes: file.size_bytes,
        executable: file.executable,
    }
}

fn image_record(image: &ResolvedImage) -> ImageRecord {
    // An engine's ID is a digest; should one ever not be, the layers still say what the image is.
    let config = image
        .locked
        .id
        .parse()
        .unwrap_or_else(|_| Digest::of(image.locked.id.as_bytes()));
    ImageRecord {
        config,
        layers: image.locked.layers.clone(),
    }
}

/// `4 files · 6.1 MiB`.
fn size_note(manifest: &Manifest) -> String {
    let sizes: Vec<u64> = manifest.artifacts().map(|artifact| artifact.size_bytes).collect();
    format!("{} · {}", counted(sizes.len(), "file"), size(sizes.iter().sum()))
}

impl Workload {
    /// The plan of one environment.
    pub(super) fn plan_of(&self, environment: &EnvironmentName) -> Option<&EnvironmentPlan> {
        self.environments.iter().find(|plan| plan.name == *environment)
    }

    /// The lock's entry of one environment.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn locked(&self, environment: &EnvironmentName) -> Result<&lock::Environment, RunError> {
        let entry = self.lock.lock.environments.get(environment);
        entry.ok_or_else(|| RunError::Unlocked {
            environment: environment.clone(),
        })
    }
}
