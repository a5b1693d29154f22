//! The command line: flags in, typed options out. The README lists the grammar.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use crate::http::{Request, Url, UrlError};
use crate::signal::{self, Signal};

/// For each plugin, and for a command, when nothing else is said.
const DEFAULT_TIMEOUT_MILLISECONDS: u64 = 30_000;
/// For a server to become ready, when nothing else is said.
const DEFAULT_READY_TIMEOUT_MILLISECONDS: u64 = 10_000;
/// For one request, when nothing else is said.
const DEFAULT_REQUEST_TIMEOUT_MILLISECONDS: u64 = 10_000;
/// For a server to end after the stop signal, when nothing else is said.
const DEFAULT_STOP_TIMEOUT_MILLISECONDS: u64 = 5_000;
/// No wait is longer.
const TIMEOUT_LIMIT_MILLISECONDS: u64 = 3_600_000;
/// For each stream and body, when nothing else is said.
const DEFAULT_OUTPUT_LIMIT_BYTES: u64 = 256 * 1024;
/// No stream or body keeps more.
const OUTPUT_LIMIT_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// A call passes its arguments in registers, which hold four words in every calling convention that matters here.
pub const CALL_ARGUMENTS_LIMIT_COUNT: usize = 4;

/// What the loader was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Open plugins, each in a process of its own.
    Open(OpenOptions),
    /// Be the process that opens one.
    OpenOne(Contract, OsString),
    /// Run a command, or start a server and send it requests.
    Drive(DriveOptions),
    /// Say what this loader is.
    Version,
    /// Say how it is used.
    Help,
}

/// `open`.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// The words before the plugins: what the process of each plugin is given too.
    pub flags: Vec<OsString>,
    /// For each plugin.
    pub timeout: Duration,
    /// For each stream.
    pub output_limit_bytes: usize,
    /// Variables to set, apart from those that this process has.
    pub environment: Vec<(OsString, OsString)>,
    /// The files, in order.
    pub plugins: Vec<OsString>,
}

/// How plugins are opened, and what they must have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// `--flags lazy`: resolve functions when they are called first.
    pub lazy: bool,
    /// `--scope global`: later libraries see the plugin's symbols.
    pub global: bool,
    /// `--keep-open`: end without closing the plugin, as hosts that never unload do.
    pub keep_open: bool,
    /// Names that must be there.
    pub symbols: Vec<OsString>,
    /// Functions to call, in order.
    pub calls: Vec<Call>,
}

/// A function of the plugin to call.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub symbol: OsString,
    /// What it is given.
    pub arguments: Vec<Argument>,
    /// What it gives back.
    pub returns: Returns,
}

/// What a function is given.
#[derive(Debug, PartialEq, Eq)]
pub enum Argument {
    /// A pointer to a string that ends with NUL.
    String(OsString),
    /// A word.
    Integer(i64),
}

/// What a function gives back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Returns {
    /// Nothing that is looked at.
    #[default]
    None,
    /// A pointer to UTF-8 text that ends with NUL.
    String,
    /// 64 bits.
    Integer,
    /// 32 bits: C's `int`, which leaves the upper half of the register undefined.
    Int32,
}

impl Returns {
    /// Its name on the command line and in events.
    pub fn name(self) -> &'static str {
        match self {
            Returns::None => "none",
            Returns::String => "string",
            Returns::Integer => "integer",
            Returns::Int32 => "int32",
        }
    }

    /// Reads its name.
    pub fn parse(text: &str) -> Option<Returns> {
        [Returns::None, Returns::String, Returns::Integer, Returns::Int32]
            .into_iter()
            .find(|kind| kind.name() == text)
    }
}

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
    pub requests: Vec<Request>,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// What asks it to end.
    pub stop_signal: Signal,
    /// How long that may take.
    pub stop_timeout: Duration,
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

/// Why a command line is not understood.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError {
    /// Nothing, or something unknown, was asked for.
    UnknownCommand(String),
    /// A flag that the command does not have.
    UnknownFlag(String),
    /// A flag without its value.
    MissingValue(&'static str),
    /// A flag that may stand once stands twice.
    GivenTwice(&'static str),
    /// A value that the flag does not take.
    BadValue {
        /// The flag.
        flag: &'static str,
        /// What it was given.
        value: String,
        /// What it takes.
        takes: String,
    },
    /// A URL that is not understood.
    BadUrl {
        /// The flag.
        flag: &'static str,
        /// What it was given.
        value: String,
        /// Why.
        cause: UrlError,
    },
    /// More than one way to tell that the server is ready.
    ReadyTwice,
    /// A flag behind the first plugin.
    LateFlag(String),
    /// A flag that belongs behind another one.
    OutOfPlace {
        /// The flag.
        flag: &'static str,
        /// What it must follow.
        after: &'static str,
    },
    /// A call with more arguments than can be passed.
    TooManyArguments(String),
    /// `open` without a plugin.
    NoPlugin,
    /// `drive` without a command.
    NoCommand,
    /// A flag that only means something for a server.
    NeedsReady(&'static str),
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::UnknownCommand(word) if word.is_empty() => write!(formatter, "no command given"),
            UsageError::UnknownCommand(word) => write!(formatter, "unknown command `{word}`"),
            UsageError::UnknownFlag(flag) => write!(formatter, "unknown flag `{flag}`"),
            UsageError::MissingValue(flag) => write!(formatter, "`{flag}` lacks its value"),
            UsageError::GivenTwice(flag) => write!(formatter, "`{flag}` is given twice"),
            UsageError::BadValue { flag, value, takes } => {
                write!(formatter, "`{flag}` takes {takes}, not `{value}`")
            }
            UsageError::BadUrl { flag, value, cause } => {
                write!(formatter, "`{flag}` cannot use `{value}`: {cause}")
            }
            UsageError::ReadyTwice => write!(formatter, "more than one `--ready-…` flag is given"),
            UsageError::LateFlag(flag) => write!(formatter, "`{flag}` stands after a plugin"),
            UsageError::OutOfPlace { flag, after } => write!(formatter, "`{flag}` must follow a `{after}`"),
            UsageError::TooManyArguments(symbol) => write!(
                formatter,
                "the call of `{symbol}` has more than {CALL_ARGUMENTS_LIMIT_COUNT} arguments"
            ),
            UsageError::NoPlugin => write!(formatter, "no plugin given"),
            UsageError::NoCommand => write!(formatter, "no command to run given"),
            UsageError::NeedsReady(flag) => {
                write!(
                    formatter,
                    "`{flag}` is for a server, and nothing says when the server is ready"
                )
            }
        }
    }
}

impl UsageError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            UsageError::ReadyTwice => "keep the one that says most about the server",
            UsageError::LateFlag(_) => "put flags before the plugins, or `--` before plugins that look like flags",
            UsageError::NoPlugin => "name the plugins' files after the flags",
            UsageError::NoCommand => "name the program and its arguments after `--`",
            UsageError::NeedsReady(_) => "add `--ready-http URL`, `--ready-tcp PORT` or `--ready-stdout TEXT`",
            _ => "`lockstep-loader help` lists commands and flags",
        }
    }
}

/// Reads the words after the program's name.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut words = words.into_iter();
    let command = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    match command.to_str() {
        Some("open") => parse_open(words).map(|(options, _)| Invocation::Open(options)),
        Some("open-one") => {
            let (mut options, contract) = parse_open(words)?;
            let plugin = options.plugins.pop().ok_or(UsageError::NoPlugin)?;
            Ok(Invocation::OpenOne(contract, plugin))
        }
        Some("drive") => parse_drive(words).map(Invocation::Drive),
        Some("version" | "--version") => Ok(Invocation::Version),
        Some("help" | "--help" | "-h") => Ok(Invocation::Help),
        _ => Err(UsageError::UnknownCommand(lossy(&command))),
    }
}

fn parse_open(words: Vec<OsString>) -> Result<(OpenOptions, Contract), UsageError> {
    let mut flags = words.clone();
    let mut words = Words::new(words);
    let mut common = CommonFlags::default();
    let mut contract = Contract::default();
    let (mut binding, mut scope) = (None, None);
    while let Some(flag) = words.next_flag() {
        match flag.to_str() {
            Some("--flags") => {
                once(
                    "--flags",
                    &mut binding,
                    words.choice("--flags", "`now` or `lazy`", |text| match text {
                        "now" => Some(false),
                        "lazy" => Some(true),
                        _ => None,
                    })?,
                )?;
            }
            Some("--scope") => {
                once(
                    "--scope",
                    &mut scope,
                    words.choice("--scope", "`local` or `global`", |text| match text {
                        "local" => Some(false),
                        "global" => Some(true),
                        _ => None,
                    })?,
                )?;
            }
            Some("--keep-open") => contract.keep_open = true,
            Some("--symbol") => contract.symbols.push(words.value("--symbol")?),
            Some("--call") => contract.calls.push(Call {
                symbol: words.value("--call")?,
                arguments: Vec::new(),
                returns: Returns::None,
            }),
            Some("--arg-string") => {
                let argument = Argument::String(words.value("--arg-string")?);
                push_argument(&mut contract, "--arg-string", argument)?;
            }
            Some("--arg-integer") => {
                let number = words.choice("--arg-integer", "a whole number of 64 bits", |text| text.parse().ok())?;
                push_argument(&mut contract, "--arg-integer", Argument::Integer(number))?;
            }
            Some("--returns") => {
                let takes = "`string`, `integer`, `int32` or `none`";
                let returns = words.choice("--returns", takes, Returns::parse)?;
                last_call(&mut contract, "--returns")?.returns = returns;
            }
            _ => common.take(&flag, &mut words)?,
        }
    }
    contract.lazy = binding.unwrap_or(false);
    contract.global = scope.unwrap_or(false);
    let is_separated = words.is_separated;
    let plugins = words.rest();
    if plugins.is_empty() {
        return Err(UsageError::NoPlugin);
    }
    if let Some(late) = plugins
        .iter()
        .find(|word| !is_separated && word.as_bytes().starts_with(b"-"))
    {
        return Err(UsageError::LateFlag(lossy(late)));
    }
    flags.truncate(flags.len() - plugins.len() - usize::from(is_separated));
    let options = OpenOptions {
        flags,
        timeout: common.timeout(),
        output_limit_bytes: common.output_limit_bytes(),
        environment: common.environment,
        plugins,
    };
    Ok((options, contract))
}

fn last_call<'a>(contract: &'a mut Contract, flag: &'static str) -> Result<&'a mut Call, UsageError> {
    contract
        .calls
        .last_mut()
        .ok_or(UsageError::OutOfPlace { flag, after: "--call" })
}

fn push_argument(contract: &mut Contract, flag: &'static str, argument: Argument) -> Result<(), UsageError> {
    let call = last_call(contract, flag)?;
    if call.arguments.len() == CALL_ARGUMENTS_LIMIT_COUNT {
        return Err(UsageError::TooManyArguments(lossy(&call.symbol)));
    }
    call.arguments.push(argument);
    Ok(())
}

/// A request whose URL may still be a path.
struct PendingRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

fn parse_drive(words: Vec<OsString>) -> Result<DriveOptions, UsageError> {
    let mut words = Words::new(words);
    let mut common = CommonFlags::default();
    let mut ready = None;
    let (mut ready_timeout, mut request_timeout, mut stop_timeout, mut stop_signal) = (None, None, None, None);
    let mut pending: Vec<PendingRequest> = Vec::new();
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
                pending.push(PendingRequest {
                    method,
                    url,
                    headers: Vec::new(),
                    body: None,
                });
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
            requests: resolve_requests(pending, &ready)?,
            ready,
            ready_timeout: ready_timeout.unwrap_or(Duration::from_millis(DEFAULT_READY_TIMEOUT_MILLISECONDS)),
            request_timeout: request_timeout.unwrap_or(Duration::from_millis(DEFAULT_REQUEST_TIMEOUT_MILLISECONDS)),
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
        server,
    })
}

fn last_request<'a>(
    pending: &'a mut [PendingRequest],
    flag: &'static str,
) -> Result<&'a mut PendingRequest, UsageError> {
    pending.last_mut().ok_or(UsageError::OutOfPlace {
        flag,
        after: "--request",
    })
}

fn resolve_requests(pending: Vec<PendingRequest>, ready: &Ready) -> Result<Vec<Request>, UsageError> {
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
    pending.into_iter().map(resolve).collect()
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

/// What `open` and `drive` share.
#[derive(Default)]
struct CommonFlags {
    timeout: Option<Duration>,
    output_limit_bytes: Option<usize>,
    environment: Vec<(OsString, OsString)>,
}

impl CommonFlags {
    fn take(&mut self, flag: &OsStr, words: &mut Words) -> Result<(), UsageError> {
        match flag.to_str() {
            Some("--timeout-ms") => once("--timeout-ms", &mut self.timeout, words.milliseconds("--timeout-ms")?),
            Some("--output-limit-bytes") => {
                let limit = words.number("--output-limit-bytes", OUTPUT_LIMIT_LIMIT_BYTES)?;
                once("--output-limit-bytes", &mut self.output_limit_bytes, limit as usize)
            }
            Some("--env") => {
                let word = words.value("--env")?;
                let bytes = word.as_bytes();
                let split = bytes
                    .iter()
                    .position(|byte| *byte == b'=')
                    .filter(|position| *position > 0);
                let position = split.ok_or_else(|| UsageError::BadValue {
                    flag: "--env",
                    value: lossy(&word),
                    takes: "`NAME=VALUE`".to_owned(),
                })?;
                let part = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
                self.environment
                    .push((part(&bytes[..position]), part(&bytes[position + 1..])));
                Ok(())
            }
            _ => Err(UsageError::UnknownFlag(lossy(flag))),
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout
            .unwrap_or(Duration::from_millis(DEFAULT_TIMEOUT_MILLISECONDS))
    }

    fn output_limit_bytes(&self) -> usize {
        self.output_limit_bytes.unwrap_or(DEFAULT_OUTPUT_LIMIT_BYTES as usize)
    }
}

/// The words that are still to be read.
struct Words {
    rest: std::iter::Peekable<std::vec::IntoIter<OsString>>,
    /// Whether `--` has ended the flags.
    is_separated: bool,
}

impl Words {
    fn new(words: Vec<OsString>) -> Words {
        Words {
            rest: words.into_iter().peekable(),
            is_separated: false,
        }
    }

    /// The next flag; none at the first word that is not one, and at `--`, which is skipped.
    fn next_flag(&mut self) -> Option<OsString> {
        let flag = self.rest.next_if(|word| word.as_bytes().starts_with(b"-"))?;
        self.is_separated = flag == "--";
        (!self.is_separated).then_some(flag)
    }

    fn rest(self) -> Vec<OsString> {
        self.rest.collect()
    }

    fn value(&mut self, flag: &'static str) -> Result<OsString, UsageError> {
        self.rest.next().ok_or(UsageError::MissingValue(flag))
    }

    fn text(&mut self, flag: &'static str) -> Result<String, UsageError> {
        self.choice(flag, "UTF-8 text", |text| Some(text.to_owned()))
    }

    fn choice<T>(
        &mut self,
        flag: &'static str,
        takes: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, UsageError> {
        let word = self.value(flag)?;
        word.to_str().and_then(read).ok_or_else(|| UsageError::BadValue {
            flag,
            value: lossy(&word),
            takes: takes.to_owned(),
        })
    }

    fn number(&mut self, flag: &'static str, limit: u64) -> Result<u64, UsageError> {
        self.choice(flag, &format!("a number from 1 to {limit}"), |text| {
            text.parse().ok().filter(|number| (1..=limit).contains(number))
        })
    }

    fn milliseconds(&mut self, flag: &'static str) -> Result<Duration, UsageError> {
        self.number(flag, TIMEOUT_LIMIT_MILLISECONDS).map(Duration::from_millis)
    }
}

fn once<T>(flag: &'static str, place: &mut Option<T>, value: T) -> Result<(), UsageError> {
    if place.is_some() {
        return Err(UsageError::GivenTwice(flag));
    }
    *place = Some(value);
    Ok(())
}

fn once_ready(place: &mut Option<Ready>, value: Ready) -> Result<(), UsageError> {
    once("--ready-…", place, value).map_err(|_| UsageError::ReadyTwice)
}

fn lossy(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn open(line: &str) -> (OpenOptions, Contract) {
        parse_open(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn drive(line: &str) -> DriveOptions {
        parse_drive(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn check_error(line: &str, expect: &str) {
        match parse(words(line)) {
            Ok(invocation) => panic!("{line}: understood as {invocation:?}"),
            Err(error) => {
                assert_eq!(error.to_string(), expect, "{line}");
                assert!(!error.hint().is_empty());
            }
        }
    }

    #[test]
    fn plugins_follow_flags() {
        let (options, contract) = open("--flags lazy --scope global --keep-open --symbol a --symbol b -- -x.so y.so");
        assert_eq!(options.plugins, words("-x.so y.so"));
        assert_eq!(
            options.flags,
            words("--flags lazy --scope global --keep-open --symbol a --symbol b")
        );
        assert!(contract.lazy && contract.global && contract.keep_open);
        assert_eq!(contract.symbols, words("a b"));

        let (options, contract) = open("a.so b.so");
        assert_eq!((options.flags, options.plugins), (words(""), words("a.so b.so")));
        assert_eq!(contract, Contract::default());
        assert_eq!(options.timeout, Duration::from_secs(30));
        assert_eq!(options.output_limit_bytes, 262_144);

        // A value may look like the separator.
        let (options, _) = open("--symbol -- x.so");
        assert_eq!((options.flags, options.plugins), (words("--symbol --"), words("x.so")));
    }

    #[test]
    fn arguments_belong_to_the_call_before_them() {
        let (_, contract) = open("--call a --arg-string -x --arg-integer -7 --returns string --call b x.so");
        let expect = vec![
            Call {
                symbol: "a".into(),
                arguments: vec![Argument::String("-x".into()), Argument::Integer(-7)],
                returns: Returns::String,
            },
            Call {
                symbol: "b".into(),
                arguments: Vec::new(),
                returns: Returns::None,
            },
        ];
        assert_eq!(contract.calls, expect);
    }

    #[test]
    fn a_plugin_process_gets_the_same_flags() {
        let line = "--symbol a --call b --returns int32 --env A=b=c --timeout-ms 5 --output-limit-bytes 9";
        let (options, contract) = open(&format!("{line} x.so y.so"));
        assert_eq!(options.environment, [("A".into(), "b=c".into())]);
        assert_eq!(
            (options.timeout, options.output_limit_bytes),
            (Duration::from_millis(5), 9)
        );
        let mut one = vec![OsString::from("open-one")];
        one.extend(options.flags);
        one.extend(words("-- y.so"));
        assert_eq!(parse(one), Ok(Invocation::OpenOne(contract, "y.so".into())));
    }

    #[test]
    fn a_command_needs_nothing_but_itself() {
        let options = drive("-- greeter --plugins /x");
        assert_eq!(options.command, words("greeter --plugins /x"));
        assert_eq!(options.server, None);
        assert_eq!(drive("greeter --plugins /x").command, options.command);
    }

    #[test]
    fn a_server_has_defaults() {
        let server = drive("--ready-stdout up -- serve").server;
        let expect = ServerOptions {
            ready: Ready::Stdout(b"up".to_vec()),
            ready_timeout: Duration::from_secs(10),
            requests: Vec::new(),
            request_timeout: Duration::from_secs(10),
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
            server
                .into_iter()
                .flat_map(|server| server.requests)
                .map(|request| request.url.to_string())
                .collect()
        };
        assert_eq!(
            urls("http http://localhost:8080/healthz"),
            ["http://localhost:8080/a?b=c", "http://[::1]:9/z"]
        );
        assert_eq!(urls("tcp 8081"), ["http://127.0.0.1:8081/a?b=c", "http://[::1]:9/z"]);
        let server = drive(&format!("--ready-tcp 1 {line} -- serve")).server;
        let request = server.into_iter().flat_map(|server| server.requests).next();
        let request = request.unwrap_or_else(|| panic!("no request"));
        assert_eq!(
            request.headers,
            [("X-One".into(), "1".into()), ("X-Two".into(), "2".into())]
        );
        assert_eq!(request.body.as_deref(), Some(b"hello".as_slice()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expect) in [
            ("", "no command given"),
            ("opne x.so", "unknown command `opne`"),
            ("open", "no plugin given"),
            ("open --symbol", "`--symbol` lacks its value"),
            ("open --symbols a x.so", "unknown flag `--symbols`"),
            ("open x.so --symbol a", "`--symbol` stands after a plugin"),
            ("open --flags soon x.so", "`--flags` takes `now` or `lazy`, not `soon`"),
            ("open --flags now --flags now x.so", "`--flags` is given twice"),
            ("open --returns string x.so", "`--returns` must follow a `--call`"),
            ("open --arg-integer 1 x.so", "`--arg-integer` must follow a `--call`"),
            (
                "open --call a --arg-integer 1x x.so",
                "`--arg-integer` takes a whole number of 64 bits, not `1x`",
            ),
            (
                "open --call a --arg-integer 1 --arg-integer 2 --arg-integer 3 --arg-integer 4 --arg-integer 5 x.so",
                "the call of `a` has more than 4 arguments",
            ),
            (
                "open --call a --returns text x.so",
                "`--returns` takes `string`, `integer`, `int32` or `none`, not `text`",
            ),
            (
                "open --timeout-ms 0 x.so",
                "`--timeout-ms` takes a number from 1 to 3600000, not `0`",
            ),
            ("open --env =x x.so", "`--env` takes `NAME=VALUE`, not `=x`"),
            ("drive", "no command to run given"),
            (
                "drive --request GET /x -- y",
                "`--request` is for a server, and nothing says when the server is ready",
            ),
            (
                "drive --ready-tcp 1 --ready-stdout up -- y",
                "more than one `--ready-…` flag is given",
            ),
            (
                "drive --ready-tcp 0 -- y",
                "`--ready-tcp` takes a port from 1 to 65535, not `0`",
            ),
            (
                "drive --ready-tcp 1 --header A:b -- y",
                "`--header` must follow a `--request`",
            ),
            (
                "drive --ready-tcp 1 --request GET /x --header A -- y",
                "`--header` takes `NAME: VALUE`, not `A`",
            ),
            (
                "drive --ready-tcp 1 --request get /x -- y",
                "`--request` takes a method, such as `GET`, not `get`",
            ),
            (
                "drive --ready-tcp 1 --stop-signal DIE -- y",
                "`--stop-signal` takes a signal's name, such as `TERM`, not `DIE`",
            ),
            (
                "drive --ready-http http://192.0.2.1/ -- y",
                "`--ready-http` cannot use `http://192.0.2.1/`: `192.0.2.1` is not a loopback address",
            ),
            (
                "drive --ready-stdout up --request GET /x -- y",
                "`--request` cannot use `/x`: it does not begin with `http://`",
            ),
        ] {
            check_error(line, expect);
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
