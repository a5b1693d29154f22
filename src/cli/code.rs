//! Codes of findings, as people write them.

use crate::check::{RULES, rule};
use crate::nearest::nearest;

/// A code as reports print it: `danger[libc-family]`, or by itself.
pub(super) fn bare_code(text: &str) -> &str {
    let inner = text.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
    inner.unwrap_or(text)
}

/// The code of `--allow`; one that no rule has is a mistake.
pub(super) fn code(text: &str) -> Result<String, String> {
    let text = bare_code(text.trim());
    if rule(text).is_some() {
        return Ok(text.to_owned());
    }
    Err(match nearest(text, RULES.iter().map(|rule| rule.code)) {
        Some(near) => format!("no finding has this code; did you mean `{near}`?"),
        None => "no finding has this code; `lockstep explain` lists them".to_owned(),
    })
}
