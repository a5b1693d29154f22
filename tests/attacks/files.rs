//! Files that are no files, have no end or change: everywhere the program reads one.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::table::{Row, tries};
use crate::watched::{Watched, lockstep, watch};

const GROUP: &str = "files";

/// A project that is planned without an engine, with something of everything that is read.
fn project() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "version: 1
project: files-{}
environments:
  glibc: {{build: img/build.yaml, runtime: {{builtin: debian/runtime}}}}
  docker: {{build: {{dockerfile: context/Dockerfile, target: nowhere}}, runtime: {{builtin: debian/runtime}}}}
host: {{language: c, source: host, artifacts: [tiny]}}
plugins:
  - {{name: good, language: c, source: good, artifacts: [good.so]}}
  - {{name: rs, language: rust, source: rs, artifacts: [rs.so]}}
  - {{name: go, language: go, source: go, artifacts: [go.so], command: 'true'}}
contract: {{loader: dlopen, abi: c, symbols: [plugin_answer]}}
",
        std::process::id()
    );
    for (path, text) in [
        ("lockstep.yaml", config.as_str()),
        ("host/main.c", "int main(void) { return 0; }\n"),
        ("good/good.c", "long plugin_answer(void) { return 42; }\n"),
        ("good/inner/deep/good.h", "\n"),
        ("rs/Cargo.toml", "[package]\nname = \"rs\"\nversion = \"1.0.0\"\n"),
        ("rs/Cargo.lock", "version = 4\n"),
        ("rs/src/lib.rs", "\n"),
        ("go/go.mod", "module example.com/x\n"),
        ("go/go.sum", "\n"),
        ("go/main.go", "package main\n"),
        (
            "img/build.yaml",
            "bootstrap:\n  distribution: debian\n  suite: trixie\n  variant: extract\n  packages: [dash]\n  files: [{from: text, to: /etc/text}]\n",
        ),
        ("img/text", "text\n"),
        ("context/Dockerfile", "FROM scratch\n"),
        ("context/data", "data\n"),
        ("contract.yaml", "loader: dlopen\n"),
    ] {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// Makes something at a path.
type Make = fn(&Path);

/// What can be at a path in place of a small file.
const KINDS: &[(&str, Make)] = &[
    ("a link to /dev/zero", |path| symlink("/dev/zero", path).unwrap()),
    ("a named pipe", |path| {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    }),
    ("10 GiB of nothing", |path| {
        fs::File::create(path).unwrap().set_len(10 << 30).unwrap();
    }),
    ("a link to /dev/urandom", |path| symlink("/dev/urandom", path).unwrap()),
    ("a link to the kernel's log", |path| {
        symlink("/proc/kmsg", path).unwrap()
    }),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a link to itself", |path| {
        symlink(path.file_name().unwrap(), path).unwrap();
    }),
    ("200,000 brackets", |path| fs::write(path, "[".repeat(200_000)).unwrap()),
    ("200,000 braces", |path| {
        fs::write(path, "{\"a\":".repeat(200_000)).unwrap()
    }),
    ("no UTF-8", |path| fs::write(path, [0xff; 4096]).unwrap()),
];

/// Where a file is read, by which command, and which codes are an answer.
const PLACES: &[(&str, &[&str], &[i32])] = &[
    (".gitignore", &["plan"], &[0, 2]),
    (".lockstepignore", &["plan"], &[0, 2]),
    ("good/.gitignore", &["plan"], &[0, 2]),
    ("good/inner/deep/.lockstepignore", &["plan"], &[0, 2]),
    ("good/good.c", &["plan"], &[0, 2]),
    ("rs/Cargo.lock", &["plan"], &[0, 2]),
    ("rs/Cargo.toml", &["plan"], &[0, 2]),
    ("go/go.mod", &["plan"], &[0, 2]),
    ("go/go.sum", &["plan"], &[0, 2]),
    ("lockstep.yaml", &["plan"], &[2]),
    ("img/build.yaml", &["lock", "glibc-only"], &[2]),
    ("img/text", &["lock", "glibc-only"], &[2]),
    ("context/Dockerfile", &["lock", "docker-only"], &[2, 4]),
    ("context/data", &["lock", "docker-only"], &[2, 4]),
    ("context/.gitignore", &["lock", "docker-only"], &[2, 4]),
    (".gitignore", &["init", "--force"], &[0, 2]),
    ("good/inner/.ignore", &["init", "--force"], &[0, 2]),
    ("rs/Cargo.toml", &["init", "--force"], &[0, 2]),
    ("go/go.mod", &["init", "--force"], &[0, 2]),
    ("good/good.c", &["init", "--force"], &[0, 2]),
    (
        "contract.yaml",
        &["check", "--contract", "contract.yaml", "host/main.c", "good/good.c"],
        &[1, 2],
    ),
    (
        "root",
        &["check", "--rootfs", "root", "host/main.c", "good/good.c"],
        &[1, 2],
    ),
    ("host/main.c", &["check", "host/main.c", "good/good.c"], &[0, 1, 2]),
    ("good/good.c", &["check", "host/main.c", "good/good.c"], &[0, 1, 2]),
    ("good/good.c", &["inspect", "good/good.c"], &[0, 2, 3]),
    ("dist/glibc/manifest.json", &["check"], &[1, 2]),
    (
        "dist/glibc/manifest.json",
        &["check", "dist/glibc/tiny", "dist/glibc/good.so"],
        &[1, 2],
    ),
    (".lockstep/lock", &["clean"], &[0, 2]),
    (".lockstep", &["lock", "docker-only"], &[2, 4]),
    ("dist", &["clean"], &[0, 2]),
];

fn put(project: &Path, path: &str, kind: Make) {
    let path = project.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap();
    } else if fs::symlink_metadata(&path).is_ok() {
        fs::remove_file(&path).unwrap();
    }
    kind(&path);
}

fn run(project: &Path, arguments: &[&str]) -> Watched {
    // One environment of the two, so that the other's recipe is not made.
    let only = match arguments {
        ["lock", "glibc-only"] => Some("glibc"),
        ["lock", "docker-only"] => Some("docker"),
        _ => None,
    };
    match only {
        None => watch(lockstep(project, arguments)),
        Some(environment) => {
            let config = project.join("lockstep.yaml");
            let text = fs::read_to_string(&config).unwrap();
            fs::write(
                &config,
                text.replace("host: {", &format!("default: [{environment}]\nhost: {{")),
            )
            .unwrap();
            watch(lockstep(project, &["lock"]))
        }
    }
}

#[test]
fn what_is_no_file_or_has_no_end_is_answered_at_once_and_in_little_memory() {
    let mut rows: Vec<Row> = KINDS
        .iter()
        .map(|(kind, _)| Row::new(GROUP, format!("{kind} in place of a file")))
        .collect();
    let (mut longest, mut largest) = (0.0_f64, 0);
    for (number, (path, arguments, codes)) in PLACES.iter().enumerate() {
        for (index, (kind, make)) in KINDS.iter().enumerate() {
            // A part of it in a test run, another for each place; the first three kinds have no end.
            if index >= tries(3, KINDS.len()) && (index + number) % 4 != 0 {
                continue;
            }
            let project = project();
            put(project.path(), path, *make);
            let seen = run(project.path(), arguments);
            let is_well = match *kind {
                // A bundle without files is no directory that `lock` may not make.
                "a directory" if *path == ".lockstep" => continue,
                // Made by a build: nothing stands in the way of that.
                "a directory" if *path == "context/data" => continue,
                "200,000 brackets" | "200,000 braces" | "no UTF-8"
                    if path.starts_with("context/") || *path == "img/text" =>
                {
                    continue;
                }
                _ => seen.expect(codes, &format!("{path} as {kind}, {arguments:?}")),
            };
            longest = longest.max(seen.took.as_secs_f64());
            largest = largest.max(seen.peak_kib);
            rows[index].count(is_well);
        }
    }
    println!("the longest took {longest:.1} s, the largest had {largest} KiB");
    rows.into_iter().for_each(Row::finish);
}

/// Version control carries links and names; none of them may be followed for writing or removing.
#[test]
fn nothing_is_written_or_removed_through_what_a_project_brings() {
    let mut row = Row::new(GROUP, "lockstep's own directories and files as links to elsewhere");
    for link in [
        ".lockstep",
        ".lockstep/lock",
        ".lockstep/logs",
        ".lockstep/compiled",
        ".lockstep/environments",
        ".lockstep/fetched",
        ".lockstep/staging-x",
        ".lockstep/collect-x",
        "dist",
        "dist/docker",
    ] {
        for command in [&["lock"][..], &["clean"]] {
            let (project, elsewhere) = (project(), tempfile::tempdir().unwrap());
            let config = project.path().join("lockstep.yaml");
            let text = fs::read_to_string(&config).unwrap();
            fs::write(&config, text.replace("host: {", "default: [docker]\nhost: {")).unwrap();
            fs::write(elsewhere.path().join("precious"), "kept").unwrap();
            fs::create_dir(elsewhere.path().join("docker")).unwrap();
            fs::write(elsewhere.path().join("docker/manifest.json"), "kept").unwrap();
            let target: PathBuf = match link {
                ".lockstep/lock" => elsewhere.path().join("precious"),
                _ => elsewhere.path().to_owned(),
            };
            put(project.path(), link, |_| {});
            symlink(target, project.path().join(link)).unwrap();
            let seen = watch(lockstep(project.path(), command));
            let kept = |path: &str| fs::read(elsewhere.path().join(path)).is_ok_and(|bytes| bytes == b"kept");
            let entries = fs::read_dir(elsewhere.path()).unwrap().count();
            row.check(kept("precious") && kept("docker/manifest.json") && entries == 2, || {
                format!("{link}, {command:?}: {entries} entries; {}", seen.said())
            });
            row.count(seen.expect(&[0, 2, 3, 4], &format!("{link}, {command:?}")));
        }
    }
    row.finish();
}

#[test]
fn deep_long_and_odd_names_are_answered() {
    let mut row = Row::new(GROUP, "deep directories, link loops, odd and long names");
    let attacks: [(&str, Make, &[i32]); 7] = [
        ("10,000 directories in each other", |source| deep(source, 10_000), &[2]),
        ("1,000 directories in each other", |source| deep(source, 1_000), &[0, 2]),
        (
            "a link to the directory above",
            |source| symlink("..", source.join("up")).unwrap(),
            &[0, 2],
        ),
        (
            "two links to each other",
            |source| {
                symlink("b", source.join("a")).unwrap();
                symlink("a", source.join("b")).unwrap();
            },
            &[0, 2],
        ),
        (
            "a name with escapes",
            |source| fs::write(source.join("a\u{1b}[2J\n\rb.c"), "").unwrap(),
            &[0, 2],
        ),
        (
            "a name that is no UTF-8",
            |source| {
                let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"a\xff\x1b[2J.c");
                fs::write(source.join(name), "").unwrap();
            },
            &[2],
        ),
        (
            "100,000 rules",
            |source| {
                fs::write(source.join(".gitignore"), "*a?b[c-d]e**\n".repeat(70_000)).unwrap();
            },
            &[0, 2],
        ),
    ];
    for (what, attack, codes) in attacks {
        for command in [&["plan"][..], &["init", "--force"]] {
            let project = project();
            attack(&project.path().join("good"));
            let seen = watch(lockstep(project.path(), command));
            let codes: &[i32] = if command[0] == "init" { &[0, 2] } else { codes };
            row.count(seen.expect(codes, &format!("{what}, {command:?}")));
            row.check(!seen.said().contains('\u{1b}'), || {
                format!("{what}: an escape was sent")
            });
            remove_deep(project);
        }
    }
    row.finish();
}

/// Makes directories in each other deeper than any path can say.
fn deep(top: &Path, levels: usize) {
    let open = |directory: &rustix::fd::OwnedFd| {
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::PATH;
        rustix::fs::openat(directory, "d", flags, Mode::empty()).unwrap()
    };
    let mut directory: rustix::fd::OwnedFd = fs::File::open(top).unwrap().into();
    for _ in 0..levels {
        rustix::fs::mkdirat(&directory, "d", Mode::from_raw_mode(0o755)).unwrap();
        directory = open(&directory);
    }
}

fn remove_deep(project: TempDir) {
    let path = project.keep();
    let status = std::process::Command::new("rm").arg("-rf").arg(path).status().unwrap();
    assert!(status.success());
}

/// What runs write into while it is read: the log of the run itself.
#[test]
fn a_file_that_grows_while_it_is_read_is_told_as_that() {
    let mut row = Row::new(GROUP, "a source that grows while it is read");
    for _ in 0..tries(2, 10) {
        let project = project();
        let log = project.path().join("good/log");
        // It takes a moment to read, in which something is written for certain.
        fs::File::create(&log).unwrap().set_len(256 << 20).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                use std::io::Write as _;
                let mut file = fs::File::options().append(true).open(&log).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    file.write_all(b"a line\n").unwrap();
                    // As fast as a compiler writes, and not until the disk is full.
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
            });
            let seen = watch(lockstep(project.path(), &["plan"]));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            seen
        });
        row.count(seen.expect(&[2], "good/log"));
        let said = seen.said();
        row.check(
            said.contains("`good/log` changed") && said.contains(".lockstepignore"),
            || said.clone(),
        );
    }
    row.finish();
}

/// Certificates of the engine's connection are files, too.
#[test]
fn certificates_are_small_files() {
    let mut row = Row::new(GROUP, "certificates of the engine without an end");
    for (kind, make) in &KINDS[..tries(3, KINDS.len())] {
        let (project, certificates) = (project(), tempfile::tempdir().unwrap());
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            make(&certificates.path().join(name));
        }
        let mut command = lockstep(project.path(), &["lock"]);
        command
            .env("DOCKER_HOST", "tcp://127.0.0.1:1")
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", certificates.path());
        row.count(watch(command).expect(&[3], kind));
        let mut command = lockstep(project.path(), &["doctor"]);
        let bundle = certificates.path().join("ca.pem");
        command.env("SSL_CERT_FILE", bundle);
        row.count(watch(command).expect(&[0, 1, 2, 3], kind));
    }
    row.finish();
}
