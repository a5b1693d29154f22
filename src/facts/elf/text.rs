//! Names that are kept as text, within a limit that honest files do not meet.

/// What a file may have of text besides its own length, in bytes.
const SPARE_BYTES: usize = 4096;

/// Copies names out of a file. Tables that overlap can name the same bytes again and again; all copies together are never
/// longer than the file.
#[derive(Debug)]
pub(super) struct Text {
    left: usize,
}

impl Text {
    pub(super) fn new(file_len: usize) -> Self {
        Self {
            left: file_len.saturating_add(SPARE_BYTES),
        }
    }

    /// The bytes as text; none when the file has had its share.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Option<String> {
        self.left = self.left.checked_sub(bytes.len())?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}
