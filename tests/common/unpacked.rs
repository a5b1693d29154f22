//! Programs of the distribution, unpacked and not installed: a daemon's package would leave one behind, and others are of no use
//! to who only builds.

#![allow(clippy::unwrap_used, reason = "a program that cannot be had fails the test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Held by whoever fetches one.
static FETCHING: Mutex<()> = Mutex::new(());

/// The directory in which these packages of the distribution are, one over the other, called after the first; fetched once.
pub(crate) fn unpacked(packages: &[&str]) -> PathBuf {
    let _fetching = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    let directory = tools.join(packages[0]);
    if directory.exists() {
        return directory;
    }
    std::fs::create_dir_all(&tools).unwrap();
    let work = tempfile::tempdir_in(&tools).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(work.path());
        let done = command.output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.success(), format!("{command:?}: {told}"))
    };
    let must = |program: &str, arguments: &[&str]| {
        let (is_done, told) = run(program, arguments);
        assert!(is_done, "{told}");
    };
    let download = [&["-qq", "download"], packages].concat();
    // Its lists may never have been fetched.
    if !run("apt-get", &download).0 {
        must("apt-get", &["-qq", "update"]);
        must("apt-get", &download);
    }
    for entry in std::fs::read_dir(work.path()).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_string_lossy().ends_with(".deb") {
            must("dpkg-deb", &["--extract", &name.to_string_lossy(), "unpacked"]);
        }
    }
    std::fs::rename(work.path().join("unpacked"), &directory).unwrap();
    directory
}
