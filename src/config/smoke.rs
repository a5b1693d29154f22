//! `smoke:`: one step, or a list of them.

use std::collections::BTreeMap;

use crate::nearest::nearest;
use crate::yaml::{Decoded, Reported, Value};

use super::project::{PLUGINS_PLACEHOLDER, Smoke, Step};
use super::step::{COMMAND_KEYS, step};

/// The keys of a step in which plugins can be spoken of.
const SPEAKING_KEYS: [&str; 3] = ["env", "stdin", "requests"];
/// More are no test any more.
const STEPS_LIMIT_COUNT: usize = 64;
/// The directories of all steps together.
const WRITABLE_LIMIT_COUNT: usize = 16;

/// `host_files` are the names of the host's files, when they are known; `install` is where the plugins lie, if that is where the
/// host looks for them, so that it need not be told.
pub(super) fn smoke(value: Value<'_>, host_files: Option<&[String]>, install: Option<&str>) -> Decoded<Smoke> {
    let mut values = Vec::new();
    let mut decode = |item| {
        values.push(item);
        step(item, host_files, install)
    };
    let steps = match value.is_list() {
        true => value.list(decode),
        false => decode(value).map(|step| vec![step]),
    };
    if values.is_empty() {
        return Err(value.report(
            "a smoke test without a step tests nothing",
            "write one, or remove the key",
        ));
    }
    let has_plugins = match install.is_some() || values.iter().any(|value| speaks_of_plugins(*value)) {
        true => Ok(()),
        false => Err(report_no_plugins(value, &values)),
    };
    let smoke = Smoke { steps: steps? };
    has_plugins?;
    if smoke.steps.len() > STEPS_LIMIT_COUNT {
        return Err(value.report("these are too many steps", format!("write at most {STEPS_LIMIT_COUNT}")));
    }
    if smoke.started().is_none() {
        let label = "add a step with `run:` or `serve:`";
        return Err(value.report("a smoke test that only sets up tests nothing", label));
    }
    check_places(&smoke.steps, &values)?;
    Ok(smoke)
}

/// The command of a step.
fn command_of(step: Value<'_>) -> Option<Value<'_>> {
    COMMAND_KEYS.iter().find_map(|key| step.child(key))
}

fn speaks_of_plugins(step: Value<'_>) -> bool {
    let others = SPEAKING_KEYS.iter().filter_map(|key| step.child(key));
    command_of(step)
        .into_iter()
        .chain(others)
        .any(|value| value.mentions(PLUGINS_PLACEHOLDER))
}

/// Reports that nothing says where the plugins are, at the last command.
fn report_no_plugins(value: Value<'_>, steps: &[Value<'_>]) -> Reported {
    let Some(command) = steps.iter().rev().find_map(|step| command_of(*step)) else {
        // What is missing there has been reported.
        return Reported;
    };
    let message = match value.is_list() {
        true => "no command says where the plugins are",
        false => "the command does not say where the plugins are",
    };
    // Something else in braces is probably meant for it.
    let (mut similar, mut count) = (None, 0);
    let is_plain = command.is_list()
        && command
            .list(|item| {
                count += 1;
                let word = item.scalar_text().ok_or(Reported)?;
                if is_meant_for_plugins(word) {
                    similar = similar.or(Some(item));
                }
                Ok(())
            })
            .is_ok();
    if !is_plain || count == 0 {
        // What is wrong with it has been reported.
        return Reported;
    }
    match similar {
        Some(item) => item.report(message, format!("did you mean `\"{PLUGINS_PLACEHOLDER}\"`?")),
        None => command.report(
            message,
            format!("put `\"{PLUGINS_PLACEHOLDER}\"` where the host takes the plugins' directory, here or in `env:`"),
        ),
    }
}

fn is_meant_for_plugins(word: &str) -> bool {
    nearest(word, [PLUGINS_PLACEHOLDER]).is_some()
}

/// What a step leaves in a directory is there for the next, so it is one user's.
fn check_places(steps: &[Step], values: &[Value<'_>]) -> Decoded<()> {
    let mut users: BTreeMap<&str, &Option<String>> = BTreeMap::new();
    for (step, value) in steps.iter().zip(values) {
        for path in &step.writable {
            let user = &step.invocation.user;
            if *users.entry(path.as_str()).or_insert(user) != user {
                let place = value.child("writable").unwrap_or(*value);
                let message = format!("`{path}` belongs to the user of an earlier step");
                return Err(place.report(
                    message,
                    "give both steps the same `user:`, or each a directory of its own",
                ));
            }
        }
    }
    if users.len() > WRITABLE_LIMIT_COUNT {
        let place = values.iter().rev().find_map(|value| value.child("writable"));
        let label = format!("name at most {WRITABLE_LIMIT_COUNT} in all steps");
        return match place {
            Some(place) => Err(place.report("these are too many directories", label)),
            None => Ok(()),
        };
    }
    Ok(())
}
