//! The lock is evidence, not hearsay: whatever of a real lock is changed, left out or given twice is noticed, by
//! `build --locked` and by `lock --check`, and neither ever writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep::config::load;
use lockstep::context::Context;
use lockstep::engine::docker::Docker;
use lockstep::event::Recorded;
use lockstep::exit::Exit;
use lockstep::image::Builtin;
use lockstep::name::EnvironmentName;
use lockstep::run::{Options, Run, RunError};
use tokio_util::sync::CancellationToken;

use crate::sample::{Sample, said, wait, with_sample};
use crate::table::{Row, tries};

const LOCK: &str = "lockstep.lock";
/// No look at a lock takes longer, however it looks.
const LOOK: Duration = Duration::from_secs(30);

/// What reads a lock.
const COMMANDS: [&[&str]; 5] = [
    &["lock", "--check"],
    &["build", "--locked"],
    &["plan"],
    &["build"],
    &["lock"],
];

/// One edited lock.
struct Edit {
    what: String,
    /// The line that was edited, counted from 1.
    line: usize,
    text: String,
}

/// Every line of a lock with each of its words changed into another of the same form; left out; and given twice.
fn edits(good: &str) -> (Vec<Edit>, Vec<Edit>, Vec<Edit>) {
    let lines: Vec<&str> = good.lines().collect();
    let with = |number: usize, what: String, replacement: &[&str]| {
        let text = [&lines[..number], replacement, &lines[number + 1..]]
            .concat()
            .join("\n")
            + "\n";
        Edit {
            what: format!("line {}: {what}", number + 1),
            line: number + 1,
            text,
        }
    };
    let (mut changed, mut removed, mut doubled) = (vec![], vec![], vec![]);
    for (number, line) in lines.iter().enumerate() {
        let mut start = 0;
        for word in line.split_inclusive(' ') {
            if let Some(other) = other_word(word) {
                let line = format!("{}{other}{}", &line[..start], &line[start + word.len()..]);
                changed.push(with(
                    number,
                    format!("`{}` -> `{}`", word.trim(), other.trim()),
                    &[&line],
                ));
            }
            start += word.len();
        }
        removed.push(with(number, format!("`{line}` left out"), &[]));
        doubled.push(with(number, format!("`{line}` twice"), &[line, line]));
    }
    (changed, removed, doubled)
}

/// A word of the same form: its last letter or digit is another one. None for what has neither.
fn other_word(word: &str) -> Option<String> {
    let at = word.rfind(|character: char| character.is_ascii_alphanumeric())?;
    let other = match word.as_bytes()[at] {
        b'0'..=b'8' | b'a'..=b'e' | b'g'..=b'y' | b'A'..=b'Y' => word.as_bytes()[at] + 1,
        b'9' => b'0',
        b'f' => b'a',
        _ => b'x',
    };
    Some(format!("{}{}{}", &word[..at], char::from(other), &word[at + 1..]))
}

/// The two commands as the program runs them, without a process for each of hundreds of locks.
struct Judge {
    runtime: tokio::runtime::Runtime,
    run: Option<Run>,
    environments: Vec<EnvironmentName>,
    lock: PathBuf,
}

impl Judge {
    fn new(directory: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let file = directory.join("lockstep.yaml");
        let builtin: Vec<&str> = Builtin::names().collect();
        let (project, problems) = load(&file, "lockstep.yaml", &builtin);
        let project = project.unwrap_or_else(|| panic!("{problems:?}"));
        let variables: BTreeMap<String, String> = std::env::vars().collect();
        let cache = variables
            .get("LOCKSTEP_CACHE_DIR")
            .map(PathBuf::from)
            .or_else(|| {
                variables
                    .get("XDG_CACHE_HOME")
                    .map(|cache| Path::new(cache).join("lockstep"))
            })
            .unwrap_or_else(|| Path::new(&variables["HOME"]).join(".cache/lockstep"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let context = Context {
            working_directory: directory.to_owned(),
            cache_directory: cache,
            started_at_seconds: now.as_secs(),
            run_id: format!("{:08x}", now.subsec_nanos()),
            temporary_directory: std::env::temp_dir(),
            machine_id: "attacks".to_owned(),
            is_root: rustix::process::geteuid().is_root(),
            processors: 2,
            variables,
        };
        let environments = project.environments.keys().cloned().collect();
        let options = Options {
            jobs: 2,
            locked: true,
            check: true,
            allowed: BTreeSet::new(),
            only_looks: true,
            offline: false,
        };
        let run = runtime.block_on(async {
            let engine = Docker::connect(&context.variables).await.unwrap();
            let events = Arc::new(Recorded::default());
            Run::start(
                project,
                context,
                Arc::new(engine),
                events,
                CancellationToken::new(),
                options,
            )
            .await
            .unwrap()
        });
        Self {
            runtime,
            run: Some(run),
            environments,
            lock: directory.join(LOCK),
        }
    }

    fn build(&self) -> Result<(), RunError> {
        let run = self.run.as_ref().unwrap();
        self.runtime.block_on(run.build(&self.environments)).map(|_| ())
    }

    /// None when the lock is as it should be; else the lines that it names.
    fn check(&self) -> Result<Option<Vec<usize>>, RunError> {
        let report = self.runtime.block_on(self.run.as_ref().unwrap().check_lock())?;
        let lines = report.environments.values().flatten().filter_map(|change| change.line);
        Ok((!report.is_current()).then(|| lines.collect()))
    }

    /// Whether both notice an edit, and at which line it is said to be.
    fn notices(&self, edit: &Edit) -> Result<Vec<usize>, String> {
        std::fs::write(&self.lock, &edit.text).unwrap();
        let error = match self.build() {
            Ok(()) => return Err(format!("{}: `build --locked` is content", edit.what)),
            Err(error) => error.failure(),
        };
        if error.exit != Exit::Drift {
            return Err(format!("{}: `build --locked`: {}", edit.what, error.render()));
        }
        let place = error.place.unwrap_or_default();
        let mut lines: Vec<usize> = place
            .split(':')
            .nth(1)
            .and_then(|line| line.parse().ok())
            .into_iter()
            .collect();
        match self.check() {
            Ok(Some(more)) => lines.extend(more),
            Ok(None) => return Err(format!("{}: `lock --check` is content", edit.what)),
            Err(error) if error.failure().exit == Exit::Drift => {}
            Err(error) => return Err(format!("{}: `lock --check`: {error}", edit.what)),
        }
        let after = std::fs::read_to_string(&self.lock).unwrap();
        if after != edit.text {
            return Err(format!("{}: the lock was written", edit.what));
        }
        Ok(lines)
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            let _ = self.runtime.block_on(run.finish(Ok(())));
        }
    }
}

/// A project with images that lockstep assembled, and with the same images taken as somebody else's.
fn with_locked_sample(name: &str, test: impl FnOnce(&Sample, &str)) {
    with_sample(name, |sample| {
        sample.build(0);
        let lock = sample.read(LOCK).unwrap();
        let runtime = lock.rsplit("id: sha256:").next().unwrap();
        let text = sample.read("lockstep.yaml").unwrap();
        let foreign = format!(
            "  foreign: {{build: {{image: 'lockstep/{}:glibc-build'}}, runtime: {{image: 'lockstep/environment:debian-runtime-{}'}}}}\nhost:",
            sample.name,
            &runtime[..12]
        );
        sample.write("lockstep.yaml", &text.replacen("host:", &foreign, 1));
        sample.build(0);
        let good = sample.read(LOCK).unwrap();
        assert_eq!(sample.run(&["build", "--locked"]).status.code(), Some(0));
        let checked = sample.run(&["lock", "--check"]);
        assert_eq!(
            checked.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&checked.stdout)
        );
        test(sample, &good);
        assert_eq!(sample.read(LOCK).as_deref(), Some(good.as_str()));
    });
}

fn limited(sample: &Sample, arguments: &[&str]) -> Output {
    wait(sample.start(arguments), LOOK)
}

/// What a command makes of an edited lock: an error with code 6 that names a line, and the file as it was.
fn refuses(sample: &Sample, arguments: &[&str], what: &str, text: &[u8]) -> Result<String, String> {
    let path = sample.path().join(LOCK);
    std::fs::write(&path, text).unwrap();
    let output = limited(sample, arguments);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
    if output.status.code() != Some(6) {
        return Err(format!(
            "{what}: {arguments:?} ended with {:?}: {told}",
            output.status.code()
        ));
    }
    if std::fs::read(&path).unwrap() != text {
        return Err(format!("{what}: {arguments:?} wrote the lock"));
    }
    Ok(told)
}

#[test]
fn every_line_counts() {
    with_locked_sample("lock-lines", |sample, good| {
        let (changed, removed, doubled) = edits(good);
        let lines = good.lines().count();
        for (attack, edits, few) in [
            ("a word of a line changed", changed, 100),
            ("a line left out", removed, 30),
            ("a line given twice", doubled, 30),
        ] {
            let judge = Judge::new(sample.path());
            assert!(judge.build().is_ok());
            let mut row = Row::new("lock", format!("{attack} (of {lines} lines)"));
            let mut places = Row::new("lock", format!("{attack}: the line is named"));
            let step = edits.len().div_ceil(tries(few, edits.len()));
            let seen: Vec<_> = edits
                .iter()
                .step_by(step)
                .map(|edit| (edit, judge.notices(edit)))
                .collect();
            std::fs::write(sample.path().join(LOCK), good).unwrap();
            drop(judge);
            for (edit, noticed) in seen {
                if let Ok(lines) = &noticed {
                    // What is left out has no line; the one before or what it belongs to is as good as any.
                    let is_near = attack.contains("left out") || lines.iter().any(|line| line.abs_diff(edit.line) <= 1);
                    places.check(is_near && !lines.is_empty(), || format!("{}: {lines:?}", edit.what));
                }
                row.count(noticed.map(|_| ()));
            }
            row.finish();
            places.finish();
        }
        // And by the program itself.
        let (changed, removed, doubled) = edits(good);
        let all: Vec<&Edit> = changed.iter().chain(&removed).chain(&doubled).collect();
        let mut row = Row::new("lock", "a line changed, left out or given twice, by the program itself");
        let step = all.len().div_ceil(tries(8, 200));
        for edit in all.iter().step_by(step) {
            for arguments in [&["lock", "--check"][..], &["build", "--locked"]] {
                row.count(refuses(sample, arguments, &edit.what, edit.text.as_bytes()).map(|_| ()));
            }
        }
        row.finish();
        std::fs::write(sample.path().join(LOCK), good).unwrap();
    });
}

/// What is untrue, and not only changed, stops a plain build too.
#[test]
fn a_plain_build_does_not_believe_it_either() {
    with_locked_sample("lock-plain", |sample, good| {
        let mut row = Row::new("lock", "an untrue image, layer, package or toolchain in a plain build");
        let first = |needle: &str| good.lines().find(|line| line.contains(needle)).unwrap().to_owned();
        let last = |needle: &str| good.lines().rfind(|line| line.contains(needle)).unwrap().to_owned();
        let hash = |line: &str| {
            format!(
                "{}{}",
                &line[..line.len() - 1],
                if line.ends_with('0') { '1' } else { '0' }
            )
        };
        let libc = last("- libc6 ");
        let edits: Vec<(&str, String, String)> = vec![
            ("another image ID", last("id: sha256:"), hash(&last("id: sha256:"))),
            (
                "another image ID of somebody else's image",
                first("id: sha256:"),
                hash(&first("id: sha256:")),
            ),
            (
                "an ID that is a name",
                last("id: sha256:"),
                "      id: lockstep/environment:latest".to_owned(),
            ),
            (
                "an ID that is none",
                last("id: sha256:"),
                "      id: ../../a b?c".to_owned(),
            ),
            (
                "an ID of somebody else's image that is none",
                first("id: sha256:"),
                "      id: '%2e%2e/x'".to_owned(),
            ),
            ("another layer", last("- sha256:"), hash(&last("- sha256:"))),
            ("another hash of a package", libc.clone(), hash(&libc)),
            (
                "another version of a package",
                libc.clone(),
                libc.replace("libc6 2", "libc6 3"),
            ),
            ("a package less", format!("{libc}\n"), String::new()),
            (
                "a package more",
                libc.clone(),
                format!("{libc}\n      - libc7 1 amd64 -"),
            ),
            ("another compiler", first("gcc: "), "      gcc: '99.0'".to_owned()),
            ("another C library", first("libc: "), "      libc: glibc 9".to_owned()),
            (
                "a compiler that clears the screen",
                first("gcc: "),
                "      gcc: \"\\e[2J\\e]0;x\\a\"".to_owned(),
            ),
            ("a toolchain less", format!("{}\n", first("gcc: ")), String::new()),
            (
                "a toolchain more",
                first("gcc: "),
                format!("{}\n      zig: '1'", first("gcc: ")),
            ),
            (
                "a registry",
                last("- sha256:"),
                format!("{}\n      registry: a@sha256:00", last("- sha256:")),
            ),
            ("another artifact", last("good.so: "), hash(&last("good.so: "))),
        ];
        for (what, from, to) in edits {
            let text = good.replace(&from, &to);
            for arguments in [&["build"][..], &["lock"], &["lock", "--check"]] {
                let told = refuses(sample, arguments, what, text.as_bytes());
                row.count(told.and_then(|told| {
                    let has_line = told.contains("lockstep.lock:") || told.contains("(line ");
                    if told.contains(['\u{1b}', '\u{7}']) {
                        return Err(format!("{what}: {arguments:?} sends it to the terminal"));
                    }
                    has_line
                        .then_some(())
                        .ok_or_else(|| format!("{what}: {arguments:?} names no line: {told}"))
                }));
            }
        }
        row.finish();
        // What only says too little is written anew, but not with --locked.
        let mut row = Row::new(
            "lock",
            "an artifact or unit left out: written anew, but not with --locked",
        );
        let units = good.rfind("    units:").unwrap();
        let unit = good[units..].find("      tiny:").unwrap() + units;
        for (what, text) in [
            ("an artifact", good.replace(&format!("{}\n", last("good.so: ")), "")),
            ("a unit", good[..unit].to_owned()),
        ] {
            // An empty list of artifacts must still be one.
            let text = text.replace("artifacts:\n      tiny", "artifacts: {}\n      tiny");
            row.count(refuses(sample, &["build", "--locked"], what, text.as_bytes()).map(|_| ()));
            row.count(refuses(sample, &["lock", "--check"], what, text.as_bytes()).map(|_| ()));
            let output = limited(sample, &["build"]);
            row.check(
                output.status.code() == Some(0) && sample.read(LOCK).as_deref() == Some(good),
                || format!("{what}: {}", said(&output)),
            );
        }
        row.finish();
    });
}

/// Not a lock at all, or one that nobody could have meant.
#[test]
fn what_is_no_lock_is_refused_at_once() {
    with_locked_sample("lock-form", |sample, good| {
        let units = good.rfind("    units:").unwrap();
        let half = good.lines().count() / 2;
        let (upper, lower) = good.split_at(good.match_indices('\n').nth(half).unwrap().0 + 1);
        let merged = format!("<<<<<<< HEAD\n{upper}=======\n{upper}>>>>>>> other\n{lower}");
        let line = |number: usize| good.lines().nth(number).unwrap();
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("empty", vec![], "the file is empty"),
            ("a comment alone", b"# nothing\n".to_vec(), "nothing but comments"),
            ("a list", b"- 1\n".to_vec(), "lockstep.lock:1"),
            ("binary", (0..=255).cycle().take(100_000).collect(), "lockstep.lock"),
            ("zeros", vec![0; 100_000], "lockstep.lock"),
            ("not UTF-8", [good.as_bytes(), b"\xff"].concat(), "not UTF-8"),
            ("too large", vec![b'#'; 5 << 20], "too large"),
            (
                "200,000 brackets",
                format!("schema_version: 1\nenvironments: {}", "[".repeat(200_000)).into(),
                "lockstep.lock:2",
            ),
            (
                "200,000 braces",
                format!("schema_version: 1\nenvironments: {}", "{a: ".repeat(200_000)).into(),
                "lockstep.lock:2",
            ),
            (
                "200,000 dashes",
                format!("schema_version: 1\nenvironments:\n  {}", "- ".repeat(200_000)).into(),
                "lockstep.lock:3",
            ),
            (
                "100,000 levels",
                (0..1_200)
                    .map(|depth| format!("{}a:\n", " ".repeat(depth)))
                    .collect::<String>()
                    .into(),
                "lockstep.lock",
            ),
            ("a billion laughs", laughs().into(), "lockstep.lock"),
            ("100,000 problems", "x: 1\n".repeat(100_000).into(), "lockstep.lock:1"),
            ("a conflict", merged.into(), "a merge left a conflict"),
            (
                "both sides kept",
                format!("{good}{}", &good[good.find("environments:").unwrap()..]).into(),
                "is given twice",
            ),
            (
                "an environment twice",
                format!("{good}{}", &good[good.find("  glibc:").unwrap()..]).into(),
                "is given twice",
            ),
            (
                "a unit twice",
                format!("{good}{}", &good[good.rfind("      tiny:").unwrap()..]).into(),
                "is given twice",
            ),
            (
                "an artifact twice",
                format!("{good}{}\n", good.lines().last().unwrap()).into(),
                "is given twice",
            ),
            (
                "a package twice",
                good.replacen(&format!("{}\n", line(12)), &format!("{0}\n{0}\n", line(12)), 1)
                    .into(),
                "is given twice",
            ),
            (
                "a version of the future",
                good.replace("schema_version: 1", "schema_version: 2").into(),
                "schema version 2",
            ),
            (
                "a version that is text",
                good.replace("schema_version: 1", "schema_version: one").into(),
                "schema_version",
            ),
            (
                "no version",
                good.replace("schema_version: 1\n", "").into(),
                "schema_version",
            ),
            (
                "an unknown key",
                format!("{good}extra: 1\n").into(),
                "unknown key `extra`",
            ),
            (
                "an unknown key of a unit",
                format!("{good}        extra: 1\n").into(),
                "unknown key `extra`",
            ),
            (
                "a list for a mapping",
                format!("{}    units: []\n", &good[..units]).into(),
                "`units` must be",
            ),
            (
                "a number for a digest",
                good.replacen("recipe: ", "recipe: 1 #", 1).into(),
                "lockstep.lock:6",
            ),
            (
                "a tab",
                good.replacen("    build:", "\tbuild:", 1).into(),
                "lockstep.lock:",
            ),
            ("garbage at the end", format!("{good}%%%\n").into(), "lockstep.lock:"),
            ("cut", good[..good.len() / 2].into(), "lockstep.lock:"),
            (
                "40,000 keys",
                (0..40_000).map(|key| format!("k{key}: 1\n")).collect::<String>().into(),
                "lockstep.lock:1",
            ),
            (
                "70,000 items",
                format!("environments:\n{}", "- 1\n".repeat(70_000)).into(),
                "lockstep.lock:1",
            ),
            ("a word of 400 KB", vec![b'x'; 400_000], "lockstep.lock:1"),
            (
                "a second document",
                format!("{good}---\n{good}").into(),
                "second document",
            ),
            ("a tag", good.replacen("id: ", "id: !!str ", 1).into(), "lockstep.lock:"),
        ];
        let mut row = Row::new("lock", "a lock that is none: named with its place, in every command");
        for (what, text, expected) in &cases {
            for arguments in &COMMANDS[..tries(2, COMMANDS.len())] {
                row.count(refuses(sample, arguments, what, text).and_then(|told| {
                    let is_told = told.contains(expected);
                    is_told
                        .then_some(())
                        .ok_or_else(|| format!("{what}: {arguments:?}: {told}"))
                }));
            }
        }
        row.finish();

        let mut row = Row::new(
            "lock",
            "line ends as git may write them, and a byte order mark: the same lock",
        );
        for text in [good.replace('\n', "\r\n"), format!("\u{feff}{good}")] {
            for arguments in [&["lock", "--check"][..], &["build", "--locked"], &["build"]] {
                std::fs::write(sample.path().join(LOCK), &text).unwrap();
                let output = limited(sample, arguments);
                row.check(
                    output.status.code() == Some(0) && sample.read(LOCK).as_ref() == Some(&text),
                    || format!("{arguments:?}: {}", said(&output)),
                );
            }
        }
        row.finish();

        let mut row = Row::new("lock", "a lock that is no file: refused at once");
        let path = sample.path().join(LOCK);
        let kinds: [(&str, &dyn Fn()); 5] = [
            ("/dev/zero", &|| std::os::unix::fs::symlink("/dev/zero", &path).unwrap()),
            ("/dev/tty", &|| std::os::unix::fs::symlink("/dev/tty", &path).unwrap()),
            ("a directory", &|| std::fs::create_dir(&path).unwrap()),
            ("a link to itself", &|| std::os::unix::fs::symlink(LOCK, &path).unwrap()),
            ("a pipe", &|| {
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            }),
        ];
        for (what, make) in kinds {
            let _ = std::fs::remove_file(&path);
            make();
            for arguments in COMMANDS {
                let output = limited(sample, arguments);
                row.check(output.status.code() == Some(6) && said(&output).contains(LOCK), || {
                    format!("{what}: {arguments:?}: {:?} {}", output.status.code(), said(&output))
                });
            }
            let _ = std::fs::remove_dir(&path);
        }
        row.finish();
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, good).unwrap();
    });
}

/// Aliases of aliases, each twice as large as the one before.
fn laughs() -> String {
    let aliases = (1..40).map(|line| format!("a{line}: &a{line} [*a{0}, *a{0}]\n", line - 1));
    format!("a0: &a0 [x, x]\n{}", aliases.collect::<String>())
}
