//! Real hosts of the distribution, and some of a project's own, with modules that are written here: each directory is a whole
//! project, and its `trial.yaml` says what the suite does with it. Each is built, predicted, opened by its host, answers in the
//! smoke test and from its matched image, is changed by a line, and broken: then nothing of it is published.
//!
//! `make test` runs some of them, `make hosts` all (`LOCKSTEP_HOSTS=all`) and prints the table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../sample/mod.rs"]
mod sample;
mod trial;

use trial::Trial;

/// A test for each project; those that are not `few` are tried in `make hosts` alone.
macro_rules! hosts {
    ($($test:ident $directory:literal $often:ident;)*) => {
        $(#[test]
        fn $test() {
            if Often::$often.is_now() {
                Trial::of($directory).run();
            }
        })*

        const DIRECTORIES: &[&str] = &[$($directory),*];
    };
}

hosts! {
    lua "lua" Always;
    nginx "nginx" Hosts;
    apache "apache" Hosts;
    postgresql "postgresql" Hosts;
    php "php" Hosts;
    python "python" Always;
    python_in_rust "python-rust" Hosts;
    valkey "valkey" Hosts;
    sqlite "sqlite" Hosts;
    gcc "gcc" Hosts;
    pam "pam" Hosts;
    nss "nss" Always;
    lv2 "lv2" Hosts;
    exporting_c "exporting" Always;
    cmake "cmake" Hosts;
    meson "meson" Hosts;
    rust_workspace "workspace" Hosts;
    server_of_two_kinds "server" Always;
}

/// When a project is tried.
enum Often {
    /// In every test run.
    Always,
    /// In `make hosts`.
    Hosts,
}

impl Often {
    fn is_now(&self) -> bool {
        matches!(self, Self::Always) || std::env::var_os("LOCKSTEP_HOSTS").is_some_and(|value| value == "all")
    }
}

/// A project without a test would never be built.
#[test]
fn every_project_has_a_test() {
    let directory = trial::directory("");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<String> = entries
        .filter(|entry| entry.path().join("lockstep.yaml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut tested = DIRECTORIES.to_vec();
    tested.sort_unstable();
    assert_eq!(found, tested);
}
