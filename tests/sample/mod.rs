//! A project of a few C files in a directory of its own, built by the program itself on the real engine.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// No step of these tests takes longer, but for the images' first bootstrap.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The first build on a machine also makes images and compiles the loader.
const FIRST_BUILD: Duration = Duration::from_secs(900);
/// How many of these tests use the engine at once.
const AT_ONCE: usize = 2;
/// What `ProjectLock` and everything else is asked for while waiting.
const POLL: Duration = Duration::from_millis(20);

const HOST: &str = r#"#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    void *plugin = dlopen(argv[i], RTLD_NOW);
    if (!plugin) { fprintf(stderr, "%s\n", dlerror()); return 1; }
    long (*answer)(void) = (long (*)(void))dlsym(plugin, "plugin_answer");
    if (!answer) return 2;
    printf("answer %ld\n", answer());
  }
  return 0;
}
"#;
pub(crate) const GOOD: &str = "long plugin_answer(void) { return 42; }\n";

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// A project; everything of it is removed from the engine when it is dropped, also when the test fails.
pub(crate) struct Sample {
    directory: TempDir,
    pub(crate) name: String,
}

/// One of the places for tests that use the engine.
struct Place;

impl Place {
    fn take() -> Self {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running >= AT_ONCE {
            running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// Runs `test` with a project that has one good plugin, called `good`.
pub(crate) fn with_sample(name: &str, test: impl FnOnce(&Sample)) {
    with_directory(name, |sample| {
        sample.write("host/main.c", HOST);
        sample.write("good/good.c", GOOD);
        sample.configure(&["good"], "");
        test(sample);
    });
}

/// Runs `test` with a copy of the project in `directory`, which gets a name of its own. Its environment is called `glibc`.
pub(crate) fn with_project(directory: &Path, name: &str, test: impl FnOnce(&Sample)) {
    with_directory(name, |sample| {
        copy(directory, sample.path());
        let text = sample.read("lockstep.yaml").unwrap();
        let is_named = |line: &&str| line.starts_with("project: ");
        let line = text.lines().find(is_named).unwrap();
        sample.write(
            "lockstep.yaml",
            &text.replace(line, &format!("project: {}", sample.name)),
        );
        test(sample);
    });
}

fn with_directory(name: &str, test: impl FnOnce(&Sample)) {
    let _place = Place::take();
    let sample = Sample {
        directory: tempfile::tempdir().unwrap(),
        name: format!("{name}-{}", std::process::id()),
    };
    test(&sample);
    let output = sample.run(&["clean"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    sample.assert_nothing_left(&[]);
}

impl Sample {
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path().join(path)).ok()
    }

    /// Writes `lockstep.yaml` with these plugins, each in C and in a directory of its name; the host is given `good.so`.
    pub(crate) fn configure(&self, plugins: &[&str], more: &str) {
        let plugins: String = plugins
            .iter()
            .map(|plugin| format!("  - {{name: {plugin}, language: c, source: {plugin}, artifacts: [{plugin}.so], env: {{LDFLAGS: '-Wl,-z,undefs'}}}}\n"))
            .collect();
        let text = format!(
            "version: 1
project: {}
environments:
  glibc: {{build: {{builtin: debian/build}}, runtime: {{builtin: debian/runtime}}}}
host: {{language: c, source: host, artifacts: [tiny]}}
plugins:
{plugins}contract: {{loader: dlopen, abi: c, symbols: [plugin_answer], calls: [{{symbol: plugin_answer, returns: integer}}]}}
smoke:
  command: [tiny, '{{plugins}}/good.so']
  expect: {{status: 0, stdout: [answer 42]}}
{more}",
            self.name
        );
        self.write("lockstep.yaml", &text);
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("lockstep"));
        command
            .current_dir(self.path())
            .env_remove("LOCKSTEP_FILE")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        wait(self.start(arguments), FIRST_BUILD)
    }

    /// A build that must end with this code; what it said on standard error.
    pub(crate) fn build(&self, expected: i32) -> String {
        self.build_with(&["build"], expected)
    }

    /// The same without a prediction: the smoke test alone decides.
    pub(crate) fn build_unchecked(&self, expected: i32) -> String {
        self.build_with(&["build", "--no-check"], expected)
    }

    fn build_with(&self, arguments: &[&str], expected: i32) -> String {
        let output = self.run(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(expected), "{said}");
        said
    }

    /// The containers, running or not, and volumes of this project.
    pub(crate) fn on_engine(&self) -> Vec<String> {
        let label = format!("label=dev.lockstep.project={}", self.name);
        let containers = docker(&["ps", "--all", "--filter", &label, "--format", "container {{.Names}}"]);
        let volumes = docker(&["volume", "ls", "--filter", &label, "--format", "volume {{.Name}}"]);
        let mut all: Vec<String> = containers.lines().chain(volumes.lines()).map(str::to_owned).collect();
        all.sort();
        all
    }

    /// The names of this project's images.
    pub(crate) fn images(&self) -> Vec<String> {
        let reference = format!("lockstep/{}", self.name);
        let images = docker(&["images", &reference, "--format", "{{.Tag}} {{.ID}}"]);
        let mut images: Vec<String> = images.lines().map(str::to_owned).collect();
        images.sort();
        images
    }

    pub(crate) fn volume(&self) -> String {
        format!("volume lockstep-{}-glibc", self.name)
    }

    pub(crate) fn assert_nothing_left(&self, but: &[String]) {
        assert_eq!(self.on_engine(), but);
        let staged: Vec<String> = self
            .images()
            .into_iter()
            .filter(|name| name.contains("staged"))
            .collect();
        assert_eq!(staged, Vec::<String>::new());
        let leftovers: Vec<String> = std::fs::read_dir(self.path().join(".lockstep"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("staging-") || name.starts_with("collect-"))
            .collect();
        assert_eq!(leftovers, Vec::<String>::new());
    }

    /// All that a failed build must not change.
    pub(crate) fn published(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let mut files: Vec<(String, String)> = files_below(&self.path().join("dist/glibc"))
            .map(|path| {
                let digest = lockstep::digest::Digest::of(&std::fs::read(&path).unwrap());
                (path.display().to_string(), digest.hex())
            })
            .collect();
        files.sort();
        (files, self.read("lockstep.lock"), self.images(), self.current_release())
    }

    /// What `current` in the shared volume is, and what is in it.
    fn current_release(&self) -> String {
        let volume = format!("lockstep-{}-glibc", self.name);
        let mount = format!("{volume}:/bundle:ro");
        let image = format!("lockstep/{}:glibc-build", self.name);
        if docker(&["volume", "ls", "--quiet", "--filter", &format!("name=^{volume}$")]).is_empty() {
            return String::new();
        }
        let script =
            "readlink /bundle/current; ls /bundle/releases; find /bundle/current/ -type f -exec sha256sum {} + | sort";
        docker(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--volume",
            &mount,
            &image,
            "sh",
            "-c",
            script,
        ])
    }

    /// Waits until a container of this project in this role is running.
    pub(crate) fn wait_for_container(&self, role_and_subject: &str) {
        let label = format!("label=dev.lockstep.project={}", self.name);
        let until = Instant::now() + PATIENCE;
        while !docker(&["ps", "--filter", &label, "--format", "{{.Names}}"]).contains(role_and_subject) {
            assert!(Instant::now() < until, "no container {role_and_subject}");
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.command(&["clean"]).status();
        }
    }
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits for a process to end; one that does not is killed and the test fails.
pub(crate) fn wait(mut child: Child, limit: Duration) -> Output {
    let until = Instant::now() + limit;
    // The streams are read beside, or a process that says much would wait for its reader.
    let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.map(|mut stream| stream.read_to_end(&mut bytes));
            bytes
        })
    };
    let stdout = read(child.stdout.take().map(|stream| Box::new(stream) as _));
    let stderr = read(child.stderr.take().map(|stream| Box::new(stream) as _));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!(
                "no end within {limit:?}: {}",
                String::from_utf8_lossy(&stderr.join().unwrap())
            );
        }
        std::thread::sleep(POLL);
    };
    Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Sends a signal.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A container that was started beside; it is removed when it is dropped.
pub(crate) struct Container {
    pub(crate) id: String,
}

impl Container {
    /// `arguments` are those of `docker run --detach`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let id = docker(arguments).trim().to_owned();
        Self { id }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker_says(&["rm", "--force", &self.id]);
    }
}

/// The engine's own command, as a second pair of eyes.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = docker_says(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same, also when it fails.
pub(crate) fn docker_says(arguments: &[&str]) -> Output {
    let child = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs the docker command: {error}"));
    wait(child, PATIENCE)
}

/// All files in a directory and in those below it; none where there is no directory.
fn files_below(directory: &Path) -> Box<dyn Iterator<Item = std::path::PathBuf>> {
    let entries = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap());
    Box::new(entries.flat_map(|entry| {
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path())
        } else {
            Box::new(std::iter::once(entry.path()))
        }
    }))
}
