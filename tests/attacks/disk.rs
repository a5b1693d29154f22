//! Disks that are full, directories that may not be written, what a kill left, and bundles that were changed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use crate::sample::{Sample, with_sample};
use crate::table::{Row, tries};
use crate::watched::{Watched, lockstep, watch};

const GROUP: &str = "disk";

/// Changes a bundle.
type Change = fn(&Path);

/// Runs a script in mounts of its own, which end with it. `$1` is the directory, `$2` the program.
fn in_mounts(directory: &Path, script: &str, cache: Option<&Path>) -> Watched {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-euc", script, "sh"])
        .arg(directory)
        .arg(assert_cmd::cargo::cargo_bin("lockstep"))
        .env_remove("LOCKSTEP_FILE");
    if let Some(cache) = cache {
        command.env("LOCKSTEP_CACHE_DIR", cache);
    }
    watch(command)
}

/// A copy of the project on a disk of this size of which so much is left, then a command in it.
fn on_full_disk(sample: &Sample, left_kib: u64, prepare: &str, command: &str) -> Watched {
    let script = format!(
        "copy=$(mktemp -d); cp -a \"$1\"/. \"$copy\"/; rm -rf \"$copy\"/.lockstep/compiled
        mount -t tmpfs -o size=4m,mode=755 none \"$1\"; cp -a \"$copy\"/. \"$1\"/; rm -rf \"$copy\"; cd \"$1\"; {prepare}
        dd if=/dev/zero of=fill bs=1k count=4096 2>/dev/null || :
        dd if=/dev/null of=fill bs=1k seek=$(($(stat -c %s fill) / 1024 - {left_kib})) 2>/dev/null
        exec \"$2\" {command}"
    );
    in_mounts(sample.path(), &script, None)
}

fn told(row: &mut Row, seen: &Watched, codes: &[i32], words: &[&str], what: &str) {
    row.count(seen.expect(codes, what));
    let said = seen.said();
    for word in words {
        row.check(said.contains(word), || format!("{what}: nothing of `{word}`: {said}"));
    }
}

#[test]
fn a_full_disk_is_the_same_wherever_it_is_met() {
    let mut row = Row::new(GROUP, "the disk of the project is full");
    with_sample("full", |sample| {
        sample.write(".lockstepignore", "fill\n");
        sample.build(0);
        let before = sample.published();
        // The first artifact fits into some of these and the second does not; then the copies, the image, the records.
        for left_kib in [0, 4, 16, 24, 36, 48, 64, 80, 96, 128].into_iter().take(tries(4, 10)) {
            sample.write(
                "good/good.c",
                &format!("long plugin_answer(void) {{ return 42; }}\n/* {left_kib} */\n"),
            );
            let seen = on_full_disk(sample, left_kib, ":", "build");
            // With enough room all goes well: the disk was not full.
            if seen.code == Some(0) {
                break;
            }
            row.check(sample.published() == before, || {
                format!("{left_kib} KiB: something was published")
            });
            told(&mut row, &seen, &[2], &["full"], &format!("build with {left_kib} KiB"));
        }
        for (prepare, command) in [("rm lockstep.yaml", "init"), ("rm lockstep.lock", "lock")] {
            let seen = on_full_disk(sample, 0, prepare, command);
            told(&mut row, &seen, &[2], &["full"], command);
        }
        let seen = in_mounts(sample.path(), "cd \"$1\"; exec \"$2\" plan > /dev/full", None);
        row.count(seen.expect(&[2], "plan to a full disk"));
        sample.write("good/good.c", crate::sample::GOOD);
        sample.build(0);
    });
    row.finish();
}

#[test]
fn what_only_reads_needs_not_write_and_the_rest_says_why() {
    let mut row = Row::new(GROUP, "a project that is read-only, or somebody else's");
    with_sample("readonly", |sample| {
        sample.build(0);
        let read_only = |command: &str| {
            let script = format!(
                "mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"; cd \"$1\"; exec \"$2\" {command}"
            );
            in_mounts(sample.path(), &script, None)
        };
        for command in ["plan", "check", "lock --check", "doctor", "smoke", "build --dry-run"] {
            row.count(read_only(command).expect(&[0], command));
        }
        // Also where no run was here before.
        let state = sample.path().join(".lockstep");
        let aside = sample.path().with_extension("aside");
        fs::rename(&state, &aside).unwrap();
        for command in ["plan", "check", "smoke"] {
            row.count(read_only(command).expect(&[0], &format!("{command} without a state")));
        }
        fs::rename(&aside, &state).unwrap();
        for command in ["build", "lock --update", "matrix", "init --force"] {
            told(&mut row, &read_only(command), &[2], &["read-only"], command);
        }
        told(&mut row, &read_only("clean"), &[2], &["Read-only"], "clean");
        sample.build(0);
        // Somebody else's project, and a cache of somebody else.
        let socket = fs::metadata("/var/run/docker.sock").map_or(0, |socket| socket.gid());
        let program = tempfile::tempdir().unwrap();
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        [program.path(), sample.path()].into_iter().for_each(open);
        fs::copy(
            assert_cmd::cargo::cargo_bin("lockstep"),
            program.path().join("lockstep"),
        )
        .unwrap();
        let as_other = |command: &str| {
            let mut other = Command::new("setpriv");
            other
                .current_dir(sample.path())
                .args(["--reuid", "65534", "--regid", "65534", "--groups", &socket.to_string()])
                .arg(program.path().join("lockstep"))
                .args(command.split(' '))
                .env_remove("LOCKSTEP_FILE")
                .env("LOCKSTEP_CACHE_DIR", sample.path().join("cache"));
            watch(other)
        };
        for command in ["plan", "lock --check"] {
            row.count(as_other(command).expect(&[0], &format!("{command} as another user")));
        }
        for command in ["build", "lock", "init --force"] {
            told(
                &mut row,
                &as_other(command),
                &[2],
                &["permission", "hint"],
                &format!("{command} as another user"),
            );
        }
        fs::set_permissions(sample.path().join("good/good.c"), fs::Permissions::from_mode(0o600)).unwrap();
        told(
            &mut row,
            &as_other("plan"),
            &[2],
            &["good.c"],
            "a source that may not be read",
        );
    });
    row.finish();
}

/// Everything that a kill can leave, planted; and what a process that lives is working on.
#[test]
fn what_the_dead_left_is_swept_and_what_the_living_make_stays() {
    let mut row = Row::new(GROUP, "leftovers of killed runs");
    with_sample("left", |sample| {
        let cache = lockstep_cache();
        let of_this = |name: &str| format!("{name}planted-{}", std::process::id());
        let planted = [
            sample.path().join(".lockstep").join(of_this("staging-")),
            sample.path().join(".lockstep").join(of_this("collect-")),
            sample.path().join(of_this(".lockstep-lock-")),
            sample.path().join(of_this(".lockstep-init-")),
            cache.join(of_this("collect-")),
            cache.join("images/work").join(of_this("work-")),
            cache.join("images/new").join(of_this("new-")),
            cache.join("observed").join(of_this("collect-")),
        ];
        let plant = || {
            for path in &planted {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let name = path.file_name().unwrap().to_string_lossy();
                if name.starts_with(".lockstep") || name.starts_with("new") {
                    fs::write(path, "x").unwrap();
                } else {
                    fs::create_dir_all(path).unwrap();
                    fs::write(path.join("x"), "x").unwrap();
                }
            }
        };
        sample.build(0);
        let living = lockstep::temporary::TemporaryDirectory::new_in(&cache, "collect-").unwrap();
        for command in ["build", "lock", "clean"] {
            plant();
            row.count(watch(lockstep(sample.path(), &[command])).expect(&[0], command));
            for path in &planted {
                row.check(!path.exists(), || format!("{command} left {}", path.display()));
            }
            row.check(living.path().is_dir(), || {
                format!("{command} took what a living process makes")
            });
        }
    });
    row.finish();
}

fn lockstep_cache() -> std::path::PathBuf {
    let set = |name: &str| std::env::var_os(name).map(std::path::PathBuf::from);
    set("LOCKSTEP_CACHE_DIR")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("lockstep")))
        .or_else(|| Some(set("HOME")?.join(".cache/lockstep")))
        .unwrap()
}

#[test]
fn a_bundle_is_compared_with_its_manifest_before_anything_is_said_of_it() {
    let mut row = Row::new(GROUP, "bundles that were changed");
    with_sample("bundle", |sample| {
        sample.build(0);
        let bundle = sample.path().join("dist/glibc");
        let good = sample.path().with_extension("good");
        let copy = |from: &Path, to: &Path| {
            let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
            assert!(status.success());
        };
        copy(&bundle, &good);
        let changes: [(&str, Change); 9] = [
            ("a byte", |bundle| {
                let path = bundle.join("good.so");
                let mut bytes = fs::read(&path).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                fs::write(path, bytes).unwrap();
            }),
            ("a size", |bundle| fs::write(bundle.join("good.so"), "x").unwrap()),
            ("a mode", |bundle| {
                fs::set_permissions(bundle.join("tiny"), fs::Permissions::from_mode(0o644)).unwrap();
            }),
            ("a file more", |bundle| fs::write(bundle.join("more.so"), "").unwrap()),
            ("a file less", |bundle| fs::remove_file(bundle.join("good.so")).unwrap()),
            ("a link", |bundle| {
                fs::rename(bundle.join("good.so"), bundle.join("../good.so")).unwrap();
                std::os::unix::fs::symlink("../good.so", bundle.join("good.so")).unwrap();
            }),
            ("a pipe", |bundle| {
                fs::remove_file(bundle.join("good.so")).unwrap();
                let status = Command::new("mkfifo").arg(bundle.join("good.so")).status().unwrap();
                assert!(status.success());
            }),
            ("no manifest that can be read", |bundle| {
                fs::write(bundle.join("manifest.json"), "[".repeat(100_000)).unwrap()
            }),
            ("another manifest", |bundle| {
                let path = bundle.join("manifest.json");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replacen("\"size_bytes\": ", "\"size_bytes\": 1", 1)).unwrap();
            }),
        ];
        for (what, change) in changes {
            change(&bundle);
            for arguments in [
                &["check"][..],
                &["check", "dist/glibc/tiny", "dist/glibc/good.so"],
                &["smoke"],
            ] {
                let seen = watch(lockstep(sample.path(), arguments));
                // A file that is not there cannot be named.
                let is_gone = what == "a file less" && arguments.len() > 1;
                told(
                    &mut row,
                    &seen,
                    &[1],
                    if is_gone {
                        &[]
                    } else {
                        &["error[bundle]", "lockstep build"]
                    },
                    &format!("{what}, {arguments:?}"),
                );
                row.check(seen.stdout.is_empty(), || {
                    format!("{what}, {arguments:?}: predicted all the same")
                });
            }
            fs::remove_dir_all(sample.path().join("dist")).unwrap();
            fs::create_dir(sample.path().join("dist")).unwrap();
            copy(&good, &bundle);
        }
        row.count(watch(lockstep(sample.path(), &["check"])).expect(&[0], "the bundle as it was"));
        fs::remove_dir_all(&good).unwrap();
    });
    row.finish();
}
