//! The files of a directory, as far as `init` is interested in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;

use crate::known_hosts::Files;
use crate::regular_file;
use crate::source::RuleBudget;

/// How deep directories are looked into.
const DEPTH_LIMIT_DIRECTORIES: usize = 12;
/// How many files are looked at; a tree with more is no single project.
const FILE_LIMIT_COUNT: usize = 50_000;
/// Larger sources are not read: people do not write them.
const SOURCE_SIZE_LIMIT_BYTES: u64 = 512 * 1024;
/// How large all sources that are read may be together.
const ALL_SOURCES_LIMIT_BYTES: u64 = 256 * 1024 * 1024;
/// Directories that hold nothing to build, whatever `.gitignore` says.
const SKIPPED: &[&str] = &[
    "benches",
    "dist",
    "examples",
    "fuzz",
    "node_modules",
    "target",
    "testdata",
    "tests",
    "third_party",
    "vendor",
];
/// The files whose rules hide others from the walk.
const IGNORE_FILES: &[&str] = &[".gitignore", ".ignore"];
/// The endings of files whose content tells something; `yaml` for recipes, which are not written twice.
const READ: &[&str] = &[
    "ac", "am", "c", "cc", "control", "cpp", "cxx", "go", "h", "hh", "hpp", "m4", "mod", "py", "rs", "toml", "ttl",
    "work", "yaml",
];
/// The same, of files whose name says all.
const READ_NAMES: &[&str] = &[
    "CMakeLists.txt",
    "GNUmakefile",
    "Makefile",
    "Makefile.in",
    "config",
    "makefile",
    "manifest.ttl.in",
    "meson.build",
];
/// The directory of [`SKIPPED`] that is looked into when there is nothing elsewhere.
const EXAMPLES: &str = "examples";

/// The files below a directory by path, `/`-separated, with the content of those that are sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, String>,
    /// The files that lie in each directory itself.
    directories: BTreeMap<String, Vec<String>>,
    /// The files that have a name, wherever they lie.
    names: BTreeMap<String, Vec<String>>,
}

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The file system refused.
    #[error("failed to read {}: {cause}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// It holds far more than a project.
    #[error("{} has more than {FILE_LIMIT_COUNT} files, or more sources than {ALL_SOURCES_LIMIT_BYTES} bytes", path.display())]
    TooLarge {
        /// The directory.
        path: PathBuf,
    },
}

impl Tree {
    /// Reads what is below `directory`, without what `.gitignore` hides and without directories that are lockstep
    /// projects of their own.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn read(directory: &Path) -> Result<Self, TreeError> {
        Self::read_with(directory, false)
    }

    /// The same, with `examples/`, which is no part of a project that has something else.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn read_with_examples(directory: &Path) -> Result<Self, TreeError> {
        Self::read_with(directory, true)
    }

    fn read_with(directory: &Path, with_examples: bool) -> Result<Self, TreeError> {
        let failed = |path: &Path, cause: String| TreeError::Read {
            path: path.to_owned(),
            cause,
        };
        // The walk itself reads rules to their end, whatever they are.
        let refused: Arc<Mutex<Option<TreeError>>> = Arc::default();
        let budget = RuleBudget::default();
        let check_rules = move |directory: &Path| -> Result<(), TreeError> {
            let checked = budget.check(directory, IGNORE_FILES);
            checked.map_err(|(path, cause)| TreeError::Read {
                path,
                cause: cause.to_string(),
            })
        };
        directory.ancestors().try_for_each(&check_rules)?;
        let refusing = Arc::clone(&refused);
        let walk = WalkBuilder::new(directory)
            .max_depth(Some(DEPTH_LIMIT_DIRECTORIES))
            .require_git(false)
            .git_global(false)
            .git_exclude(false)
            .filter_entry(move |entry| {
                let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
                let name = entry.file_name().to_string_lossy();
                let is_other_project = || entry.path().join("lockstep.yaml").exists();
                if entry.depth() == 0 || !is_directory {
                    return true;
                }
                let is_skipped = SKIPPED.contains(&name.as_ref()) && !(with_examples && name == EXAMPLES);
                if is_skipped || is_other_project() {
                    return false;
                }
                let Err(error) = check_rules(entry.path()) else {
                    return true;
                };
                refusing
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(error);
                false
            })
            .build();
        let take_refused = || refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut files = BTreeMap::new();
        let mut left_bytes = ALL_SOURCES_LIMIT_BYTES;
        for entry in walk {
            if let Some(error) = take_refused() {
                return Err(error);
            }
            let entry = entry.map_err(|error| failed(directory, error.to_string()))?;
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            // A name that is no text cannot stand in lockstep.yaml.
            let Some(path) = entry.path().strip_prefix(directory).ok().and_then(Path::to_str) else {
                continue;
            };
            let size = entry
                .metadata()
                .map_err(|error| failed(entry.path(), error.to_string()))?
                .len();
            let is_told = READ.contains(&extension(path)) || READ_NAMES.contains(&file_name(path));
            let is_read = is_told && size <= SOURCE_SIZE_LIMIT_BYTES;
            let content = if is_read {
                let bytes = regular_file::read(entry.path(), SOURCE_SIZE_LIMIT_BYTES)
                    .map_err(|error| failed(entry.path(), error.to_string()))?;
                left_bytes = left_bytes.saturating_sub(bytes.len() as u64);
                String::from_utf8_lossy(&bytes).into_owned()
            } else {
                String::new()
            };
            files.insert(path.to_owned(), content);
            if files.len() > FILE_LIMIT_COUNT || left_bytes == 0 {
                return Err(TreeError::TooLarge {
                    path: directory.to_owned(),
                });
            }
        }
        match take_refused() {
            Some(error) => Err(error),
            None => Ok(Self::with(files)),
        }
    }

    fn with(files: BTreeMap<String, String>) -> Self {
        let mut directories: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for path in files.keys() {
            directories
                .entry(parent(path).to_owned())
                .or_default()
                .push(path.clone());
            names.entry(file_name(path).to_owned()).or_default().push(path.clone());
        }
        Self {
            files,
            directories,
            names,
        }
    }

    /// A tree from memory.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let owned = |(path, content): &(&str, &str)| ((*path).to_owned(), (*content).to_owned());
        Self::with(files.iter().map(owned).collect())
    }

    /// All files, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_str()))
    }

    /// Whether there is such a file.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The content of a file, when there is one; empty when it was not read.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// The files named `name`: the directories they are in, with their content.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let paths = self.names.get(name).into_iter().flatten();
        paths.filter_map(|path| Some((parent(path), self.text(path)?)))
    }

    /// The files that lie in `directory` itself.
    pub fn directly_in<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let paths = self.directories.get(directory).into_iter().flatten();
        paths.filter_map(|path| Some((path.as_str(), self.text(path)?)))
    }

    /// The files of `directory` and of those below it, with their whole paths.
    pub fn within<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let start = match directory {
            "." => String::new(),
            directory => format!("{directory}/"),
        };
        // Names that begin alike lie one after the other.
        let files = self.files.range(start.clone()..);
        files
            .take_while(move |(path, _)| path.starts_with(&start))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The same, as a known host's files are looked at.
    #[must_use]
    pub fn below<'a>(&'a self, directory: &'a str) -> Below<'a> {
        Below { tree: self, directory }
    }

    /// The directories that have files with one of these endings.
    #[must_use]
    pub fn directories_with(&self, extensions: &[&str]) -> BTreeSet<&str> {
        self.files()
            .filter(|(path, _)| extensions.contains(&extension(path)))
            .map(|(path, _)| parent(path))
            .collect()
    }
}

/// A directory of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Below<'a> {
    tree: &'a Tree,
    directory: &'a str,
}

impl Files for Below<'_> {
    fn all(&self) -> Box<dyn Iterator<Item = (&str, &str)> + '_> {
        let above = match self.directory {
            "." => 0,
            directory => directory.len() + 1,
        };
        let files = self.tree.within(self.directory);
        Box::new(files.filter_map(move |(path, text)| Some((path.get(above..)?, text))))
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.tree.text(&join(self.directory, path)?)
    }
}

/// The endings of sources in C++.
pub(super) const CPP_EXTENSIONS: &[&str] = &["cc", "cpp", "cxx"];

/// Whether a file is compiled as C or C++, and not included.
pub(super) fn is_source(path: &str) -> bool {
    let extension = extension(path);
    extension == "c" || CPP_EXTENSIONS.contains(&extension)
}

/// Whether a name can be that of an artifact, and stand in a command.
pub(super) fn is_file_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    starts_well && name.bytes().all(is_plain) && name.len() <= 200
}

/// What follows the last dot of the name.
pub(super) fn extension(path: &str) -> &str {
    file_name(path).rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// A file's name up to its first dot.
pub(super) fn stem(path: &str) -> &str {
    file_name(path).split('.').next().unwrap_or_default()
}

/// The last component.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The directory a file is in; `.` for the project's own.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(directory, _)| directory)
}

/// A directory and those that it lies in, but not the project's own.
pub(super) fn with_ancestors(directory: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(directory), |below| below.rsplit_once('/').map(|(above, _)| above))
}

/// Whether `path` is `directory` or lies below it.
pub(super) fn is_within(path: &str, directory: &str) -> bool {
    directory == "." || path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// `relative` seen from `directory`, without dots; none when it leaves the project.
pub(super) fn join(directory: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| *part != ".").collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_without_leaving_the_project() {
        for (directory, relative, expected) in [
            ("plugins/x", "../api", Some("plugins/api")),
            (".", "./a//b", Some("a/b")),
            ("a", "..", Some(".")),
            ("a", "../..", None),
        ] {
            assert_eq!(join(directory, relative).as_deref(), expected, "{directory} {relative}");
        }
    }

    #[test]
    fn a_directory_has_what_lies_below_it() {
        let tree = Tree::of(&[("a/b.c", "b"), ("a/d/e.c", "e"), ("ab.c", "")]);
        let names = |directory: &'static str| -> Vec<String> {
            tree.below(directory).all().map(|(path, _)| path.to_owned()).collect()
        };
        assert_eq!(names("a"), ["b.c", "d/e.c"]);
        assert_eq!(names("."), ["a/b.c", "a/d/e.c", "ab.c"]);
        assert_eq!(tree.below("a").text("d/e.c"), Some("e"));
        assert_eq!(tree.below("a").text("../../x"), None);
    }

    #[test]
    fn what_is_ignored_or_another_project_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in [
            (".gitignore", "out/\n"),
            ("Cargo.toml", "[package]"),
            ("README.md", "# text"),
            ("out/generated.c", "int main(void) {}"),
            ("target/debug/x.rs", "fn main() {}"),
            ("gateway/lockstep.yaml", "version: 1"),
            ("gateway/main.go", "package main"),
            ("src/main.rs", "fn main() {}"),
        ] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let tree = Tree::read(directory.path()).unwrap();
        let files: Vec<(&str, &str)> = tree.files().collect();
        assert_eq!(
            files,
            [
                ("Cargo.toml", "[package]"),
                ("README.md", ""),
                ("src/main.rs", "fn main() {}")
            ]
        );
    }
}
