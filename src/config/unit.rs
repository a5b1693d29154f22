//! `plugins:`, and a `host:` that is compiled.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::name::{ContractName, UnitName};
use crate::yaml::{Decoded, Fields, Reported, Value};

use super::artifact::{self, Shipped};
use super::build::{self, Build};
use super::decode::name;
use super::project::{LanguageName, Unit, UnitRole};
use super::reserved;
use super::scope::{Contracted, Expected, Scope, Spoken, claim};

/// The keys of a unit.
pub(super) const KEYS: &[&str] = &[
    "name",
    "language",
    "source",
    "inputs",
    "package",
    "artifacts",
    "files",
    "into",
    "build",
    "command",
    "fetch",
    "env",
];
/// Those of a plugin.
static PLUGIN_KEYS: LazyLock<Vec<&str>> = LazyLock::new(|| KEYS.iter().copied().chain(["contract"]).collect());
/// The languages by the names that they have in the file.
const LANGUAGES: &[(&str, LanguageName)] = &[
    ("rust", LanguageName::Rust),
    ("go", LanguageName::Go),
    ("c", LanguageName::C),
    ("cpp", LanguageName::Cpp),
];

pub(super) fn plugins<'v>(value: Value<'v>, scope: &mut Scope<'v, '_>) -> Decoded<Vec<Unit>> {
    let plugins = value.list(|item| {
        item.fields("a plugin", &PLUGIN_KEYS, |fields| {
            unit(&fields, UnitRole::Plugin, scope)
        })
    })?;
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
    let shipped = artifact::shipped(
        fields,
        contract(fields, role).and_then(text),
        language.ok().filter(|_| !has_own_way(fields)),
        scope,
    );
    let artifacts = shipped.as_ref().map(|shipped| &shipped.artifacts[..]);
    if let (UnitRole::Host, Ok(shipped)) = (role, &shipped) {
        let places = shipped.places.values().map(ToString::to_string);
        scope.host_files = Some(shipped.artifacts.iter().cloned().chain(places).collect());
    }
    let name = unit_name(fields, role, artifacts, scope);
    let named = contract(fields, role);
    let contract = named.map(contract_name).transpose();
    if role == UnitRole::Plugin {
        scope.contracted.push(Contracted {
            value: named.unwrap_or(fields.value()),
            name: match &contract {
                Ok(_) => Ok(named.and_then(|value| value.text().ok())),
                Err(reported) => Err(*reported),
            },
        });
    }
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
    let Shipped {
        artifacts,
        places,
        files,
    } = shipped?;
    Ok(Unit {
        name: name?,
        role,
        language: language?,
        source: source?,
        inputs: inputs?,
        package: package?,
        contract: contract?,
        artifacts,
        places,
        files,
        build: build?,
        command: command?,
        fetch: fetch?,
        env: env?,
    })
}

/// `contract:`, which a host has not.
fn contract<'v>(fields: &Fields<'v, '_>, role: UnitRole) -> Option<Value<'v>> {
    match role {
        UnitRole::Host => None,
        UnitRole::Plugin => fields.get("contract"),
    }
}

/// A text; nothing for what is none, which is reported elsewhere.
fn text(value: Value<'_>) -> Option<&str> {
    let is_scalar = !value.is_mapping() && !value.is_list();
    is_scalar.then(|| value.text().ok()).flatten()
}

fn contract_name(value: Value<'_>) -> Decoded<ContractName> {
    if value.is_mapping() {
        let label = "write its keys below `contracts:` of the project, and its name here";
        return Err(value.report("a plugin names its contract", label));
    }
    name(value, ContractName::new)
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
            contract: contract(fields, role).and_then(text),
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
