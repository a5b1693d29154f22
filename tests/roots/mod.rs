//! One tree in every form that a root file system comes in.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use lockstep::digest::Digest;
use lockstep::image::{Entry, EntryKind, Form, LayerWriter};
use serde_json::json;

/// What is at a path.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Directory(String),
    File(String, Vec<u8>, u32),
    Link(String, String),
    /// A second name of a file.
    Name(String, String),
}

/// A tree, in the order in which it is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree(pub(crate) Vec<Part>);

impl Tree {
    pub(crate) fn directory(mut self, path: &str) -> Self {
        self.0.push(Part::Directory(path.to_owned()));
        self
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_of_mode(path, content, 0o644)
    }

    pub(crate) fn file_of_mode(mut self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        self.0
            .push(Part::File(path.to_owned(), content.as_ref().to_vec(), mode));
        self
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.0.push(Part::Link(path.to_owned(), target.to_owned()));
        self
    }

    pub(crate) fn name(mut self, path: &str, target: &str) -> Self {
        self.0.push(Part::Name(path.to_owned(), target.to_owned()));
        self
    }

    /// The tree as a directory.
    pub(crate) fn write(&self, root: &Path) {
        for part in &self.0 {
            match part {
                Part::Directory(path) => std::fs::create_dir_all(root.join(path)).unwrap(),
                Part::File(path, content, mode) => {
                    std::fs::write(root.join(path), content).unwrap();
                    std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(*mode)).unwrap();
                }
                Part::Link(path, target) => symlink(target, root.join(path)).unwrap(),
                Part::Name(path, target) => std::fs::hard_link(root.join(target), root.join(path)).unwrap(),
            }
        }
    }

    /// The tree as a tar of POSIX, with extended headers.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut writer = LayerWriter::new(Vec::new());
        for part in &self.0 {
            let (entry, content) = match part {
                Part::Directory(path) => (Entry::directory(path, 0), &[][..]),
                Part::File(path, content, mode) => (Entry::file(path, content.len() as u64, *mode, 0), &content[..]),
                Part::Link(path, target) => (Entry::symlink(path, target, 0), &[][..]),
                Part::Name(path, target) => {
                    let mut entry = Entry::file(path, 0, 0o644, 0);
                    entry.kind = EntryKind::Hardlink(target.as_bytes().to_vec());
                    (entry, &[][..])
                }
            };
            writer.append(&entry, &mut &content[..]).unwrap();
        }
        writer.finish().unwrap().2
    }

    /// The tree as a tar of GNU, with long names in entries of their own, and every path with `./` before it.
    pub(crate) fn gnu_tar(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let header = |kind: tar::EntryType, size: u64, mode: u32| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header
        };
        builder
            .append_data(&mut header(tar::EntryType::Directory, 0, 0o755), "./", &[][..])
            .unwrap();
        for part in &self.0 {
            match part {
                Part::Directory(path) => {
                    let mut header = header(tar::EntryType::Directory, 0, 0o755);
                    builder.append_data(&mut header, format!("./{path}/"), &[][..])
                }
                Part::File(path, content, mode) => {
                    let mut header = header(tar::EntryType::Regular, content.len() as u64, *mode);
                    builder.append_data(&mut header, format!("./{path}"), &content[..])
                }
                Part::Link(path, target) => {
                    let mut header = header(tar::EntryType::Symlink, 0, 0o777);
                    builder.append_link(&mut header, format!("./{path}"), target)
                }
                Part::Name(path, target) => {
                    let mut header = header(tar::EntryType::Link, 0, 0o644);
                    builder.append_link(&mut header, format!("./{path}"), format!("./{target}"))
                }
            }
            .unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// The tree in three layers: what is of no use is put there, taken away or overwritten, and the tree is divided.
    pub(crate) fn layers(&self) -> Vec<Vec<u8>> {
        let half = self.0.len() / 2;
        let (below, above) = self.0.split_at(half);
        let lowest = Tree::default()
            .directory("etc")
            .directory("etc/decoy")
            .file("etc/decoy/file", "decoy")
            .file("etc/hosts", "decoy")
            .file("decoy", "decoy")
            .directory("empty")
            .file("empty/decoy", "decoy")
            .directory("self")
            .file("self/decoy", "decoy")
            .file("lib", "decoy");
        // The tree has the directory again.
        let taken = Tree::default()
            .file("empty/.wh..wh..opq", "")
            .file("etc/.wh.decoy", "")
            .file(".wh.decoy", "")
            .file(".wh.self", "")
            // Nothing of this name is below.
            .file(".wh.nothing", "");
        let middle = Tree([taken.0, below.to_vec()].concat());
        let upper = Tree(above.to_vec());
        [lowest, middle, upper].map(|layer| layer.tar()).into()
    }
}

/// The config of an image with these layers, which may be compressed.
pub(crate) fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_id = |layer: &Vec<u8>| {
        let plain = Form::of_bytes(layer).unpacked(&layer[..]);
        // What is damaged has some digest, too.
        Digest::of_reader(plain)
            .unwrap_or_else(|_| Digest::of(layer))
            .to_string()
    };
    let diff_ids: Vec<String> = layers.iter().map(diff_id).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Env": ["PATH=/bin", "LD_LIBRARY_PATH=/a=b:/c", "odd"], "User": "1234:50", "WorkingDir": "/srv" },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    serde_json::to_vec(&config).unwrap()
}

/// Files of a saved image, by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A docker-archive's files. Its layers may be compressed; their paths in it are of the old form.
pub(crate) fn docker_archive(layers: &[Vec<u8>]) -> Files {
    let config = config(layers);
    let path = format!("{}.json", Digest::of(&config).hex());
    let names: Vec<String> = layers
        .iter()
        .map(|layer| format!("{}/layer.tar", Digest::of(layer).hex()))
        .collect();
    let manifest = json!([{ "Config": path, "RepoTags": ["a:b"], "Layers": names }]);
    let mut files: Files = names.into_iter().zip(layers.to_vec()).collect();
    files.insert(path, config);
    files.insert("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap());
    files.insert("repositories".to_owned(), b"{}".to_vec());
    files
}

/// An OCI layout's files, with an index for two platforms and a statement beside them.
pub(crate) fn oci_layout(layers: &[Vec<u8>]) -> Files {
    let mut files = Files::new();
    let mut add = |content: Vec<u8>| {
        let digest = Digest::of(&content);
        files.insert(format!("blobs/sha256/{}", digest.hex()), content);
        digest.to_string()
    };
    let config = add(config(layers));
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| json!({ "digest": add(layer.clone()), "size": 1 }))
        .collect();
    let manifest = json!({ "schemaVersion": 2, "config": { "digest": config }, "layers": layers });
    let manifest = add(serde_json::to_vec(&manifest).unwrap());
    let empty = add(b"{}".to_vec());
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let index = json!({ "manifests": [
        { "digest": empty, "platform": { "os": "linux", "architecture": "other" } },
        { "digest": manifest, "platform": { "os": "linux", "architecture": architecture } },
        { "digest": empty, "platform": { "os": "unknown", "architecture": "unknown" } },
    ] });
    let index = add(serde_json::to_vec(&index).unwrap());
    let top = json!({ "schemaVersion": 2, "manifests": [{ "digest": index }] });
    files.insert("index.json".to_owned(), serde_json::to_vec(&top).unwrap());
    files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    files
}

/// A tar of files, in this order of paths.
pub(crate) fn tar_of(files: &Files) -> Vec<u8> {
    let tree = Tree(
        files
            .iter()
            .map(|(path, content)| Part::File(path.clone(), content.clone(), 0o644))
            .collect(),
    );
    tree.gnu_tar()
}

/// Compressed, in two members, as some tools do.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let halves = bytes.split_at(bytes.len() / 2);
    let member = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    [member(halves.0), member(halves.1)].concat()
}

/// Compressed with zstd, in two frames.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let halves = bytes.split_at(bytes.len() / 2);
    let frame = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    [frame(halves.0), frame(halves.1)].concat()
}
