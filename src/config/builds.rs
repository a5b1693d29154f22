//! `builds:`: what is compiled once, and several units take their artifacts from.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::UnitName;
use crate::nearest::nearest;
use crate::yaml::{Decoded, Fields, Reported, Value};

use super::build;
use super::known_build::{KnownBuild, Making};
use super::language_name::LanguageName;
use super::making;
use super::named::name;
use super::project::Unit;
use super::reserved;
use super::scope::{Scope, Spoken};
use super::unit_role::UnitRole;

/// The keys of a build: those of a unit that say how it is compiled.
const KEYS: &[&str] = &["source", "inputs", "language", "build", "command", "fetch", "env"];
/// The keys that a unit with `from:` cannot have; Go's is among them, though no build has it.
const KEYS_OF_BUILDS: &[&str] = &[
    "source", "inputs", "language", "package", "build", "command", "fetch", "env",
];

/// `builds:`, put into the scope, where units find them.
pub(super) fn builds<'v>(value: Value<'v>, scope: &mut Scope<'v, '_>) -> Decoded<()> {
    let found = value.entries(|key, value| {
        let known = known(key, value, scope)?;
        let made = known.making.as_ref().map(|_| ()).map_err(|reported| *reported);
        scope.builds.push(known);
        made
    })?;
    if found.is_empty() {
        return Err(value.report("`builds` has none", "add one: `tree: {build: …, source: …}`"));
    }
    Ok(())
}

fn known<'v>(key: Value<'v>, value: Value<'v>, scope: &Scope<'v, '_>) -> Decoded<KnownBuild<'v>> {
    let text = key.text()?;
    let name = name(key, UnitName::new).and_then(|name| match reserved::build(text) {
        Some(taken) => Err(key.report(taken.message, taken.label)),
        None => Ok(name),
    });
    let mut known = KnownBuild {
        name: text,
        key,
        spoken: None,
        has_own_way: false,
        making: Err(Reported),
        is_taken: false,
    };
    let making = value.fields("a build", KEYS, |fields| {
        let build = fields.optional("build", |value| build::of_build(value, &fields));
        let language = making::language(&fields, &build);
        known.has_own_way = making::has_own_way(&fields);
        known.spoken = language.as_ref().ok().copied();
        let shared = makes_several(&fields, known.spoken);
        let making = making::making(&fields, language.map(|(_, language)| language), build, Ok(None), scope);
        shared?;
        making
    });
    known.making = match (name, making) {
        (Ok(name), Ok(making)) => Ok((name, making)),
        _ => Err(Reported),
    };
    Ok(known)
}

/// Reports a build that makes but one file: lockstep's own command for all languages but Rust.
fn makes_several(fields: &Fields<'_, '_>, spoken: Option<(Value<'_>, LanguageName)>) -> Decoded<()> {
    match spoken {
        Some((place, language)) if language != LanguageName::Rust && !making::has_own_way(fields) => Err(place.report(
            "the language's own command makes one file, and a build is for several units",
            "add `build:` or `command:`",
        )),
        _ => Ok(()),
    }
}

/// What makes the artifacts of a unit with `from:`.
pub(super) fn take<'v>(
    from: Value<'v>,
    fields: &Fields<'v, '_>,
    role: UnitRole,
    contract: Option<&'v str>,
    scope: &mut Scope<'v, '_>,
) -> Decoded<(UnitName, Making)> {
    let mut fit = Ok(());
    for key in KEYS_OF_BUILDS {
        if let Some(value) = fields.get(key) {
            let label = "remove it here, or `from:`; what several units share is said below `builds:`";
            fit = Err(value.report(format!("a unit with `from` has no `{key}` of its own"), label));
        }
    }
    let text = from.filled_text()?;
    let Some(known) = scope.builds.iter_mut().find(|known| known.is_called(text)) else {
        scope.has_unknown_build = true;
        return Err(unknown(from, text, role, scope));
    };
    known.is_taken = true;
    if let Some((place, language)) = known.spoken {
        scope.languages.push(Spoken {
            place,
            language,
            role,
            contract,
            has_command: known.has_own_way,
        });
    }
    fit?;
    known.making.clone()
}

fn unknown(from: Value<'_>, text: &str, role: UnitRole, scope: &Scope<'_, '_>) -> Reported {
    if !from.is_complete() {
        return Reported;
    }
    let names: Vec<&str> = scope.builds.iter().map(|known| known.name).collect();
    let label = match nearest(text, names.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if text == reserved::RUNTIME => match role {
            UnitRole::Host => {
                "a host of the runtime image is `{from: runtime, path: …}`, with no other keys of a unit".to_owned()
            }
            UnitRole::Plugin => "only a host is taken from the runtime image; name a build".to_owned(),
        },
        None if names.is_empty() => "add it below `builds:` of the project".to_owned(),
        None => format!("there are `{}`", names.join("`, `")),
    };
    from.report(format!("there is no build `{text}`"), label)
}

/// Reports each build that no unit takes from. When it is not known which one a unit was meant to name, none is.
pub(super) fn all_are_taken(scope: &Scope<'_, '_>) -> Decoded<()> {
    let mut taken = Ok(());
    for known in scope.builds.iter().filter(|known| !known.is_taken) {
        if scope.has_unknown_build || !known.key.is_complete() {
            continue;
        }
        let label = format!("write `from: {}` in a unit, or remove it", known.name);
        taken = Err(known
            .key
            .report(format!("no unit takes from the build `{}`", known.name), label));
    }
    taken
}

/// The builds, each as what is compiled: with all artifacts that `units` take from it.
pub(super) fn joined<'u>(scope: &Scope<'_, '_>, units: impl Iterator<Item = &'u Unit>) -> Vec<Unit> {
    let mut artifacts: BTreeMap<&UnitName, (UnitRole, BTreeSet<&String>)> = BTreeMap::new();
    for unit in units {
        if let Some(from) = &unit.from {
            let (_, of_build) = artifacts.entry(from).or_insert((unit.role, BTreeSet::new()));
            of_build.extend(&unit.artifacts);
        }
    }
    let builds = scope.builds.iter().filter_map(|known| known.making.as_ref().ok());
    builds
        .filter_map(|(name, making)| {
            let (role, artifacts) = artifacts.get(name)?;
            Some(Unit {
                name: name.clone(),
                role: *role,
                from: Some(name.clone()),
                contract: None,
                artifacts: artifacts.iter().map(|artifact| (*artifact).clone()).collect(),
                places: BTreeMap::new(),
                installs: BTreeMap::new(),
                files: vec![],
                language: making.language,
                source: making.source.clone(),
                inputs: making.inputs.clone(),
                package: None,
                build: making.build.clone(),
                command: making.command.clone(),
                fetch: making.fetch.clone(),
                env: making.env.clone(),
            })
        })
        .collect()
}
