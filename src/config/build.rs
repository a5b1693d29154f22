//! `build:` of a unit: which build system makes its artifacts, and what that is told.

use serde::Serialize;

use crate::yaml::{Decoded, Fields, Value};

use super::language_name::LanguageName;
use super::unit_role::UnitRole;

/// A build system that lockstep calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildSystem {
    /// A makefile.
    Make,
    /// CMake.
    Cmake,
    /// Meson.
    Meson,
    /// `configure`, and what makes it.
    Autotools,
    /// Cargo, for packages of a workspace.
    Cargo,
    /// `go build`, in any mode.
    Go,
    /// A module for nginx, which is compiled by nginx's own sources.
    NginxModule,
    /// An extension for PostgreSQL.
    Pgxs,
    /// An extension for PHP.
    Phpize,
    /// A module for Apache httpd.
    Apxs,
    /// An extension for CPython, by setuptools.
    Setuptools,
    /// An extension for CPython in Rust, by maturin.
    Maturin,
}

/// `build:` of a unit. What its system does not know is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// `system:`.
    pub system: BuildSystem,
    /// `options:`: words for its command that configures, or the only one.
    pub options: Vec<String>,
    /// `targets:`: what to make; all that it makes by itself when empty.
    pub targets: Vec<String>,
    /// `install:`: whether artifacts are taken from what it installs.
    pub install: bool,
    /// `package:`: one of a workspace (Cargo), or of a module (Go).
    pub package: Option<String>,
    /// `features:` of a Cargo package.
    pub features: Vec<String>,
    /// `default_features:` of a Cargo package.
    pub default_features: bool,
    /// `tags:` of Go.
    pub tags: Vec<String>,
    /// `buildmode:` of Go; `plugin` for a plugin and `exe` for a host, when nothing is said.
    pub buildmode: Option<String>,
    /// `sources:`: the files to compile, where no file of the project says it.
    pub sources: Vec<String>,
}

/// What the file may say of a system.
struct Known {
    name: &'static str,
    system: BuildSystem,
    /// The only language that it compiles, or that those who use it mean; `language:` may then be left out.
    language: Option<LanguageName>,
    keys: &'static [&'static str],
}

const fn known(
    name: &'static str,
    system: BuildSystem,
    language: Option<LanguageName>,
    keys: &'static [&'static str],
) -> Known {
    Known {
        name,
        system,
        language,
        keys,
    }
}

/// The systems by the names that they have in the file.
#[rustfmt::skip]
const SYSTEMS: &[Known] = &[
    known("make",         BuildSystem::Make,        None,                     &["system", "options", "targets", "install"]),
    known("cmake",        BuildSystem::Cmake,       None,                     &["system", "options", "targets", "install"]),
    known("meson",        BuildSystem::Meson,       None,                     &["system", "options", "targets"]),
    known("autotools",    BuildSystem::Autotools,   None,                     &["system", "options", "targets", "install"]),
    known("cargo",        BuildSystem::Cargo,       Some(LanguageName::Rust), &["system", "options", "package", "features", "default_features"]),
    known("go",           BuildSystem::Go,          Some(LanguageName::Go),   &["system", "options", "package", "tags", "buildmode"]),
    known("nginx-module", BuildSystem::NginxModule, Some(LanguageName::C),    &["system", "options"]),
    known("pgxs",         BuildSystem::Pgxs,        Some(LanguageName::C),    &["system", "options", "targets"]),
    known("phpize",       BuildSystem::Phpize,      Some(LanguageName::C),    &["system", "options"]),
    known("apxs",         BuildSystem::Apxs,        Some(LanguageName::C),    &["system", "options", "sources"]),
    known("setuptools",   BuildSystem::Setuptools,  None,                     &["system", "options"]),
    known("maturin",      BuildSystem::Maturin,     Some(LanguageName::Rust), &["system", "options", "features"]),
];
/// The keys of all systems.
const KEYS: &[&str] = &[
    "system",
    "options",
    "targets",
    "install",
    "package",
    "features",
    "default_features",
    "tags",
    "buildmode",
    "sources",
];
/// Go's ways to link that yield something to load, or to run.
const BUILD_MODES: &[(&str, &str)] = &[
    ("plugin", "plugin"),
    ("c-shared", "c-shared"),
    ("exe", "exe"),
    ("pie", "pie"),
];

impl BuildSystem {
    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.known().map_or("", |known| known.name)
    }

    /// The language of what it compiles, when there is but one.
    #[must_use]
    pub fn language(self) -> Option<LanguageName> {
        self.known().and_then(|known| known.language)
    }

    /// Whether its command is told the one file that it makes.
    #[must_use]
    pub fn makes_one_file(self) -> bool {
        matches!(self, Self::Go | Self::Apxs)
    }

    fn known(self) -> Option<&'static Known> {
        SYSTEMS.iter().find(|known| known.system == self)
    }
}

impl Build {
    /// A system that is told nothing.
    #[must_use]
    pub fn of(system: BuildSystem) -> Self {
        Self {
            system,
            options: vec![],
            targets: vec![],
            install: false,
            package: None,
            features: vec![],
            default_features: true,
            tags: vec![],
            buildmode: None,
            sources: vec![],
        }
    }

    /// Whether `install:` is a key of its system.
    #[must_use]
    pub fn knows_install(&self) -> bool {
        self.system.known().is_some_and(|known| known.keys.contains(&"install"))
    }

    /// Whether it yields what only `plugin.Open` of a Go program takes.
    #[must_use]
    pub fn is_go_plugin(&self, role: UnitRole) -> bool {
        let is_mode = match self.buildmode.as_deref() {
            None => role == UnitRole::Plugin,
            Some(mode) => mode == "plugin",
        };
        self.system == BuildSystem::Go && is_mode
    }
}

/// `build:` beside the other keys of its unit.
pub(super) fn of_unit(value: Value<'_>, unit: &Fields<'_, '_>) -> Decoded<Build> {
    let build = build(value);
    not_beside_command(unit)?;
    if let Some(other) = unit.get("package") {
        let label = "write it into the build: `build: {system: …, package: …}`";
        return Err(other.report("a unit with `build` has no `package` of its own", label));
    }
    build
}

/// The same of a build that several units take from, whose command must make more than one file.
pub(super) fn of_build(value: Value<'_>, fields: &Fields<'_, '_>) -> Decoded<Build> {
    let build = build(value);
    not_beside_command(fields)?;
    let build = build?;
    if build.system.makes_one_file() {
        let message = format!(
            "`build: {}` makes one file, and a build is for several units",
            build.system.name()
        );
        return Err(value.report(message, "write it into the unit, without `from:`, or use a `command:`"));
    }
    Ok(build)
}

fn not_beside_command(fields: &Fields<'_, '_>) -> Decoded<()> {
    match fields.get("command") {
        Some(other) => {
            let label = "remove one of the two; `options:` of the build are for its command";
            Err(other.report("`build` and `command` exclude each other", label))
        }
        None => Ok(()),
    }
}

/// Reports a language, at `place`, that the system does not compile. The hosts' own systems do not mind C++.
pub(super) fn check_language(place: Value<'_>, language: LanguageName, build: &Build) -> Decoded<()> {
    let only = build.system.language().filter(|only| *only != LanguageName::C);
    match only {
        Some(only) if only != language => {
            let message = format!("`build: {}` compiles another language", build.system.name());
            Err(place.report(message, "remove `language:`; the build says it"))
        }
        _ => Ok(()),
    }
}

/// `build: cmake`, or `build: {system: cmake, …}` with what the system knows.
pub(super) fn build(value: Value<'_>) -> Decoded<Build> {
    if !value.is_mapping() {
        return Ok(Build::of(system(value)?.system));
    }
    // Which keys there are depends on the system.
    let known = match value.child("system") {
        Some(named) => system(named)?,
        None => value.fields("a build", KEYS, |fields| {
            fields.required("system", "the build system: `make`, `cmake`, …", system)
        })?,
    };
    value.fields(&format!("a build by {}", known.name), known.keys, |fields| {
        let words = |key| list(&fields, known, key, word);
        let names = |key| list(&fields, known, key, name);
        let (options, targets, sources) = (
            words("options"),
            words("targets"),
            list(&fields, known, "sources", source),
        );
        let (features, tags) = (names("features"), names("tags"));
        let install = flag(&fields, known, "install", false);
        let default_features = flag(&fields, known, "default_features", true);
        let package = get(&fields, known, "package").map(package).transpose();
        let buildmode = get(&fields, known, "buildmode");
        let buildmode = buildmode
            .map(|value| value.one_of("build mode", BUILD_MODES))
            .transpose();
        Ok(Build {
            system: known.system,
            options: options?,
            targets: targets?,
            install: install?,
            package: package?,
            features: features?,
            default_features: default_features?,
            tags: tags?,
            buildmode: buildmode?.map(str::to_owned),
            sources: sources?,
        })
    })
}

fn system(value: Value<'_>) -> Decoded<&'static Known> {
    let names: Vec<(&'static str, &'static Known)> = SYSTEMS.iter().map(|known| (known.name, known)).collect();
    value.one_of("build system", &names)
}

fn get<'v>(fields: &Fields<'v, '_>, known: &Known, key: &'static str) -> Option<Value<'v>> {
    known.keys.contains(&key).then(|| fields.get(key)).flatten()
}

fn list(
    fields: &Fields<'_, '_>,
    known: &Known,
    key: &'static str,
    decode: fn(Value<'_>) -> Decoded<String>,
) -> Decoded<Vec<String>> {
    get(fields, known, key).map_or(Ok(vec![]), |value| value.list(decode))
}

fn flag(fields: &Fields<'_, '_>, known: &Known, key: &'static str, default: bool) -> Decoded<bool> {
    get(fields, known, key).map_or(Ok(default), Value::boolean)
}

/// A word of a command line.
fn word(value: Value<'_>) -> Decoded<String> {
    value.filled_text().map(str::to_owned)
}

/// A file of the unit's, which no tool may take for an option.
fn source(value: Value<'_>) -> Decoded<String> {
    let text = value.filled_text()?;
    if text.starts_with('-') {
        return Err(value.report(
            format!("`{text}` is no file"),
            "write names of files, and options into `options:`",
        ));
    }
    Ok(text.to_owned())
}

/// What stands in a list behind an option, as features and tags do.
fn name(value: Value<'_>) -> Decoded<String> {
    let text = value.filled_text()?;
    if text.starts_with('-') || text.contains(|character: char| character.is_whitespace() || character == ',') {
        return Err(value.report(format!("`{text}` is no name"), "write one name an item: `[one, two]`"));
    }
    Ok(text.to_owned())
}

fn package(value: Value<'_>) -> Decoded<String> {
    let text = name(value)?;
    if text.starts_with('/') || text.split('/').any(|part| part == "..") || text.contains("...") {
        let label = "write one package of the workspace, or of the module in `source`";
        return Err(value.report(format!("`{text}` is no package of `source`"), label));
    }
    Ok(text)
}
