use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use futures_util::StreamExt;
use proptest::prelude::*;

use super::*;
use crate::engine::EngineError;
use crate::owner::Owner;

const OWNER: Owner = Owner { uid: 1000, gid: 1000 };
const MTIME_SECONDS: u64 = 1_735_689_600;

/// A project directory with these files; a name that ends in `*` is executable, `link -> target` a symbolic link.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        put(directory.path(), name, content);
    }
    directory
}

fn put(project: &Path, name: &str, content: &str) {
    let path = project.join(name.trim_end_matches('*'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if let Some((link, target)) = name.split_once(" -> ") {
        let link = project.join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        return symlink(target, link).unwrap();
    }
    fs::write(&path, content).unwrap();
    if name.ends_with('*') {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

fn scan(project: &tempfile::TempDir, source: &str, inputs: &[&str]) -> Result<SourceTree, SourceError> {
    let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
    SourceTree::scan(project.path(), source, &inputs)
}

fn paths(tree: &SourceTree) -> Vec<&str> {
    tree.entries().map(|(path, _)| path).collect()
}

fn tar_of(tree: &SourceTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    tree.write_archive(&mut bytes, SOURCE_ROOT, OWNER, MTIME_SECONDS)
        .unwrap();
    bytes
}

fn names_in(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let names = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string());
    names.collect()
}

#[test]
fn a_unit_is_its_source_and_its_inputs() {
    let project = project(&[
        ("host/main.c", ""),
        ("host/.hidden", ""),
        ("host-tools/x", ""),
        ("plugins/include/a.h", ""),
        ("plugins/other.c", ""),
        ("VERSION", "1"),
    ]);
    let tree = scan(&project, "host", &["plugins/include", "VERSION"]).unwrap();
    assert_eq!(
        paths(&tree),
        ["VERSION", "host/.hidden", "host/main.c", "plugins/include/a.h"]
    );
    assert_eq!(
        names_in(&tar_of(&tree)),
        [
            "src/",
            "src/VERSION",
            "src/host/",
            "src/host/.hidden",
            "src/host/main.c",
            "src/plugins/",
            "src/plugins/include/",
            "src/plugins/include/a.h"
        ]
    );
    assert_eq!(
        scan(&project, "./host/", &["VERSION", "plugins/include"])
            .unwrap()
            .digest(),
        tree.digest()
    );
    assert_eq!(
        tree.named(&["main.c"]).map(|(path, _)| path).collect::<Vec<_>>(),
        ["host/main.c"]
    );
    assert_eq!(tree.size_bytes(), 1);
}

#[test]
fn a_project_that_is_its_own_source_leaves_out_what_lockstep_and_git_keep_there() {
    let project = project(&[
        ("main.go", ""),
        ("lockstep.yaml", ""),
        ("lockstep.lock", ""),
        ("dist/glibc/host", ""),
        (".lockstep/lock", ""),
        (".git/config", ""),
        ("sub/.git", "gitdir: elsewhere"),
        ("sub/dist/kept", ""),
        ("sub/lockstep.yaml", ""),
        ("empty/deep/.lockstep/x", ""),
    ]);
    let tree = scan(&project, ".", &[]).unwrap();
    assert_eq!(paths(&tree), ["main.go", "sub/dist/kept", "sub/lockstep.yaml"]);
}

#[test]
fn ignore_rules_of_the_project_apply_and_no_others() {
    let outer = project(&[
        (".gitignore", "*.c\n"),
        (".git/info/exclude", "*.c\n"),
        ("inner/.gitignore", "target\n*.log\n/host/gen\n"),
        ("inner/.git/info/exclude", "*.c\n"),
        ("inner/.ignore", "*.c\n"),
        ("inner/.lockstepignore", "!keep.log\nnotes/\n"),
        ("inner/host/.gitignore", "!again.log\n"),
        ("inner/host/main.c", ""),
        ("inner/host/x.log", ""),
        ("inner/host/again.log", ""),
        ("inner/host/keep.log", ""),
        ("inner/host/target/debug/x", ""),
        ("inner/host/gen/x", ""),
        ("inner/host/notes/x", ""),
    ]);
    let tree = SourceTree::scan(&outer.path().join("inner"), "host", &[]).unwrap();
    assert_eq!(
        paths(&tree),
        ["host/.gitignore", "host/again.log", "host/keep.log", "host/main.c"]
    );
}

#[test]
fn what_cannot_be_uploaded_is_named() {
    let check = |files: &[(&str, &str)], source: &str, inputs: &[&str], expected: &str| {
        let project = project(files);
        let error = scan(&project, source, inputs).unwrap_err();
        let text = format!("{error}\nhint: {}", error.hint().unwrap_or_default());
        assert!(text.contains(expected), "{text}\nexpected: {expected}");
    };
    let main = ("host/main.c", "");
    check(&[main], "hots", &[], "`hots` does not exist in");
    check(&[main], "host/main.c/x", &[], "does not exist in");
    check(&[main], "host/main.c", &[], "is not a directory");
    check(&[main], "host", &["../x"], "leads out of the project");
    check(&[main], "host", &["/etc"], "leads out of the project");
    check(&[main], "", &[], "leads out of the project");
    check(
        &[main, ("h -> host", "")],
        "h",
        &[],
        "leads through the symbolic link `h`",
    );
    check(
        &[main, (".gitignore", "gen\n"), ("gen/a.h", "")],
        "host",
        &["gen/a.h"],
        "`gen/a.h` would not be uploaded",
    );
    check(
        &[main, ("lockstep.yaml", "")],
        "host",
        &["lockstep.yaml"],
        "would not be uploaded",
    );
    check(
        &[main, (".lockstepignore", "a{b\n")],
        "host",
        &[],
        "failed to read the ignore rules",
    );
    check(&[main, ("host/x -> /etc/passwd", "")], "host", &[], "an absolute path");
    check(
        &[main, ("host/x -> ../../x", "")],
        "host",
        &[],
        "which is outside of the project",
    );
    check(
        &[main, ("other", ""), ("host/x -> ../other", "")],
        "host",
        &[],
        "add that path to the unit's `inputs`",
    );
    let long = format!("host/{}x", format!("{}/", "d".repeat(200)).repeat(11));
    check(&[main, (&long, "")], "host", &[], "is longer than 2048 bytes");
}

#[test]
fn sockets_and_pipes_are_named() {
    let project = project(&[("host/main.c", "")]);
    let _socket = UnixListener::bind(project.path().join("host/s")).unwrap();
    assert!(
        scan(&project, "host", &[])
            .unwrap_err()
            .to_string()
            .contains("`host/s` is a socket")
    );
    fs::remove_file(project.path().join("host/s")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(project.path().join("host/p"))
            .status()
            .unwrap()
            .success()
    );
    assert!(
        scan(&project, "host", &[])
            .unwrap_err()
            .to_string()
            .contains("`host/p` is a named pipe")
    );
}

#[test]
fn links_inside_the_tree_go_up_as_links() {
    let project = project(&[
        ("host/real/x", ""),
        ("host/dangling -> nowhere/at/all", ""),
        ("host/same -> real/x", ""),
        ("host/directory -> ./real/", ""),
        ("host/through -> directory/x", ""),
        ("host/include -> ../include", ""),
        ("include/a.h", ""),
    ]);
    let tree = scan(&project, "host", &["include"]).unwrap();
    let tar = tar_of(&tree);
    let mut archive = tar::Archive::new(&tar[..]);
    let links = archive.entries().unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        Some(entry.link_name().unwrap()?.display().to_string())
    });
    let links: Vec<String> = links.collect();
    assert_eq!(
        links,
        ["nowhere/at/all", "./real/", "../include", "real/x", "directory/x"]
    );
}

#[test]
fn the_digest_knows_content_mode_path_and_target_and_nothing_else() {
    let base: &[(&str, &str)] = &[("host/a", "1"), ("host/b*", "2"), ("host/l -> a", "")];
    let digest = |files: &[(&str, &str)]| scan(&project(files), "host", &[]).unwrap().digest();
    let first = digest(base);
    assert_eq!(first, digest(base));
    for changed in [
        &[("host/a", "!"), ("host/b*", "2"), ("host/l -> a", "")][..],
        &[("host/a*", "1"), ("host/b*", "2"), ("host/l -> a", "")],
        &[("host/c", "1"), ("host/b*", "2"), ("host/l -> a", "")],
        &[("host/a", "1"), ("host/b*", "2"), ("host/l -> b", "")],
        &[("host/a", "1"), ("host/b*", "2"), ("host/l", "a")],
        &[("host/a", "1"), ("host/b*", "2")],
    ] {
        assert_ne!(first, digest(changed), "{changed:?}");
    }
    // Anything that moves this digest makes everybody compile everything anew.
    assert_eq!(first.short(), "30093b4b");
}

#[tokio::test]
async fn copies_made_in_another_order_at_another_time_give_the_same_bytes() {
    let mut files = vec![
        ("host/a-b", "x"),
        ("host/a/b", "x"),
        ("host/a.b*", "x"),
        ("host/ü", "ü"),
        ("host/l -> a/b", ""),
        ("host/B", ""),
    ];
    let first = project(&files);
    files.reverse();
    let second = project(&files);
    for (_, name) in [("", "host/a/b"), ("", "host/B")] {
        let file = fs::File::options().write(true).open(second.path().join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o666)).unwrap();
    }
    fs::set_permissions(second.path().join("host/a"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(second.path().join("host/empty")).unwrap();
    let (first, second) = (scan(&first, "host", &[]).unwrap(), scan(&second, "host", &[]).unwrap());
    assert_eq!(first.digest(), second.digest());
    let tar = tar_of(&first);
    assert_eq!(tar, tar_of(&second));
    let mut streamed = Vec::new();
    let mut stream = second.archive(SOURCE_ROOT, OWNER, MTIME_SECONDS);
    while let Some(chunk) = stream.next().await {
        streamed.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(streamed, tar);
    let mut archive = tar::Archive::new(&tar[..]);
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(
            (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
            (1000, 1000, MTIME_SECONDS)
        );
    }
}

#[test]
fn a_file_that_changes_after_the_scan_is_noticed() {
    let changes: [fn(&Path); 6] = [
        |file| fs::write(file, "other").unwrap(),
        |file| fs::write(file, "longer than before").unwrap(),
        |file| fs::write(file, "").unwrap(),
        |file| fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap(),
        |file| {
            fs::remove_file(file).unwrap();
            symlink("main.c", file).unwrap();
        },
        |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let project = project(&[("host/file", "first"), ("host/main.c", ""), ("host/link -> file", "")]);
        let tree = scan(&project, "host", &[]).unwrap();
        change(&project.path().join("host/file"));
        let error = tree
            .write_archive(std::io::sink(), SOURCE_ROOT, OWNER, MTIME_SECONDS)
            .unwrap_err()
            .to_string();
        let expected = "`host/file` changed while the build was reading it";
        assert!(error.contains(expected), "{index}: {error}");
    }
    let project = project(&[("host/main.c", ""), ("host/link -> main.c", "")]);
    let tree = scan(&project, "host", &[]).unwrap();
    fs::remove_file(project.path().join("host/link")).unwrap();
    symlink("./main.c", project.path().join("host/link")).unwrap();
    let error = tree
        .write_archive(std::io::sink(), SOURCE_ROOT, OWNER, MTIME_SECONDS)
        .unwrap_err();
    assert!(error.to_string().contains("`host/link` changed"), "{error}");
}

#[tokio::test]
async fn the_stream_says_what_changed() {
    let project = project(&[("host/file", "first")]);
    let tree = scan(&project, "host", &[]).unwrap();
    fs::write(project.path().join("host/file"), "other").unwrap();
    let last = tree
        .archive(SOURCE_ROOT, OWNER, MTIME_SECONDS)
        .fold(None, async |_, chunk| Some(chunk))
        .await;
    let Some(Err(EngineError::Source { cause, .. })) = last else {
        panic!("{last:?}")
    };
    assert!(cause.starts_with("`host/file` changed"), "{cause}");
}

/// Each unit's scan by itself would open the directories of all others.
#[test]
fn one_walk_serves_all_units() {
    let opened = |count: usize| {
        let project = project(&[("shared/a.h", "1"), ("Makefile", "")]);
        let names: Vec<String> = (0..count).map(|number| format!("plugins/p{number}")).collect();
        for name in &names {
            put(project.path(), &format!("{name}/p.c"), name);
            put(project.path(), &format!("{name}/deep/x.c"), "");
        }
        let inputs = ["shared".to_owned()];
        let units: Vec<UnitPaths<'_>> = names
            .iter()
            .map(|source| UnitPaths {
                source: Some(source),
                inputs: &inputs,
            })
            .collect();
        let trees = SourceTree::scan_all(project.path(), &units).unwrap();
        assert_eq!(trees.len(), count);
        for (name, tree) in names.iter().zip(&trees) {
            let alone = SourceTree::scan(project.path(), name, &inputs).unwrap();
            assert_eq!((tree.digest(), paths(tree)), (alone.digest(), paths(&alone)));
            assert_eq!(paths(tree).len(), 3);
        }
        walk::walk(project.path(), &units).unwrap().opened_directories
    };
    // `plugins` and `shared`, and two of each unit; the project's own is opened before anything is asked.
    for count in [1, 10, 100] {
        assert_eq!(opened(count), 2 + 2 * count);
    }
}

#[test]
fn what_is_wrong_is_told_of_the_unit_that_has_it() {
    let fails = |files: &[(&str, &str)], expected: (usize, &str)| {
        let project = project(&[("a/x", ""), ("b/x", ""), ("c/x", "")]);
        for (name, content) in files {
            put(project.path(), name, content);
        }
        let inputs = ["c".to_owned()];
        let units = [("a", &[][..]), ("b", &inputs[..]), ("c", &[])];
        let units = units.map(|(source, inputs)| UnitPaths {
            source: Some(source),
            inputs,
        });
        let error = SourceTree::scan_all(project.path(), &units).unwrap_err();
        let text = error.cause.to_string();
        assert!(
            error.unit == expected.0 && text.contains(expected.1),
            "{} {text}",
            error.unit
        );
    };
    fails(&[("b/l -> /etc/passwd", "")], (1, "an absolute path"));
    fails(&[("c/l -> /etc/passwd", "")], (1, "an absolute path"));
    fails(&[("a/l -> ../b/x", "")], (0, "which is not uploaded"));
    fails(&[(".gitignore", "c/x\n")], (1, "`c` would not be uploaded"));
    fails(
        &[("b/.gitignore", "a{b\n")],
        (1, "failed to read the ignore rules that apply to `b`"),
    );
    fails(
        &[("c/.gitignore", &"*.o\n".repeat(30_001))],
        (1, "more than 30000 rules"),
    );
}

/// Many units may have many rules together.
#[test]
fn each_unit_has_its_own_limit_of_rules() {
    let rules = "*.o\n".repeat(20_000);
    let project = project(&[
        ("a/x", ""),
        ("a/.gitignore", &rules),
        ("b/x", ""),
        ("b/.gitignore", &rules),
    ]);
    let [a, b] = ["a", "b"].map(|source| UnitPaths {
        source: Some(source),
        inputs: &[],
    });
    assert_eq!(SourceTree::scan_all(project.path(), &[a, b]).unwrap().len(), 2);
    assert!(scan(&project, "a", &["b"]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever names and lengths files have, a reader of the archive gets exactly them back, in the order of their bytes.
    #[test]
    fn every_tree_survives_its_archive(
        files in prop::collection::btree_map("[a-zA-Z0-9 ._ü%\\\\-]{1,130}", prop::collection::vec(any::<u8>(), 0..1500), 1..8),
        directory in "[a-z]{1,120}",
        target in "[a-z]{1,150}",
    ) {
        let project = tempfile::tempdir().unwrap();
        let root = project.path().join("host").join(&directory);
        fs::create_dir_all(&root).unwrap();
        let mut expected = std::collections::BTreeMap::new();
        for (name, content) in &files {
            let name = format!("f{name}");
            fs::write(root.join(&name), content).unwrap();
            expected.insert(format!("src/host/{directory}/{name}"), content.clone());
        }
        symlink(&target, project.path().join("host/link")).unwrap();
        let tree = SourceTree::scan(project.path(), "host", &[]).unwrap();
        let tar = tar_of(&tree);
        let mut found = std::collections::BTreeMap::new();
        let mut order = Vec::new();
        for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            order.push(name.trim_end_matches('/').to_owned());
            match entry.header().entry_type() {
                tar::EntryType::Regular => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content).unwrap();
                    found.insert(name, content);
                }
                tar::EntryType::Symlink => {
                    let link = entry.link_name_bytes().unwrap().into_owned();
                    prop_assert_eq!(link, target.as_bytes());
                }
                _ => {}
            }
        }
        prop_assert!(order.is_sorted(), "{:?}", order);
        prop_assert_eq!(found, expected);
    }
}
