//! What other means see of the same pairs: `ldd -r` inside the image, a comparison of version strings, and auditwheel's
//! search for libraries. Each says yes or no to a plugin; what really happens is known.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use crate::case::{Case, Libc};
use crate::compare::Outcome;
use crate::observe::{Command, Output};
use crate::table::Row;

/// The version of the runtime image's glibc, which it has version names up to.
const GLIBC_MINOR: u32 = 41;
/// Reads a root and a path a line; writes `yes`, or `no` with what is missing.
const AUDITWHEEL: &str = include_str!("programs/library_tree.py");

/// Whether a tool raises an alarm, by `LIBC CASE PATH`.
pub(crate) type Alarms = BTreeMap<String, bool>;

/// How a pair is called here.
pub(crate) fn key(libc: Libc, case: &str, plugin: &str) -> String {
    format!("{} {case} {plugin}", libc.word())
}

/// What `ldd -r` runs, for every plugin.
pub(crate) fn ldd_commands(cases: &[(&Case, PathBuf)], libc: Libc) -> Vec<Command> {
    let mut commands = Vec::new();
    for (case, _) in cases {
        for (index, path) in case.plugin_paths().iter().enumerate() {
            let mut variables = case.variables(libc);
            let mut arguments = vec!["/lib/ld-musl-x86_64.so.1".to_owned(), "--list".to_owned()];
            if libc == Libc::Glibc {
                arguments = vec!["/lib64/ld-linux-x86-64.so.2".to_owned()];
                let own = ["LD_TRACE_LOADED_OBJECTS=1", "LD_WARN=yes", "LD_BIND_NOW=yes"];
                variables.extend(own.map(str::to_owned));
            }
            arguments.push(Case::fill(path, libc));
            let (name, root, cwd) = (
                format!("{}+{index}", case.name),
                case.name.clone(),
                case.cwd().to_owned(),
            );
            let ldconfig = case.ldconfig && libc == Libc::Glibc;
            commands.push(Command {
                name,
                root,
                cwd,
                user: case.user(),
                effective: (case.user(), case.user()),
                ldconfig,
                variables,
                arguments,
            });
        }
    }
    commands
}

/// What a reader of `ldd -r` takes for a failure.
pub(crate) fn ldd_alarms(cases: &[(&Case, PathBuf)], libc: Libc, outputs: &BTreeMap<String, Output>) -> Alarms {
    let mut alarms = Alarms::new();
    for (case, _) in cases {
        for (index, path) in case.plugin_paths().iter().enumerate() {
            let output = &outputs[&format!("{}+{index}", case.name)];
            let text = format!("{}{}", output.stdout, output.stderr);
            let words = ["not found", "undefined symbol", "Error", "not defined", "cannot "];
            let failed = output.end.status != 0 || output.end.signal != 0 || output.not_started.is_some();
            alarms.insert(
                key(libc, &case.name, path),
                failed || words.iter().any(|word| text.contains(word)),
            );
        }
    }
    alarms
}

/// What a comparison of version strings says: the newest glibc that the plugin names against the one that is there.
pub(crate) fn version_alarms(cases: &[(&Case, PathBuf)], libc: Libc) -> Alarms {
    let mut alarms = Alarms::new();
    for (case, root) in cases {
        for path in case.plugin_paths() {
            let in_root = root.join(Case::fill(&path, libc).trim_start_matches(['.', '/']));
            let newest = std::fs::read(in_root).ok().and_then(|bytes| newest_glibc(&bytes));
            let alarm = match libc {
                Libc::Glibc => newest.is_some_and(|minor| minor > GLIBC_MINOR),
                Libc::Musl => newest.is_some(),
            };
            alarms.insert(key(libc, &case.name, &path), alarm);
        }
    }
    alarms
}

fn newest_glibc(bytes: &[u8]) -> Option<u32> {
    const PREFIX: &[u8] = b"GLIBC_2.";
    let numbers = bytes
        .windows(PREFIX.len())
        .enumerate()
        .filter(|(_, window)| *window == PREFIX)
        .map(|(at, _)| {
            let digits = bytes[at + PREFIX.len()..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit());
            digits.fold(0, |number: u32, digit| {
                number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
            })
        });
    numbers.max()
}

/// What auditwheel's reader of library trees finds; none if it cannot be installed, or may not change its root.
pub(crate) fn auditwheel_alarms(cases: &[(&Case, PathBuf)], libc: Libc, directory: &Path) -> Option<Alarms> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let environment = directory.with_file_name("auditwheel");
    let python = environment.join("bin/python");
    if !python.exists() {
        let made = Process::new("python3").args(["-m", "venv"]).arg(&environment).status();
        let installed = made.and_then(|_| {
            Process::new(&python)
                .args(["-m", "pip", "install", "-q", "auditwheel"])
                .status()
        });
        if !installed.is_ok_and(|status| status.success()) {
            return None;
        }
    }
    let mut child = Process::new(&python)
        .args(["-c", AUDITWHEEL])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut request, mut keys) = (String::new(), Vec::new());
    for (case, root) in cases {
        let search = case
            .env
            .get("LD_LIBRARY_PATH")
            .map(|value| Case::fill(value, libc))
            .unwrap_or_default();
        for path in case.plugin_paths() {
            let inside = Case::fill(&path, libc);
            writeln!(
                request,
                "{}\t{}\t{search}",
                root.display(),
                inside.trim_start_matches('.')
            )
            .unwrap();
            keys.push(key(libc, &case.name, &path));
        }
    }
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(request.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let answers = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(answers.lines().count(), keys.len(), "an answer for each plugin");
    Some(
        keys.into_iter()
            .zip(answers.lines().map(|line| line.starts_with("no")))
            .collect(),
    )
}

/// One line a tool and C library: what it detects of what fails loudly, of what fails silently, and its false alarms.
pub(crate) fn table(rows: &[Row], tools: &[(&str, Alarms)]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, libc: Libc, alarm: &dyn Fn(&Row) -> Option<bool>| {
        let rows: Vec<_> = rows.iter().filter(|row| row.libc == libc).collect();
        let rate = |wanted: fn(&Outcome) -> bool| {
            let of: Vec<bool> = rows
                .iter()
                .filter(|row| wanted(&row.outcome))
                .filter_map(|row| alarm(row))
                .collect();
            format!("{:>4} of {:<4}", of.iter().filter(|alarm| **alarm).count(), of.len())
        };
        let loud = rate(|outcome| matches!(outcome, Outcome::Refused { .. }));
        let silent = rate(|outcome| matches!(outcome, Outcome::Harmed { .. }));
        let healthy = rate(|outcome| matches!(outcome, Outcome::Healthy { .. }));
        let libc = libc.word();
        writeln!(
            text,
            "{libc:<6} {name:<16} loud {loud}  silent {silent}  false alarms {healthy}"
        )
        .unwrap();
    };
    for libc in Libc::ALL {
        line("lockstep check", libc, &|row| {
            row.prediction
                .as_ref()
                .ok()
                .map(|predicted| ["refuse", "danger"].contains(&predicted.verdict.as_str()))
        });
        for (name, alarms) in tools {
            line(name, libc, &|row| {
                alarms.get(&key(row.libc, &row.case, &row.plugin)).copied()
            });
        }
    }
    text
}
