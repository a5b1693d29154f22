//! What the smoke test starts, a step or a client beside a server, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::nearest::nearest;
use crate::yaml::{Decoded, Fields, Value};

use super::image_path::path;
use super::making::variables;
use super::project::{Invocation, PLUGINS_PLACEHOLDER};

const TIMEOUT_LIMIT: Duration = Duration::from_secs(60 * 60);
/// What a program is given to read. It is a word of a command line, and Linux has none longer than 128 KiB.
const STDIN_LIMIT_BYTES: usize = 64 * 1024;
/// The user that nothing under test can be, by name and by number.
const ROOT: [&str; 2] = ["root", "0"];

/// What `fields` says of how the command behind `key` is started.
pub(super) fn invocation(
    fields: &Fields<'_, '_>,
    key: &'static str,
    host_files: Option<&[String]>,
    timeout: Duration,
) -> Decoded<Invocation> {
    let meaning = "the host's artifact and its arguments";
    let command = fields.required(key, meaning, |value| command(value, host_files));
    let env = fields.or("env", BTreeMap::new(), |value| variables(value, &[]));
    let user = fields.optional("user", user);
    let cwd = fields.optional("cwd", directory);
    let stdin = fields.optional("stdin", stdin);
    let timeout = fields.or("timeout", timeout, |value| value.duration(TIMEOUT_LIMIT));
    Ok(Invocation {
        command: command?,
        env: env?,
        user: user?,
        cwd: cwd?,
        stdin: stdin?,
        timeout: timeout?,
    })
}

fn command(value: Value<'_>, host_files: Option<&[String]>) -> Decoded<Vec<String>> {
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
    match meant {
        Some(file) => Err(places[0].report(
            format!("`{program}` is no artifact of the host"),
            format!("did you mean `{file}`?"),
        )),
        None => Ok(words),
    }
}

/// A name or a number; whose they are says the runtime image.
fn user(value: Value<'_>) -> Decoded<String> {
    let text = value.word()?;
    if ROOT.contains(&text) {
        let label = "name the user that the host has where it is deployed, or leave it out";
        return Err(value.report("nothing is tested as root", label));
    }
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_of_name) || text.starts_with('-') {
        let label = "write a name of the runtime image's /etc/passwd, or a number";
        return Err(value.report(format!("`{text}` is no user"), label));
    }
    Ok(text.to_owned())
}

/// Where a program starts: also in the root, below which all other paths of an image are.
fn directory(value: Value<'_>) -> Decoded<String> {
    match value.filled_text()? {
        "/" => Ok("/".to_owned()),
        _ => path(value, "/var/lib/postgresql"),
    }
}

fn stdin(value: Value<'_>) -> Decoded<String> {
    let text = value.word()?;
    if text.len() > STDIN_LIMIT_BYTES {
        let label = format!(
            "write at most {} KiB, or have it in a file of the host's",
            STDIN_LIMIT_BYTES / 1024
        );
        return Err(value.report("this is too much to read", label));
    }
    Ok(text.to_owned())
}
