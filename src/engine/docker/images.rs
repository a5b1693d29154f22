//! Images.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{BuildInfo, CreateImageInfo, ImageInspect, ProgressDetail, PushImageInfo};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder,
    PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::stream::{Stream, StreamExt};

use super::credentials::credentials;
use super::errors::Call;
use super::{
    BUILD_TIMEOUT_SECONDS, CHANGE_TIMEOUT_SECONDS, DOWNLOAD_IDLE_TIMEOUT_SECONDS, Docker, LOAD_TIMEOUT_SECONDS,
    SAVE_TIMEOUT_SECONDS, TRANSFER_IDLE_TIMEOUT_SECONDS, TRANSFER_TIMEOUT_SECONDS, check_path_part, label_filter,
    ordered, streams, unordered, unsigned,
};
use crate::digest::Digest;
use crate::engine::lines::LINE_LIMIT_BYTES;
use crate::engine::output::{OUTPUT_LIMIT_BYTES, Output};
use crate::engine::{ByteStream, EngineError, ImageBuild, ImageFacts, ImageId, Labels, OutputStream, TransferProgress};

/// What the engine answers for every image that an archive brought.
const LOADED_PREFIX: &str = "Loaded image";
/// What the builder puts around everything that a command writes to standard error.
const STDERR_COLOURS: [&str; 2] = ["\u{1b}[91m", "\u{1b}[0m"];
const DEFAULT_TAG: &str = "latest";
/// How many reports of its progress an engine may make of one image; every layer has some thousand at most.
const REPORTS_LIMIT_COUNT: usize = 1_000_000;

impl Docker {
    pub(super) async fn find_image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        check_path_part(reference, "image")?;
        let call = self.query(format!("image {reference}"));
        match call.run(self.client.inspect_image(reference)).await {
            Ok(image) => facts(&call, image).map(Some),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list_images(&self, labels: &Labels) -> Result<Vec<ImageFacts>, EngineError> {
        let options = ListImagesOptionsBuilder::new().filters(&label_filter(labels)).build();
        let listed = self
            .query("images".to_owned())
            .run(self.client.list_images(Some(options)))
            .await?;
        let mut images = Vec::with_capacity(listed.len());
        for image in listed {
            // One that went away since it was listed is left out.
            images.extend(self.find_image(&image.id).await?);
        }
        images.sort_by(|left, right| (&left.tags, &left.id).cmp(&(&right.tags, &right.id)));
        Ok(images)
    }

    pub(super) async fn load_archive(&self, archive: ByteStream) -> Result<(), EngineError> {
        let call = self.call("load images", "archive", LOAD_TIMEOUT_SECONDS);
        let (body, failure) = streams::body(archive);
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let answers = self.client.import_image_stream(options, body, None);
        let loaded = call.run(async {
            let mut loaded = 0_u32;
            let mut answers = answers.take(REPORTS_LIMIT_COUNT);
            while let Some(answer) = answers.next().await {
                let is_image = answer?.stream.is_some_and(|text| text.starts_with(LOADED_PREFIX));
                loaded += u32::from(is_image);
            }
            Ok(loaded)
        });
        match loaded.await {
            Ok(0) => Err(failure.or(call.failed("there is no image in the archive"))),
            Ok(_) => Ok(()),
            Err(error) => Err(failure.or(error)),
        }
    }

    pub(super) async fn pull(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        check_path_part(reference, "image")?;
        let call = self.call(
            format!("pull {reference}"),
            format!("image {reference} in its registry"),
            TRANSFER_TIMEOUT_SECONDS,
        );
        let credentials = credentials(&self.client_config, reference).await?;
        let reference = with_tag(reference);
        let options = CreateImageOptionsBuilder::new().from_image(&reference).build();
        let reports = self.client.create_image(Some(options), None, credentials);
        let mut layers = Layers::default();
        let take = |report: CreateImageInfo| {
            progress(layers.update(report.status, report.id, report.progress_detail));
        };
        call.run(follow_transfer(reports, take)).await
    }

    pub(super) async fn push(
        &self,
        reference: &str,
        progress: &(dyn Fn(TransferProgress) + Send + Sync),
    ) -> Result<Digest, EngineError> {
        check_path_part(reference, "image")?;
        let call = self.call(
            format!("push {reference}"),
            format!("image {reference}"),
            TRANSFER_TIMEOUT_SECONDS,
        );
        let credentials = credentials(&self.client_config, reference).await?;
        let (repository, tag) = parts(reference);
        let options = PushImageOptionsBuilder::new().tag(tag).build();
        let reports = self.client.push_image(repository, Some(options), credentials);
        let mut layers = Layers::default();
        let mut digest = None;
        let take = |report: PushImageInfo| {
            digest = report.status.as_deref().and_then(pushed_digest).or(digest);
            // Which layer it is about is not in the library's type.
            progress(layers.update(report.status, None, report.progress_detail));
        };
        call.run(follow_transfer(reports, take)).await?;
        if let Some(digest) = digest {
            return Ok(digest);
        }
        // Podman says it to those alone who ask what the image is called.
        let known = self.find_image(reference).await?;
        let known = known.map(|facts| facts.repository_digests).unwrap_or_default();
        let mut there = known
            .iter()
            .filter_map(|name| name.strip_prefix(repository)?.strip_prefix('@'));
        match (there.next().and_then(|digest| digest.parse().ok()), there.next()) {
            (Some(digest), None) => Ok(digest),
            _ => Err(call.failed("it does not say which digest the registry gave it")),
        }
    }

    pub(super) async fn build(
        &self,
        build: ImageBuild,
        log: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        let ImageBuild {
            context,
            dockerfile,
            target,
            arguments,
            labels,
            tag,
            is_fresh,
        } = build;
        check_path_part(&tag, "image")?;
        let mut options = BuildImageOptionsBuilder::new()
            .dockerfile(&dockerfile)
            .t(&tag)
            .rm(true)
            // Also when the build fails: nothing of it shall stay behind.
            .forcerm(true)
            .nocache(is_fresh)
            .buildargs(&unordered(&arguments))
            .labels(&unordered(&labels));
        if let Some(target) = &target {
            options = options.target(target);
        }
        let call = self.call(format!("build {dockerfile}"), "builder", BUILD_TIMEOUT_SECONDS);
        let (body, failure) = streams::body(context);
        let answers = self
            .client
            .build_image(options.build(), None, Some(bollard::body_try_stream(body)));
        let built = call.run(async {
            // Whatever the engine itself says about a build is about the Dockerfile; the rest is about the engine.
            match follow_build(answers, log).await {
                Err(Error::DockerResponseServerError { message, .. }) => Ok(Err(message)),
                Err(Error::DockerStreamError { error }) => Ok(Err(error)),
                Err(error) => Err(error),
                Ok(id) => Ok(Ok(id)),
            }
        });
        let id = match built.await {
            Ok(Ok(id)) => id,
            Ok(Err(cause)) => {
                // A full disk is no fault of the Dockerfile's.
                return Err(failure.or(match call.failed(&cause) {
                    EngineError::Failed { cause, .. } => EngineError::BuildFailed { dockerfile, cause },
                    full => full,
                }));
            }
            Err(error) => return Err(failure.or(error)),
        };
        match id {
            Some(id) => Ok(ImageId(id)),
            // Podman tells the ID in words only.
            None => match self.find_image(&tag).await? {
                Some(image) => Ok(image.id),
                None => Err(call.failed("it built no image")),
            },
        }
    }

    pub(super) async fn tag(&self, image: &ImageId, repository: &str, tag: &str) -> Result<(), EngineError> {
        check_path_part(&image.0, "image")?;
        let call = self.call(
            format!("tag {repository}:{tag}"),
            format!("image {image}"),
            CHANGE_TIMEOUT_SECONDS,
        );
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        call.run(self.client.tag_image(&image.0, Some(options))).await
    }

    pub(super) async fn delete_image(&self, reference: &str) -> Result<(), EngineError> {
        check_path_part(reference, "image")?;
        let object = format!("image {reference}");
        let call = self.call(format!("remove {object}"), object, CHANGE_TIMEOUT_SECONDS);
        // By ID an image goes with all its names, which needs force; by name only that name goes.
        let options = RemoveImageOptionsBuilder::new()
            .force(reference.starts_with("sha256:"))
            .build();
        match call.run(self.client.remove_image(reference, Some(options), None)).await {
            Ok(_) | Err(EngineError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn save(&self, reference: &str) -> Result<ByteStream, EngineError> {
        check_path_part(reference, "image")?;
        let object = format!("image {reference}");
        let call = self.call(format!("save {object}"), object, SAVE_TIMEOUT_SECONDS);
        let chunks = Box::pin(self.client.export_image(reference));
        streams::download(call, chunks, DOWNLOAD_IDLE_TIMEOUT_SECONDS).await
    }
}

fn facts(call: &Call<'_>, image: ImageInspect) -> Result<ImageFacts, EngineError> {
    let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
    let diff_ids = layers.iter().map(|layer| layer.parse::<Digest>());
    let diff_ids = diff_ids
        .collect::<Result<_, _>>()
        .map_err(|error| call.failed(&error.to_string()))?;
    let config = image.config.unwrap_or_default();
    Ok(ImageFacts {
        id: ImageId(image.id.unwrap_or_default()),
        diff_ids,
        repository_digests: image.repo_digests.unwrap_or_default(),
        tags: image.repo_tags.unwrap_or_default(),
        architecture: image.architecture.unwrap_or_default(),
        labels: ordered(config.labels),
        environment: config.env.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        size_bytes: unsigned(image.size),
    })
}

/// `reference` with a tag or digest: without one the engine would pull every tag that there is.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        reference.to_owned()
    } else {
        format!("{reference}:{DEFAULT_TAG}")
    }
}

/// Follows a build to its end: its image's ID, when the engine tells. Returning early ends the build: the engine gives up
/// what nobody listens to.
async fn follow_build(
    mut answers: impl Stream<Item = Result<BuildInfo, Error>> + Unpin,
    log: &(dyn Fn(&str) + Send + Sync),
) -> Result<Option<String>, Error> {
    let sink = |_, line: &str| log(line);
    let mut output = Output::new(LINE_LIMIT_BYTES, &sink);
    let mut take = |text: &str| match output.take(OutputStream::Stdout, text.as_bytes()) {
        true => Ok(()),
        false => Err(Error::DockerStreamError {
            error: format!("it printed more than {} MiB of output", OUTPUT_LIMIT_BYTES >> 20),
        }),
    };
    let mut id = None;
    let followed = loop {
        let answer = match answers.next().await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        };
        if let Some(text) = answer.stream {
            let text = STDERR_COLOURS
                .iter()
                .fold(text, |text, colour| text.replace(colour, ""));
            if let Err(error) = take(&text) {
                break Err(error);
            }
        }
        // The progress of a base image's layers would be a thousand lines; what concerns the whole image is one or two.
        if let (Some(status), None) = (answer.status, answer.progress_detail)
            && let Err(error) = take(&format!("{status}\n"))
        {
            break Err(error);
        }
        id = answer.aux.and_then(|aux| aux.id).or(id);
    };
    output.finish();
    followed.map(|()| id)
}

/// A reference's repository and tag.
fn parts(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, DEFAULT_TAG),
    }
}

/// The digest in what an engine says when a push is done: `TAG: digest: sha256:… size: 1234`.
fn pushed_digest(status: &str) -> Option<Digest> {
    let (_, rest) = status.split_once(": digest: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Follows a pull or push to its end.
async fn follow_transfer<T>(
    mut reports: impl Stream<Item = Result<T, Error>> + Unpin,
    mut take: impl FnMut(T),
) -> Result<(), Error> {
    let idle_limit = Duration::from_secs(TRANSFER_IDLE_TIMEOUT_SECONDS);
    for _ in 0..REPORTS_LIMIT_COUNT {
        match tokio::time::timeout(idle_limit, reports.next()).await {
            Ok(Some(report)) => take(report?),
            Ok(None) => return Ok(()),
            Err(_) => {
                let error = format!("it said nothing for {TRANSFER_IDLE_TIMEOUT_SECONDS} s");
                return Err(Error::DockerStreamError { error });
            }
        }
    }
    let error = format!("it reported more than {REPORTS_LIMIT_COUNT} times");
    Err(Error::DockerStreamError { error })
}

/// The layers of an image on their way.
#[derive(Debug, Default)]
struct Layers {
    bytes: BTreeMap<String, (u64, u64)>,
}

impl Layers {
    /// Takes one of the engine's reports into account.
    fn update(
        &mut self,
        status: Option<String>,
        layer: Option<String>,
        detail: Option<ProgressDetail>,
    ) -> TransferProgress {
        let status = status.unwrap_or_default();
        let detail = detail.unwrap_or_default();
        let (current, total) = (unsigned(detail.current), unsigned(detail.total));
        if let Some(layer) = layer {
            match status.as_str() {
                "Downloading" if total > 0 => {
                    self.bytes.insert(layer, (current.min(total), total));
                }
                // Unpacking counts from nothing again: a layer is done once it is here.
                "Download complete" | "Verifying Checksum" | "Pull complete" => {
                    if let Some((done, total)) = self.bytes.get_mut(&layer) {
                        *done = *total;
                    }
                }
                _ => {}
            }
        }
        let sum = self
            .bytes
            .values()
            .fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        TransferProgress {
            status,
            bytes: (sum.1 > 0).then_some(sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_push_says_has_the_digest() {
        let digest = Digest::of(b"manifest");
        assert_eq!(pushed_digest(&format!("1: digest: {digest} size: 525")), Some(digest));
        assert_eq!(pushed_digest("1: digest: sha256:00 size: 525"), None);
        assert_eq!(pushed_digest("Layer already exists"), None);
        assert_eq!(parts("host:5000/a/b:1"), ("host:5000/a/b", "1"));
        assert_eq!(parts("host:5000/a/b"), ("host:5000/a/b", "latest"));
    }

    #[test]
    fn a_pull_is_of_one_tag() {
        for (given, expected) in [
            ("alpine", "alpine:latest"),
            ("alpine:3.22", "alpine:3.22"),
            ("host:5000/a", "host:5000/a:latest"),
            ("host:5000/a@sha256:00", "host:5000/a@sha256:00"),
        ] {
            assert_eq!(with_tag(given), expected);
        }
    }

    #[test]
    fn a_pull_tells_the_sum_over_its_layers() {
        let mut layers = Layers::default();
        let mut bytes = |id: &str, status: &str, progress: Option<(i64, i64)>| {
            let detail = progress.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            });
            layers
                .update(Some(status.to_owned()), Some(id.to_owned()), detail)
                .bytes
        };
        assert_eq!(bytes("3.22", "Pulling from library/alpine", None), None);
        assert_eq!(bytes("a", "Downloading", Some((10, 100))), Some((10, 100)));
        assert_eq!(bytes("b", "Downloading", Some((5, 50))), Some((15, 150)));
        assert_eq!(bytes("a", "Download complete", None), Some((105, 150)));
        assert_eq!(bytes("a", "Extracting", Some((1, 100))), Some((105, 150)));
        assert_eq!(bytes("b", "Pull complete", None), Some((150, 150)));
    }
}
