//! One host and one plugin: what the loader said and what the host answered, against what the plugin answers at home.

use serde::Serialize;

use crate::check::{Phase, Predicted, Verdict};
use crate::name::EnvironmentName;
use crate::smoke::{Ended, HostObservation, Outcome, PluginObservation};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "observed", rename_all = "kebab-case")]
pub enum Observed {
    /// It loaded and answered as it does at home.
    Loaded,
    /// The loader refused it.
    Refused {
        /// In the loader's words.
        message: String,
    },
    /// It ended its process, by a signal or by itself.
    Crashed {
        /// How.
        message: String,
    },
    /// It did not come to an end.
    TimedOut,
    /// It loaded without a word, and answers otherwise than it does at home.
    AnsweredDifferently {
        /// The first thing that differs.
        difference: Difference,
    },
}

/// Two answers to the same question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The question, for example `plugin_greet` or `GET /match`.
    pub question: String,
    /// The answer at home.
    pub at_home: String,
    /// The answer here.
    pub here: String,
}

/// One cell of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The environment of the host, and of the runtime image.
    pub host: EnvironmentName,
    /// The environment in which the plugin was compiled.
    pub plugins: EnvironmentName,
    /// The plugin.
    pub plugin: String,
    /// The plugins that were there with it, because it does not load without them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What happened.
    #[serde(flatten)]
    pub observed: Observed,
    /// What was predicted; none where nothing was.
    pub predicted: Option<Prediction>,
}

/// What was predicted of a cell, from the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prediction {
    /// The verdict.
    pub verdict: Verdict,
    /// What was to happen.
    pub outcome: Predicted,
    /// The codes of the findings, the root first.
    pub codes: Vec<String>,
}

impl Cell {
    /// Whether what was predicted is what happened; true where nothing was predicted, or the answer was that it is not known.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let Some(prediction) = &self.predicted else { return true };
        let ends_at_load = matches!(self.observed, Observed::Refused { .. } | Observed::Crashed { .. });
        match prediction.verdict {
            Verdict::Ok => self.observed == Observed::Loaded,
            Verdict::Unknown => true,
            // It loads; what comes of it later depends on what is called.
            Verdict::Danger => !matches!(self.observed, Observed::Refused { .. }),
            Verdict::Refuse if prediction.outcome.phase <= Phase::Symbol => ends_at_load,
            Verdict::Refuse => self.observed != Observed::Loaded,
        }
    }
}

/// What was seen of a plugin, by the loader and by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The loader's report.
    pub plugin: PluginObservation,
    /// The host's own run with this plugin and those that it needs; none for projects without a smoke command.
    pub host: Option<HostObservation>,
}

/// Judges what was `seen` by what is seen at `home`, where host and plugin are of one environment; at home itself, the
/// answers are what they are.
#[must_use]
pub fn observe(seen: &Seen, home: &Seen) -> Observed {
    let said = || seen.plugin.message.clone().unwrap_or_default();
    match seen.plugin.outcome {
        Outcome::NotLoadable | Outcome::SymbolMissing | Outcome::TypeDiffers => {
            return Observed::Refused { message: said() };
        }
        Outcome::TimedOut => return Observed::TimedOut,
        Outcome::Crashed => {
            let signal = seen.plugin.signal_name.clone().unwrap_or_else(|| "a signal".to_owned());
            return Observed::Crashed {
                message: format!("ended by {signal}"),
            };
        }
        Outcome::Exited => {
            let status = seen
                .plugin
                .status
                .map_or_else(String::new, |status| format!(" with status {status}"));
            return Observed::Crashed {
                message: format!("ended its process{status}"),
            };
        }
        Outcome::EndedLoader => {
            return Observed::Crashed {
                message: format!("ended the smoke loader: {}", said()),
            };
        }
        Outcome::Loaded | Outcome::CallFailed => {}
    }
    match call_difference(&seen.plugin, &home.plugin)
        .or_else(|| host_difference(seen.host.as_ref(), home.host.as_ref()))
    {
        Some(difference) => Observed::AnsweredDifferently { difference },
        None => Observed::Loaded,
    }
}

fn call_difference(seen: &PluginObservation, home: &PluginObservation) -> Option<Difference> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let answer = |plugin: &PluginObservation, index: usize| {
        let returned = plugin.calls.get(index).map(|call| text(&call.returned));
        returned.unwrap_or_else(|| plugin.message.clone().unwrap_or_else(|| "no answer".to_owned()))
    };
    home.calls.iter().enumerate().find_map(|(index, call)| {
        let (at_home, here) = (answer(home, index), answer(seen, index));
        (at_home != here).then(|| Difference {
            question: call.symbol.clone(),
            at_home,
            here,
        })
    })
}

fn host_difference(seen: Option<&HostObservation>, home: Option<&HostObservation>) -> Option<Difference> {
    let (seen, home) = (seen?, home?);
    let (at_home, here) = (answers(home), answers(seen));
    at_home.iter().enumerate().find_map(|(index, (question, at_home))| {
        let here = here.get(index).map_or("no answer", |(_, here)| here);
        let difference = || Difference {
            question: question.clone(),
            at_home: at_home.clone(),
            here: here.to_owned(),
        };
        (at_home != here).then(difference)
    })
}

/// All that a host answered in all steps, question by question. Headers are left out: they hold dates and counters.
fn answers(host: &HostObservation) -> Vec<(String, String)> {
    host.earlier.iter().chain([host]).flat_map(answers_of_step).collect()
}

fn answers_of_step(host: &HostObservation) -> Vec<(String, String)> {
    let mut answers: Vec<(String, String)> = host
        .responses
        .iter()
        .map(|response| {
            (
                format!("{} {}", response.method, path_of(&response.url)),
                format!("{} {}", response.status, response.body.shown().trim_end()),
            )
        })
        .collect();
    answers.extend(
        host.failed_requests
            .iter()
            .map(|request| (format!("request {}", request.index + 1), request.message.clone())),
    );
    for client in &host.clients {
        let question = format!("command {}", client.index + 1);
        answers.push((question.clone(), end_in_words(&client.ended)));
        let stdout = client.ended.stdout.shown();
        answers.extend(stdout.lines().map(|line| (question.clone(), line.to_owned())));
    }
    if let Some(failure) = &host.failure {
        answers.push(("host".to_owned(), failure.clone()));
    }
    if let Some(ended) = &host.ended {
        answers.push(("host".to_owned(), end_in_words(ended)));
        // A server's output is a log, with times in it; a command's is its answer.
        if host.responses.is_empty() && !host.ready {
            answers.extend(
                ended
                    .stdout
                    .shown()
                    .lines()
                    .map(|line| ("stdout".to_owned(), line.to_owned())),
            );
        }
    }
    answers
}

fn end_in_words(ended: &Ended) -> String {
    match (&ended.signal_name, ended.status) {
        (Some(signal), _) => format!("ended by {signal}"),
        (None, Some(status)) => format!("status {status}"),
        (None, None) => "no end".to_owned(),
    }
}

/// An address without scheme and host, which are always the same.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Returned;

    fn plugin(outcome: Outcome, returned: &str) -> PluginObservation {
        PluginObservation {
            name: String::new(),
            path: "x.so".to_owned(),
            outcome,
            message: Some("words".to_owned()),
            symbol: None,
            signal_name: None,
            status: None,
            after: vec![],
            phase: None,
            missing: vec![],
            calls: vec![Returned {
                symbol: "greet".to_owned(),
                returned: returned.into(),
                problem: None,
            }],
            stdout: "".into(),
            stderr: "".into(),
        }
    }

    fn seen(outcome: Outcome, returned: &str, printed: &str) -> Seen {
        let ended = Ended {
            status: Some(0),
            stdout: printed.into(),
            ..Ended::default()
        };
        Seen {
            plugin: plugin(outcome, returned),
            host: Some(HostObservation {
                ended: Some(ended),
                ..HostObservation::default()
            }),
        }
    }

    #[test]
    fn what_happened_is_told_apart() {
        let home = seen(Outcome::Loaded, "a", "a");
        assert_eq!(observe(&home, &home), Observed::Loaded);
        let refused = seen(Outcome::NotLoadable, "a", "a");
        assert_eq!(
            observe(&refused, &home),
            Observed::Refused {
                message: "words".to_owned()
            }
        );
        assert!(matches!(
            observe(&seen(Outcome::Crashed, "a", "a"), &home),
            Observed::Crashed { .. }
        ));
        let wrong_call = observe(&seen(Outcome::Loaded, "b", "a"), &home);
        let difference = |question: &str| Difference {
            question: question.to_owned(),
            at_home: "a".to_owned(),
            here: "b".to_owned(),
        };
        assert_eq!(
            wrong_call,
            Observed::AnsweredDifferently {
                difference: difference("greet")
            }
        );
        let wrong_host = observe(&seen(Outcome::Loaded, "a", "b"), &home);
        assert_eq!(
            wrong_host,
            Observed::AnsweredDifferently {
                difference: difference("stdout")
            }
        );
    }
}
