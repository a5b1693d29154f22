//! `plugins:`, and a `host:` that is compiled.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::name::{ContractName, UnitName};
use crate::yaml::{Decoded, Fields, Reported, Value};

use super::artifact::{self, Shipped};
use super::build::{self, Build};
use super::builds;
use super::decode::name;
use super::language_name::LanguageName;
use super::project::Unit;
use super::reserved;
use super::scope::{Contracted, Expected, Scope, Spoken, claim};
use super::unit_role::UnitRole;

/// The keys of a unit.
pub(super) const KEYS: &[&str] = &[
    "name",
    "from",
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

/// How artifacts come about, of one unit or of all that come from one build.
#[derive(Clone)]
pub(super) struct Making {
    pub(super) language: LanguageName,
    pub(super) source: String,
    pub(super) inputs: Vec<String>,
    pub(super) package: Option<String>,
    pub(super) build: Option<Build>,
    pub(super) command: Option<String>,
    pub(super) fetch: Option<String>,
    pub(super) env: BTreeMap<String, String>,
}

pub(super) fn unit<'v>(fields: &Fields<'v, '_>, role: UnitRole, scope: &mut Scope<'v, '_>) -> Decoded<Unit> {
    let named = contract(fields, role);
    let held_to = named.and_then(text);
    let (own_command_of, from, making) = match fields.get("from") {
        Some(from) => match builds::take(from, fields, role, held_to, scope) {
            Ok((name, making)) => (None, Some(name), Ok(making)),
            Err(reported) => (None, None, Err(reported)),
        },
        None => {
            let (language, making) = own(fields, role, held_to, scope);
            (language.filter(|_| !has_own_way(fields)), None, making)
        }
    };
    let shipped = artifact::shipped(fields, held_to, own_command_of, scope);
    let artifacts = shipped.as_ref().map(|shipped| &shipped.artifacts[..]);
    if let (UnitRole::Host, Ok(shipped)) = (role, &shipped) {
        let places = shipped.places.values().map(ToString::to_string);
        scope.host_files = Some(shipped.artifacts.iter().cloned().chain(places).collect());
    }
    let name = unit_name(fields, role, artifacts, scope);
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
    let Shipped {
        artifacts,
        places,
        installs,
        files,
    } = shipped?;
    let (name, making) = (name?, making?);
    Ok(Unit {
        name,
        role,
        from,
        language: making.language,
        source: making.source,
        inputs: making.inputs,
        package: making.package,
        contract: contract?,
        artifacts,
        places,
        installs,
        files,
        build: making.build,
        command: making.command,
        fetch: making.fetch,
        env: making.env,
    })
}

/// What a unit without `from:` says of its making, and its language if that is known.
fn own<'v>(
    fields: &Fields<'v, '_>,
    role: UnitRole,
    contract: Option<&'v str>,
    scope: &mut Scope<'v, '_>,
) -> (Option<LanguageName>, Decoded<Making>) {
    let build = fields.optional("build", |value| build::of_unit(value, fields));
    let spoken = language(fields, &build);
    let is_go_plugin = matches!(&build, Ok(Some(build)) if build.is_go_plugin(role));
    if let Ok((place, language)) = spoken {
        scope.languages.push(Spoken {
            place,
            language,
            role,
            contract,
            has_command: has_own_way(fields) && !is_go_plugin,
        });
    }
    let language = spoken.map(|(_, language)| language);
    let package = fields.optional("package", |value| {
        package(value, language.ok().filter(|_| fields.get("build").is_none()))
    });
    (language.ok(), making(fields, language, build, package, scope))
}

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
        not_a_build(first, fields.value(), scope)?;
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
        not_a_build(text, value, scope)?;
        claim(&mut scope.names, "unit", text, value)?;
        match reserved::unit(text) {
            Some(taken) => Err(value.report(taken.message, taken.label)),
            None => unit,
        }
    })
}

/// What is compiled is told by one name, a unit's or a build's.
fn not_a_build(name: &str, value: Value<'_>, scope: &Scope<'_, '_>) -> Decoded<()> {
    match scope.has_build(name) {
        true => Err(value.report(
            format!("the name `{name}` is a build's"),
            "choose another name for one of the two",
        )),
        false => Ok(()),
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
