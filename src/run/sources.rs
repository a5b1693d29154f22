//! The sources of all units, and those of the smoke loader, which come with lockstep.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::{RunError, Store};
use crate::config::{LanguageName, Loader, Project, Unit, UnitRole};
use crate::digest::{Digest, Hasher};
use crate::language::language;
use crate::lock;
use crate::name::{EnvironmentName, UnitName};
use crate::plan::{Plan, UnitSource, plan};
use crate::source::SourceTree;
use crate::state::state_directory;

/// The largest lock file of a language that is read; large ones have a few megabytes.
const DEPENDENCY_FILE_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// The loader's unit and artifact.
pub(super) const LOADER_NAME: &str = "lockstep-loader";

/// Every unit's sources.
pub type Sources = BTreeMap<UnitName, (SourceTree, UnitSource)>;

/// Reads and hashes the sources of every unit.
///
/// # Errors
/// [`RunError::Source`].
pub fn scan(project: &Project) -> Result<Sources, RunError> {
    project
        .units()
        .map(|unit| Ok((unit.name.clone(), scan_unit(&project.directory, unit)?)))
        .collect()
}

fn scan_unit(directory: &Path, unit: &Unit) -> Result<(SourceTree, UnitSource), RunError> {
    let failed = |cause| RunError::Source {
        unit: unit.name.clone(),
        cause,
    };
    let tree = SourceTree::scan(directory, &unit.source, &unit.inputs).map_err(failed)?;
    let dependency_files = tree
        .named(language(unit.language).dependency_files)
        .map(|(path, _)| {
            let mut text = String::new();
            fs::File::open(directory.join(path))
                .and_then(|file| file.take(DEPENDENCY_FILE_LIMIT_BYTES).read_to_string(&mut text))
                .map_err(RunError::file(format!("read {path}")))?;
            Ok((path.to_owned(), text))
        })
        .collect::<Result<_, RunError>>()?;
    let source = UnitSource {
        digest: tree.digest(),
        dependency_files,
    };
    Ok((tree, source))
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
    let store = Store::new(&state_directory(&project.directory)?);
    let loader = LoaderSources::unpack(project.contract.loader, &store)?;
    Ok(plan(
        project,
        environments,
        &sources,
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

/// The loader for `dlopen`: Rust, on libloading.
const RUST_LOADER: LoaderFiles = embedded!["":
    "Cargo.lock",
    "Cargo.toml",
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
    "src/signal.rs",
    "src/system.rs",
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
    "signal.go",
    "url.go",
];

/// The smoke loader as a unit of its own.
pub struct LoaderSources {
    /// The unit.
    pub unit: Unit,
    /// Its sources, unpacked into the project's state.
    pub tree: SourceTree,
    /// What planning needs to know of them.
    pub source: UnitSource,
}

impl LoaderSources {
    /// Unpacks the loader for `kind` into the project's state, unless it is there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn unpack(kind: Loader, store: &Store) -> Result<Self, RunError> {
        let (files, language) = match kind {
            Loader::Dlopen => (RUST_LOADER, LanguageName::Rust),
            Loader::Go => (GO_LOADER, LanguageName::Go),
        };
        let name = UnitName::new(LOADER_NAME)
            .map_err(|error| RunError::file("name the loader")(std::io::Error::other(error)))?;
        let unit = Unit {
            name,
            role: UnitRole::Host,
            language,
            source: ".".to_owned(),
            inputs: vec![],
            package: None,
            artifacts: vec![LOADER_NAME.to_owned()],
            command: None,
            fetch: None,
            env: BTreeMap::new(),
        };
        let directory = store.loader_sources(files.digest());
        // Written anew each time: a file that somebody changed would otherwise stay changed.
        files
            .write(&directory)
            .map_err(RunError::file("unpack the smoke loader"))?;
        let (tree, source) = scan_unit(&directory, &unit)?;
        Ok(Self { unit, tree, source })
    }
}

impl LoaderFiles {
    fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for (path, text) in self.0 {
            hasher.field(path.as_bytes());
            hasher.field(text.as_bytes());
        }
        hasher.finish()
    }

    fn write(&self, directory: &Path) -> std::io::Result<()> {
        for (path, text) in self.0 {
            let target = directory.join(path);
            if fs::read(&target).is_ok_and(|present| present == text.as_bytes()) {
                continue;
            }
            fs::create_dir_all(target.parent().unwrap_or(directory))?;
            fs::write(target, text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_loader_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("loader");
        for (directory, suffix, files) in [("src", ".rs", &RUST_LOADER)] {
            for entry in fs::read_dir(root.join(directory)).unwrap() {
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
