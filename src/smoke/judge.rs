//! Expectations against what was seen. Pure.

use serde::Serialize;

use super::observation::{Ended, HostObservation, Outcome, PluginObservation, Response};
use crate::config::{Expectation, Request, ResponseExpectation, Server, Smoke, SmokeKind};

/// How many lines of output are said beside what was expected elsewhere.
const LAST_LINES: usize = 5;

/// Something that is not as the project's file says, side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What was looked at, for example `stdout` or `GET /match: body`.
    pub subject: String,
    /// What the project's file says.
    pub expected: String,
    /// What was seen.
    pub got: String,
}

impl Mismatch {
    fn new(subject: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            expected: expected.into(),
            got: got.into(),
        }
    }
}

/// The plugins that did not load, or not well.
pub fn failed_plugins(plugins: &[PluginObservation]) -> impl Iterator<Item = &PluginObservation> {
    plugins.iter().filter(|plugin| plugin.outcome != Outcome::Loaded)
}

/// Everything in which the host did not do what is expected.
#[must_use]
pub fn host_mismatches(smoke: &Smoke, host: &HostObservation) -> Vec<Mismatch> {
    if let Some(failure) = &host.failure {
        let output = host.ended.as_ref().map(last_words).unwrap_or_default();
        let expected = if matches!(smoke.kind, SmokeKind::Server(_)) {
            "the host becomes ready"
        } else {
            "the host runs"
        };
        return vec![Mismatch::new("host", expected, format!("{failure}{output}"))];
    }
    match &smoke.kind {
        SmokeKind::Command(expectation) => command_mismatches(expectation, host.ended.as_ref()),
        SmokeKind::Server(server) => server_mismatches(server, host),
    }
}

fn command_mismatches(expectation: &Expectation, ended: Option<&Ended>) -> Vec<Mismatch> {
    let Some(ended) = ended else {
        return vec![Mismatch::new(
            "host",
            "the host runs to its end",
            "nothing was seen of its end",
        )];
    };
    let mut mismatches: Vec<Mismatch> = status_mismatch(i64::from(expectation.status), ended)
        .into_iter()
        .collect();
    let (stdout, stderr) = (ended.stdout.shown(), ended.stderr.shown());
    mismatches.extend(text_mismatch("stdout", &expectation.stdout, &stdout));
    mismatches.extend(text_mismatch("stderr", &expectation.stderr, &stderr));
    // Why a stream is not as expected mostly stands in the other one.
    let is_shown = |subject: &str| mismatches.iter().any(|mismatch| mismatch.subject == subject);
    let others: Vec<Mismatch> = [("stdout", stdout), ("stderr", stderr)]
        .into_iter()
        .filter(|(stream, text)| !mismatches.is_empty() && !is_shown(stream) && !text.trim().is_empty())
        .map(|(stream, text)| Mismatch::new(stream, "(anything)", last_lines(&text)))
        .collect();
    mismatches.extend(others);
    mismatches
}

fn server_mismatches(server: &Server, host: &HostObservation) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for (index, request) in server.requests.iter().enumerate() {
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
    match &host.ended {
        Some(ended) => {
            let status = status_mismatch(i64::from(server.stop.status), ended);
            mismatches.extend(status.map(|mismatch| Mismatch {
                got: format!("{}{}", mismatch.got, last_words(ended)),
                ..mismatch
            }));
        }
        None => mismatches.push(Mismatch::new(
            "stop",
            format!("ends on {}", server.stop.signal),
            "nothing was seen of its end",
        )),
    }
    mismatches
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

fn status_mismatch(expected: i64, ended: &Ended) -> Option<Mismatch> {
    let expected_text = format!("status {expected}");
    let got = match (&ended.signal_name, ended.status) {
        _ if ended.was_killed() => "no end in time, so it was killed".to_owned(),
        (Some(signal), _) => format!("ended by {signal}"),
        (None, Some(status)) if status == expected => return None,
        (None, Some(status)) => format!("status {status}"),
        (None, None) => "no status".to_owned(),
    };
    Some(Mismatch::new("host", expected_text, got))
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

/// The last lines of standard error, which mostly say why.
fn last_words(ended: &Ended) -> String {
    match last_lines(&ended.stderr.shown()) {
        tail if tail.is_empty() => tail,
        tail => format!("\n{tail}"),
    }
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
    use crate::smoke::FailedRequest;

    fn smoke(kind: SmokeKind) -> Smoke {
        Smoke {
            command: vec!["host".to_owned()],
            env: BTreeMap::new(),
            timeout: Duration::from_secs(1),
            kind,
        }
    }

    fn command(status: i32, stdout: &[&str]) -> Smoke {
        let stdout = stdout.iter().map(|text| (*text).to_owned()).collect();
        smoke(SmokeKind::Command(Expectation {
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
        explained.ended.as_mut().unwrap().stderr = "1\n2\n3\n4\n5\nERROR: why".into();
        let mismatches = host_mismatches(&smoke, &explained);
        assert_eq!(mismatches[1].got, "2\n3\n4\n5\nERROR: why");
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
        let smoke = smoke(SmokeKind::Server(Server {
            ready: Ready::Tcp(1),
            requests: vec![request.clone(), request],
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
}
