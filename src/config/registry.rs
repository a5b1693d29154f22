//! `registry:`: where environments are kept.

use crate::repository::Repository;
use crate::yaml::{Decoded, Value};

pub(super) fn registry(value: Value<'_>) -> Decoded<Repository> {
    let text = value.filled_text()?;
    text.parse()
        .map_err(|error| value.report(format!("`{text}` is no place in a registry"), format!("{error}")))
}
