//! Bridges between what blocks (files, tars) and the engine's streams: bounded buffers, and neither side outlives the other.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc;

use crate::engine::{ByteStream, EngineError};
use crate::source::SourceError;

/// How much is gathered before it is handed to the other side.
const CHUNK_BYTES: usize = 128 * 1024;
/// How many chunks may wait between the two sides.
const CHANNEL_DEPTH_CHUNKS: usize = 4;

/// A stream of what `produce` writes. `produce` runs on a thread for blocking work, starts when the stream is first
/// polled, and is made to fail when the stream is dropped. What it fails with ends the stream as
/// [`EngineError::Source`].
pub fn written_by(produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> ByteStream {
    let start = async move {
        let (sender, mut receiver) = mpsc::channel(CHANNEL_DEPTH_CHUNKS);
        tokio::task::spawn_blocking(move || {
            let mut writer = ChunkWriter {
                sender,
                gathered: BytesMut::new(),
            };
            if let Err(error) = produce(&mut writer).and_then(|()| writer.flush()) {
                // When nobody listens any more there is nobody to tell.
                let of_source = error.get_ref().and_then(|inner| inner.downcast_ref::<SourceError>());
                let _ = writer.sender.blocking_send(Err(EngineError::Source {
                    cause: error.to_string(),
                    hint: of_source.and_then(SourceError::hint),
                }));
            }
        });
        stream::poll_fn(move |context| receiver.poll_recv(context))
    };
    start.into_stream().flatten().boxed()
}

/// Gathers small writes into chunks.
struct ChunkWriter {
    sender: mpsc::Sender<Result<Bytes, EngineError>>,
    gathered: BytesMut,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = &bytes[..bytes.len().min(CHUNK_BYTES - self.gathered.len())];
        self.gathered.extend_from_slice(taken);
        if self.gathered.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = self.gathered.split().freeze();
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Runs `consume` on a thread for blocking work, with a reader of `stream`. When this future is dropped, the reader
/// fails at its next read, so that `consume` ends too.
///
/// # Errors
/// When the thread itself failed; what `consume` returns is its own affair.
pub async fn read_by<T: Send + 'static>(
    mut stream: ByteStream,
    consume: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = mpsc::channel(CHANNEL_DEPTH_CHUNKS);
    let consumer = tokio::task::spawn_blocking(move || {
        consume(&mut ChunkReader {
            receiver,
            left: Bytes::new(),
            ended: false,
        })
    });
    loop {
        let message = match stream.next().await {
            Some(Ok(chunk)) if chunk.is_empty() => continue,
            Some(Ok(chunk)) => Message::Chunk(chunk),
            Some(Err(error)) => Message::Failed(error),
            None => Message::End,
        };
        let last = !matches!(message, Message::Chunk(_));
        // A consumer that has seen enough hangs up: that is not an error here.
        if sender.send(message).await.is_err() || last {
            break;
        }
    }
    drop(stream);
    consumer.await.map_err(io::Error::other)
}

/// What the asynchronous side tells the blocking one. The end is said in so many words: a hang-up means cancelled.
enum Message {
    Chunk(Bytes),
    Failed(EngineError),
    End,
}

/// Reads what comes through the channel.
struct ChunkReader {
    receiver: mpsc::Receiver<Message>,
    left: Bytes,
    ended: bool,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left.is_empty() && !self.ended && !buffer.is_empty() {
            match self.receiver.blocking_recv() {
                Some(Message::Chunk(chunk)) => self.left = chunk,
                Some(Message::End) => self.ended = true,
                Some(Message::Failed(error)) => return Err(io::Error::other(error)),
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cancelled")),
            }
        }
        let count = self.left.len().min(buffer.len());
        self.left.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as blocking;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn bytes_go_through_both_bridges_unchanged() {
        let sent: Vec<u8> = (0..1_000_003_u32).map(|number| (number % 251) as u8).collect();
        let written = sent.clone();
        let stream = written_by(move |writer| writer.write_all(&written));
        let received = read_by(stream, |reader| {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        assert_eq!(received.await.unwrap().unwrap(), sent);
    }

    #[tokio::test]
    async fn a_producer_that_fails_ends_the_stream_with_its_words() {
        let mut stream = written_by(|writer| {
            writer.write_all(b"begin")?;
            writer.flush()?;
            Err(io::Error::other("the disk is on fire"))
        });
        assert_eq!(stream.next().await.unwrap().unwrap(), Bytes::from_static(b"begin"));
        let error = stream.next().await.unwrap().unwrap_err();
        assert!(error.to_string().ends_with("the disk is on fire"), "{error}");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_dropped_stream_stops_its_producer() {
        let (told, ended) = blocking::channel();
        let mut stream = written_by(move |writer| {
            let error = loop {
                if let Err(error) = writer.write_all(&[0; CHUNK_BYTES]) {
                    break error;
                }
            };
            told.send(error.kind()).map_err(io::Error::other)
        });
        assert!(stream.next().await.is_some());
        drop(stream);
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(io::ErrorKind::BrokenPipe));
    }

    #[tokio::test]
    async fn a_dropped_reader_fails_instead_of_seeing_the_end() {
        let (told, ended) = blocking::channel();
        let endless = stream::iter([Ok(Bytes::from_static(b"x"))])
            .chain(stream::pending())
            .boxed();
        let reading = read_by(endless, move |reader| {
            told.send(reader.read_to_end(&mut Vec::new()).is_err())
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), reading).await.is_err());
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(true));
    }

    #[tokio::test]
    async fn a_stream_that_fails_is_an_error_to_its_reader() {
        let failing = stream::iter([
            Ok(Bytes::from_static(b"x")),
            Err(EngineError::NotFound {
                what: "container".to_owned(),
            }),
        ]);
        let error = read_by(failing.boxed(), |reader| {
            reader.read_to_end(&mut Vec::new()).unwrap_err()
        })
        .await
        .unwrap();
        assert_eq!(error.to_string(), "the engine has no container");
    }

    #[tokio::test]
    async fn a_consumer_that_has_seen_enough_ends_an_endless_stream() {
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 4096]))).boxed();
        let first = read_by(endless, |reader| reader.read(&mut [0; 16]).unwrap())
            .await
            .unwrap();
        assert_eq!(first, 16);
    }
}
