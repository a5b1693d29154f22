//! What is to lie in the bundle.

use crate::place::Place;
use crate::yaml::Value;

/// Something that is to lie in the bundle, and where it is named.
pub(super) struct Placed<'v> {
    pub(super) value: Value<'v>,
    pub(super) kind: &'static str,
    /// Below the directory of the contract.
    pub(super) place: Place,
    /// The name of the unit's contract.
    pub(super) contract: Option<String>,
    /// Whether it lies at the bundle's top, wherever the contract puts plugins.
    pub(super) is_at_top: bool,
}
