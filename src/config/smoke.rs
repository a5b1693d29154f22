//! `smoke:`.

use std::time::Duration;

use crate::nearest::nearest;
use crate::yaml::{Decoded, Fields, Value};

use super::project::{Expectation, PLUGINS_PLACEHOLDER, Ready, Server, Smoke, SmokeKind, Stop};
use super::request::{request, url};
use super::unit::variables;

/// The keys of a smoke test.
const KEYS: &[&str] = &["command", "env", "timeout", "expect", "ready", "requests", "stop"];
/// The keys of a command's expectation.
const EXPECT_KEYS: &[&str] = &["status", "stdout", "stderr"];
/// The keys of `ready:`, which exclude each other.
const READY_KEYS: &[&str] = &["http", "tcp", "stdout"];
/// The keys of `stop:`.
const STOP_KEYS: &[&str] = &["signal", "status"];
/// The keys that make sense for a server alone.
const SERVER_KEYS: [&str; 2] = ["requests", "stop"];
/// The signals that programs are stopped with.
const SIGNALS: &[&str] = &["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"];
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_LIMIT: Duration = Duration::from_secs(60 * 60);

/// `host_files` are the names of the host's files, when they are known; `installs` says that the plugins lie where the host
/// looks for them, so that it need not be told.
pub(super) fn smoke(value: Value<'_>, host_files: Option<&[String]>, installs: bool) -> Decoded<Smoke> {
    value.fields("a smoke test", KEYS, |fields| {
        let command = fields.required("command", "the host's artifact and its arguments", |value| {
            command(value, host_files, installs, fields.get("env"))
        });
        let env = fields.or("env", Default::default(), |value| variables(value, &[]));
        let timeout = fields.or("timeout", TIMEOUT_DEFAULT, |value| value.duration(TIMEOUT_LIMIT));
        let kind = kind(&fields);
        Ok(Smoke {
            command: command?,
            env: env?,
            timeout: timeout?,
            kind: kind?,
        })
    })
}

fn command(
    value: Value<'_>,
    host_files: Option<&[String]>,
    installs: bool,
    env: Option<Value<'_>>,
) -> Decoded<Vec<String>> {
    let mut places = Vec::new();
    let words = value.list(|item| {
        places.push(item);
        if item.is_mapping() {
            let label = format!("put braces in quotes: \"{PLUGINS_PLACEHOLDER}\"");
            return Err(item.report("expected text, found a mapping", label));
        }
        item.word().map(str::to_owned)
    })?;
    let Some(program) = words.first() else {
        return Err(value.report("the command is empty", "write the host's artifact and its arguments"));
    };
    // Any program of the runtime image will do; what looks like a file of the host's and is none was meant to be one.
    let meant = host_files
        .filter(|files| !files.contains(program))
        .and_then(|files| nearest(program, files.iter().map(String::as_str)));
    let has_program = match meant {
        Some(file) => Err(places[0].report(
            format!("`{program}` is no artifact of the host"),
            format!("did you mean `{file}`?"),
        )),
        None => Ok(()),
    };
    let is_given_in_variable = || -> bool {
        let values = env.map(|env| env.words()).unwrap_or_default();
        values.iter().any(|value| value.contains(PLUGINS_PLACEHOLDER))
    };
    let has_plugins =
        match installs || words.iter().any(|word| word.contains(PLUGINS_PLACEHOLDER)) || is_given_in_variable() {
            true => Ok(()),
            false => {
                let message = "the command does not say where the plugins are";
                // Something else in braces is probably meant for it.
                let similar = words
                    .iter()
                    .position(|word| nearest(word, [PLUGINS_PLACEHOLDER]).is_some());
                Err(match similar {
                Some(index) => places[index].report(message, format!("did you mean `\"{PLUGINS_PLACEHOLDER}\"`?")),
                None => value.report(
                    message,
                    format!(
                        "put `\"{PLUGINS_PLACEHOLDER}\"` where the host takes the plugins' directory, here or in `env:`"
                    ),
                ),
            })
            }
        };
    has_program?;
    has_plugins?;
    Ok(words)
}

fn kind(fields: &Fields<'_, '_>) -> Decoded<SmokeKind> {
    let which = fields.exactly_one(&["expect", "ready"]);
    // All that is there is looked at, also when it should not be there.
    let expectation = fields.optional("expect", expectation);
    let ready = fields.optional("ready", ready);
    let known = ready.as_ref().ok().and_then(Option::as_ref);
    let requests = fields.or("requests", Vec::new(), |value| value.list(|item| request(item, known)));
    let stop = fields.or("stop", default_stop(), stop);
    let misplaced: Vec<_> = SERVER_KEYS
        .iter()
        .filter_map(|key| Some((key, fields.get(key)?)))
        .filter(|_| matches!(which, Ok(("expect", _))))
        .map(|(key, value)| {
            let message = format!("`{key}` is for a server, and this smoke test is a command that ends");
            Err(value.report(message, "write `ready:` in place of `expect:`, or remove it"))
        })
        .collect();
    misplaced.into_iter().collect::<Decoded<()>>()?;
    which?;
    match (expectation?, ready?) {
        (Some(expectation), _) => Ok(SmokeKind::Command(expectation)),
        (None, Some(ready)) => Ok(SmokeKind::Server(Server {
            ready,
            requests: requests?,
            stop: stop?,
        })),
        (None, None) => Err(fields
            .value()
            .report_absent("a smoke test expects nothing", "add `expect:` or `ready:`")),
    }
}

fn default_stop() -> Stop {
    Stop {
        signal: SIGNALS[0].to_owned(),
        status: 0,
    }
}

fn expectation(value: Value<'_>) -> Decoded<Expectation> {
    value.fields("an expectation", EXPECT_KEYS, |fields| {
        let status = fields.or("status", 0, |value| value.integer(0..=255));
        let stdout = fields.or("stdout", Vec::new(), texts);
        let stderr = fields.or("stderr", Vec::new(), texts);
        Ok(Expectation {
            status: status?,
            stdout: stdout?,
            stderr: stderr?,
        })
    })
}

/// Texts that must appear; an empty one would appear anywhere.
pub(super) fn texts(value: Value<'_>) -> Decoded<Vec<String>> {
    value.list(|item| match item.word()? {
        "" => Err(item.report(
            "an empty text is in every output",
            "write what must appear, or remove it",
        )),
        text => Ok(text.to_owned()),
    })
}

fn ready(value: Value<'_>) -> Decoded<Ready> {
    value.fields("a server's readiness", READY_KEYS, |fields| {
        match fields.exactly_one(READY_KEYS)? {
            ("http", value) => url(value).map(Ready::Http),
            ("tcp", value) => value.integer(1..=u16::MAX).map(Ready::Tcp),
            (_, value) => value.filled_text().map(|text| Ready::Stdout(text.to_owned())),
        }
    })
}

fn stop(value: Value<'_>) -> Decoded<Stop> {
    value.fields("a server's stop", STOP_KEYS, |fields| {
        let signal = fields.or("signal", SIGNALS[0].to_owned(), |value| {
            let text = value.word()?;
            if SIGNALS.contains(&text.trim_start_matches("SIG")) {
                return Ok(text.trim_start_matches("SIG").to_owned());
            }
            let label = match nearest(text.trim_start_matches("SIG"), SIGNALS.iter().copied()) {
                Some(signal) => format!("did you mean `{signal}`?"),
                None => format!("known are `{}`", SIGNALS.join("`, `")),
            };
            Err(value.report(format!("unknown signal `{text}`"), label))
        });
        let status = fields.or("status", 0, |value| value.integer(0..=255));
        Ok(Stop {
            signal: signal?,
            status: status?,
        })
    })
}
