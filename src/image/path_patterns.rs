//! Patterns of paths, each of which also covers all below what it matches.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::LayerError;
use super::entry::split_path;

/// A set of them.
pub(super) struct PathPatterns(GlobSet);

impl PathPatterns {
    /// Patterns of paths relative to the root.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<Self, LayerError> {
        let failed = |error: &globset::Error| LayerError::Pattern {
            pattern: error.glob().unwrap_or_default().to_owned(),
            cause: error.kind().to_string(),
        };
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            set.add(glob.map_err(|error| failed(&error))?);
        }
        Ok(Self(set.build().map_err(|error| failed(&error))?))
    }

    /// Whether a path is meant, or one above it: patterns match whole paths, so each directory above is asked too.
    pub(super) fn cover(&self, path: &[u8]) -> bool {
        let mut path = path;
        while !path.is_empty() {
            if self.0.is_match(String::from_utf8_lossy(path).as_ref()) {
                return true;
            }
            path = split_path(path).0;
        }
        false
    }
}
