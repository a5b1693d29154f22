//! What is around a registry: the machine that asks, and what its engine makes of registries.

use std::collections::BTreeMap;
use std::path::Path;

use crate::network::NetworkSettings;

/// What decides how registries are reached.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// `/`, or another directory in tests.
    pub root: &'a Path,
    /// The variables.
    pub variables: &'a BTreeMap<String, String>,
    /// The machine's way to the network.
    pub network: &'a NetworkSettings,
    /// The registries that the engine takes at their word.
    pub insecure: &'a [String],
}
