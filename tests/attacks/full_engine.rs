//! A second engine on a disk of its own that is nearly full. It takes root, a loop device and half a minute for its images,
//! so this is for `make attacks` alone.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::sample::{GOOD, PATIENCE, Sample, said, wait, with_sample};
use crate::second_engine::SecondEngine;
use crate::table::{Row, tries};

/// Large enough for the build image and little more.
const DISK_BYTES: u64 = 3 << 30;

struct SmallEngine {
    /// Ends before its disk is taken away.
    engine: Option<SecondEngine>,
    directory: tempfile::TempDir,
}

fn sh(script: &str) -> String {
    let child = Command::new("sh")
        .args(["-euc", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = wait(child, PATIENCE);
    assert!(output.status.success(), "{script}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl SmallEngine {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        sh(&format!(
            "cd {at}; truncate -s {DISK_BYTES} image; mkfs.ext4 -q -m 0 image; mkdir disk; mount -o loop image disk"
        ));
        let engine = SecondEngine::start(&directory.path().join("disk/data"), None);
        Self {
            engine: Some(engine.unwrap_or_else(|log| panic!("the second engine does not start: {log}"))),
            directory,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn address(&self) -> String {
        self.engine.as_ref().unwrap().address()
    }

    /// Leaves this much room.
    fn fill_but(&self, kibibytes: u64) {
        let disk = self.path().join("disk").display().to_string();
        let free = |()| -> u64 {
            sh(&format!(
                "rm -f {disk}/fill; sync; df -k --output=avail {disk} | tail -1"
            ))
            .parse()
            .unwrap()
        };
        let fill = free(()) - kibibytes;
        // What the file system needs for itself may be the last of it.
        sh(&format!("head -c {fill}K /dev/zero > {disk}/fill || true"));
    }

    fn empty(&self) {
        sh(&format!("rm -f {}/disk/fill", self.path().display()));
    }

    fn build(&self, sample: &Sample) -> (Option<i32>, String) {
        let child = sample
            .command(&["build"])
            .env("DOCKER_HOST", self.address())
            .spawn()
            .unwrap();
        let output = wait(child, PATIENCE);
        (output.status.code(), said(&output))
    }
}

impl Drop for SmallEngine {
    fn drop(&mut self) {
        self.engine = None;
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path().join("disk"))
            .status();
    }
}

#[test]
fn a_full_disk_of_the_engine_is_named_as_that() {
    if tries(0, 1) == 0 {
        return;
    }
    with_sample("full", |sample| {
        sample.build(0);
        let engine = SmallEngine::start();
        let lock = lockstep::lock::read(&sample.path().join("lockstep.lock"))
            .unwrap()
            .unwrap();
        let environment = lock.environments.values().next().unwrap();
        for image in [&environment.build.id, &environment.runtime.id] {
            sh(&format!(
                "docker save {image} | docker --host {} load",
                engine.address()
            ));
        }
        let (code, told) = engine.build(sample);
        assert_eq!(code, Some(0), "{told}");
        let mut row = Row::new("ends", "a full disk of the engine");
        for kibibytes in [0, 50, 300, 700, 1500, 3000, 9000, 16_000] {
            engine.fill_but(kibibytes);
            sample.write(
                "good/good.c",
                &format!("long plugin_answer(void) {{ return 42; }}\nint full{kibibytes};\n"),
            );
            let (code, told) = engine.build(sample);
            let is_named = told.contains("the engine's disk is full") && told.contains("docker system df");
            row.check(matches!(code, Some(3 | 4)) && is_named, || {
                format!("{kibibytes} KiB left: {code:?}: {told}")
            });
        }
        // A compile meets it.
        engine.fill_but(40_000);
        sample.write(
            "good/good.c",
            "int big[100 << 20 >> 2] = {1};\nlong plugin_answer(void) { return big[0]; }\n",
        );
        let (code, told) = engine.build(sample);
        row.check(code == Some(4) && told.contains("the engine's disk is full"), || {
            format!("a compile: {code:?}: {told}")
        });
        row.finish();
        engine.empty();
        sample.write("good/good.c", GOOD);
        let (code, told) = engine.build(sample);
        assert_eq!(code, Some(0), "{told}");
    });
}
