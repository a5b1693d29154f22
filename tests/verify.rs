//! `lockstep verify` of what is reproducible, and against what somebody published. What is not reproducible is in
//! `nondeterminism.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod sample;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::second_engine::SecondEngine;
use common::unpacked::unpacked;
use sample::{GOOD, PATIENCE, Sample, docker, said, with_sample};

/// Runs `verify`; what it says on standard output.
fn verify(sample: &Sample, arguments: &[&str], expected: i32) -> String {
    let output = sample.run(&[&["verify"], arguments].concat());
    assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output)
}

#[test]
fn what_is_reproducible_is_equal_to_the_lock_and_to_what_was_published() {
    with_sample("verify", |sample| {
        let told = verify(sample, &[], 6);
        assert!(told.contains("error[lock-out-of-date]"), "{told}");
        sample.build(0);
        let before = sample.published();
        let started = Instant::now();
        let told = verify(sample, &[], 0);
        assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
        for line in [
            "   tiny  equal  tiny\n",
            "   good  equal  good.so\n",
            " 100 % equal: 2 units\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let image = format!("lockstep/{}:glibc", sample.name);
        for published in ["dist/glibc", &format!("lockstep-{}-glibc", sample.name), &image] {
            let told = verify(sample, &["--against", published], 0);
            assert!(told.contains(&format!("against {published}:")), "{told}");
        }
        assert_eq!(sample.published(), before);
        let (bundle, other) = (sample.path().join("dist/glibc"), sample.path().join("other"));
        std::fs::create_dir(&other).unwrap();
        for entry in std::fs::read_dir(bundle).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
        }
        std::fs::write(other.join("good.so"), "another").unwrap();
        let told = verify(sample, &["--against", "other"], 1);
        assert!(
            told.contains("`good.so` in other is not what the manifest there says"),
            "{told}"
        );
        let told = verify(sample, &["--against", "good"], 2);
        assert!(told.contains("error[against]: there is no bundle in good"), "{told}");
        sample.assert_nothing_left(&[sample.volume()]);
    });
}

/// Adds a plugin that has in its bits what this command of a shell prints.
fn add_plugin(sample: &Sample, name: &str, prints: &str) {
    sample.write(
        &format!("{name}/answer.c"),
        &format!("const char {name}_told[] = TOLD;\n{GOOD}"),
    );
    let command = format!("cc -shared -fPIC -DTOLD=\\\"$({prints})\\\" -o \"$LOCKSTEP_OUT/{name}.so\" answer.c");
    let plugin = format!(
        "  - {{name: {name}, language: c, source: {name}, artifacts: [{name}.so], command: '{command}'}}\ncontract:"
    );
    let text = sample.read("lockstep.yaml").unwrap();
    sample.write("lockstep.yaml", &text.replacen("contract:", &plugin, 1));
}

#[test]
fn another_engine_gives_the_same_bits_or_that_is_told() {
    with_sample("verify-engines", |sample| {
        // What storage an image lies on is no matter of its bits.
        add_plugin(sample, "placed", "stat -f -c %t /");
        sample.build(0);
        let told = verify(sample, &[], 0);
        assert!(told.contains(" 100 % equal: 3 units\n"), "{told}");
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let engine = SecondEngine::start(data.path(), Some("overlay2")).unwrap();
        let address = engine.address();
        let told = verify(sample, &["--engine", &address], 6);
        for line in [
            &format!(", and on {address}\n"),
            "   good    equal  good.so\n",
            "   placed  differs  placed.so\n",
            "     the other engine gives other bits\n",
            " not reproducible: 1 of 3 units\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let left = docker(&["--host", &address, "ps", "--all", "--quiet"]);
        let left = left + &docker(&["--host", &address, "volume", "ls", "--quiet"]);
        assert_eq!(left, "", "something is left on the other engine");
        let first = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let told = verify(sample, &["--engine", &first], 2);
        assert!(told.contains("is the engine that compiles already"), "{told}");
        let told = verify(sample, &["--engine", "unix:///nobody/here"], 3);
        assert!(
            told.contains("on the engine at") || told.contains("/nobody/here"),
            "{told}"
        );
        sample.assert_nothing_left(&[sample.volume()]);
    });
}

#[test]
fn images_are_made_again_and_one_that_is_another_is_told_with_what_it_changes() {
    with_sample("verify-images", |sample| {
        sample.build(0);
        let names = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "lockstep/environment"]);
        let base = names.lines().find(|name| name.contains(":debian-build-")).unwrap();
        let own = format!("images/{}", sample.name);
        sample.write(
            &format!("{own}/Dockerfile"),
            // The builder remembers commands by their words.
            &format!(
                "FROM {base}\nUSER 0\nRUN cat /proc/sys/kernel/random/uuid > /etc/chance; : {}\nUSER 1000\n",
                sample.name
            ),
        );
        add_plugin(sample, "chance", "cat /etc/chance");
        let text = sample.read("lockstep.yaml").unwrap();
        let recipe = format!("build: {{dockerfile: {own}/Dockerfile}}");
        sample.write(
            "lockstep.yaml",
            &text.replace("build: {builtin: debian/build}", &recipe),
        );
        std::fs::remove_file(sample.path().join("lockstep.lock")).unwrap();
        sample.build(0);

        let told = verify(sample, &[], 0);
        assert!(
            told.contains("not varied: image, because images are made again with --images"),
            "{told}"
        );
        let told = verify(sample, &["--images"], 6);
        for line in [
            "   build image    differs  ",
            "/etc/chance",
            "   runtime image  equal  made again: ",
            "   good    equal  good.so\n",
            "   chance  differs  chance.so\n",
            "another image gives other bits",
            " not reproducible: 1 of 2 images, 1 of 3 units\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let all = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let own = |name: &&str| name.contains(&format!("images-{}", sample.name)) || name.ends_with("-again");
        let left: Vec<&str> = all.lines().filter(own).collect();
        assert!(
            left.len() == 1 && left[0].starts_with("lockstep/environment:"),
            "{left:?}"
        );
        docker(&["image", "rm", "--force", left[0]]);
        sample.assert_nothing_left(&[sample.volume()]);
    });
}

/// A directory with diffoscope in it, out of its packages.
fn diffoscope() -> PathBuf {
    let root = unpacked("diffoscope-minimal");
    let (programs, machine) = (root.join("wrapped"), std::env::consts::ARCH);
    std::fs::create_dir_all(&programs).unwrap();
    let program = programs.join("diffoscope");
    let root = root.display();
    let text = format!(
        "#!/bin/sh
libraries={root}/usr/lib/{machine}-linux-gnu
export PYTHONPATH={root}/usr/lib/python3/dist-packages LD_LIBRARY_PATH=$libraries
# What the machine has is not unpacked.
if [ -e $libraries/libarchive.so.13 ]; then export LIBARCHIVE=$libraries/libarchive.so.13; fi
if [ -e {root}/usr/lib/file/magic.mgc ]; then export MAGIC={root}/usr/lib/file/magic.mgc; fi
exec python3 {root}/usr/bin/diffoscope \"$@\"
"
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    programs
}

#[test]
fn what_differs_is_drawn_by_diffoscope() {
    with_sample("verify-pages", |sample| {
        add_plugin(sample, "named", "hostname");
        sample.build(0);
        let verify_with = |path: &Path, expected: i32| {
            let mut command = sample.command(&["verify", "--diffoscope", "pages"]);
            let output = command.env("PATH", path).output().unwrap();
            assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
            String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output)
        };
        let told = verify_with(Path::new("/nowhere"), 2);
        assert!(told.contains("error[verify]: diffoscope does not answer"), "{told}");
        let path = format!("{}:{}", diffoscope().display(), std::env::var("PATH").unwrap());
        let told = verify_with(Path::new(&path), 6);
        let page = sample.path().join("pages/001-glibc-named-named.so.html");
        assert!(told.contains(&format!("--> {}", page.display())), "{told}");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page.contains("hex-dump=.rodata") && page.contains("named_told"),
            "{page}"
        );
        sample.assert_nothing_left(&[sample.volume()]);
    });
}
