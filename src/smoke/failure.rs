//! A smoke test that failed, as the user sees it: every plugin and every expectation, not only the first.

use super::judge::{Mismatch, failed_plugins};
use super::observation::{EventError, HostObservation, Outcome, PluginObservation, START_PHASE};
use super::order::named;
use crate::config::{Question, Smoke};
use crate::engine::job::Ending;
use crate::exit::Exit;
use crate::name::EnvironmentName;
use crate::report::Failure;

/// How many lines of an expectation or of output are shown.
const SHOWN_LINES: usize = 12;

/// Why the smoke test failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmokeFailure {
    /// Plugins did not load, or the host did not do what is expected.
    #[error("the smoke test of {environment} failed: {}", summary(plugins, mismatches))]
    Observed {
        /// The environment.
        environment: EnvironmentName,
        /// Everything that was seen of the plugins, the good ones too.
        plugins: Vec<PluginObservation>,
        /// What the host did otherwise than expected.
        mismatches: Vec<Mismatch>,
        /// What to do about it, where that can be told.
        hint: Option<String>,
    },
    /// Plugins did not load of which the prediction was that they will.
    #[error(
        "check and the smoke test of {environment} contradict each other: {} will load, says the one, and it does not in {opener}",
        names(plugins)
    )]
    Contradiction {
        /// The environment.
        environment: EnvironmentName,
        /// Those plugins.
        plugins: Vec<PluginObservation>,
        /// In whose process they were opened.
        opener: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The loader itself did not do its work.
    #[error("the smoke loader ended with {ending}")]
    Loader {
        /// How its container ended.
        ending: String,
        /// What it printed on standard error.
        words: Vec<String>,
    },
    /// The loader's report cannot be understood.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl SmokeFailure {
    /// The loader's container did not end well.
    #[must_use]
    pub fn loader(ending: &Ending, words: Vec<String>) -> Self {
        Self::Loader {
            ending: described(ending),
            words,
        }
    }

    /// The failure as the user sees it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(Exit::Smoke, "smoke", self.to_string());
        match self {
            Self::Contradiction { plugins, hint, .. } => Failure::new(Exit::Smoke, "contradiction", self.to_string())
                .with_notes(plugins.iter().flat_map(plugin_lines))
                .with_hint(*hint),
            Self::Observed {
                plugins,
                mismatches,
                hint,
                ..
            } => {
                let plugins = failed_plugins(plugins).flat_map(plugin_lines);
                let failure = failure.with_notes(plugins.chain(mismatches.iter().flat_map(mismatch_lines)));
                match hint {
                    Some(hint) => failure.with_hint(hint.as_str()),
                    None => failure,
                }
            }
            Self::Loader { words, .. } => failure.with_notes(words.iter().cloned()).with_hint(
                "the loader was compiled in the build image: does the runtime image have the same C library?",
            ),
            Self::Event(_) => failure,
        }
    }
}

/// What to do about plugins that failed in the process of their host; `is_sure` if the contract says that the host opens them.
#[must_use]
pub fn hint_within_host(plugins: &[PluginObservation], is_sure: bool) -> Option<&'static str> {
    let is_late = |plugin: &PluginObservation| plugin.is_unopened() && plugin.outcome == Outcome::TimedOut;
    if failed_plugins(plugins).any(is_late) {
        return Some(
            "the host did not come to its main in time: a constructor of it waits, or it takes no preload (static, set-user-ID) \
             and its main has run instead; `opened_by: loader` in the contract opens plugins without it",
        );
    }
    (!is_sure && failed_plugins(plugins).any(PluginObservation::breaks_when_opened)).then_some(
        "plugins are opened in the host before its main has run: where they need what that sets up, write `opened_by: loader` or \
         `opened_by: nobody` in the contract",
    )
}

/// What to do about a program that the runtime image does not have, or that is to have what no step may have; none for a host
/// that failed in another way.
#[must_use]
pub fn hint_unstarted_program(smoke: &Smoke, host: &HostObservation) -> Option<String> {
    let begun = host.earlier.iter().chain([host]);
    smoke.steps.iter().zip(begun).find_map(|(step, seen)| {
        let questions = step.kind.questions().unwrap_or_default();
        let client = |index: usize| match questions.get(index) {
            Some(Question::Client(client)) => Some(&client.invocation),
            _ => None,
        };
        let failed = seen.failed_requests.iter();
        let failed = failed.filter_map(|failed| Some((client(failed.index)?, failed.message.as_str())));
        let own = seen.failure.iter().map(|failure| (&step.invocation, failure.as_str()));
        let mut all = own.chain(failed);
        all.find_map(|(invocation, message)| {
            let program = invocation.command.first()?;
            hint_of_start(program, message).filter(|_| invocation.cwd.is_none() || says(message, NOT_PERMITTED))
        })
    })
}

/// `EPERM`, which the kernel says of a program that is to have capabilities which its process may not have.
const NOT_PERMITTED: &str = "operation not permitted";

/// What to do about a program that did not start; the words are the system's, or Go's.
fn hint_of_start(program: &str, message: &str) -> Option<String> {
    if !says(message, "failed to start `") {
        None
    } else if says(message, "no such file or directory") && !says(message, "interpreter") {
        Some(format!(
            "the runtime image has no `{program}`: add the package that has it to the recipe of `runtime:`, or write where it is"
        ))
    } else if says(message, NOT_PERMITTED) {
        Some(format!(
            "if `{program}` has file capabilities (getcap), no step of a smoke test may have them: take them from the file (setcap -r), \
             and give them to the process where it is deployed"
        ))
    } else {
        None
    }
}

fn says(message: &str, words: &str) -> bool {
    message.to_lowercase().contains(words)
}

/// How the loader's container ended, for people.
#[must_use]
pub fn described(ending: &Ending) -> String {
    match ending {
        Ending::Exited(exit) if exit.out_of_memory => "out of memory".to_owned(),
        Ending::Exited(exit) => format!("status {}", exit.status),
        Ending::TimedOut { limit } => format!("no end after {} s", limit.as_secs()),
        Ending::TooMuchDisk { limit_bytes } => format!("more than {} MiB on disk", limit_bytes >> 20),
        Ending::DiskNearlyFull => "the engine's disk nearly full".to_owned(),
        Ending::TooMuchOutput { limit_bytes } => format!("more than {} MiB of output", limit_bytes >> 20),
    }
}

/// The plugins' names, as a list.
fn names(plugins: &[PluginObservation]) -> String {
    let names: Vec<&str> = plugins.iter().map(PluginObservation::name).collect();
    names.join(", ")
}

fn summary(plugins: &[PluginObservation], mismatches: &[Mismatch]) -> String {
    let failed = failed_plugins(plugins).count();
    let plugins = match failed {
        0 => None,
        1 => Some("1 plugin failed".to_owned()),
        count => Some(format!("{count} plugins failed")),
    };
    let host = match mismatches.first() {
        None => None,
        Some(mismatch) if mismatch.is_of_setup => Some("the setup failed".to_owned()),
        Some(_) => Some("the host did not do what is expected".to_owned()),
    };
    plugins.into_iter().chain(host).collect::<Vec<_>>().join(", and ")
}

/// What became of a plugin, in a few words.
#[must_use]
pub fn outcome_in_words(plugin: &PluginObservation) -> String {
    let message = plugin.message.as_deref().unwrap_or("no reason given");
    let during = match (plugin.phase.as_deref(), plugin.symbol.as_deref()) {
        (Some(START_PHASE), _) => " (before the host came to its main)".to_owned(),
        (Some(phase), Some(symbol)) => format!(" (during {phase} of {symbol})"),
        (Some(phase), None) => format!(" (during {phase})"),
        (None, _) => String::new(),
    };
    let symbol = plugin.symbol.as_deref().unwrap_or("a function");
    match plugin.outcome {
        Outcome::Loaded => "loaded".to_owned(),
        Outcome::NotLoadable => format!("not loadable: {message}"),
        Outcome::SymbolMissing if plugin.missing.is_empty() => format!("symbol missing: {message}"),
        Outcome::SymbolMissing => format!("symbol missing: {} ({message})", plugin.missing.join(", ")),
        Outcome::TypeDiffers => format!("{symbol} has another type: {message}"),
        Outcome::Crashed => format!(
            "crashed with {}{during}",
            plugin.signal_name.as_deref().unwrap_or("a signal")
        ),
        Outcome::TimedOut => format!("timed out{during}"),
        Outcome::Exited => {
            let status = plugin
                .status
                .map_or_else(String::new, |status| format!(" with status {status}"));
            let why = plugin
                .message
                .as_ref()
                .map_or_else(String::new, |why| format!(": {why}"));
            format!("ended its process{status}{during}{why}")
        }
        Outcome::CallFailed => format!("{symbol} {message}"),
        Outcome::EndedLoader => format!("ended the smoke loader: {message}"),
    }
}

/// What became of a plugin, in one line, and what it printed.
fn plugin_lines(plugin: &PluginObservation) -> Vec<String> {
    let (name, what) = (named(plugin), outcome_in_words(plugin));
    let mut lines = vec![format!("{name}: {what}")];
    lines.extend(
        plugin
            .stderr
            .shown()
            .lines()
            .take(SHOWN_LINES)
            .map(|line| format!("  {line}")),
    );
    lines
}

fn mismatch_lines(mismatch: &Mismatch) -> Vec<String> {
    let side = |word: &str, text: &str| -> Vec<String> {
        let text = if text.trim_end().is_empty() {
            "(nothing)"
        } else {
            text.trim_end()
        };
        let lines: Vec<&str> = text.lines().take(SHOWN_LINES).collect();
        let word = |index| if index == 0 { word } else { "" };
        lines
            .into_iter()
            .enumerate()
            .map(|(index, line)| format!("  {:<8} {line}", word(index)))
            .collect()
    };
    let mut lines = vec![format!("{}:", mismatch.subject)];
    lines.extend(side("expected", &mismatch.expected));
    lines.extend(side("got", &mismatch.got));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_do_not_start_are_told_apart() {
        let hint = |message: &str| hint_of_start("server", message).unwrap_or_default();
        let told = hint("failed to start `server`: No such file or directory (os error 2)");
        assert!(told.starts_with("the runtime image has no `server`"), "{told}");
        let told = hint("failed to start `server`: Operation not permitted (os error 1)");
        assert!(told.starts_with("if `server` has file capabilities"), "{told}");
        assert_eq!(hint("failed to start `server`: Exec format error"), "");
        assert_eq!(hint("failed to stop: Operation not permitted"), "");
    }

    #[test]
    fn what_the_hosts_main_may_have_to_do_with_is_hinted_at() {
        let plugin = |outcome, phase: &str| PluginObservation {
            outcome,
            phase: Some(phase.to_owned()),
            ..PluginObservation::ended_loader("/p/x.so", String::new())
        };
        let hint = |outcome, phase: &str, is_sure| hint_within_host(&[plugin(outcome, phase)], is_sure).unwrap_or("-");
        for outcome in [Outcome::Crashed, Outcome::Exited] {
            let told = hint(outcome, "open", false);
            assert!(told.contains("`opened_by: loader` or `opened_by: nobody`"), "{told}");
            assert_eq!(
                hint(outcome, "open", true),
                "-",
                "the contract says that it is to be so"
            );
            assert_eq!(hint(outcome, "call", false), "-");
            assert_eq!(hint(outcome, "start", true), "-");
        }
        assert_eq!(hint(Outcome::NotLoadable, "open", false), "-");
        for is_sure in [false, true] {
            let told = hint(Outcome::TimedOut, "start", is_sure);
            assert!(told.contains("did not come to its main in time"), "{told}");
        }
        assert_eq!(hint(Outcome::TimedOut, "open", false), "-");
    }
}
