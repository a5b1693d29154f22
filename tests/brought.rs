//! Hosts that the project brings as a file, on the engine: they are shipped, predicted, opened, started and locked as the host's
//! own files are, and what can be no host is refused before anything is made.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use sample::{Sample, with_sample};

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
            let told = [output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat();
            assert_eq!(output.status.code(), Some(0), "{command:?}: {told}");
            assert!(told.contains(words), "{command:?}: {told}");
        }
        // Another release of it is another host: nobody takes it unseen, and a build writes it into the lock.
        release(sample, "vendor/Tiny-1.0", &["-O2", "-DOTHER"]);
        let before = sample.published();
        for command in [&["build", "--locked"][..], &["lock", "--check"]] {
            let output = sample.run(command);
            let told = [output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat();
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
        let cases: [(&str, &str, &[&str]); 10] = [
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
