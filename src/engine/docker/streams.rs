//! Streams to and from the engine, with limits.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};

use super::errors::Call;
use crate::engine::{ByteStream, EngineError};

/// Remembers why a source failed: the client only says that the request broke off.
#[derive(Clone, Default)]
pub(super) struct SourceFailure(Arc<Mutex<Option<EngineError>>>);

impl SourceFailure {
    /// The source's failure if it had one, else `error`.
    pub(super) fn or(self, error: EngineError) -> EngineError {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or(error)
    }
}

/// `source` as the client wants a request's body.
pub(super) fn body(
    source: ByteStream,
) -> (
    impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
    SourceFailure,
) {
    let failure = SourceFailure::default();
    let seen = failure.clone();
    let body = source.map(move |chunk| {
        chunk.map_err(|error| {
            let message = error.to_string();
            *seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::Error::other(message)
        })
    });
    (body, failure)
}

/// The engine's answer as a stream, once its first chunk has come: what the engine refuses is refused here and not in the
/// middle of reading. `call` bounds the wait for the first chunk, `idle_limit_seconds` that for every other.
pub(super) async fn download(
    call: Call<'_>,
    mut chunks: impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + 'static,
    idle_limit_seconds: u64,
) -> Result<ByteStream, EngineError> {
    let first = call.run(async { chunks.next().await.transpose() }).await?;
    let reached = Arc::clone(call.reached);
    let Call { action, object, .. } = call;
    let idle_limit = Duration::from_secs(idle_limit_seconds);
    let rest = stream::unfold(Some(chunks), move |chunks| {
        let (reached, action, object) = (Arc::clone(&reached), action.clone(), object.clone());
        async move {
            let mut chunks = chunks?;
            let call = Call {
                reached: &reached,
                action,
                object,
                limit: idle_limit,
            };
            match call.run(async { chunks.next().await.transpose() }).await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(chunks))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    Ok(stream::iter(first.map(Ok)).chain(rest).boxed())
}
