//! `image:`: how the matched image starts, where that is not what the smoke test did.

use crate::yaml::{Decoded, Value};

use super::making::variables;
use super::project::ImageStart;

/// The keys of `image:`.
const KEYS: &[&str] = &["entrypoint", "cmd", "env", "user"];

pub(super) fn image(value: Value<'_>) -> Decoded<ImageStart> {
    value.fields("how the image starts", KEYS, |fields| {
        let entrypoint = fields.optional("entrypoint", |value| {
            let words = words(value)?;
            if words.is_empty() {
                return Err(value.report(
                    "an image needs something to start",
                    "name the program, or remove the key",
                ));
            }
            Ok(words)
        });
        let cmd = fields.optional("cmd", words);
        let env = fields.or("env", Default::default(), |value| variables(value, &[]));
        let user = fields.optional("user", user);
        Ok(ImageStart {
            entrypoint: entrypoint?,
            cmd: cmd?,
            env: env?,
            user: user?,
        })
    })
}

fn words(value: Value<'_>) -> Decoded<Vec<String>> {
    value.list(|item| item.word().map(str::to_owned))
}

/// A name or a number, and perhaps a group's (image specification, `config.User`).
fn user(value: Value<'_>) -> Decoded<String> {
    let text = value.word()?;
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if !text.split(':').all(is_name) || text.split(':').count() > 2 {
        return Err(value.report(
            format!("`{text}` is no user"),
            "write `1000:1000`, or names that the image knows",
        ));
    }
    Ok(text.to_owned())
}
