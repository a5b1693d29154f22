//! How artifacts come about, of one unit or of all that come from one build.

use std::collections::BTreeMap;

use super::build::{self, Build};
use super::known_build::Making;
use super::language_name::LanguageName;
use super::scope::{Expected, Scope, claim};
use crate::yaml::{Decoded, Fields, Value};

/// The languages by the names that they have in the file.
const LANGUAGES: &[(&str, LanguageName)] = &[
    ("rust", LanguageName::Rust),
    ("go", LanguageName::Go),
    ("c", LanguageName::C),
    ("cpp", LanguageName::Cpp),
];
/// Variables that a unit cannot set, and what to do instead.
pub(super) const REFUSED_VARIABLES: &[(&str, &str)] = &[
    ("SOURCE_DATE_EPOCH", "set `source_date_epoch:` of the project instead"),
    (
        "LOCKSTEP_OUT",
        "it is the same in every container; write `$LOCKSTEP_OUT` where you need it",
    ),
    (
        "LOCKSTEP_DEPS",
        "it is the same in every container; write `$LOCKSTEP_DEPS` where you need it",
    ),
];

/// The making of a unit or of a build, of which the parts that are read apart are handed in.
pub(super) fn making(
    fields: &Fields<'_, '_>,
    language: Decoded<LanguageName>,
    build: Decoded<Option<Build>>,
    package: Decoded<Option<String>>,
    scope: &Scope<'_, '_>,
) -> Decoded<Making> {
    let source = fields.required("source", "the directory that it is compiled in", |value| {
        scope.path(value, Expected::Directory)
    });
    let inputs = fields.or("inputs", Vec::new(), |value| {
        let mut taken = BTreeMap::new();
        value.list(|item| {
            let path = scope.path(item, Expected::FileOrDirectory)?;
            claim(&mut taken, "input", &path, item).map(|()| path)
        })
    });
    let command = fields.optional("command", script);
    let fetch = fields.optional("fetch", script);
    let env = fields.or("env", BTreeMap::new(), |value| variables(value, REFUSED_VARIABLES));
    Ok(Making {
        language: language?,
        source: source?,
        inputs: inputs?,
        package: package?,
        build: build?,
        command: command?,
        fetch: fetch?,
        env: env?,
    })
}

/// Whether something else than the language's own command makes the artifacts.
pub(super) fn has_own_way(fields: &Fields<'_, '_>) -> bool {
    fields.get("command").is_some() || fields.get("build").is_some()
}

/// `language:`, and where it is said; a build system that compiles but one says it as well.
pub(super) fn language<'v>(
    fields: &Fields<'v, '_>,
    build: &Decoded<Option<Build>>,
) -> Decoded<(Value<'v>, LanguageName)> {
    let build = build.as_ref().map_err(|reported| *reported);
    if let (Some(place), None) = (fields.get("build"), fields.get("language")) {
        // Which language it would be is not known when the build has problems.
        if let Some(language) = build?.as_ref().and_then(|build| build.system.language()) {
            return Ok((place, language));
        }
    }
    fields.required("language", "`rust`, `go`, `c` or `cpp`", |value| {
        let synonym = match value.word()?.to_ascii_lowercase().as_str() {
            "c++" | "cxx" | "cc" => Some("cpp"),
            "golang" => Some("go"),
            _ => None,
        };
        if let Some(synonym) = synonym {
            let message = format!("unknown language `{}`", value.word()?);
            return Err(value.report(message, format!("did you mean `{synonym}`?")));
        }
        let language = value.one_of("language", LANGUAGES)?;
        if let Ok(Some(build)) = build {
            build::check_language(value, language, build)?;
        }
        Ok((value, language))
    })
}

fn script(value: Value<'_>) -> Decoded<String> {
    if value.is_list() {
        return Err(value.report("a shell script must be text", "write one line, or several after `|`"));
    }
    value.filled_text().map(str::to_owned)
}

/// `env:`; but for those in `refused`.
pub(super) fn variables(value: Value<'_>, refused: &[(&str, &str)]) -> Decoded<BTreeMap<String, String>> {
    if value.is_list() {
        return Err(value.report(
            "`env` must be a mapping, found a list",
            "write `NAME: value` in place of `NAME=value`",
        ));
    }
    let entries = value.entries(|key, value| {
        let name = variable(key, refused);
        let text = value.word();
        Ok((name?, text?.to_owned()))
    })?;
    Ok(entries.into_iter().collect())
}

fn variable(key: Value<'_>, refused: &[(&str, &str)]) -> Decoded<String> {
    let name = key.text()?;
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(is_of_name) {
        let label = "write letters, digits and `_`, no digit first";
        return Err(key.report(format!("`{name}` is no name of a variable"), label));
    }
    if let Some((_, label)) = refused.iter().find(|(refused, _)| *refused == name) {
        return Err(key.report(format!("the variable `{name}` is lockstep's"), *label));
    }
    Ok(name.to_owned())
}
