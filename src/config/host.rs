//! `host:`: the program that loads plugins, compiled with them, there already, or brought.

use std::sync::LazyLock;

use crate::name::UnitName;
use crate::yaml::{Decoded, Fields, Value};

use super::image_path::{directory, path};
use super::named::name;
use super::placed::Placed;
use super::project::{BroughtProgram, BroughtSource, Host, Program, RuntimeProgram};
use super::reserved::RUNTIME;
use super::scope::{Expected, Scope, claim};
use super::unit_role::UnitRole;
use super::{environment, reserved, unit};

/// The keys of a host that is not compiled.
const PRESENT_KEYS: &[&str] = &["name", "from", "image", "path", "file", "install"];
/// Those of them that say where it comes from.
const ORIGIN_KEYS: &[&str] = &["from", "image", "file"];
/// The keys of a host that is compiled.
static COMPILED_KEYS: LazyLock<Vec<&str>> = LazyLock::new(|| unit::KEYS.iter().copied().chain(["install"]).collect());
/// The keys that tell one of these.
const TELLING_KEYS: [&str; 4] = ["from", "image", "path", "file"];
pub(super) fn host<'v>(value: Value<'v>, scope: &mut Scope<'v, '_>) -> Decoded<Host> {
    if is_present(value, scope) {
        return value.fields("a host that is not compiled", PRESENT_KEYS, |fields| {
            let is_brought = |key: &&str| matches!(*key, "file" | "image");
            let program = if value.keys().iter().any(is_brought) {
                brought(&fields, scope).map(Program::Brought)
            } else {
                present(&fields, scope).map(Program::Runtime)
            };
            let install = fields.optional("install", directory);
            Ok(Host {
                program: program?,
                install: install?,
            })
        });
    }
    value.fields("the host", &COMPILED_KEYS, |fields| {
        let program = unit::unit(&fields, UnitRole::Host, scope);
        let install = fields.optional("install", directory);
        Ok(Host {
            program: Program::Compiled(Box::new(program?)),
            install: install?,
        })
    })
}

/// Whether a host is one that is not compiled: it says where it is. `from:` may name a build as well.
fn is_present(value: Value<'_>, scope: &Scope<'_, '_>) -> bool {
    let keys = value.keys();
    let from = value.child("from").and_then(|from| from.scalar_text());
    let is_of_build = from.is_some_and(|name| {
        let looks_compiled = keys.contains(&"artifacts") && !keys.contains(&"path");
        scope.has_build(name) || looks_compiled && name != RUNTIME
    });
    TELLING_KEYS.iter().any(|key| keys.contains(key)) && !keys.contains(&"language") && !is_of_build
}

fn present(fields: &Fields<'_, '_>, scope: &mut Scope<'_, '_>) -> Decoded<RuntimeProgram> {
    let from = fields.required("from", "`runtime`: it is in the runtime image", |value| {
        value.one_of("place", &[(RUNTIME, ())])
    });
    let path = path_in_image(fields);
    let file = path
        .as_ref()
        .ok()
        .and_then(|path| path.rsplit('/').next())
        .map(str::to_owned);
    scope.host_files = file.clone().map(|file| vec![file]);
    let name = named(fields, file.as_deref(), scope);
    from?;
    Ok(RuntimeProgram {
        name: name?,
        path: path?,
    })
}

/// Where in its image a program is.
fn path_in_image(fields: &Fields<'_, '_>) -> Decoded<String> {
    fields.required("path", "where it is: `/usr/sbin/nginx`", |value| {
        path(value, "/usr/sbin/nginx")
    })
}

/// A host of which the project or an image has the file.
fn brought<'v>(fields: &Fields<'v, '_>, scope: &mut Scope<'v, '_>) -> Decoded<BroughtProgram> {
    let (key, value) = fields.exactly_one(ORIGIN_KEYS)?;
    let source = match key {
        "image" => {
            let (reference, path) = (environment::reference(value), path_in_image(fields));
            reference.and_then(|reference| Ok(BroughtSource::Image { reference, path: path? }))
        }
        _ => {
            let path = fields.get("path").map(|value| {
                let label = "name the file alone: `{file: vendor/server}`";
                value.report("`path` says nothing beside `file`", label)
            });
            let file = scope.path(value, Expected::File).map(BroughtSource::File);
            path.map_or(file, Err)
        }
    };
    let path = match &source {
        Ok(BroughtSource::File(path) | BroughtSource::Image { path, .. }) => Some(path.as_str()),
        Err(_) => None,
    };
    let last = path.and_then(|path| path.rsplit('/').next());
    let name = named(fields, last, scope);
    if let (Ok(name), Some(last)) = (&name, last) {
        scope.host_files = Some(vec![name.to_string(), last.to_owned()]);
        let place = fields.get("name").unwrap_or(value);
        scope.placed.push(Placed::host(place, name.as_str())?);
    }
    Ok(BroughtProgram {
        name: name?,
        source: source?,
        place: value.place(),
    })
}

/// The name of a host whose file is called `file`: `name:`, else that.
fn named(fields: &Fields<'_, '_>, file: Option<&str>, scope: &mut Scope<'_, '_>) -> Decoded<UnitName> {
    match (fields.get("name"), file) {
        (Some(value), _) => name(value, UnitName::new).and_then(|name| claimed(name, value, scope)),
        (None, None) => Err(crate::yaml::Reported),
        // `python3.13` and `[` are no names.
        (None, Some(file)) => UnitName::new(file)
            .map_err(|_| {
                let message = format!("the host needs a `name:`, as `{file}` is not a name");
                fields.value().report_absent(message, "add `name:` in lower case")
            })
            .and_then(|name| claimed(name, fields.value(), scope)),
    }
}

fn claimed(name: UnitName, place: Value<'_>, scope: &mut Scope<'_, '_>) -> Decoded<UnitName> {
    claim(&mut scope.names, "unit", name.as_str(), place)?;
    match reserved::unit(name.as_str()) {
        Some(taken) => Err(place.report(taken.message, taken.label)),
        None => Ok(name),
    }
}
