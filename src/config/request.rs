//! `requests:` of a server's smoke test: over HTTP, or by a client.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::yaml::{Decoded, Fields, Value};

use super::expectation::{self, TIMEOUT_DEFAULT, texts};
use super::invocation::invocation;
use super::project::{Client, Invocation, Question, Ready, Request, ResponseExpectation};

/// The keys of a request.
const KEYS: &[&str] = &["method", "path", "url", "headers", "body", "expect"];
/// The keys of a client.
const CLIENT_KEYS: &[&str] = &["run", "expect", "env", "user", "cwd", "stdin", "timeout"];
/// The keys of a request's expectation.
const EXPECT_KEYS: &[&str] = &["status", "headers", "body"];
/// What HTTP defines (RFC 9110, section 9.3; RFC 5789), but for those that make a tunnel.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// `ready` is the server's, and `server` how it is started, when they are known.
pub(super) fn question(
    value: Value<'_>,
    ready: Option<&Ready>,
    server: Option<&Invocation>,
    host_files: Option<&[String]>,
) -> Decoded<Question> {
    match value.keys().contains(&CLIENT_KEYS[0]) {
        true => client(value, server, host_files).map(Question::Client),
        false => request(value, ready).map(Question::Request),
    }
}

/// What a client does not say itself is as its server's.
fn client(value: Value<'_>, server: Option<&Invocation>, host_files: Option<&[String]>) -> Decoded<Client> {
    value.fields("a client", CLIENT_KEYS, |fields| {
        let timeout = server.map_or(TIMEOUT_DEFAULT, |server| server.timeout);
        let own = invocation(&fields, CLIENT_KEYS[0], host_files, timeout);
        let expect = fields.or("expect", Default::default(), expectation::expectation);
        let (own, expect) = (own?, expect?);
        let Some(server) = server else {
            // What is wrong with that has been reported.
            return Err(crate::yaml::Reported);
        };
        Ok(Client {
            invocation: Invocation {
                env: server.env.clone().into_iter().chain(own.env).collect(),
                user: own.user.or_else(|| server.user.clone()),
                cwd: own.cwd.or_else(|| server.cwd.clone()),
                ..own
            },
            expect,
        })
    })
}

fn request(value: Value<'_>, ready: Option<&Ready>) -> Decoded<Request> {
    value.fields("a request", KEYS, |fields| {
        let method = fields.or("method", METHODS[0].to_owned(), |value| {
            let names: Vec<_> = METHODS.iter().map(|name| (*name, (*name).to_owned())).collect();
            value.one_of("method", &names)
        });
        let url = target(&fields, ready);
        let headers = fields.or("headers", BTreeMap::new(), headers);
        let body = fields.optional("body", |value| value.word().map(str::to_owned));
        let expect = fields.or("expect", ResponseExpectation::default(), expectation);
        Ok(Request {
            method: method?,
            url: url?,
            headers: headers?,
            body: body?,
            expect: expect?,
        })
    })
}

impl Default for ResponseExpectation {
    fn default() -> Self {
        Self {
            status: 200,
            headers: BTreeMap::new(),
            body: Vec::new(),
        }
    }
}

/// The URL, from `url:` or from `path:` on the address where the server is ready.
fn target(fields: &Fields<'_, '_>, ready: Option<&Ready>) -> Decoded<String> {
    let (key, value) = fields.exactly_one(&["path", "url"])?;
    if key == "url" {
        return url(value);
    }
    let path = value.filled_text()?;
    if !path.starts_with('/') || path.contains(|character: char| character.is_whitespace() || character.is_control()) {
        let label = "start it with `/`, and write `%20` for a space";
        return Err(value.report(format!("`{path}` is no path of a URL"), label));
    }
    match ready {
        None => Ok(path.to_owned()),
        Some(Ready::Http(url)) => Ok(format!("{}{path}", origin(url))),
        Some(Ready::Tcp(port)) => Ok(format!("http://127.0.0.1:{port}{path}")),
        Some(Ready::Stdout(_)) => {
            let label = "write `url:` with the address, or `ready: {http: …}`";
            Err(value.report("nothing says which address this path is on", label))
        }
    }
}

/// `http://host:port` of a URL that [`url`] has checked.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[host..].find('/').map_or(url.len(), |slash| host + slash);
    &url[..end]
}

/// A URL that can be asked inside of a container without a network; one without a path gets `/`.
pub(super) fn url(value: Value<'_>) -> Decoded<String> {
    let text = value.filled_text()?;
    let problem = |label: &str| Err(value.report(format!("`{text}` is no URL of the host's server"), label));
    let Some(rest) = text.strip_prefix("http://") else {
        return problem(match text.starts_with("https://") {
            true => "write `http://`: the smoke test does not speak TLS",
            false => "write `http://127.0.0.1:8080/healthz`",
        });
    };
    if text.contains(|character: char| character.is_whitespace() || character.is_control() || character == '#') {
        return problem("write no spaces and no `#`; `%20` stands for a space");
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = match authority.rfind(':').filter(|colon| !authority[*colon..].contains(']')) {
        Some(colon) => (&authority[..colon], &authority[colon + 1..]),
        None => (authority, "80"),
    };
    if !is_loopback(host) {
        return problem("write `127.0.0.1` for the host: the container has no network but its own loopback");
    }
    if !port.bytes().all(|digit| digit.is_ascii_digit()) || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return problem("write a port from 1 to 65535 after the host");
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!("http://{authority}{slash}{path}"))
}

/// A container without a network has no other addresses.
fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "[::1]") || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn expectation(value: Value<'_>) -> Decoded<ResponseExpectation> {
    value.fields("an expected response", EXPECT_KEYS, |fields| {
        let status = fields.or("status", 200, |value| value.integer(100..=599));
        let headers = fields.or("headers", BTreeMap::new(), headers);
        let body = fields.or("body", Vec::new(), texts);
        Ok(ResponseExpectation {
            status: status?,
            headers: headers?,
            body: body?,
        })
    })
}

fn headers(value: Value<'_>) -> Decoded<BTreeMap<String, String>> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let headers = value.entries(|key, value| {
        let name = header_name(key, &mut taken);
        let text = header_value(value);
        Ok((name?, text?))
    })?;
    Ok(headers.into_iter().collect())
}

/// A token (RFC 9110, section 5.6.2), each only once, in any case.
fn header_name(key: Value<'_>, taken: &mut BTreeMap<String, usize>) -> Decoded<String> {
    let name = key.text()?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let label = "write a name without spaces and colons: `Content-Type`";
        return Err(key.report(format!("`{name}` is no name of a header"), label));
    }
    super::scope::claim(taken, "header", &name.to_ascii_lowercase(), key)?;
    Ok(name.to_owned())
}

fn header_value(value: Value<'_>) -> Decoded<String> {
    let text = value.word()?;
    if text.chars().any(char::is_control) {
        return Err(value.report(
            "a header's value must be one line",
            "remove line ends and control characters",
        ));
    }
    Ok(text.trim().to_owned())
}
