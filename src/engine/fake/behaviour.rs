//! What a container of the fake does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::{ContainerExit, ContainerSpec, OutputStream};

/// A container as its script sees it when it starts.
#[derive(Debug, Clone)]
pub struct FakeContainer {
    /// How it was created.
    pub spec: ContainerSpec,
    /// All its files, those of its volumes too, by absolute path.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl FakeContainer {
    /// The first argument of its command that contains `text`.
    #[must_use]
    pub fn argument_with(&self, text: &str) -> Option<&str> {
        self.spec
            .command
            .iter()
            .map(String::as_str)
            .find(|argument| argument.contains(text))
    }
}

/// What a container does from its start on: it writes, leaves files, and ends.
#[derive(Debug, Clone)]
pub struct Behaviour {
    exit: ContainerExit,
    duration: Option<Duration>,
    pub(super) output: Vec<(OutputStream, Bytes)>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl Behaviour {
    /// Ends at once, with this status.
    #[must_use]
    pub fn exit(status: i64) -> Self {
        let exit = ContainerExit {
            status,
            out_of_memory: false,
        };
        Self {
            exit,
            duration: Some(Duration::ZERO),
            output: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// Is ended by the kernel for want of memory.
    #[must_use]
    pub fn out_of_memory() -> Self {
        Self {
            exit: ContainerExit {
                status: 137,
                out_of_memory: true,
            },
            ..Self::exit(0)
        }
    }

    /// Runs until it is killed or removed.
    #[must_use]
    pub fn hang() -> Self {
        Self {
            duration: None,
            ..Self::exit(0)
        }
    }

    /// Takes this long.
    #[must_use]
    pub fn takes(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Writes a line to standard output.
    #[must_use]
    pub fn stdout(self, line: &str) -> Self {
        self.writes(OutputStream::Stdout, format!("{line}\n").into_bytes())
    }

    /// Writes a line to standard error.
    #[must_use]
    pub fn stderr(self, line: &str) -> Self {
        self.writes(OutputStream::Stderr, format!("{line}\n").into_bytes())
    }

    /// Writes bytes, in one piece.
    #[must_use]
    pub fn writes(mut self, stream: OutputStream, bytes: impl Into<Bytes>) -> Self {
        self.output.push((stream, bytes.into()));
        self
    }

    /// Leaves a file at this absolute path.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    pub(super) fn exit_value(&self) -> ContainerExit {
        self.exit
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        self.duration
    }
}
