//! Absolute paths in images.

use crate::printable::is_plain;
use crate::yaml::{Decoded, Value};

/// The longest path that Linux takes (limits.h: PATH_MAX, with its NUL).
const PATH_LIMIT_BYTES: usize = 4095;
/// Where nothing of an image can be seen in a container, or lockstep has its own.
const COVERED: [&str; 5] = ["/dev", "/lockstep", "/proc", "/sys", "/tmp"];

/// Where a host looks for its plugins.
pub(super) fn directory(value: Value<'_>) -> Decoded<String> {
    let path = path(value, "/usr/lib/nginx/modules")?;
    match covered(&path) {
        Some(covered) => Err(value.report(
            format!("nothing can be installed into `{path}`"),
            format!("name a directory of the image: {covered} is the container's own"),
        )),
        None => Ok(path),
    }
}

/// Which of the container's own directories a path is in, if it is in one.
pub(super) fn covered(path: &str) -> Option<&'static str> {
    let is_covered = |covered: &&str| {
        let rest = path.strip_prefix(*covered);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    COVERED.into_iter().find(is_covered)
}

/// An absolute path in an image, written in the one way that there is for it.
pub(super) fn path(value: Value<'_>, example: &str) -> Decoded<String> {
    let text = value.filled_text()?;
    let problem = |message: String, label: String| Err(value.report(message, label));
    if !text.starts_with('/') {
        return problem(
            format!("`{text}` is no absolute path"),
            format!("write where it is in the image, from the root on: `{example}`"),
        );
    }
    let parts = text[1..].split('/');
    if text.len() > PATH_LIMIT_BYTES || !text.chars().all(is_plain) {
        return problem(
            "this is no path of a file".to_owned(),
            format!("write at most {PATH_LIMIT_BYTES} bytes of plain text"),
        );
    }
    if parts.clone().any(|part| matches!(part, "" | "." | "..")) {
        let plain: Vec<&str> = parts.filter(|part| !matches!(*part, "" | "." | "..")).collect();
        if plain.is_empty() {
            let label = format!("name what is meant below it: `{example}`");
            return problem(format!("`{text}` is the root of the image"), label);
        }
        return problem(
            format!("`{text}` has parts that say nothing"),
            format!("write it plainly: `/{}`", plain.join("/")),
        );
    }
    Ok(text.to_owned())
}
