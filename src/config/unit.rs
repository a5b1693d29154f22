//! `plugins:`, and a `host:` that is compiled.

use std::collections::BTreeMap;

use crate::name::UnitName;
use crate::printable::is_plain;
use crate::yaml::{Decoded, Fields, Reported, Value};

use super::build::{self, Build};
use super::decode::name;
use super::project::{LanguageName, Unit, UnitRole};
use super::reserved;
use super::scope::{Expected, Scope, Spoken, claim};

/// The keys of a unit.
pub(super) const KEYS: &[&str] = &[
    "name",
    "language",
    "source",
    "inputs",
    "package",
    "artifacts",
    "build",
    "command",
    "fetch",
    "env",
];
/// The languages by the names that they have in the file.
const LANGUAGES: &[(&str, LanguageName)] = &[
    ("rust", LanguageName::Rust),
    ("go", LanguageName::Go),
    ("c", LanguageName::C),
    ("cpp", LanguageName::Cpp),
];
/// The longest file name that Linux's file systems hold.
const FILE_NAME_LIMIT_BYTES: usize = 255;

pub(super) fn plugins<'v>(value: Value<'v>, scope: &mut Scope<'v, '_>) -> Decoded<Vec<Unit>> {
    let plugins = value.list(|item| item.fields("a plugin", KEYS, |fields| unit(&fields, UnitRole::Plugin, scope)))?;
    if plugins.is_empty() {
        return Err(value.report(
            "a project needs a plugin",
            "add one: `- {name: …, language: …, source: …, artifacts: […]}`",
        ));
    }
    Ok(plugins)
}

pub(super) fn unit<'v>(fields: &Fields<'v, '_>, role: UnitRole, scope: &mut Scope<'v, '_>) -> Decoded<Unit> {
    let build = fields.optional("build", |value| build::of_unit(value, fields));
    let language = language(fields, role, &build, scope);
    let artifacts = fields.required("artifacts", "the files that it yields: `[lib.so]`", |value| {
        artifacts(value, language.ok().filter(|_| !has_own_way(fields)), scope)
    });
    if role == UnitRole::Host {
        scope.host_files = artifacts.as_ref().ok().cloned();
    }
    let name = unit_name(fields, role, artifacts.as_deref(), scope);
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
    let package = fields.optional("package", |value| {
        package(value, language.ok().filter(|_| fields.get("build").is_none()))
    });
    let command = fields.optional("command", script);
    let fetch = fields.optional("fetch", script);
    let env = fields.or("env", BTreeMap::new(), |value| variables(value, REFUSED_VARIABLES));
    Ok(Unit {
        name: name?,
        role,
        language: language?,
        source: source?,
        inputs: inputs?,
        package: package?,
        artifacts: artifacts?,
        build: build?,
        command: command?,
        fetch: fetch?,
        env: env?,
    })
}

/// Whether something else than the language's own command makes the artifacts.
fn has_own_way(fields: &Fields<'_, '_>) -> bool {
    fields.get("command").is_some() || fields.get("build").is_some()
}

/// `language:`; a build system that compiles but one says it as well.
fn language<'v>(
    fields: &Fields<'v, '_>,
    role: UnitRole,
    build: &Decoded<Option<Build>>,
    scope: &mut Scope<'v, '_>,
) -> Decoded<LanguageName> {
    let build = build.as_ref().map_err(|reported| *reported);
    let is_go_plugin = matches!(build, Ok(Some(build)) if build.is_go_plugin(role));
    let mut speak = |place, language| {
        scope.languages.push(Spoken {
            place,
            language,
            role,
            has_command: has_own_way(fields) && !is_go_plugin,
        });
        Ok(language)
    };
    if let (Some(place), None) = (fields.get("build"), fields.get("language")) {
        // Which language it would be is not known when the build has problems.
        if let Some(language) = build?.as_ref().and_then(|build| build.system.language()) {
            return speak(place, language);
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
        speak(value, language)
    })
}

/// `name:`; a host without it is called as its first artifact.
fn unit_name(
    fields: &Fields<'_, '_>,
    role: UnitRole,
    artifacts: Result<&[String], &Reported>,
    scope: &mut Scope<'_, '_>,
) -> Decoded<UnitName> {
    if let (UnitRole::Host, None) = (role, fields.get("name")) {
        let first = artifacts
            .map_err(|reported| *reported)?
            .first()
            .map_or("", String::as_str);
        claim(&mut scope.names, "unit", first, fields.value())?;
        if let Some(taken) = reserved::unit(first) {
            return Err(fields.value().report_absent(taken.message, "add another `name:`"));
        }
        return UnitName::new(first).map_err(|_| {
            let message = format!("the host needs a `name:`, as its artifact's, `{first}`, is not a name");
            fields.value().report_absent(message, "add `name:` in lower case")
        });
    }
    fields.required("name", "a name for it", |value| {
        let text = value.text()?;
        let unit = name(value, UnitName::new);
        claim(&mut scope.names, "unit", text, value)?;
        match reserved::unit(text) {
            Some(taken) => Err(value.report(taken.message, taken.label)),
            None => unit,
        }
    })
}

/// `artifacts:`; `language` is the one whose own command makes them, which for all but Rust makes one.
fn artifacts(value: Value<'_>, language: Option<LanguageName>, scope: &mut Scope<'_, '_>) -> Decoded<Vec<String>> {
    let yields_one = language.is_some_and(|language| language != LanguageName::Rust);
    let mut count = 0;
    let artifacts = value.list(|item| {
        let artifact = artifact(item)?;
        claim(&mut scope.artifacts, "artifact", &artifact, item)?;
        count += 1;
        if yields_one && count > 1 {
            let label = "add a `command:` that leaves all of them in $LOCKSTEP_OUT, or make it a plugin of its own";
            return Err(item.report("the language's own command yields one artifact", label));
        }
        Ok(artifact)
    })?;
    if artifacts.is_empty() {
        return Err(value.report("a unit without artifacts", "name the files that it yields: `[lib.so]`"));
    }
    Ok(artifacts)
}

/// Whether an artifact can be called so.
#[must_use]
pub fn is_artifact_name(text: &str) -> bool {
    let is_name = !text.is_empty() && !text.contains('/') && !text.starts_with('-') && text.chars().all(is_plain);
    is_name && text.len() <= FILE_NAME_LIMIT_BYTES && reserved::artifact(text).is_none()
}

/// The name of a file in a bundle, where all artifacts lie side by side.
fn artifact(value: Value<'_>) -> Decoded<String> {
    let text = value.filled_text()?;
    let problem = |label: &str| Err(value.report(format!("the artifact `{text}` is no plain file name"), label));
    if text.contains('/') {
        let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        return problem(&format!("name the file alone, wherever the build puts it: `{last}`"));
    }
    if text == "." || text == ".." || text.starts_with('-') || !text.chars().all(is_plain) {
        return problem("write a name like `libshout.so`");
    }
    if text.len() > FILE_NAME_LIMIT_BYTES {
        return problem(&format!("write at most {FILE_NAME_LIMIT_BYTES} bytes"));
    }
    match reserved::artifact(text) {
        Some(taken) => Err(value.report(taken.message, taken.label)),
        None => Ok(text.to_owned()),
    }
}

fn package(value: Value<'_>, language: Option<LanguageName>) -> Decoded<String> {
    let text = value.filled_text()?;
    if language.is_some_and(|language| language != LanguageName::Go) {
        return Err(value.report(
            "`package` is for Go units only",
            "remove it; `source:` says what is compiled",
        ));
    }
    let leaves = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if leaves || text.starts_with('-') || text.contains("...") || text.contains(char::is_whitespace) {
        let label = "write one package of the module: `./plugins/match`";
        return Err(value.report(format!("`{text}` is no package of the module in `source`"), label));
    }
    Ok(text.to_owned())
}

fn script(value: Value<'_>) -> Decoded<String> {
    if value.is_list() {
        return Err(value.report("a shell script must be text", "write one line, or several after `|`"));
    }
    value.filled_text().map(str::to_owned)
}

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
