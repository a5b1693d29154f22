//! What is reported: one JSON object a line on standard output. The README lists every field.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::capture::Capture;
use crate::channel::{Phase, Returned, Value};
use crate::http::{Request, Response};
use crate::json::Json;
use crate::signal::{self, Signal};
use crate::system::Ending;

/// The version of the events' shapes.
const SCHEMA: i64 = 1;

/// Something that was seen.
#[derive(Debug)]
pub enum Event {
    /// This plugin is about to be opened.
    Opening(String),
    /// What became of a plugin.
    Plugin(Box<PluginEvent>),
    /// The command is about to be started.
    Starting,
    /// The command could not be started.
    NotStarted(String),
    /// The server is ready.
    Ready {
        /// Since its start.
        elapsed: Duration,
        /// How often it was tried.
        attempts: u64,
    },
    /// The server did not become ready.
    NotReady {
        /// Why.
        reason: NotReady,
        /// What the last try gave.
        message: Option<String>,
        /// Since its start.
        elapsed: Duration,
    },
    /// The server has answered.
    Response(Asked, Response),
    /// The server has not answered.
    RequestFailed(Asked, String),
    /// The command has ended.
    Exit(Box<ExitEvent>),
    /// This step is begun.
    Step(usize),
    /// A command that asked the server has ended.
    Client(usize, Box<ExitEvent>),
    /// A command that was to ask the server was not started.
    ClientFailed(usize, String),
    /// The next plugins are not opened, because something of the last one stays.
    Unclean(String),
    /// The loader was asked to end before it was done.
    Interrupted(Signal),
    /// The loader itself has failed.
    Error(String),
    /// What this loader is.
    Version,
    /// Everything was reported.
    End,
}

/// Why a server is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    /// It has ended.
    Exited,
    /// It took too long.
    TimedOut,
}

/// A request and how long it took.
#[derive(Debug)]
pub struct Asked {
    /// Its place among the requests.
    pub index: usize,
    /// `GET` and the like.
    pub method: String,
    /// Where.
    pub url: String,
    /// Until the answer was complete, or failed.
    pub elapsed: Duration,
}

impl Asked {
    /// For a request that began then.
    pub fn since(started: Instant, index: usize, request: &Request) -> Asked {
        Asked {
            index,
            method: request.method.clone(),
            url: request.url.to_string(),
            elapsed: started.elapsed(),
        }
    }
}

/// What became of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Opened, complete, called and closed without a complaint.
    Loaded,
    /// The loader refused it.
    NotLoadable,
    /// Opened, but it lacks a symbol.
    SymbolMissing,
    /// A call came back with something wrong.
    CallFailed,
    /// A signal ended its process.
    Crashed,
    /// It ended its process, with whatever status.
    Exited,
    /// It was not done in time.
    TimedOut,
}

impl Outcome {
    /// Its name in events.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Loaded => "loaded",
            Outcome::NotLoadable => "not-loadable",
            Outcome::SymbolMissing => "symbol-missing",
            Outcome::CallFailed => "call-failed",
            Outcome::Crashed => "crashed",
            Outcome::Exited => "exited",
            Outcome::TimedOut => "timed-out",
        }
    }
}

/// `{"event": "plugin"}`.
#[derive(Debug)]
pub struct PluginEvent {
    /// As given.
    pub path: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Where it stopped; none when it was loaded.
    pub phase: Option<Phase>,
    /// The symbol that was looked up or called then.
    pub symbol: Option<String>,
    /// The loader's own words.
    pub message: Option<String>,
    /// Every symbol that is not there.
    pub missing: Vec<String>,
    /// How its process ended; none when it was killed for being late.
    pub ending: Option<Ending>,
    /// What the calls gave that came back.
    pub calls: Vec<Returned>,
    /// Processes that it left behind.
    pub leftover_processes: usize,
    /// From start to end.
    pub elapsed: Duration,
    /// What it printed.
    pub stdout: Capture,
    /// What it printed.
    pub stderr: Capture,
}

/// What ended a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// It ended without being asked.
    Itself,
    /// It was asked to, and did.
    StopSignal,
    /// It was asked to, did not in time, and was killed.
    StopTimeout,
    /// Its time was over, and it was killed.
    Timeout,
    /// The loader itself was asked to end.
    Interrupt,
}

impl StoppedBy {
    fn name(self) -> &'static str {
        match self {
            StoppedBy::Itself => "itself",
            StoppedBy::StopSignal => "stop-signal",
            StoppedBy::StopTimeout => "stop-timeout",
            StoppedBy::Timeout => "timeout",
            StoppedBy::Interrupt => "interrupt",
        }
    }
}

/// `{"event": "exit"}`.
#[derive(Debug)]
pub struct ExitEvent {
    /// How the process ended.
    pub ending: Option<Ending>,
    /// What made it end.
    pub stopped_by: StoppedBy,
    /// Processes that it left behind.
    pub leftover_processes: usize,
    /// From start to end.
    pub elapsed: Duration,
    /// What it printed.
    pub stdout: Capture,
    /// What it printed.
    pub stderr: Capture,
}

impl Event {
    fn to_json(&self) -> Json {
        match self {
            Event::Plugin(plugin) => plugin.to_json(),
            Event::Opening(path) => event("opening", [("path", path.as_str().into())]),
            Event::Starting => event("starting", []),
            Event::NotStarted(message) => event("not-started", [("message", message.as_str().into())]),
            Event::Ready { elapsed, attempts } => event(
                "ready",
                [("attempts", (*attempts).into()), ("elapsed_ms", milliseconds(*elapsed))],
            ),
            Event::NotReady {
                reason,
                message,
                elapsed,
            } => {
                let reason = match reason {
                    NotReady::Exited => "exited",
                    NotReady::TimedOut => "timed-out",
                };
                let message = message.as_deref().into();
                event(
                    "not-ready",
                    [
                        ("reason", reason.into()),
                        ("message", message),
                        ("elapsed_ms", milliseconds(*elapsed)),
                    ],
                )
            }
            Event::Response(asked, response) => {
                let headers = response
                    .headers
                    .iter()
                    .map(|(name, values)| (name.clone(), values.clone().into()));
                let fields = [
                    ("status", i64::from(response.status).into()),
                    ("headers", Json::Object(headers.collect())),
                    ("body", response.body.to_json()),
                ];
                asked.event("response", fields)
            }
            Event::RequestFailed(asked, message) => {
                asked.event("request-failed", [("message", message.as_str().into())])
            }
            Event::Exit(exit) => exit.to_json(),
            Event::Step(index) => event("step", [("index", (*index).into())]),
            Event::Client(index, exit) => exit.of_client(*index),
            Event::ClientFailed(index, message) => event(
                "client-failed",
                [("index", (*index).into()), ("message", message.as_str().into())],
            ),
            Event::Unclean(message) => event("unclean", [("message", message.as_str().into())]),
            Event::Interrupted(number) => event(
                "interrupted",
                [
                    ("signal", (*number).into()),
                    ("signal_name", signal::name(*number).into()),
                ],
            ),
            Event::Error(message) => event("error", [("message", message.as_str().into())]),
            Event::Version => {
                let (name, version) = crate::system::c_library();
                let fields = [
                    ("loader", "dlopen".into()),
                    ("version", env!("CARGO_PKG_VERSION").into()),
                    ("libc", name.into()),
                    ("libc_version", version.into()),
                    ("go", Json::Null),
                ];
                event("version", fields)
            }
            Event::End => event("end", []),
        }
    }
}

impl Asked {
    fn event<const N: usize>(&self, name: &str, fields: [(&str, Json); N]) -> Json {
        let asked = [
            ("index", self.index.into()),
            ("method", self.method.as_str().into()),
            ("url", self.url.as_str().into()),
            ("elapsed_ms", milliseconds(self.elapsed)),
        ];
        join(event(name, asked), fields)
    }
}

impl PluginEvent {
    /// Of a plugin of which nothing else is known.
    pub fn new(outcome: Outcome, phase: Option<Phase>) -> PluginEvent {
        PluginEvent {
            path: String::new(),
            outcome,
            phase,
            symbol: None,
            message: None,
            missing: Vec::new(),
            ending: None,
            calls: Vec::new(),
            leftover_processes: 0,
            elapsed: Duration::ZERO,
            stdout: Capture::of_head(0),
            stderr: Capture::of_head(0),
        }
    }

    /// The same, of this plugin.
    pub fn of(self, plugin: &OsStr) -> PluginEvent {
        let path = plugin.to_string_lossy().into_owned();
        PluginEvent { path, ..self }
    }

    fn to_json(&self) -> Json {
        let calls: Vec<Json> = self.calls.iter().map(returned_to_json).collect();
        let fields = [
            ("path", self.path.as_str().into()),
            ("outcome", self.outcome.name().into()),
            ("phase", self.phase.map(Phase::name).into()),
            ("symbol", self.symbol.as_deref().into()),
            ("message", self.message.as_deref().into()),
            ("missing", self.missing.clone().into()),
        ];
        let rest = [
            ("calls", Json::List(calls)),
            ("leftover_processes", self.leftover_processes.into()),
            ("elapsed_ms", milliseconds(self.elapsed)),
            ("stdout", self.stdout.to_json()),
            ("stderr", self.stderr.to_json()),
        ];
        join(join(event("plugin", fields), ending_fields(self.ending)), rest)
    }
}

impl ExitEvent {
    fn to_json(&self) -> Json {
        let rest = [
            ("stopped_by", self.stopped_by.name().into()),
            ("leftover_processes", self.leftover_processes.into()),
            ("elapsed_ms", milliseconds(self.elapsed)),
            ("stdout", self.stdout.to_json()),
            ("stderr", self.stderr.to_json()),
        ];
        join(event("exit", ending_fields(self.ending)), rest)
    }

    /// The same of a client, of which nobody knows what it has left behind until the server has ended.
    fn of_client(&self, index: usize) -> Json {
        let rest = [
            ("stopped_by", self.stopped_by.name().into()),
            ("elapsed_ms", milliseconds(self.elapsed)),
            ("stdout", self.stdout.to_json()),
            ("stderr", self.stderr.to_json()),
        ];
        let asked = event("client", [("index", index.into())]);
        join(join(asked, ending_fields(self.ending)), rest)
    }
}

fn returned_to_json(returned: &Returned) -> Json {
    let (value, lossy) = match &returned.value {
        None => (Json::Null, false),
        Some(Value::Integer(number)) => ((*number).into(), false),
        Some(Value::String(bytes)) => (
            String::from_utf8_lossy(bytes).into_owned().into(),
            std::str::from_utf8(bytes).is_err(),
        ),
    };
    Json::object([
        ("symbol", returned.symbol.as_str().into()),
        ("type", returned.returns.name().into()),
        ("returned", value),
        ("lossy", lossy.into()),
        ("problem", returned.problem.as_deref().into()),
    ])
}

fn ending_fields(ending: Option<Ending>) -> [(&'static str, Json); 3] {
    let (status, number) = match ending {
        None => (None, None),
        Some(Ending::Status(status)) => (Some(status), None),
        Some(Ending::Signal(number)) => (None, Some(number)),
    };
    [
        ("status", status.into()),
        ("signal", number.into()),
        ("signal_name", number.map(signal::name).into()),
    ]
}

fn milliseconds(duration: Duration) -> Json {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}

fn event<const N: usize>(name: &str, fields: [(&str, Json); N]) -> Json {
    join(
        Json::object([("schema", SCHEMA.into()), ("event", name.into())]),
        fields,
    )
}

fn join<const N: usize>(object: Json, more: [(&str, Json); N]) -> Json {
    match (object, Json::object(more)) {
        (Json::Object(mut fields), Json::Object(more)) => {
            fields.extend(more);
            Json::Object(fields)
        }
        (object, _) => object,
    }
}

/// Writes events, each at once: whoever reads them may be waiting.
pub struct Printer<W> {
    out: W,
}

impl<W: Write> Printer<W> {
    /// Writes to this.
    pub fn new(out: W) -> Printer<W> {
        Printer { out }
    }

    /// Writes one line.
    pub fn print(&mut self, event: &Event) -> io::Result<()> {
        self.out.write_all(format!("{}\n", event.to_json()).as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Returns;
    use crate::http::Url;
    use std::collections::BTreeMap;

    fn captured(text: &str) -> Capture {
        let mut capture = Capture::of_stream(1024);
        capture.push(text.as_bytes());
        capture
    }

    fn plugins() -> Vec<Event> {
        let returned = |symbol: &str, returns, value, problem: Option<&str>| Returned {
            symbol: symbol.into(),
            returns,
            value,
            problem: problem.map(str::to_owned),
        };
        let crashed = PluginEvent {
            path: "/p/x.so".into(),
            outcome: Outcome::Crashed,
            phase: Some(Phase::Call),
            symbol: Some("plugin_greet".into()),
            message: None,
            missing: vec!["plugin_gone".into()],
            ending: Some(Ending::Signal(libc::SIGSEGV)),
            calls: vec![
                returned(
                    "plugin_name",
                    Returns::String,
                    Some(Value::String(b"sh\xffut".to_vec())),
                    Some("returned text that is not UTF-8"),
                ),
                returned("plugin_count", Returns::Int32, Some(Value::Integer(-1)), None),
                returned("plugin_run", Returns::None, None, None),
            ],
            leftover_processes: 1,
            elapsed: Duration::from_micros(3_999),
            stdout: captured(""),
            stderr: captured(""),
        };
        let loaded = PluginEvent {
            path: "/p/y.so".into(),
            outcome: Outcome::Loaded,
            phase: None,
            symbol: None,
            message: None,
            missing: Vec::new(),
            ending: Some(Ending::Status(0)),
            calls: Vec::new(),
            leftover_processes: 0,
            elapsed: Duration::ZERO,
            stdout: captured(""),
            stderr: captured("<wörds> & \"more\"\n\u{2028}"),
        };
        vec![Event::Plugin(Box::new(crashed)), Event::Plugin(Box::new(loaded))]
    }

    fn drives() -> Vec<Event> {
        let elapsed = Duration::from_millis(40);
        let asked = || Asked {
            index: 1,
            method: "GET".into(),
            url: Url::of_port(8080).to_string(),
            elapsed: Duration::from_millis(2),
        };
        let headers = [("content-type", vec!["text/plain"]), ("x-twice", vec!["a", "b"])];
        let response = Response {
            status: 200,
            headers: BTreeMap::from(
                headers.map(|(name, values)| (name.into(), values.into_iter().map(Into::into).collect())),
            ),
            body: captured("hi"),
        };
        let exit = ExitEvent {
            ending: Some(Ending::Status(3)),
            stopped_by: StoppedBy::StopSignal,
            leftover_processes: 0,
            elapsed: Duration::from_millis(12),
            stdout: captured("HELLO, WORLD\n"),
            stderr: captured(""),
        };
        let client = ExitEvent {
            ending: Some(Ending::Status(0)),
            stopped_by: StoppedBy::Itself,
            leftover_processes: 0,
            elapsed: Duration::from_millis(12),
            stdout: captured("(1 row)\n"),
            stderr: captured(""),
        };
        let (exited, timed_out) = (NotReady::Exited, NotReady::TimedOut);
        vec![
            Event::Exit(Box::new(exit)),
            Event::Response(asked(), response),
            Event::RequestFailed(asked(), "failed to connect".into()),
            Event::NotStarted("failed to start `x`".into()),
            Event::Ready { elapsed, attempts: 3 },
            Event::NotReady {
                reason: exited,
                message: None,
                elapsed,
            },
            Event::NotReady {
                reason: timed_out,
                message: Some("refused".into()),
                elapsed,
            },
            Event::Opening("/p/x.so".into()),
            Event::Starting,
            Event::Unclean("files in /tmp".into()),
            Event::Interrupted(libc::SIGTERM),
            Event::Error("no".into()),
            Event::End,
            Event::Step(1),
            Event::Client(1, Box::new(client)),
            Event::ClientFailed(1, "failed to start `x`".into()),
        ]
    }

    #[test]
    fn events_have_the_shapes_that_both_loaders_share() {
        let expect: Vec<&str> = include_str!("../tests/shared/events.jsonl").lines().collect();
        let events = plugins().into_iter().chain(drives()).collect::<Vec<_>>();
        assert_eq!(events.len(), expect.len());
        for (event, expect) in events.iter().zip(expect) {
            let mut printer = Printer::new(Vec::new());
            assert!(printer.print(event).is_ok());
            assert_eq!(String::from_utf8_lossy(&printer.out), format!("{expect}\n"));
        }
    }
}
