//! What bytes of an image are, by how they begin, and what comes out of those that are compressed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How much of something tells what it is: the first block of a tar.
pub const SNIFFED_BYTES: u64 = 512;
/// Where a tar says so, and what (POSIX ustar; GNU's differs behind it).
const USTAR: (usize, &[u8]) = (257, b"ustar");
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// How far back what is compressed with zstd may refer, which is held in memory: what its strongest level asks for.
const ZSTD_WINDOW_LIMIT_BYTES: u64 = 128 * 1024 * 1024;
/// How much of what is compressed is read at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// What bytes are, by how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Compressed with gzip.
    Gzip,
    /// Compressed with zstd.
    Zstd,
    /// A tar.
    Tar,
    /// JSON, as far as can be seen.
    Document,
    /// Anything else.
    Other,
}

impl Form {
    /// By the first [`SNIFFED_BYTES`], or fewer if there are no more.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        let is_tar = |head: &[u8]| head.get(USTAR.0..USTAR.0 + USTAR.1.len()) == Some(USTAR.1);
        // A tar without entries is nothing but zeros.
        let is_empty_tar = |head: &[u8]| head.len() as u64 == SNIFFED_BYTES && head.iter().all(|byte| *byte == 0);
        match head {
            head if head.starts_with(GZIP_MAGIC) => Self::Gzip,
            head if head.starts_with(ZSTD_MAGIC) => Self::Zstd,
            head if is_tar(head) || is_empty_tar(head) => Self::Tar,
            [b'{' | b'[', ..] => Self::Document,
            _ => Self::Other,
        }
    }

    /// Of something whole.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let limit = usize::try_from(SNIFFED_BYTES).unwrap_or(usize::MAX);
        Self::of(&bytes[..bytes.len().min(limit)])
    }

    /// Whether it is compressed.
    #[must_use]
    pub fn is_compressed(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }

    /// What comes out of a content of this form: itself where it is not compressed.
    pub fn unpacked<'a>(self, content: impl Read + 'a) -> Box<dyn Read + 'a> {
        let buffered = |content| BufReader::with_capacity(BUFFER_BYTES, content);
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(buffered(content))),
            Self::Zstd => Box::new(ZstdReader::new(buffered(content))),
            Self::Tar | Self::Document | Self::Other => Box::new(content),
        }
    }
}

/// Reads frames of zstd one after the other, as its own tools do: those that compress in pieces write several, and what
/// describes them is in frames that are passed over (RFC 8878, 3.1).
struct ZstdReader<R> {
    source: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_LIMIT_BYTES);
        Self {
            source,
            decoder,
            is_in_frame: false,
        }
    }

    /// Goes on to the next frame with content; whether there is one.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damaged(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_in_frame {
                self.is_in_frame = self.next_frame()?;
                if !self.is_in_frame {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(damaged)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.is_in_frame = false;
        }
    }
}

fn damaged(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Form::of_bytes(packed).unpacked(packed).read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn frames_follow_each_other_and_those_without_content_are_passed_over() {
        let skipped = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let content = vec![7; 300_000];
        let packed = [
            zstd(b"one"),
            skipped.clone(),
            zstd(&content),
            zstd(b""),
            skipped.clone(),
        ]
        .concat();
        assert_eq!(unpacked(&packed).unwrap(), [&b"one"[..], &content].concat());
        let cut = [zstd(b"one"), skipped[..9].to_vec()].concat();
        assert!(unpacked(&cut).is_err());
        assert!(unpacked(&packed[..packed.len() / 2]).is_err());
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_out(content: Vec<u8>) {
            prop_assert_eq!(unpacked(&zstd(&content)).unwrap(), content);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Form::of_bytes(&bytes);
            let _ = unpacked(&[ZSTD_MAGIC, &bytes].concat());
        }
    }
}
