//! How many processors there are.

use super::super::Variation;

/// The first processor alone.
const FIRST: &str = "0";

pub(super) const PROCESSORS: Variation = Variation {
    name: "processors",
    description: "there is one processor",
    limits: "nothing where the engine has only one; what the kernel says in /proc and /sys stays",
    kind: None,
    traces: &[],
    is_alone: false,
    vary: |setting| setting.processors = Some(FIRST),
    hold: Some(|setting| setting.processors = Some(FIRST)),
};
