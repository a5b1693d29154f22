//! Verdicts, from harmless to fatal.

use serde::Serialize;

/// What is to be expected of a pair, or what a finding says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It loads, and nothing differs that could matter.
    Ok,
    /// Evidence is missing, and it is named.
    Unknown,
    /// It loads, yet something differs that can corrupt or crash.
    Danger,
    /// The loader or the runtime provably rejects it.
    Refuse,
}

impl Verdict {
    /// The word, as reports have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Danger => "danger",
            Self::Refuse => "refuse",
        }
    }
}

/// When what is predicted happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// When the host is started.
    Exec,
    /// When the plugin is opened.
    Load,
    /// When a symbol of the contract is looked up.
    Symbol,
    /// When it is called.
    Call,
    /// Nothing happens.
    None,
}

/// What a loader or a runtime will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Predicted {
    /// When.
    pub phase: Phase,
    /// In its words, as `dlerror(3)` or the program's standard error has them; none where nothing is said: a signal, or success.
    pub message: Option<String>,
}
