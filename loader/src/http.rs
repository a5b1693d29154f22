//! A minimal HTTP/1.1 client for servers on the loopback address: one request a connection, with limits on everything.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::capture::Capture;

/// Status line and headers together, and the trailers of a chunked body.
const HEAD_LIMIT_BYTES: usize = 64 * 1024;
/// Header lines of one response.
const HEADERS_LIMIT_COUNT: usize = 256;
/// `100 Continue` and the like before the response proper.
const INTERIM_RESPONSES_LIMIT_COUNT: usize = 8;
/// The line that gives a chunk's size.
const CHUNK_LINE_LIMIT_BYTES: usize = 1024;
/// What is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// `http://HOST[:PORT]/PATH` on a loopback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    address: SocketAddr,
    /// Host and port as written, for the `Host` header.
    authority: String,
    /// With the query.
    path: String,
}

/// Why a URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlError {
    /// Another scheme, or none.
    NotHttp,
    /// A host that is somewhere else: the loader has no business there.
    NotLoopback(String),
    /// No port, as the text says, or not one at all.
    BadPort(String),
    /// A path with characters that must be percent-encoded.
    BadPath,
}

impl fmt::Display for UrlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::NotHttp => write!(formatter, "it does not begin with `http://`"),
            UrlError::NotLoopback(host) => write!(formatter, "`{host}` is not a loopback address"),
            UrlError::BadPort(port) => write!(formatter, "`{port}` is not a port"),
            UrlError::BadPath => write!(formatter, "the path holds characters that must be percent-encoded"),
        }
    }
}

impl Url {
    /// Reads a URL. `localhost` is 127.0.0.1: nothing is resolved, as an image may have nothing to resolve with.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let rest = text.strip_prefix("http://").ok_or(UrlError::NotHttp)?;
        let (authority, path) = match rest.find(['/', '?']) {
            Some(position) if rest[position..].starts_with('/') => (&rest[..position], rest[position..].to_owned()),
            Some(position) => (&rest[..position], format!("/{}", &rest[position..])),
            None => (rest, "/".to_owned()),
        };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (
                host,
                Some(port.strip_prefix(':').ok_or(UrlError::BadPort(port.to_owned()))?),
            ),
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let address: IpAddr = match host {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            _ => host.parse().map_err(|_| UrlError::NotLoopback(host.to_owned()))?,
        };
        if !address.is_loopback() {
            return Err(UrlError::NotLoopback(host.to_owned()));
        }
        let port = match port {
            None => 80,
            Some(text) => match text.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(UrlError::BadPort(text.to_owned())),
            },
        };
        let base = Url {
            address: SocketAddr::new(address, port),
            authority: authority.to_owned(),
            path: String::new(),
        };
        base.with_path(&path)
    }

    /// The root of a port of 127.0.0.1.
    pub fn of_port(port: u16) -> Url {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Url {
            address,
            authority: address.to_string(),
            path: "/".to_owned(),
        }
    }

    /// The same server's URL with this path.
    pub fn with_path(&self, path: &str) -> Result<Url, UrlError> {
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(UrlError::BadPath);
        }
        Ok(Url {
            path: path.to_owned(),
            ..self.clone()
        })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.authority, self.path)
    }
}

/// What a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Where.
    pub url: Url,
    /// Replace those that the client would send by itself.
    pub headers: Vec<(String, String)>,
    /// None for no body; some for one, which may be empty.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// A plain `GET`.
    pub fn get(url: Url) -> Request {
        Request {
            method: "GET".to_owned(),
            url,
            headers: Vec::new(),
            body: None,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut headers = vec![
            ("Host", self.url.authority.clone()),
            (
                "User-Agent",
                concat!("lockstep-loader/", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
            ("Accept", "*/*".to_owned()),
            ("Connection", "close".to_owned()),
        ];
        if let Some(body) = &self.body {
            headers.push(("Content-Length", body.len().to_string()));
        } else if ["POST", "PUT", "PATCH"].contains(&self.method.as_str()) {
            headers.push(("Content-Length", "0".to_owned()));
        }
        headers.retain(|(name, _)| !self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.url.path);
        for (name, value) in headers.into_iter().chain(own) {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// For example 200.
    pub status: u16,
    /// By name in lower case; a header that is there twice has two values.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Without its transfer coding; a compressed body stays compressed.
    pub body: Capture,
}

/// Why there is no response.
#[derive(Debug)]
pub enum HttpError {
    /// No connection.
    Connect(SocketAddr, io::Error),
    /// The request could not be sent.
    Send(io::Error),
    /// The response could not be read.
    Receive(io::Error),
    /// The time was over while waiting for this.
    TimedOut(&'static str),
    /// The server closed the connection within this.
    ClosedEarly(&'static str),
    /// This is not as HTTP/1.1 wants it.
    Malformed(String),
    /// More of this than the loader reads.
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much it reads.
        limit: usize,
        /// In what.
        unit: &'static str,
    },
}

impl fmt::Display for HttpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Connect(address, cause) => write!(formatter, "failed to connect to {address}: {cause}"),
            HttpError::Send(cause) => write!(formatter, "failed to send the request: {cause}"),
            HttpError::Receive(cause) => write!(formatter, "failed to read the response: {cause}"),
            HttpError::TimedOut(stage) => write!(formatter, "failed to read the response: no {stage} in time"),
            HttpError::ClosedEarly(part) => {
                write!(
                    formatter,
                    "failed to read the response: the connection was closed within the {part}"
                )
            }
            HttpError::Malformed(what) => write!(formatter, "failed to read the response: {what}"),
            HttpError::TooMuch { what, limit, unit } => {
                write!(
                    formatter,
                    "failed to read the response: more than {limit} {unit} of {what}"
                )
            }
        }
    }
}

/// Sends a request on a connection of its own and reads the response until the deadline.
pub fn exchange(request: &Request, deadline: Instant, body_limit_bytes: usize) -> Result<Response, HttpError> {
    let address = request.url.address;
    let left = time_left(deadline).ok_or(HttpError::TimedOut("connection"))?;
    let stream = TcpStream::connect_timeout(&address, left).map_err(|cause| HttpError::Connect(address, cause))?;
    let mut stream = DeadlineStream { stream, deadline };
    // A server may answer and close before it has read a body that it does not want: its answer counts more.
    let sent = stream.write_all(&request.to_bytes()).map_err(HttpError::Send);
    match (sent, read_response(stream, &request.method, body_limit_bytes)) {
        (Ok(()), response) | (Err(_), response @ Ok(_)) => response,
        (Err(error), Err(_)) => Err(error),
    }
}

fn time_left(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

/// A connection on which no single read or write outlasts the deadline.
struct DeadlineStream {
    stream: TcpStream,
    deadline: Instant,
}

impl DeadlineStream {
    fn left(&self) -> io::Result<Option<Duration>> {
        time_left(self.deadline)
            .map(Some)
            .ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Reads one response to a request with this method. The body ends where RFC 9112, section 6.3, says.
fn read_response(stream: impl Read, method: &str, body_limit_bytes: usize) -> Result<Response, HttpError> {
    let mut incoming = Incoming {
        stream,
        buffer: vec![0; PIECE_BYTES],
        position: 0,
        end: 0,
    };
    for _ in 0..=INTERIM_RESPONSES_LIMIT_COUNT {
        let mut budget = HEAD_LIMIT_BYTES;
        let status = parse_status(&incoming.line(&mut budget, "status line")?)?;
        let headers = incoming.headers(&mut budget)?;
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let mut body = Capture::of_head(body_limit_bytes);
        let has_body = method != "HEAD" && status != 101 && status != 204 && status != 304;
        if has_body {
            incoming.body(&headers, &mut body)?;
        }
        return Ok(Response { status, headers, body });
    }
    Err(HttpError::TooMuch {
        what: "interim responses",
        limit: INTERIM_RESPONSES_LIMIT_COUNT,
        unit: "responses",
    })
}

fn parse_status(line: &str) -> Result<u16, HttpError> {
    let malformed = || HttpError::Malformed(format!("`{}` is not a status line", shortened(line)));
    let rest = line.strip_prefix("HTTP/1.").ok_or_else(malformed)?;
    let mut words = rest.split(' ');
    let (Some("0" | "1"), Some(status)) = (words.next(), words.next()) else {
        return Err(malformed());
    };
    match status.parse() {
        Ok(number) if status.len() == 3 && (100..1000).contains(&number) => Ok(number),
        _ => Err(malformed()),
    }
}

/// Enough of a text for a message.
fn shortened(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

struct Incoming<R> {
    stream: R,
    buffer: Vec<u8>,
    /// From here on the buffer was not looked at yet,
    position: usize,
    /// and here it ends.
    end: usize,
}

impl<R: Read> Incoming<R> {
    /// The bytes that are there; waits for some if there are none. Nothing at the end of the stream.
    fn available(&mut self, stage: &'static str) -> Result<&[u8], HttpError> {
        if self.position == self.end {
            self.position = 0;
            self.end = 0;
            self.end = loop {
                match self.stream.read(&mut self.buffer) {
                    Ok(length) => break length,
                    Err(error) => match error.kind() {
                        io::ErrorKind::Interrupted => {}
                        // Linux says "would block" when the time of a socket is over.
                        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => return Err(HttpError::TimedOut(stage)),
                        _ => return Err(HttpError::Receive(error)),
                    },
                }
            };
        }
        Ok(&self.buffer[self.position..self.end])
    }

    /// A line without its end, which is taken off the budget.
    fn line(&mut self, budget: &mut usize, stage: &'static str) -> Result<String, HttpError> {
        let limit = *budget;
        let mut line = Vec::new();
        loop {
            let available = self.available(stage)?;
            if available.is_empty() {
                return Err(HttpError::ClosedEarly(stage));
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            line.extend_from_slice(&available[..taken]);
            self.position += taken;
            *budget = budget.checked_sub(taken).ok_or(HttpError::TooMuch {
                what: stage,
                limit,
                unit: "bytes",
            })?;
            if end.is_some() {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
        }
    }

    fn headers(&mut self, budget: &mut usize) -> Result<BTreeMap<String, Vec<String>>, HttpError> {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..=HEADERS_LIMIT_COUNT {
            let line = self.line(budget, "headers")?;
            if line.is_empty() {
                return Ok(headers);
            }
            let malformed = || HttpError::Malformed(format!("`{}` is not a header", shortened(&line)));
            let (name, value) = line.split_once(':').ok_or_else(malformed)?;
            // White space before the colon or the name has been a way to smuggle headers; RFC 9112 forbids both.
            if name.is_empty() || name.contains(|character: char| character.is_whitespace()) {
                return Err(malformed());
            }
            headers
                .entry(name.to_ascii_lowercase())
                .or_default()
                .push(value.trim().to_owned());
        }
        Err(HttpError::TooMuch {
            what: "headers",
            limit: HEADERS_LIMIT_COUNT,
            unit: "lines",
        })
    }

    fn body(&mut self, headers: &BTreeMap<String, Vec<String>>, body: &mut Capture) -> Result<(), HttpError> {
        if let Some(codings) = headers.get("transfer-encoding") {
            return match codings.as_slice() {
                [coding] if coding.eq_ignore_ascii_case("chunked") => self.chunks(body),
                _ => Err(HttpError::Malformed(format!(
                    "transfer coding `{}` is not known",
                    codings.join(", ")
                ))),
            };
        }
        match headers.get("content-length").map(Vec::as_slice) {
            None => self.rest(body),
            Some([first, others @ ..]) if others.iter().all(|other| other == first) => {
                let digits = Some(first).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let length = digits.and_then(|text| text.parse().ok());
                let malformed = || HttpError::Malformed(format!("`{}` is not a length", shortened(first)));
                self.bytes(length.ok_or_else(malformed)?, body)
            }
            Some(lengths) => Err(HttpError::Malformed(format!(
                "there are several lengths: {}",
                lengths.join(", ")
            ))),
        }
    }

    /// Exactly so many bytes, unless the body has reached its limit before.
    fn bytes(&mut self, mut length: u64, body: &mut Capture) -> Result<(), HttpError> {
        while length > 0 && !body.is_truncated() {
            let available = self.available("body")?;
            if available.is_empty() {
                return Err(HttpError::ClosedEarly("body"));
            }
            let taken = available.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            body.push(&available[..taken]);
            self.position += taken;
            length -= taken as u64;
        }
        Ok(())
    }

    fn rest(&mut self, body: &mut Capture) -> Result<(), HttpError> {
        while !body.is_truncated() {
            let available = self.available("body")?;
            if available.is_empty() {
                break;
            }
            body.push(available);
            self.position = self.end;
        }
        Ok(())
    }

    fn chunks(&mut self, body: &mut Capture) -> Result<(), HttpError> {
        while !body.is_truncated() {
            let line = self.line(&mut { CHUNK_LINE_LIMIT_BYTES }, "chunk size")?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = Some(digits)
                .filter(|_| is_hexadecimal)
                .and_then(|text| u64::from_str_radix(text, 16).ok());
            let malformed = || HttpError::Malformed(format!("`{}` is not the size of a chunk", shortened(&line)));
            match size.ok_or_else(malformed)? {
                0 => return self.headers(&mut { HEAD_LIMIT_BYTES }).map(drop),
                size => self.bytes(size, body)?,
            }
            if !body.is_truncated() && !self.line(&mut { CHUNK_LINE_LIMIT_BYTES }, "chunk")?.is_empty() {
                return Err(HttpError::Malformed("a chunk is longer than its size".to_owned()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY_LIMIT_BYTES: usize = 64;

    /// A stream that gives its bytes in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(buffer.len());
            let (piece, rest) = self.0.split_at(size);
            buffer[..size].copy_from_slice(piece);
            self.0 = rest;
            Ok(size)
        }
    }

    fn read(method: &str, bytes: &[u8]) -> Result<String, String> {
        let render = |result: Result<Response, HttpError>| {
            let response = result.map_err(|error| error.to_string())?;
            let headers: Vec<String> = response
                .headers
                .iter()
                .map(|(name, values)| format!("{name}={}", values.join("|")))
                .collect();
            let mark = if response.body.is_truncated() { "…" } else { "" };
            let body = String::from_utf8_lossy(response.body.head());
            Ok(format!("{} [{}] {body}{mark}", response.status, headers.join(" ")))
        };
        let whole = render(read_response(Pieces(bytes, usize::MAX), method, BODY_LIMIT_BYTES));
        let single = render(read_response(Pieces(bytes, 1), method, BODY_LIMIT_BYTES));
        assert_eq!(whole, single, "the size of the pieces matters");
        whole
    }

    fn check(bytes: &str, expect: &str) {
        assert_eq!(read("GET", bytes.as_bytes()).as_deref(), Ok(expect));
    }

    fn check_error(bytes: &str, expect: &str) {
        assert_eq!(
            read("GET", bytes.as_bytes()),
            Err(format!("failed to read the response: {expect}"))
        );
    }

    #[test]
    fn bodies_end_where_they_should() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, more",
            "200 [content-length=5] hello",
        );
        check("HTTP/1.0 404 Not Found\r\n\r\nuntil the end", "404 [] until the end");
        check("HTTP/1.1 200\n\nbare line feeds", "200 [] bare line feeds");
        check("HTTP/1.1 204 No Content\r\nX: y\r\n\r\nnot a body", "204 [x=y] ");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\n\
             5;name=value\r\nhello\r\n1\r\n,\r\n0\r\nTrailer: x\r\n\r\n",
            "200 [content-length=3 transfer-encoding=Chunked] hello,",
        );
        assert_eq!(
            read("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").as_deref(),
            Ok("200 [content-length=5] "),
        );
    }

    #[test]
    fn headers_keep_all_their_values() {
        check(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie:b=2\r\nX-Empty:\r\n\r\n",
            "200 [set-cookie=a=1|b=2 x-empty=] ",
        );
    }

    #[test]
    fn interim_responses_are_skipped() {
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\n\r\n",
            "201 [] ",
        );
        check_error(
            &"HTTP/1.1 100 Continue\r\n\r\n".repeat(9),
            "more than 8 responses of interim responses",
        );
    }

    #[test]
    fn long_bodies_are_cut() {
        let long = "x".repeat(100);
        let expect = format!("{}…", "x".repeat(BODY_LIMIT_BYTES));
        check(&format!("HTTP/1.1 200 OK\r\n\r\n{long}"), &format!("200 [] {expect}"));
        check(
            &format!("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n{long}"),
            &format!("200 [content-length=18446744073709551615] {expect}"),
        );
        check(
            &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{long}"),
            &format!("200 [transfer-encoding=chunked] {expect}"),
        );
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for (bytes, expect) in [
            ("", "the connection was closed within the status line"),
            ("SSH-2.0-x\r\n", "`SSH-2.0-x` is not a status line"),
            ("HTTP/2 200 OK\r\n\r\n", "`HTTP/2 200 OK` is not a status line"),
            ("HTTP/1.1 99999 OK\r\n\r\n", "`HTTP/1.1 99999 OK` is not a status line"),
            ("HTTP/1.1 +20 OK\r\n\r\n", "`HTTP/1.1 +20 OK` is not a status line"),
            (
                "HTTP/1.1 200 OK\r\nX: y\r\n",
                "the connection was closed within the headers",
            ),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "`no colon` is not a header"),
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n folded: x\r\n\r\n",
                "` folded: x` is not a header",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "`-1` is not a length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", "`` is not a length"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                "there are several lengths: 1, 2",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
                "the connection was closed within the body",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                "transfer coding `gzip` is not known",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
                "`z` is not the size of a chunk",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\n",
                "`+5` is not the size of a chunk",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
                "a chunk is longer than its size",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
                "the connection was closed within the chunk size",
            ),
        ] {
            check_error(bytes, expect);
        }
        check_error(
            &format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000)),
            "more than 65519 bytes of headers",
        );
        check_error(
            &format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(300)),
            "more than 256 lines of headers",
        );
    }

    #[test]
    fn a_response_cut_anywhere_is_an_error_and_any_damage_is_survived() {
        let bytes: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert!(read("GET", bytes).is_ok());
        for length in 0..bytes.len() {
            assert!(read("GET", &bytes[..length]).is_err(), "cut after {length}");
            for damage in [0, b'\n', b'\r', b' ', b':', b'0', b'f', 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[length] = damage;
                // Both an error and another response are right; a panic or an endless loop is not.
                let _ = read("GET", &damaged);
            }
        }
    }

    #[test]
    fn requests_are_written_as_servers_want_them() {
        let url = Url::parse("http://localhost:8080/a?b=c");
        let mut request = Request::get(url.unwrap_or_else(|error| panic!("{error}")));
        let written = |request: &Request| String::from_utf8_lossy(&request.to_bytes()).into_owned();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            written(&request),
            format!(
                "GET /a?b=c HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: lockstep-loader/{version}\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            ),
        );
        request.method = "POST".to_owned();
        request.headers = vec![
            ("host".to_owned(), "example".to_owned()),
            ("X".to_owned(), "y".to_owned()),
        ];
        assert!(written(&request).ends_with("Content-Length: 0\r\nhost: example\r\nX: y\r\n\r\n"));
        assert!(!written(&request).contains("localhost"));
        request.body = Some(b"hello".to_vec());
        assert!(written(&request).contains("Content-Length: 5\r\n"));
        assert!(written(&request).ends_with("\r\n\r\nhello"));
    }

    #[test]
    fn urls_stay_on_this_machine() {
        for (text, expect) in [
            ("http://127.0.0.1", "http://127.0.0.1/ 127.0.0.1:80"),
            ("http://127.9.9.9:81/x", "http://127.9.9.9:81/x 127.9.9.9:81"),
            ("http://localhost:8080?x=y", "http://localhost:8080/?x=y 127.0.0.1:8080"),
            ("http://[::1]:8080/a/b?c=d/e", "http://[::1]:8080/a/b?c=d/e [::1]:8080"),
        ] {
            let url = Url::parse(text).map(|url| format!("{url} {}", url.address()));
            assert_eq!(url.as_deref(), Ok(expect), "{text}");
        }
        for (text, expect) in [
            ("https://127.0.0.1/", "it does not begin with `http://`"),
            ("127.0.0.1:80", "it does not begin with `http://`"),
            ("http://", "`` is not a loopback address"),
            ("http://example.org/", "`example.org` is not a loopback address"),
            (
                "http://127.0.0.1@192.0.2.1/",
                "`127.0.0.1@192.0.2.1` is not a loopback address",
            ),
            ("http://[2001:db8::1]/", "`2001:db8::1` is not a loopback address"),
            ("http://[::1]8080/", "`8080` is not a port"),
            ("http://127.0.0.1:/", "`` is not a port"),
            ("http://127.0.0.1:0/", "`0` is not a port"),
            ("http://127.0.0.1:99999/", "`99999` is not a port"),
            (
                "http://127.0.0.1/a b",
                "the path holds characters that must be percent-encoded",
            ),
            (
                "http://127.0.0.1/a\r\nX: y",
                "the path holds characters that must be percent-encoded",
            ),
            (
                "http://127.0.0.1/ü",
                "the path holds characters that must be percent-encoded",
            ),
        ] {
            assert_eq!(
                Url::parse(text).map_err(|error| error.to_string()),
                Err(expect.to_owned()),
                "{text}"
            );
        }
    }
}
