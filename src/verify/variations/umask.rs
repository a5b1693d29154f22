//! The mode of new files.

use super::super::Variation;

pub(super) const UMASK: Variation = Variation {
    name: "umask",
    description: "new files have another mode: umask 0027 instead of 0022",
    limits: "",
    kind: None,
    traces: &[],
    is_alone: false,
    vary: |setting| setting.first.push("umask 0027"),
    hold: None,
};
