//! Names of projects, environments, units and contracts.

use crate::name::{InvalidName, ProjectName};
use crate::yaml::{Decoded, Reported, Value};

/// A name that can stand in image tags.
pub(super) fn name<T>(value: Value<'_>, new: impl FnOnce(String) -> Result<T, InvalidName>) -> Decoded<T> {
    let text = value.text()?;
    new(text.to_owned()).map_err(|_| report_name(value, text))
}

/// Reports that `text` is no name, with the name that it could be.
pub(super) fn report_name(value: Value<'_>, text: &str) -> Reported {
    let label = match suggest_name(text) {
        Some(name) => format!("write lower-case letters, digits and single `-`, `_` or `.`: `{name}`"),
        None => "write 1 to 63 lower-case letters, digits and single `-`, `_` or `.` between them".to_owned(),
    };
    value.report(format!("`{text}` is not a name"), label)
}

fn suggest_name(text: &str) -> Option<String> {
    let plain: String = text
        .chars()
        .map(|character| match character.to_ascii_lowercase() {
            plain @ ('a'..='z' | '0'..='9' | '.' | '_') => plain,
            _ => '-',
        })
        .collect();
    let parts: Vec<&str> = plain
        .split('-')
        .map(|part| part.trim_matches(['.', '_']))
        .filter(|part| !part.is_empty())
        .collect();
    let name = parts.join("-");
    ProjectName::new(name.as_str()).is_ok().then_some(name)
}
