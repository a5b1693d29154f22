//! What the kernel calls itself.

use super::super::Variation;

pub(super) const KERNEL: Variation = Variation {
    name: "kernel",
    description: "the kernel calls itself 2.6",
    limits: "needs setarch in the image; the machine's kernel is the same, and so is what /proc says of it",
    kind: None,
    traces: &["2.6."],
    is_alone: false,
    vary: |setting| setting.personality.push("--uname-2.6"),
    hold: None,
};
