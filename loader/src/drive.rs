//! `drive`: a command that runs to its end, or a server that is awaited, asked and stopped.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::{DriveOptions, Question, Ready, ServerOptions};
use crate::child::{ChildError, Manner, Running, Supervisor, Wake};
use crate::event::{Asked, Event, ExitEvent, NotReady, Printer, StoppedBy};
use crate::http::{self, Request, Url};
use crate::system::{self, Ending};

/// Between two looks whether a server is ready.
const READY_PAUSE_MILLISECONDS: u64 = 10;
/// For one such look: a server that accepts and never answers is asked anew.
const READY_ATTEMPT_TIMEOUT_SECONDS: u64 = 2;
/// Of the body of such a look.
const READY_BODY_LIMIT_BYTES: usize = 64 * 1024;
/// After a request that failed: a server that dies closes its connections before its end can be seen.
const DYING_PAUSE_MILLISECONDS: u64 = 100;
/// How long a command may take to end after the loader was asked to, when no other limit is given.
const INTERRUPT_TIMEOUT_SECONDS: u64 = 5;

/// Why a command could not be driven, through no fault of its own.
#[derive(Debug)]
pub enum DriveError {
    /// Nobody listens.
    Print(io::Error),
}

impl fmt::Display for DriveError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DriveError::Print(cause) = self;
        write!(formatter, "failed to write to standard output: {cause}")
    }
}

/// Drives one command after the other, until one is not what the next needs.
pub fn drive_steps(
    supervisor: &mut Supervisor,
    steps: &[DriveOptions],
    printer: &mut Printer<impl Write>,
) -> Result<(), DriveError> {
    for (index, step) in steps.iter().enumerate() {
        printer.print(&Event::Step(index)).map_err(DriveError::Print)?;
        if !drive(supervisor, step, printer)? || supervisor.interrupt().is_some() {
            break;
        }
    }
    Ok(())
}

/// Starts the command, drives it, and reports until it is gone. Says whether it became ready, if it is a server, and ended by
/// itself or when it was asked to, with the status that is needed.
pub fn drive(
    supervisor: &mut Supervisor,
    options: &DriveOptions,
    printer: &mut Printer<impl Write>,
) -> Result<bool, DriveError> {
    printer.print(&Event::Starting).map_err(DriveError::Print)?;
    let mut running = match start(supervisor, options) {
        Ok(running) => running,
        Err(error) => {
            let event = Event::NotStarted(error.to_string());
            return printer.print(&event).map(|()| false).map_err(DriveError::Print);
        }
    };
    let deadline = running.started() + options.timeout;
    let mut is_ready = true;
    let stopped_by = match &options.server {
        None => run_to_end(supervisor, &mut running, deadline),
        Some(server) => {
            let mut session = Session {
                supervisor,
                running: &mut running,
                options,
                server,
                deadline,
                printer: &mut *printer,
            };
            let (was_ready, stopped_by) = session.serve()?;
            is_ready = was_ready;
            stopped_by
        }
    };
    let elapsed = running.started().elapsed();
    let leftover_processes = supervisor.sweep(&mut running).killed;
    let exit = ExitEvent {
        ending: running.ending(),
        stopped_by,
        leftover_processes,
        elapsed,
        stdout: running.stdout().finish(),
        stderr: running.stderr().finish(),
    };
    let is_as_needed = match (options.status, exit.ending, stopped_by) {
        (_, _, StoppedBy::Timeout | StoppedBy::StopTimeout | StoppedBy::Interrupt) => false,
        (Some(status), ending, _) => ending == Some(Ending::Status(status)),
        (None, _, _) => true,
    };
    printer
        .print(&Event::Exit(Box::new(exit)))
        .map(|()| is_ready && is_as_needed)
        .map_err(DriveError::Print)
}

/// Starts a command as it is to be started.
fn start(supervisor: &mut Supervisor, options: &DriveOptions) -> Result<Running, ChildError> {
    let (program, arguments) = match options.command.as_slice() {
        [program, arguments @ ..] => (program.as_os_str(), arguments),
        [] => (OsStr::new(""), [].as_slice()),
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(options.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(match &options.stdin {
        None => Stdio::null(),
        Some(text) => system::in_memory(text.as_bytes())
            .map_err(|cause| ChildError::Prepare("keep what the command reads", cause))?
            .into(),
    });
    let manner = Manner {
        user: options.user,
        directory: options.directory.as_deref(),
    };
    supervisor.spawn_as(manner, command, options.output_limit_bytes)
}

fn run_to_end(supervisor: &mut Supervisor, running: &mut Running, deadline: Instant) -> StoppedBy {
    match supervisor.wait(running, deadline) {
        Wake::Ended => StoppedBy::Itself,
        Wake::TimedOut => {
            supervisor.kill(running);
            StoppedBy::Timeout
        }
        Wake::Interrupted => {
            pass_on_interrupt(supervisor, running, Duration::from_secs(INTERRUPT_TIMEOUT_SECONDS));
            StoppedBy::Interrupt
        }
    }
}

fn pass_on_interrupt(supervisor: &mut Supervisor, running: &mut Running, timeout: Duration) {
    if let Some(signal) = supervisor.interrupt() {
        supervisor.stop(running, signal, timeout);
    }
}

/// A server at work.
struct Session<'a, W> {
    supervisor: &'a mut Supervisor,
    running: &'a mut Running,
    options: &'a DriveOptions,
    server: &'a ServerOptions,
    deadline: Instant,
    printer: &'a mut Printer<W>,
}

impl<W: Write> Session<'_, W> {
    /// Says whether it became ready, and what ended it.
    fn serve(&mut self) -> Result<(bool, StoppedBy), DriveError> {
        let is_ready = self.await_ready()?;
        if is_ready {
            for (index, question) in self.server.questions.iter().enumerate() {
                match question {
                    Question::Request(request) => self.ask(index, request)?,
                    Question::Client(client) => self.run_client(index, client)?,
                }
            }
        }
        if self.supervisor.interrupt().is_some() {
            pass_on_interrupt(self.supervisor, self.running, self.server.stop_timeout);
            return Ok((is_ready, StoppedBy::Interrupt));
        }
        self.supervisor.tick(self.running, Duration::ZERO);
        if self.running.ending().is_some() {
            return Ok((is_ready, StoppedBy::Itself));
        }
        let stopped = self
            .supervisor
            .stop(self.running, self.server.stop_signal, self.server.stop_timeout);
        let stopped_by = if stopped {
            StoppedBy::StopSignal
        } else {
            StoppedBy::StopTimeout
        };
        Ok((is_ready, stopped_by))
    }

    /// Waits and reports. Not ready is also what a loader gets that is asked to end meanwhile.
    fn await_ready(&mut self) -> Result<bool, DriveError> {
        let started = self.running.started();
        let deadline = self.deadline.min(started + self.server.ready_timeout);
        let mut attempts = 0;
        let mut message = None;
        let reason = loop {
            attempts += 1;
            match self.attempt(deadline) {
                // An answer from somebody else on that port says nothing about a server that has ended.
                Some(Ok(())) if self.is_alive() => {
                    self.print(&Event::Ready {
                        elapsed: started.elapsed(),
                        attempts,
                    })?;
                    return Ok(true);
                }
                Some(Ok(())) => break NotReady::Exited,
                // A look that the deadline cut short says less than the one before.
                Some(Err(_)) if message.is_some() && Instant::now() >= deadline => {}
                Some(Err(failure)) => message = Some(failure),
                None => return Ok(false),
            }
            let pause = Instant::now() + Duration::from_millis(READY_PAUSE_MILLISECONDS);
            match self.supervisor.wait(self.running, pause) {
                Wake::Ended => break NotReady::Exited,
                Wake::Interrupted => return Ok(false),
                Wake::TimedOut if Instant::now() >= deadline => break NotReady::TimedOut,
                Wake::TimedOut => {}
            }
        };
        self.print(&Event::NotReady {
            reason,
            message,
            elapsed: started.elapsed(),
        })?;
        Ok(false)
    }

    /// One look; none when the loader is asked to end meanwhile.
    fn attempt(&mut self, deadline: Instant) -> Option<Result<(), String>> {
        let deadline = deadline.min(Instant::now() + Duration::from_secs(READY_ATTEMPT_TIMEOUT_SECONDS));
        match &self.server.ready {
            Ready::Stdout(text) => Some(self.has_printed(text)),
            Ready::Tcp(port) => {
                let address = Url::of_port(*port).address();
                // A timeout of nothing is an error in itself.
                let left = deadline
                    .saturating_duration_since(Instant::now())
                    .max(Duration::from_millis(1));
                let connect = move || match TcpStream::connect_timeout(&address, left) {
                    Ok(_) => Ok(()),
                    Err(cause) => Err(format!("failed to connect to {address}: {cause}")),
                };
                self.supervisor.meanwhile(self.running, connect)
            }
            Ready::Http(url) => {
                let request = Request::get(url.clone());
                let ask = move || match http::exchange(&request, deadline, READY_BODY_LIMIT_BYTES) {
                    Ok(response) if response.status < 400 => Ok(()),
                    Ok(response) => Err(format!("{} answered with status {}", request.url, response.status)),
                    Err(error) => Err(error.to_string()),
                };
                self.supervisor.meanwhile(self.running, ask)
            }
        }
    }

    fn has_printed(&self, text: &[u8]) -> Result<(), String> {
        let printed = self.running.stdout().so_far();
        if text.is_empty() || printed.head().windows(text.len()).any(|window| window == text) {
            return Ok(());
        }
        Err(format!("`{}` was not printed", String::from_utf8_lossy(text)))
    }

    fn is_alive(&mut self) -> bool {
        self.supervisor.tick(self.running, Duration::ZERO);
        self.running.ending().is_none()
    }

    /// Why nothing more can be asked, if that is so.
    fn why_not(&mut self) -> Option<String> {
        if !self.is_alive() {
            return Some("the server has ended".to_owned());
        }
        let is_late = Instant::now() >= self.deadline;
        is_late.then(|| format!("{} ms were over", self.options.timeout.as_millis()))
    }

    /// Runs a command beside the server to its end, and reports. None is started beside a server that is gone, or when no
    /// time is left.
    fn run_client(&mut self, index: usize, client: &DriveOptions) -> Result<(), DriveError> {
        if self.supervisor.interrupt().is_some() {
            return Ok(());
        }
        let started = match self.why_not() {
            Some(why) => Err(format!("not started: {why}")),
            None => start(self.supervisor, client).map_err(|error| error.to_string()),
        };
        let mut running = match started {
            Ok(running) => running,
            Err(message) => return self.print(&Event::ClientFailed(index, message)),
        };
        let deadline = self.deadline.min(running.started() + client.timeout);
        let stopped_by = run_to_end(self.supervisor, &mut running, deadline);
        if self.supervisor.interrupt().is_some() {
            return Ok(());
        }
        let elapsed = running.started().elapsed();
        self.supervisor.sweep_group(&mut running);
        let exit = ExitEvent {
            ending: running.ending(),
            stopped_by,
            leftover_processes: 0,
            elapsed,
            stdout: running.stdout().finish(),
            stderr: running.stderr().finish(),
        };
        self.print(&Event::Client(index, Box::new(exit)))
    }

    /// Sends one request and reports. Nothing is sent to a server that is gone, or when no time is left.
    fn ask(&mut self, index: usize, request: &Request) -> Result<(), DriveError> {
        let started = Instant::now();
        let mut is_sent = false;
        let result = if self.supervisor.interrupt().is_some() {
            return Ok(());
        } else if let Some(why) = self.why_not() {
            Err(format!("not sent: {why}"))
        } else {
            let deadline = self.deadline.min(started + self.server.request_timeout);
            let limit = self.options.output_limit_bytes;
            let asked = request.clone();
            let exchange = move || http::exchange(&asked, deadline, limit).map_err(|error| error.to_string());
            is_sent = true;
            match self.supervisor.meanwhile(self.running, exchange) {
                Some(result) => result,
                None => return Ok(()),
            }
        };
        let asked = Asked::since(started, index, request);
        if is_sent && result.is_err() {
            let pause = Instant::now() + Duration::from_millis(DYING_PAUSE_MILLISECONDS);
            self.supervisor.wait(self.running, pause);
        }
        match result {
            Ok(response) => self.print(&Event::Response(asked, response)),
            Err(message) => self.print(&Event::RequestFailed(asked, message)),
        }
    }

    fn print(&mut self, event: &Event) -> Result<(), DriveError> {
        self.printer.print(event).map_err(DriveError::Print)
    }
}
