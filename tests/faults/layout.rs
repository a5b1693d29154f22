//! A root file system for each case: the runtime image's C library, the case's files, and nothing else. The same tree is
//! what the prediction is made from and what the programs run in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::case::{Case, Libc, Placed};
use crate::common::Ground;
use crate::common::batch::{Batch, Failure, builtin_image, run};
use crate::compile::Artifacts;
use crate::patch::patch;

/// Of the runtime image's libraries, those that cases need; the rest would only make trees larger.
const GLIBC_LIBRARIES: &[&str] = &[
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "libstdc++.so.6.0.33",
    "libutil.so.1",
];

/// What every tree of one C library starts from, unpacked once.
pub(crate) struct Base {
    libc: Libc,
    directory: PathBuf,
    /// Files and links by path, relative; directories follow from them.
    entries: BTreeMap<PathBuf, Entry>,
}

enum Entry {
    File,
    Link(PathBuf),
}

/// Takes the C library and its links out of the real runtime image.
pub(crate) async fn base(ground: &Ground, libc: Libc, directory: &Path) -> Result<Base, Failure> {
    let directory = directory.join(format!("base-{}", libc.word()));
    let _ = fs::remove_dir_all(&directory);
    let wanted: &[&str] = match libc {
        Libc::Glibc => &["/usr/lib", "/usr/lib64", "/etc/nsswitch.conf"],
        Libc::Musl => &["/usr/lib", "/etc/ld-musl-x86_64.path"],
    };
    let name = format!("base-{}", libc.word());
    let image = builtin_image(ground, libc.runtime_image()).await?;
    let batch = Batch {
        name: &name,
        image,
        script: "true",
        files: crate::common::archive(&[])?,
        changes_root: false,
        wanted,
    };
    let mut entries = BTreeMap::new();
    for (path, archive) in wanted.iter().zip(run(ground, batch).await?.archives) {
        let parent = Path::new(path.trim_start_matches('/'))
            .parent()
            .unwrap_or(Path::new(""));
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            let mut entry = entry?;
            let path = parent.join(entry.path()?);
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default()
                .to_owned();
            if path.components().any(|part| part.as_os_str() == "gconv") {
                continue;
            }
            let to = directory.join(&path);
            fs::create_dir_all(to.parent().unwrap())?;
            if let Some(target) = entry.link_name()? {
                symlink(&target, &to)?;
                entries.insert(path, Entry::Link(target.into_owned()));
            } else if entry.header().entry_type().is_file() {
                if libc == Libc::Glibc && path.starts_with("usr") && !GLIBC_LIBRARIES.contains(&name.as_str()) {
                    continue;
                }
                entry.unpack(&to)?;
                entries.insert(path, Entry::File);
            }
        }
    }
    for name in ["lib", "lib64"]
        .into_iter()
        .filter(|name| libc == Libc::Glibc || *name == "lib")
    {
        entries.insert(PathBuf::from(name), Entry::Link(PathBuf::from(format!("usr/{name}"))));
    }
    Ok(Base {
        libc,
        directory,
        entries,
    })
}

impl Base {
    /// A file of the image, by absolute path.
    fn read(&self, path: &str) -> Vec<u8> {
        let at = self.directory.join(path.trim_start_matches('/'));
        fs::read(&at).unwrap_or_else(|error| panic!("{}: {error}", at.display()))
    }
}

/// Makes the tree of a case below `directory`, and gives its path.
pub(crate) fn lay_out(case: &Case, artifacts: &Artifacts, bases: &[Base], libc: Libc, directory: &Path) -> PathBuf {
    let root = directory.join(&case.name);
    let own_base = bases.iter().find(|base| base.libc == libc).unwrap();
    for (path, entry) in &own_base.entries {
        let to = root.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        match entry {
            Entry::File => fs::hard_link(own_base.directory.join(path), to).unwrap(),
            Entry::Link(target) => symlink(target, to).unwrap(),
        }
    }
    let filled = |path: &str| Case::fill(path, libc);
    let mut placed: BTreeMap<String, Placed> = BTreeMap::new();
    let mentioned: Vec<&str> = case.files.values().filter_map(|file| file.object.as_deref()).collect();
    for name in artifacts.keys().filter(|name| *name != "host" && !name.contains('/')) {
        if !mentioned.contains(&name.as_str()) && !case.omit.contains(name) {
            placed.insert(
                format!("/app/{name}"),
                Placed {
                    object: Some(name.clone()),
                    ..Placed::default()
                },
            );
        }
    }
    placed.insert(
        case.host_path().to_owned(),
        Placed {
            object: Some("host".to_owned()),
            ..Placed::default()
        },
    );
    placed.extend(case.files.iter().map(|(path, file)| (filled(path), file.clone())));
    for (path, file) in placed
        .iter()
        .filter(|(_, file)| file.only.is_none_or(|only| only == libc))
    {
        place(&inside(&root, path), file, artifacts, bases, case);
    }
    let attributes: Attributes = placed
        .iter()
        .filter_map(|(path, file)| {
            let relative = inside(&root, path).strip_prefix(&root).unwrap().to_owned();
            Some((relative, file.attribute()?))
        })
        .collect();
    fs::write(attributes_file(&root), serde_json::to_vec(&attributes).unwrap()).unwrap();
    // Programs look here for where they are. A link is all that they read.
    let process = root.join("proc/self");
    fs::create_dir_all(&process).unwrap();
    symlink(case.host_path(), process.join("exe")).unwrap();
    fs::create_dir_all(root.join("tmp")).unwrap();
    fs::create_dir_all(root.join("app")).unwrap();
    fs::create_dir_all(inside(&root, case.cwd())).unwrap();
    root
}

/// A path in a root whose directories may be links to others in it: `/lib` is.
fn inside(root: &Path, path: &str) -> PathBuf {
    let path = path.trim_start_matches('/');
    for name in ["lib/", "lib64/"] {
        if path.starts_with(name) {
            return root.join("usr").join(path);
        }
    }
    root.join(path)
}

fn place(to: &Path, file: &Placed, artifacts: &Artifacts, bases: &[Base], case: &Case) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    // What is there may be a hard link to a file that all trees share.
    if to.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
        fs::remove_file(to).unwrap();
    }
    if file.absent {
        return;
    }
    if file.directory {
        fs::create_dir_all(to).unwrap();
    } else if let Some(target) = &file.link {
        symlink(target, to).unwrap();
        return;
    } else {
        let mut bytes = if let Some(object) = &file.object {
            let found = artifacts.get(object);
            found
                .unwrap_or_else(|| panic!("`{}`: no object `{object}`", case.name))
                .clone()
        } else if let Some(image) = &file.image {
            let (libc, path) = image.split_once(':').unwrap();
            bases.iter().find(|base| base.libc.word() == libc).unwrap().read(path)
        } else {
            file.text
                .clone()
                .unwrap_or_else(|| panic!("`{}`: {}: nothing to put there", case.name, to.display()))
                .into_bytes()
        };
        for change in &file.patch {
            patch(&mut bytes, change);
        }
        fs::write(to, bytes).unwrap();
    }
    fs::set_permissions(to, fs::Permissions::from_mode(file.mode())).unwrap();
}

/// The attributes of a tree's files, by their paths in it: only root could give them to the files.
pub(crate) type Attributes = BTreeMap<PathBuf, Vec<u8>>;

fn attributes_file(root: &Path) -> PathBuf {
    root.with_extension("attributes")
}

/// What [`lay_out`] has kept of a tree.
pub(crate) fn attributes(root: &Path) -> Attributes {
    let text = fs::read(attributes_file(root)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A tree as a tar of a whole root.
pub(crate) fn whole(root: &Path) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    let nothing = Base {
        libc: Libc::Glibc,
        directory: PathBuf::from("/nonexistent"),
        entries: BTreeMap::new(),
    };
    append_tree(&mut archive, root, Path::new("."), (root, &attributes(root)), &nothing)?;
    archive.into_inner()
}

/// The trees as one tar: `roots/NAME/…`, with files that are the same in all as hard links to the first.
pub(crate) fn pack(trees: &[(String, PathBuf)], first: &Base) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    append_directory(&mut archive, Path::new("roots"), header)?;
    for (path, entry) in &first.entries {
        if let Entry::File = entry {
            archive.append_path_with_name(first.directory.join(path), shared(path))?;
        }
    }
    for (name, root) in trees {
        append_tree(
            &mut archive,
            root,
            &Path::new("roots").join(name),
            (root, &attributes(root)),
            first,
        )?;
    }
    archive.into_inner()
}

fn shared(path: &Path) -> PathBuf {
    Path::new("shared").join(path)
}

fn append_directory<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &Path,
    mut header: tar::Header,
) -> std::io::Result<()> {
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    archive.append_data(&mut header, path, std::io::empty())
}

/// Mode and owner as they are here, which is what the prediction sees.
fn header_of(metadata: &fs::Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header
}

fn append_tree<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    from: &Path,
    to: &Path,
    (root, attributes): (&Path, &Attributes),
    base: &Base,
) -> std::io::Result<()> {
    append_directory(archive, to, header_of(&fs::metadata(from)?))?;
    let mut entries: Vec<_> = fs::read_dir(from)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind, to) = (entry.path(), entry.file_type()?, to.join(entry.file_name()));
        let metadata = entry.metadata()?;
        let mut header = header_of(&metadata);
        header.set_size(0);
        if kind.is_dir() {
            append_tree(archive, &path, &to, (root, attributes), base)?;
        } else if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, &to, fs::read_link(&path)?)?;
        } else {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let is_shared = base
                .directory
                .join(relative)
                .metadata()
                .is_ok_and(|original| original.ino() == metadata.ino());
            if is_shared {
                header.set_entry_type(tar::EntryType::Link);
                archive.append_link(&mut header, &to, shared(relative))?;
            } else {
                if let Some(value) = attributes.get(relative) {
                    archive.append_pax_extensions([("SCHILY.xattr.security.capability", value.as_slice())])?;
                }
                header.set_size(metadata.len());
                archive.append_data(&mut header, &to, fs::File::open(&path)?)?;
            }
        }
    }
    Ok(())
}
