//! What the smoke loader saw: its JSON lines in, typed observations out. Nothing is judged here. What it saw of the host is read
//! in `life`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the loader's events that this program reads.
const EVENT_SCHEMA: u64 = 1;

/// How loading one plugin went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It loaded, all symbols were there and all calls returned.
    Loaded,
    /// The loader refused it.
    NotLoadable,
    /// A symbol of the contract is not there.
    SymbolMissing,
    /// A symbol of the contract has another type than it names.
    TypeDiffers,
    /// A signal ended the process.
    Crashed,
    /// It did not come to an end in time.
    TimedOut,
    /// It ended the process itself.
    Exited,
    /// A call returned what it must not.
    CallFailed,
    /// The loader came to its end while this plugin was at work, and nothing else in its container had been. No loader
    /// says so.
    #[serde(skip_deserializing)]
    EndedLoader,
}

/// What something printed, or a body: bounded, so the middle of it may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Text {
    /// All of it, or its beginning.
    pub text: String,
    /// Its end, when the middle is missing.
    #[serde(default)]
    pub tail: Option<String>,
}

impl Text {
    /// All that there is of it, with a mark where something is missing.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.tail {
            None => self.text.clone(),
            Some(tail) => format!("{}\n[…]\n{tail}", self.text),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            tail: None,
        }
    }
}

/// What one call returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// The function.
    pub symbol: String,
    /// What it returned; null for nothing.
    #[serde(default)]
    pub returned: serde_json::Value,
    /// What is wrong with it.
    #[serde(default)]
    pub problem: Option<String>,
}

/// One plugin, loaded for real.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginObservation {
    /// The file, as the loader was given it.
    pub path: String,
    /// Where that lies in the bundle. No loader says so.
    #[serde(skip_deserializing)]
    pub name: String,
    /// How it went.
    pub outcome: Outcome,
    /// The files of those that were opened before it in the same process, because it does not load alone. No loader says so.
    #[serde(skip_deserializing)]
    pub after: Vec<String>,
    /// `open`, `symbol`, `call`, `close`: where it stopped; none when it loaded.
    pub phase: Option<String>,
    /// The symbol that was looked up or called then.
    pub symbol: Option<String>,
    /// The loader's own words, where it had any.
    pub message: Option<String>,
    /// Every symbol of the contract that is not there.
    pub missing: Vec<String>,
    /// The signal's name, for a crash.
    pub signal_name: Option<String>,
    /// The exit status, for an exit.
    pub status: Option<i64>,
    /// What the calls returned.
    pub calls: Vec<Returned>,
    /// What it printed.
    pub stdout: Text,
    /// What it printed on standard error.
    pub stderr: Text,
}

/// The phase of a host that has not come to its `main`.
pub(super) const START_PHASE: &str = "start";
/// The phase of a plugin that is opened before the one that is looked at.
pub const BEFORE_PHASE: &str = "before";
/// The phase of a plugin that is opened.
const OPEN_PHASE: &str = "open";

impl PluginObservation {
    /// What messages call it: where it lies in the bundle, else the last part of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.name.as_str() {
            "" => self.path.rsplit('/').next().unwrap_or(&self.path),
            name => name,
        }
    }

    /// Whether it was never opened, because the host that was to do it did not come to its `main`.
    #[must_use]
    pub fn is_unopened(&self) -> bool {
        self.outcome != Outcome::Loaded && self.phase.as_deref() == Some(START_PHASE)
    }

    /// Whether the loader refused the file itself.
    #[must_use]
    pub fn is_refused_at_open(&self) -> bool {
        self.outcome == Outcome::NotLoadable && self.phase.as_deref() == Some(OPEN_PHASE)
    }

    /// Whether its constructors have ended the process.
    #[must_use]
    pub fn breaks_when_opened(&self) -> bool {
        matches!(self.outcome, Outcome::Crashed | Outcome::Exited) && self.phase.as_deref() == Some(OPEN_PHASE)
    }

    /// What is known of a plugin with which the loader came to its end in some way.
    #[must_use]
    pub fn ended_loader(path: &str, ending: String) -> Self {
        Self {
            path: path.to_owned(),
            name: String::new(),
            outcome: Outcome::EndedLoader,
            after: vec![],
            phase: None,
            symbol: None,
            message: Some(ending),
            missing: vec![],
            signal_name: None,
            status: None,
            calls: vec![],
            stdout: Text::default(),
            stderr: Text::default(),
        }
    }
}

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Which request, from 0.
    pub index: usize,
    /// The request's method.
    pub method: String,
    /// The request's address.
    pub url: String,
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case, with all their values.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body.
    pub body: Text,
}

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRequest {
    /// Which request, from 0.
    pub index: usize,
    /// Why.
    pub message: String,
}

/// How the host's process ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ended {
    /// Its status, when it exited.
    pub status: Option<i64>,
    /// The signal's name, when a signal ended it.
    pub signal_name: Option<String>,
    /// What made it end: `itself`, `stop-signal`, `stop-timeout`, `timeout`, `interrupt`.
    pub stopped_by: String,
    /// What it printed.
    pub stdout: Text,
    /// What it printed on standard error.
    pub stderr: Text,
}

impl Ended {
    /// Whether it had to be killed for want of time.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        ["timeout", "stop-timeout"].contains(&self.stopped_by.as_str())
    }
}

/// How a command ended that ran beside a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientObservation {
    /// Which of the server's questions, from 0.
    pub index: usize,
    /// Its end.
    pub ended: Ended,
}

/// What the host did, in the last step of the smoke test that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostObservation {
    /// What was seen of the steps before it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<HostObservation>,
    /// Whether it was ready, for servers.
    pub ready: bool,
    /// The answers, in order.
    pub responses: Vec<Response>,
    /// What commands beside it made of it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientObservation>,
    /// Requests without an answer, and commands beside it that were not started.
    pub failed_requests: Vec<FailedRequest>,
    /// How it ended; none when it was never started.
    pub ended: Option<Ended>,
    /// Why it could not be started or did not become ready.
    pub failure: Option<String>,
}

/// What the loader told of plugins until it ended, however it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginReport {
    /// What became of the first of them, in their order.
    pub plugins: Vec<PluginObservation>,
    /// Where the loader was.
    pub place: Place,
}

/// What the loader told of the host until it ended, however it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// What was seen.
    pub host: HostObservation,
    /// Where the loader was.
    pub place: Place,
}

/// Where the loader was when it told nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It had not begun: nothing that is tested can have to do with it.
    NotBegun,
    /// At work on the next plugin, or on the host.
    AtWork,
    /// Between two plugins.
    Between,
    /// At its end: it has told everything.
    Ended,
}

/// The loader said something that it never says, or that it cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A line is no event.
    #[error("the smoke loader printed what is no event: `{line}`: {cause}")]
    NoEvent {
        /// The line, cut when long.
        line: String,
        /// Why.
        cause: String,
    },
    /// An event is not what comes next.
    #[error("the smoke loader told {found} where {expected} comes next")]
    OutOfPlace {
        /// What it told.
        found: String,
        /// What could have come.
        expected: String,
    },
    /// The loader failed itself.
    #[error("the smoke loader failed: {message}")]
    Loader {
        /// In its own words.
        message: String,
    },
    /// Somebody asked the loader to end.
    #[error("the smoke loader was asked to end by {signal}")]
    Interrupted {
        /// With which signal.
        signal: String,
    },
}

/// An event, as far as this program needs it.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    Opening { path: String },
    Plugin(Box<PluginObservation>),
    Step { index: usize },
    Starting {},
    NotStarted { message: String },
    Ready {},
    NotReady { reason: String, message: Option<String> },
    Response(Box<Response>),
    RequestFailed(FailedRequest),
    Client(Box<ClientEnd>),
    ClientFailed(FailedRequest),
    Exit(Box<Ended>),
    Unclean {},
    Interrupted { signal_name: String },
    Error { message: String },
    End {},
}

/// How a client ended, as the loader tells it.
#[derive(Deserialize)]
pub(super) struct ClientEnd {
    pub(super) index: usize,
    status: Option<i64>,
    signal_name: Option<String>,
    stopped_by: String,
    stdout: Text,
    stderr: Text,
}

impl From<ClientEnd> for ClientObservation {
    fn from(end: ClientEnd) -> Self {
        Self {
            index: end.index,
            ended: Ended {
                status: end.status,
                signal_name: end.signal_name,
                stopped_by: end.stopped_by,
                stdout: end.stdout,
                stderr: end.stderr,
            },
        }
    }
}

impl Event {
    /// The event, for people.
    fn described(&self) -> String {
        match self {
            Self::Opening { path } => format!("`opening` of {path}"),
            Self::Plugin(plugin) => format!("`plugin` of {}", plugin.path),
            Self::Response(response) => format!("`response` {}", response.index),
            Self::RequestFailed(request) => format!("`request-failed` {}", request.index),
            Self::Client(client) => format!("`client` {}", client.index),
            Self::ClientFailed(client) => format!("`client-failed` {}", client.index),
            Self::Step { index } => format!("`step` {index}"),
            Self::Starting {} => "`starting`".to_owned(),
            Self::NotStarted { .. } => "`not-started`".to_owned(),
            Self::Ready {} => "`ready`".to_owned(),
            Self::NotReady { .. } => "`not-ready`".to_owned(),
            Self::Exit(_) => "`exit`".to_owned(),
            Self::Unclean {} => "`unclean`".to_owned(),
            Self::Interrupted { .. } => "`interrupted`".to_owned(),
            Self::Error { .. } => "`error`".to_owned(),
            Self::End {} => "`end`".to_owned(),
        }
    }

    pub(super) fn out_of_place(&self, expected: impl Into<String>) -> EventError {
        EventError::OutOfPlace {
            found: self.described(),
            expected: expected.into(),
        }
    }

    /// The error of an event with which the loader gives up.
    pub(super) fn surrender(&self) -> Option<EventError> {
        match self {
            Self::Error { message } => Some(EventError::Loader {
                message: message.clone(),
            }),
            Self::Interrupted { signal_name } => Some(EventError::Interrupted {
                signal: signal_name.clone(),
            }),
            _ => None,
        }
    }
}

/// Reads lines. Of a stream that was `cut`, the last line may be the beginning of one.
pub(super) fn read(lines: &[String], is_cut: bool) -> Result<Vec<Event>, EventError> {
    let mut events = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        match read_line(line) {
            Ok(event) => events.push(event),
            Err(_) if is_cut && index + 1 == lines.len() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(events)
}

fn read_line(line: &str) -> Result<Event, EventError> {
    const QUOTED_LIMIT_CHARACTERS: usize = 200;
    #[derive(Deserialize)]
    struct Version {
        schema: u64,
    }
    let no_event = |cause: String| EventError::NoEvent {
        line: line.chars().take(QUOTED_LIMIT_CHARACTERS).collect(),
        cause,
    };
    let Version { schema } = serde_json::from_str(line).map_err(|error| no_event(error.to_string()))?;
    if schema != EVENT_SCHEMA {
        return Err(no_event(format!("schema {schema}, expected {EVENT_SCHEMA}")));
    }
    serde_json::from_str(line).map_err(|error| no_event(error.to_string()))
}

/// The events of `open` for `paths`: for each in their order that it is opened and what became of it, then an end, and
/// nothing more. That of a loader that did not come to its end may stop anywhere.
///
/// # Errors
/// [`EventError`].
pub fn plugin_report(lines: &[String], paths: &[String], is_cut: bool) -> Result<PluginReport, EventError> {
    let mut plugins: Vec<PluginObservation> = Vec::new();
    let mut place = Place::NotBegun;
    for event in read(lines, is_cut)? {
        let next = paths.get(plugins.len());
        let expected = || match (place, next) {
            (Place::Ended, _) => "nothing".to_owned(),
            (Place::AtWork, Some(path)) => format!("`plugin` of {path}"),
            (_, Some(path)) => format!("`opening` of {path}"),
            (_, None) => "`end`".to_owned(),
        };
        if place == Place::Ended {
            return Err(event.out_of_place(expected()));
        }
        match event.surrender() {
            Some(EventError::Loader { .. }) if !plugins.is_empty() => {}
            Some(error) => return Err(error),
            None => {}
        }
        place = match (place, event) {
            (Place::NotBegun | Place::Between, Event::Opening { path }) if next == Some(&path) => Place::AtWork,
            (Place::AtWork, Event::Plugin(plugin)) if next == Some(&plugin.path) => {
                plugins.push(*plugin);
                Place::Between
            }
            (Place::Between, Event::End {}) if next.is_none() => Place::Ended,
            // Something of the last plugin stays, and the loader leaves the next ones to another container.
            (Place::Between, Event::Unclean {}) if next.is_some() => Place::Ended,
            // What an earlier plugin did may be why the loader cannot go on.
            (_, Event::Error { .. }) if !plugins.is_empty() => Place::Ended,
            (_, event) => return Err(event.out_of_place(expected())),
        };
    }
    Ok(PluginReport { plugins, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = r#"{"text":"","tail":null,"bytes":0,"truncated":false,"lossy":false}"#;
    const END: &str = r#"{"schema":1,"event":"end"}"#;
    const UNCLEAN: &str = r#"{"schema":1,"event":"unclean","message":"files in /tmp"}"#;
    const ERROR: &str = r#"{"schema":1,"event":"error","message":"no"}"#;
    const INTERRUPTED: &str = r#"{"schema":1,"event":"interrupted","signal":15,"signal_name":"SIGTERM"}"#;

    fn opening(path: &str) -> String {
        format!(r#"{{"schema":1,"event":"opening","path":"{path}"}}"#)
    }

    fn plugin(path: &str, outcome: &str) -> String {
        format!(
            r#"{{"schema":1,"event":"plugin","path":"{path}","outcome":"{outcome}","phase":"call","symbol":"greet","message":null,"missing":[],"status":null,"signal":11,"signal_name":"SIGSEGV","calls":[{{"symbol":"name","type":"string","returned":"x","lossy":false,"problem":null}}],"leftover_processes":0,"elapsed_ms":3,"stdout":{NOTHING},"stderr":{NOTHING}}}"#
        )
    }

    fn paths() -> [String; 2] {
        ["/p/x.so".to_owned(), "/p/y.so".to_owned()]
    }

    /// All that is told of two plugins.
    fn whole() -> Vec<String> {
        let [x, y] = paths();
        vec![
            opening(&x),
            plugin(&x, "crashed"),
            opening(&y),
            plugin(&y, "loaded"),
            END.to_owned(),
        ]
    }

    fn report(lines: &[String], is_cut: bool) -> Result<(usize, Place), String> {
        plugin_report(lines, &paths(), is_cut)
            .map(|report| (report.plugins.len(), report.place))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn plugins_are_read_in_their_order() {
        let read = plugin_report(&whole(), &paths(), false).unwrap();
        assert_eq!(read.place, Place::Ended);
        assert_eq!(read.plugins[0].signal_name.as_deref(), Some("SIGSEGV"));
        let outcomes: Vec<Outcome> = read.plugins.iter().map(|plugin| plugin.outcome).collect();
        assert_eq!(outcomes, [Outcome::Crashed, Outcome::Loaded]);
    }

    #[test]
    fn a_cut_report_says_who_was_at_work() {
        let lines = whole();
        let places = [
            (0, Place::NotBegun),
            (0, Place::AtWork),
            (1, Place::Between),
            (1, Place::AtWork),
            (2, Place::Between),
        ];
        for (length, expect) in places.into_iter().enumerate() {
            assert_eq!(report(&lines[..length], true), Ok(expect), "{length} lines");
            // In the middle of the next line.
            let mut cut = lines[..length].to_vec();
            cut.push(lines[length][..lines[length].len() / 2].to_owned());
            assert_eq!(report(&cut, true), Ok(expect), "{length} lines and a half");
            assert!(
                report(&cut, false).is_err(),
                "only what was cut ends in the middle of a line"
            );
        }
        let mut unclean = lines[..2].to_vec();
        unclean.push(UNCLEAN.to_owned());
        assert_eq!(report(&unclean, false), Ok((1, Place::Ended)));
        let mut failed = lines[..3].to_vec();
        failed.push(ERROR.to_owned());
        assert_eq!(report(&failed, true), Ok((1, Place::Ended)));
    }

    #[test]
    fn nothing_is_told_twice_in_another_order_or_after_the_end() {
        let lines = whole();
        for first in 0..lines.len() {
            let mut doubled = lines.clone();
            doubled.insert(first, lines[first].clone());
            assert!(report(&doubled, false).is_err(), "{first} twice");
            if first + 1 < lines.len() {
                let mut shorter = lines.clone();
                shorter.remove(first);
                assert!(report(&shorter, false).is_err(), "without {first}");
            }
            for second in first + 1..lines.len() {
                let mut exchanged = lines.clone();
                exchanged.swap(first, second);
                assert!(report(&exchanged, false).is_err(), "{first} and {second} exchanged");
            }
        }
        let [x, y] = paths();
        for (position, line, expect) in [
            (
                4,
                plugin(&y, "loaded"),
                "the smoke loader told `plugin` of /p/y.so where `end` comes next",
            ),
            (
                2,
                plugin(&y, "loaded"),
                "the smoke loader told `plugin` of /p/y.so where `opening` of /p/y.so comes next",
            ),
            (
                1,
                plugin(&y, "loaded"),
                "the smoke loader told `plugin` of /p/y.so where `plugin` of /p/x.so comes next",
            ),
            (
                2,
                END.to_owned(),
                "the smoke loader told `end` where `opening` of /p/y.so comes next",
            ),
            (
                5,
                opening(&x),
                "the smoke loader told `opening` of /p/x.so where nothing comes next",
            ),
            (
                5,
                ERROR.to_owned(),
                "the smoke loader told `error` where nothing comes next",
            ),
            (
                4,
                UNCLEAN.to_owned(),
                "the smoke loader told `unclean` where `end` comes next",
            ),
            (1, ERROR.to_owned(), "the smoke loader failed: no"),
            (
                3,
                INTERRUPTED.to_owned(),
                "the smoke loader was asked to end by SIGTERM",
            ),
        ] {
            let mut with = lines.clone();
            with.insert(position, line);
            assert_eq!(report(&with, false), Err(expect.to_owned()));
        }
    }

    #[test]
    fn what_is_no_event_is_quoted() {
        for line in [
            "hello",
            r#"{"schema":1,"event":"gone"}"#,
            r#"{"schema":2,"event":"end"}"#,
            &plugin("/p/x.so", "ended-loader"),
        ] {
            let lines = [opening("/p/x.so"), line.to_owned()];
            let error = report(&lines, false).unwrap_err();
            assert!(error.contains("what is no event"), "{error}");
        }
    }
}
