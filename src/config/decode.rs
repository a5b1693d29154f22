//! The file as a whole.

use std::collections::BTreeMap;

use crate::name::{EnvironmentName, ProjectName};
use crate::nearest::nearest;
use crate::yaml::{Decoded, Fields, Reported, Value};

use super::named::{name, report_name};
use super::project::{Contracts, Environment, ImageStart, Limits, Project, Unit};
use super::scope::{Scope, Surroundings, claim};
use super::{archives, artifact, builds, contracts, environment, host, image, limits, registry, reserved, smoke, unit};

/// The keys of the file.
const KEYS: &[&str] = &[
    "version",
    "project",
    "environments",
    "default",
    "builds",
    "host",
    "plugins",
    "contract",
    "contracts",
    "smoke",
    "image",
    "source_date_epoch",
    "limits",
    "archives",
    "registry",
];
/// The only version there is.
const VERSION: i64 = 1;
/// When nothing else is said: 2025-01-01T00:00:00Z.
const SOURCE_DATE_EPOCH_SECONDS: u64 = 1_735_689_600;
/// The most that a tar's header holds (eleven octal digits).
const SOURCE_DATE_EPOCH_LIMIT_SECONDS: u64 = 0o77_777_777_777;

pub(super) fn project(value: Value<'_>, surroundings: &Surroundings<'_>) -> Decoded<Project> {
    let mut scope = Scope::new(surroundings);
    value.fields("a project", KEYS, |fields| {
        let version = fields.required("version", "1", version);
        let name = fields.optional("project", |value| {
            let name = self::name(value, ProjectName::new)?;
            match reserved::project(name.as_str()) {
                Some(taken) => Err(value.report(taken.message, taken.label)),
                None => Ok(name),
            }
        });
        let environments = fields.required("environments", "at least one environment", |value| {
            environment::environments(value, &scope)
        });
        let default = default(&fields, environments.as_ref().ok());
        // Before the units, which may take from them.
        let builds = fields.optional("builds", |value| builds::builds(value, &mut scope));
        let host = fields.required("host", "the program that loads plugins: `{language: …, source: …, artifacts: […]}`, one of the runtime image, `{from: runtime, path: …}`, or a file, `{file: …}`", |value| {
            host::host(value, &mut scope)
        });
        let plugins = fields.required("plugins", "a list of plugins", |value| unit::plugins(value, &mut scope));
        // What a unit with problems was meant to take is not known.
        let taken = match (&host, &plugins) {
            (Ok(_), Ok(_)) => builds::all_are_taken(&scope),
            _ => Ok(()),
        };
        let contracts = contracts::contracts(&fields, &scope);
        let places = match &contracts {
            Ok(contracts) => artifact::claim_places(&scope.placed, contracts),
            Err(reported) => Err(*reported),
        };
        let install = fields.get("host").and_then(|host| host.child("install"));
        // One that is no text is reported with the host.
        let install = install.map(|value| value.scalar_text().unwrap_or_default());
        let smoke = fields.optional("smoke", |value| {
            smoke::smoke(value, scope.host_files.as_deref(), install)
        });
        let image = fields.or("image", ImageStart::default(), image::image);
        let source_date_epoch = fields.or("source_date_epoch", SOURCE_DATE_EPOCH_SECONDS, |value| {
            value.integer(0..=SOURCE_DATE_EPOCH_LIMIT_SECONDS)
        });
        let limits = fields.or("limits", Limits::default(), limits::limits);
        let archives = fields.or("archives", vec![], |value| archives::archives(value, surroundings));
        let registry = fields.optional("registry", registry::registry);

        version?;
        builds?;
        taken?;
        places?;
        let contracts = contracts?;
        let host = host?;
        let name = match name? {
            Some(name) => name,
            // A unit's name is as strict as a project's.
            None => {
                let host = host.name().as_str();
                if let Some(taken) = reserved::project(host) {
                    let message = format!("{}, and a project without a name has its host's", taken.message);
                    return Err(fields.value().report_absent(message, "add `project:`"));
                }
                ProjectName::new(host)
                    .map_err(|error| fields.value().report_absent(error.to_string(), "add `project:`"))?
            }
        };
        let plugins = settled(plugins?, &contracts);
        Ok(Project {
            name,
            directory: surroundings.directory.to_owned(),
            file: surroundings.file.to_owned(),
            environments: environments?,
            default: default?,
            builds: builds::joined(&scope, host.unit().into_iter().chain(&plugins)),
            host,
            plugins,
            contracts,
            smoke: smoke?,
            image: image?,
            source_date_epoch: source_date_epoch?,
            limits: limits?,
            archives: archives?,
            registry: registry?,
        })
    })
}

/// Plugins, each with what it ships where its contract wants it.
fn settled(mut plugins: Vec<Unit>, contracts: &Contracts) -> Vec<Unit> {
    for plugin in &mut plugins {
        if let Some(into) = &contracts.of(plugin).into {
            artifact::put_into(plugin, into);
        }
    }
    plugins
}

fn version(value: Value<'_>) -> Decoded<()> {
    match value.as_integer() {
        Some(VERSION) => Ok(()),
        Some(other) => {
            let label = "this lockstep reads version 1; a newer lockstep may read it";
            Err(value.report(format!("unknown version {other} of the configuration"), label))
        }
        None => value.integer(VERSION..=VERSION).map(|_| ()),
    }
}

fn default(
    fields: &Fields<'_, '_>,
    environments: Option<&BTreeMap<EnvironmentName, Environment>>,
) -> Decoded<Vec<EnvironmentName>> {
    // Names are looked up in the file, so that a problem inside of an environment does not hide one in here.
    let known: Vec<&str> = fields.get("environments").map(|value| value.keys()).unwrap_or_default();
    let is_known_fully = fields.value().is_complete() && !known.is_empty();
    let given = fields.optional("default", |value| {
        let mut taken = BTreeMap::new();
        let names = value.list(|item| {
            let text = item.text()?;
            claim(&mut taken, "environment", text, item)?;
            if is_known_fully && !known.contains(&text) {
                let label = match nearest(text, known.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("there are `{}`", known.join("`, `")),
                };
                return Err(item.report(format!("the environment `{text}` does not exist"), label));
            }
            // One that exists and is no name has been reported where it is defined.
            EnvironmentName::new(text).map_err(|_| match is_known_fully {
                true => Reported,
                false => report_name(item, text),
            })
        })?;
        if names.is_empty() {
            return Err(value.report(
                "`default` names no environment",
                "name one, or remove the key to mean all",
            ));
        }
        Ok(names)
    })?;
    Ok(given.unwrap_or_else(|| {
        environments
            .map(|all| all.keys().cloned().collect())
            .unwrap_or_default()
    }))
}
