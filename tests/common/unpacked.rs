//! Programs of the distribution, unpacked and not installed: no daemon starts, and the machine stays as it is.

#![allow(clippy::unwrap_used, reason = "a program that is not to be had fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Held by whoever fetches one.
static FETCHING: Mutex<()> = Mutex::new(());

/// The root of a package with what it needs and this machine lacks; fetched once.
pub(crate) fn unpacked(package: &str) -> PathBuf {
    let _fetching = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    let root = tools.join(package);
    if root.exists() {
        return root;
    }
    fs::create_dir_all(&tools).unwrap();
    let work = tempfile::tempdir_in(&tools).unwrap();
    fs::create_dir_all(work.path().join("archives/partial")).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).current_dir(work.path()).output();
        done.map(|done| {
            (
                done.status.success(),
                String::from_utf8_lossy(&done.stderr).into_owned(),
            )
        })
        .unwrap()
    };
    let archives = format!("Dir::Cache::Archives={}/archives", work.path().display());
    let download = ["-qq", "-y", "--no-install-recommends", "--download-only", "--reinstall"];
    let options = ["-o", &archives, "-o", "Debug::NoLocking=1", "install", package];
    let download = [&download[..], &options].concat();
    // Its lists may never have been fetched.
    if !run("apt-get", &download).0 {
        run("apt-get", &["-qq", "update"]);
        let (is_done, said) = run("apt-get", &download);
        assert!(is_done, "{package}: {said}");
    }
    for archive in fs::read_dir(work.path().join("archives")).unwrap() {
        let archive = archive.unwrap().path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            let (is_done, said) = run("dpkg-deb", &["--extract", &archive.to_string_lossy(), "unpacked"]);
            assert!(is_done, "{package}: {said}");
        }
    }
    fs::rename(work.path().join("unpacked"), &root).unwrap();
    root
}

/// A program of a package, which finds the libraries that were unpacked with it.
pub(crate) fn unpacked_program(package: &str, path: &str) -> Command {
    let root = unpacked(package);
    let libraries = ["usr/lib", "lib"].map(|directory| {
        let directory = root
            .join(directory)
            .join(format!("{}-linux-gnu", std::env::consts::ARCH));
        directory.display().to_string()
    });
    let mut command = Command::new(root.join(path));
    command.env("LD_LIBRARY_PATH", libraries.join(":"));
    command
}
