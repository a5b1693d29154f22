//! The command line from outside, without an engine: help, exit codes, what is said about mistakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

/// No engine answers there.
const NOWHERE: &str = "unix:///nonexistent/engine.sock";
const PROJECT: &str = "version: 1
project: sample
environments:
  glibc: {build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}
  other: {build: {image: 'build:1'}, runtime: {image: 'runtime:1'}}
default: [glibc]
host: {language: c, source: host, artifacts: [host]}
plugins:
  - {name: shout, language: c, source: shout, artifacts: [shout.so]}
contract: {loader: dlopen, abi: c, symbols: [greet]}
smoke: {command: [host, '{plugins}'], expect: {status: 0}}
";

fn lockstep(directory: &Path, arguments: &[&str]) -> Output {
    assert_cmd::Command::cargo_bin("lockstep")
        .unwrap()
        .current_dir(directory)
        .env("DOCKER_HOST", NOWHERE)
        .env("COLUMNS", "100")
        .env_remove("LOCKSTEP_FILE")
        .args(arguments)
        .timeout(std::time::Duration::from_secs(60))
        .output()
        .unwrap()
}

fn project() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("host/host.c", "int main(void) { return 0; }\n"),
        ("shout/shout.c", "void greet(void) {}\n"),
        ("lockstep.yaml", PROJECT),
    ] {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a person sees: the code, then both streams.
fn seen(output: &Output) -> String {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let code = output.status.code().unwrap();
    format!("exit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
}

/// The text with a mark in place of each digest.
fn without_digests(text: &str) -> String {
    const SHORTEST_DIGITS: usize = 8;
    let is_digest = |word: &str| {
        word.len() >= SHORTEST_DIGITS
            && word.chars().all(|digit| digit.is_ascii_hexdigit())
            && word.contains(|digit: char| digit.is_ascii_digit())
    };
    text.split_inclusive(|character: char| !character.is_ascii_alphanumeric())
        .map(|word| {
            let bare = word.trim_end_matches(|character: char| !character.is_ascii_alphanumeric());
            if is_digest(bare) {
                word.replace(bare, "[digest]")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

#[test]
fn every_command_has_help() {
    let directory = tempfile::tempdir().unwrap();
    let help = |arguments: &[&str]| {
        let output = assert_cmd::Command::cargo_bin("lockstep")
            .unwrap()
            .current_dir(directory.path())
            .env("COLUMNS", "100")
            .env_remove("LOCKSTEP_FILE")
            .args(arguments)
            .arg("--help")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        text(&output.stdout)
    };
    insta::assert_snapshot!("help", help(&[]));
    for command in lockstep::cli::command().get_subcommands() {
        insta::assert_snapshot!(format!("help-{}", command.get_name()), help(&[command.get_name()]));
    }
}

#[test]
fn the_version_is_on_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    let output = lockstep(directory.path(), &["--version"]);
    assert_eq!(
        text(&output.stdout),
        format!("lockstep {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn mistakes_on_the_command_line_end_with_2() {
    let project = project();
    for (name, arguments) in [
        ("no-command", &[][..]),
        ("unknown-command", &["biuld"]),
        ("unknown-flag", &["build", "--lokced"]),
        ("no-jobs", &["build", "--jobs", "0"]),
        ("unknown-environment", &["plan", "glibbc"]),
        ("unknown-environment-build", &["build", "glibbc"]),
        ("quiet-and-progress", &["plan", "--quiet", "--progress", "plain"]),
        ("update-and-check", &["lock", "--update", "--check"]),
    ] {
        let output = lockstep(project.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(output.stdout.is_empty(), "{name}: {}", text(&output.stdout));
        insta::assert_snapshot!(name, seen(&output));
    }
}

#[test]
fn no_project_ends_with_2_for_every_command_that_needs_one() {
    let directory = tempfile::tempdir().unwrap();
    for command in ["build", "plan", "lock", "smoke", "matrix", "clean"] {
        let output = lockstep(directory.path(), &[command]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        insta::assert_snapshot!("no-project", seen(&output));
    }
    let output = lockstep(directory.path(), &["plan", "--file", "elsewhere/lockstep.yaml"]);
    insta::assert_snapshot!("no-project-elsewhere", seen(&output));
}

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    let project = project();
    let text = PROJECT
        .replace("artifacts: [shout.so]", "artefacts: [shout.so]")
        .replace("source: host", "source: ../host")
        .replace("default: [glibc]", "default: [glibbc]")
        .replace("loader: dlopen", "loader: dlopne");
    std::fs::write(project.path().join("lockstep.yaml"), text).unwrap();
    let output = lockstep(project.path(), &["build"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!("problems", seen(&output));
}

#[test]
fn an_engine_that_is_not_there_ends_with_3() {
    let project = project();
    for command in ["build", "lock", "smoke", "matrix", "clean"] {
        let output = lockstep(project.path(), &[command]);
        assert_eq!(output.status.code(), Some(3), "{command}: {}", seen(&output));
        let said = text(&output.stderr);
        assert!(said.contains(NOWHERE) && said.contains("hint: "), "{command}: {said}");
        assert!(output.stdout.is_empty(), "{command}");
    }
    assert!(!project.path().join("lockstep.lock").exists() && !project.path().join("dist").exists());
}

#[test]
fn an_address_that_is_none_is_told_as_that() {
    let project = project();
    let output = assert_cmd::Command::cargo_bin("lockstep")
        .unwrap()
        .current_dir(project.path())
        .env("DOCKER_HOST", "npipe:////./pipe/docker_engine")
        .env_remove("LOCKSTEP_FILE")
        .arg("build")
        .output()
        .unwrap();
    insta::assert_snapshot!("bad-address", seen(&output));
}

#[test]
fn a_plan_needs_no_engine() {
    let project = project();
    let plan = lockstep(project.path(), &["plan", "other"]);
    assert_eq!(plan.status.code(), Some(0), "{}", seen(&plan));
    insta::assert_snapshot!("plan", without_digests(&seen(&plan)));
    let dry_run = lockstep(project.path(), &["build", "--dry-run", "other"]);
    assert_eq!(seen(&dry_run), seen(&plan));

    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = lockstep(project.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", seen(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let plan = json(&["plan", "--format", "json", "glibc", "other"]);
    let names: Vec<&str> = plan["environments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|environment| environment["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["glibc", "other"]);
    assert_eq!(
        plan,
        json(&["plan", "--format", "json", "glibc", "other"]),
        "the same twice"
    );
    assert_eq!(
        plan,
        json(&["build", "--dry-run", "--format", "json", "glibc", "other"])
    );
    std::fs::write(project.path().join("shout/shout.c"), "void greet(void) { }\n").unwrap();
    assert_ne!(
        plan,
        json(&["plan", "--format", "json", "glibc", "other"]),
        "another source is another plan"
    );
}

#[test]
fn a_lock_that_lacks_an_environment_does_not_pass() {
    let project = project();
    let output = lockstep(project.path(), &["lock", "--check"]);
    assert_eq!(output.status.code(), Some(6));
    insta::assert_snapshot!("lock-check", seen(&output));
    assert!(!project.path().join("lockstep.lock").exists(), "a check writes nothing");
    let output = lockstep(project.path(), &["lock", "--check", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["environments"]["glibc"].is_array(), "{report}");
}

#[test]
fn a_lock_that_cannot_be_read_is_named() {
    let project = project();
    std::fs::write(
        project.path().join("lockstep.lock"),
        "schema_version: 99\nenvironments: {}\n",
    )
    .unwrap();
    for arguments in [&["plan"][..], &["lock", "--check"]] {
        let output = lockstep(project.path(), arguments);
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {}", seen(&output));
        assert!(text(&output.stderr).contains("lockstep.lock"), "{}", seen(&output));
    }
}

#[test]
fn sources_that_are_not_there_are_named() {
    let project = project();
    std::fs::remove_dir_all(project.path().join("shout")).unwrap();
    let output = lockstep(project.path(), &["plan"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!("no-source", seen(&output));
}
