//! A smoke test to propose: what is started, in which order, and what shows that the host opened its plugins.

/// The steps of a smoke test, which run in one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SmokeTest {
    /// In their order; at least one.
    pub steps: Vec<SmokeStep>,
    /// Files that the runtime image must have for it.
    pub files: Vec<SmokeFile>,
}

/// A file of the runtime image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmokeFile {
    /// Where; absolute.
    pub path: String,
    /// What.
    pub content: String,
}

/// A program that is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmokeStep {
    /// What it is for.
    pub kind: SmokeKind,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables.
    pub env: Vec<(&'static str, String)>,
    /// Directories that it may write to, beside `/tmp`; absolute.
    pub writable: Vec<&'static str>,
    /// What it reads.
    pub stdin: Option<String>,
    /// How long it may take, where that is longer than what is so anyway.
    pub timeout: Option<&'static str>,
}

/// What a step is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmokeKind {
    /// It prepares what is tested.
    Setup,
    /// It ends by itself, with 0.
    Run {
        /// Texts that must be printed.
        stdout: Vec<String>,
        /// The same, of what it says beside.
        stderr: Vec<String>,
    },
    /// It serves until it is stopped.
    Serve {
        /// The port that is open when it is ready.
        tcp: u16,
        /// The signal that stops it, where it is not the usual one.
        signal: Option<&'static str>,
        /// What is asked of it: commands beside it, which end by themselves.
        requests: Vec<SmokeStep>,
    },
}

impl SmokeTest {
    /// Several steps, which need nothing of the image.
    pub(super) fn steps(steps: impl IntoIterator<Item = SmokeStep>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            files: vec![],
        }
    }

    /// One command that ends with 0.
    pub(super) fn of<Word: Into<String>>(command: impl IntoIterator<Item = Word>) -> Self {
        Self::steps([SmokeStep::run(command)])
    }

    /// One command that prints these texts.
    pub(super) fn printing<Word: Into<String>>(
        command: impl IntoIterator<Item = Word>,
        stdout: impl IntoIterator<Item = Word>,
    ) -> Self {
        Self::steps([SmokeStep::run(command).printing(stdout)])
    }
}

impl SmokeStep {
    fn of<Word: Into<String>>(kind: SmokeKind, command: impl IntoIterator<Item = Word>) -> Self {
        Self {
            kind,
            command: command.into_iter().map(Into::into).collect(),
            env: vec![],
            writable: vec![],
            stdin: None,
            timeout: None,
        }
    }

    /// What must end with 0 before anything is tested.
    pub(super) fn setup<Word: Into<String>>(command: impl IntoIterator<Item = Word>) -> Self {
        Self::of(SmokeKind::Setup, command)
    }

    /// What must end with 0.
    pub(super) fn run<Word: Into<String>>(command: impl IntoIterator<Item = Word>) -> Self {
        let kind = SmokeKind::Run {
            stdout: vec![],
            stderr: vec![],
        };
        Self::of(kind, command)
    }

    /// A server, and what is asked of it.
    pub(super) fn serve<Word: Into<String>>(
        command: impl IntoIterator<Item = Word>,
        tcp: u16,
        requests: Vec<SmokeStep>,
    ) -> Self {
        let kind = SmokeKind::Serve {
            tcp,
            signal: None,
            requests,
        };
        Self::of(kind, command)
    }

    /// The same command, which must print these texts.
    pub(super) fn printing<Word: Into<String>>(mut self, texts: impl IntoIterator<Item = Word>) -> Self {
        if let SmokeKind::Run { stdout, .. } = &mut self.kind {
            stdout.extend(texts.into_iter().map(Into::into));
        }
        self
    }

    /// The same command, which must say these texts beside what it prints.
    pub(super) fn saying<Word: Into<String>>(mut self, texts: impl IntoIterator<Item = Word>) -> Self {
        if let SmokeKind::Run { stderr, .. } = &mut self.kind {
            stderr.extend(texts.into_iter().map(Into::into));
        }
        self
    }
}
