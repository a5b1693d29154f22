//! Hand-made trees, one for each thing in which two can differ, and random ones.

use std::fs::File;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::image::{Entry, EntryKind, LayerWriter};
use crate::rootfs::{open_contents, open_layer_contents};

/// An entry and its content.
type Item = (Entry, Vec<u8>);

fn file(path: &str, content: impl AsRef<[u8]>) -> Item {
    let content = content.as_ref().to_vec();
    (Entry::file(path, content.len() as u64, 0o644, 0), content)
}

fn directory(path: &str) -> Item {
    (Entry::directory(path, 0), vec![])
}

fn link(path: &str, target: &str) -> Item {
    (Entry::symlink(path, target, 0), vec![])
}

fn of_kind(path: &str, kind: EntryKind) -> Item {
    let entry = Entry::file(path, 0, 0o644, 0);
    (Entry { kind, ..entry }, vec![])
}

fn name(path: &str, target: &str) -> Item {
    of_kind(path, EntryKind::Hardlink(target.as_bytes().to_vec()))
}

fn changed(item: Item, change: impl FnOnce(&mut Entry)) -> Item {
    let (mut entry, content) = item;
    change(&mut entry);
    (entry, content)
}

/// An image of layers in a directory of the test's own.
fn image(directory: &Path, layers: &[&[Item]]) -> Contents {
    let files = layers.iter().enumerate().map(|(number, layer)| -> (Digest, PathBuf) {
        let path = directory.join(format!("{number}-{}", layer.len()));
        let mut writer = LayerWriter::new(File::create(&path).unwrap());
        for (entry, content) in *layer {
            writer.append(entry, &mut &content[..]).unwrap();
        }
        (writer.finish().unwrap().0, path)
    });
    open_layer_contents(&files.collect::<Vec<_>>(), "image").unwrap()
}

fn compared(a: &Contents, b: &Contents, all: bool) -> Comparison {
    let side = |name, contents| Side { name, contents };
    compare(side("A", a), side("B", b), all).unwrap()
}

/// Each difference as `path: what a -> b`.
fn lines(comparison: &Comparison) -> Vec<String> {
    let text = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
    let of_file = |file: &FileDifference| {
        let of_aspect = |one: &Difference| {
            let what = serde_json::to_value(one.what).unwrap();
            format!(
                "{}: {} {} -> {}",
                file.path,
                what.as_str().unwrap(),
                text(&one.a),
                text(&one.b)
            )
        };
        file.differences.iter().map(of_aspect).collect::<Vec<_>>()
    };
    comparison.files.iter().flat_map(of_file).collect()
}

fn check(a: &[&[Item]], b: &[&[Item]], expected: &[&str]) {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let comparison = compared(&image(one.path(), a), &image(other.path(), b), false);
    assert_eq!(lines(&comparison), expected);
    assert_eq!(comparison.same, expected.is_empty());
}

#[test]
fn each_thing_in_which_entries_can_differ_is_told() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let cases: [(Item, Item, &str); 13] = [
        (file("x", "12"), file("x", "123"), "/x: content 2 bytes -> 3 bytes"),
        (file("x", "12"), file("x", "13"), "/x: content 2 bytes -> 2 bytes"),
        (
            file("x", "1"),
            changed(file("x", "1"), |entry| entry.mode = 0o4755),
            "/x: mode 0644 -> 4755",
        ),
        (
            directory("x"),
            changed(directory("x"), |entry| entry.gid = 7),
            "/x: owner 0:0 -> 0:7",
        ),
        (
            file("x", "1"),
            changed(file("x", "1"), |entry| entry.mtime_seconds = 1),
            "/x: time 1970-01-01T00:00:00Z -> 1970-01-01T00:00:01Z",
        ),
        (file("x", ""), directory("x"), "/x: kind file, 0 bytes -> directory"),
        (file("x", "1"), link("x", "y"), "/x: kind file, 1 byte -> link to y"),
        (link("x", "y"), link("x", "z"), "/x: target y -> z"),
        (
            of_kind("x", EntryKind::Character { major: 1, minor: 3 }),
            of_kind("x", EntryKind::Character { major: 1, minor: 5 }),
            "/x: device 1:3 -> 1:5",
        ),
        (
            of_kind("x", EntryKind::Fifo),
            of_kind("x", EntryKind::Block { major: 1, minor: 5 }),
            "/x: kind pipe -> block device",
        ),
        (
            file("x", "1"),
            changed(file("x", "1"), |entry| {
                entry
                    .attributes
                    .insert("security.capability".to_owned(), capability.to_vec());
            }),
            "/x: attribute - -> permitted 0x2000, inheritable 0x0, effective",
        ),
        (
            changed(file("x", "1"), |entry| {
                entry.attributes.insert("user.a".to_owned(), b"1".to_vec());
            }),
            changed(file("x", "1"), |entry| {
                entry.attributes.insert("user.a".to_owned(), vec![0xff]);
            }),
            "/x: attribute 1 -> 0xff",
        ),
        (directory("x"), link("x", "/y"), "/x: kind directory -> link to /y"),
    ];
    for (a, b, expected) in cases {
        check(&[&[a]], &[&[b]], &[expected]);
    }
}

#[test]
fn what_only_one_has_is_told() {
    let a = [directory("d"), file("d/x", "1")];
    check(
        &[&a],
        &[&[]],
        &["/d: presence directory -> -", "/d/x: presence file, 1 byte -> -"],
    );
    check(
        &[&[]],
        &[&a],
        &["/d: presence - -> directory", "/d/x: presence - -> file, 1 byte"],
    );
    // Who unpacks makes what no entry names.
    check(&[&a[1..]], &[&a], &[]);
}

#[test]
fn layers_count_as_what_they_amount_to() {
    let lower = [directory("d"), file("d/a", "1"), file("d/b", "2"), link("l", "d")];
    let whole = [directory("d"), file("d/b", "3"), file("d/c", "4"), link("l", "d")];
    let upper = [file("d/.wh.a", ""), file("d/b", "3"), file("l/c", "4")];
    check(&[&lower, &upper], &[&whole], &[]);
    let emptied = [file("d/.wh..wh..opq", ""), file("d/b", "3"), file("d/c", "4")];
    check(&[&lower, &emptied], &[&whole], &[]);
}

#[test]
fn names_of_one_file_are_the_same_in_whatever_order() {
    let a = [file("a", "1"), name("b", "a")];
    let b = [file("b", "1"), name("a", "b")];
    check(&[&a], &[&b], &[]);
    check(&[&a], &[&[file("a", "1"), file("b", "1")]], &["/b: name /a -> -"]);
    // Across layers, and when the first name is replaced.
    check(
        &[&a[..1], &[name("b", "a")], &[file("a", "2")]],
        &[&[file("a", "2"), file("b", "1")]],
        &[],
    );
}

fn debian(version: &str, content: &str) -> Vec<Item> {
    let status = format!(
        "Package: one\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n\
         Package: two\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"
    );
    vec![
        directory("usr"),
        directory("usr/lib"),
        link("lib", "usr/lib"),
        file("usr/lib/one", content),
        file("usr/lib/two", content),
        file("var/lib/dpkg/status", status),
        file("var/lib/dpkg/info/one:amd64.list", "/.\n/lib\n/lib/one\n"),
        file("var/lib/dpkg/info/one:amd64.md5sums", version),
        file("var/lib/dpkg/info/two.list", "/.\n/usr/lib/two\n"),
    ]
}

#[test]
fn packages_come_first_and_their_files_are_counted() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (
        image(one.path(), &[&debian("1-1", "x")]),
        image(other.path(), &[&debian("1-2", "y")]),
    );
    let comparison = compared(&a, &b, false);
    let package = &comparison.packages[..];
    assert!(
        matches!(package, [one] if one.name == "one" && one.a.as_deref() == Some("1-1") && one.b.as_deref() == Some("1-2")),
        "{package:?}"
    );
    assert_eq!(lines(&comparison), ["/usr/lib/two: content 1 byte -> 1 byte"]);
    assert_eq!(comparison.files_of_packages, 3);
    assert_eq!(compared(&a, &b, true).files.len(), 4);
    assert_eq!(compared(&a, &a, false).packages, []);
}

#[test]
fn packages_of_apk_explain_their_files_too() {
    let installed = |version: &str, content: &str| {
        let database =
            format!("P:one\nV:{version}\nA:x86_64\nF:usr\nF:usr/bin\nR:one\n\nP:two\nV:1\nA:x86_64\nR:top\n");
        vec![
            file("lib/apk/db/installed", database),
            file("usr/bin/one", content),
            file("top", content),
        ]
    };
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = image(one.path(), &[&installed("1-r0", "x")]);
    let b = image(other.path(), &[&installed("1-r1", "y")]);
    let comparison = compared(&a, &b, false);
    assert_eq!(comparison.packages.len(), 1);
    assert_eq!(lines(&comparison), ["/top: content 1 byte -> 1 byte"]);
}

/// A directory of this machine and the tar of the same are the same.
#[test]
fn a_directory_is_read_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    std::fs::create_dir(at("d")).unwrap();
    std::fs::write(at("d/x"), "text").unwrap();
    std::fs::hard_link(at("d/x"), at("d/y")).unwrap();
    std::os::unix::fs::symlink("../nowhere", at("d/l")).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all("", root.path()).unwrap();
    let tar = tar.into_inner().unwrap();
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("root.tar");
    std::fs::write(&path, tar).unwrap();
    let new_file = || -> Result<tempfile::NamedTempFile, crate::image::LayerError> { panic!("nothing is compressed") };
    let directory = open_contents(root.path(), "directory", &new_file).unwrap();
    let tar = open_contents(&path, "tar", &new_file).unwrap();
    // A builder of tars that knows no second names writes the content twice.
    assert_eq!(lines(&compared(&directory, &tar, false)), ["/d/y: name /d/x -> -"]);
    assert!(compared(&directory, &directory, false).same);
}

/// The largest program of this machine's, and one with a byte of its constants changed.
#[test]
fn sections_of_programs_are_told() {
    let program = std::fs::read("/bin/true").unwrap();
    let elf = crate::facts::Elf::read(program.clone().into()).unwrap();
    let start = elf.bytes().as_ptr() as usize;
    let place = |name: &[u8]| {
        let section = elf.sections().into_iter().find(|section| section.name == name).unwrap();
        section.bytes.unwrap().as_ptr() as usize - start
    };
    for (name, expected) in [
        (&b".rodata"[..], ".rodata"),
        (b".text", ".text"),
        (b".note.gnu.build-id", "build ID"),
    ] {
        let mut other = program.clone();
        // Behind the header of a note, too.
        other[place(name) + 20] ^= 1;
        let (one, another) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let a = image(one.path(), &[&[file("bin/true", &program)]]);
        let b = image(another.path(), &[&[file("bin/true", &other)]]);
        let comparison = compared(&a, &b, false);
        let parts = &comparison.files[0].differences[0].parts;
        let names: Vec<&str> = parts.iter().map(|part| part.part.as_str()).collect();
        assert_eq!(names, [expected]);
    }
}

fn tree() -> impl Strategy<Value = Vec<Item>> {
    let path = "[ab](/[ab]){0,2}";
    let item = (path, 0_u8..5, "[xy]{0,2}", 0_u32..2, 0_u64..2);
    proptest::collection::vec(item, 0..8).prop_map(|items| {
        let mut seen = std::collections::BTreeMap::new();
        for (path, kind, content, mode, mtime_seconds) in items {
            // Nothing is in what is no directory.
            let is_taken = seen.keys().any(|other: &String| {
                other.starts_with(&format!("{path}/")) || path.starts_with(&format!("{other}/")) || *other == path
            });
            let item = match kind {
                0 => directory(&path),
                1 => link(&path, &format!("../{content}")),
                2 => of_kind(&path, EntryKind::Fifo),
                _ => file(&path, content),
            };
            let item = changed(item, |entry| {
                entry.mode = 0o600 + mode;
                entry.mtime_seconds = mtime_seconds;
            });
            if !is_taken {
                seen.insert(path, item);
            }
        }
        seen.into_values().collect()
    })
}

proptest! {
    #[test]
    fn a_tree_is_the_same_as_itself_and_two_differ_both_ways(a in tree(), b in tree()) {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // In two files, so that nothing is the same only because it is in the same place.
        let again = tempfile::tempdir().unwrap();
        let own = [directory("own")];
        let (first, second) = (image(one.path(), &[&a, &own]), image(other.path(), &[&b, &own]));
        prop_assert!(compared(&first, &first, false).same);
        prop_assert!(compared(&first, &image(again.path(), &[&own, &a]), false).same);
        let (there, back) = (compared(&first, &second, false), compared(&second, &first, false));
        let turned: Vec<FileDifference> = back.files.into_iter().map(|mut file| {
            for difference in &mut file.differences {
                std::mem::swap(&mut difference.a, &mut difference.b);
            }
            file
        }).collect();
        prop_assert_eq!(there.files, turned);
        prop_assert_eq!(there.same, a.is_empty() && b.is_empty() || back.same);
    }
}
