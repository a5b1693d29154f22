//! Prediction and observation, side by side.

use std::fmt;

use crate::case::{Case, Libc};
use crate::observe::{Opened, Seen};
use crate::predict::Prediction;

/// What an observation amounts to, for one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The host ended before the plugin's turn: nothing was seen of it.
    NotReached,
    /// It does not load, lacks a symbol, or its host does not start.
    Refused {
        phase: &'static str,
        message: Option<String>,
    },
    /// It loads, and then a call crashes, ends the process, or gives a wrong answer.
    Harmed { what: String },
    /// It loads and answers as it should.
    Healthy { answers: Vec<i64> },
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReached => formatter.write_str("not reached"),
            Self::Refused { phase, message } => {
                write!(
                    formatter,
                    "refuse at {phase}: {}",
                    message.as_deref().unwrap_or("(no words)")
                )
            }
            Self::Harmed { what } => write!(formatter, "danger: {what}"),
            Self::Healthy { answers } => write!(formatter, "ok {answers:?}"),
        }
    }
}

/// What was seen of each plugin of a case; `right` are the answers of its healthy twin.
pub(crate) fn outcomes(case: &Case, libc: Libc, seen: &Seen, right: Option<&[Vec<i64>]>) -> Vec<Outcome> {
    (0..seen.plugins.len())
        .map(|index| outcome(case, libc, seen, index, right))
        .collect()
}

fn outcome(case: &Case, libc: Libc, seen: &Seen, index: usize, right: Option<&[Vec<i64>]>) -> Outcome {
    let first_line = |text: &str| text.lines().next().map(str::to_owned);
    if let Some(words) = &seen.not_started {
        return Outcome::Refused {
            phase: "exec",
            message: Some(words.clone()),
        };
    }
    if !seen.started {
        return Outcome::Refused {
            phase: "exec",
            message: first_line(&seen.stderr),
        };
    }
    let plugin = &seen.plugins[index];
    match &plugin.opened {
        Opened::NotTried => return Outcome::NotReached,
        Opened::Failed(message) => {
            return Outcome::Refused {
                phase: "load",
                message: Some(message.clone()),
            };
        }
        Opened::Died => {
            return Outcome::Refused {
                phase: "load",
                message: first_line(&seen.stderr),
            };
        }
        Opened::Well => {}
    }
    if let Some((_, message)) = plugin.missing.first() {
        return Outcome::Refused {
            phase: "symbol",
            message: Some(message.clone()),
        };
    }
    // A host in Go does not call its plugins in processes of their own.
    let end = plugin.end.unwrap_or(seen.end);
    let answers: Vec<i64> = plugin.answers.iter().map(|(_, answer)| *answer).collect();
    if !plugin.is_complete {
        let words = first_line(&seen.stderr).unwrap_or_default();
        let how = if end.signal != 0 {
            format!("signal {}", end.signal)
        } else {
            format!("status {}", end.status)
        };
        return Outcome::Harmed {
            what: format!("a call ended the process with {how} {words}"),
        };
    }
    if let Some(right) = right.and_then(|right| right.get(index))
        && *right != answers
    {
        return Outcome::Harmed {
            what: format!("answered {answers:?} instead of {right:?}"),
        };
    }
    match &case.hazard {
        Some(reason) if case.has_hazard(libc, index) => Outcome::Harmed {
            what: format!("answered {answers:?}, but {reason}"),
        },
        _ => Outcome::Healthy { answers },
    }
}

/// How far prediction and observation agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// In everything.
    Full,
    /// Nothing was seen, so nothing can be said.
    Unseen,
    /// No file tells of what was seen, as the case says.
    Beyond,
    /// In verdict, phase and kind of error, and not in the words.
    Words,
    /// Not.
    None(&'static str),
}

/// Compares the two.
pub(crate) fn compare(case: &Case, index: usize, outcome: &Outcome, prediction: &Prediction) -> Agreement {
    let verdict = prediction.verdict.as_str();
    match outcome {
        Outcome::NotReached => Agreement::Unseen,
        Outcome::Healthy { .. } => match verdict {
            "ok" | "unknown" if prediction.phase == "none" => Agreement::Full,
            "ok" | "unknown" => Agreement::None("phase"),
            "danger" if is_deferred(case, index, prediction) => Agreement::Full,
            _ => Agreement::None("false alarm"),
        },
        Outcome::Harmed { .. } if case.beyond.is_some() => match verdict {
            "ok" | "unknown" if prediction.phase == "none" => Agreement::Beyond,
            _ => Agreement::None("not beyond the files"),
        },
        Outcome::Harmed { .. } => match verdict {
            "danger" if ["none", "call"].contains(&prediction.phase.as_str()) => Agreement::Full,
            "danger" => Agreement::None("phase"),
            "refuse" => Agreement::None("refused, yet it loads"),
            _ => Agreement::None("missed danger"),
        },
        Outcome::Refused { .. } if verdict == "danger" => Agreement::None("danger, yet it does not load"),
        Outcome::Refused { .. } if verdict != "refuse" => Agreement::None("missed failure"),
        Outcome::Refused { phase, .. } if *phase != prediction.phase => Agreement::None("phase"),
        Outcome::Refused { message, .. } => words(case, message.as_deref(), prediction.message.as_deref()),
    }
}

/// A deferred function that a later plugin brings is there when the host calls it after the last plugin, as the host of the
/// cases does. That it would be fatal before is no false alarm.
fn is_deferred(case: &Case, index: usize, prediction: &Prediction) -> bool {
    let is_missing =
        |finding: &String| finding.starts_with("danger symbol-not-found") || !finding.starts_with("danger");
    case.flags() == "lazy" && index + 1 < case.plugin_paths().len() && prediction.findings.iter().all(is_missing)
}

fn words(case: &Case, seen: Option<&str>, predicted: Option<&str>) -> Agreement {
    let (Some(seen), Some(predicted)) = (seen, predicted) else {
        return if seen == predicted {
            Agreement::Full
        } else {
            Agreement::None("words and no words")
        };
    };
    if seen == predicted {
        Agreement::Full
    } else if kind(seen) != kind(predicted) {
        Agreement::None("kind of error")
    } else if case.loose.is_some() {
        Agreement::Full
    } else {
        Agreement::Words
    }
}

/// What the loaders' messages are told apart by. The first that fits counts.
const KINDS: &[&str] = &[
    "initial-exec TLS resolves",
    "ASan runtime does not come first",
    "cannot allocate memory in static TLS block",
    "wrong ELF class",
    "invalid ELF header",
    "file too short",
    "ELF file data encoding",
    "ELF file OS ABI invalid",
    "ELF file ABI version invalid",
    "ELF file version",
    "ELF file's phentsize",
    "only ET_DYN and ET_EXEC",
    "cannot dynamically load",
    "cannot be dlopen",
    "cannot enable executable stack",
    "CPU ISA level",
    "failed to map segment",
    "cannot read file data",
    "cannot map zero-fill",
    "object file has no",
    "ELF load command",
    "unsupported relocation",
    "Exec format error",
    "Out of memory",
    "Resource busy",
    "Permission denied",
    "Is a directory",
    "different version of package",
    "already loaded",
    "no plugin module data",
    "not implemented",
    "Dynamic loading not supported",
    "cannot open shared object file",
    "Error loading shared library",
    "version `",
    "symbol not found",
    "undefined symbol",
    "Symbol not found",
    "No such file or directory",
];

fn kind(message: &str) -> &str {
    KINDS
        .iter()
        .find(|kind| message.contains(**kind))
        .copied()
        .unwrap_or(message)
}
