//! Hosts that are brought, as a file of the project or of another image, on the engine: they are shipped, predicted, opened, started and locked as the host's
//! own files are, and what can be no host is refused before anything is made.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use sample::{Sample, docker, docker_says, with_sample};

/// Where `e_machine` is in an ELF file, and AArch64's number (elf.h).
const MACHINE_OFFSET: usize = 18;
const AARCH64: u8 = 183;

/// Compiles the sample's host on this machine: what somebody has released.
fn release(sample: &Sample, to: &str, options: &[&str]) {
    let to = sample.path().join(to);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let mut cc = Command::new("cc");
    let cc = cc
        .args(options)
        .arg("-o")
        .arg(to)
        .arg(sample.path().join("host/main.c"));
    assert!(cc.status().unwrap().success(), "this test needs a C compiler");
}

/// Writes the sample's project with this host.
fn configure(sample: &Sample, host: &str, opened_by: &str) {
    sample.configure(&["good"], "");
    let text = sample.read("lockstep.yaml").unwrap();
    let text = text
        .replace(
            "host: {language: c, source: host, artifacts: [tiny]}",
            &format!("host: {host}"),
        )
        .replace("abi: c,", &format!("abi: c, {opened_by}"));
    sample.write("lockstep.yaml", &text);
}

/// An image that has nothing but programs, as an author of plugins may have it from somebody else; removed in the end.
struct HostImage {
    reference: String,
}

impl HostImage {
    /// The files of `root` as an image; one that has the name loses it.
    fn of(sample: &Sample, root: &str) -> Self {
        let reference = format!("lockstep-tests/{}-host:1", sample.name);
        let archive = sample.path().join("host-image.tar");
        let mut tar = Command::new("tar");
        let tar = tar
            .arg("-C")
            .arg(sample.path().join(root))
            .arg("-cf")
            .arg(&archive)
            .arg(".");
        assert!(tar.status().unwrap().success());
        docker(&["import", archive.to_str().unwrap(), &reference]);
        std::fs::remove_file(archive).unwrap();
        Self { reference }
    }
}

impl Drop for HostImage {
    fn drop(&mut self) {
        docker_says(&["image", "rm", "--force", &self.reference]);
    }
}

fn all_of(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|text| String::from_utf8_lossy(text)).concat()
}

fn docker_run(sample: &Sample) -> String {
    let image = format!("lockstep/{}:glibc", sample.name);
    let output = Command::new("docker").args(["run", "--rm", &image]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_file_of_the_project_is_a_host_like_any_other() {
    with_sample("brought", |sample| {
        release(sample, "vendor/Tiny-1.0", &[]);
        std::fs::set_permissions(sample.path().join("vendor/Tiny-1.0"), Permissions::from_mode(0o644)).unwrap();
        configure(sample, "{name: tiny, file: vendor/Tiny-1.0}", "opened_by: host, ");
        let told = sample.build(0);
        assert!(told.contains("1 loaded · host answered as expected"), "{told}");
        assert!(told.contains("2 files"), "{told}");
        let shipped = sample.path().join("dist/glibc/tiny");
        assert_eq!(shipped.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(
            std::fs::read(&shipped).unwrap(),
            std::fs::read(sample.path().join("vendor/Tiny-1.0")).unwrap()
        );
        let manifest: serde_json::Value =
            serde_json::from_str(&sample.read("dist/glibc/manifest.json").unwrap()).unwrap();
        let host = &manifest["host"];
        assert_eq!(host["path"], "vendor/Tiny-1.0");
        assert_eq!(host["file"]["name"], "tiny");
        assert_eq!(host["file"]["digest"], host["digest"]);
        let digest = host["digest"].as_str().unwrap();
        assert!(sample.read("lockstep.lock").unwrap().contains(digest), "{digest}");
        assert_eq!(docker_run(sample), "answer 42\n");
        assert!(sample.build(0).contains("nothing changed"));
        for (command, words) in [
            (&["check"][..], "1 plugin will load"),
            (&["smoke"], "1 loaded"),
            (&["matrix"], "loaded"),
            (&["lock", "--check"], ""),
            (&["plan"], "vendor/Tiny-1.0"),
            (&["build", "--locked"], "nothing changed"),
        ] {
            let output = sample.run(command);
            let told = all_of(&output);
            assert_eq!(output.status.code(), Some(0), "{command:?}: {told}");
            assert!(told.contains(words), "{command:?}: {told}");
        }
        // Another release of it is another host: nobody takes it unseen, and a build writes it into the lock.
        release(sample, "vendor/Tiny-1.0", &["-O2", "-DOTHER"]);
        let before = sample.published();
        for command in [&["build", "--locked"][..], &["lock", "--check"]] {
            let output = sample.run(command);
            let told = all_of(&output);
            assert_eq!(output.status.code(), Some(6), "{command:?}: {told}");
            assert!(told.contains("host digest"), "{command:?}: {told}");
        }
        assert_eq!(sample.published(), before);
        sample.build(0);
        assert!(!sample.read("lockstep.lock").unwrap().contains(digest));
        assert_eq!(docker_run(sample), "answer 42\n");
    });
}

#[test]
fn a_program_of_an_image_is_a_host_like_any_other() {
    with_sample("brought-image", |sample| {
        release(sample, "vendor/usr/lib/tiny/tiny-1.0", &[]);
        std::fs::create_dir_all(sample.path().join("vendor/usr/bin")).unwrap();
        std::os::unix::fs::symlink("../lib/tiny/tiny-1.0", sample.path().join("vendor/usr/bin/tiny")).unwrap();
        sample.write("vendor/usr/bin/script", "#!/usr/bin/tiny\n");
        let image = HostImage::of(sample, "vendor");
        let host = |path: &str| format!("{{image: \"{}\", path: {path}}}", image.reference);
        for (path, words) in [
            ("/usr/sbin/tiny", "did you mean `/usr/bin/tiny`? It is there"),
            (
                "/usr/bin/server",
                "correct `path:` of the host, or name the image that has it",
            ),
            ("/usr/bin/script", "is a script"),
            ("/usr/bin", "is a directory"),
        ] {
            configure(sample, &host(path), "opened_by: host, ");
            let told = sample.build(2);
            let of_image = format!("the image `{}`", image.reference);
            assert!(told.contains(words) && told.contains(&of_image), "{path}: {told}");
            assert_eq!(sample.read("lockstep.lock"), None, "{path}: nothing is locked");
        }
        configure(sample, &host("/usr/bin/tiny"), "opened_by: host, ");
        let planned = all_of(&sample.run(&["plan"]));
        assert!(
            planned.contains(&format!("/usr/bin/tiny  of image {} -> tiny", image.reference)),
            "{planned}"
        );
        let told = sample.build(0);
        assert!(told.contains("1 loaded · host answered as expected"), "{told}");
        assert_eq!(
            std::fs::read(sample.path().join("dist/glibc/tiny")).unwrap(),
            std::fs::read(sample.path().join("vendor/usr/lib/tiny/tiny-1.0")).unwrap()
        );
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", &image.reference]);
        let manifest: serde_json::Value =
            serde_json::from_str(&sample.read("dist/glibc/manifest.json").unwrap()).unwrap();
        assert_eq!(manifest["host"]["image"], id.trim());
        assert_eq!(manifest["host"]["file"]["digest"], manifest["host"]["digest"]);
        let lock = sample.read("lockstep.lock").unwrap();
        assert!(lock.contains(id.trim()) && lock.contains(manifest["host"]["digest"].as_str().unwrap()));
        assert_eq!(docker_run(sample), "answer 42\n");
        assert!(sample.build(0).contains("nothing changed"));
        for command in [
            &["check"][..],
            &["smoke"],
            &["lock", "--check"],
            &["lock"],
            &["build", "--locked"],
        ] {
            let output = sample.run(command);
            assert_eq!(output.status.code(), Some(0), "{command:?}: {}", all_of(&output));
            assert_eq!(sample.read("lockstep.lock").as_ref(), Some(&lock), "{command:?}");
        }
        // What the lock says cannot be changed by hand.
        let digest = manifest["host"]["digest"].as_str().unwrap();
        sample.write(
            "lockstep.lock",
            &lock.replace(digest, &format!("sha256:{}", "0".repeat(64))),
        );
        assert_eq!(sample.run(&["build", "--locked"]).status.code(), Some(6));
        sample.write("lockstep.lock", &lock);
        // Another image of that name is taken when somebody says so, and not before.
        release(sample, "vendor/usr/lib/tiny/tiny-1.0", &["-O2", "-DOTHER"]);
        let _another = HostImage::of(sample, "vendor");
        docker_says(&["image", "rm", "--force", id.trim()]);
        sample.write("good/good.c", &sample.read("good/good.c").unwrap().replace("42", "43"));
        let text = sample.read("lockstep.yaml").unwrap().replace("answer 42", "answer 43");
        sample.write("lockstep.yaml", &text);
        sample.build(0);
        assert!(sample.read("lockstep.lock").unwrap().contains(id.trim()));
        std::fs::remove_dir_all(sample.path().join(".lockstep/hosts")).unwrap();
        std::fs::remove_dir_all(sample.path().join(".lockstep/environments")).unwrap();
        let told = sample.build(6);
        assert!(told.contains("~ host image: "), "{told}");
        std::fs::remove_file(sample.path().join("lockstep.lock")).unwrap();
        sample.build(0);
        assert!(!sample.read("lockstep.lock").unwrap().contains(id.trim()));
        assert_eq!(docker_run(sample), "answer 43\n");
    });
}

#[test]
fn a_host_of_an_image_that_nobody_has_is_told_with_its_name() {
    with_sample("brought-absent", |sample| {
        configure(sample, "{image: \"lockstep-tests/nothing:1\", path: /usr/bin/tiny}", "");
        let told = sample.build(3);
        assert!(
            told.contains("the engine has no image `lockstep-tests/nothing:1`"),
            "{told}"
        );
        assert_eq!(sample.read("lockstep.lock"), None);
    });
}

#[test]
fn a_host_without_an_interpreter_is_one_where_it_need_not_open_plugins() {
    with_sample("brought-static", |sample| {
        release(sample, "tiny", &["-static"]);
        configure(sample, "{file: tiny}", "opened_by: loader, ");
        let text = sample.read("lockstep.yaml").unwrap();
        let at = text.find("smoke:\n").unwrap();
        sample.write("lockstep.yaml", &text[..at]);
        sample.build_unchecked(0);
        assert!(sample.path().join("dist/glibc/tiny").is_file());
    });
}

#[test]
fn what_can_be_no_host_is_refused_with_its_place() {
    with_sample("brought-broken", |sample| {
        release(sample, "tiny", &[]);
        release(sample, "static", &["-static"]);
        release(sample, "shared.so", &["-shared", "-fPIC"]);
        let mut foreign = std::fs::read(sample.path().join("tiny")).unwrap();
        foreign[MACHINE_OFFSET] = AARCH64;
        std::fs::write(sample.path().join("foreign"), foreign).unwrap();
        sample.write("script", "#!/usr/bin/env python3\n");
        sample.write("text", "hello\n");
        std::os::unix::fs::symlink("tiny", sample.path().join("link")).unwrap();
        let at_file = "lockstep.yaml:5:26";
        let cases: [(&str, &str, &[&str]); 15] = [
            (
                "{name: tiny, file: static}",
                at_file,
                &["is linked statically", "hint: name the program"],
            ),
            (
                "{name: tiny, file: shared.so}",
                at_file,
                &["is a shared object without an interpreter"],
            ),
            ("{name: tiny, file: foreign}", at_file, &["is for aarch64"]),
            (
                "{name: tiny, file: script}",
                at_file,
                &[
                    "is a script",
                    "hint: name the program that loads plugins: `/usr/bin/env`",
                ],
            ),
            ("{name: tiny, file: text}", at_file, &["is no ELF file"]),
            (
                "{name: tiny, file: link}",
                at_file,
                &["failed to read `link`", "no link"],
            ),
            (
                "{name: tiny, file: tinyy}",
                at_file,
                &["`tinyy` does not exist", "did you mean `tiny`?"],
            ),
            ("{name: tiny, file: host}", at_file, &["`host` is a directory"]),
            (
                "{image: \"no image\", path: /usr/bin/tiny}",
                "lockstep.yaml:5:15",
                &["`no image` is no reference of an image", "docker pull"],
            ),
            (
                "{image: tiny:1, path: usr/bin/tiny}",
                "lockstep.yaml:5:29",
                &["`usr/bin/tiny` is no absolute path"],
            ),
            (
                "{image: tiny:1}",
                "lockstep.yaml:5:1",
                &["the key `path` is missing", "/usr/sbin/nginx"],
            ),
            (
                "{image: tiny:1, from: runtime, path: /usr/bin/tiny}",
                "lockstep.yaml:5:",
                &["`from` and `image` exclude each other"],
            ),
            (
                "{image: tiny:1, file: tiny}",
                "lockstep.yaml:5:",
                &["`image` and `file` exclude each other"],
            ),
            (
                "{file: tiny, from: runtime}",
                "lockstep.yaml:5:",
                &["`from` and `file` exclude each other"],
            ),
            (
                "{file: tiny, path: /usr/bin/tiny}",
                "lockstep.yaml:5:",
                &["`path` says nothing beside `file`"],
            ),
        ];
        for (host, place, words) in cases {
            configure(sample, host, "opened_by: host, ");
            let told = sample.build(2);
            for word in words.iter().chain([&place]) {
                assert!(told.contains(word), "{host}: `{word}` is not in {told}");
            }
            assert!(!sample.path().join("dist").exists(), "{host}: nothing is published");
            assert_eq!(sample.read("lockstep.lock"), None, "{host}: nothing is locked");
        }
        // What only loading can tell: a plugin that wants of its host what that does not have.
        sample.write(
            "good/good.c",
            "int of_host(void);\nlong plugin_answer(void) { return of_host(); }\n",
        );
        configure(sample, "{file: tiny}", "opened_by: host, ");
        let told = sample.build(1);
        assert!(told.contains("of_host"), "{told}");
        assert!(!sample.path().join("dist/glibc").exists(), "nothing is published");
    });
}
