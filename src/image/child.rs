//! Runs a program of the machine with a limit on its time: its standard output is read while it runs, its standard
//! error becomes a log, and when it is to end early nothing of it is left.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the run was cancelled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long a program that was asked to end may take: it removes a tree of a gigabyte.
const GRACE_SECONDS: u64 = 60;
/// How many lines of the log are kept for a message.
const TAIL_LIMIT_LINES: usize = 15;
/// The longest line of the log; what is beyond counts as the next line.
const LINE_LIMIT_BYTES: u64 = 16 * 1024;
/// How large the log may become; the program goes on without it.
const LOG_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It cannot be started.
    #[error("failed to start {program}: {cause}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        cause: io::Error,
    },
    /// It said that it failed.
    #[error("{program} failed ({status})")]
    Failed {
        /// The program.
        program: String,
        /// Its status, in words.
        status: String,
        /// The last lines of its log.
        tail: Vec<String>,
    },
    /// It took too long and was ended.
    #[error("{program} did not end within {} s", limit.as_secs())]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// The run was cancelled, and the program ended.
    #[error("cancelled")]
    Cancelled,
    /// Its log cannot be written, or its output not be read.
    #[error("failed to follow {program}: {cause}")]
    Follow {
        /// The program.
        program: String,
        /// Why.
        cause: io::Error,
    },
}

/// How a program is run.
pub(super) struct Run<'a> {
    /// What it is called in messages.
    pub(super) program: &'static str,
    /// What it reads.
    pub(super) input: &'a [u8],
    /// Where its standard error goes.
    pub(super) log: &'a Path,
    /// How long it may take.
    pub(super) limit: Duration,
    /// Ends it early.
    pub(super) cancel: &'a CancellationToken,
    /// Whether to ask it to end before it is ended; programs that have a process namespace of their own need not be.
    pub(super) ends_gracefully: bool,
    /// Takes each line of its standard error.
    pub(super) line: &'a (dyn Fn(&str) + Sync),
}

/// What a program says that says little; what it complains of is nobody's.
pub(super) fn answer(
    program: &'static str,
    command: Command,
    limit: Duration,
    limit_bytes: u64,
    cancel: &CancellationToken,
) -> Result<String, ChildError> {
    let run = Run {
        program,
        input: b"",
        log: Path::new("/dev/null"),
        limit,
        cancel,
        ends_gracefully: false,
        line: &|_| {},
    };
    run.run(command, |output| {
        let mut text = String::new();
        let read = output.take(limit_bytes).read_to_string(&mut text);
        read.map(|_| text).map_err(|cause| ChildError::Follow {
            program: program.to_owned(),
            cause,
        })
    })
}

impl Run<'_> {
    /// Runs `command`, and gives what it writes to `consume` while it runs.
    ///
    /// The command's own failure is worth more than what `consume` makes of its cut-off output, so it comes first.
    ///
    /// # Errors
    /// [`ChildError`], else what `consume` fails with.
    pub(super) fn run<T, E>(
        &self,
        mut command: Command,
        consume: impl FnOnce(&mut ChildStdout) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<ChildError>,
    {
        let follow = |cause| ChildError::Follow {
            program: self.program.to_owned(),
            cause,
        };
        let log = File::create(self.log).map_err(follow)?;
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| ChildError::Start {
                program: self.program.to_owned(),
                cause,
            })?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(mut output), Some(errors)) = (input, output, errors) else {
            return Err(follow(io::ErrorKind::BrokenPipe.into()).into());
        };
        let bytes = self.input.to_vec();
        let (ended, ending) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // A program that does not read its input fails by itself.
            scope.spawn(move || input.write_all(&bytes));
            let logger = scope.spawn(|| self.follow_errors(errors, log));
            let waiter = scope.spawn(|| self.wait(child, ending));
            let consumed = consume(&mut output);
            // What is left unread would keep the program from ending.
            let _ = io::copy(&mut output, &mut io::sink());
            drop(output);
            let tail = logger.join().unwrap_or_default();
            drop(ended);
            let status = waiter.join().unwrap_or(Err(ChildError::Cancelled))?;
            if !status.success() {
                return Err(ChildError::Failed {
                    program: self.program.to_owned(),
                    status: status.to_string(),
                    tail,
                }
                .into());
            }
            consumed
        })
    }

    fn follow_errors(&self, errors: impl Read, mut log: File) -> Vec<String> {
        let mut reader = BufReader::new(errors);
        let mut tail = VecDeque::new();
        let mut written = 0;
        loop {
            let mut bytes = Vec::new();
            match (&mut reader).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return tail.into(),
                Ok(_) => {}
            }
            written += bytes.len() as u64;
            if written <= LOG_LIMIT_BYTES {
                // A log that cannot be written stops nothing: its end is in memory.
                let _ = log.write_all(&bytes);
            }
            let text = String::from_utf8_lossy(&bytes);
            let line = text.trim_end();
            (self.line)(line);
            if tail.len() == TAIL_LIMIT_LINES {
                tail.pop_front();
            }
            tail.push_back(line.to_owned());
        }
    }

    /// Waits until the program has ended, and ends it when it must.
    fn wait(&self, mut child: Child, ending: mpsc::Receiver<()>) -> Result<std::process::ExitStatus, ChildError> {
        let started = Instant::now();
        let follow = |cause| ChildError::Follow {
            program: self.program.to_owned(),
            cause,
        };
        let reason = loop {
            match ending.recv_timeout(POLL_INTERVAL) {
                // Its output has ended, so it will too, or it must be made to.
                Err(RecvTimeoutError::Disconnected) => {
                    if let Some(status) = child.try_wait().map_err(follow)? {
                        return Ok(status);
                    }
                    std::thread::sleep(POLL_INTERVAL);
                }
                _ => {
                    if let Some(status) = child.try_wait().map_err(follow)? {
                        return Ok(status);
                    }
                }
            }
            if self.cancel.is_cancelled() {
                break ChildError::Cancelled;
            }
            if started.elapsed() > self.limit {
                break ChildError::TimedOut {
                    program: self.program.to_owned(),
                    limit: self.limit,
                };
            }
        };
        self.end(&mut child);
        Err(reason)
    }

    fn end(&self, child: &mut Child) {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let Some(group) = group else { return };
        if self.ends_gracefully {
            let _ = kill_process_group(group, Signal::TERM);
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(GRACE_SECONDS) {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    break;
                }
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        // Whatever of its group is left goes too; it fails when none is.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn run(script: &str, limit: Duration, cancel: &CancellationToken) -> (Result<String, ChildError>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let lines = Mutex::new(Vec::new());
        let run = Run {
            program: "sh",
            input: b"input\n",
            log: &directory.path().join("log"),
            limit,
            cancel,
            ends_gracefully: true,
            line: &|line| lines.lock().unwrap().push(line.to_owned()),
        };
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let result = run.run(command, |output| {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            Ok(text)
        });
        (result, lines.into_inner().unwrap())
    }

    #[test]
    fn output_and_log_are_apart() {
        let (result, lines) = run(
            "cat; echo one >&2; echo two >&2",
            Duration::from_secs(10),
            &CancellationToken::new(),
        );
        assert_eq!(result.unwrap(), "input\n");
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        let script = "for i in $(seq 40); do echo line $i >&2; done; exit 3";
        let (result, _) = run(script, Duration::from_secs(10), &CancellationToken::new());
        let Err(ChildError::Failed { status, tail, .. }) = result else {
            panic!("expected a failure")
        };
        assert_eq!(status, "exit status: 3");
        assert_eq!(tail.len(), TAIL_LIMIT_LINES);
        assert_eq!(tail.last().map(String::as_str), Some("line 40"));
    }

    #[test]
    fn time_is_limited_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let script = format!("(sleep 3; touch {}) & sleep 60", mark.display());
        let (result, _) = run(&script, Duration::from_millis(300), &CancellationToken::new());
        assert!(matches!(result, Err(ChildError::TimedOut { .. })));
        std::thread::sleep(Duration::from_secs(4));
        assert!(!mark.exists());
    }

    #[test]
    fn a_cancelled_run_ends_at_once() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let started = Instant::now();
        let (result, _) = run("sleep 60", Duration::from_secs(60), &cancel);
        assert!(matches!(result, Err(ChildError::Cancelled)));
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let run = Run {
            program: "no-such-program",
            input: b"",
            log: Path::new("/dev/null"),
            limit: Duration::from_secs(1),
            cancel: &CancellationToken::new(),
            ends_gracefully: false,
            line: &|_| {},
        };
        let result: Result<(), ChildError> = run.run(Command::new("no-such-program"), |_| Ok(()));
        assert!(
            result
                .unwrap_err()
                .to_string()
                .starts_with("failed to start no-such-program")
        );
    }
}
