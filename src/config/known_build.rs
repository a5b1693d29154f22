//! Builds that units can take from, as far as they are known.

use std::collections::BTreeMap;

use super::build::Build;
use super::language_name::LanguageName;
use crate::name::UnitName;
use crate::yaml::{Decoded, Value};

/// A build, as far as it is known.
pub(super) struct KnownBuild<'v> {
    pub(super) name: &'v str,
    pub(super) key: Value<'v>,
    /// Where its language is said, and which it is.
    pub(super) spoken: Option<(Value<'v>, LanguageName)>,
    pub(super) has_own_way: bool,
    pub(super) making: Decoded<(UnitName, Making)>,
    pub(super) is_taken: bool,
}

impl KnownBuild<'_> {
    /// Whether this is its name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }
}

/// How artifacts come about, of one unit or of all that come from one build.
#[derive(Clone)]
pub(super) struct Making {
    pub(super) language: LanguageName,
    pub(super) source: String,
    pub(super) inputs: Vec<String>,
    pub(super) package: Option<String>,
    pub(super) build: Option<Build>,
    pub(super) command: Option<String>,
    pub(super) fetch: Option<String>,
    pub(super) env: BTreeMap<String, String>,
}
