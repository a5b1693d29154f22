//! What the smoke loader saw: its JSON lines in, typed observations out. Nothing is judged here.

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
    /// A signal ended the process.
    Crashed,
    /// It did not come to an end in time.
    TimedOut,
    /// It ended the process itself.
    Exited,
    /// A call returned what it must not.
    CallFailed,
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
    /// How it went.
    pub outcome: Outcome,
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

/// What the host did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostObservation {
    /// Whether it was ready, for servers.
    pub ready: bool,
    /// The answers, in order.
    pub responses: Vec<Response>,
    /// Requests without an answer.
    pub failed_requests: Vec<FailedRequest>,
    /// How it ended; none when it was never started.
    pub ended: Option<Ended>,
    /// Why it could not be started or did not become ready.
    pub failure: Option<String>,
}

/// The loader said something that it never says, or did not say all.
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
    /// The loader failed itself.
    #[error("the smoke loader failed: {message}")]
    Loader {
        /// In its own words.
        message: String,
    },
    /// The loader ended before it had reported everything.
    #[error("the smoke loader ended before it had reported everything")]
    Incomplete,
}

/// An event, as far as this program needs it.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Plugin(Box<PluginObservation>),
    NotStarted { message: String },
    Ready {},
    NotReady { reason: String, message: Option<String> },
    Response(Box<Response>),
    RequestFailed(FailedRequest),
    Exit(Box<Ended>),
    Interrupted {},
    Error { message: String },
    End {},
}

fn read(lines: &[String]) -> Result<Vec<Event>, EventError> {
    const QUOTED_LIMIT_CHARACTERS: usize = 200;
    #[derive(Deserialize)]
    struct Version {
        schema: u64,
    }
    let mut events = Vec::new();
    for line in lines {
        let quoted = || line.chars().take(QUOTED_LIMIT_CHARACTERS).collect();
        let no_event = |error: serde_json::Error| EventError::NoEvent {
            line: quoted(),
            cause: error.to_string(),
        };
        let Version { schema } = serde_json::from_str(line).map_err(no_event)?;
        if schema != EVENT_SCHEMA {
            return Err(EventError::NoEvent {
                line: quoted(),
                cause: format!("schema {schema}, expected {EVENT_SCHEMA}"),
            });
        }
        match serde_json::from_str(line).map_err(no_event)? {
            Event::End {} => return Ok(events),
            Event::Error { message } => return Err(EventError::Loader { message }),
            event => events.push(event),
        }
    }
    Err(EventError::Incomplete)
}

/// The events of `open`, one for each of `paths`, in their order.
///
/// # Errors
/// [`EventError`].
pub fn plugin_observations(lines: &[String], paths: &[String]) -> Result<Vec<PluginObservation>, EventError> {
    let mut observations = Vec::new();
    for event in read(lines)? {
        if let Event::Plugin(plugin) = event {
            observations.push(*plugin);
        }
    }
    let complete = observations.iter().map(|observation| &observation.path).eq(paths);
    if complete {
        Ok(observations)
    } else {
        Err(EventError::Incomplete)
    }
}

/// The events of `drive`.
///
/// # Errors
/// [`EventError`].
pub fn host_observation(lines: &[String]) -> Result<HostObservation, EventError> {
    let mut host = HostObservation::default();
    for event in read(lines)? {
        match event {
            Event::NotStarted { message } => host.failure = Some(format!("not started: {message}")),
            Event::Ready {} => host.ready = true,
            Event::NotReady { reason, message } => {
                let why = if reason == "exited" {
                    "it ended before it was ready"
                } else {
                    "it was not ready in time"
                };
                host.failure = Some(message.map_or_else(|| why.to_owned(), |message| format!("{why}: {message}")));
            }
            Event::Response(response) => host.responses.push(*response),
            Event::RequestFailed(request) => host.failed_requests.push(request),
            Event::Exit(ended) => host.ended = Some(*ended),
            Event::Plugin(_) | Event::Interrupted {} | Event::Error { .. } | Event::End {} => {}
        }
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = r#"{"text":"","tail":null,"bytes":0,"truncated":false,"lossy":false}"#;
    const END: &str = r#"{"schema":1,"event":"end"}"#;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| line.replace("NOTHING", NOTHING)).collect()
    }

    #[test]
    fn plugins_are_read_in_order_and_none_may_be_missing() {
        let plugin = r#"{"schema":1,"event":"plugin","path":"/p/x.so","outcome":"crashed","phase":"call","symbol":"greet","message":null,"missing":[],"status":null,"signal":11,"signal_name":"SIGSEGV","calls":[{"symbol":"name","type":"string","returned":"x","lossy":false,"problem":null}],"leftover_processes":0,"elapsed_ms":3,"stdout":NOTHING,"stderr":NOTHING}"#;
        let paths = ["/p/x.so".to_owned()];
        let read = plugin_observations(&lines(&[plugin, END]), &paths).unwrap();
        assert_eq!(
            (read[0].outcome, read[0].signal_name.as_deref()),
            (Outcome::Crashed, Some("SIGSEGV"))
        );
        assert_eq!(
            plugin_observations(&lines(&[plugin]), &paths),
            Err(EventError::Incomplete)
        );
        assert_eq!(plugin_observations(&lines(&[END]), &paths), Err(EventError::Incomplete));
        assert!(
            plugin_observations(&lines(&["hello", END]), &paths)
                .unwrap_err()
                .to_string()
                .contains("`hello`")
        );
    }

    #[test]
    fn a_hosts_life_is_read_whole() {
        let host = host_observation(&lines(&[
            r#"{"schema":1,"event":"ready","attempts":1,"elapsed_ms":1}"#,
            r#"{"schema":1,"event":"response","index":0,"method":"GET","url":"http://x/","elapsed_ms":1,"status":200,"headers":{"a":["1"]},"body":{"text":"hi","tail":null,"bytes":2,"truncated":false,"lossy":false}}"#,
            r#"{"schema":1,"event":"exit","status":0,"signal":null,"signal_name":null,"stopped_by":"stop-signal","leftover_processes":0,"elapsed_ms":12,"stdout":NOTHING,"stderr":NOTHING}"#,
            END,
        ]))
        .unwrap();
        assert!(host.ready && host.failure.is_none());
        assert_eq!(host.responses[0].body, Text::from("hi"));
        assert_eq!(host.ended.unwrap().status, Some(0));
    }
}
