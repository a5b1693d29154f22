//! Processes that this one starts: their output, their end, and that nothing of them stays.
//!
//! A plugin may do anything that a process can: fork, keep a pipe open, ignore signals, leave its group. So nothing here
//! waits for the end of a pipe alone, and every descendant is adopted, killed and reaped at the end.
//!
//! What is started may be another user, who cannot signal or trace this process. Where it is the same one, a signal that
//! came from a descendant is told apart and not heeded, and this process cannot be traced or written to all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::capture::Capture;
use crate::signal::Signal;
use crate::system::{self, Ending, Reaped, Sender, Sent, User};

/// What is read from a pipe at once.
const PIECE_BYTES: usize = 64 * 1024;
/// How long a killed process may take to be gone.
const KILL_TIMEOUT_SECONDS: u64 = 5;
/// How long pipes may take to be empty once every process that could write to them is gone.
const DRAIN_TIMEOUT_SECONDS: u64 = 2;
/// How long descendants may take to be gone.
const SWEEP_TIMEOUT_SECONDS: u64 = 5;
/// How many of the processes that were reaped are remembered as descendants.
const REAPED_LIMIT_COUNT: usize = 64 * 1024;
/// How far a process's parents are followed; only descendants that multiply on purpose have more.
const PARENTS_LIMIT_COUNT: usize = 4096;
/// Between two looks at something that gives no signal.
const PAUSE_MILLISECONDS: u64 = 2;

/// Why a process could not be watched over.
#[derive(Debug)]
pub enum ChildError {
    /// The kernel refused what every kernel in use grants.
    Prepare(&'static str, io::Error),
    /// The program could not be started.
    Start {
        /// As it was given.
        program: String,
        /// Where it was to start, if that was said.
        directory: Option<String>,
        /// What the kernel says.
        cause: io::Error,
        /// The kernel says "no such file" of a file that is there: it means the interpreter that the file names.
        is_interpreter_missing: bool,
    },
}

impl ChildError {
    fn start(command: &Command, directory: Option<&OsStr>, cause: io::Error) -> ChildError {
        let program = Path::new(command.get_program());
        let file = Path::new(directory.unwrap_or_default()).join(program);
        let is_interpreter_missing = cause.kind() == io::ErrorKind::NotFound
            && program.components().count() > 1
            && file.exists()
            && directory.is_none_or(|directory| Path::new(directory).exists());
        ChildError::Start {
            program: program.display().to_string(),
            directory: directory.map(|directory| directory.to_string_lossy().into_owned()),
            cause,
            is_interpreter_missing,
        }
    }
}

impl fmt::Display for ChildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildError::Prepare(what, cause) => write!(formatter, "failed to {what}: {cause}"),
            ChildError::Start {
                program,
                directory,
                cause,
                is_interpreter_missing,
            } => {
                let place = directory
                    .as_ref()
                    .map_or_else(String::new, |directory| format!(" in `{directory}`"));
                let reason = if *is_interpreter_missing {
                    "; the file is there, its interpreter is not"
                } else {
                    ""
                };
                write!(formatter, "failed to start `{program}`{place}: {cause}{reason}")
            }
        }
    }
}

/// Watches over processes, and is told when the loader itself is to end.
#[derive(Debug)]
pub struct Supervisor {
    interrupt: Option<Signal>,
    /// Who is started; none for whoever this process is.
    user: Option<User>,
    /// The descendants that were reaped since the last start: their signals may still come.
    reaped: BTreeSet<i32>,
    /// The processes that were started and have not ended.
    watched: BTreeSet<i32>,
    /// How those ended that have, until it is asked.
    endings: BTreeMap<i32, Ending>,
}

/// Who a process is, and where it starts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner<'a> {
    /// None for whoever this process is.
    pub user: Option<User>,
    /// None for where this process is.
    pub directory: Option<&'a OsStr>,
}

/// What a sweep came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// How many processes had to be killed.
    pub killed: usize,
    /// Whether all are gone.
    pub is_complete: bool,
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The process has ended.
    Ended,
    /// The time is over.
    TimedOut,
    /// The loader was asked to end.
    Interrupted,
}

impl Supervisor {
    /// Takes over signals and orphans. Threads that are started before this would still get the signals.
    pub fn start(user: Option<User>) -> Result<Supervisor, ChildError> {
        let prepare = |what| move |cause| ChildError::Prepare(what, cause);
        if user.is_some() && !system::is_root() {
            let cause = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(ChildError::Prepare(
                "start processes of another user without being root",
                cause,
            ));
        }
        system::hold_signals().map_err(prepare("hold back signals"))?;
        system::adopt_orphans().map_err(prepare("adopt orphans"))?;
        system::forbid_core_files().map_err(prepare("forbid core files"))?;
        system::forbid_inspection().map_err(prepare("forbid that this process is traced"))?;
        system::keep_descriptors();
        Ok(Supervisor {
            interrupt: None,
            user,
            reaped: BTreeSet::new(),
            watched: BTreeSet::new(),
            endings: BTreeMap::new(),
        })
    }

    /// The signal that asked the loader to end.
    pub fn interrupt(&self) -> Option<Signal> {
        self.interrupt
    }

    /// Starts a process in a group of its own, and reads what it writes. Its standard input is the caller's affair.
    pub fn spawn(&mut self, command: Command, output_limit_bytes: usize) -> Result<Running, ChildError> {
        let manner = Manner {
            user: self.user,
            directory: None,
        };
        self.spawn_as(manner, command, output_limit_bytes)
    }

    /// The same, as somebody and somewhere.
    pub fn spawn_as(
        &mut self,
        manner: Manner<'_>,
        mut command: Command,
        output_limit_bytes: usize,
    ) -> Result<Running, ChildError> {
        system::prepare(&mut command, manner.user);
        if let Some(directory) = manner.directory {
            let path = CString::new(directory.as_bytes());
            let path = path.map_err(|cause| ChildError::start(&command, Some(directory), cause.into()))?;
            system::start_in(&mut command, path);
        }
        let pipe = || system::pipe(manner.user).map_err(|cause| ChildError::Prepare("make a pipe", cause));
        let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe()?, pipe()?);
        command.process_group(0).stdout(stdout_end).stderr(stderr_end);
        // Before the process: it could leave no room for threads.
        let reader = |cause| ChildError::Prepare("start a thread that reads output", cause);
        let stdout = Reader::start(File::from(stdout), output_limit_bytes).map_err(reader)?;
        let stderr = Reader::start(File::from(stderr), output_limit_bytes).map_err(reader)?;
        // What those that are gone have sent can only now be told from what comes from outside.
        while let Some(sent) = system::next_signal(Duration::ZERO) {
            self.heed(sent);
        }
        self.reaped.clear();
        let started = Instant::now();
        // The command has the other ends of the pipes, which close with it.
        let child = command
            .spawn()
            .map_err(|cause| ChildError::start(&command, manner.directory, cause))?;
        // A process id is positive and fits; the kernel's own type is signed.
        let pid = child.id() as i32;
        self.watched.insert(pid);
        Ok(Running {
            pid,
            started,
            ending: None,
            stdout,
            stderr,
        })
    }

    /// Handles what has happened, and waits for something to happen at most this long.
    pub fn tick(&mut self, running: &mut Running, pause: Duration) {
        self.reap(running);
        if running.ending.is_none() || !pause.is_zero() {
            if let Some(sent) = system::next_signal(pause) {
                self.heed(sent);
            }
            self.reap(running);
        }
    }

    /// Takes a signal: that a child has ended is seen elsewhere, and the others ask this process to end.
    fn heed(&mut self, sent: Sent) {
        if sent.signal != libc::SIGCHLD && self.is_from_outside(sent.sender) {
            self.interrupt = Some(sent.signal);
        }
    }

    /// Whether a signal is the wish of somebody else than what was started here.
    fn is_from_outside(&self, sender: Sender) -> bool {
        match sender {
            Sender::Outside => true,
            Sender::Process(pid) => !self.reaped.contains(&pid) && !is_descendant(pid),
            Sender::Anyone => false,
        }
    }

    /// Takes every child that has ended: those of interest, and orphans, which are only to be gone.
    fn reap(&mut self, running: &mut Running) -> Reaped {
        loop {
            match system::reap() {
                Reaped::Ended(pid, ending) => {
                    // Once it has ended its number may be an orphan's.
                    if self.watched.remove(&pid) {
                        self.endings.insert(pid, ending);
                    }
                    if self.reaped.len() < REAPED_LIMIT_COUNT {
                        self.reaped.insert(pid);
                    }
                }
                other => {
                    self.tell_ending(running);
                    return other;
                }
            }
        }
    }

    /// Lets a process know that it was reaped, perhaps while another one was waited for.
    fn tell_ending(&mut self, running: &mut Running) {
        if running.ending.is_none() {
            running.ending = self.endings.remove(&running.pid);
        }
    }

    /// Waits until the process has ended, the deadline has passed, or the loader is asked to end.
    pub fn wait(&mut self, running: &mut Running, deadline: Instant) -> Wake {
        loop {
            self.tick(running, Duration::ZERO);
            let left = deadline.saturating_duration_since(Instant::now());
            match running.ending {
                Some(_) => return Wake::Ended,
                None if self.interrupt.is_some() => return Wake::Interrupted,
                None if left.is_zero() => return Wake::TimedOut,
                None => self.tick(running, left),
            }
        }
    }

    /// Waits until the process has ended or the deadline has passed, whatever else is wanted.
    pub fn wait_regardless(&mut self, running: &mut Running, deadline: Instant) -> bool {
        while running.ending.is_none() && Instant::now() < deadline {
            self.tick(running, deadline.saturating_duration_since(Instant::now()));
        }
        running.ending.is_some()
    }

    /// Runs something that may block, in a thread of its own, while signals and ends are handled. None if the loader
    /// is asked to end before it is done; the thread is then left to its own time limit.
    pub fn meanwhile<T: Send + 'static>(
        &mut self,
        running: &mut Running,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Option<Result<T, String>> {
        let thread = match thread::Builder::new().spawn(work) {
            Ok(thread) => thread,
            Err(cause) => return Some(Err(format!("failed to start a thread: {cause}"))),
        };
        while !thread.is_finished() {
            self.tick(running, Duration::from_millis(PAUSE_MILLISECONDS));
            if self.interrupt.is_some() {
                return None;
            }
        }
        Some(
            thread
                .join()
                .unwrap_or_else(|_| Err("the thread that did this has failed".to_owned())),
        )
    }

    /// Asks the process to end, and kills it if it does not in time. Says whether it ended by itself.
    pub fn stop(&mut self, running: &mut Running, signal: Signal, timeout: Duration) -> bool {
        self.tell_ending(running);
        running.signal(signal);
        let ended = self.wait_regardless(running, Instant::now() + timeout);
        if !ended {
            self.kill(running);
        }
        ended
    }

    /// Kills the process and its group.
    pub fn kill(&mut self, running: &mut Running) {
        self.tell_ending(running);
        running.signal(libc::SIGKILL);
        system::signal_group(running.pid, libc::SIGKILL);
        self.wait_regardless(running, Instant::now() + Duration::from_secs(KILL_TIMEOUT_SECONDS));
    }

    /// Kills what is left of the process's group, and leaves all others alone: another process is at work beside it.
    pub fn sweep_group(&mut self, running: &mut Running) {
        system::signal_group(running.pid, libc::SIGKILL);
        self.tick(running, Duration::ZERO);
    }

    /// Kills and reaps whatever the process has left behind.
    pub fn sweep(&mut self, running: &mut Running) -> Swept {
        let deadline = Instant::now() + Duration::from_secs(SWEEP_TIMEOUT_SECONDS);
        let mut killed = BTreeSet::new();
        loop {
            let is_complete = self.reap(running) == Reaped::NoChildren;
            if is_complete || Instant::now() >= deadline {
                let killed = killed.len();
                return Swept { killed, is_complete };
            }
            // Orphans become children of this process, so each round reaches the next generation; as a container's first
            // process it has nothing but descendants beside it, and reaches all of them at once.
            let found = living_processes(|parent| system::is_first_process() || parent == std::process::id());
            system::kill_all_others();
            for pid in found {
                killed.insert(pid);
                system::signal_process(pid, libc::SIGKILL);
            }
            self.tick(running, Duration::from_millis(PAUSE_MILLISECONDS));
        }
    }
}

/// A process that was started.
#[derive(Debug)]
pub struct Running {
    pid: i32,
    started: Instant,
    ending: Option<Ending>,
    stdout: Reader,
    stderr: Reader,
}

impl Running {
    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// How it ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// What it has written to standard output.
    pub fn stdout(&self) -> &Reader {
        &self.stdout
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> &Reader {
        &self.stderr
    }

    /// Sends it a signal, unless it has ended: its number may be another's then.
    pub fn signal(&self, signal: Signal) {
        if self.ending.is_none() {
            system::signal_process(self.pid, signal);
        }
    }

    /// Sends its group a signal.
    pub fn signal_group(&self, signal: Signal) {
        if self.ending.is_none() {
            system::signal_group(self.pid, signal);
        }
    }
}

/// Reads a pipe in a thread of its own, so that its writer never waits.
#[derive(Debug)]
pub struct Reader {
    capture: Arc<Mutex<Capture>>,
    thread: JoinHandle<()>,
}

impl Reader {
    /// Reads until the end of the pipe, and keeps up to the limit.
    pub fn start(pipe: impl Read + Send + 'static, limit_bytes: usize) -> io::Result<Reader> {
        let capture = Arc::new(Mutex::new(Capture::of_stream(limit_bytes)));
        let shared = Arc::clone(&capture);
        let thread = thread::Builder::new().spawn(move || read_to_end(pipe, &shared))?;
        Ok(Reader { capture, thread })
    }

    /// What was read until now.
    pub fn so_far(&self) -> MutexGuard<'_, Capture> {
        lock(&self.capture)
    }

    /// What was read until the end, or until it is clear that none comes. A look at the clock is all that this waits
    /// on, since a process that was not killed could hold the pipe for ever.
    pub fn finish(&self) -> Capture {
        let deadline = Instant::now() + Duration::from_secs(DRAIN_TIMEOUT_SECONDS);
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(PAUSE_MILLISECONDS));
        }
        self.so_far().clone()
    }
}

fn read_to_end(mut pipe: impl Read, capture: &Mutex<Capture>) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match pipe.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => lock(capture).push(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// A thread that failed while it held the lock has not made the bytes wrong.
fn lock(capture: &Mutex<Capture>) -> MutexGuard<'_, Capture> {
    capture.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The processes beside this one that still run and have such a parent. None when there is no process table to read:
/// their group was killed all the same.
fn living_processes(has_parent: impl Fn(u32) -> bool) -> Vec<i32> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| *name != own).filter_map(|name| name.parse().ok());
    pids.filter(|pid: &i32| {
        let stat = read_stat(*pid);
        parse_stat(&stat).is_some_and(|(state, parent)| has_parent(parent) && state != "Z" && state != "X")
    })
    .collect()
}

/// Whether a process that is there was started by this one, or by one that was.
fn is_descendant(pid: i32) -> bool {
    let own = std::process::id();
    let mut pid = pid;
    for _ in 0..PARENTS_LIMIT_COUNT {
        match parse_stat(&read_stat(pid)).map(|(_, parent)| (parent, i32::try_from(parent))) {
            Some((parent, _)) if parent == own => return true,
            Some((_, Ok(parent))) if parent > 1 => pid = parent,
            _ => return false,
        }
    }
    true
}

fn read_stat(pid: i32) -> String {
    fs::read(format!("/proc/{pid}/stat"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// State and parent from `/proc/PID/stat` (proc(5)). The name before them may hold anything, even parentheses.
fn parse_stat(stat: &str) -> Option<(&str, u32)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_known() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut grandchild = String::new();
        let stdout = child.stdout.take().unwrap();
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut grandchild).unwrap();
        for pid in [child.id() as i32, grandchild.trim().parse().unwrap()] {
            assert!(is_descendant(pid), "{pid}");
        }
        for pid in [1, std::os::unix::process::parent_id() as i32, i32::MAX] {
            assert!(!is_descendant(pid), "{pid}");
        }
        system::signal_group(child.id() as i32, libc::SIGKILL);
        child.wait().unwrap();
    }

    #[test]
    fn process_names_do_not_confuse() {
        assert_eq!(parse_stat("7 (cat) S 3 7 7 0"), Some(("S", 3)));
        assert_eq!(parse_stat("7 (a) Z 1 (b) R 42 7 7"), Some(("R", 42)));
        for text in ["", "7 cat S 3", "7 (cat)", "7 (cat) S", "7 (cat) S x"] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }
}
