//! A minimal HTTP/1.1 client for servers on the loopback address: one request a connection, with limits on everything.

mod response;
mod url;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub use response::Response;
pub use url::{Url, UrlError};

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
            ("Host", self.url.authority().to_owned()),
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
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.url.path());
        for (name, value) in headers.into_iter().chain(own) {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// Sends a request on a connection of its own and reads the response until the deadline.
pub fn exchange(request: &Request, deadline: Instant, body_limit_bytes: usize) -> Result<Response, HttpError> {
    let address = request.url.address();
    let left = time_left(deadline).ok_or(HttpError::TimedOut("connection"))?;
    let stream = TcpStream::connect_timeout(&address, left).map_err(|cause| HttpError::Connect(address, cause))?;
    let mut stream = DeadlineStream { stream, deadline };
    // A server may answer and close before it has read a body that it does not want: its answer counts more.
    let sent = stream.write_all(&request.to_bytes()).map_err(HttpError::Send);
    match (sent, response::read_response(stream, &request.method, body_limit_bytes)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_as_servers_want_them() {
        let url = Url::parse("http://localhost:8080/a?b=c");
        let mut request = Request::get(url.unwrap());
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
}
