//! A step of `smoke:`.

use crate::nearest::nearest;
use crate::yaml::{Decoded, Fields, Value};

use super::expectation::{TIMEOUT_DEFAULT, expectation};
use super::image_path::{covered, path};
use super::invocation::invocation;
use super::project::{Invocation, Question, Ready, Server, Step, StepKind, Stop};
use super::request::{question, url};

/// The keys of a step.
const KEYS: &[&str] = &[
    "command", "run", "serve", "setup", "env", "user", "cwd", "stdin", "timeout", "writable", "exec", "expect",
    "ready", "requests", "stop",
];
/// The keys that say what is started, and what kind of a step it is; they exclude each other.
pub(super) const COMMAND_KEYS: &[&str] = &["command", "run", "serve", "setup"];
/// The keys of `ready:`, which exclude each other.
const READY_KEYS: &[&str] = &["http", "tcp", "stdout"];
/// The keys of `stop:`.
const STOP_KEYS: &[&str] = &["signal", "status"];
/// The keys that make sense for a server alone.
const SERVER_KEYS: [&str; 2] = ["requests", "stop"];
/// The signals that programs are stopped with.
const SIGNALS: &[&str] = &["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"];
/// The directories that can be written to in any case.
const WRITABLE_ANYWAY: [&str; 2] = ["/tmp", "/dev/shm"];

pub(super) fn step(value: Value<'_>, host_files: Option<&[String]>, install: Option<&str>) -> Decoded<Step> {
    value.fields("a smoke test", KEYS, |fields| {
        let which = fields.exactly_one(COMMAND_KEYS);
        let started = which.and_then(|(key, _)| invocation(&fields, key, host_files, TIMEOUT_DEFAULT));
        let writable = fields.or("writable", Vec::new(), |value| value.list(|item| place(item, install)));
        let exec = fields.or("exec", false, exec(&fields));
        let kind = kind(&fields, which.map(|(key, _)| key), started.as_ref().ok(), host_files);
        Ok(Step {
            invocation: started?,
            writable: writable?,
            exec: exec?,
            kind: kind?,
        })
    })
}

fn exec<'f>(fields: &'f Fields<'_, '_>) -> impl FnOnce(Value<'_>) -> Decoded<bool> + 'f {
    move |value| match (value.boolean()?, fields.get("writable")) {
        (true, None) => Err(value.report(
            "`exec` says that programs may be started from what is writable, and nothing is",
            "add `writable:` with the directories",
        )),
        (exec, _) => Ok(exec),
    }
}

/// A directory that the step's user may write to.
fn place(value: Value<'_>, install: Option<&str>) -> Decoded<String> {
    if value.scalar_text() == Some("/") {
        return Err(value.report(
            "the whole image cannot be made writable",
            "name the directory that is written to",
        ));
    }
    let path = path(value, "/var/lib/postgresql")?;
    let is_below = |path: &str, above: &str| {
        let rest = path.strip_prefix(above.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if WRITABLE_ANYWAY.contains(&path.as_str()) {
        return Err(value.report(format!("`{path}` can be written to in any case"), "remove it"));
    }
    if let Some(covered) = covered(&path) {
        let label = format!("name another directory: {covered} is the container's own");
        return Err(value.report(format!("`{path}` cannot be made writable"), label));
    }
    if let Some(hidden) = ["/etc"]
        .into_iter()
        .chain(install)
        .find(|hidden| is_below(hidden, &path))
    {
        let label = format!("an empty directory would hide {hidden}: name one below it, or another one");
        return Err(value.report(format!("`{path}` cannot be made writable"), label));
    }
    Ok(path)
}

fn kind(
    fields: &Fields<'_, '_>,
    key: Decoded<&str>,
    started: Option<&Invocation>,
    host_files: Option<&[String]>,
) -> Decoded<StepKind> {
    // All that is there is looked at, also when it should not be there.
    let expectation = fields.optional("expect", expectation);
    let found = fields.optional("ready", ready);
    let known = found.as_ref().ok().and_then(Option::as_ref);
    let requests = fields.or("requests", Vec::new(), |value| {
        value.list(|item| question(item, known, started, host_files))
    });
    let stop = fields.or("stop", default_stop(), stop);
    match key? {
        "setup" => {
            let label = "remove it, or write `run:` in place of `setup:`";
            misplaced(
                fields,
                &["expect"],
                "is for what is tested, and a setup must end with status 0",
                label,
            )?;
            let label = "remove it, or write `serve:` in place of `setup:`";
            misplaced(
                fields,
                &["ready", "requests", "stop"],
                "is for a server, and this is a setup",
                label,
            )?;
            Ok(StepKind::Setup)
        }
        "run" => {
            let label = "remove it, or write `serve:` in place of `run:`";
            misplaced(
                fields,
                &["ready", "requests", "stop"],
                "is for a server, and `run` is a command that ends",
                label,
            )?;
            Ok(StepKind::Command(expectation?.unwrap_or_default()))
        }
        "serve" => {
            let label = "remove it, or write `run:` in place of `serve:`";
            misplaced(
                fields,
                &["expect"],
                "is for a command that ends, and `serve` is a server",
                label,
            )?;
            let ready = match found? {
                Some(ready) => ready,
                None => fields.required("ready", "what shows that it serves: `{tcp: 5432}`", ready)?,
            };
            server(ready, requests, stop)
        }
        _ => {
            let which = fields.exactly_one(&["expect", "ready"]);
            if matches!(which, Ok(("expect", _))) {
                let message = "is for a server, and this smoke test is a command that ends";
                misplaced(
                    fields,
                    &SERVER_KEYS,
                    message,
                    "write `ready:` in place of `expect:`, or remove it",
                )?;
            }
            which?;
            match (expectation?, found?) {
                (Some(expectation), _) => Ok(StepKind::Command(expectation)),
                (None, Some(ready)) => server(ready, requests, stop),
                (None, None) => Err(fields
                    .value()
                    .report_absent("a smoke test expects nothing", "add `expect:` or `ready:`")),
            }
        }
    }
}

fn server(ready: Ready, requests: Decoded<Vec<Question>>, stop: Decoded<Stop>) -> Decoded<StepKind> {
    Ok(StepKind::Server(Server {
        ready,
        requests: requests?,
        stop: stop?,
    }))
}

/// Reports each of the keys that is there and says nothing here.
fn misplaced(fields: &Fields<'_, '_>, keys: &[&'static str], why: &str, label: &str) -> Decoded<()> {
    let present = keys.iter().filter_map(|key| Some((key, fields.get(key)?)));
    let reported: Vec<_> = present
        .map(|(key, value)| Err(value.report(format!("`{key}` {why}"), label)))
        .collect();
    reported.into_iter().collect()
}

fn default_stop() -> Stop {
    Stop {
        signal: SIGNALS[0].to_owned(),
        status: 0,
    }
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
