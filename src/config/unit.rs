//! `plugins:`, and a `host:` that is compiled.

use std::sync::LazyLock;

use crate::name::{ContractName, UnitName};
use crate::yaml::{Decoded, Fields, Reported, Value};

use super::artifact::{self, Shipped};
use super::build;
use super::builds;
use super::known_build::Making;
use super::language_name::LanguageName;
use super::making::{has_own_way, language, making};
use super::named::name;
use super::project::Unit;
use super::reserved;
use super::scope::{Contracted, Scope, Spoken, claim};
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
