//! Something between the program and the engine: it hands on every byte, until it is told to be slow or silent, or to keep
//! what it was given for later.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;

/// How much is handed on at once.
const PIECE_BYTES: usize = 64 * 1024;
/// How long a slow one keeps each piece.
const SLOWNESS: Duration = Duration::from_millis(700);
/// How often a silent one looks whether it is still to be silent.
const POLL: Duration = Duration::from_millis(20);
const ENGINE: &str = "/var/run/docker.sock";

/// What it does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Manner {
    HandOn,
    Slow,
    Silent,
    /// Answers with what is no HTTP.
    Garbage,
}

/// A socket that stands for the engine's.
pub(crate) struct Between {
    directory: TempDir,
    state: Arc<State>,
}

struct State {
    /// What a request must contain to be the one that is waited for.
    trigger: Vec<u8>,
    /// What is done from then on.
    manner: Manner,
    now: AtomicU8,
    /// How long the request itself is kept, with its body, after its sender may have died.
    keep: Option<Duration>,
    hit: Mutex<bool>,
    has_hit: Condvar,
    ended: AtomicBool,
}

impl Between {
    /// Hands on everything until a request contains `trigger`; from then on it is of this `manner`.
    pub(crate) fn until(trigger: &str, manner: Manner) -> Self {
        Self::start(trigger, manner, None)
    }

    /// Keeps the request that contains `trigger` for this long once it has it in full, and hands it on then, whoever is
    /// still there.
    pub(crate) fn keeping(trigger: &str, keep: Duration) -> Self {
        Self::start(trigger, Manner::HandOn, Some(keep))
    }

    fn start(trigger: &str, manner: Manner, keep: Option<Duration>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("engine")).unwrap();
        let state = Arc::new(State {
            trigger: trigger.as_bytes().to_vec(),
            manner,
            now: AtomicU8::new(Manner::HandOn as u8),
            keep,
            hit: Mutex::new(false),
            has_hit: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let engine = UnixStream::connect(ENGINE).unwrap();
                let (requests, answers) = (Arc::clone(&accepting), Arc::clone(&accepting));
                let ends = (client.try_clone().unwrap(), engine.try_clone().unwrap());
                std::thread::spawn(move || requests.requests(client, engine));
                std::thread::spawn(move || answers.answers(ends.1, ends.0));
            }
        });
        Self { directory, state }
    }

    /// What `DOCKER_HOST` is to be.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("engine")
    }

    /// Waits until the request has come.
    pub(crate) fn wait_for_trigger(&self, limit: Duration) {
        let hit = self.state.hit.lock().unwrap();
        let (hit, _) = self.state.has_hit.wait_timeout_while(hit, limit, |hit| !*hit).unwrap();
        assert!(*hit, "no request with {}", String::from_utf8_lossy(&self.state.trigger));
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        // The one who accepts looks only when somebody comes.
        let _ = UnixStream::connect(self.socket());
    }
}

impl State {
    fn is(&self, manner: Manner) -> bool {
        self.now.load(Ordering::Relaxed) == manner as u8
    }

    fn requests(&self, mut client: UnixStream, mut engine: UnixStream) {
        let mut piece = vec![0; PIECE_BYTES];
        // A trigger may come in two pieces.
        let mut last = Vec::new();
        let mut kept: Option<Vec<u8>> = None;
        loop {
            let read = client.read(&mut piece).unwrap_or(0);
            if read == 0 {
                break;
            }
            last.extend_from_slice(&piece[..read]);
            let is_trigger = !*self.hit.lock().unwrap() && contains(&last, &self.trigger);
            if is_trigger && self.keep.is_some() {
                kept = Some(Vec::new());
            } else if is_trigger {
                self.now.store(self.manner as u8, Ordering::Relaxed);
                self.tell();
            }
            last.drain(..last.len().saturating_sub(self.trigger.len()));
            match (&mut kept, self.keep) {
                (Some(kept), Some(keep)) => {
                    kept.extend_from_slice(&piece[..read]);
                    // The end of a body in chunks.
                    if kept.ends_with(b"0\r\n\r\n") {
                        self.tell();
                        std::thread::sleep(keep);
                        let _ = engine.write_all(kept);
                        // Whoever asked may be gone: the engine is not to know, or it would drop what it was given.
                        let _ = std::io::copy(&mut engine, &mut std::io::sink());
                        return;
                    }
                }
                _ => {
                    self.hold();
                    if engine.write_all(&piece[..read]).is_err() {
                        break;
                    }
                }
            }
        }
        let _ = engine.shutdown(std::net::Shutdown::Write);
    }

    fn answers(&self, mut engine: UnixStream, mut client: UnixStream) {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = match engine.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            self.hold();
            let written = if self.is(Manner::Garbage) {
                client.write_all(b"\0\x1b[2J no HTTP at all\r\n\r\n")
            } else {
                client.write_all(&piece[..read])
            };
            if written.is_err() {
                break;
            }
        }
        let _ = client.shutdown(std::net::Shutdown::Write);
    }

    fn hold(&self) {
        if self.is(Manner::Slow) {
            std::thread::sleep(SLOWNESS);
        }
        while self.is(Manner::Silent) && !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(POLL);
        }
    }

    fn tell(&self) {
        *self.hit.lock().unwrap() = true;
        self.has_hit.notify_all();
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
