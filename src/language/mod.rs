//! The languages: which commands fetch and compile a unit, with the flags that make its output reproducible and matched.
//!
//! A language is one file and one line in [`language`], a build system one below `build`. Everything here is pure: a unit in, scripts out.

mod build;
mod c_family;
mod cache;
mod flags;
mod go;
mod rust;
mod shell;
mod toolchain;

use std::collections::BTreeMap;

use crate::config::{LanguageName, Unit, UnitRole};

pub use cache::{Cache, CacheAccess};
pub use shell::quote;
pub use toolchain::{RequiredToolchain, required_toolchains};

/// The one directory in every container that lockstep writes to.
pub const ROOT: &str = "/lockstep";
/// Where the project's sources are, at their project-relative paths.
pub const SOURCE_ROOT: &str = "/lockstep/src";
/// Where fetched dependencies are.
pub const DEPENDENCIES_ROOT: &str = "/lockstep/deps";
/// Where a unit's artifacts are to be put; `$LOCKSTEP_OUT`.
pub const OUT_ROOT: &str = "/lockstep/out";
/// Where a language may keep what makes the next compile faster. Never needed for the result.
pub const CACHE_ROOT: &str = "/lockstep/cache";
/// What the host exports, where a unit's link needs it: a source for the assembler.
pub const EXPORTS_FILE: &str = "/lockstep/host/exports.s";
/// The home directory, `$HOME`.
pub const HOME_ROOT: &str = "/lockstep/home";
/// The name of the machine on which everything is compiled: an engine would make one up for each container.
pub const HOST_NAME: &str = "lockstep";
/// Where intermediate files go, and `$TMPDIR`.
pub const TARGET_ROOT: &str = "/lockstep/target";

/// What a language brings.
pub struct Language {
    /// Its key in `lockstep.yaml`.
    pub name: LanguageName,
    /// The files (by name, anywhere among a unit's sources) that decide what is fetched.
    pub dependency_files: &'static [&'static str],
    /// The script that fetches, given the contents of those files by path; none when there is nothing to fetch.
    pub fetch: fn(&Unit, &BTreeMap<String, String>) -> Option<String>,
    /// The script that compiles the unit and leaves its artifacts in [`OUT_ROOT`].
    pub compile: fn(&Unit) -> String,
    /// Variables of both scripts.
    pub variables: &'static [(&'static str, &'static str)],
    /// What else, below [`DEPENDENCIES_ROOT`], is worth keeping of what was fetched; relative paths.
    pub dependency_paths: &'static [&'static str],
    /// What the names of those files end in that lock files know by their contents; the others may be other ones each time.
    pub dependency_endings: &'static [&'static str],
    /// What it keeps in [`CACHE_ROOT`].
    pub cache: Option<Cache>,
    /// What tells which toolchain is there: a name for people, and a shell command that prints the version alone.
    pub toolchains: &'static [(&'static str, &'static str)],
}

/// The table of languages.
#[must_use]
pub fn language(name: LanguageName) -> &'static Language {
    match name {
        LanguageName::Rust => &rust::RUST,
        LanguageName::Go => &go::GO,
        LanguageName::C => &c_family::C,
        LanguageName::Cpp => &c_family::CPP,
    }
}

/// The script that fetches a unit's dependencies; none when there is nothing to fetch. `dependency_files` are those of
/// [`Language::dependency_files`] that the unit has: content by path.
#[must_use]
pub fn fetch_script(unit: &Unit, dependency_files: &BTreeMap<String, String>) -> Option<String> {
    match &unit.fetch {
        Some(script) => Some(script.clone()),
        None => (language(unit.language).fetch)(unit, dependency_files),
    }
}

/// The script that compiles a unit.
#[must_use]
pub fn compile_script(unit: &Unit) -> String {
    let language = language(unit.language);
    let command = match (&unit.command, &unit.build) {
        (Some(script), _) => script.clone(),
        (None, Some(build)) => build::script(unit, build),
        (None, None) => (language.compile)(unit),
    };
    match &language.cache {
        Some(cache) => cache.prepare(cache.access(unit)) + &command,
        None => command,
    }
}

/// Whether the link of a unit is told what its host exports: where lockstep links a plugin itself, by a linker that would
/// else take everything for what the host may have.
#[must_use]
pub fn needs_exports(unit: &Unit) -> bool {
    let is_c = matches!(unit.language, LanguageName::C | LanguageName::Cpp);
    is_c && unit.role == UnitRole::Plugin && unit.command.is_none() && unit.build.is_none()
}

/// What a unit's compile may do with what its language keeps.
#[must_use]
pub fn cache_access(unit: &Unit) -> CacheAccess {
    let cache = &language(unit.language).cache;
    cache.as_ref().map_or(CacheAccess::None, |cache| cache.access(unit))
}

/// The variables of a unit's scripts: the whole list of what may be set, so nothing of the machine's environment comes
/// in. The image's own variables stand below these.
#[must_use]
pub fn variables(unit: &Unit, source_date_epoch: u64) -> BTreeMap<String, String> {
    let fixed = [
        ("HOME", HOME_ROOT),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("LOCKSTEP_DEPS", DEPENDENCIES_ROOT),
        ("LOCKSTEP_OUT", OUT_ROOT),
        ("TMPDIR", TARGET_ROOT),
        ("TZ", "UTC"),
    ];
    let mut variables: BTreeMap<String, String> = fixed
        .iter()
        .chain(language(unit.language).variables)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    variables.insert("SOURCE_DATE_EPOCH".to_owned(), source_date_epoch.to_string());
    if let Some(cache) = &language(unit.language).cache {
        variables.insert(cache.variable.to_owned(), cache.path(cache.access(unit)));
    }
    variables.extend(flags::variables(unit));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UnitRole;
    use crate::name::UnitName;

    /// A unit as the tests of all languages need it.
    pub(super) fn unit(language: LanguageName, role: UnitRole, artifact: &str) -> Unit {
        Unit {
            name: UnitName::new("unit").unwrap(),
            role,
            from: None,
            language,
            source: "plugins/unit".to_owned(),
            inputs: vec![],
            package: None,
            contract: None,
            artifacts: vec![artifact.to_owned()],
            places: BTreeMap::new(),
            installs: BTreeMap::new(),
            files: vec![],
            build: None,
            command: None,
            fetch: None,
            env: BTreeMap::new(),
        }
    }

    #[test]
    fn a_unit_may_override_everything() {
        let mut unit = unit(LanguageName::Rust, UnitRole::Plugin, "x.so");
        unit.command = Some("make".to_owned());
        unit.fetch = Some("make fetch".to_owned());
        unit.env = BTreeMap::from([("LANG".to_owned(), "de".to_owned())]);
        assert_eq!(compile_script(&unit), "make");
        assert_eq!(fetch_script(&unit, &BTreeMap::new()).as_deref(), Some("make fetch"));
        assert_eq!(variables(&unit, 7)["LANG"], "de");
        assert_eq!(variables(&unit, 7)["SOURCE_DATE_EPOCH"], "7");
    }
}
