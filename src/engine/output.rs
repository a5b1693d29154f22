//! What a container prints, on its way to lines: bounded in bytes, in lines and in memory.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::StreamExt;

use super::lines::Lines;
use super::{EngineError, LogStream, OutputStream};

/// How much a container, or an image's build, may print in all before it is ended.
pub const OUTPUT_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How many of the last lines are kept.
pub const TAIL_LIMIT_LINES: usize = 200;
/// How many lines are told one by one. A program that prints nothing but ends of lines would make 64 million of them, each
/// of which costs more than its byte; beyond this only the last ones are told.
pub const TOLD_LIMIT_LINES: usize = 100_000;
/// How much is kept, unread, of what is not told line by line: the last lines are made of it.
const RECENT_LIMIT_BYTES: usize = 256 * 1024;
/// How long the output of a container that has ended may stand still before it is taken for complete.
const DRAIN_IDLE_TIMEOUT_SECONDS: u64 = 10;
/// How long it may take in all.
const DRAIN_TIMEOUT_SECONDS: u64 = 60;

/// Takes lines as they come.
pub type LineSink<'a> = &'a (dyn for<'line> Fn(OutputStream, &'line str) + Send + Sync);

/// A container's output on its way to lines.
pub struct Output<'a> {
    stdout: Lines,
    stderr: Lines,
    tail: VecDeque<String>,
    bytes: u64,
    told_lines: usize,
    /// The last of what is not told line by line, of both streams.
    recent: VecDeque<u8>,
    untold_bytes: u64,
    sink: LineSink<'a>,
}

impl<'a> Output<'a> {
    /// Starts without output; a line of more than `line_limit_bytes` is cut.
    #[must_use]
    pub fn new(line_limit_bytes: usize, sink: LineSink<'a>) -> Self {
        Self {
            stdout: Lines::new(line_limit_bytes),
            stderr: Lines::new(line_limit_bytes),
            tail: VecDeque::new(),
            bytes: 0,
            told_lines: 0,
            recent: VecDeque::new(),
            untold_bytes: 0,
            sink,
        }
    }

    /// Takes a piece; false once there was more than a container may print, of which nothing is kept.
    pub fn take(&mut self, stream: OutputStream, piece: &[u8]) -> bool {
        self.bytes += piece.len() as u64;
        if self.bytes > OUTPUT_LIMIT_BYTES {
            return false;
        }
        if self.told_lines >= TOLD_LIMIT_LINES {
            self.remember(piece);
            return true;
        }
        let Self {
            stdout,
            stderr,
            tail,
            told_lines,
            sink,
            ..
        } = self;
        let lines = match stream {
            OutputStream::Stdout => stdout,
            OutputStream::Stderr => stderr,
        };
        lines.push(piece, |line| {
            *told_lines += 1;
            tell(tail, *sink, stream, line);
        });
        true
    }

    /// Reads until there was too much (none) or the engine fails; when the output ends before, waits for ever, because
    /// then the container's end is what counts.
    pub async fn read_until_limit(&mut self, pieces: &mut LogStream) -> Option<EngineError> {
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok((stream, piece)) => {
                    if !self.take(stream, &piece) {
                        return None;
                    }
                }
                Err(error) => return Some(error),
            }
        }
        std::future::pending().await
    }

    /// Reads and forgets, for as long as `work` takes. An engine cannot end a container whose output nobody takes: whoever
    /// ends one goes on reading.
    pub async fn discard_during<T>(&mut self, pieces: &mut LogStream, work: impl Future<Output = T>) -> T {
        let discard = async {
            while let Some(Ok((stream, piece))) = pieces.next().await {
                self.take(stream, &piece);
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            value = work => value,
            value = discard => value,
        }
    }

    /// Reads what is still on its way after the container's end.
    ///
    /// # Errors
    /// What the engine fails with.
    pub async fn drain(&mut self, pieces: &mut LogStream) -> Result<(), EngineError> {
        let idle_limit = Duration::from_secs(DRAIN_IDLE_TIMEOUT_SECONDS);
        let read = async {
            while let Ok(Some(piece)) = tokio::time::timeout(idle_limit, pieces.next()).await {
                let (stream, piece) = piece?;
                self.take(stream, &piece);
            }
            Ok(())
        };
        // What has not come by then does not come.
        tokio::time::timeout(Duration::from_secs(DRAIN_TIMEOUT_SECONDS), read)
            .await
            .unwrap_or(Ok(()))
    }

    /// Tells what is left, and gives the last lines.
    pub fn finish(mut self) -> Vec<String> {
        let Self {
            stdout,
            stderr,
            tail,
            recent,
            untold_bytes,
            sink,
            ..
        } = &mut self;
        stdout.finish(|line| tell(tail, *sink, OutputStream::Stdout, line));
        stderr.finish(|line| tell(tail, *sink, OutputStream::Stderr, line));
        if *untold_bytes > 0 {
            let left_out = format!(
                "[after {TOLD_LIMIT_LINES} lines, {untold_bytes} bytes are not told line by line; the last lines follow]"
            );
            // On standard error, where nobody takes a line for data.
            tell(tail, *sink, OutputStream::Stderr, &left_out);
            let recent = String::from_utf8_lossy(recent.make_contiguous()).into_owned();
            let lines: Vec<&str> = recent.lines().collect();
            let last = lines.len().saturating_sub(TAIL_LIMIT_LINES - 1);
            for line in &lines[last..] {
                tell(tail, *sink, OutputStream::Stderr, line);
            }
        }
        self.tail.into()
    }

    fn remember(&mut self, piece: &[u8]) {
        self.untold_bytes += piece.len() as u64;
        let piece = &piece[piece.len().saturating_sub(RECENT_LIMIT_BYTES)..];
        let surplus = (self.recent.len() + piece.len()).saturating_sub(RECENT_LIMIT_BYTES);
        self.recent.drain(..surplus.min(self.recent.len()));
        self.recent.extend(piece);
    }
}

fn tell(tail: &mut VecDeque<String>, sink: LineSink<'_>, stream: OutputStream, line: &str) {
    sink(stream, line);
    if tail.len() == TAIL_LIMIT_LINES {
        tail.pop_front();
    }
    tail.push_back(line.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lines::LINE_LIMIT_BYTES;
    use bytes::Bytes;
    use std::sync::Mutex;

    /// What is told of this many times `piece`, the tail, and how many pieces were taken before it was too much.
    fn told(piece: &[u8], times: usize) -> (Vec<String>, Vec<String>, usize) {
        let told = Mutex::new(Vec::new());
        let sink = |_, line: &str| told.lock().unwrap().push(line.to_owned());
        let mut output = Output::new(LINE_LIMIT_BYTES, &sink);
        let taken = (0..times)
            .take_while(|_| output.take(OutputStream::Stdout, piece))
            .count();
        let tail = output.finish();
        (told.into_inner().unwrap(), tail, taken)
    }

    #[test]
    fn more_than_the_limit_is_not_taken() {
        let piece = vec![b'x'; 1 << 20];
        let (told, tail, taken) = told(&piece, 100);
        assert_eq!(taken as u64, OUTPUT_LIMIT_BYTES >> 20);
        assert_eq!((told.len(), tail.len()), (1, 1));
        assert!(told[0].len() < 2 * LINE_LIMIT_BYTES);
    }

    #[test]
    fn of_lines_without_number_the_first_and_the_last_are_told() {
        let piece = b"y\n".repeat(1 << 15);
        let (told, tail, taken) = told(&piece, 1024);
        assert_eq!(taken, 1024, "64 MiB are not too much");
        assert!(
            told.len() < TOLD_LIMIT_LINES + (1 << 15) + TAIL_LIMIT_LINES,
            "{}",
            told.len()
        );
        assert_eq!(tail.len(), TAIL_LIMIT_LINES);
        assert!(tail[0].contains("bytes are not told line by line"), "{}", tail[0]);
        assert_eq!(tail.last().map(String::as_str), Some("y"));
    }

    #[tokio::test]
    async fn a_stream_is_read_for_as_long_as_its_source_is_being_ended() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let mut pieces: LogStream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver
                .recv()
                .await
                .map(|piece| (Ok((OutputStream::Stdout, piece)), receiver))
        })
        .boxed();
        let mut output = Output::new(LINE_LIMIT_BYTES, &|_, _| {});
        // Like the engine: it has ended the container only when all of its output has been taken.
        let end = async {
            for _ in 0..100 {
                sender.send(Bytes::from(vec![b'x'; 1 << 20])).await.unwrap();
            }
            "ended"
        };
        let ended = tokio::time::timeout(
            Duration::from_secs(DRAIN_IDLE_TIMEOUT_SECONDS),
            output.discard_during(&mut pieces, end),
        );
        assert_eq!(ended.await, Ok("ended"));
    }
}
