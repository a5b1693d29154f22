//! A response, read with limits on everything.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::HttpError;
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

/// Reads one response to a request with this method. The body ends where RFC 9112, section 6.3, says.
pub fn read_response(stream: impl Read, method: &str, body_limit_bytes: usize) -> Result<Response, HttpError> {
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

    fn read(method: &str, bytes: &[u8]) -> String {
        let render = |result: Result<Response, HttpError>| match result {
            Err(error) => format!(
                "error {}",
                error.to_string().replace("failed to read the response: ", "")
            ),
            Ok(response) => {
                let headers: Vec<String> = response
                    .headers
                    .iter()
                    .map(|(name, values)| format!("{name}={}", values.join("|")))
                    .collect();
                let mark = if response.body.is_truncated() { "…" } else { "" };
                let body = String::from_utf8_lossy(response.body.head());
                format!("ok {} [{}] {body}{mark}", response.status, headers.join(" "))
            }
        };
        let whole = render(read_response(Pieces(bytes, usize::MAX), method, BODY_LIMIT_BYTES));
        let single = render(read_response(Pieces(bytes, 1), method, BODY_LIMIT_BYTES));
        assert_eq!(whole, single, "the size of the pieces matters");
        whole
    }

    #[test]
    fn responses_are_read_or_refused() {
        let cases = include_str!("../../tests/shared/responses.txt")
            .lines()
            .filter(|line| !line.starts_with('#'));
        for case in cases {
            let fields: Vec<&str> = case.split('\t').collect();
            let bytes = fields[1].replace("\\r", "\r").replace("\\n", "\n");
            assert_eq!(read(fields[0], bytes.as_bytes()), fields[2], "{case}");
        }
    }

    #[test]
    fn heads_have_limits() {
        let start = "HTTP/1.1 200 OK\r\n";
        for (bytes, expect) in [
            (
                format!("{start}X: {}", "x".repeat(70_000)),
                "error more than 65519 bytes of headers",
            ),
            (
                format!("{start}{}", "X: y\r\n".repeat(300)),
                "error more than 256 lines of headers",
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\n".repeat(9),
                "error more than 8 responses of interim responses",
            ),
        ] {
            assert_eq!(read("GET", bytes.as_bytes()), expect);
        }
    }

    #[test]
    fn a_response_cut_anywhere_is_an_error_and_any_damage_is_survived() {
        let bytes: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert!(read("GET", bytes).starts_with("ok "));
        for length in 0..bytes.len() {
            assert!(
                read("GET", &bytes[..length]).starts_with("error "),
                "cut after {length}"
            );
            for damage in [0, b'\n', b'\r', b' ', b':', b'0', b'f', 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[length] = damage;
                // Both an error and another response are right; a panic or an endless loop is not.
                assert!(!read("GET", &damaged).is_empty());
            }
        }
    }
}
