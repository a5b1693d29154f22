//! `lockstep doctor` and `lockstep clean` from outside, on the real engine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

use std::path::Path;
use std::process::Output;

use lockstep::engine::docker::Docker;
use lockstep::engine::{Engine as _, Labels};

fn lockstep(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("lockstep").unwrap();
    command
        .current_dir(directory)
        .env_remove("LOCKSTEP_FILE")
        .envs(variables.iter().copied())
        .args(arguments);
    command.output().unwrap()
}

/// A project of this name with one host and one plugin.
fn project(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("host/main.c", "int main(void) { return 0; }\n"),
        ("plugin/plugin.c", "int run(void) { return 1; }\n"),
        (
            "lockstep.yaml",
            "version: 1\nproject: NAME\nenvironments:\n  glibc: {build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}\n\
             host: {language: c, source: host, artifacts: [host]}\n\
             plugins: [{name: plugin, language: c, source: plugin, artifacts: [plugin.so]}]\n\
             contract: {loader: dlopen, abi: c, symbols: [run]}\n",
        ),
    ] {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("NAME", name)).unwrap();
    }
    directory
}

async fn engine() -> Docker {
    Docker::connect(&std::env::vars().collect())
        .await
        .expect("these tests need an engine")
}

/// The label by which this machine knows what it made for the project in `directory`.
fn owner(directory: &Path) -> String {
    let machine = std::fs::read_to_string("/etc/machine-id")
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
        .unwrap_or_default();
    lockstep::checkout::owner(machine.trim(), &directory.canonicalize().unwrap()).short()
}

fn checks(output: &Output) -> Vec<serde_json::Value> {
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema_version"], 1);
    report["checks"].as_array().unwrap().clone()
}

fn status(checks: &[serde_json::Value], name: &str) -> Option<String> {
    checks
        .iter()
        .find(|check| check["check"] == name)
        .and_then(|check| check["status"].as_str().map(str::to_owned))
}

#[test]
fn a_doctor_on_a_machine_that_can_build() {
    let project = project("doctor-well");
    let output = lockstep(project.path(), &["doctor", "--format", "json"], &[]);
    let checks = checks(&output);
    for name in ["engine", "platform", "project", "lock", "leftovers", "mmdebstrap"] {
        assert_eq!(status(&checks, name).as_deref(), Some("ok"), "{name}: {checks:#?}");
    }
    let text = lockstep(project.path(), &["doctor"], &[]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.starts_with("ok   engine       "), "{text}");
    assert_eq!(
        text.lines().filter(|line| !line.starts_with("  hint")).count(),
        checks.len(),
        "one line a check"
    );
}

#[test]
fn a_doctor_without_an_engine_ends_with_3_and_says_what_to_do() {
    let project = project("doctor-engine");
    let variables = [("DOCKER_HOST", "unix:///nowhere/engine.sock")];
    let output = lockstep(project.path(), &["doctor"], &variables);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("fail engine ") && text.lines().nth(1).is_some_and(|line| line.starts_with("  hint: ")),
        "{text}"
    );
}

#[test]
fn a_doctor_names_what_is_wrong_with_the_project() {
    let project = project("doctor-project");
    std::fs::write(project.path().join("lockstep.lock"), "schema_version: 99\n").unwrap();
    let output = lockstep(project.path(), &["doctor", "--format", "json"], &[]);
    assert_eq!(
        (output.status.code(), status(&checks(&output), "lock").as_deref()),
        (Some(1), Some("fail"))
    );
    std::fs::write(project.path().join("lockstep.yaml"), "version: 1\nhots: {}\n").unwrap();
    let output = lockstep(project.path(), &["doctor", "--format", "json"], &[]);
    assert_eq!(
        (output.status.code(), status(&checks(&output), "project").as_deref()),
        (Some(1), Some("fail"))
    );
}

#[test]
fn a_doctor_sees_what_a_dead_run_left_and_a_run_that_goes_on() {
    let project = project("doctor-runs");
    let volume = format!("lockstep-test-doctor-runs-{}", std::process::id());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let owner = owner(project.path());
    let labels = [
        ("dev.lockstep.project", "doctor-runs"),
        ("dev.lockstep.run", "dead"),
        ("dev.lockstep.owner", &owner),
    ];
    let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let engine = runtime.block_on(engine());
    runtime.block_on(engine.create_volume(&volume, &labels)).unwrap();
    let dead = lockstep(project.path(), &["doctor", "--format", "json"], &[]);
    let lock = runtime.block_on(lockstep::state::ProjectLock::acquire(
        project.path(),
        "a run of this test",
        |_| {},
        std::time::Duration::from_secs(1),
    ));
    let alive = lockstep(project.path(), &["doctor", "--format", "json"], &[]);
    let refused = lockstep(project.path(), &["clean"], &[]);
    drop(lock);
    let cleaned = lockstep(project.path(), &["clean"], &[]);
    let left = runtime.block_on(engine.volume(&volume)).unwrap();

    assert_eq!(status(&checks(&dead), "leftovers").as_deref(), Some("warn"));
    let alive = checks(&alive);
    assert_eq!(
        (status(&alive, "leftovers"), status(&alive, "runs").as_deref()),
        (None, Some("warn"))
    );
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("a run of this test"),
        "{said}"
    );
    assert_eq!(
        cleaned.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&cleaned.stderr)
    );
    assert_eq!(left, None);
}

#[test]
fn clean_lists_first_and_removes_what_is_this_projects_alone() {
    let project = project("clean-sample");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = runtime.block_on(engine());
    let volume = |name: &str| format!("lockstep-test-{name}-{}", std::process::id());
    let own = owner(project.path());
    let labelled = |project: &str| {
        let labels = [("dev.lockstep.project", project), ("dev.lockstep.owner", &own)];
        Labels::from(labels.map(|(name, value)| (name.to_owned(), value.to_owned())))
    };
    for name in ["clean-sample", "clean-other"] {
        runtime
            .block_on(engine.create_volume(&volume(name), &labelled(name)))
            .unwrap();
    }
    std::fs::create_dir_all(project.path().join("dist/glibc")).unwrap();
    std::fs::create_dir_all(project.path().join(".lockstep/logs")).unwrap();
    let listed = lockstep(project.path(), &["clean", "--dry-run"], &[]);
    let is_there = |name: &str| runtime.block_on(engine.volume(&volume(name))).unwrap().is_some();
    let after_list = (is_there("clean-sample"), project.path().join("dist/glibc").exists());
    let cleaned = lockstep(project.path(), &["clean", "--format", "json"], &[]);
    let after_clean = (is_there("clean-sample"), is_there("clean-other"));
    runtime.block_on(engine.remove_volume(&volume("clean-other"))).unwrap();

    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let name = volume("clean-sample");
    assert_eq!(
        words,
        [
            ["volume", name.as_str()],
            ["directory", "dist"],
            ["directory", ".lockstep"]
        ]
    );
    assert_eq!(after_list, (true, true), "a dry run removes nothing");
    let report: serde_json::Value = serde_json::from_slice(&cleaned.stdout).unwrap();
    let removed: Vec<bool> = report["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["removed"] == true)
        .collect();
    assert_eq!((cleaned.status.code(), removed), (Some(0), vec![true; 3]));
    assert_eq!(after_clean, (false, true), "another project's things stay");
    assert!(!project.path().join("dist").exists() && !project.path().join(".lockstep").exists());
    let again = lockstep(project.path(), &["clean"], &[]);
    assert!(again.stdout.is_empty() && String::from_utf8_lossy(&again.stderr).contains("nothing to remove"));
}
