//! What a unit is.

use serde::Serialize;

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitRole {
    /// The program that loads plugins.
    Host,
    /// A shared object that it loads.
    Plugin,
}
