//! Output as lines of bounded length.

/// The longest line of what people read that is kept whole.
pub const LINE_LIMIT_BYTES: usize = 16 * 1024;
/// What a cut line ends with.
const CUT_MARK: &str = " […]";

/// Makes lines of pieces. What is not UTF-8 is replaced; a line that is too long is cut, and marked as cut.
#[derive(Debug)]
pub struct Lines {
    limit_bytes: usize,
    pending: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// Starts without a line; one of more than `limit_bytes` is cut.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            pending: Vec::new(),
            is_cut: false,
        }
    }

    /// Adds a piece of output and gives every line that it completes to `line`.
    pub fn push(&mut self, piece: &[u8], mut line: impl FnMut(&str)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_complete) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = self.limit_bytes - self.pending.len();
            self.is_cut |= text.len() > room;
            self.pending.extend_from_slice(&text[..text.len().min(room)]);
            if is_complete {
                self.complete(&mut line);
            }
        }
    }

    /// Gives the last line to `line` when the output ended in the middle of it.
    pub fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.pending.is_empty() {
            self.complete(&mut line);
        }
    }

    fn complete(&mut self, line: &mut impl FnMut(&str)) {
        if self.pending.last() == Some(&b'\r') && !self.is_cut {
            self.pending.pop();
        }
        let mut text = String::from_utf8_lossy(&self.pending).into_owned();
        if self.is_cut {
            text.push_str(CUT_MARK);
        }
        line(&text);
        self.pending.clear();
        self.is_cut = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(LINE_LIMIT_BYTES);
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| found.push(line.to_owned()));
        }
        lines.finish(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        assert_eq!(lines_of(&[b"a", b"b\nc\r\n\n", b"d"]), ["ab", "c", "", "d"]);
        assert_eq!(lines_of(&[b"a\n"]), ["a"]);
        assert_eq!(lines_of(&[b"\xff\n"]), ["\u{fffd}"]);
        assert_eq!(lines_of(&[]), [""; 0]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let piece = vec![b'x'; LINE_LIMIT_BYTES - 1];
        let found = lines_of(&[&piece, b"yz", &piece, b"\nnext\n"]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].len(), LINE_LIMIT_BYTES + CUT_MARK.len());
        assert!(found[0].ends_with(&format!("xy{CUT_MARK}")));
        assert_eq!(found[1], "next");
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_pieces(text in "[a-c\n]{0,40}", cut in 0_usize..40) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let whole = lines_of(&[bytes]);
            prop_assert_eq!(&whole, &lines_of(&[&bytes[..cut], &bytes[cut..]]));
            prop_assert_eq!(whole, text.lines().map(str::to_owned).collect::<Vec<_>>());
        }
    }
}
