//! An image as an engine loads it: a tar with its config, its layers and a manifest that names them (image
//! specification 1.2, as `docker save` writes it).

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::LayerError;
use super::entry::Entry;
use super::write::LayerWriter;
use crate::digest::Digest;
use crate::engine::ByteStream;
use crate::regular_file;
use crate::stream::written_by;

/// An image on its way to an engine.
#[derive(Debug, Clone)]
pub struct ImageArchive {
    /// Its config's text.
    pub config: Vec<u8>,
    /// Its layers, lowest first. A layer without a file is one that the engine has: an image of it begins with the same
    /// layers up to that one. (The classic image store does not ask for those; the containerd store does.)
    pub layers: Vec<(Digest, Option<PathBuf>)>,
    /// The names it gets, `repository:tag`.
    pub tags: Vec<String>,
}

impl ImageArchive {
    /// The archive as a stream; a layer that cannot be read ends it with an error.
    #[must_use]
    pub fn into_stream(self) -> ByteStream {
        written_by(move |output| self.write(output).map_err(io::Error::other))
    }

    fn write(&self, output: &mut dyn Write) -> Result<(), LayerError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Manifest<'a> {
            config: String,
            repo_tags: &'a [String],
            layers: Vec<String>,
        }
        let layer_path = |digest: &Digest| format!("{}/layer.tar", digest.hex());
        let config_path = format!("{}.json", Digest::of(&self.config).hex());
        let manifest = [Manifest {
            config: config_path.clone(),
            repo_tags: &self.tags,
            layers: self.layers.iter().map(|(digest, _)| layer_path(digest)).collect(),
        }];
        let manifest = serde_json::to_vec(&manifest).map_err(|error| LayerError::Write(error.into()))?;
        let mut tar = LayerWriter::new(output);
        let file = |path: &str, size_bytes: u64| Entry::file(path, size_bytes, 0o644, 0);
        tar.append(&file("manifest.json", manifest.len() as u64), &mut &manifest[..])?;
        tar.append(&file(&config_path, self.config.len() as u64), &mut &self.config[..])?;
        let mut written = std::collections::BTreeSet::new();
        for (digest, path) in &self.layers {
            // The same layer may stand twice in an image.
            if let Some(path) = path
                && written.insert(digest)
            {
                let mut content = regular_file::open_itself(path).map_err(LayerError::Read)?;
                let size_bytes = content.metadata().map_err(LayerError::Read)?.len();
                tar.append(&Entry::directory(&digest.hex(), 0), &mut io::empty())?;
                tar.append(&file(&layer_path(digest), size_bytes), &mut content)?;
            }
        }
        tar.finish().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::read_tar;
    use super::*;

    #[test]
    fn the_manifest_names_what_is_in_the_archive() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("layer");
        std::fs::write(&path, "layer").unwrap();
        let (here, there) = (Digest::of(b"here"), Digest::of(b"there"));
        let archive = ImageArchive {
            config: b"{}".to_vec(),
            layers: vec![(there, None), (here, Some(path.clone())), (here, Some(path))],
            tags: vec!["a:b".to_owned()],
        };
        let mut bytes = Vec::new();
        archive.write(&mut bytes).unwrap();
        let mut paths = Vec::new();
        let mut manifest = String::new();
        read_tar(&bytes[..], &mut |entry, content| {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            if path == "manifest.json" {
                content.read_to_string(&mut manifest).map_err(LayerError::Read)?;
            }
            paths.push(path);
            Ok(())
        })
        .unwrap();
        let config = format!("{}.json", Digest::of(b"{}").hex());
        let layer = format!("{}/layer.tar", here.hex());
        assert_eq!(paths, ["manifest.json", &config, &here.hex(), &layer]);
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest[0]["Config"], config);
        assert_eq!(manifest[0]["Layers"][0], format!("{}/layer.tar", there.hex()));
        assert_eq!(manifest[0]["Layers"].as_array().map(Vec::len), Some(3));
        assert_eq!(manifest[0]["RepoTags"][0], "a:b");
    }
}
