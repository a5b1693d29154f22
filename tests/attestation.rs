//! What is said of a bundle beside it, held against the field's own readers, and what it says of compiles: that they have no
//! network, and what was fetched for them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sample::{PATIENCE, Sample, docker, said, wait, with_sample};
use serde_json::Value;

const DOCUMENTS: [&str; 2] = ["provenance.json", "sbom.spdx.json"];
/// What asks an engine for a container without a network, and what asks for the machine's own; as long as each other.
const ASKED: &[u8] = br#""NetworkMode":"none""#;
const GIVEN: &[u8] = br#""NetworkMode":"host""#;

/// Python with the validators, in a directory of its own below `target`.
fn python() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("validators");
    let python = directory.join("bin/python");
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attestation/requirements.txt");
    let run = |command: &mut Command| {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("this test needs python3: {error}"));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {told}\nhint: make setup");
    };
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let made = directory.join("made");
    if std::fs::read_to_string(&made).ok().as_ref() != Some(&wanted) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory));
        let install = [
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
            "--requirement",
        ];
        run(Command::new(&python).args(install).arg(&requirements));
        std::fs::write(&made, wanted).unwrap();
    }
    python
}

/// What the validators find wrong.
fn wrong(python: &Path, directory: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attestation/validate.py");
    let output = Command::new(python).arg(script).arg(directory).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.success(), told.is_empty(), "{told}{}", said(&output));
    told
}

fn documents(directory: &Path) -> [String; 2] {
    DOCUMENTS.map(|name| std::fs::read_to_string(directory.join(name)).unwrap())
}

/// The section that cargo-auditable adds, in a source of C.
fn audited(crates: &str) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(crates.as_bytes()).unwrap();
    let mut source = "__asm__(\".pushsection .dep-v0,\\\"\\\",@progbits\\n\"\n".to_owned();
    for byte in encoder.finish().unwrap() {
        let _ = writeln!(source, "\".byte {byte}\\n\"");
    }
    source + "\".popsection\");\n"
}

#[test]
fn what_is_said_of_a_bundle_is_valid_and_the_same_in_every_directory() {
    let python = python();
    with_sample("attested", |sample| {
        let crates = r#"{"packages":[
            {"name":"good","version":"0.1.0","source":"local","root":true},
            {"name":"serde","version":"1.0.228","source":"registry"}]}"#;
        let source = format!("{}{}", sample::GOOD, audited(crates));
        sample.write("good/good.c", &source);
        sample.build(0);
        let directory = sample.path().join("dist/glibc.meta");
        assert_eq!(wrong(&python, &directory), "");
        let [provenance, sbom] = documents(&directory);

        let sbom_value: Value = serde_json::from_str(&sbom).unwrap();
        let packages = sbom_value["packages"].as_array().unwrap();
        let urls: Vec<&str> = packages
            .iter()
            .filter_map(|package| package["externalRefs"][0]["referenceLocator"].as_str())
            .collect();
        assert!(urls.contains(&"pkg:cargo/serde@1.0.228"), "{urls:?}");
        assert!(
            urls.iter().any(|url| url.starts_with("pkg:deb/debian/libc6@")),
            "{urls:?}"
        );
        let value: Value = serde_json::from_str(&provenance).unwrap();
        let subjects = value["subject"].as_array().unwrap();
        let image = subjects
            .iter()
            .find(|subject| subject["mediaType"].is_string())
            .unwrap();
        let tag = format!("lockstep/{}:glibc", sample.name);
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", &tag]);
        // In a classic store the ID is the config's digest; in others it is not.
        if docker(&["info", "--format", "{{.DriverStatus}}"]).contains("containerd") {
            assert!(image["digest"]["sha256"].is_string());
        } else {
            assert_eq!(
                format!("sha256:{}", image["digest"]["sha256"].as_str().unwrap()),
                id.trim()
            );
        }

        // A validator that says so of everything would prove nothing.
        let broken = tempfile::tempdir().unwrap();
        std::fs::write(
            broken.path().join(DOCUMENTS[0]),
            provenance.replace("buildType", "buildTip"),
        )
        .unwrap();
        std::fs::write(
            broken.path().join(DOCUMENTS[1]),
            sbom.replace("\"DESCRIBES\"", "\"KNOWS\""),
        )
        .unwrap();
        let told = wrong(&python, broken.path());
        assert!(told.contains("buildTip") && told.contains("KNOWS"), "{told}");

        // A clone elsewhere, of which nothing is kept.
        let clone = tempfile::tempdir().unwrap();
        for path in ["lockstep.yaml", "lockstep.lock", "host/main.c", "good/good.c"] {
            let target = clone.path().join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(sample.path().join(path), target).unwrap();
        }
        let run = |arguments: &[&str]| {
            let child = sample.command(arguments).current_dir(clone.path()).spawn().unwrap();
            let output = wait(child, PATIENCE);
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        };
        run(&["build", "--locked"]);
        assert_eq!(documents(&clone.path().join("dist/glibc.meta")), [provenance, sbom]);
        assert_eq!(docker(&["image", "inspect", "--format", "{{.Id}}", &tag]), id);
        run(&["clean"]);
        assert!(!clone.path().join("dist").exists());
    });
}

/// Stands before the engine, and gives every container the machine's network that was to have none.
fn generous_engine(socket: &Path) {
    let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
    let engine = engine
        .strip_prefix("unix://")
        .unwrap_or("/var/run/docker.sock")
        .to_owned();
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, engine) = (client.unwrap(), UnixStream::connect(&engine).unwrap());
            let (answers, asked) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || pass(client, engine, true));
            std::thread::spawn(move || pass(answers, asked, false));
        }
    });
}

/// Passes on what comes, until nothing comes any more.
fn pass(mut from: UnixStream, mut to: UnixStream, is_changed: bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        let piece = &mut buffer[..count];
        let found = piece.windows(ASKED.len()).position(|window| window == ASKED);
        if let Some(at) = found.filter(|_| is_changed) {
            piece[at..at + GIVEN.len()].copy_from_slice(GIVEN);
        }
        if count == 0 || to.write_all(piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_compile_that_is_given_a_network_is_refused_before_it_begins() {
    with_sample("generous", |sample| {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine");
        generous_engine(&socket);
        // It would be seen in the log.
        let text = sample.read("lockstep.yaml").unwrap();
        let command = "source: good, command: 'echo begun; cc -shared -o $LOCKSTEP_OUT/good.so good.c'";
        sample.write("lockstep.yaml", &text.replace("source: good", command));
        let build = |sample: &Sample| {
            let child = sample
                .command(&["build"])
                .env("DOCKER_HOST", format!("unix://{}", socket.display()))
                .spawn()
                .unwrap();
            let output = wait(child, PATIENCE);
            (output.status.code(), said(&output))
        };
        let (status, told) = build(sample);
        assert_eq!(status, Some(3), "{told}");
        assert!(
            told.contains("error[network]: the container in which `") && told.contains("has a network: "),
            "{told}"
        );
        assert!(!told.contains("begun"), "{told}");
        sample.assert_nothing_left(&[]);
        assert!(!sample.path().join("dist").exists());

        sample.build(0);
        let log = sample.read(".lockstep/logs/glibc-good.log").unwrap();
        assert_eq!(log.lines().next(), Some("begun"));
        let manifest: Value = serde_json::from_str(&sample.read("dist/glibc/manifest.json").unwrap()).unwrap();
        for unit in manifest["units"].as_array().unwrap() {
            let shown = serde_json::json!({
                "interfaces": ["lo"], "routes": [], "lookup": "failed", "connection": "failed",
            });
            assert_eq!(unit["network"], shown);
        }
    });
}

#[test]
fn what_is_fetched_again_and_is_something_else_is_drift() {
    with_sample("refetched", |sample| {
        let text = sample.read("lockstep.yaml").unwrap();
        let fetch = "source: good, fetch: 'od -An -N16 -tx8 /dev/urandom >$LOCKSTEP_DEPS/stamp'";
        sample.write("lockstep.yaml", &text.replace("source: good", fetch));
        sample.build(0);
        let before = sample.published();
        std::fs::remove_dir_all(sample.path().join(".lockstep")).unwrap();
        let told = sample.build(6);
        assert!(
            told.contains("error[other-dependencies]: what was fetched for `good`")
                && told.contains("--> lockstep.lock:"),
            "{told}"
        );
        assert_eq!(sample.published(), before);
        sample.assert_nothing_left(&[sample.volume()]);
    });
}
