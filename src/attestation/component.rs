//! What a file says is linked into it: Go's record of its build, and the crates that cargo-auditable notes.

use std::collections::BTreeSet;

use super::package_url::of_module;
use crate::facts::elf::Elf;
use crate::facts::go::{Go, Module};
use crate::facts::rust::{self, Crate};

/// The version of a module that has none.
const UNVERSIONED: &str = "(devel)";

/// One package of a language, in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Its package URL.
    pub url: String,
    /// Its name.
    pub name: String,
    /// Its version, if it has one.
    pub version: Option<String>,
    /// What else the file says of it: the hash that go.sum has, or where a crate came from.
    pub note: Option<String>,
}

/// All that a file names, sorted, each once; without the package that the file itself is.
#[must_use]
pub fn components(elf: &Elf) -> Vec<Component> {
    let mut found = BTreeSet::new();
    if let Some(build) = Go::read(elf).and_then(|go| go.build) {
        // What comes after the version are experiments.
        let version = build.version.split(' ').next().unwrap_or_default();
        found.insert(of_standard_library(version.trim_start_matches("go")));
        found.extend(build.dependencies.iter().map(of_go));
    }
    let crates = rust::read(elf).and_then(|rust| rust.crates).unwrap_or_default();
    found.extend(crates.iter().filter(|crate_| !crate_.root).map(of_rust));
    found.into_iter().collect()
}

fn of_standard_library(version: &str) -> Component {
    Component {
        url: of_module("golang", "stdlib", Some(version)),
        name: "stdlib".to_owned(),
        version: Some(version.to_owned()),
        note: None,
    }
}

fn of_go(module: &Module) -> Component {
    // Of what was compiled from a directory nothing is known but what it took the place of.
    let (compiled, note) = match module.is_directory() {
        true => (module, Some("compiled from a directory".to_owned())),
        false => (module.effective(), None),
    };
    let version = (!module.is_directory() && compiled.version != UNVERSIONED).then(|| compiled.version.clone());
    let sum = (!compiled.sum.is_empty()).then(|| format!("go.sum: {}", compiled.sum));
    Component {
        url: of_module("golang", &compiled.path, version.as_deref()),
        name: compiled.path.clone(),
        version,
        note: note.or(sum),
    }
}

fn of_rust(crate_: &Crate) -> Component {
    Component {
        url: of_module("cargo", &crate_.name, Some(&crate_.version)),
        name: crate_.name.clone(),
        version: Some(crate_.version.clone()),
        note: (!crate_.source.is_empty()).then(|| format!("source: {}", crate_.source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_what_was_compiled_in_its_place() {
        let module = |path: &str, version: &str, sum: &str| Module {
            path: path.to_owned(),
            version: version.to_owned(),
            sum: sum.to_owned(),
            replacement: None,
        };
        let told = |module: &Module| {
            let Component { url, note, .. } = of_go(module);
            (url, note.unwrap_or_default())
        };
        let mut replaced = module("example.com/api", "v1.0.0", "");
        assert_eq!(told(&replaced).0, "pkg:golang/example.com/api@v1.0.0");
        replaced.replacement = Some(Box::new(module("../api", "(devel)", "")));
        let expected = (
            "pkg:golang/example.com/api".to_owned(),
            "compiled from a directory".to_owned(),
        );
        assert_eq!(told(&replaced), expected);
        replaced.replacement = Some(Box::new(module("example.com/fork", "v1.2.0", "h1:abc=")));
        let expected = (
            "pkg:golang/example.com/fork@v1.2.0".to_owned(),
            "go.sum: h1:abc=".to_owned(),
        );
        assert_eq!(told(&replaced), expected);
    }
}
