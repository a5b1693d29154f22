//! The smoke loader's command line (`loader/README.md` is its reference): a contract or a smoke test in, words out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{
    Argument, BindingTime, Contract, Host, Invocation, Loader, PLUGINS_PLACEHOLDER, Question, Ready, Request, Returns,
    ScopeFlag, Server, Smoke, Step, StepKind,
};
use crate::owner::Owner;

/// How much of each stream and response body the loader keeps.
pub const OUTPUT_LIMIT_BYTES: u64 = 1024 * 1024;

/// What keeps plugins from the loader and from each other.
#[derive(Debug, Clone, Copy)]
pub struct Confinement<'a> {
    /// Who plugins and host are; the loader is somebody else.
    pub user: Owner,
    /// All directories that they can write to. The loader opens no plugin while something is there.
    pub scratch: &'a [&'a str],
}

/// A host that opens plugins, and how it is started for that.
#[derive(Debug, Clone, Copy)]
pub struct Within<'a> {
    /// The host's path in the container.
    pub program: &'a str,
    /// The probe's.
    pub probe: &'a str,
    /// The smoke test's variables.
    pub env: &'a BTreeMap<String, String>,
    /// The directory that holds the plugins.
    pub plugins_directory: &'a str,
}

/// `open`: loads each of `plugins` in a process of its own, or of the host's, after those that are `before` all of them, and
/// makes the contract's calls.
#[must_use]
pub fn open(
    contract: &Contract,
    within: Option<Within<'_>>,
    timeout: Duration,
    confinement: Confinement<'_>,
    before: &[String],
    plugins: &[String],
) -> Vec<String> {
    let mut words = vec!["open".to_owned()];
    push_limits(&mut words, timeout);
    push_user(&mut words, confinement.user);
    if let Some(within) = within {
        push_variables(&mut words, within.env, within.plugins_directory);
        push(&mut words, "--within", within.program);
        push(&mut words, "--probe", within.probe);
    }
    for directory in confinement.scratch {
        push(&mut words, "--scratch", directory);
    }
    if contract.loader == Loader::Dlopen {
        // Eagerly, unless the contract says otherwise: what is undefined shows now rather than at some call.
        let flags = match contract.flags {
            Some(BindingTime::Lazy) => "lazy",
            Some(BindingTime::Now) | None => "now",
        };
        push(&mut words, "--flags", flags);
        if contract.scope == Some(ScopeFlag::Global) {
            push(&mut words, "--scope", "global");
        }
    }
    for plugin in before {
        push(&mut words, "--after", plugin);
    }
    for symbol in &contract.symbols {
        push(&mut words, "--symbol", symbol);
        if let Some(symbol_type) = contract.types.get(symbol) {
            push(&mut words, "--type", symbol_type);
        }
    }
    for call in &contract.calls {
        push(&mut words, "--call", &call.symbol);
        for argument in &call.args {
            match argument {
                Argument::String(text) => push(&mut words, "--arg-string", text),
                Argument::Integer(number) => push(&mut words, "--arg-integer", &number.to_string()),
            }
        }
        let returns = match call.returns {
            Returns::String => "string",
            Returns::Integer => "integer",
            Returns::None => "none",
        };
        push(&mut words, "--returns", returns);
    }
    words.push("--".to_owned());
    words.extend_from_slice(plugins);
    words
}

/// Where a smoke test finds what it speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Whereabouts<'a> {
    /// The host, of which a command's first word may be a file.
    pub host: &'a Host,
    /// The directory that holds it.
    pub host_directory: &'a str,
    /// The directory that holds the plugins.
    pub plugins_directory: &'a str,
    /// Who the users are that are named.
    pub users: &'a BTreeMap<String, Owner>,
    /// Who everybody else is.
    pub user: Owner,
}

impl Whereabouts<'_> {
    fn filled(&self, text: &str) -> String {
        text.replace(PLUGINS_PLACEHOLDER, self.plugins_directory)
    }
}

/// `steps`: does one step of the smoke test after the other, until one has not ended as the next needs it.
#[must_use]
pub fn steps(smoke: &Smoke, whereabouts: Whereabouts<'_>) -> Vec<String> {
    let mut words = vec!["steps".to_owned()];
    for step in &smoke.steps {
        push_counted(&mut words, &step_words(step, whereabouts));
    }
    words
}

fn step_words(step: &Step, whereabouts: Whereabouts<'_>) -> Vec<String> {
    let mut words = Vec::new();
    push(&mut words, "--status", &step.kind.status().to_string());
    if let StepKind::Server(server) = &step.kind {
        push_server(&mut words, server, whereabouts);
    }
    push_invocation(&mut words, &step.invocation, whereabouts);
    words
}

fn push_server(words: &mut Vec<String>, server: &Server, whereabouts: Whereabouts<'_>) {
    match &server.ready {
        Ready::Http(url) => push(words, "--ready-http", url),
        Ready::Tcp(port) => push(words, "--ready-tcp", &port.to_string()),
        Ready::Stdout(text) => push(words, "--ready-stdout", text),
    }
    push(words, "--stop-signal", &server.stop.signal);
    for question in &server.requests {
        match question {
            Question::Request(request) => push_request(words, request),
            Question::Client(client) => {
                let mut own = Vec::new();
                push_invocation(&mut own, &client.invocation, whereabouts);
                words.push("--client".to_owned());
                push_counted(words, &own);
            }
        }
    }
}

fn push_request(words: &mut Vec<String>, request: &Request) {
    push(words, "--request", &request.method);
    words.push(request.url.clone());
    for (name, value) in &request.headers {
        push(words, "--header", &format!("{name}: {value}"));
    }
    if let Some(body) = &request.body {
        push(words, "--body", body);
    }
}

/// The command and how it is started, which end a command line.
fn push_invocation(words: &mut Vec<String>, invocation: &Invocation, whereabouts: Whereabouts<'_>) {
    push_limits(words, invocation.timeout);
    let user = invocation.user.as_ref().and_then(|user| whereabouts.users.get(user));
    push_user(words, user.copied().unwrap_or(whereabouts.user));
    push_variables(words, &invocation.env, whereabouts.plugins_directory);
    if let Some(directory) = &invocation.cwd {
        push(words, "--directory", directory);
    }
    if let Some(text) = &invocation.stdin {
        push(words, "--stdin", &whereabouts.filled(text));
    }
    words.push("--".to_owned());
    let mut command = invocation.command.iter().map(|word| whereabouts.filled(word));
    let program = command.next();
    words.extend(program.map(|program| whereabouts.host.resolve(&program, whereabouts.host_directory)));
    words.extend(command);
}

/// A command line within another one.
fn push_counted(words: &mut Vec<String>, own: &[String]) {
    words.push(own.len().to_string());
    words.extend_from_slice(own);
}

fn push_limits(words: &mut Vec<String>, timeout: Duration) {
    push(words, "--timeout-ms", &timeout.as_millis().to_string());
    push(words, "--output-limit-bytes", &OUTPUT_LIMIT_BYTES.to_string());
}

fn push_variables(words: &mut Vec<String>, env: &BTreeMap<String, String>, plugins_directory: &str) {
    for (name, value) in env {
        let value = value.replace(PLUGINS_PLACEHOLDER, plugins_directory);
        push(words, "--env", &format!("{name}={value}"));
    }
}

fn push_user(words: &mut Vec<String>, user: Owner) {
    push(words, "--user", &format!("{}:{}", user.uid, user.gid));
}

fn push(words: &mut Vec<String>, flag: &str, value: &str) {
    words.extend([flag.to_owned(), value.to_owned()]);
}
