//! Expectations against what was seen. Pure.

use serde::Serialize;

use super::observation::{Ended, HostObservation, Outcome, PluginObservation, Response};
use crate::config::{
    Client, Expectation, Invocation, Question, Request, ResponseExpectation, Server, Smoke, Step, StepKind,
};

/// How many lines of output are said beside what was expected elsewhere.
const LAST_LINES: usize = 12;
/// How many words of a command name it, and how long each may be.
const FIRST_WORDS: usize = 3;
const WORD_LIMIT_CHARACTERS: usize = 40;

/// Something that is not as the project's file says, side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What was looked at, for example `stdout` or `GET /match: body`.
    pub subject: String,
    /// What the project's file says.
    pub expected: String,
    /// What was seen.
    pub got: String,
    /// Whether this is of what prepares the test.
    #[serde(skip)]
    pub is_of_setup: bool,
}

impl Mismatch {
    fn new(subject: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            expected: expected.into(),
            got: got.into(),
            is_of_setup: false,
        }
    }
}

/// The plugins that did not load, or not well.
pub fn failed_plugins(plugins: &[PluginObservation]) -> impl Iterator<Item = &PluginObservation> {
    plugins.iter().filter(|plugin| plugin.outcome != Outcome::Loaded)
}

/// Everything in which the host did not do what is expected. Where there are several steps, what is looked at begins with the
/// step: its number, from 1, and what it starts.
#[must_use]
pub fn host_mismatches(smoke: &Smoke, host: &HostObservation) -> Vec<Mismatch> {
    let begun = host.earlier.iter().chain([host]);
    let mut mismatches = Vec::new();
    for (index, (step, seen)) in smoke.steps.iter().zip(begun).enumerate() {
        let of_step = |mismatch: Mismatch| Mismatch {
            subject: match smoke.steps.len() {
                1 => mismatch.subject,
                _ => format!(
                    "smoke[{}] {}: {}",
                    index + 1,
                    first_words(&step.invocation),
                    mismatch.subject
                ),
            },
            is_of_setup: step.kind == StepKind::Setup,
            ..mismatch
        };
        mismatches.extend(step_mismatches(step, seen).into_iter().map(of_step));
    }
    mismatches
}

fn step_mismatches(step: &Step, host: &HostObservation) -> Vec<Mismatch> {
    if let Some(failure) = &host.failure {
        let expected = match &step.kind {
            StepKind::Setup => "the setup runs",
            StepKind::Command(_) => "the host runs",
            StepKind::Server(_) => "the host becomes ready",
        };
        let mismatches = vec![Mismatch::new("host", expected, failure)];
        return explained(mismatches, host.ended.as_ref());
    }
    match &step.kind {
        StepKind::Setup => command_mismatches("setup", &Expectation::default(), host.ended.as_ref()),
        StepKind::Command(expectation) => command_mismatches("host", expectation, host.ended.as_ref()),
        StepKind::Server(server) => server_mismatches(server, host),
    }
}

/// The beginning of a command, by which people know it.
fn first_words(invocation: &Invocation) -> String {
    let words = invocation.command.iter().take(FIRST_WORDS);
    let words: Vec<String> = words
        .map(|word| {
            let is_short = word.chars().count() <= WORD_LIMIT_CHARACTERS && !word.contains('\n');
            if is_short { word.clone() } else { "…".to_owned() }
        })
        .collect();
    let rest = if invocation.command.len() > FIRST_WORDS {
        " …"
    } else {
        ""
    };
    format!("`{}{rest}`", words.join(" "))
}

fn command_mismatches(subject: &str, expectation: &Expectation, ended: Option<&Ended>) -> Vec<Mismatch> {
    let Some(ended) = ended else {
        return vec![Mismatch::new(
            subject,
            "it runs to its end",
            "nothing was seen of its end",
        )];
    };
    let mut mismatches: Vec<Mismatch> = status_mismatch(subject, i64::from(expectation.status), ended)
        .into_iter()
        .collect();
    mismatches.extend(text_mismatch("stdout", &expectation.stdout, &ended.stdout.shown()));
    mismatches.extend(text_mismatch("stderr", &expectation.stderr, &ended.stderr.shown()));
    explained(mismatches, Some(ended))
}

/// With the end of what was printed elsewhere: why something is not as expected mostly stands there.
fn explained(mut mismatches: Vec<Mismatch>, ended: Option<&Ended>) -> Vec<Mismatch> {
    let is_shown = |stream: &str| mismatches.iter().any(|mismatch| mismatch.subject == stream);
    let streams = ended.map(|ended| [("stdout", ended.stdout.shown()), ("stderr", ended.stderr.shown())]);
    let others: Vec<Mismatch> = streams
        .into_iter()
        .flatten()
        .filter(|(stream, text)| !mismatches.is_empty() && !is_shown(stream) && !text.trim().is_empty())
        .map(|(stream, text)| Mismatch::new(stream, "(anything)", last_lines(&text)))
        .collect();
    mismatches.extend(others);
    mismatches
}

fn server_mismatches(server: &Server, host: &HostObservation) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for (index, question) in server.requests.iter().enumerate() {
        match question {
            Question::Request(request) => {
                let name = format!("{} {}", request.method, request.url);
                let response = host.responses.iter().find(|response| response.index == index);
                match response {
                    Some(response) => mismatches.extend(response_mismatches(&name, &request.expect, response)),
                    None => mismatches.push(Mismatch::new(
                        &name,
                        expected_answer(request),
                        missing_answer(host, index),
                    )),
                }
            }
            Question::Client(client) => mismatches.extend(client_mismatches(client, host, index)),
        }
    }
    match &host.ended {
        Some(ended) => mismatches.extend(status_mismatch("host", i64::from(server.stop.status), ended)),
        None => mismatches.push(Mismatch::new(
            "stop",
            format!("ends on {}", server.stop.signal),
            "nothing was seen of its end",
        )),
    }
    explained(mismatches, host.ended.as_ref())
}

fn client_mismatches(client: &Client, host: &HostObservation, index: usize) -> Vec<Mismatch> {
    let name = first_words(&client.invocation);
    match host.clients.iter().find(|seen| seen.index == index) {
        Some(seen) => command_mismatches("status", &client.expect, Some(&seen.ended))
            .into_iter()
            .map(|mismatch| Mismatch {
                subject: format!("{name}: {}", mismatch.subject),
                ..mismatch
            })
            .collect(),
        None => vec![Mismatch::new(
            name,
            format!("it ends with status {}", client.expect.status),
            missing_answer(host, index),
        )],
    }
}

fn expected_answer(request: &Request) -> String {
    format!("an answer with status {}", request.expect.status)
}

fn missing_answer(host: &HostObservation, index: usize) -> String {
    let failed = host.failed_requests.iter().find(|request| request.index == index);
    failed.map_or_else(|| "no answer".to_owned(), |request| request.message.clone())
}

fn response_mismatches(name: &str, expect: &ResponseExpectation, response: &Response) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    if expect.status != response.status {
        mismatches.push(Mismatch::new(
            format!("{name}: status"),
            expect.status.to_string(),
            response.status.to_string(),
        ));
    }
    for (header, expected) in &expect.headers {
        let got = response
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(header))
            .map(|(_, values)| values.join(", "));
        if got.as_ref() != Some(expected) {
            let got = got.unwrap_or_else(|| "no such header".to_owned());
            mismatches.push(Mismatch::new(format!("{name}: header {header}"), expected, got));
        }
    }
    mismatches.extend(text_mismatch(
        &format!("{name}: body"),
        &expect.body,
        &response.body.shown(),
    ));
    mismatches
}

fn status_mismatch(subject: &str, expected: i64, ended: &Ended) -> Option<Mismatch> {
    let expected_text = format!("status {expected}");
    let got = match (&ended.signal_name, ended.status) {
        _ if ended.was_killed() => "no end in time, so it was killed".to_owned(),
        (Some(signal), _) => format!("ended by {signal}"),
        (None, Some(status)) if status == expected => return None,
        (None, Some(status)) => format!("status {status}"),
        (None, None) => "no status".to_owned(),
    };
    Some(Mismatch::new(subject, expected_text, got))
}

/// The first of `texts` that does not appear after the one before it.
fn text_mismatch(subject: &str, texts: &[String], got: &str) -> Option<Mismatch> {
    let mut rest = got;
    for text in texts {
        match rest.find(text.as_str()) {
            Some(at) => rest = &rest[at + text.len()..],
            None => return Some(Mismatch::new(subject, text, got)),
        }
    }
    None
}

/// The last lines of what a program has printed.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use crate::config::{Ready, Stop};
    use crate::smoke::{ClientObservation, FailedRequest};

    fn invocation(command: &[&str]) -> Invocation {
        Invocation {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            user: None,
            cwd: None,
            stdin: None,
            timeout: Duration::from_secs(1),
        }
    }

    fn step(command: &[&str], kind: StepKind) -> Step {
        Step {
            invocation: invocation(command),
            writable: vec![],
            exec: false,
            kind,
        }
    }

    fn smoke(kind: StepKind) -> Smoke {
        Smoke {
            steps: vec![step(&["host"], kind)],
        }
    }

    fn command(status: i32, stdout: &[&str]) -> Smoke {
        let stdout = stdout.iter().map(|text| (*text).to_owned()).collect();
        smoke(StepKind::Command(Expectation {
            status,
            stdout,
            stderr: vec![],
        }))
    }

    fn ended(status: i64, stdout: &str) -> HostObservation {
        let ended = Ended {
            status: Some(status),
            stdout: stdout.into(),
            ..Ended::default()
        };
        HostObservation {
            ended: Some(ended),
            ..HostObservation::default()
        }
    }

    fn subjects(smoke: &Smoke, host: &HostObservation) -> Vec<String> {
        host_mismatches(smoke, host)
            .into_iter()
            .map(|mismatch| mismatch.subject)
            .collect()
    }

    #[test]
    fn a_command_is_judged_by_status_and_by_texts_in_order() {
        let smoke = command(0, &["one", "two"]);
        assert_eq!(subjects(&smoke, &ended(0, "zero one two three")), [""; 0]);
        assert_eq!(subjects(&smoke, &ended(0, "two one")), ["stdout"]);
        // Both streams are shown beside what is not as expected.
        assert_eq!(subjects(&smoke, &ended(1, "one two")), ["host", "stdout"]);
        let mut explained = ended(0, "two one");
        explained.ended.as_mut().unwrap().stderr = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\nERROR: why".into();
        let mismatches = host_mismatches(&smoke, &explained);
        assert_eq!(mismatches[1].got, "2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\nERROR: why");
        assert_eq!(subjects(&smoke, &HostObservation::default()), ["host"]);
        let mut crashed = ended(0, "one two");
        crashed.ended.as_mut().unwrap().signal_name = Some("SIGSEGV".to_owned());
        assert_eq!(host_mismatches(&smoke, &crashed)[0].got, "ended by SIGSEGV");
    }

    #[test]
    fn a_server_is_judged_by_every_answer_and_by_how_it_stops() {
        let expect = ResponseExpectation {
            status: 200,
            headers: BTreeMap::from([("X-Id".to_owned(), "7".to_owned())]),
            body: vec!["hello".to_owned()],
        };
        let request = Request {
            method: "GET".to_owned(),
            url: "/".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            expect,
        };
        let stop = Stop {
            signal: "TERM".to_owned(),
            status: 0,
        };
        let smoke = smoke(StepKind::Server(Server {
            ready: Ready::Tcp(1),
            requests: vec![Question::Request(request.clone()), Question::Request(request)],
            stop,
        }));
        let response = |index, status, body: &str, headers| {
            let (method, url) = ("GET".to_owned(), "/".to_owned());
            Response {
                index,
                method,
                url,
                status,
                headers,
                body: body.into(),
            }
        };
        let headers = BTreeMap::from([("x-id".to_owned(), vec!["7".to_owned()])]);
        let good = response(0, 200, "hello you", headers);
        let bad = response(1, 500, "sorry", BTreeMap::new());
        let host = HostObservation {
            ready: true,
            responses: vec![good, bad],
            ..ended(0, "")
        };
        assert_eq!(
            subjects(&smoke, &host),
            ["GET /: status", "GET /: header X-Id", "GET /: body"]
        );
        let mut gone = host;
        gone.responses.pop();
        gone.failed_requests.push(FailedRequest {
            index: 1,
            message: "connection reset".to_owned(),
        });
        assert_eq!(host_mismatches(&smoke, &gone)[0].got, "connection reset");
    }

    fn texts(texts: &[&str]) -> Expectation {
        Expectation {
            stdout: texts.iter().map(|text| (*text).to_owned()).collect(),
            ..Expectation::default()
        }
    }

    #[test]
    fn a_client_is_judged_as_a_command_is() {
        let client = |command: &[&str]| {
            Question::Client(Client {
                invocation: invocation(command),
                expect: texts(&["1 row"]),
            })
        };
        let stop = Stop {
            signal: "INT".to_owned(),
            status: 0,
        };
        let smoke = smoke(StepKind::Server(Server {
            ready: Ready::Tcp(1),
            requests: vec![
                client(&["psql", "-c", "select 1"]),
                client(&["psql", "-f", "-", "-q"]),
                client(&["pg_dump"]),
            ],
            stop,
        }));
        let seen = |index, ended: Ended| ClientObservation { index, ended };
        let good = ended(0, "(1 row)").ended.unwrap();
        let bad = Ended {
            status: Some(2),
            stderr: "no such table".into(),
            ..Ended::default()
        };
        let mut host = HostObservation {
            ready: true,
            clients: vec![seen(0, good.clone()), seen(1, bad)],
            ..ended(0, "")
        };
        host.ended.as_mut().unwrap().stderr = "LOG: why".into();
        host.failed_requests.push(FailedRequest {
            index: 2,
            message: "failed to start `pg_dump`".to_owned(),
        });
        let told: Vec<String> = host_mismatches(&smoke, &host)
            .iter()
            .map(|mismatch| format!("{} | {} | {}", mismatch.subject, mismatch.expected, mismatch.got))
            .collect();
        assert_eq!(
            told,
            [
                "`psql -f - …`: status | status 0 | status 2",
                "`psql -f - …`: stdout | 1 row | ",
                "`psql -f - …`: stderr | (anything) | no such table",
                "`pg_dump` | it ends with status 0 | failed to start `pg_dump`",
                "stderr | (anything) | LOG: why",
            ]
        );
        host.clients = vec![seen(0, good.clone()), seen(1, good.clone()), seen(2, good)];
        assert_eq!(host_mismatches(&smoke, &host), []);
    }

    #[test]
    fn a_mismatch_says_of_which_step_it_is() {
        let smoke = Smoke {
            steps: vec![
                step(&["initdb", "-D", "/data", "--no-sync"], StepKind::Setup),
                step(&["sh", "-c", "cd /\nhost"], StepKind::Command(texts(&["hello"]))),
            ],
        };
        let both = |first: HostObservation, second: HostObservation| HostObservation {
            earlier: vec![first],
            ..second
        };
        assert_eq!(subjects(&smoke, &both(ended(0, ""), ended(0, "hello"))), [""; 0]);
        assert_eq!(
            subjects(&smoke, &both(ended(0, ""), ended(1, "hello"))),
            ["smoke[2] `sh -c …`: host", "smoke[2] `sh -c …`: stdout"]
        );
        // What comes after it was never begun.
        let mismatches = host_mismatches(&smoke, &ended(1, ""));
        assert_eq!(mismatches.len(), 1);
        assert_eq!(mismatches[0].subject, "smoke[1] `initdb -D /data …`: setup");
        assert!(mismatches[0].is_of_setup);
        let missing = HostObservation {
            failure: Some("not started: no".to_owned()),
            ..HostObservation::default()
        };
        assert_eq!(host_mismatches(&smoke, &missing)[0].expected, "the setup runs");
    }
}
