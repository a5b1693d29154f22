//! Go: `go build` of one package of the module in the unit's directory, `-buildmode=plugin` for plugins.

use std::collections::BTreeMap;

use super::{Language, OUT_ROOT, quote};
use crate::config::{LanguageName, Unit, UnitRole};

pub(super) const GO: Language = Language {
    name: LanguageName::Go,
    dependency_files: &["go.mod", "go.sum", "go.work", "go.work.sum"],
    fetch,
    compile,
    variables: &[
        // Without cgo, a Go program can load no plugin ("plugin: not implemented").
        ("CGO_ENABLED", "1"),
        ("GOCACHE", "/lockstep/cache/go"),
        // What was fetched is served as a proxy is, so go.sum is checked again at every compile.
        ("GOMODCACHE", "/lockstep/home/mod"),
        ("GOPROXY", "file:///lockstep/deps/go/cache/download"),
        ("GOSUMDB", "off"),
        ("GOTELEMETRY", "off"),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "auto"),
    ],
    dependency_paths: &["go/cache/download"],
    uses_cache: true,
    toolchains: &[
        ("go", "go env GOVERSION | sed s/^go//"),
        ("gcc", super::c_family::CC_VERSION),
    ],
};

/// A module without go.sum needs nothing from elsewhere.
fn fetch(_: &Unit, files: &BTreeMap<String, String>) -> Option<String> {
    let has_sums = files
        .iter()
        .any(|(path, text)| path.ends_with(".sum") && !text.trim().is_empty());
    // The fetch step is the only one that may ask the default proxy.
    has_sums.then(|| "unset GOPROXY GOSUMDB\nGOMODCACHE=/lockstep/deps/go go mod download".to_owned())
}

/// Starts the environment's build cache with what the image brings of the standard library. Units run side by side, so
/// the cache appears complete or not at all; Go finds in it what is the same to the bit, and nothing else.
const SEED: &str = r#"if [ -d /usr/share/lockstep/go-build ] && [ ! -d "$GOCACHE" ]; then
  seed=$(mktemp -d "${GOCACHE%/*}/seed.XXXXXX")
  cp -R /usr/share/lockstep/go-build/. "$seed"
  mv -T "$seed" "$GOCACHE" 2>/dev/null || rm -rf "$seed"
fi
"#;

fn compile(unit: &Unit) -> String {
    let mode = match unit.role {
        UnitRole::Host => "exe",
        UnitRole::Plugin => "plugin",
    };
    let package = quote(unit.package.as_deref().unwrap_or("."));
    let artifact = quote(&format!(
        "{OUT_ROOT}/{}",
        unit.artifacts.first().map_or("", String::as_str)
    ));
    // -trimpath and -buildvcs must be the same for host and plugins: the runtime compares what they are compiled into.
    let build =
        format!("go build -trimpath -buildvcs=false -ldflags=-buildid= -buildmode={mode} -o {artifact} {package}");
    format!("{SEED}{build}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    #[test]
    fn host_and_plugin_differ_in_the_mode_alone() {
        let host = compile(&unit(LanguageName::Go, UnitRole::Host, "x"));
        let plugin = compile(&unit(LanguageName::Go, UnitRole::Plugin, "x"));
        assert_eq!(host.replace("-buildmode=exe", "-buildmode=plugin"), plugin);
    }

    #[test]
    fn a_module_of_its_own_needs_no_network() {
        let unit = unit(LanguageName::Go, UnitRole::Plugin, "x.so");
        let files = |path: &str, text: &str| BTreeMap::from([(path.to_owned(), text.to_owned())]);
        assert_eq!(fetch(&unit, &files("go.mod", "module x\n")), None);
        assert!(fetch(&unit, &files("go.sum", "a v1 h1:x=\n")).is_some());
    }
}
