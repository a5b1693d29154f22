//! One project, and what is done with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::sample::{Container, Sample, docker, docker_says, said, with_project};

/// How long a server may take until it answers from its image.
const SERVER_PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before it is asked again.
const POLL: Duration = Duration::from_millis(100);
/// Where the table's rows are kept, below `target/tmp`.
const TABLE: &str = "hosts";

/// What is done with a project: its `trial.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    #[serde(skip)]
    name: String,
    /// Whose matched images are asked.
    #[serde(default = "environments")]
    environments: Vec<String>,
    /// What must be there before the matched image is started.
    prepare: Option<Prepare>,
    /// For a server: the command that asks it, beside it in its container.
    ask: Option<Vec<String>>,
    /// What the matched image says when it is started as it is.
    says: String,
    change: Change,
    #[serde(rename = "break")]
    breaks: Vec<Break>,
}

/// A volume that a command of the matched image fills.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prepare {
    /// Where it is seen.
    path: String,
    /// Whose it is.
    owner: String,
    command: Vec<String>,
}

/// A line is changed, and the project still answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    file: String,
    from: String,
    to: String,
    /// What the matched image says afterwards.
    says: String,
}

/// A line is changed so that the project must be refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Break {
    /// What is wrong with it.
    why: String,
    file: String,
    from: String,
    to: String,
    /// The exit code of the build.
    status: i32,
    /// What it tells.
    told: Vec<String>,
}

/// Those of most projects.
fn environments() -> Vec<String> {
    vec!["glibc".to_owned()]
}

/// A project's directory.
pub(crate) fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts").join(name)
}

impl Trial {
    pub(crate) fn of(name: &str) -> Self {
        let path = directory(name).join("trial.yaml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let read: Self = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            name: name.to_owned(),
            ..read
        }
    }

    pub(crate) fn run(&self) {
        with_project(&directory(&self.name), &format!("host-{}", self.name), |sample| {
            let (cold, told) = self.builds(sample);
            self.answers(sample, &self.says);
            replace(sample, &self.change.file, &self.change.from, &self.change.to);
            let (changed, _) = self.builds(sample);
            self.answers(sample, &self.change.says);
            for broken in &self.breaks {
                self.is_refused(sample, broken);
            }
            self.tell(cold, changed, &told);
        });
    }

    /// Builds the project, and says how long it took and what it said.
    fn builds(&self, sample: &Sample) -> (Duration, String) {
        let start = Instant::now();
        let told = sample.build(0);
        for word in ["check: ", " ok", " loaded · host answered as expected"] {
            assert!(told.contains(word), "{}: `{word}` is not in {told}", self.name);
        }
        assert!(!told.contains("not opened"), "{}: {told}", self.name);
        (start.elapsed(), told)
    }

    /// The matched images do what the smoke test did, without being told how.
    fn answers(&self, sample: &Sample, says: &str) {
        for environment in &self.environments {
            self.answers_from(sample, &format!("lockstep/{}:{environment}", sample.name), says);
        }
    }

    fn answers_from(&self, sample: &Sample, image: &str, says: &str) {
        let labels = format!("dev.lockstep.project={}", sample.name);
        let volume = self
            .prepare
            .as_ref()
            .map(|prepare| Volume::prepared(prepare, image, &labels));
        let mount = volume
            .as_ref()
            .map_or_else(Vec::new, |volume| vec!["--volume", &volume.mount]);
        let options = [&["run", "--rm", "--network", "none", "--label", &labels][..], &mount].concat();
        let Some(ask) = &self.ask else {
            let output = docker_says(&[&options[..], &[image]].concat());
            assert!(output.status.success(), "{}: {}", self.name, all_of(&output));
            assert!(all_of(&output).contains(says), "{}: {}", self.name, all_of(&output));
            return;
        };
        let container = Container::start(&[&options[..], &["--detach", image]].concat());
        let until = Instant::now() + SERVER_PATIENCE;
        loop {
            let command: Vec<&str> = ask.iter().map(String::as_str).collect();
            let output = docker_says(&[&["exec", &container.id], &command[..]].concat());
            if output.status.success() && all_of(&output).contains(says) {
                return;
            }
            let logs = docker_says(&["logs", &container.id]);
            assert!(
                Instant::now() < until,
                "{}: {}{}",
                self.name,
                all_of(&output),
                all_of(&logs)
            );
            std::thread::sleep(POLL);
        }
    }

    /// The build fails as it should, and what is published stays as it was.
    fn is_refused(&self, sample: &Sample, broken: &Break) {
        let good = sample.read(&broken.file).unwrap();
        let before = sample.published();
        replace(sample, &broken.file, &broken.from, &broken.to);
        let told = sample.build(broken.status);
        for word in &broken.told {
            assert!(
                told.contains(word),
                "{}, {}: `{word}` is not in {told}",
                self.name,
                broken.why
            );
        }
        assert_eq!(sample.published(), before, "{}, {}", self.name, broken.why);
        sample.write(&broken.file, &good);
    }

    /// Keeps the row of the table.
    fn tell(&self, cold: Duration, changed: Duration, told: &str) {
        let table = Path::new(env!("CARGO_TARGET_TMPDIR")).join(TABLE);
        std::fs::create_dir_all(&table).unwrap();
        let mut row = String::new();
        let (cold, changed) = (cold.as_secs_f64(), changed.as_secs_f64());
        let made = if told.contains("(made)") { ", images made" } else { "" };
        let refused = self.breaks.len();
        let _ = writeln!(
            row,
            "{}\t{cold:.1}{made}\t{changed:.1}\t{refused}\t{}",
            self.name, self.change.says
        );
        std::fs::write(table.join(format!("{}.tsv", self.name)), row).unwrap();
    }
}

/// A volume, removed in the end.
struct Volume {
    name: String,
    mount: String,
}

impl Volume {
    fn prepared(prepare: &Prepare, image: &str, labels: &str) -> Self {
        let name = docker(&["volume", "create", "--label", labels]).trim().to_owned();
        let mount = format!("{name}:{}", prepare.path);
        let volume = Self { name, mount };
        let run = [
            "run",
            "--rm",
            "--network",
            "none",
            "--label",
            labels,
            "--volume",
            &volume.mount,
        ];
        let give = [
            "--user",
            "0",
            "--entrypoint",
            "/bin/chown",
            image,
            &prepare.owner,
            &prepare.path,
        ];
        docker(&[&run[..], &give].concat());
        let command: Vec<&str> = prepare.command.iter().map(String::as_str).collect();
        let (program, arguments) = command.split_first().unwrap();
        docker(&[&run[..], &["--entrypoint", program, image], arguments].concat());
        volume
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        docker_says(&["volume", "rm", "--force", &self.name]);
    }
}

/// What is replaced must be there: otherwise a trial would try what was not changed.
fn replace(sample: &Sample, file: &str, from: &str, to: &str) {
    let text = sample.read(file).unwrap_or_else(|| panic!("there is no {file}"));
    assert!(text.contains(from), "`{from}` is not in {file}");
    sample.write(file, &text.replace(from, to));
}

fn all_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), said(output))
}
