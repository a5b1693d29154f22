//! From the text of a lock to what it says, or to everything that is wrong with it, each with its place.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::content::{Environment, Host, Image, LOCK_SIZE_LIMIT_BYTES, Lock, SCHEMA_VERSION, Unit};
use super::package::Package;
use super::pushed::Role;
use crate::digest::Digest;
use crate::name::{EnvironmentName, UnitName};
use crate::problem::Problem;
use crate::yaml::{self, Decoded, Limits, Value};

/// The code of what is wrong with a lock.
const PROBLEM_CODE: &str = "lock";
/// What a lock may take: lists of packages are longer than what people write.
pub const LOCK_LIMITS: Limits = Limits {
    text_bytes: LOCK_SIZE_LIMIT_BYTES,
    items_count: 65_536,
    expanded_bytes: 64 << 20,
};

/// The lock in `bytes`, which is called `shown` in problems; it is there exactly when there are no problems.
pub(super) fn decode(shown: &str, bytes: &[u8]) -> (Option<Lock>, Vec<Problem>) {
    yaml::read_within(LOCK_LIMITS, PROBLEM_CODE, shown, bytes, "a lock", lock)
}

fn lock(root: Value<'_>) -> Decoded<Lock> {
    // What a newer program writes may look wrong in many ways, of which only one is to be told.
    if let Some(value) = root.child("schema_version")
        && let Some(version) = value.as_integer()
        && version != i64::from(SCHEMA_VERSION)
    {
        let message = format!("the lock has schema version {version}, this lockstep reads version {SCHEMA_VERSION}");
        return Err(value.report(message, "use the lockstep that wrote it, or a newer one"));
    }
    root.fields("a lock", &["schema_version", "environments"], |fields| {
        let version = fields.required("schema_version", "`1`", |value| {
            value.integer(SCHEMA_VERSION..=SCHEMA_VERSION)
        });
        let environments = fields.required("environments", "what each environment is made of", |value| {
            named(value, EnvironmentName::new, environment)
        });
        Ok(Lock {
            schema_version: version?,
            environments: environments?,
        })
    })
}

fn environment(value: Value<'_>) -> Decoded<Environment> {
    value.fields(
        "an environment",
        &["build", "runtime", "toolchains", "host", "pushed", "units"],
        |fields| {
            let build = fields.required("build", "the build image", image);
            let runtime = fields.required("runtime", "the runtime image", image);
            let toolchains = fields.required("toolchains", "their versions by name", |value| {
                named(
                    value,
                    |name| Ok::<_, String>(name.to_owned()),
                    |version| Ok(version.word()?.to_owned()),
                )
            });
            let host = fields.optional("host", host);
            let pushed = fields.or("pushed", BTreeMap::new(), |value| {
                named(value, str::parse::<Role>, parsed::<Digest>)
            });
            let units = fields.required("units", "what was compiled", |value| named(value, UnitName::new, unit));
            Ok(Environment {
                build: build?,
                runtime: runtime?,
                toolchains: toolchains?,
                host: host?,
                pushed: pushed?,
                units: units?,
            })
        },
    )
}

fn image(value: Value<'_>) -> Decoded<Image> {
    value.fields(
        "an image",
        &["recipe", "id", "layers", "registry", "packages"],
        |fields| {
            let recipe = fields.required("recipe", "a digest", parsed::<Digest>);
            let id = fields.required("id", "the image's ID", Value::filled_text);
            let layers = fields.required("layers", "their digests", |value| value.list(parsed::<Digest>));
            let registry = fields.optional("registry", Value::filled_text);
            let packages = fields.required("packages", "what is installed", packages);
            Ok(Image {
                recipe: recipe?,
                id: id?.to_owned(),
                layers: layers?,
                registry: registry?.map(str::to_owned),
                packages: packages?,
            })
        },
    )
}

/// A list of packages, each there once: an image can be made of two versions of one, but not of one version twice.
fn packages(value: Value<'_>) -> Decoded<Vec<Package>> {
    let mut known = BTreeMap::new();
    value.list(|item| {
        let package = parsed::<Package>(item)?;
        let key = (
            package.name.clone(),
            package.version.clone(),
            package.architecture.clone(),
        );
        match known.insert(key, item.line()) {
            None => Ok(package),
            Some(first) => {
                let message = format!("the package `{}` is given twice", package.name);
                Err(item.report(message, format!("it is given on line {first} already")))
            }
        }
    })
}

fn host(value: Value<'_>) -> Decoded<Host> {
    value.fields("a host", &["path", "digest", "package", "image"], |fields| {
        let path = fields.required("path", "where it is", Value::filled_text);
        let digest = fields.required("digest", "a digest", parsed::<Digest>);
        let package = fields.optional("package", Value::filled_text);
        let image = fields.optional("image", image);
        Ok(Host {
            path: path?.to_owned(),
            digest: digest?,
            package: package?.map(str::to_owned),
            image: image?,
        })
    })
}

fn unit(value: Value<'_>) -> Decoded<Unit> {
    const KEYS: &[&str] = &["source", "fetch", "dependencies", "action", "artifacts", "files"];
    value.fields("a unit", KEYS, |fields| {
        let source = fields.required("source", "a digest", parsed::<Digest>);
        let fetch = fields.optional("fetch", parsed::<Digest>);
        let dependencies = fields.optional("dependencies", parsed::<Digest>);
        let action = fields.required("action", "a digest", parsed::<Digest>);
        let artifacts = fields.required("artifacts", "their digests by name", |value| {
            named(value, |name| Ok::<_, String>(name.to_owned()), parsed::<Digest>)
        });
        let files = fields.or("files", BTreeMap::new(), |value| {
            named(value, |place| Ok::<_, String>(place.to_owned()), parsed::<Digest>)
        });
        Ok(Unit {
            source: source?,
            fetch: fetch?,
            dependencies: dependencies?,
            action: action?,
            artifacts: artifacts?,
            files: files?,
        })
    })
}

/// A mapping whose keys are names of some kind; that none is there twice was seen when the text was read. When the last
/// line of one was removed, it is empty.
fn named<'a, K: Ord, V, E: Display>(
    value: Value<'a>,
    name: impl Fn(&'a str) -> Result<K, E>,
    decode: impl Fn(Value<'a>) -> Decoded<V>,
) -> Decoded<BTreeMap<K, V>> {
    if value.is_nothing() {
        return Ok(BTreeMap::new());
    }
    let entries = value.entries(|key, value| {
        let decoded = decode(value);
        let key = name(key.word()?).map_err(|error| key.report("this is not a name", error.to_string()))?;
        Ok((key, decoded?))
    })?;
    Ok(entries.into_iter().collect())
}

fn parsed<T: FromStr<Err: Display>>(value: Value<'_>) -> Decoded<T> {
    let text = value.filled_text()?;
    text.parse()
        .map_err(|error: T::Err| value.report(error.to_string(), "it is not as lockstep writes it"))
}
