//! The program under watch: how it ends, what it says, how long it takes and how much memory at most.

#![allow(dead_code, reason = "not every part of the suite uses all of it")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often the memory is looked at, and whether it has ended.
const POLL: Duration = Duration::from_millis(5);
/// Whatever has no end here is ended; a machine with other work is slow.
const TIME_LIMIT: Duration = Duration::from_secs(180);
/// More memory than that is a fault, and the process is ended before the machine suffers.
pub(crate) const MEMORY_LIMIT_KIB: u64 = 300 * 1024;

/// What was seen of one run.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Its exit code; none when a signal ended it, ours or another's.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) took: Duration,
    /// The most memory that it had, in KiB.
    pub(crate) peak_kib: u64,
}

impl Watched {
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// An error unless it ended by itself with one of these codes, in bounds, and said why if it did not go well.
    pub(crate) fn expect(&self, codes: &[i32], what: &str) -> Result<(), String> {
        let is_silent = self.code != Some(0) && self.stderr.is_empty() && self.stdout.is_empty();
        if self.code.is_some_and(|code| codes.contains(&code)) && self.peak_kib <= MEMORY_LIMIT_KIB && !is_silent {
            return Ok(());
        }
        Err(format!(
            "{what}: code {:?}, signal {:?} after {:.1} s with {} KiB: {}",
            self.code,
            self.signal,
            self.took.as_secs_f64(),
            self.peak_kib,
            self.said().chars().take(300).collect::<String>()
        ))
    }
}

/// The program in a directory, with nothing of the caller's project in its variables.
pub(crate) fn lockstep(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("lockstep"));
    command
        .current_dir(directory)
        .env_remove("LOCKSTEP_FILE")
        .args(arguments);
    command
}

/// Runs it to its end, or ends it.
pub(crate) fn watch(mut command: Command) -> Watched {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |stream: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    };
    let status_file = format!("/proc/{}/status", child.id());
    std::thread::scope(|scope| {
        let stdout = scope.spawn(move || read(&mut stdout));
        let stderr = scope.spawn(move || read(&mut stderr));
        let mut peak_kib = 0;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            peak_kib = peak_kib.max(peak(&status_file));
            if started.elapsed() > TIME_LIMIT || peak_kib > MEMORY_LIMIT_KIB {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            std::thread::sleep(POLL);
        };
        Watched {
            code: status.code(),
            signal: status.signal(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
            took: started.elapsed(),
            peak_kib,
        }
    })
}

fn peak(status_file: &str) -> u64 {
    let status = std::fs::read_to_string(status_file).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
