//! Names that become parts of image tags, volume names and paths, and are therefore checked once, here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name, so that `lockstep-<project>-<environment>` stays below an engine's 255 characters.
const NAME_LENGTH_LIMIT_CHARACTERS: usize = 63;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a name: expected 1 to {NAME_LENGTH_LIMIT_CHARACTERS} characters, lower-case letters, digits, `-`, `_` or `.`, \
     starting and ending with a letter or digit, no two separators in a row"
)]
pub struct InvalidName {
    /// What was given.
    pub text: String,
}

/// Whether `text` can stand in an image tag, a volume name and a path at once (the narrowest is the distribution
/// specification's grammar for a repository's path component).
fn check(text: &str) -> Result<(), InvalidName> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_are_plain = bytes.first().copied().is_some_and(plain) && bytes.last().copied().is_some_and(plain);
    let separators_are_single = bytes.windows(2).all(|pair| plain(pair[0]) || plain(pair[1]))
        && bytes.iter().all(|byte| plain(*byte) || b"-_.".contains(byte));
    if ends_are_plain && separators_are_single && bytes.len() <= NAME_LENGTH_LIMIT_CHARACTERS {
        Ok(())
    } else {
        Err(InvalidName { text: text.to_owned() })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and takes it as a name.
            ///
            /// # Errors
            /// When `text` cannot stand in an image tag.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    };
}

name! {
    /// A project's name: part of image tags, volume names and labels.
    ProjectName
}
name! {
    /// An environment's name: part of image tags, volume names and `dist/<environment>`.
    EnvironmentName
}
name! {
    /// A contract's name, as plugins give it.
    ContractName
}
name! {
    /// A unit's name: the host's or a plugin's.
    UnitName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_image_tags_allow() {
        for good in ["a", "glibc", "alpine-3.22", "x_y", "0"] {
            assert!(UnitName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a--b", "a/b", "..", "ä", "a b", &"a".repeat(64)] {
            assert!(UnitName::new(bad).is_err(), "{bad}");
        }
    }
}
