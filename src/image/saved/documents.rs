//! Which image something saved has: a docker-archive says it in `manifest.json` (image specification 1.2), an OCI image layout
//! in `index.json` and what that names. Some engines save both.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::SavedError;
use crate::platform::architecture;

/// The largest manifest, index or config.
pub const DOCUMENT_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// How many layers an image may have; engines allow 127.
const LAYERS_LIMIT_COUNT: usize = 1024;
/// How deep indexes may name indexes.
const DEPTH_LIMIT_COUNT: usize = 8;
const MANIFEST: &str = "manifest.json";
const INDEX: &str = "index.json";

/// A document by its name in what was saved; none if it is not there or too large.
pub type Documents<'a> = dyn FnMut(&str) -> Option<Bytes> + 'a;

/// The names of the parts of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageParts {
    /// Its config.
    pub config: String,
    /// Its layers, lowest first.
    pub layers: Vec<String>,
}

/// Finds the one image.
///
/// # Errors
/// [`SavedError`]: there is none, there are several, or a document is damaged.
pub fn image_parts(documents: &mut Documents<'_>) -> Result<ImageParts, SavedError> {
    let parts = if documents(MANIFEST).is_some() {
        of_docker(documents)?
    } else {
        of_layout(documents, INDEX, 0)?
    };
    if parts.layers.len() > LAYERS_LIMIT_COUNT {
        return Err(malformed(
            "the manifest",
            &format!("more than {LAYERS_LIMIT_COUNT} layers"),
        ));
    }
    Ok(parts)
}

/// One image of a docker-archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What an OCI index or manifest says of another document or a layer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
    variant: Option<String>,
}

/// An OCI index, or a manifest: which one it is tells what it has.
#[derive(Deserialize)]
struct OciDocument {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// The one image of a docker-archive.
fn of_docker(documents: &mut Documents<'_>) -> Result<ImageParts, SavedError> {
    let mut images: Vec<DockerImage> = document(documents, MANIFEST)?;
    match (images.pop(), images.is_empty()) {
        (None, _) => Err(missing("any image")),
        (Some(DockerImage { config, layers, .. }), true) => Ok(ImageParts { config, layers }),
        (Some(last), false) => {
            images.push(last);
            let names = images.into_iter().map(|image| match image.repo_tags {
                Some(tags) if !tags.is_empty() => tags.join(" "),
                _ => image.config,
            });
            Err(SavedError::Several { names: names.collect() })
        }
    }
}

/// An OCI layout's image, the one for this machine where there are several.
fn of_layout(documents: &mut Documents<'_>, name: &str, depth: usize) -> Result<ImageParts, SavedError> {
    let found: OciDocument = document(documents, name)?;
    if let (Some(config), Some(layers)) = (&found.config, &found.layers) {
        return Ok(ImageParts {
            config: blob(config)?,
            layers: layers.iter().map(blob).collect::<Result<_, _>>()?,
        });
    }
    if depth == DEPTH_LIMIT_COUNT {
        return Err(malformed(name, "indexes lead to indexes without end"));
    }
    let manifests = found
        .manifests
        .ok_or_else(|| malformed(name, "it is neither an index nor a manifest"))?;
    // Builders put statements about an image beside it, for no platform.
    let mut images: Vec<&Descriptor> = manifests
        .iter()
        .filter(|image| image.platform.as_ref().is_none_or(|platform| platform.os != "unknown"))
        .collect();
    if images.len() > 1 {
        let of_this_machine: Vec<&Descriptor> = images
            .iter()
            .filter(|image| is_of_this_machine(image))
            .copied()
            .collect();
        if of_this_machine.len() == 1 {
            images = of_this_machine;
        }
    }
    match images[..] {
        [] => Err(missing("any image")),
        [image] => of_layout(documents, &blob(image)?, depth + 1),
        // An engine that saves an image under two names has it in the index twice.
        [first, ..] if images.iter().all(|image| image.digest == first.digest) => {
            of_layout(documents, &blob(first)?, depth + 1)
        }
        _ => Err(SavedError::Several {
            names: images.into_iter().map(shown).collect(),
        }),
    }
}

fn is_of_this_machine(image: &Descriptor) -> bool {
    let platform = image.platform.as_ref();
    platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture())
}

fn shown(image: &Descriptor) -> String {
    match &image.platform {
        Some(Platform {
            architecture,
            os,
            variant: Some(variant),
        }) => format!("{os}/{architecture}/{variant}"),
        Some(Platform {
            architecture,
            os,
            variant: None,
        }) => format!("{os}/{architecture}"),
        None => image.digest.clone(),
    }
}

/// Where a layout has what a digest names.
fn blob(descriptor: &Descriptor) -> Result<String, SavedError> {
    let digest = descriptor.digest.split_once(':');
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match digest {
        Some((kind, value)) if is_plain(kind) && is_plain(value) => Ok(format!("blobs/{kind}/{value}")),
        _ => Err(malformed("a digest", &format!("`{}` is none", descriptor.digest))),
    }
}

fn document<T: DeserializeOwned>(documents: &mut Documents<'_>, name: &str) -> Result<T, SavedError> {
    let bytes = documents(name).ok_or_else(|| missing(name))?;
    serde_json::from_slice(&bytes).map_err(|cause| malformed(name, &cause.to_string()))
}

pub(super) fn missing(part: &str) -> SavedError {
    SavedError::Missing { part: part.to_owned() }
}

fn malformed(part: &str, cause: &str) -> SavedError {
    SavedError::Malformed {
        part: part.to_owned(),
        cause: cause.to_owned(),
    }
}
