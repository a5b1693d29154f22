//! What a step or a request must come to.

use std::time::Duration;

use super::project::Expectation;
use crate::yaml::{Decoded, Value};

/// For all of a step, when nothing else is said.
pub(super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The keys of a command's expectation.
const EXPECT_KEYS: &[&str] = &["status", "stdout", "stderr"];

pub(super) fn expectation(value: Value<'_>) -> Decoded<Expectation> {
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
