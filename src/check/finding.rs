//! Findings: one judgement each.

use serde::Serialize;

use super::verdict::{Predicted, Verdict};

/// One judgement about facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's code.
    pub code: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What it is about: a symbol, a library, a package.
    pub subject: String,
    /// What is wrong, in one sentence, lower case, no full stop.
    pub title: String,
    /// What was seen where: symbol, object, version, offset; a line each.
    pub evidence: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
    /// What will happen because of it; none if it adds nothing to what the loader does.
    pub predicted: Option<Predicted>,
    /// Whether it is the host that is wrong, whatever is opened.
    #[serde(skip)]
    pub is_of_host: bool,
    /// Where among the findings of its pair the loader meets it.
    #[serde(skip)]
    pub order: usize,
    /// The version of a symbol that is asked for.
    #[serde(skip)]
    pub version: Option<String>,
    /// The subject of the finding of which this is a consequence, with its code.
    pub because_of: Option<Cause>,
}

/// The finding that another is a consequence of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Its code.
    pub code: &'static str,
    /// Its subject.
    pub subject: String,
}

impl Finding {
    /// A finding with nothing but a judgement.
    #[must_use]
    pub fn new(code: &'static str, verdict: Verdict, subject: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            code,
            verdict,
            subject: subject.into(),
            title: title.into(),
            evidence: vec![],
            hint: None,
            predicted: None,
            is_of_host: false,
            order: 0,
            version: None,
            because_of: None,
        }
    }

    /// The finding as what another one follows from.
    #[must_use]
    pub fn as_cause(&self) -> Cause {
        Cause {
            code: self.code,
            subject: self.subject.clone(),
        }
    }

    /// Adds a line of evidence.
    #[must_use]
    pub fn evidence(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }

    /// Says that it is the host that is wrong.
    #[must_use]
    pub fn of_host(mut self) -> Self {
        self.is_of_host = true;
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what will happen.
    #[must_use]
    pub fn predicted(mut self, phase: super::verdict::Phase, message: Option<String>) -> Self {
        self.predicted = Some(Predicted { phase, message });
        self
    }
}
