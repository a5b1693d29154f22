//! `lockstep image diff` from outside: images of the real engine, what it saves of them, layouts and roots.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
#[expect(dead_code, reason = "not every form of a root is needed here")]
mod roots;

use std::io::Write as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use common::{Ground, TestResult, bytes_stream, image_archive, on_engine};
use lockstep::engine::Engine as _;
use roots::{Tree, oci_layout};
use serde_json::Value;

/// No engine answers there.
const NOWHERE: &str = "unix:///nonexistent/engine.sock";
const PATIENCE: Duration = Duration::from_secs(60);

fn command(directory: &Path, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::cargo_bin("lockstep").unwrap();
    command
        .current_dir(directory)
        .env("XDG_CACHE_HOME", directory.join("cache"))
        .args(["image", "diff"])
        .args(arguments)
        .timeout(PATIENCE);
    command
}

/// Where no engine is.
fn alone(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    said(
        &command(directory, arguments)
            .env("DOCKER_HOST", NOWHERE)
            .output()
            .unwrap(),
    )
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        format!("{}{}", text(&output.stdout), text(&output.stderr)),
    )
}

fn tree() -> Tree {
    Tree::default()
        .directory("etc")
        .file("etc/note", "one\n")
        .file("etc/other", "other\n")
        .link("etc/link", "note")
        .name("etc/same", "etc/note")
}

#[test]
fn every_form_of_one_tree_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let tar = tree().tar();
    std::fs::write(at("root.tar"), &tar).unwrap();
    std::fs::write(at("root.tar.zst"), roots::zstd(&tar)).unwrap();
    std::fs::write(at("root.tar.gz"), roots::gzip(&tar)).unwrap();
    for (name, layer) in [
        ("plain", tar.clone()),
        ("zstd", roots::zstd(&tar)),
        ("gzip", roots::gzip(&tar)),
    ] {
        let layout = oci_layout(&[layer]);
        for (path, content) in &layout {
            let path = at(name).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        std::fs::write(at(&format!("{name}.tar")), roots::tar_of(&layout)).unwrap();
    }
    std::fs::write(at("saved.tar"), roots::tar_of(&roots::docker_archive(&[tar]))).unwrap();
    for other in [
        "root.tar.zst",
        "root.tar.gz",
        "plain",
        "plain.tar",
        "zstd",
        "zstd.tar",
        "gzip",
        "gzip.tar",
        "saved.tar",
    ] {
        let (code, told) = alone(directory.path(), &["root.tar", other]);
        assert_eq!(code, Some(0), "{other}: {told}");
        assert!(told.contains(" the same: 5 paths"), "{other}: {told}");
    }
    let (code, told) = alone(directory.path(), &["--quiet", "root.tar", "plain"]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
}

#[test]
fn what_differs_is_told_for_people_and_for_scripts() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("a.tar"), tree().tar()).unwrap();
    let other = Tree::default()
        .directory("etc")
        .file("etc/note", "two\n")
        .file_of_mode("etc/other", "other\n", 0o600)
        .link("etc/link", "other")
        .directory("srv")
        .file("srv/1", "1")
        .file("srv/2", "2");
    std::fs::write(at("b.tar"), other.tar()).unwrap();
    let (code, told) = alone(directory.path(), &["a.tar", "b.tar"]);
    assert_eq!(code, Some(1), "{told}");
    for line in [
        " A a.tar",
        " B b.tar",
        "files     /etc/link  target note -> other",
        "/etc/note  content from byte 0 of 4 bytes",
        "/etc/other  mode 0644 -> 0600",
        "/etc/same  file, 4 bytes only in A",
        "/srv  directory only in B, and 2 below",
        " different: 7 files of 8 paths",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let (code, told) = alone(directory.path(), &["--format", "json", "a.tar", "b.tar"]);
    let json: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["same"], false);
    assert_eq!(json["files"][0]["path"], "/etc/link");
    let expected = serde_json::json!([{"what": "target", "a": "note", "b": "other"}]);
    assert_eq!(json["files"][0]["differences"], expected);
    assert_eq!(json["files"].as_array().unwrap().len(), 7);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("root.tar"), tree().tar()).unwrap();
    std::fs::write(at("text"), "text").unwrap();
    std::fs::write(at("cut.zst"), &roots::zstd(&tree().tar())[..60]).unwrap();
    for (other, code, words) in [
        ("./nothing", 2, "failed to read ./nothing"),
        ("text", 2, "text is no directory, no tar and no saved image"),
        ("cut.zst", 2, "cut.zst is no directory, no tar and no saved image"),
        ("alpine:3.22", 3, "no engine to ask for an image of this name"),
    ] {
        let (found, told) = alone(directory.path(), &["root.tar", other]);
        assert_eq!(found, Some(code), "{told}");
        assert!(told.contains(words), "{told}");
    }
    let (code, told) = alone(directory.path(), &["root.tar"]);
    assert_eq!(code, Some(2), "{told}");
}

async fn of_the_engine(ground: Ground) -> TestResult {
    let directory = tempfile::tempdir()?;
    let tag = |name: &str| format!("lockstep-test/{}:{name}", ground.id);
    for (name, content) in [("a", "one"), ("b", "two")] {
        let files: [(&str, u32, &[u8]); 2] = [("etc/", 0o755, b""), ("etc/note", 0o644, content.as_bytes())];
        let (archive, _) = image_archive(&files, &ground.labels, &[&tag(name)])?;
        let path = directory.path().join(format!("{name}.tar"));
        std::fs::File::create(path)?.write_all(&archive)?;
        ground.engine.load_images(bytes_stream(archive)).await?;
    }
    let diff = |one: &str, other: &str| said(&command(directory.path(), &[one, other]).output().unwrap());
    let (a, b) = (tag("a"), tag("b"));
    for (one, other) in [(a.as_str(), a.as_str()), (&a, "a.tar"), ("b.tar", &b)] {
        let (code, told) = diff(one, other);
        assert_eq!(code, Some(0), "{one} {other}: {told}");
    }
    let (code, told) = diff(&a, &b);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("/etc/note  content from byte 0 of 3 bytes"), "{told}");
    let (code, told) = diff(&a, &tag("none"));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("the engine has no such image"), "{told}");
    // Nothing of what was read stays on the disk.
    let left = walk(&directory.path().join("cache"));
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

/// All files below a directory.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let below = |path: std::path::PathBuf| if path.is_dir() { walk(&path) } else { vec![path] };
    paths.flat_map(below).collect()
}

#[test]
fn images_of_the_engine_are_compared_with_what_it_saves() {
    on_engine(of_the_engine);
}
