//! Where a file lies in a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::printable::is_plain;

/// The longest name of a file or directory that Linux's file systems hold.
pub const FILE_NAME_LIMIT_BYTES: usize = 255;
/// The longest place.
const PLACE_LIMIT_BYTES: usize = 1024;
/// How many directories deep a place may be, the file's name counted.
const PLACE_DEPTH_LIMIT_COUNT: usize = 16;

/// A path in a bundle, written in the one way that there is for it: `match.so`, `handlers/ip-linux-amd64.so`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Place(String);

/// Why a text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {why}", .text.escape_debug())]
pub struct InvalidPlace {
    /// What was given.
    pub text: String,
    /// What is wrong with it, in words that follow it.
    pub why: &'static str,
}

impl Place {
    /// Checks `text` and takes it as a place.
    ///
    /// # Errors
    /// When it leaves the bundle, has parts that say nothing, or is too long.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidPlace> {
        let text = text.into();
        match fault(&text) {
            Some(why) => Err(InvalidPlace { text, why }),
            None => Ok(Self(text)),
        }
    }

    /// The same below a directory of the bundle.
    ///
    /// # Errors
    /// When that is too long, or too deep.
    pub fn below(&self, directory: &Self) -> Result<Self, InvalidPlace> {
        Self::new(format!("{directory}/{self}"))
    }

    /// The place as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

fn fault(text: &str) -> Option<&'static str> {
    let parts = || text.split('/');
    if text.is_empty() {
        Some("is empty")
    } else if text.starts_with('/') {
        Some("is an absolute path")
    } else if parts().any(|part| part == "..") {
        Some("leads upwards")
    } else if parts().any(|part| part.is_empty() || part == ".") {
        Some("has parts that say nothing")
    } else if !text.chars().all(is_plain) {
        Some("is no plain text")
    } else if parts().any(|part| part.starts_with('-')) {
        Some("has a part that begins with a hyphen")
    } else if text.len() > PLACE_LIMIT_BYTES || parts().any(|part| part.len() > FILE_NAME_LIMIT_BYTES) {
        Some("is too long")
    } else if parts().count() > PLACE_DEPTH_LIMIT_COUNT {
        Some("is too deep")
    } else {
        None
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.0
    }
}

impl TryFrom<String> for Place {
    type Error = InvalidPlace;

    fn try_from(text: String) -> Result<Self, InvalidPlace> {
        Self::new(text)
    }
}

/// The directories above a path, the outermost first: of `a/b/c`, `a` and `a/b`.
pub fn directories_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// All directories above paths, each once, and each before those in it.
#[must_use]
pub fn directories_of<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    paths.flat_map(directories_above).collect()
}

/// What is in the way of a file at `path`: the same path, a file where a directory above it must be, or a file below it.
#[must_use]
pub fn in_the_way<'t, T>(taken: &'t BTreeMap<String, T>, path: &str) -> Option<(&'t str, &'t T)> {
    let above = directories_above(path).find_map(|above| taken.get_key_value(above));
    let below = format!("{path}/");
    let inside = || {
        taken
            .range(below.clone()..)
            .next()
            .filter(|(other, _)| other.starts_with(&below))
    };
    let found = above.or_else(|| taken.get_key_value(path)).or_else(inside);
    found.map(|(other, value)| (other.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_in_the_bundle_and_are_written_in_one_way() {
        for good in [
            "x.so",
            "handlers/ip-linux-amd64.so",
            "a/b/c",
            "ä ö.so",
            &"a".repeat(255),
        ] {
            assert_eq!(Place::new(good).unwrap().as_str(), good);
        }
        let deep = "a/".repeat(16) + "a";
        for (bad, why) in [
            ("", "is empty"),
            ("/x", "is an absolute path"),
            ("..", "leads upwards"),
            ("a/../b", "leads upwards"),
            ("a//b", "has parts that say nothing"),
            ("./b", "has parts that say nothing"),
            ("b/", "has parts that say nothing"),
            ("a\nb", "is no plain text"),
            ("a/-b", "has a part that begins with a hyphen"),
            (&"a".repeat(256), "is too long"),
            (&deep, "is too deep"),
        ] {
            assert_eq!(Place::new(bad).unwrap_err().why, why, "{bad:?}");
        }
    }

    #[test]
    fn what_is_in_the_way_is_found_above_below_and_there() {
        let taken = ["a/b", "c/d/e", "f"].map(|path| (path.to_owned(), path)).into();
        for (path, other) in [
            ("a/b", Some("a/b")),
            ("a/b/c", Some("a/b")),
            ("c", Some("c/d/e")),
            ("c/d", Some("c/d/e")),
            ("f/g", Some("f")),
            ("a", Some("a/b")),
            ("a/bc", None),
            ("c/d/f", None),
            ("c-d", None),
        ] {
            assert_eq!(in_the_way(&taken, path).map(|(other, _)| other), other, "{path}");
        }
    }

    #[test]
    fn directories_come_before_what_is_in_them() {
        let all = directories_of(["a/b/c", "a-b/c", "d", "a/b/e"].into_iter());
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["a", "a-b", "a/b"]);
        let (file, directory) = (Place::new("x.so").unwrap(), Place::new("handlers").unwrap());
        assert_eq!(file.below(&directory).unwrap().as_str(), "handlers/x.so");
        assert_eq!(file.below(&directory).unwrap().file_name(), "x.so");
    }
}
