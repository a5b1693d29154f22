//! `compose.yaml`, for real: the gateway is compiled into the shared volume and serves from it; when a plugin's source is
//! changed and the deployment brought up again, the answer is another.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Images are made when they were not made before, and five units compiled.
const BUILD_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// Four plugins are compiled before the gateway starts.
const COMPOSE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// From a start to an answer.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const RESPONSE_LIMIT_BYTES: u64 = 64 * 1024;
const FILES_LIMIT: usize = 1000;

/// A copy of the gateway and its deployment under names of its own. Whatever becomes of the test, nothing of it stays.
struct Deployment {
    directory: tempfile::TempDir,
    name: String,
    port: u16,
}

impl Deployment {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("gateway-test-{}", std::process::id());
        copy(Path::new("gateway"), &directory.path().join("gateway"));
        fs::copy("compose.yaml", directory.path().join("compose.yaml")).unwrap();
        let configuration = directory.path().join("gateway/lockstep.yaml");
        change(&configuration, "\nproject: gateway\n", &format!("\nproject: {name}\n"));
        // The directory belongs to whoever runs the test, and the compiling container is somebody else.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), mode).unwrap();
        // Free now; nobody else is likely to take it before the gateway does.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { directory, name, port }
    }

    fn lockstep(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .args(arguments)
            .current_dir(self.directory.path().join("gateway"));
        bounded(command, BUILD_TIMEOUT)
    }

    fn compose(&self, arguments: &[&str]) -> Output {
        let mut command = if has("docker-compose") {
            Command::new("docker-compose")
        } else {
            let mut docker = Command::new("docker");
            docker.arg("compose");
            docker
        };
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("LOCKSTEP_BUILD_IMAGE", format!("lockstep/{}:glibc-build", self.name))
            .env("LOCKSTEP_IMAGE", format!("lockstep/{}:glibc", self.name))
            .env("GATEWAY_PORT", self.port.to_string());
        bounded(command, COMPOSE_TIMEOUT)
    }

    /// Asks until the answer has `expected`.
    fn await_answer(&self, path: &str, expected: &str) {
        let started = Instant::now();
        let mut last = String::new();
        while started.elapsed() < READY_TIMEOUT {
            last = self.get(path).unwrap_or_else(|error| error.to_string());
            if last.contains(expected) {
                return;
            }
            sleep(POLL_INTERVAL);
        }
        let logs = self.compose(&["logs", "--no-color", "--tail=40"]);
        panic!("`{expected}` was not answered, but: {last}\n{}", said(&logs));
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, REQUEST_TIMEOUT)?;
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.take(RESPONSE_LIMIT_BYTES).read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let down = self.compose(&["down", "--volumes", "--timeout", "5"]);
        let clean = self.lockstep(&["--quiet", "clean"]);
        for output in [down, clean] {
            if !output.status.success() && !std::thread::panicking() {
                panic!("failed to clean up: {}", said(&output));
            }
        }
    }
}

#[test]
fn a_changed_plugin_is_served_after_the_next_up() {
    let deployment = Deployment::new();
    succeeded(&deployment.lockstep(&["--quiet", "build", "glibc"]));

    succeeded(&deployment.compose(&["up", "-d"]));
    deployment.await_answer("/hello?name=Ada", "Hello, Ada!");
    deployment.await_answer("/match?text=order-4711", "[[0,10],[0,5],[6,10]]");

    let plugin = deployment.directory.path().join("gateway/handlers/hello/hello.go");
    change(&plugin, "const greeting = \"Hello\"", "const greeting = \"Ahoy\"");
    succeeded(&deployment.compose(&["up", "-d"]));
    deployment.await_answer("/hello?name=Ada", "Ahoy, Ada!");

    // What does not compile changes nothing.
    change(&plugin, "const greeting = \"Ahoy\"", "const greeting = Ahoy");
    let failed = deployment.compose(&["up", "-d"]);
    assert!(!failed.status.success(), "{}", said(&failed));
    deployment.await_answer("/hello?name=Ada", "Ahoy, Ada!");
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

/// Runs a command to its end; one that does not come to it fails the test.
fn bounded(command: Command, limit: Duration) -> Output {
    assert_cmd::Command::from_std(command)
        .timeout(limit)
        .output()
        .unwrap_or_else(|error| panic!("failed to run: {error}"))
}

/// Replaces `from`, which is there once, by `to`.
fn change(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{} has not one `{from}`", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

/// Copies a project without what builds leave behind.
fn copy(from: &Path, to: &Path) {
    let mut pending = vec![PathBuf::new()];
    let mut count = 0;
    while let Some(path) = pending.pop() {
        count += 1;
        assert!(count < FILES_LIMIT, "too many files");
        if ["dist", ".lockstep", "lockstep.lock"]
            .iter()
            .any(|name| path.ends_with(name))
        {
            continue;
        }
        if from.join(&path).is_dir() {
            fs::create_dir_all(to.join(&path)).unwrap();
            let entries = fs::read_dir(from.join(&path)).unwrap();
            pending.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
        } else {
            fs::copy(from.join(&path), to.join(&path)).unwrap();
        }
    }
}
