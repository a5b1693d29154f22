//! `environments:` and the recipes in them.

use std::collections::BTreeMap;

use crate::image::packages::is_requested_package;
use crate::name::EnvironmentName;
use crate::nearest::nearest;
use crate::yaml::{Decoded, Value};

use super::named::name;
use super::project::{Environment, RecipeReference};
use super::reserved;
use super::scope::{Expected, Scope};

/// The keys of an environment.
const KEYS: &[&str] = &["build", "runtime"];
/// The keys of a recipe that is no path.
const RECIPE_KEYS: &[&str] = &[
    "builtin",
    "image",
    "dockerfile",
    "target",
    "remove",
    "extends",
    "packages",
];
/// Those of them that exclude each other.
const RECIPE_KINDS: &[&str] = &["builtin", "image", "dockerfile", "extends"];
/// The longest reference (distribution specification: a name of at most 255 characters, and a tag or digest).
const REFERENCE_LIMIT_CHARACTERS: usize = 512;

pub(super) fn environments(value: Value<'_>, scope: &Scope<'_, '_>) -> Decoded<BTreeMap<EnvironmentName, Environment>> {
    let names = value.keys();
    let environments = value.entries(|key, value| {
        let name = name(key, EnvironmentName::new).and_then(|name| {
            let taken = reserved::environment(name.as_str(), &names);
            taken.map_or(Ok(name), |taken| Err(key.report(taken.message, taken.label)))
        });
        let environment = environment(value, scope);
        Ok((name?, environment?))
    })?;
    if environments.is_empty() {
        return Err(value.report(
            "a project needs an environment",
            "add one: `glibc: {build: …, runtime: …}`",
        ));
    }
    Ok(environments.into_iter().collect())
}

fn environment(value: Value<'_>, scope: &Scope<'_, '_>) -> Decoded<Environment> {
    value.fields("an environment", KEYS, |fields| {
        let build = fields.required("build", "the recipe of the image that compiles", |value| {
            recipe(value, scope)
        });
        let runtime = fields.required("runtime", "the recipe of the image that runs", |value| {
            recipe(value, scope)
        });
        let runtime = match (runtime?, fields.get("runtime")) {
            (Written::Recipe(recipe), _) => recipe,
            (Written::Extension(_), place) => {
                let place = place.unwrap_or(fields.value());
                return Err(place.report(
                    "a runtime image extends nothing",
                    "name its recipe; a recipe's file may have a `base:`",
                ));
            }
        };
        let build = match build? {
            Written::Recipe(recipe) => recipe,
            Written::Extension(packages) => {
                let is_recipe = matches!(runtime, RecipeReference::File { .. } | RecipeReference::Builtin { .. });
                if !is_recipe {
                    let place = fields.get("build").unwrap_or(fields.value());
                    return Err(place.report(
                        "only a runtime image that is made from a recipe can be extended",
                        "name the image that compiles by itself",
                    ));
                }
                RecipeReference::Extended {
                    runtime: Box::new(runtime.clone()),
                    packages,
                }
            }
        };
        Ok(Environment { build, runtime })
    })
}

/// What stands where a recipe is expected.
enum Written {
    Recipe(RecipeReference),
    /// The runtime's, with these packages.
    Extension(Vec<String>),
}

fn recipe(value: Value<'_>, scope: &Scope<'_, '_>) -> Decoded<Written> {
    if !value.is_mapping() {
        return recipe_file(value, scope).map(Written::Recipe);
    }
    value.fields("a recipe", RECIPE_KEYS, |fields| {
        let kind = fields.exactly_one(RECIPE_KINDS);
        let target = fields.optional("target", |value| match kind {
            Ok(("dockerfile", _)) | Err(_) => stage(value),
            Ok((other, _)) => Err(value.report(
                format!("`target` does not go with `{other}`"),
                "it names a stage of a `dockerfile`",
            )),
        });
        let remove = fields.optional("remove", |value| match kind {
            Ok(("dockerfile", _)) | Err(_) => value.list(pattern),
            Ok((other, _)) => Err(value.report(
                format!("`remove` does not go with `{other}`"),
                "it names what an image that is built from a `dockerfile` does not keep",
            )),
        });
        let packages = fields.optional("packages", |value| match kind {
            Ok(("extends", _)) | Err(_) => value.list(package),
            Ok((other, _)) => Err(value.report(
                format!("`packages` does not go with `{other}`"),
                "write a recipe's file with `base:` and `packages:`, and name that",
            )),
        });
        let (kind, value) = kind?;
        let recipe = match kind {
            "extends" => {
                let extended = value.one_of("image", &[("runtime", ())]);
                target?;
                remove?;
                return match (extended?, packages?) {
                    ((), Some(packages)) if !packages.is_empty() => Ok(Written::Extension(packages)),
                    _ => Err(value.report(
                        "an extended image needs packages",
                        "add `packages: [gcc, libc6-dev, …]`, what the build needs on top",
                    )),
                };
            }
            "builtin" => builtin(value, scope.surroundings.builtin),
            "image" => reference(value).map(|reference| RecipeReference::Image { reference }),
            _ => {
                let path = scope.path(value, Expected::File);
                let (path, target, remove) = (path?, target?, remove?.unwrap_or_default());
                packages?;
                return Ok(Written::Recipe(RecipeReference::Dockerfile { path, target, remove }));
            }
        };
        target?;
        remove?;
        packages?;
        recipe.map(Written::Recipe)
    })
}

/// What an image does not keep, as in a recipe's file.
fn pattern(value: Value<'_>) -> Decoded<String> {
    let text = value.filled_text()?;
    match globset::Glob::new(text) {
        Ok(_) => Ok(text.trim_start_matches('/').to_owned()),
        Err(error) => {
            let message = format!("`{}` is no pattern: {}", text.escape_debug(), error.kind());
            Err(value.report(message, "write it as a shell would: `var/cache/tool/*`"))
        }
    }
}

fn package(value: Value<'_>) -> Decoded<String> {
    let text = value.filled_text()?;
    if is_requested_package(text) {
        return Ok(text.to_owned());
    }
    let message = format!("`{}` is no package's name", text.escape_debug());
    Err(value.report(message, "write `name` or `name=version`"))
}

/// A path; others write what they mean as a mapping, which those who forgot it are told.
fn recipe_file(value: Value<'_>, scope: &Scope<'_, '_>) -> Decoded<RecipeReference> {
    let path = value.relative_path("the project")?;
    let file_name = path.rsplit('/').next().unwrap_or_default();
    if file_name.starts_with("Dockerfile") || file_name.ends_with(".Dockerfile") {
        let label = format!("write `{{dockerfile: {path}}}`");
        return Err(value.report("a Dockerfile is no bootstrap recipe", label));
    }
    let hint = if scope.surroundings.builtin.contains(&path.as_str()) {
        format!("for the one that comes with lockstep, write `{{builtin: {path}}}`")
    } else if path.contains(':') {
        format!("for a registry's image, write `{{image: \"{path}\"}}`")
    } else {
        "expected a recipe's file, or `{builtin: …}`, `{image: …}`, `{dockerfile: …}`".to_owned()
    };
    scope
        .existing(value, path, Expected::File, &hint)
        .map(|path| RecipeReference::File { path })
}

fn builtin(value: Value<'_>, known: &[&str]) -> Decoded<RecipeReference> {
    let name = value.filled_text()?;
    if known.contains(&name) {
        return Ok(RecipeReference::Builtin { name: name.to_owned() });
    }
    let label = match nearest(name, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are `{}`", known.join("`, `")),
    };
    Err(value.report(format!("no recipe `{name}` comes with lockstep"), label))
}

/// A registry's reference, as far as it can be judged without one: `[host[:port]/]path[:tag][@digest]`.
pub(super) fn reference(value: Value<'_>) -> Decoded<String> {
    let reference = value.filled_text()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let starts_well = reference.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !starts_well || !reference.bytes().all(is_plain) || reference.len() > REFERENCE_LIMIT_CHARACTERS {
        let label = "write it as for `docker pull`: `alpine:3.22`, `registry.example/team/image@sha256:…`";
        return Err(value.report(format!("`{reference}` is no reference of an image"), label));
    }
    let without_digest = reference.split('@').next().unwrap_or_default();
    let path_start = without_digest.find('/').map_or(0, |slash| slash + 1);
    let path = without_digest[path_start..].split(':').next().unwrap_or_default();
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let label = format!("a repository is written in lower case: `{}`", path.to_ascii_lowercase());
        return Err(value.report(format!("`{reference}` is no reference of an image"), label));
    }
    Ok(reference.to_owned())
}

fn stage(value: Value<'_>) -> Decoded<String> {
    let text = value.word()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(is_plain) {
        let label = "write the name after `AS` in the Dockerfile";
        return Err(value.report(format!("`{text}` is no stage of a Dockerfile"), label));
    }
    Ok(text.to_owned())
}
