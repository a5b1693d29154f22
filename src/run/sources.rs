//! The sources of all units, and those of the smoke loader, which come with lockstep.

use std::collections::BTreeMap;
use std::path::Path;

use super::RunError;
use super::brought::planned_host;
use super::shipped::{check_places, planned_files};
use crate::config::{LanguageName, Loader, Project, Unit, UnitRole};
use crate::language::{OUT_ROOT, compile_script, language};
use crate::lock;
use crate::name::{EnvironmentName, UnitName};
use crate::plan::{Plan, UnitSource, plan};
use crate::regular_file;
use crate::source::{SourceError, SourceTree, UnitPaths};

/// The largest lock file of a language that is read; large ones have a few megabytes.
const DEPENDENCY_FILE_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// The loader's unit and artifact.
pub(super) const LOADER_NAME: &str = "lockstep-loader";

/// What makes a host open its plugins itself: preloaded into it, in the container of the loader, which asks it.
pub(super) const PROBE_NAME: &str = "lockstep-probe.so";
/// Whether there is a cargo that can compile the loader in Rust: an older one does not understand its lock file.
const HAS_CARGO: &str = r"minor=$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
if [ ${minor:-0} -ge 85 ]; then has_cargo=true; else has_cargo=false; fi";
/// As of every C unit of lockstep's, but without what a debugger needs.
const C_FLAGS: &str = "-O2 -std=gnu11 -ffile-prefix-map=/lockstep=/ -Wdate-time -Wall";
/// The same for linking. What is C here calls the C library's own functions alone.
const LINK_FLAGS: &str = "-Wl,--build-id=sha1 -Wl,-z,defs -Wl,-z,now -Wl,-z,relro -Wl,-z,noexecstack";

/// Every unit's sources.
pub type Sources = BTreeMap<UnitName, (SourceTree, UnitSource)>;

/// Reads and hashes the sources of every unit.
///
/// # Errors
/// [`RunError::Source`].
pub fn scan(project: &Project) -> Result<Sources, RunError> {
    let units: Vec<&Unit> = project.units().collect();
    let shipped: Vec<Vec<String>> = units
        .iter()
        .map(|unit| unit.files.iter().map(|file| file.path.clone()).collect())
        .collect();
    let sources = units.iter().map(|unit| UnitPaths {
        source: Some(&unit.source),
        inputs: &unit.inputs,
    });
    let files = shipped.iter().map(|inputs| UnitPaths { source: None, inputs });
    let paths: Vec<UnitPaths<'_>> = sources.chain(files).collect();
    let trees = SourceTree::scan_all(&project.directory, &paths).map_err(|error| RunError::Source {
        unit: units[error.unit % units.len()].name.clone(),
        cause: error.cause,
    })?;
    let (trees, shipped) = trees.split_at(units.len());
    let mut sources = Sources::new();
    for ((unit, tree), shipped) in units.iter().zip(trees).zip(shipped) {
        let mut source = unit_source(&project.directory, unit, tree)?;
        source.files = planned_files(project, unit, shipped)?;
        sources.insert(unit.name.clone(), (tree.clone(), source));
    }
    let planned = units
        .iter()
        .filter_map(|unit| Some((*unit, &sources.get(&unit.name)?.1.files[..])));
    check_places(&project.host, planned)?;
    Ok(sources)
}

fn unit_source(directory: &Path, unit: &Unit, tree: &SourceTree) -> Result<UnitSource, RunError> {
    let failed = |cause| RunError::Source {
        unit: unit.name.clone(),
        cause,
    };
    let dependency_files = tree
        .named(dependency_names(unit))
        .map(|(path, _)| {
            let location = directory.join(path);
            let text = regular_file::read_text(&location, DEPENDENCY_FILE_LIMIT_BYTES).map_err(|cause| {
                failed(SourceError::Io {
                    action: "read",
                    path: location.clone(),
                    cause,
                })
            })?;
            Ok((path.to_owned(), text))
        })
        .collect::<Result<_, RunError>>()?;
    Ok(UnitSource {
        digest: tree.digest(),
        dependency_files,
        files: vec![],
    })
}

/// The files that name a unit's dependencies, wherever they lie.
fn dependency_names(unit: &Unit) -> &'static [&'static str] {
    language(unit.language).dependency_files
}

/// Plans `environments`, without an engine.
///
/// # Errors
/// When sources or the lock cannot be read, or the project cannot be built.
pub fn plan_only(project: &Project, environments: &[EnvironmentName]) -> Result<Plan, RunError> {
    let lock = lock::read(&lock::lock_path(&project.file))?;
    let sources = scan(project)?
        .into_iter()
        .map(|(name, (_, source))| (name, source))
        .collect();
    let loader = LoaderSources::of(project.contracts.loader())?;
    Ok(plan(
        project,
        environments,
        (planned_host(project)?.as_ref(), &sources),
        &(loader.unit, loader.source),
        lock.as_ref(),
    )?)
}

/// The smoke loader's files, by path.
struct LoaderFiles(&'static [(&'static str, &'static str)]);

macro_rules! embedded {
    ($directory:literal: $($path:literal),* $(,)?) => {
        LoaderFiles(&[$(($path, include_str!(concat!("../../loader/", $directory, $path)))),*])
    };
}

/// The loader for `dlopen` in Rust, on libloading, and in C; and the probe, which is C.
const DLOPEN_LOADER: LoaderFiles = embedded!["":
    "Cargo.lock",
    "Cargo.toml",
    "c/capture.c",
    "c/child.c",
    "c/drive.c",
    "c/drive_arguments.c",
    "c/event.c",
    "c/http.c",
    "c/loader.h",
    "c/main.c",
    "c/open.c",
    "c/open_arguments.c",
    "c/plugin.c",
    "c/scratch.c",
    "c/signals.c",
    "c/testimony.c",
    "c/text.c",
    "c/url.c",
    "c/words.c",
    "c/words.h",
    "probe/contract.h",
    "probe/open_one.c",
    "probe/probe.c",
    "probe/utf8.h",
    "src/arguments/drive.rs",
    "src/arguments/mod.rs",
    "src/arguments/open.rs",
    "src/arguments/usage.rs",
    "src/arguments/words.rs",
    "src/capture.rs",
    "src/channel.rs",
    "src/child.rs",
    "src/drive.rs",
    "src/event.rs",
    "src/http/mod.rs",
    "src/http/response.rs",
    "src/http/url.rs",
    "src/json.rs",
    "src/main.rs",
    "src/open.rs",
    "src/plugin.rs",
    "src/scratch.rs",
    "src/signal.rs",
    "src/system.rs",
    "src/testimony.rs",
    "src/within.rs",
];
/// The loader for `go`: Go, on its package plugin.
const GO_LOADER: LoaderFiles = embedded!["go/":
    "go.mod",
    "arguments.go",
    "capture.go",
    "child.go",
    "drive.go",
    "event.go",
    "http.go",
    "libc.go",
    "main.go",
    "open.go",
    "plugin.go",
    "scratch.go",
    "signal.go",
    "testimony.go",
    "url.go",
];

/// The files that a loader is compiled to.
pub(super) fn loader_files(kind: Loader) -> &'static [&'static str] {
    match kind {
        Loader::Dlopen => &[LOADER_NAME, PROBE_NAME],
        Loader::Go => &[LOADER_NAME],
    }
}

/// The smoke loader as a unit of its own.
pub struct LoaderSources {
    /// The unit.
    pub unit: Unit,
    /// Its sources: they never are where somebody could change them.
    pub tree: SourceTree,
    /// What planning needs to know of them.
    pub source: UnitSource,
}

impl LoaderSources {
    /// The loader for `kind`.
    ///
    /// # Errors
    /// When its own name is none, which it is.
    pub fn of(kind: Loader) -> Result<Self, RunError> {
        let (files, language) = match kind {
            Loader::Dlopen => (DLOPEN_LOADER, LanguageName::Rust),
            Loader::Go => (GO_LOADER, LanguageName::Go),
        };
        let name = UnitName::new(LOADER_NAME)
            .map_err(|error| RunError::file("name the loader")(std::io::Error::other(error)))?;
        let mut unit = Unit {
            name,
            role: UnitRole::Host,
            from: None,
            language,
            source: ".".to_owned(),
            inputs: vec![],
            package: None,
            contract: None,
            artifacts: vec![LOADER_NAME.to_owned()],
            places: BTreeMap::new(),
            installs: BTreeMap::new(),
            files: vec![],
            build: None,
            command: None,
            fetch: None,
            env: BTreeMap::new(),
        };
        if kind == Loader::Dlopen {
            unit.fetch = Some(fetch_script());
            unit.command = Some(dlopen_script(&unit));
            unit.artifacts.push(PROBE_NAME.to_owned());
        }
        let tree = SourceTree::of_texts(files.0);
        let names = dependency_names(&unit);
        let name = |path: &'static str| path.rsplit('/').next().unwrap_or(path);
        let dependency_files = files.0.iter().filter(|(path, _)| names.contains(&name(path)));
        let source = UnitSource {
            digest: tree.digest(),
            dependency_files: dependency_files
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
            files: vec![],
        };
        Ok(Self { unit, tree, source })
    }
}

/// Brings the crates of the loader in Rust, where that is what is compiled; the archives are enough.
fn fetch_script() -> String {
    format!("{HAS_CARGO}\nif $has_cargo; then cargo fetch --locked && rm -rf \"$CARGO_HOME/registry/src\"; fi")
}

/// Compiles the loader for `dlopen` with what the image has, and the probe. Before glibc 2.34 what opens plugins is in a
/// library of its own; elsewhere that one is empty.
fn dlopen_script(unit: &Unit) -> String {
    format!(
        "{HAS_CARGO}
if $has_cargo; then
{rust}
else ${{CC:-cc}} {C_FLAGS} -o {OUT_ROOT}/{LOADER_NAME} c/*.c {LINK_FLAGS} -ldl
fi
${{CC:-cc}} {C_FLAGS} -fPIC -shared -fvisibility=hidden -o {OUT_ROOT}/{PROBE_NAME} probe/probe.c {LINK_FLAGS} -ldl",
        rust = compile_script(unit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is compiled is what lies in the checkout, as if it had been read from there.
    #[test]
    fn a_loader_in_memory_is_the_same_as_on_the_disk() {
        let loader = LoaderSources::of(Loader::Dlopen).unwrap();
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in DLOPEN_LOADER.0 {
            let target = directory.path().join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(target, text).unwrap();
        }
        let tree = SourceTree::scan(directory.path(), ".", &[]).unwrap();
        let source = unit_source(directory.path(), &loader.unit, &tree).unwrap();
        assert_eq!((tree.digest(), source), (loader.tree.digest(), loader.source));
        let archived = |tree: &SourceTree| {
            let mut archive = Vec::new();
            let owner = crate::owner::Owner { uid: 1, gid: 1 };
            tree.write_archive(&mut archive, "src", owner, 1).unwrap();
            archive
        };
        assert_eq!(archived(&tree), archived(&loader.tree));
    }

    #[test]
    fn an_old_cargo_is_none() {
        for (cargo, expect) in [
            ("echo 'cargo 1.85.1 (d73d2caf9 2024-12-31)'", "true"),
            ("echo 'cargo 1.104.0'", "true"),
            ("echo 'cargo 1.63.0'", "false"),
            ("echo 'error: no default is configured' >&2; return 1", "false"),
            ("return 127", "false"),
        ] {
            let script = format!("cargo() {{ {cargo}; }}\n{HAS_CARGO}\necho $has_cargo");
            let output = std::process::Command::new("sh")
                .args(["-eu", "-c", &script])
                .output()
                .unwrap();
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                format!("{expect}\n"),
                "{cargo}"
            );
        }
    }

    #[test]
    fn every_file_of_a_loader_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("loader");
        for (directory, suffix, files) in [
            ("src", ".rs", &DLOPEN_LOADER),
            ("src/arguments", ".rs", &DLOPEN_LOADER),
            ("src/http", ".rs", &DLOPEN_LOADER),
            ("c", ".c", &DLOPEN_LOADER),
            ("c", ".h", &DLOPEN_LOADER),
            ("probe", ".c", &DLOPEN_LOADER),
            ("probe", ".h", &DLOPEN_LOADER),
        ] {
            for entry in std::fs::read_dir(root.join(directory)).unwrap() {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                let path = format!("{directory}/{name}");
                assert!(
                    !name.ends_with(suffix) || files.0.iter().any(|(known, _)| *known == path),
                    "{path}"
                );
            }
        }
    }
}
