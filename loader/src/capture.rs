//! Bytes that a program wrote, kept up to a limit.

use crate::json::Json;

/// How much of the end is kept when there is more than the limit: enough for the last words before a crash.
pub const TAIL_LIMIT_BYTES: usize = 8 * 1024;

/// The first bytes up to the limit and, when there are more, the last few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    head: Vec<u8>,
    head_limit_bytes: usize,
    tail: Vec<u8>,
    tail_limit_bytes: usize,
    bytes: u64,
}

impl Capture {
    /// For a stream that is read to its end.
    pub fn of_stream(limit_bytes: usize) -> Capture {
        Capture {
            tail_limit_bytes: TAIL_LIMIT_BYTES,
            ..Capture::of_head(limit_bytes)
        }
    }

    /// For bytes whose end does not matter.
    pub fn of_head(limit_bytes: usize) -> Capture {
        Capture {
            head: Vec::new(),
            head_limit_bytes: limit_bytes,
            tail: Vec::new(),
            tail_limit_bytes: 0,
            bytes: 0,
        }
    }

    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let room = self.head_limit_bytes - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.tail_limit_bytes)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.tail_limit_bytes);
        self.tail.drain(..excess);
        self.tail.extend_from_slice(rest);
    }

    /// The first bytes.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether bytes went by that are not in the head.
    pub fn is_truncated(&self) -> bool {
        self.bytes > self.head.len() as u64
    }

    /// `{"text", "tail", "bytes", "truncated", "lossy"}`.
    pub fn to_json(&self) -> Json {
        let truncated = self.is_truncated();
        // A character that the cut went through is no fault of the program's, so it must not be called lossy.
        let head = if truncated {
            without_partial_end(&self.head)
        } else {
            &self.head
        };
        let tail = without_partial_start(&self.tail);
        let lossy = std::str::from_utf8(head).is_err() || std::str::from_utf8(tail).is_err();
        Json::object([
            ("text", String::from_utf8_lossy(head).into_owned().into()),
            (
                "tail",
                (!tail.is_empty())
                    .then(|| String::from_utf8_lossy(tail).into_owned())
                    .into(),
            ),
            ("bytes", self.bytes.into()),
            ("truncated", truncated.into()),
            ("lossy", lossy.into()),
        ])
    }
}

fn without_partial_end(bytes: &[u8]) -> &[u8] {
    let longest_partial = bytes.len().min(3);
    for length in 1..=longest_partial {
        let (rest, end) = bytes.split_at(bytes.len() - length);
        // `error_len` is none for the beginning of a character that the end of the input cuts off.
        if std::str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none()) {
            return rest;
        }
    }
    bytes
}

fn without_partial_start(bytes: &[u8]) -> &[u8] {
    let continuation = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
    &bytes[continuation..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(limit: usize, chunks: &[&[u8]]) -> Capture {
        let mut capture = Capture::of_stream(limit);
        for chunk in chunks {
            capture.push(chunk);
        }
        capture
    }

    fn check(capture: &Capture, expect: &str) {
        assert_eq!(capture.to_json().to_string(), expect);
    }

    #[test]
    fn what_fits_is_complete() {
        check(
            &captured(8, &[]),
            r#"{"text":"","tail":null,"bytes":0,"truncated":false,"lossy":false}"#,
        );
        check(
            &captured(8, &[b"four", b"more"]),
            r#"{"text":"fourmore","tail":null,"bytes":8,"truncated":false,"lossy":false}"#,
        );
    }

    #[test]
    fn what_does_not_fit_keeps_both_ends() {
        check(
            &captured(4, &[b"startmiddle", b"end"]),
            r#"{"text":"star","tail":"tmiddleend","bytes":14,"truncated":true,"lossy":false}"#,
        );
        let mut capture = captured(4, &[]);
        for _ in 0..1_000 {
            capture.push(&[b'x'; 1_000]);
        }
        capture.push(b"last words");
        assert_eq!(capture.bytes, 1_000_010);
        assert_eq!(capture.tail.len(), TAIL_LIMIT_BYTES);
        assert!(capture.tail.ends_with(b"last words"));
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        check(
            &captured(8, &[b"a\xffb"]),
            "{\"text\":\"a\u{fffd}b\",\"tail\":null,\"bytes\":3,\"truncated\":false,\"lossy\":true}",
        );
        check(
            &captured(8, &[b"cut \xc3"]),
            "{\"text\":\"cut \u{fffd}\",\"tail\":null,\"bytes\":5,\"truncated\":false,\"lossy\":true}",
        );
    }

    #[test]
    fn a_cut_through_a_character_is_not_lossy() {
        for limit in 0..12 {
            let capture = captured(limit, &["aé€🌍z".as_bytes()]);
            assert!(
                capture.to_json().to_string().ends_with("\"lossy\":false}"),
                "{limit}: {}",
                capture.to_json()
            );
        }
    }

    #[test]
    fn the_size_of_the_pieces_does_not_matter() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|number| (number % 251) as u8).collect();
        let whole = captured(1_000, &[&bytes]);
        for size in [1, 7, 999, 1_000, 1_001, 8_192, 20_000] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(captured(1_000, &pieces), whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_head_has_no_tail() {
        let mut capture = Capture::of_head(2);
        capture.push(b"abc");
        check(
            &capture,
            r#"{"text":"ab","tail":null,"bytes":3,"truncated":true,"lossy":false}"#,
        );
    }
}
