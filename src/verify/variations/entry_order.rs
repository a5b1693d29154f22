//! The order in which directories are listed.

use super::super::{Kind, SourcePlace, Variation};

pub(super) const ENTRY_ORDER: Variation = Variation {
    name: "entry-order",
    description: "the sources' directories are listed in the opposite order",
    limits: "of the sources alone: what a command makes in other directories lies in a volume as ever; needs tar in the image",
    kind: Some(Kind::Order),
    traces: &[],
    is_alone: false,
    vary: |setting| setting.sources = SourcePlace::MemoryReversed,
    hold: None,
};
