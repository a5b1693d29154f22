//! Go: `go build` of one package of the module in the unit's directory, `-buildmode=plugin` for plugins.

use std::collections::BTreeMap;

use super::{Cache, Language, OUT_ROOT, quote};
use crate::config::{LanguageName, Unit, UnitRole};

pub(super) const GO: Language = Language {
    name: LanguageName::Go,
    dependency_files: &["go.mod", "go.sum", "go.work", "go.work.sum", "modules.txt"],
    fetch,
    compile,
    variables: &[
        // Without cgo, a Go program can load no plugin ("plugin: not implemented").
        ("CGO_ENABLED", "1"),
        // What was fetched is served as a proxy is, so go.sum is checked again at every compile.
        ("GOMODCACHE", "/lockstep/home/mod"),
        ("GOPROXY", "file:///lockstep/deps/go/cache/download"),
        ("GOSUMDB", "off"),
        ("GOTELEMETRY", "off"),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "auto"),
    ],
    dependency_paths: &["go/cache/download"],
    // What else there is says when a proxy was asked.
    dependency_endings: &[".zip", ".mod"],
    cache: Some(Cache {
        variable: "GOCACHE",
        directory: "go",
        bundled: "/usr/share/lockstep/go-build",
        is_harmless,
    }),
    toolchains: &[
        ("go", "go env GOVERSION | sed s/^go//"),
        ("gcc", super::c_family::CC_VERSION),
    ],
};

/// Flags of every build. They must be the same for host and plugins: the runtime compares what they are compiled into.
pub(super) const FLAGS: &str = "-trimpath -buildvcs=false -ldflags=-buildid=";
/// What vendoring leaves beside the module's own file: which modules lie there.
const VENDORED: &str = "vendor/modules.txt";
/// Sets `$vendor`. Go does so by itself, but only for modules that say they are of Go 1.14 or later.
pub(super) const VENDOR: &str = "vendor=
if [ -f vendor/modules.txt ]; then vendor=-mod=vendor; fi
";

/// A module without go.sum needs nothing from elsewhere, and one that brings its dependencies along neither.
fn fetch(unit: &Unit, files: &BTreeMap<String, String>) -> Option<String> {
    let vendored = match unit.source.as_str() {
        "." => VENDORED.to_owned(),
        source => format!("{source}/{VENDORED}"),
    };
    if files.contains_key(&vendored) {
        return None;
    }
    let has_sums = files
        .iter()
        .any(|(path, text)| path.ends_with(".sum") && !text.trim().is_empty());
    // The fetch step is the only one that may ask the default proxy.
    has_sums.then(|| "unset GOPROXY GOSUMDB\nGOMODCACHE=/lockstep/deps/go go mod download".to_owned())
}

/// Whether a variable only says what is compiled. `go build` runs no code of what it compiles, which its cache relies on;
/// `-toolexec`, `-ldflags=-extld=…`, `CC` or `GOROOT` would make it run whatever they name.
fn is_harmless(name: &str, value: &str) -> bool {
    const VARIABLES: [&str; 5] = ["CGO_ENABLED", "GO386", "GOAMD64", "GOARM64", "GOEXPERIMENT"];
    const FLAGS: [&str; 6] = [
        "-tags=",
        "-race",
        "-mod=vendor",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
    ];
    match name {
        "GOFLAGS" => value.split_whitespace().all(|flag| {
            FLAGS
                .iter()
                .any(|known| flag == *known || known.ends_with('=') && flag.starts_with(known))
        }),
        name => VARIABLES.contains(&name),
    }
}

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
    format!("{VENDOR}go build $vendor {FLAGS} -buildmode={mode} -o {artifact} {package}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;
    use crate::config::{Build, BuildSystem};

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
        let mut sums = files("plugins/unit/go.sum", "a v1 h1:x=\n");
        assert!(fetch(&unit, &sums).is_some());
        sums.extend(files("plugins/unit/tools/vendor/modules.txt", "# a v1\n"));
        assert!(fetch(&unit, &sums).is_some(), "another module's");
        sums.extend(files("plugins/unit/vendor/modules.txt", "# a v1\n"));
        assert_eq!(fetch(&unit, &sums), None);
    }

    #[test]
    fn only_commands_of_ours_add_to_the_cache() {
        use super::super::{CacheAccess, cache_access, compile_script, variables};
        let access = |command: Option<&str>, env: &[(&str, &str)]| {
            let mut unit = unit(LanguageName::Go, UnitRole::Plugin, "x.so");
            unit.command = command.map(str::to_owned);
            let own = env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            unit.env = own.collect();
            let (access, path) = (cache_access(&unit), variables(&unit, 0)["GOCACHE"].clone());
            assert_eq!(
                path.starts_with("/lockstep/cache/"),
                access == CacheAccess::Write,
                "{path}"
            );
            assert!(compile_script(&unit).contains(&path));
            access
        };
        assert_eq!(access(None, &[]), CacheAccess::Write);
        for flags in ["", "-tags=netgo,static -race", "-mod=vendor"] {
            assert_eq!(
                access(None, &[("GOFLAGS", flags), ("GOAMD64", "v3")]),
                CacheAccess::Write,
                "{flags}"
            );
        }
        assert_eq!(access(Some("go build"), &[]), CacheAccess::Read);
        for (system, options, expected) in [
            (BuildSystem::Go, &[][..], CacheAccess::Write),
            (BuildSystem::Go, &["-toolexec=./evil"][..], CacheAccess::Read),
            (BuildSystem::Make, &[][..], CacheAccess::Read),
        ] {
            let mut unit = unit(LanguageName::Go, UnitRole::Plugin, "x.so");
            unit.build = Some(Build {
                options: options.iter().map(|option| (*option).to_owned()).collect(),
                buildmode: Some("c-shared".to_owned()),
                ..Build::of(system)
            });
            assert_eq!(cache_access(&unit), expected, "{options:?}");
        }
        for (name, value) in [
            ("GOFLAGS", "-toolexec=./evil"),
            ("GOFLAGS", "-tags=x -ldflags=-extld=./evil"),
            ("GOFLAGS", "-race=x"),
            ("CC", "./evil"),
            ("GOROOT", "/lockstep/src"),
            ("PATH", "/lockstep/src"),
            ("GOENV", "/lockstep/src/env"),
            ("LD_PRELOAD", "x.so"),
        ] {
            assert_eq!(access(None, &[(name, value)]), CacheAccess::Read, "{name}={value}");
        }
    }
}
