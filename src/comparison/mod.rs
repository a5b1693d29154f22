//! In what do two differ? Two roots or images in, everything that one has and the other has not out, as one record.
//!
//! Pure: it decides by what is said of each entry, and asks for contents where only they can tell.

mod config;
mod files;
mod object;
mod packages;

use std::io;

use serde::Serialize;

use crate::rootfs::Contents;

pub use config::SettingDifference;
pub use files::{Aspect, Difference, FileDifference};
pub use object::PartDifference;
pub use packages::PackageDifference;

/// The version of the form for scripts.
pub const COMPARISON_SCHEMA_VERSION: u32 = 1;

/// In what two roots or images differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// [`COMPARISON_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The one, as it was named.
    pub a: String,
    /// The other one.
    pub b: String,
    /// Whether nothing differs.
    pub same: bool,
    /// Packages that only one has, or in another version.
    pub packages: Vec<PackageDifference>,
    /// What differs in the images' configs.
    pub config: Vec<SettingDifference>,
    /// Files that differ.
    pub files: Vec<FileDifference>,
    /// How many more differ and belong to packages that do.
    pub files_of_packages: usize,
    /// How many more differ, and are left out because they are too many.
    pub files_left_out: usize,
    /// How many paths were compared.
    pub compared: usize,
}

/// One of the two, and what it is called.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// As it was named.
    pub name: &'a str,
    /// What is in it.
    pub contents: &'a Contents,
}

/// Why they were not compared.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {path} of {name}: {cause}")]
pub struct CompareError {
    /// Which of the two.
    pub name: String,
    /// The file in it.
    pub path: String,
    /// Why.
    pub cause: io::Error,
}

impl Side<'_> {
    fn failed(&self, path: &[u8]) -> impl FnOnce(io::Error) -> CompareError {
        let (name, path) = (self.name.to_owned(), shown(path));
        move |cause| CompareError { name, path, cause }
    }
}

/// Compares two; files of packages that differ are told one by one only with `all`.
///
/// # Errors
/// [`CompareError`].
pub fn compare(a: Side<'_>, b: Side<'_>, all: bool) -> Result<Comparison, CompareError> {
    let packages = packages::differences(a, b)?;
    let of_packages = match all {
        true => packages::Files::default(),
        false => packages::files(&packages, a, b)?,
    };
    let found = files::differences(a, b, &of_packages)?;
    let has_same_files = found.files.is_empty() && found.of_packages == 0 && found.left_out == 0;
    let config = config::differences(
        a.contents.config.as_deref(),
        b.contents.config.as_deref(),
        has_same_files,
    );
    Ok(Comparison {
        schema_version: COMPARISON_SCHEMA_VERSION,
        a: a.name.to_owned(),
        b: b.name.to_owned(),
        same: has_same_files && packages.is_empty() && config.is_empty(),
        packages,
        config,
        files: found.files,
        files_of_packages: found.of_packages,
        files_left_out: found.left_out,
        compared: found.compared,
    })
}

/// Where two contents differ: the sections of ELF files, else what is around the first byte that differs.
#[must_use]
pub fn differing_parts(a: &[u8], b: &[u8]) -> Vec<PartDifference> {
    if a == b {
        return vec![];
    }
    let parts = object::differences(a.to_vec(), b.to_vec());
    match parts.is_empty() {
        true => vec![object::difference_of_bytes(a, b)],
        false => parts,
    }
}

/// A path as people write it.
fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests;
