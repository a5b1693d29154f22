//! Root file systems in every form answer alike, and as the kernel and `ldconfig` of this machine do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod roots;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Ground, bytes_stream, on_engine};
use lockstep::digest::Digest;
use lockstep::engine::Engine;
use lockstep::facts::LdCache;
use lockstep::facts::elf::Data;
use lockstep::facts::ld_cache::{Capability, LD_CACHE_LIMIT_BYTES, Processor};
use lockstep::image::{Entry, EntryKind, LayerWriter};
use lockstep::rootfs::{
    DirectoryRoot, FileKind, LookError, ProcessDefaults, RootFs, open_file, open_root, read_image_stream,
};
use lockstep::run::open_rootfs;
use proptest::prelude::*;
use roots::{Tree, docker_archive, gzip, oci_layout, tar_of, zstd};
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// A root as distributions lay it out, and what is nasty about links.
fn nasty() -> Tree {
    let mut tree = Tree::default()
        .directory("usr/lib/x86_64-linux-gnu")
        .directory("etc/ld.so.conf.d")
        .directory("empty")
        .link("lib", "usr/lib")
        .link("lib64", "/usr/lib")
        .file("usr/lib/x86_64-linux-gnu/libz.so.1.3", "z")
        .link("usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.3")
        .link("usr/lib/absolute.so", "/lib/x86_64-linux-gnu/libz.so.1")
        .link("usr/lib/up.so", "../../../../../etc/../lib/x86_64-linux-gnu/libz.so.1")
        .link("usr/lib/outside", "../../../../../../../../../../etc/passwd")
        .link("etc/passwd", "/proc/self/nothing")
        .name("usr/lib/second", "usr/lib/x86_64-linux-gnu/libz.so.1.3")
        .file("etc/hosts", "hosts")
        .directory(&format!("etc/{}", "d".repeat(150)))
        .file(&format!("etc/{0}/{0}", "d".repeat(150)), "long")
        .file("etc/ld.so.conf.d/b.conf", "/b\n")
        .file("etc/ld.so.conf.d/a.conf", "/a\n")
        .link("self", "self")
        .link("ping", "pong")
        .link("pong", "/ping")
        .link("dot", ".")
        .link("slash", "/")
        .link("slashed", "etc/")
        .link("slashed-file", "etc/hosts/")
        .link("dangling", "usr/nothing")
        .link("long", &"a".repeat(300));
    for number in 1..=45 {
        tree = tree.link(&format!("chain{number}"), &format!("chain{}", number - 1));
    }
    tree.link("chain0", "etc/hosts")
}

/// A path, and the path without links that it leads to.
const NASTY: &[(&str, Result<&str, LookError>)] = &[
    ("/", Ok("/")),
    ("//", Ok("/")),
    ("/..", Ok("/")),
    ("/../../etc/hosts", Ok("/etc/hosts")),
    (
        "/lib/x86_64-linux-gnu/libz.so.1",
        Ok("/usr/lib/x86_64-linux-gnu/libz.so.1.3"),
    ),
    (
        "/lib64/x86_64-linux-gnu/libz.so.1",
        Ok("/usr/lib/x86_64-linux-gnu/libz.so.1.3"),
    ),
    ("/lib/absolute.so", Ok("/usr/lib/x86_64-linux-gnu/libz.so.1.3")),
    ("/lib/up.so", Ok("/usr/lib/x86_64-linux-gnu/libz.so.1.3")),
    ("/lib/second", Ok("/usr/lib/second")),
    ("/lib/..", Ok("/usr")),
    ("/lib/../lib/./x86_64-linux-gnu/", Ok("/usr/lib/x86_64-linux-gnu")),
    ("/lib/outside", Err(LookError::NotFound)),
    ("/etc/passwd", Err(LookError::NotFound)),
    ("/nothing", Err(LookError::NotFound)),
    ("/nothing/..", Err(LookError::NotFound)),
    ("", Err(LookError::NotFound)),
    ("/dangling", Err(LookError::NotFound)),
    ("/dangling/x", Err(LookError::NotFound)),
    ("/etc/hosts/", Err(LookError::NotADirectory)),
    ("/etc/hosts/x", Err(LookError::NotADirectory)),
    ("/etc/hosts/..", Err(LookError::NotADirectory)),
    ("/etc/hosts/.", Err(LookError::NotADirectory)),
    ("/slashed-file", Err(LookError::NotADirectory)),
    ("/slashed", Ok("/etc")),
    ("/slashed/hosts", Ok("/etc/hosts")),
    ("/dot/dot/slash/slash/dot/etc/hosts", Ok("/etc/hosts")),
    ("/self", Err(LookError::Loop)),
    ("/self/x", Err(LookError::Loop)),
    ("/ping", Err(LookError::Loop)),
    // The fortieth link is the last.
    ("/chain39", Ok("/etc/hosts")),
    ("/chain40", Err(LookError::Loop)),
    ("/dot/chain39", Err(LookError::Loop)),
    ("/dot/chain38", Ok("/etc/hosts")),
    ("/chain39/", Err(LookError::NotADirectory)),
    ("/long", Err(LookError::NameTooLong)),
];

/// Asserts that a root with the nasty tree answers as expected.
fn check_nasty(form: &str, root: &dyn RootFs) {
    // Twice: what is remembered must be as what was found.
    for (path, expected) in NASTY.iter().chain(NASTY) {
        let found = root.look(path).map(|found| found.path);
        assert_eq!(found.as_deref().map_err(|error| *error), *expected, "{form}: {path}");
    }
    let long = format!("/{}", "x/".repeat(2048));
    assert_eq!(root.look(&long).unwrap_err(), LookError::NameTooLong, "{form}");
    let name = format!("/{}", "x".repeat(256));
    assert_eq!(root.look(&name).unwrap_err(), LookError::NameTooLong, "{form}");
    let file = root.look("/lib/up.so").unwrap();
    assert_eq!((file.kind, file.len, file.mode), (FileKind::File, 1, 0o644), "{form}");
    assert_eq!(root.bytes(&file, 1).unwrap(), "z", "{form}");
    assert_eq!(root.bytes(&file, 0), None, "{form}");
    let second = root.look("/usr/lib/second").unwrap();
    assert_eq!(second.id, file.id, "{form}: two names of a file");
    assert_eq!(root.bytes(&second, 10).unwrap(), "z", "{form}");
    assert_ne!(root.look("/etc/hosts").unwrap().id, file.id, "{form}");
    let directory = root.look("/etc").unwrap();
    assert_eq!(directory.kind, FileKind::Directory, "{form}");
    assert_eq!(root.bytes(&directory, 100), None, "{form}");
    assert!(root.object(&directory).is_none(), "{form}");
    assert_eq!(
        root.list("/etc/ld.so.conf.d/"),
        ["/etc/ld.so.conf.d/a.conf", "/etc/ld.so.conf.d/b.conf"],
        "{form}"
    );
    assert_eq!(
        root.list("/slashed"),
        [
            format!("/slashed/{}", "d".repeat(150)).as_str(),
            "/slashed/hosts",
            "/slashed/ld.so.conf.d",
            "/slashed/passwd"
        ],
        "{form}"
    );
    let long = root.look(&format!("/etc/{0}/{0}", "d".repeat(150))).unwrap();
    assert_eq!(root.bytes(&long, 10).unwrap(), "long", "{form}");
    for empty in ["/empty", "/etc/hosts", "/nothing"] {
        assert!(root.list(empty).is_empty(), "{form}: {empty}");
    }
    assert!(root.list("/").contains(&"/lib64".to_owned()), "{form}");
}

#[test]
fn links_of_a_directory_never_lead_out_of_it() {
    let directory = tempfile::tempdir().unwrap();
    nasty().write(directory.path());
    check_nasty("directory", &DirectoryRoot::open(directory.path()).unwrap());
}

/// A tree in every form that a file or directory can have.
fn forms(tree: &Tree, directory: &Path) -> Vec<(&'static str, PathBuf)> {
    let layers = tree.layers();
    let compressed: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let mut links = docker_archive(&layers);
    // Engines have saved layers that several images share as links.
    let first = format!("{}/layer.tar", Digest::of(&layers[0]).hex());
    let moved = format!("{}/layer.tar", "a".repeat(64));
    let content = links.remove(&first).unwrap();
    links.insert(moved.clone(), content);
    let mut linked = Tree(Vec::new()).link(&first, &format!("../{moved}"));
    linked.0.extend(
        links
            .iter()
            .map(|(path, content)| roots::Part::File(path.clone(), content.clone(), 0o644)),
    );
    let files = [
        ("tar", tree.tar()),
        ("GNU tar", tree.gnu_tar()),
        ("compressed tar", gzip(&tree.tar())),
        ("compressed GNU tar", gzip(&tree.gnu_tar())),
        ("docker-archive", tar_of(&docker_archive(&layers))),
        ("docker-archive with links", linked.gnu_tar()),
        ("compressed docker-archive with links", gzip(&linked.gnu_tar())),
        (
            "docker-archive of compressed layers",
            tar_of(&docker_archive(&compressed)),
        ),
        ("compressed docker-archive", gzip(&tar_of(&docker_archive(&layers)))),
        (
            "compressed docker-archive of compressed layers",
            gzip(&tar_of(&docker_archive(&compressed))),
        ),
        ("OCI layout in a tar", tar_of(&oci_layout(&layers))),
        (
            "OCI layout of compressed layers in a tar",
            tar_of(&oci_layout(&compressed)),
        ),
        ("compressed OCI layout", gzip(&tar_of(&oci_layout(&layers)))),
        ("tar compressed with zstd", zstd(&tree.tar())),
        (
            "OCI layout of layers compressed with zstd in a tar",
            tar_of(&oci_layout(&layers.iter().map(|layer| zstd(layer)).collect::<Vec<_>>())),
        ),
    ];
    let mut forms = Vec::new();
    for (number, (form, content)) in files.into_iter().enumerate() {
        let path = directory.join(number.to_string());
        std::fs::write(&path, content).unwrap();
        forms.push((form, path));
    }
    for (form, files) in [
        ("OCI layout", oci_layout(&layers)),
        ("OCI layout of compressed layers", oci_layout(&compressed)),
    ] {
        let path = directory.join(form);
        for (name, content) in files {
            let file = path.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        forms.push((form, path));
    }
    let path = directory.join("root");
    std::fs::create_dir(&path).unwrap();
    tree.write(&path);
    forms.push(("directory", path));
    forms
}

#[test]
fn every_form_answers_alike() {
    let directory = tempfile::tempdir().unwrap();
    for (form, path) in forms(&nasty(), directory.path()) {
        let root = open_root(&path, form).unwrap_or_else(|error| panic!("{form}: {error}"));
        check_nasty(form, &*root);
        if form.contains("docker") || form.contains("OCI") {
            let variables = [("PATH", "/bin"), ("LD_LIBRARY_PATH", "/a=b:/c")];
            let expected = ProcessDefaults {
                variables: variables
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                user: Some("1234:50".to_owned()),
                directory: Some("/srv".to_owned()),
            };
            assert_eq!(root.defaults(), &expected, "{form}");
            for gone in ["/decoy", "/etc/decoy", "/empty/decoy", "/.wh.nothing", "/.wh..wh..opq"] {
                assert_eq!(root.look(gone).unwrap_err(), LookError::NotFound, "{form}: {gone}");
            }
        } else {
            assert_eq!(root.defaults(), &ProcessDefaults::default(), "{form}");
        }
    }
}

/// What loaders ask of a file, and what it is if it is no ELF file.
fn facts(root: &dyn RootFs, path: &str) -> String {
    let found = root.look(path).unwrap();
    match root.object(&found).unwrap() {
        Ok(elf) => {
            let symbols: Vec<_> = elf
                .symbols()
                .map(|(index, symbol)| (index, symbol, elf.version_of(index)))
                .collect();
            let relocations: Vec<_> = elf.relocations().collect();
            format!(
                "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {symbols:?} {relocations:?}",
                found.len, elf.header, elf.segments, elf.dynamic, elf.needs, elf.definitions, elf.notes, elf.problems
            )
        }
        Err(error) => format!("{:?} {error:?}", found.len),
    }
}

#[test]
fn objects_answer_alike_in_every_form() {
    let machine = DirectoryRoot::open(Path::new("/")).unwrap();
    let libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6"];
    let libc = libc.into_iter().find_map(|path| machine.look(path).ok()).unwrap();
    let libc = machine.bytes(&libc, u64::MAX).unwrap();
    let program = std::fs::read("/bin/true").unwrap();
    let tree = Tree::default()
        .directory("etc")
        .file("etc/ld.so.cache", b"no cache")
        .directory("lib")
        .file("lib/libc.so.6", &libc)
        .file("lib/true", &program)
        .file("lib/cut-off", &libc[..libc.len() / 2])
        .file("lib/cut-off-early", &libc[..100])
        .file("lib/head", &libc[..64])
        .file("lib/short", b"\x7fELF")
        .file("lib/empty", b"")
        .file("lib/libc.so", "/* GNU ld script */".repeat(100))
        .file("lib/text", "text".repeat(10_000));
    let names = [
        "libc.so.6",
        "true",
        "cut-off",
        "cut-off-early",
        "head",
        "short",
        "empty",
        "libc.so",
        "text",
    ];
    let directory = tempfile::tempdir().unwrap();
    let forms = forms(&tree, directory.path());
    let (_, plain) = forms.last().unwrap();
    let plain = DirectoryRoot::open(plain).unwrap();
    let expected = names.map(|name| (name, facts(&plain, &format!("/lib/{name}"))));
    for (form, place) in &forms {
        let root = open_root(place, form).unwrap();
        for (name, expected) in &expected {
            // Too long to be printed.
            assert!(facts(&*root, &format!("/lib/{name}")) == *expected, "{form}: {name}");
        }
    }
    assert!(facts(&plain, "/lib/libc.so.6").contains("GLIBC_2."));
}

#[test]
fn a_file_in_the_directory_is_seen_at_its_path_there() {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("root");
    std::fs::create_dir(&inner).unwrap();
    nasty().write(&inner);
    std::os::unix::fs::symlink("root", outer.path().join("also")).unwrap();
    let root = DirectoryRoot::open(&inner).unwrap();
    for (file, expected) in [
        ("root/lib/x", Some("/lib/x")),
        ("root/./etc/hosts", Some("/etc/hosts")),
        ("also/lib/up.so", Some("/lib/up.so")),
        ("root/usr/../x", Some("/usr/../x")),
        ("root/../other/x", None),
        ("root/../root/lib/x", Some("/usr/lib/x")),
        ("root/dot/x", Some("/dot/x")),
        ("other/x", None),
        ("root", None),
    ] {
        assert_eq!(root.seen_at(&outer.path().join(file)).as_deref(), expected, "{file}");
    }
}

#[test]
fn a_pipe_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let root = DirectoryRoot::open(directory.path()).unwrap();
    let found = root.look("/pipe").unwrap();
    assert_eq!(found.kind, FileKind::Other);
    assert_eq!(root.bytes(&found, 10), None);
    assert!(root.object(&found).is_none());
}

#[test]
fn a_file_that_was_exchanged_since_is_not_taken_for_the_one_that_was_found() {
    let directory = tempfile::tempdir().unwrap();
    nasty().write(directory.path());
    let root = DirectoryRoot::open(directory.path()).unwrap();
    let found = root.look("/etc/hosts").unwrap();
    std::fs::rename(directory.path().join("etc"), directory.path().join("old")).unwrap();
    std::os::unix::fs::symlink("/etc", directory.path().join("etc")).unwrap();
    assert_eq!(root.bytes(&found, 1 << 20), None);
}

/// What the kernel says of a path, with the same root.
fn kernel(root: &Path, path: &str) -> Result<String, LookError> {
    let directory = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let opened = rustix::fs::openat2(
        &directory,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    );
    let file = opened.map_err(|error| match error {
        rustix::io::Errno::NOENT => LookError::NotFound,
        rustix::io::Errno::NOTDIR => LookError::NotADirectory,
        rustix::io::Errno::LOOP => LookError::Loop,
        rustix::io::Errno::NAMETOOLONG => LookError::NameTooLong,
        other => panic!("{other}"),
    })?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
    let inside = target.strip_prefix(root.canonicalize().unwrap()).unwrap();
    Ok(format!("/{}", inside.display()))
}

#[test]
fn the_kernel_agrees_on_the_nasty_tree() {
    let directory = tempfile::tempdir().unwrap();
    nasty().write(directory.path());
    for (path, expected) in NASTY {
        let found = kernel(directory.path(), path);
        assert_eq!(found.as_deref().map_err(|error| *error), *expected, "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_kernel_agrees_on_random_links(
        links in proptest::collection::btree_map("(a/|b/|)[cde]", "(/|\\.\\./|)([a-f]|\\.\\.|\\.)(/([a-f]|\\.\\.)){0,2}/?", 0..9),
        paths in proptest::collection::vec("(/|)([a-f]|\\.\\.|\\.)(/([a-f]|\\.\\.)){0,4}/?", 1..20),
    ) {
        let mut tree = Tree::default().directory("a").directory("b").file("a/f", "1").file("f", "2");
        for (path, target) in &links {
            tree = tree.link(path, target);
        }
        let directory = tempfile::tempdir().unwrap();
        tree.write(directory.path());
        let root = DirectoryRoot::open(directory.path()).unwrap();
        for path in &paths {
            prop_assert_eq!(
                root.look(path).map(|found| found.path),
                kernel(directory.path(), path),
                "{} with {:?}", path, links
            );
        }
    }
}

/// What `ldconfig -p` prints of an entry.
fn printed(entry: &lockstep::facts::ld_cache::LdCacheEntry<'_>) -> String {
    let kind = match entry.flags {
        0x0303 => "libc6,x86-64",
        0x0003 => "libc6",
        // A loader, which is itself of no C library.
        0x0001 => "ELF",
        0x0803 => "libc6,x32",
        other => panic!("an entry with the flags {other:x}"),
    };
    let capability = match entry.capability {
        Capability::Any => String::new(),
        Capability::Named { directory, .. } => format!(", hwcap: \"{}\"", directory.unwrap()),
        Capability::Legacy(bits) => format!(", hwcap: {bits:#018x}"),
    };
    format!("{} ({kind}{capability}) => {}", entry.key, entry.path)
}

#[test]
fn the_cache_of_this_machine_is_as_ldconfig_prints_it() {
    let root = DirectoryRoot::open(Path::new("/")).unwrap();
    let found = root.look("/etc/ld.so.cache").unwrap();
    let cache = LdCache::read(root.bytes(&found, LD_CACHE_LIMIT_BYTES).unwrap(), Data::Little).unwrap();
    let ldconfig = ["/usr/sbin/ldconfig", "/sbin/ldconfig"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let output = Command::new(ldconfig.unwrap())
        .arg("-p")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let expected: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix('\t')).collect();
    let entries: Vec<String> = cache.entries().map(|entry| printed(&entry)).collect();
    assert_eq!(entries, expected);
    assert!(entries.len() > 10, "{entries:?}");
    let generator = output
        .lines()
        .find_map(|line| line.strip_prefix("Cache generated by: "));
    assert_eq!(cache.generator(), generator);
    for entry in cache.entries().filter(|entry| entry.capability == Capability::Any) {
        let first = cache
            .entries()
            .find(|other| other.key == entry.key && other.flags == entry.flags && other.capability == Capability::Any);
        let found = cache.look_up(entry.key, &[entry.flags], &Processor::x86_64(1));
        assert_eq!(found, first.map(|first| first.path), "{}", entry.key);
    }
    assert_eq!(cache.look_up("libnothing.so", &[0x0303], &Processor::x86_64(4)), None);
    let missing: BTreeSet<PathBuf> = cache
        .entries()
        .filter(|entry| root.look(entry.path).is_err())
        .map(|entry| entry.path.into())
        .filter(|path: &PathBuf| path.exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn an_image_in_the_engine_answers_alike() {
    on_engine(|ground| async move {
        let Ground { engine, id, labels, .. } = ground;
        let mut files = docker_archive(&nasty().layers());
        // The engine finds what it is to remove afterwards by the label.
        let path = files
            .keys()
            .find(|path| path.ends_with(".json") && path.len() > 64)
            .unwrap()
            .clone();
        let mut config: serde_json::Value = serde_json::from_slice(&files.remove(&path).unwrap())?;
        config["config"]["Labels"] = serde_json::to_value(&labels)?;
        config["architecture"] = engine.facts().await?.architecture.into();
        let config = serde_json::to_vec(&config)?;
        let name = format!("lockstep-test/{id}:nasty");
        let new_path = format!("{}.json", Digest::of(&config).hex());
        let manifest = String::from_utf8(files.remove("manifest.json").unwrap())?;
        let manifest = manifest.replace(&path, &new_path).replace("a:b", &name);
        files.insert("manifest.json".to_owned(), manifest.into_bytes());
        files.insert(new_path, config);
        files.remove("repositories");
        engine.load_images(bytes_stream(tar_of(&files))).await?;
        let nowhere = tempfile::tempdir()?;
        let root = open_rootfs(&name, nowhere.path(), async { Ok(engine.clone()) }).await?;
        check_nasty("engine", &*root);
        assert_eq!(
            root.defaults().variables[1],
            ("LD_LIBRARY_PATH".to_owned(), "/a=b:/c".to_owned())
        );
        assert_eq!(root.look("/decoy").unwrap_err(), LookError::NotFound);

        let missing = format!("lockstep-test/{id}:missing");
        let error = open_rootfs(&missing, nowhere.path(), async { Ok(engine.clone()) })
            .await
            .err();
        assert_eq!(
            error.ok_or("an image that is not there was opened")?.failure().exit,
            lockstep::exit::Exit::Usage
        );
        Ok(())
    });
}

#[test]
fn a_stream_that_ends_too_early_is_an_error_wherever_it_ends() {
    let whole = tar_of(&docker_archive(&nasty().layers()));
    assert!(read_image_stream(&mut &whole[..], "whole").is_ok());
    // The last two blocks only say that it is the end.
    let end = whole.len() - 1024;
    for len in (0..end).step_by(509) {
        assert!(read_image_stream(&mut &whole[..len], "part").is_err(), "{len} of {end}");
        // In a map nobody looks at what only fills a block, and an archive may end behind any entry.
        let is_complete = whole[len..len.next_multiple_of(512)].iter().all(|byte| *byte == 0);
        let opened = open_file(&bytes::Bytes::copy_from_slice(&whole[..len]), "part");
        assert!(opened.is_err() || is_complete, "{len} of {end} in a map");
    }
}

/// What is wrong with an image, and the words that say so.
#[test]
fn what_cannot_be_read_says_why_and_what_to_do() {
    let layers = nasty().layers();
    let without = |mut files: roots::Files, ends: &str| {
        let path = files.keys().find(|path| path.ends_with(ends)).unwrap().clone();
        files.remove(&path);
        tar_of(&files)
    };
    let with = |mut files: roots::Files, path: &str, content: &[u8]| {
        files.insert(path.to_owned(), content.to_vec());
        tar_of(&files)
    };
    let archive = || docker_archive(&layers);
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd][..], &[0; 600]].concat();
    let manifest = String::from_utf8(archive()["manifest.json"].clone()).unwrap();
    let two = format!("[{0},{0}]", manifest.trim_matches(['[', ']']).replace("a:b", "c:d"));
    let mut platforms = oci_layout(&layers);
    let index = r#"{"manifests":[{"digest":"sha256:aa","platform":{"os":"linux","architecture":"a"}},
        {"digest":"sha256:bb","platform":{"os":"linux","architecture":"b","variant":"v8"}}]}"#;
    platforms.insert("index.json".to_owned(), index.as_bytes().to_vec());
    let mut endless = oci_layout(&layers);
    let own = r#"{"manifests":[{"digest":"sha256:aa"}]}"#;
    endless.insert("index.json".to_owned(), own.as_bytes().to_vec());
    endless.insert("blobs/sha256/aa".to_owned(), own.as_bytes().to_vec());
    let mut outside = endless.clone();
    outside.insert(
        "index.json".to_owned(),
        br#"{"manifests":[{"digest":"sha256:../../x"}]}"#.to_vec(),
    );
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("nothing", Vec::new(), "is no directory, no tar and no saved image"),
        (
            "text",
            b"#!/bin/sh\n".to_vec(),
            "is no directory, no tar and no saved image",
        ),
        (
            "long text",
            vec![b'x'; 5000],
            "is no directory, no tar and no saved image",
        ),
        (
            "damaged zstd",
            zstd.clone(),
            "is no directory, no tar and no saved image",
        ),
        (
            "gzip of nothing",
            gzip(b""),
            "is no directory, no tar and no saved image",
        ),
        (
            "gzip cut off",
            gzip(&nasty().tar())[..900].to_vec(),
            "is no directory, no tar and no saved image",
        ),
        ("no layer", without(archive(), "/layer.tar"), "/layer.tar"),
        ("no config", without(archive(), ".json"), "lacks "),
        ("no blob", without(oci_layout(&layers), "0"), "lacks "),
        (
            "bad manifest",
            with(archive(), "manifest.json", b"[{}]"),
            "failed to understand manifest.json",
        ),
        ("no image", with(archive(), "manifest.json", b"[]"), "lacks any image"),
        (
            "two images",
            with(archive(), "manifest.json", two.as_bytes()),
            "has 2 images: c:d, c:d",
        ),
        ("platforms", tar_of(&platforms), "has 2 images: linux/a, linux/b/v8"),
        ("endless", tar_of(&endless), "indexes lead to indexes without end"),
        ("outside", tar_of(&outside), "`sha256:../../x` is none"),
        (
            "layer is damaged zstd",
            tar_of(&docker_archive(&[zstd])),
            "failed to read the layer",
        ),
        ("layer is text", tar_of(&docker_archive(&[vec![b'x'; 2000]])), "layer"),
        (
            "layer is cut off",
            tar_of(&docker_archive(&[layers[1][..2000].to_vec()])),
            "failed to read the layer",
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (name, content, words) in cases {
        let path = directory.path().join(name);
        for (form, content) in [("", content.clone()), (" compressed", gzip(content))] {
            std::fs::write(&path, content).unwrap();
            let Err(error) = open_root(&path, name) else {
                panic!("{name}{form} was opened");
            };
            let message = error.to_string();
            // What is twice compressed is no tar, and says so.
            let is_expected =
                message.contains(words) || (!form.is_empty() && message.contains("is no directory, no tar"));
            assert!(is_expected, "{name}{form}: {message}");
            assert!(error.hint().is_some(), "{name}{form}: {message}");
        }
    }
}

/// A step of a layer: what it does to a path.
#[derive(Debug, Clone)]
enum Step {
    Directory,
    File(u8),
    Link(String),
    Gone,
    Emptied,
}

/// A layer put on a directory of this machine, as an engine does it: first what is taken away, then what is put there.
fn unpack(root: &Path, layer: &[(String, Step)]) {
    let remove = |path: &Path| {
        if path.is_symlink() || path.is_file() {
            std::fs::remove_file(path).unwrap();
        } else if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        }
    };
    // A link that the layer puts a directory in place of leads nowhere any more: nothing is taken away through it.
    for (path, step) in layer {
        let path = root.join(path);
        if matches!(step, Step::Directory) && path.is_symlink() {
            remove(&path);
        }
    }
    for (path, step) in layer {
        let path = root.join(path);
        match step {
            Step::Gone => remove(&path),
            Step::Emptied if path.is_dir() && !path.is_symlink() => {
                for entry in std::fs::read_dir(&path).unwrap() {
                    remove(&entry.unwrap().path());
                }
            }
            _ => {}
        }
    }
    for (path, step) in layer {
        let path = root.join(path);
        match step {
            Step::Directory => {
                if path.is_symlink() || !path.is_dir() {
                    remove(&path);
                    std::fs::create_dir_all(&path).unwrap();
                }
            }
            Step::File(content) => {
                remove(&path);
                std::fs::write(&path, [*content]).unwrap();
            }
            Step::Link(target) => {
                remove(&path);
                std::os::unix::fs::symlink(target, &path).unwrap();
            }
            Step::Gone | Step::Emptied => {}
        }
    }
}

/// The same layer as a tar; what is taken away may stand anywhere in it.
fn packed(layer: &[(String, Step)]) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    for (path, step) in layer {
        let (directory, name) = path
            .rsplit_once('/')
            .map_or((String::new(), path.as_str()), |(directory, name)| {
                (format!("{directory}/"), name)
            });
        let (entry, content) = match step {
            Step::Directory => (Entry::directory(path, 0), None),
            Step::File(content) => (Entry::file(path, 1, 0o644, 0), Some(*content)),
            Step::Link(target) => (Entry::symlink(path, target, 0), None),
            Step::Gone => (Entry::file(&format!("{directory}.wh.{name}"), 0, 0o644, 0), None),
            Step::Emptied => (Entry::file(&format!("{path}/.wh..wh..opq"), 0, 0o644, 0), None),
        };
        let content: Vec<u8> = content.into_iter().collect();
        writer.append(&entry, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap().2
}

/// Layers in which every directory that is written to is there, and none is a link: what engines write.
fn layers() -> impl Strategy<Value = Vec<Vec<(String, Step)>>> {
    let step = prop_oneof![
        3 => any::<u8>().prop_map(Step::File),
        3 => Just(Step::Directory),
        2 => "(/|\\.\\./|)[a-c](/[a-c]){0,2}".prop_map(Step::Link),
        2 => Just(Step::Gone),
        1 => Just(Step::Emptied),
    ];
    let layer = proptest::collection::vec(("[a-c](/[a-c]){0,2}", step), 0..12);
    proptest::collection::vec(layer, 1..4).prop_map(|layers| {
        let with_parents = |layer: Vec<(String, Step)>| {
            let mut seen = BTreeSet::new();
            let mut whole = Vec::new();
            for (path, step) in layer {
                let mut parents = Vec::new();
                for (slash, _) in path.match_indices('/') {
                    parents.push(path[..slash].to_owned());
                }
                // A path stands once in a layer, and what is above it is a directory there.
                let is_marker = matches!(step, Step::Gone | Step::Emptied);
                if (!is_marker && seen.contains(&path))
                    || parents.iter().any(|parent| {
                        whole
                            .iter()
                            .any(|(other, step)| other == parent && !matches!(step, Step::Directory))
                    })
                {
                    continue;
                }
                let is_above = whole
                    .iter()
                    .any(|(other, _): &(String, Step)| other.starts_with(&format!("{path}/")));
                if is_above && !matches!(step, Step::Directory | Step::Emptied) {
                    continue;
                }
                for parent in parents {
                    if seen.insert(parent.clone()) {
                        whole.push((parent, Step::Directory));
                    }
                }
                if is_marker && whole.iter().any(|(other, _)| *other == path) && matches!(step, Step::Gone) {
                    continue;
                }
                if matches!(step, Step::Emptied) && seen.insert(path.clone()) {
                    whole.push((path.clone(), Step::Directory));
                }
                seen.insert(path.clone());
                whole.push((path, step));
            }
            whole
        };
        layers.into_iter().map(with_parents).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn layers_amount_to_what_unpacking_them_gives(layers in layers(), paths in proptest::collection::vec("(/([a-c]|\\.\\.)){1,4}", 10)) {
        let directory = tempfile::tempdir().unwrap();
        for layer in &layers {
            unpack(directory.path(), layer);
        }
        let expected = DirectoryRoot::open(directory.path()).unwrap();
        let tars: Vec<Vec<u8>> = layers.iter().map(|layer| packed(layer)).collect();
        let archive = tar_of(&docker_archive(&tars));
        let mapped = open_file(&archive.clone().into(), "mapped").unwrap();
        let streamed = read_image_stream(&mut &archive[..], "streamed").unwrap();
        for root in [&mapped, &streamed] {
            for path in paths.iter().map(String::as_str).chain(["/", "/a", "/b", "/c", "/a/b", "/b/a", "/c/c/c"]) {
                let (found, wanted) = (root.look(path), expected.look(path));
                let seen = |found: &lockstep::rootfs::Found| (found.path.clone(), found.kind);
                prop_assert_eq!(found.as_ref().map(seen), wanted.as_ref().map(seen), "{}", path);
                prop_assert_eq!(root.list(path), expected.list(path), "{}", path);
                if let (Ok(found), Ok(wanted)) = (found, wanted) {
                    prop_assert_eq!(root.bytes(&found, 10), expected.bytes(&wanted, 10), "{}", path);
                }
            }
        }
    }

    #[test]
    fn no_bytes_of_an_archive_make_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        form in 0_usize..4,
        is_mended in any::<bool>(),
    ) {
        let layers = nasty().layers();
        let mut bytes = match form {
            0 => nasty().tar(),
            1 => nasty().gnu_tar(),
            2 => tar_of(&docker_archive(&layers)),
            _ => tar_of(&oci_layout(&layers)),
        };
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
            if is_mended {
                // A block whose checksum is wrong is read no further.
                let start = at / 512 * 512;
                let sum: u32 = bytes[start..start + 512].iter().enumerate()
                    .map(|(offset, byte)| if (148..156).contains(&offset) { 32 } else { u32::from(*byte) })
                    .sum();
                bytes[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        for bytes in [gzip(&bytes), bytes] {
            if let Ok(root) = open_file(&bytes.into(), "changed") {
                for (path, _) in NASTY {
                    if let Ok(found) = root.look(path) {
                        let _ = (root.bytes(&found, 100), root.object(&found), root.list(path));
                    }
                }
            }
        }
    }
}

/// Runs a program with another root, if need be as root of a namespace of its own.
fn in_root(root: &Path, arguments: &[&str]) -> String {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("chroot")
    } else {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "chroot"]);
        command
    };
    command.arg(root).args(arguments);
    let output = command.env("LC_ALL", "C").output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
    stdout.into_owned()
}

/// A library that is in an ordinary directory and in subdirectories for better processors, in a cache that this machine's
/// `ldconfig` writes, found by this machine's loader, which is told which of the subdirectories to use.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_loader_finds_what_the_cache_says_for_each_processor() {
    const LEVELS: [&str; 3] = ["x86-64-v2", "x86-64-v3", "x86-64-v4"];
    // In which directories each library is.
    let libraries = [
        ("liball.so.1", &["", "x86-64-v2", "x86-64-v3", "x86-64-v4"][..]),
        ("libtwo.so.9", &["", "x86-64-v2"]),
        ("libtwo.so.10", &["", "x86-64-v3"]),
        ("libfour.so.1", &["", "x86-64-v4"]),
        ("libplain.so.1", &[""]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for made in [
        "etc",
        "lib64",
        "lib/x86_64-linux-gnu",
        "sbin",
        "opt/libraries",
        "var/cache/ldconfig",
    ] {
        std::fs::create_dir_all(root.join(made)).unwrap();
    }
    let machine = DirectoryRoot::open(Path::new("/")).unwrap();
    for (from, to) in [
        ("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
        ("/sbin/ldconfig", "sbin/ldconfig"),
    ] {
        std::fs::copy(
            Path::new("/").join(&machine.look(from).unwrap().path[1..]),
            root.join(to),
        )
        .unwrap();
    }
    std::fs::write(root.join("etc/ld.so.conf"), "/opt/libraries\n").unwrap();
    let compile = |arguments: &[&str]| {
        let status = Command::new("cc").current_dir(root).args(arguments).status().unwrap();
        assert!(status.success(), "cc {arguments:?}");
    };
    std::fs::write(root.join("program.c"), "int main(void) { return 0; }\n").unwrap();
    let mut link = vec!["-o", "program", "program.c", "-Wl,--no-as-needed", "-Lopt/libraries"];
    let mut needed = Vec::new();
    for (name, subdirectories) in libraries {
        for subdirectory in subdirectories {
            let to = match *subdirectory {
                "" => format!("opt/libraries/{name}"),
                level => format!("opt/libraries/glibc-hwcaps/{level}/{name}"),
            };
            std::fs::create_dir_all(root.join(&to).parent().unwrap()).unwrap();
            let soname = format!("-Wl,-soname,{name}");
            compile(&[
                "-shared",
                "-fPIC",
                "-nostdlib",
                &soname,
                "-o",
                &to,
                "-x",
                "c",
                "/dev/null",
            ]);
        }
        needed.push(format!("-l:{name}"));
    }
    link.extend(needed.iter().map(String::as_str));
    compile(&link);
    in_root(root, &["/sbin/ldconfig"]);
    let help = in_root(root, &["/lib64/ld-linux-x86-64.so.2", "--help"]);
    let is_supported = |level: &str| help.contains(&format!("{level} (supported, searched)"));

    let seen = DirectoryRoot::open(root).unwrap();
    let found = seen.look("/etc/ld.so.cache").unwrap();
    let cache = LdCache::read(seen.bytes(&found, LD_CACHE_LIMIT_BYTES).unwrap(), Data::Little).unwrap();
    assert_eq!(cache.directories().collect::<Vec<_>>(), LEVELS);
    for masked in 0..1_u32 << LEVELS.len() {
        let chosen = |index: &usize| masked & 1 << index != 0;
        let mask: Vec<&str> = (0..LEVELS.len()).filter(chosen).map(|index| LEVELS[index]).collect();
        let listed = in_root(
            root,
            &[
                "/lib64/ld-linux-x86-64.so.2",
                "--glibc-hwcaps-mask",
                &format!("none:{}", mask.join(":")),
                "--list",
                "/program",
            ],
        );
        let usable = mask.iter().rev().filter(|level| is_supported(level));
        let processor = Processor {
            directories: usable.map(ToString::to_string).collect(),
            ..Processor::x86_64(1)
        };
        for (name, _) in libraries {
            let line = listed
                .lines()
                .find_map(|line| line.trim().strip_prefix(&format!("{name} => ")));
            let loaded = line.and_then(|line| line.split(' ').next());
            assert_eq!(
                cache.look_up(name, &[0x0303], &processor),
                loaded,
                "{name} with {mask:?}"
            );
            assert!(loaded.is_some(), "{listed}");
        }
    }
}

/// What a file is given lies in an attribute, which each form has in its own way.
#[test]
fn capabilities_are_found_in_every_form() {
    const KILL_EP: &[u8] = b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut writer = LayerWriter::new(Vec::new());
    let mut entry = Entry::file("host", 1, 0o755, 0);
    writer
        .append(&Entry::file("plain", 1, 0o755, 0), &mut &b"p"[..])
        .unwrap();
    entry
        .attributes
        .insert("security.capability".to_owned(), KILL_EP.to_vec());
    writer.append(&entry, &mut &b"h"[..]).unwrap();
    let mut second = Entry::file("second", 0, 0o755, 0);
    second.kind = EntryKind::Hardlink(b"host".to_vec());
    writer.append(&second, &mut &[][..]).unwrap();
    let tar = writer.finish().unwrap().2;
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str, bytes: &[u8]| {
        std::fs::write(directory.path().join(name), bytes).unwrap();
        open_root(&directory.path().join(name), name).unwrap()
    };
    // A layer on top that has the file without it takes it away.
    let replaced = Tree::default().file_of_mode("second", "s", 0o755).tar();
    let image = roots::tar_of(&docker_archive(&[tar.clone(), replaced]));
    let capabilities = |root: &dyn RootFs, path: &str| root.capabilities(&root.look(path).unwrap());
    let forms = [
        (open("root.tar", &tar), Some(KILL_EP.to_vec())),
        (open("root.tar.gz", &gzip(&tar)), Some(KILL_EP.to_vec())),
        (open("image.tar", &image), None),
    ];
    for (root, of_second) in forms {
        assert_eq!(capabilities(&*root, "/host").as_deref(), Some(KILL_EP));
        assert_eq!(capabilities(&*root, "/plain"), None);
        assert_eq!(capabilities(&*root, "/second"), of_second);
    }
    let root = directory.path().join("root");
    std::fs::create_dir(&root).unwrap();
    for name in ["host", "plain"] {
        std::fs::write(root.join(name), name).unwrap();
    }
    let set = rustix::fs::setxattr(
        root.join("host"),
        "security.capability",
        KILL_EP,
        rustix::fs::XattrFlags::empty(),
    );
    let root = DirectoryRoot::open(&root).unwrap();
    // Only who has CAP_SETFCAP may give it to a file.
    let expected = set.is_ok().then_some(KILL_EP);
    assert!(set.is_ok() || !rustix::process::geteuid().is_root(), "{set:?}");
    assert_eq!(capabilities(&root, "/host").as_deref(), expected);
    assert_eq!(capabilities(&root, "/plain"), None);
}
