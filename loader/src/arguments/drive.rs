//! The flags of `drive`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use super::usage::UsageError;
use super::words::{once, CommonFlags, Words};
use crate::http::{Request, Url, UrlError};
use crate::signal::{self, Signal};
use crate::system::User;

/// For a server to end after the stop signal, when nothing else is said.
const DEFAULT_STOP_TIMEOUT_MILLISECONDS: u64 = 5_000;
/// The highest that a process can end with.
const STATUS_LIMIT: i32 = 255;

/// `drive`.
#[derive(Debug, PartialEq, Eq)]
pub struct DriveOptions {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Variables to set, apart from those that this process has.
    pub environment: Vec<(OsString, OsString)>,
    /// For everything between start and stop.
    pub timeout: Duration,
    /// For each stream and body.
    pub output_limit_bytes: usize,
    /// Who runs it; none for whoever this process is.
    pub user: Option<User>,
    /// Where it starts; none for where this process is.
    pub directory: Option<OsString>,
    /// What it reads on standard input; none for nothing.
    pub stdin: Option<OsString>,
    /// The status without which no later step is begun.
    pub status: Option<i32>,
    /// For a server; none for a command that ends by itself.
    pub server: Option<ServerOptions>,
}

/// How a server is awaited, asked and stopped.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// When it is ready.
    pub ready: Ready,
    /// How long that may take.
    pub ready_timeout: Duration,
    /// What it is asked, in order.
    pub questions: Vec<Question>,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// What asks it to end.
    pub stop_signal: Signal,
    /// How long that may take.
    pub stop_timeout: Duration,
}

/// What a server is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// This, over HTTP.
    Request(Request),
    /// What this command, which ends, makes of it.
    Client(Box<DriveOptions>),
}

/// When a server is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// This answers with a status below 400.
    Http(Url),
    /// This port accepts a connection.
    Tcp(u16),
    /// This was printed.
    Stdout(Vec<u8>),
}

/// A request whose URL may still be a path.
struct PendingRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// A question, as far as it is read.
enum Pending {
    Request(PendingRequest),
    Client(Box<DriveOptions>),
}

/// Reads the words after `steps`: of each step how many they are, and the words of a `drive`.
pub fn parse_steps(words: Vec<OsString>) -> Result<Vec<DriveOptions>, UsageError> {
    let mut words = Words::new(words);
    let mut steps = Vec::new();
    while !words.is_at_end() {
        steps.push(parse_drive(words.several("steps")?)?);
    }
    if steps.is_empty() {
        return Err(UsageError::NoCommand);
    }
    Ok(steps)
}

/// Reads the words of a client, which may be no server.
fn parse_client(words: Vec<OsString>) -> Result<DriveOptions, UsageError> {
    match parse_drive(words)? {
        DriveOptions { server: Some(_), .. } => Err(UsageError::ClientServes),
        client => Ok(client),
    }
}

/// Reads the words after `drive`.
pub fn parse_drive(words: Vec<OsString>) -> Result<DriveOptions, UsageError> {
    let mut words = Words::new(words);
    let mut common = CommonFlags::default();
    let mut ready = None;
    let (mut ready_timeout, mut request_timeout, mut stop_timeout, mut stop_signal) = (None, None, None, None);
    let mut pending: Vec<Pending> = Vec::new();
    let (mut directory, mut stdin, mut status) = (None, None, None);
    // The first flag that says nothing without a server, for the message.
    let mut needs_ready = None;
    while let Some(flag) = words.next_flag() {
        let mut for_server = |flag| _ = needs_ready.get_or_insert(flag);
        match flag.to_str() {
            Some("--ready-http") => {
                let text = words.text("--ready-http")?;
                let url = Url::parse(&text).map_err(|cause| bad_url("--ready-http", &text, cause))?;
                once_ready(&mut ready, Ready::Http(url))?;
            }
            Some("--ready-tcp") => {
                let port = words.choice("--ready-tcp", "a port from 1 to 65535", |text| {
                    text.parse().ok().filter(|port| *port > 0)
                })?;
                once_ready(&mut ready, Ready::Tcp(port))?;
            }
            Some("--ready-stdout") => {
                let text = words.value("--ready-stdout")?.into_vec();
                once_ready(&mut ready, Ready::Stdout(text))?;
            }
            Some("--ready-timeout-ms") => {
                for_server("--ready-timeout-ms");
                once(
                    "--ready-timeout-ms",
                    &mut ready_timeout,
                    words.milliseconds("--ready-timeout-ms")?,
                )?;
            }
            Some("--request-timeout-ms") => {
                for_server("--request-timeout-ms");
                once(
                    "--request-timeout-ms",
                    &mut request_timeout,
                    words.milliseconds("--request-timeout-ms")?,
                )?;
            }
            Some("--stop-timeout-ms") => {
                for_server("--stop-timeout-ms");
                once(
                    "--stop-timeout-ms",
                    &mut stop_timeout,
                    words.milliseconds("--stop-timeout-ms")?,
                )?;
            }
            Some("--stop-signal") => {
                for_server("--stop-signal");
                let takes = "a signal's name, such as `TERM`";
                once(
                    "--stop-signal",
                    &mut stop_signal,
                    words.choice("--stop-signal", takes, signal::parse)?,
                )?;
            }
            Some("--request") => {
                for_server("--request");
                let method = words.choice("--request", "a method, such as `GET`", |text| {
                    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())).then(|| text.to_owned())
                })?;
                let url = words.text("--request")?;
                pending.push(Pending::Request(PendingRequest {
                    method,
                    url,
                    headers: Vec::new(),
                    body: None,
                }));
            }
            Some("--client") => {
                for_server("--client");
                let client = parse_client(words.several("--client")?)?;
                pending.push(Pending::Client(Box::new(client)));
            }
            Some("--directory") => {
                let path = words.path("--directory", "an absolute path", b"")?;
                once("--directory", &mut directory, path)?;
            }
            Some("--stdin") => once("--stdin", &mut stdin, words.value("--stdin")?)?,
            Some("--status") => {
                let number = words.choice("--status", "a number from 0 to 255", |text| {
                    text.parse().ok().filter(|number| (0..=STATUS_LIMIT).contains(number))
                })?;
                once("--status", &mut status, number)?;
            }
            Some("--header") => {
                let header = words.choice("--header", "`NAME: VALUE`", parse_header)?;
                last_request(&mut pending, "--header")?.headers.push(header);
            }
            Some("--body") => {
                let body = words.value("--body")?.into_vec();
                once("--body", &mut last_request(&mut pending, "--body")?.body, body)?;
            }
            _ => common.take(&flag, &mut words)?,
        }
    }
    let command = words.rest();
    if command.is_empty() {
        return Err(UsageError::NoCommand);
    }
    let server = match (ready, needs_ready) {
        (Some(ready), _) => Some(ServerOptions {
            questions: resolve_questions(pending, &ready)?,
            ready,
            ready_timeout: ready_timeout.unwrap_or_else(|| common.timeout()),
            request_timeout: request_timeout.unwrap_or_else(|| common.timeout()),
            stop_signal: stop_signal.unwrap_or(libc::SIGTERM),
            stop_timeout: stop_timeout.unwrap_or(Duration::from_millis(DEFAULT_STOP_TIMEOUT_MILLISECONDS)),
        }),
        (None, Some(flag)) => return Err(UsageError::NeedsReady(flag)),
        (None, None) => None,
    };
    Ok(DriveOptions {
        command,
        timeout: common.timeout(),
        output_limit_bytes: common.output_limit_bytes(),
        environment: common.environment,
        user: common.user,
        directory,
        stdin,
        status,
        server,
    })
}

fn last_request<'a>(pending: &'a mut [Pending], flag: &'static str) -> Result<&'a mut PendingRequest, UsageError> {
    match pending.last_mut() {
        Some(Pending::Request(request)) => Ok(request),
        _ => Err(UsageError::OutOfPlace {
            flag,
            after: "--request",
        }),
    }
}

fn resolve_questions(pending: Vec<Pending>, ready: &Ready) -> Result<Vec<Question>, UsageError> {
    let base = match ready {
        Ready::Http(url) => Some(url.clone()),
        Ready::Tcp(port) => Some(Url::of_port(*port)),
        Ready::Stdout(_) => None,
    };
    let resolve = |request: PendingRequest| {
        let url = match &base {
            Some(base) if request.url.starts_with('/') => base.with_path(&request.url),
            _ => Url::parse(&request.url),
        };
        let url = url.map_err(|cause| bad_url("--request", &request.url, cause))?;
        Ok(Request {
            method: request.method,
            url,
            headers: request.headers,
            body: request.body,
        })
    };
    let question = |pending| match pending {
        Pending::Request(request) => resolve(request).map(Question::Request),
        Pending::Client(client) => Ok(Question::Client(client)),
    };
    pending.into_iter().map(question).collect()
}

fn bad_url(flag: &'static str, value: &str, cause: UrlError) -> UsageError {
    UsageError::BadUrl {
        flag,
        value: value.to_owned(),
        cause,
    }
}

/// Names are tokens and values hold no control characters, so that a header cannot become two.
fn parse_header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_valid = !name.is_empty() && name.bytes().all(is_token) && !value.contains(|c: char| c.is_control());
    is_valid.then(|| (name.to_owned(), value.trim().to_owned()))
}

fn once_ready(place: &mut Option<Ready>, value: Ready) -> Result<(), UsageError> {
    once("--ready-…", place, value).map_err(|_| UsageError::ReadyTwice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::tests::words;

    fn drive(line: &str) -> DriveOptions {
        parse_drive(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn a_command_needs_nothing_but_itself() {
        let options = drive("-- greeter --plugins /x");
        assert_eq!(options.command, words("greeter --plugins /x"));
        assert_eq!((options.server, options.user), (None, None));
        assert_eq!(drive("--user 1000:1 -- x").user, Some(User { uid: 1000, gid: 1 }));
        assert_eq!(drive("greeter --plugins /x").command, options.command);
    }

    #[test]
    fn a_server_has_defaults() {
        let server = drive("--ready-stdout up --timeout-ms 20000 -- serve").server;
        let expect = ServerOptions {
            ready: Ready::Stdout(b"up".to_vec()),
            ready_timeout: Duration::from_secs(20),
            questions: Vec::new(),
            request_timeout: Duration::from_secs(20),
            stop_signal: libc::SIGTERM,
            stop_timeout: Duration::from_secs(5),
        };
        assert_eq!(server, Some(expect));
    }

    #[test]
    fn requests_are_completed_by_what_says_ready() {
        let line = "--request GET /a?b=c --header X-One:1 --header X-Two:2 --body hello --request PUT http://[::1]:9/z";
        let urls = |ready: &str| -> Vec<String> {
            let server = drive(&format!("--ready-{ready} {line} -- serve")).server;
            requests_of(server)
                .iter()
                .map(|request| request.url.to_string())
                .collect()
        };
        assert_eq!(
            urls("http http://localhost:8080/healthz"),
            ["http://localhost:8080/a?b=c", "http://[::1]:9/z"]
        );
        assert_eq!(urls("tcp 8081"), ["http://127.0.0.1:8081/a?b=c", "http://[::1]:9/z"]);
        let server = drive(&format!("--ready-tcp 1 {line} -- serve")).server;
        let requests = requests_of(server);
        let request = requests.first().unwrap_or_else(|| panic!("no request"));
        assert_eq!(
            request.headers,
            [("X-One".into(), "1".into()), ("X-Two".into(), "2".into())]
        );
        assert_eq!(request.body.as_deref(), Some(b"hello".as_slice()));
    }

    fn requests_of(server: Option<ServerOptions>) -> Vec<Request> {
        let questions = server.into_iter().flat_map(|server| server.questions);
        questions
            .map(|question| match question {
                Question::Request(request) => request,
                Question::Client(client) => panic!("{client:?} is no request"),
            })
            .collect()
    }

    #[test]
    fn a_step_is_a_command_line_of_its_own() {
        let line = "4 --user 7:8 -- init 13 --ready-tcp 1 --client 5 --stdin a --status 3 ask --request GET /x serve";
        let steps = parse_steps(words(line)).unwrap_or_else(|error| panic!("{error}"));
        let commands: Vec<_> = steps.iter().map(|step| step.command.clone()).collect();
        assert_eq!(commands, [words("init"), words("serve")]);
        assert_eq!(steps[0].user, Some(User { uid: 7, gid: 8 }));
        let server = steps.into_iter().nth(1).and_then(|step| step.server);
        match server.as_ref().map(|server| server.questions.as_slice()) {
            Some([Question::Client(client), Question::Request(_)]) => {
                assert_eq!((client.stdin.clone(), client.status), (Some("a".into()), Some(3)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn headers_cannot_break_out() {
        assert_eq!(parse_header("A: b: c "), Some(("A".into(), "b: c".into())));
        for text in [
            "",
            ":",
            ": b",
            "A B: c",
            "A: b\r\nC: d",
            "A: b\nC: d",
            "A\n: b",
            "A: \0",
        ] {
            assert_eq!(parse_header(text), None, "{text:?}");
        }
    }
}
