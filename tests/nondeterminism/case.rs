//! The cases, as they are in `cases/*.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// Something that is not reproducible, and its cured twin.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default = "c")]
    pub(crate) language: String,
    /// What differs, where it has a name.
    pub(crate) kind: Option<String>,
    /// Sources by name.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// Writes `$OUT`, and not always the same.
    pub(crate) script: String,
    /// Writes `$OUT`, always the same.
    pub(crate) cured: String,
}

fn c() -> String {
    "c".to_owned()
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nondeterminism/cases");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: std::path::PathBuf| -> Vec<Case> {
        let text = std::fs::read_to_string(&path).unwrap();
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files.into_iter().flat_map(read).collect()
}
