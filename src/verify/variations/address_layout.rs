//! Where things lie in memory.

use super::super::Variation;

/// What setarch(8) calls it.
const NOT_RANDOM: &str = "--addr-no-randomize";

pub(super) const ADDRESS_LAYOUT: Variation = Variation {
    name: "address-layout",
    description: "addresses are always the same instead of random",
    limits: "needs setarch in the image; an engine's own filter of system calls may refuse it",
    kind: None,
    traces: &[],
    is_alone: false,
    vary: |setting| setting.personality.push(NOT_RANDOM),
    hold: Some(|setting| setting.personality.push(NOT_RANDOM)),
};
